"""The functions of `os` that move bytes or ask about files, and `mmap.mmap`, wrapped at the level of system calls.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import posix
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.files import Files
    from tracekit.record.spool import Spool

    Function = Callable[..., Any]

_TYPE_MASK, _REGULAR = 0o170000, 0o100000


def _length(result: Any) -> int:
    return len(result)


def _number(result: Any) -> int:
    return int(result)


def _asked(value: Any) -> int:
    return max(int(value), 0)  # the kernel refuses a negative one; the trace cannot hold it


def _total(buffers: Any) -> int:
    return sum(_bytes(buffer) for buffer in buffers)


def _bytes(data: Any) -> int:
    return len(data) if type(data) is bytes else memoryview(data).nbytes


# name: (op, number of arguments allowed, position of the offset or None, what was asked, what was moved)
_TRANSFERS: dict[str, tuple[str, tuple[int, ...], int | None, Function, Function]] = {
    "read": ("read", (2,), None, _asked, _length),
    "pread": ("read", (3,), 2, _asked, _length),
    "readv": ("read", (2,), None, _total, _number),
    "preadv": ("read", (3, 4), 2, _total, _number),
    "write": ("write", (2,), None, _bytes, _number),
    "pwrite": ("write", (3,), 2, _bytes, _number),
    "writev": ("write", (2,), None, _total, _number),
    "pwritev": ("write", (3, 4), 2, _total, _number),
    "readinto": ("read", (2,), None, _bytes, _number),  # os.readinto, from Python 3.14 on
}
# name: op; the first argument is a path
_BY_PATH = {
    "stat": "stat", "lstat": "stat", "listdir": "list", "scandir": "list", "unlink": "delete", "remove": "delete",
    "truncate": "truncate",
}  # fmt: skip
# name: op; the first argument is a descriptor
_BY_DESCRIPTOR = {"fsync": "fsync", "fdatasync": "fsync", "ftruncate": "truncate"}


class OsFunctions:
    """Makes the replacements for one process.

    Args:
        spool: Where ops go.
        files: Which file a path or descriptor is.
        op: Codes of ops.
        codes: Codes of flags.
        flag_bits: open(2) flags as a slot's.
    """

    def __init__(
        self, spool: Spool, files: Files, op: dict[str, int], codes: dict[str, int], flag_bits: Function
    ) -> None:
        self.spool = spool
        self.files = files
        self.op = op
        self.codes = codes
        self.flag_bits = flag_bits

    def replacements(self) -> Iterator[tuple[str, Function]]:
        """(name in `os`, replacement) for every function that exists here."""
        for name, row in _TRANSFERS.items():
            if hasattr(posix, name):
                yield name, self._transfer(getattr(posix, name), *row)
        for name, op in _BY_PATH.items():
            yield name, self._by_path(getattr(posix, name), self.op[op])
        for name, op in _BY_DESCRIPTOR.items():
            if hasattr(posix, name):
                yield name, self._by_descriptor(getattr(posix, name), self.op[op])
        yield "open", self._open()
        yield "close", self._close()
        yield "dup", self._dup()
        yield "dup2", self._dup2()
        yield "sendfile", self._sendfile()
        if hasattr(posix, "copy_file_range"):
            yield "copy_file_range", self._copy_file_range()

    def _transfer(
        self,
        original: Function,
        op: str,
        arity: tuple[int, ...],
        position: int | None,
        asked: Function,
        moved: Function,
    ) -> Function:
        record, ignore, of_fd = self.spool.record, self.spool.ignore, self.files.of_fd
        clock, seek, code = time.monotonic_ns, posix.lseek, self.op[op]
        reads, appends = op == "read", self.codes["o_append"]

        def transfer(*args: Any, **kwargs: Any) -> Any:
            number, flags = of_fd(args[0]) if len(args) in arity and not kwargs else (-1, 0)
            if number <= 0:
                result = original(*args, **kwargs)
                if number == 0 and reads:
                    ignore(moved(result))
                return result
            try:
                size = asked(args[1])
                offset = seek(args[0], 0, 1) if position is None else args[position]
            except Exception:
                return original(*args)
            start = clock()
            try:
                result = original(*args)
            except OSError as error:
                record(code, number, max(offset, 0), size, start, clock(), 0, error.errno or 0, flags)
                raise
            end = clock()
            count = moved(result)
            if not reads and flags & appends:
                offset = seek(args[0], 0, 1) - count
            record(code, number, offset, size, start, end, count, 0, flags)
            return result

        return transfer

    def _by_path(self, original: Function, code: int) -> Function:
        record, clock, asks = self.spool.record, time.monotonic_ns, code == self.op["stat"]

        def call(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            try:
                result = original(*args, **kwargs)
            except OSError as error:
                number = self._path_number(args, kwargs)
                if number > 0:
                    record(code, number, 0, 0, start, clock(), 0, error.errno or 0, 0)
                raise
            end = clock()
            if asks and result[0] & _TYPE_MASK != _REGULAR:
                return result  # realpath() asks about every directory on its way
            number = self._path_number(args, kwargs)
            if number > 0:
                record(code, number, 0, 0, start, end, 0, 0, 0)
            return result

        return call

    def _path_number(self, args: Any, kwargs: Any) -> int:
        try:
            path = args[0] if args else kwargs.get("path", ".")
            if isinstance(path, int):
                return self.files.of_fd(path)[0]
            return self.files.of_path(self.files.absolute("." if path is None else path, kwargs.get("dir_fd")))
        except Exception:
            return -1

    def _by_descriptor(self, original: Function, code: int) -> Function:
        record, clock = self.spool.record, time.monotonic_ns

        def call(*args: Any, **kwargs: Any) -> Any:
            fd: Any = args[0] if args else kwargs.get("fd")
            if hasattr(fd, "fileno"):
                fd = fd.fileno()
            number, flags = self.files.of_fd(fd)
            start = clock()
            try:
                result = original(*args, **kwargs)
            except OSError as error:
                if number > 0:
                    record(code, number, 0, 0, start, clock(), 0, error.errno or 0, flags)
                raise
            if number > 0:
                record(code, number, 0, 0, start, clock(), 0, 0, flags)
            return result

        return call

    def _open(self) -> Function:
        original, clock, code = posix.open, time.monotonic_ns, self.op["open"]

        def os_open(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            try:
                fd = original(*args, **kwargs)
            except OSError as error:
                self._opened(args, kwargs, code, start, clock(), -1, error.errno or 0)
                raise
            self._opened(args, kwargs, code, start, clock(), fd, 0)
            return fd

        return os_open

    def _opened(self, args: Any, kwargs: Any, code: int, start: int, end: int, fd: int, err: int) -> None:
        try:
            path = self.files.absolute(args[0] if args else kwargs["path"], kwargs.get("dir_fd"))
            bits = self.flag_bits(args[1] if len(args) > 1 else kwargs["flags"], self.codes)
            number = self.files.of_path(path) if err else self.files.opened(fd, path, bits)
            if number > 0:
                self.spool.record(code, number, 0, 0, start, end, 0, err, bits)
        except Exception:
            if not err:
                self.spool.lose()

    def _close(self) -> Function:
        closing = self._by_descriptor(posix.close, self.op["close"])
        closed = self.files.closed

        def close(*args: Any, **kwargs: Any) -> None:
            try:
                closing(*args, **kwargs)
            finally:
                closed(args[0] if args else kwargs.get("fd", -1))

        return close

    def _dup(self) -> Function:
        def dup(*args: Any, **kwargs: Any) -> int:
            copy = posix.dup(*args, **kwargs)
            self.files.duplicated(args[0] if args else kwargs["fd"], copy)
            return copy

        return dup

    def _dup2(self) -> Function:
        def dup2(*args: Any, **kwargs: Any) -> int:
            copy = posix.dup2(*args, **kwargs)
            self.files.duplicated(args[0] if args else kwargs["fd"], copy)
            return copy

        return dup2

    def _sendfile(self) -> Function:
        original, clock = posix.sendfile, time.monotonic_ns

        def sendfile(*args: Any, **kwargs: Any) -> int:
            names = ("out_fd", "in_fd", "offset", "count")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            before = self._here(given.get("in_fd")), self._here(given.get("out_fd"))
            start = clock()
            moved = original(*args, **kwargs)
            offset = given.get("offset")
            self._copied(given, "in_fd", "out_fd", before, (offset, None), start, moved)
            return moved

        return sendfile

    def _copy_file_range(self) -> Function:
        original, clock = posix.copy_file_range, time.monotonic_ns

        def copy_file_range(*args: Any, **kwargs: Any) -> int:
            names = ("src", "dst", "count", "offset_src", "offset_dst")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            before = self._here(given.get("src")), self._here(given.get("dst"))
            start = clock()
            moved = original(*args, **kwargs)
            self._copied(given, "src", "dst", before, (given.get("offset_src"), given.get("offset_dst")), start, moved)
            return moved

        return copy_file_range

    def _here(self, fd: Any) -> int:
        try:
            return posix.lseek(fd, 0, 1)
        except (OSError, TypeError):
            return 0

    def _copied(
        self, given: Any, source: str, target: str, before: tuple[int, int], offsets: Any, start: int, moved: int
    ) -> None:
        """One call that copies between descriptors is a read of the one and a write of the other, of what the first had."""
        end = time.monotonic_ns()
        try:
            for side, op in enumerate(("read", "write")):
                number, flags = self.files.of_fd(given[target if side else source])
                offset = before[side] if offsets[side] is None else offsets[side]
                asked = moved if side else given["count"]
                if number > 0:
                    self.spool.record(self.op[op], number, offset, asked, start, end, moved, 0, flags)
                elif number == 0 and not side:
                    self.spool.ignore(moved)
        except Exception:
            self.spool.lose()


def recording_mmap(spool: Spool, files: Files, op: dict[str, int], kind: type) -> Any:
    """The class that stands in for mmap.mmap: a map of a file is an op with its range; what it makes is the original's.

    Which bytes of a map are then touched cannot be seen from here.
    """
    import mmap as module

    original = module.mmap
    clock, code = time.monotonic_ns, op["mmap"]

    class Mapping(kind):  # type: ignore[misc]  # the metaclass shared with FileIO
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # a metaclass
            start = clock()
            made = original(*args, **kwargs) if "_original" in cls.__dict__ else type.__call__(cls, *args, **kwargs)
            end = clock()
            try:
                number, flags = files.of_fd(args[0] if args else kwargs["fileno"])
                offset = args[5] if len(args) > 5 else kwargs.get("offset", 0)
                if number > 0:
                    spool.record(code, number, offset, len(made), start, end, len(made), 0, flags)
            except Exception:
                spool.lose()
            return made

        def __eq__(cls, other: object) -> bool:  # noqa: N805  # a metaclass
            return other is cls or (other is original and "_original" in cls.__dict__)

        def __hash__(cls) -> int:  # noqa: N805  # a metaclass
            return hash(original) if "_original" in cls.__dict__ else type.__hash__(cls)

    body = {"__doc__": original.__doc__, "__module__": "mmap", "__qualname__": "mmap", "_original": original}
    return Mapping("mmap", (original,), body)
