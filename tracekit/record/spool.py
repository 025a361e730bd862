"""Where a process that the Python engine records keeps its ops: parts that survive its death, read again by `merge`.

In the run's parts directory lie, beside the lines (see `lines`), files `TOKEN.TID.SEQ.ops`: slots of 48 bytes, mapped
MAP_SHARED, one writer at a time (a thread). No descriptor of them stays open in the program. Space is reserved with
posix_fallocate before it is mapped, never sparse, so that a full disk becomes counted losses and not SIGBUS. A slot is valid
when its last byte is not zero, and that byte is written last. Slot 0 is the header with the thread's counters. A thread that
ends leaves its chunk to the next one that begins, so that a thread for every request costs no file and no mapping each; a
change of context says whose the ops after it are.

What was stored is in the page cache, so it survives SIGKILL, os._exit and exec. A forked child never touches its parent's
mapping: it gets a token and parts of its own.

This module runs inside the recorded program: standard library only, and from `posix` rather than `os`, whose functions
are wrapped.
"""

from __future__ import annotations

import _thread
import posix
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.lines import Context, Lines

# Three `struct.Struct`s, made by `layouts`. SLOT: t_submit, t_complete, offset, len, ret, file, errno, op, flags with the
# bit that says "valid". HEADER: magic, pid, tid, t_start, and the COUNTERS at COUNTERS_AT.
SLOT: Any = None
SLOT_BYTES = 48
HEADER: Any = None
COUNTERS: Any = None
COUNTERS_AT = 24
MAGIC = b"tkspool1"
VALID = 0x80

# The position in this tuple is the op's code in a slot; code 0 is a change of context. Append only.
OPS = (
    "context", "read", "write", "open", "close", "stat", "list", "mmap", "fsync", "delete", "truncate", "rename",
    "fadvise", "readahead", "mkdir", "rmdir", "touch",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(OPS)}
FLAGS = {"direct": 1, "o_append": 2, "o_sync": 4, "o_creat": 8, "o_trunc": 16, "o_wronly": 32, "o_rdwr": 64}
# No file is opened both ways: the op was done at some time between its two.
BRACKET = FLAGS["o_wronly"] | FLAGS["o_rdwr"]

# Small first: a thread that does little costs little, also in a program of hundreds of threads.
CHUNK_BYTES = (64 << 10, 256 << 10, 1 << 20)
_SMALLEST = 4 << 10
_RETRY_EVERY = 256
_NAMES_TRIED = 64


def layouts() -> None:
    """Make the layouts. Not at import: a process that the core records has no use for the extension behind them."""
    global SLOT, HEADER, COUNTERS  # made once
    from _struct import Struct

    SLOT, HEADER, COUNTERS = Struct("<qqqqqIHBB"), Struct("<8sIIq"), Struct("<qqq")


class _Chunk:
    """One mapped file of slots."""

    __slots__ = ("places", "view")

    def __init__(self, view: Any, size: int) -> None:
        self.view = view
        # An iterator hands out places atomically: a signal handler that records in between gets the next one.
        self.places: Iterator[int] = iter(range(SLOT_BYTES, size - SLOT_BYTES + 1, SLOT_BYTES))


class Stream:
    """One thread's slots and counters."""

    __slots__ = ("chunk", "context", "home", "ignored_bytes", "ignored_ops", "left", "lost", "sequence", "tid")

    def __init__(self, tid: int, left: list[Stream], nowhere: Context) -> None:
        self.tid = tid
        self.left = left
        self.sequence = 0
        self.chunk: _Chunk | None = None
        self.home: Any = None
        self.context: Context | None = nowhere
        self.lost = 0
        self.ignored_bytes = 0
        self.ignored_ops = 0

    def __del__(self) -> None:
        # The thread is gone: its chunk and counters wait for another. A fork child looks at a list of its own.
        if self.chunk is not None:
            self.left.append(self)


