"""An `io.FileIO` that records; the buffers over it are Python's own.

A BufferedReader calls `readinto` of its raw file, so what it really asks the kernel for is seen, not what the program
asks the buffer for.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _io
import io
import posix
import time
from abc import ABCMeta
from collections.abc import Callable
from errno import EAGAIN
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from tracekit.record.files import Files
    from tracekit.record.spool import Spool

_clock = time.monotonic_ns
_fileno: Any = _io.FileIO.fileno
_MOST = 0x7FFFF000  # the most one read(2) moves on Linux
_SMALL_CHUNK = io.DEFAULT_BUFFER_SIZE


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

    def __init__(
        self, spool: Spool, files: Files, op: dict[str, int], codes: dict[str, int], interrupts: ModuleType
    ) -> None:
        self.spool = spool
        self.interrupts: Any = interrupts
        self.files = files
        self.op = op
        self.codes = codes
        self.reads = op["read"]
        self.appends = codes["o_append"]
        # These give back the bytes themselves; the others say how many there are in a buffer.
        self.making = (_io.FileIO.read, _io.FileIO.readall, _read_by_number)

    def moving(self, file: Any, code: int, asked: int, call: Callable[..., Any], *args: Any) -> Any:
        """A read or a write.

        Raises:
            Interrupted: With the result, when a signal handler raised while the call was under way.
        """
        number, offset, start, flags = -1, -1, 0, 0
        try:
            try:
                fd = _fileno(file)
            except ValueError:
                return call(file, *args)
            number, flags = self.files.of_fd(fd)
            if number < 0:
                return call(file, *args)
            offset = posix.lseek(fd, 0, 1)
            start = _clock()
            moved = call(file, *args)
            self._moved(number, code, offset, asked, start, _clock(), moved, flags, fd)
            return moved  # noqa: TRY300  # recording it may be interrupted too
        except BaseException as error:
            # What comes from this very frame is the call's own.
            own = error.__traceback__ is None or error.__traceback__.tb_next is None
            if number < 0 or (own and not isinstance(error, KeyboardInterrupt)):
                if number > 0 and isinstance(error, OSError):
                    self.spool.record(code, number, max(offset, 0), asked, start, _clock(), 0, error.errno or 0, flags)
                raise
            self.spool.lose()
            result = self._completed(file, code, offset, asked, call, *args)
            # In no variable: the error knows this frame, and would keep what waits for its end alive.
            raise self.interrupts.Interrupted(result, self.interrupts.again(error)) from None

    def _moved(
        self, number: int, code: int, offset: int, asked: int, start: int, end: int, moved: Any, flags: int, fd: int
    ) -> None:
        if number == 0:
            if code == self.reads and moved:
                self.spool.ignore(moved if type(moved) is int else len(moved))
            return
        if moved is None:
            self.spool.record(code, number, offset, asked, start, end, 0, EAGAIN, flags)
            return
        count = moved if type(moved) is int else len(moved)
        if flags & self.appends and code != self.reads:
            offset = posix.lseek(fd, 0, 1) - count
        self.spool.record(code, number, offset, asked, start, end, count, 0, flags)

    def _completed(self, file: Any, code: int, offset: int, asked: int, call: Callable[..., Any], *args: Any) -> Any:
        """The result of a call that was interrupted: how far it got shows in the file's position."""
        if offset >= 0:
            moved = posix.lseek(_fileno(file), 0, 1) - offset
            if moved > 0 and asked > 0 and call not in self.making:
                return min(moved, asked)
            if moved > 0 and code == self.reads:
                posix.lseek(_fileno(file), offset, 0)
        return call(file, *args)

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
        offset = posix.lseek(fd, 0, 1)
        try:
            return self._all(file, fd)
        except BaseException as error:
            if not self.interrupts.from_handler(error):
                raise
            self.spool.lose()
            posix.lseek(fd, offset, 0)
            raise self.interrupts.Interrupted(call(file, *args), self.interrupts.again(error)) from None

    def _all(self, file: Any, fd: int) -> Any:
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


def recording_file(
    spool: Spool, files: Files, op: dict[str, int], codes: dict[str, int], interrupts: ModuleType
) -> Any:
    """The class that stands in for io.FileIO; `op` and `codes` are Spool's codes of ops and flags."""
    watch = _Watch(spool, files, op, codes, interrupts)
    Interrupted = interrupts.Interrupted  # noqa: N806  # a class
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

        # Each is the outermost frame of ours, and deals with what has to wait until it is left (see interrupts).
        def read(self, size: Any = -1, /) -> Any:
            try:
                if size is None or size == -1:
                    return rest(self, raw_read, size)
                return moving(self, read_op, size if type(size) is int and size > 0 else 0, raw_read, size)
            except Interrupted as late:
                result, again = late.result, late.again
            del again
            return result

        def readall(self) -> Any:
            try:
                return rest(self, original.readall)
            except Interrupted as late:
                result, again = late.result, late.again
            del again
            return result

        def readinto(self, buffer: Any, /) -> Any:
            try:
                return moving(self, read_op, _size(buffer), raw_readinto, buffer)
            except Interrupted as late:
                result, again = late.result, late.again
            del again
            return result

        def write(self, data: Any, /) -> Any:
            try:
                return moving(self, write_op, _size(data), raw_write, data)
            except Interrupted as late:
                result, again = late.result, late.again
            del again
            return result

        def truncate(self, size: Any = None, /) -> Any:
            return plain(self, truncate_op, original.truncate, size)

        def close(self) -> Any:
            if self.closed or not self.closefd:
                return original.close(self)
            fd = _fileno(self)
            if self._finalizing:
                _warn_unclosed(self)
            try:
                return plain(self, close_op, original.close)
            finally:
                files.closed(fd)

        def __repr__(self) -> str:
            text = str(original.__repr__(self))
            return text.replace("<FileIO ", "<_io.FileIO ", 1) if type(self) is FileIO else text

    FileIO.__module__, FileIO.__qualname__ = "_io", "FileIO"
    return FileIO


def _warn_unclosed(file: Any) -> None:
    """What a file that is dropped without being closed says, at the line where that happens and not at ours."""
    try:
        import warnings

        warnings.warn(f"unclosed file {file!r}", ResourceWarning, stacklevel=3, source=file)
        file._finalizing = False
    except Exception:
        return  # made an error, or too late for imports: the original says it in its own way


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
