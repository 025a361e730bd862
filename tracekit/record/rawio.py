"""`io.FileIO` and `open` that record: the raw file is ours, the buffers over it are Python's own.

A BufferedReader calls `readinto` of its raw file, so what it really asks the kernel for is seen, not what the program
asks the buffer for.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _io
import io
import posix
import sys
import time
from abc import ABCMeta
from collections.abc import Callable
from errno import EAGAIN
from os import fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.files import Files
    from tracekit.record.spool import Spool

_clock = time.monotonic_ns
_fileno: Any = _io.FileIO.fileno
_MISSING: Any = object()
_MOST = 0x7FFFF000  # the most one read(2) moves on Linux
_SMALL_CHUNK = io.DEFAULT_BUFFER_SIZE
_BUFFERS: dict[str, Any] = {
    "r": _io.BufferedReader,
    "w": _io.BufferedWriter,
    "a": _io.BufferedWriter,
    "x": _io.BufferedWriter,
}


class Kind(ABCMeta):
    """Metaclass of the stand-in for a built-in class: what is an instance of the original is one of the stand-in.

    An ABCMeta, so that programs may still combine the class with abstract base classes.
    """

    _original: Any

    def __instancecheck__(cls, instance: object) -> bool:
        return (
            isinstance(instance, cls._original)
            if "_original" in cls.__dict__
            else type.__instancecheck__(cls, instance)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return (
            issubclass(subclass, cls._original)
            if "_original" in cls.__dict__
            else type.__subclasscheck__(cls, subclass)
        )

    def __repr__(cls) -> str:
        return repr(cls._original) if "_original" in cls.__dict__ else type.__repr__(cls)


class _Watch:
    """Does one system call of a raw file and records it; whatever the call raises is the program's own."""

    def __init__(self, spool: Spool, files: Files, op: dict[str, int], codes: dict[str, int]) -> None:
        self.spool = spool
        self.files = files
        self.op = op
        self.codes = codes
        self.reads = op["read"]
        self.appends = codes["o_append"]

    def moving(self, file: Any, code: int, asked: int, call: Callable[..., Any], *args: Any) -> Any:
        """A read or a write."""
        try:
            fd = _fileno(file)
        except ValueError:
            return call(file, *args)
        number, flags = self.files.of_fd(fd)
        if number <= 0:
            moved = call(file, *args)
            if number == 0 and code == self.reads and moved:
                self.spool.ignore(moved if type(moved) is int else len(moved))
            return moved
        record = self.spool.record
        offset = posix.lseek(fd, 0, 1)
        start = _clock()
        try:
            moved = call(file, *args)
        except OSError as error:
            record(code, number, offset, asked, start, _clock(), 0, error.errno or 0, flags)
            raise
        end = _clock()
        if moved is None:
            record(code, number, offset, asked, start, end, 0, EAGAIN, flags)
            return None
        count = moved if type(moved) is int else len(moved)
        if flags & self.appends and code != self.reads:
            offset = posix.lseek(fd, 0, 1) - count
        record(code, number, offset, asked, start, end, count, 0, flags)
        return moved

    def plain(self, file: Any, code: int, call: Callable[..., Any], *args: Any) -> Any:
        """A call that moves no bytes."""
        try:
            number, flags = self.files.of_fd(_fileno(file))
        except ValueError:
            return call(file, *args)
        start = _clock()
        try:
            result = call(file, *args)
        except OSError as error:
            if number > 0:
                self.spool.record(code, number, 0, 0, start, _clock(), 0, error.errno or 0, flags)
            raise
        if number > 0:
            self.spool.record(code, number, 0, 0, start, _clock(), 0, 0, flags)
        return result

    def rest(self, file: Any, call: Callable[..., Any], *args: Any) -> Any:
        """All that is left in a file, as FileIO.readall gets it, system call by system call.

        That is a read to the end, and one more to see that it is the end.
        """
        try:
            fd = _fileno(file)
            number = self.files.of_fd(fd)[0] if file.readable() else -1
        except ValueError:
            number = fd = -1
        if number <= 0:
            return self.moving(file, self.reads, 0, call, *args)
        parts: list[bytes] = []
        total, room = 0, _first_size(fd)
        while True:
            if total >= room:
                room = _grown(total)
            asked = min(room - total, _MOST)
            try:
                part = self.moving(file, self.reads, asked, _read_by_number, asked)
            except BlockingIOError:
                return b"".join(parts) if parts else None
            if not part:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            parts.append(part)
            total += len(part)

    def opened(self, args: Any, kwargs: Any, start: int, error: OSError | None, file: Any) -> None:
        """A raw file was made, or was refused with `error`."""
        end = _clock()
        try:
            name = args[0] if args else kwargs.get("file")
            opener = args[3] if len(args) > 3 else kwargs.get("opener")
            if isinstance(name, int) or opener is not None:
                return  # the descriptor was there before, or the opener's os.open is recorded
            mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
            path = self.files.absolute(name)
            flags = _mode_bits(mode, self.codes)
            number = self.files.of_path(path) if error is not None else self.files.opened(_fileno(file), path, flags)
            if number > 0:
                err = (error.errno or 0) if error is not None else 0
                self.spool.record(self.op["open"], number, 0, 0, start, end, 0, err, flags)
        except Exception:
            if error is None:
                self.spool.lose()


