"""The storage seam: what the replayer asks of a place, whatever is behind it."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

# mm/filemap.c reads at most INT_MAX rounded down to a page in one call, whatever was asked for (read(2), NOTES).
MAX_READ_BYTES = 0x7FFFF000
POLICIES = ("default", "random", "sequential", "direct")


@dataclass(frozen=True)
class Access:
    """How a place is to be opened.

    Args:
        policy: `default`, `random` or `sequential` tell the page cache what to expect (posix_fadvise(2)); `direct` goes
            past it with O_DIRECT.
        fallback: Whether a place that refuses O_DIRECT may be read through the page cache instead; the handle then
            says so in `fell_back`.
    """

    policy: str = "default"
    fallback: bool = False


@dataclass(frozen=True)
class Look:
    """What stands at a place: its kind (`file`, `directory`, `other`) and its size in bytes."""

    kind: str
    size: int


class Window:
    """Memory that a handle can read into.

    Args:
        view: The memory.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view


class Buffer(Window):
    """Page-aligned memory with an address, reused for every read of a stream.

    Args:
        size: Bytes; memory is only occupied where something was read into it.
    """

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        # Private: MADV_DONTNEED gives the memory of a shared mapping, which is the default, not back.
        self._map = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        super().__init__(memoryview(self._map))
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)

    def trim(self, keep: int) -> None:
        """Give the memory above `keep` bytes back to the system; it is there again when next written to."""
        first = -(-keep // mmap.PAGESIZE) * mmap.PAGESIZE
        if first < self.size:
            self._map.madvise(mmap.MADV_DONTNEED, first, self.size - first)


class Handle(Protocol):
    """One open place."""

    direct: bool
    fell_back: bool

    @property
    def size(self) -> int:
        """Bytes the place holds now."""

    def fileno(self) -> int:
        """The descriptor behind it, or -1 where there is none."""

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The (offset, length) that is issued for a request: the same, or rounded outwards."""

    def delivered(self, offset: int, length: int, result: int) -> int:
        """How many bytes of the request are among the `result` bytes its span returned."""

    def pread(self, buffer: Window, length: int, offset: int) -> int:
        """Read a span into the start of `buffer`; the number of bytes.

        Raises:
            OSError: What the system said.
        """

    def close(self) -> None:
        """Give the place back; a second call does nothing."""


class OpenFile:
    """What every handle on a descriptor of this machine does, whichever way its reads go.

    Args:
        fd: The descriptor; the handle closes it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def size(self) -> int:
        """Bytes the file holds now."""
        return os.fstat(self._fd).st_size

    def fileno(self) -> int:
        """The file descriptor."""
        return self._fd

    def pread(self, buffer: Window, length: int, offset: int) -> int:
        """preadv(2) into the buffer."""
        return os.preadv(self._fd, [buffer.view[:length]], offset)

    def close(self) -> None:
        """Close the descriptor once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Storage(Protocol):
    """A kind of place. `place` is what `resolve` returned: a path, a key. `local` places are paths of this machine."""

    local: bool

    def resolve(self, uri: str) -> str:
        """The place of a URI.

        Raises:
            InputError: If the URI cannot name a place here.
        """

    def open(self, place: str, access: Access) -> Handle:
        """Open a place for reading.

        Raises:
            OSError: What the system said; EINVAL where O_DIRECT is refused and there is no fallback.
        """

    def touch_open(self, place: str) -> int:
        """Open a place as the recorded program did, with nothing added; a descriptor for `touch_close`."""

    def touch_close(self, descriptor: int) -> None:
        """Close what `touch_open` returned."""

    def look(self, place: str) -> Look:
        """What stands at a place, and whether we may read it.

        Raises:
            OSError: What the system said.
        """

    def stat(self, place: str) -> int:
        """The size of a place in bytes."""

    def list(self, place: str) -> int:
        """Read a directory to its end; the number of entries."""

    def walk(self, place: str) -> Iterator[tuple[str, int]]:
        """Every file below a directory or prefix, or the place itself where it is a file: its place and its size in bytes.

        Files come in order of their names, folder by folder; names that begin with a dot are left out.

        Raises:
            OSError: What the system said; ENOENT where there is nothing.
        """

    def write(self, place: str, body: bytes | memoryview | Iterable[bytes], *, create: bool = False) -> None:
        """Make a place that holds this; with `create` it must not be there yet.

        Raises:
            OSError: What the system said; EEXIST where it was there.
        """

    def delete(self, place: str) -> None:
        """Remove a place (errors: OSError)."""