class Streams:
    """The ops of one process. `record` is called once per op and must stay cheap. To be mixed with `lines.Lines`: see `over`."""

    directory: str
    token: str
    pid: int
    context: Any
    nowhere: Context

    def __init__(self, *args: Any) -> None:
        self.local = _thread._local()
        self.left: list[Stream] = []
        super().__init__(*args)

    def record(
        self, op: int, file: int, offset: int, length: int, t0: int, t1: int, ret: int, err: int, flags: int
    ) -> None:
        """Append one op to the calling thread's stream; it is counted as lost where there is no room."""
        try:
            stream: Stream = self.local.stream
        except AttributeError:
            stream = self._new_stream()
        context = self.context.get()
        if context is not stream.context:
            self._put_context(stream, context)
        chunk = stream.chunk
        place = next(chunk.places, 0) if chunk is not None else 0
        if not place or chunk is None:
            chunk, place = self._next_chunk(stream)
            if chunk is None:
                return
        SLOT.pack_into(chunk.view, place, t0, t1, offset, length, ret, file, err, op, flags | VALID)

    def ignore(self, moved: int) -> None:
        """Count bytes read from a file that is not recorded."""
        try:
            stream: Stream = self.local.stream
        except AttributeError:
            stream = self._new_stream()
        stream.ignored_bytes += moved
        stream.ignored_ops += 1
        self._count(stream)

    def lose(self, count: int = 1) -> None:
        """Count ops that could not be recorded."""
        try:
            stream: Stream = self.local.stream
        except AttributeError:
            stream = self._new_stream()
        stream.lost += count
        self._count(stream)

    def _count(self, stream: Stream) -> None:
        if stream.home is not None:
            COUNTERS.pack_into(stream.home, COUNTERS_AT, stream.lost, stream.ignored_bytes, stream.ignored_ops)

    def _new_stream(self) -> Stream:
        stream = Stream(_thread.get_native_id(), self.left, self.nowhere)
        try:
            self._inherit(stream, self.left.pop())
        except IndexError:
            stream.chunk = self._map(stream)
        self.local.stream = stream
        return stream

    def _inherit(self, stream: Stream, before: Stream) -> None:
        """Go on where a thread that ended has left off: its chunk, its counters."""
        stream.chunk, stream.home = before.chunk, before.home
        stream.lost, stream.ignored_bytes, stream.ignored_ops = before.lost, before.ignored_bytes, before.ignored_ops
        before.chunk = None
        stream.context = None  # said before the first op, with whose it is

    def _put_context(self, stream: Stream, context: Context) -> None:
        stream.context = context
        chunk = stream.chunk
        place = next(chunk.places, 0) if chunk is not None else 0
        if place and chunk is not None:
            worker, epoch, step, sample, run = context
            SLOT.pack_into(chunk.view, place, stream.tid, worker, epoch, step, sample, run, 0, 0, VALID)
        else:
            stream.context = None  # said again at the start of the next chunk

    def _next_chunk(self, stream: Stream) -> tuple[_Chunk | None, int]:
        if stream.chunk is not None or stream.lost % _RETRY_EVERY == 0:
            stream.chunk = self._map(stream)
        chunk = stream.chunk
        if chunk is None:
            stream.lost += 1
            self._count(stream)
            return None, 0
        self._put_context(stream, self.context.get())
        return chunk, next(chunk.places)

    def _map(self, stream: Stream) -> _Chunk | None:
        if SLOT is None:
            layouts()
        wanted = CHUNK_BYTES[min(stream.sequence, len(CHUNK_BYTES) - 1)]
        for size in (wanted, _SMALLEST) if stream.sequence else (wanted, 16 << 10, _SMALLEST):
            view = self._mapped(stream, size)
            if view is not None:
                HEADER.pack_into(view, 0, MAGIC, self.pid, stream.tid, time.monotonic_ns())
                stream.home = stream.home or view
                return _Chunk(view, size)
        return None

    def _mapped(self, stream: Stream, size: int) -> Any:
        """A new file of the stream, or None.

        Its name may be taken: by a signal handler that recorded in between, or by a thread that had the id before.
        """
        for _ in range(_NAMES_TRIED):
            name = f"{self.directory}/{self.token}.{stream.tid}.{stream.sequence}.ops"
            stream.sequence += 1
            try:
                return _mapped(name, size)
            except FileExistsError:
                continue
            except (OSError, ValueError):
                break
        return None

    def first_stream(self) -> None:
        """Have a place for the calling thread's ops, also for counting those that are lost."""
        self._new_stream()

    def after_fork(self) -> None:
        """In a forked child: parts of its own. The parent's mappings are let go, never written."""
        self.left = []
        self.local = _thread._local()
        parent: Any = super()
        parent.after_fork()


def over(lines: Any) -> Any:
    """The class of spool of a process that the Python engine records: streams of ops, and lines.

    Args:
        lines: `lines.Lines`.
    """
    return type("Spool", (Streams, lines), {})


def _mapped(name: str, size: int) -> Any:
    """A new file of `size` bytes that are really there, mapped.

    Raises:
        OSError: If that is not possible.
    """
    fd = posix.open(name, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        posix.fchmod(fd, 0o600)  # whatever the program's umask takes away, merge must be able to read it
        posix.posix_fallocate(fd, 0, size)
        return _map_fd(fd, size)
    except (OSError, ValueError):
        posix.unlink(name)
        raise
    finally:
        posix.close(fd)


def _raw_mmap() -> Callable[[int, int], Any]:
    """mmap(2) as a function of descriptor and size, through the extension below ctypes.

    Python's own mmap keeps a duplicate of the descriptor for the sake of resize(), and closes that number when it goes,
    whoever owns it by then: a program that closes all descriptors, as daemons do, would lose a file of its own.
    """
    import _ctypes as door
    import mmap as _mmap

    _ctypes: Any = door  # what stands below ctypes is not made to be typed
    simple, array, function = _ctypes._SimpleCData, _ctypes.Array, _ctypes.CFuncPtr
    long = type("long", (simple,), {"_type_": "l"})
    byte = type("byte", (simple,), {"_type_": "B"})
    flags = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    prototype = type("prototype", (function,), {"_flags_": flags, "_restype_": long})
    call = prototype(_ctypes.dlsym(_ctypes.dlopen(None, 0), "mmap"))

    def mapped(fd: int, size: int) -> Any:
        protection = _mmap.PROT_READ | _mmap.PROT_WRITE
        address = call(long(0), long(size), long(protection), long(_mmap.MAP_SHARED), long(fd), long(0))
        if address == -1:
            raise OSError("mmap failed")
        kind: Any = type("slots", (array,), {"_type_": byte, "_length_": size})
        return kind.from_address(address)

    return mapped


def _choose_mmap() -> Callable[[int, int], Any]:
    import mmap as _mmap

    if sys.version_info >= (3, 13):
        return lambda fd, size: _mmap.mmap(fd, size, trackfd=False)
    try:
        return _raw_mmap()
    except Exception:  # a Python built without libffi: one descriptor per chunk is seen in the program
        return _mmap.mmap


_mapper: Callable[[int, int], Any] | None = None


def _map_fd(fd: int, size: int) -> Any:
    global _mapper  # noqa: PLW0603  # chosen at first use: what it needs costs a start-up that the native engine can spare
    if _mapper is None:
        _mapper = _choose_mmap()
    return _mapper(fd, size)


if TYPE_CHECKING:

    class Spool(Streams, Lines):
        """What `over` gives, for annotations."""