def recording_file(spool: Spool, files: Files, op: dict[str, int], codes: dict[str, int]) -> Any:
    """The class that stands in for io.FileIO; `op` and `codes` are Spool's codes of ops and flags."""
    watch = _Watch(spool, files, op, codes)
    moving, plain, rest = watch.moving, watch.plain, watch.rest
    read_op, write_op, close_op, truncate_op = (op[name] for name in ("read", "write", "close", "truncate"))
    original: Any = _io.FileIO
    raw_read, raw_readinto, raw_write = original.read, original.readinto, original.write

    class FileIO(original, metaclass=Kind):  # type: ignore[misc]  # a base known at run time
        __doc__ = original.__doc__
        _original = original

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            start = _clock()
            try:
                original.__init__(self, *args, **kwargs)
            except OSError as error:
                watch.opened(args, kwargs, start, error, self)
                raise
            watch.opened(args, kwargs, start, None, self)

        def read(self, size: Any = -1, /) -> Any:
            if size is None or size == -1:
                return rest(self, raw_read, size)
            return moving(self, read_op, size if type(size) is int and size > 0 else 0, raw_read, size)

        def readall(self) -> Any:
            return rest(self, original.readall)

        def readinto(self, buffer: Any, /) -> Any:
            return moving(self, read_op, _size(buffer), raw_readinto, buffer)

        def write(self, data: Any, /) -> Any:
            return moving(self, write_op, _size(data), raw_write, data)

        def truncate(self, size: Any = None, /) -> Any:
            return plain(self, truncate_op, original.truncate, size)

        def close(self) -> Any:
            if self.closed or not self.closefd:
                return original.close(self)
            fd = _fileno(self)
            try:
                return plain(self, close_op, original.close)
            finally:
                files.closed(fd)

        def __repr__(self) -> str:
            text = str(original.__repr__(self))
            return text.replace("<FileIO ", "<_io.FileIO ", 1) if type(self) is FileIO else text

    FileIO.__module__, FileIO.__qualname__ = "_io", "FileIO"
    return FileIO


def _read_by_number(file: Any, size: int) -> bytes:
    return posix.read(_fileno(file), size)


def _first_size(fd: int) -> int:
    try:
        left = posix.fstat(fd)[6] - posix.lseek(fd, 0, 1)
    except OSError:
        return _SMALL_CHUNK
    return left + 1 if left >= 0 else _SMALL_CHUNK


def _grown(size: int) -> int:
    # new_buffersize() of Modules/_io/fileio.c.
    return size + max(size >> 3 if size > 65536 else 256 + size, _SMALL_CHUNK)


def _size(data: Any) -> int:
    if type(data) is bytes:
        return len(data)
    try:
        return memoryview(data).nbytes
    except TypeError:
        return 0  # not bytes-like: the call itself says so


def _mode_bits(mode: str, codes: dict[str, int]) -> int:
    bits = codes["o_append"] | codes["o_creat"] if "a" in mode else 0
    if "w" in mode:
        bits |= codes["o_creat"] | codes["o_trunc"]
    if "x" in mode:
        bits |= codes["o_creat"]
    if "+" in mode:
        return bits | codes["o_rdwr"]
    return bits if "r" in mode else bits | codes["o_wronly"]


def recording_open(original: Any, raw_file: Any) -> Callable[..., Any]:
    """What stands in for `open`: the same objects, over a raw file that records.

    Anything it does not understand (a bad mode, text arguments with a binary mode) goes to the original, which knows how
    to refuse it.
    """
    modes = _modes()
    text_file: Any = _io.TextIOWrapper

    def file_open(
        file: Any = _MISSING, mode: Any = "r", buffering: Any = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: Any = True, opener: Any = None, *more: Any, **unknown: Any,  # noqa: FBT002  # open's own
    ) -> Any:  # fmt: skip
        known = modes.get(mode) if type(mode) is str and type(buffering) is int else None
        if file is _MISSING or more or unknown:
            return original(*(() if file is _MISSING else (file,)), *more, **unknown)
        if known is None or (known[2] and not (encoding is None and errors is None and newline is None)):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw_mode, buffer, binary = known
        if buffering == 0 and not binary:
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        path = file if isinstance(file, (str, bytes, int)) or not hasattr(file, "__fspath__") else fspath(file)
        encoding = _warned(binary, buffering, encoding)
        raw = result = raw_file(path, raw_mode, closefd, opener)
        try:
            terminal = raw.isatty()
            line_buffering = buffering == 1 or (buffering < 0 and terminal)
            if buffering == 0:
                return raw
            size = _buffer_size(raw) if buffering < 0 or (buffering == 1) or terminal else buffering
            result = buffered = buffer(raw, size)
            if binary:
                return buffered
            result = text = text_file(buffered, encoding, errors, newline, line_buffering)
            text.mode = mode
        except BaseException:
            result.close()
            raise
        return text

    return file_open


def _buffer_size(raw: Any) -> int:
    size = raw._blksize
    if sys.version_info >= (3, 14):
        return int(max(min(size, 8192 * 1024), io.DEFAULT_BUFFER_SIZE))
    return int(size) if size > 1 else io.DEFAULT_BUFFER_SIZE


def _warned(binary: Any, buffering: int, encoding: Any) -> Any:
    """The warnings `open` gives, at the caller's line; the encoding to go on with."""
    if binary and buffering == 1:
        import warnings

        text = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    elif not binary and encoding is None and sys.flags.warn_default_encoding:
        import warnings

        warnings.warn("'encoding' argument not specified", EncodingWarning, stacklevel=3)
        return "locale"
    return encoding


def _modes() -> dict[str, tuple[str, Any, bool]]:
    """Every valid spelling of a mode: mode of the raw file, class of its buffer, whether it is binary."""
    from itertools import permutations

    modes = {}
    for kind in "rwax":
        for extras in ("", "b", "t", "+", "b+", "t+"):
            for letters in permutations(kind + extras):
                buffer = _io.BufferedRandom if "+" in extras else _BUFFERS[kind]
                raw = kind + ("+" if "+" in extras else "")
                modes["".join(letters)] = (raw, buffer, "b" in extras)
    return modes
