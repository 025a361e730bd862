"""Records of one size in a file: what a replay knows of every op lies there, not in memory.

Read and written by position, and mapped only where each record is stored to at its time: pages of a mapped file count as this
process's memory, and nobody says when they go.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError

# Records that are looked at together: enough for NumPy to be quick, and little beside the interpreter.
BLOCK = 8_192
# Reading this many records too many costs less than another system call; and so many are read at once at most.
_GAP, _SPAN = 128, 16_384
Block = NDArray[Any]


class Records:
    """A growing file of records.

    Args:
        dtype: What a record is: a structured type.
        folder: The directory of the file; None is the system's own for temporary files.
        name: In a folder, the name under which the file is there and stays, with what it has. Without one it is gone with
            the last reference to it, however the process ends.

    Attributes:
        descriptor: The open file, for others that write or map it.
        close: Gives the space back now, and not when the last reference goes.

    Raises:
        CannotRunError: If the file cannot be made, or (by every method that writes) the disk is full.
    """

    def __init__(self, dtype: np.dtype[Any], folder: str | None = None, name: str = "") -> None:
        self.dtype = dtype
        self.name = name if folder else ""
        self._folder = folder or tempfile.gettempdir()
        try:
            self.descriptor = self._opened()
        except OSError as error:
            raise self._failed(error) from None
        self.close = weakref.finalize(self, os.close, self.descriptor)
        self.refresh()

    def _opened(self) -> int:
        if self.name:
            return os.open(os.path.join(self._folder, self.name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        descriptor, path = tempfile.mkstemp(prefix=".tracekit-", dir=self._folder)
        os.unlink(path)
        return descriptor

    def __len__(self) -> int:
        return self._count

    def refresh(self) -> None:
        """Count again: somebody else wrote to the file. A record that is cut short does not count."""
        self._count = os.fstat(self.descriptor).st_size // self.dtype.itemsize

    def append(self, block: Block) -> None:
        """Add records at the end."""
        self.write(self._count, block)

    def write(self, first: int, block: Block) -> None:
        """Put records at a position, in place of what is there."""
        data, at = np.ascontiguousarray(block, self.dtype).view(np.uint8).data, first * self.dtype.itemsize
        try:
            while len(data):
                written = os.pwrite(self.descriptor, data, at)
                data, at = data[written:], at + written
        except OSError as error:
            raise self._failed(error) from None
        self._count = max(self._count, first + len(block))

    def mapped(self, count: int) -> Block:
        """`count` records of zeros at the beginning, in shared memory: what is stored there is in the file, however the process ends."""
        size = count * self.dtype.itemsize
        if not size:
            return np.zeros(0, self.dtype)
        try:
            # Never sparse: a full disk must not become SIGBUS.
            os.posix_fallocate(self.descriptor, 0, size)
            memory = mmap.mmap(self.descriptor, size, mmap.MAP_SHARED)
        except OSError as error:
            raise self._failed(error) from None
        self.refresh()
        return np.frombuffer(memory, self.dtype)

    def read(self, first: int, count: int) -> Block:
        """Records from a position on; fewer at the end."""
        count = max(0, min(count, self._count - first))
        block = np.empty(count, self.dtype)
        view, at = block.view(np.uint8).data, first * self.dtype.itemsize
        while len(view):
            got = os.preadv(self.descriptor, [view], at)
            if not got:
                raise CannotRunError("a temporary file of the replay was cut short", "was it removed or the disk full?")
            view, at = view[got:], at + got
        return block

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, Block]]:
        """All records piece by piece, each with the position of its first."""
        for first in range(0, self._count, size):
            yield first, self.read(first, size)

    def take(self, places: NDArray[np.integer[Any]]) -> Block:
        """The records at these positions, in that order; neighbours are read together."""
        order = np.argsort(places, kind="stable")
        wanted = np.asarray(places)[order]
        found = np.empty(len(wanted), self.dtype)
        cuts = np.flatnonzero((np.diff(wanted) > _GAP) | (np.diff(wanted // _SPAN) > 0)) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(wanted)], strict=True):
            if begin < end:
                first = int(wanted[begin])
                near = self.read(first, int(wanted[end - 1]) + 1 - first)
                found[order[begin:end]] = near[wanted[begin:end] - first]
        return found

    def _failed(self, error: OSError) -> CannotRunError:
        return CannotRunError(
            f"the replay's working file in {self._folder} cannot be written: {error.strerror}",
            "it is made beside the output; name another place with -o, or set TMPDIR where nothing is written",
        )
