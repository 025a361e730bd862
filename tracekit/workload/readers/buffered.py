"""A buffered file of Python without the file: the requests that reach the system, by what is asked of it.

It follows CPython's `io.BufferedReader` (Modules/_io/bufferedio.c): what is in the buffer is given from there, whole blocks go straight
to who asked, and what is left is read as one block into the buffer.
"""

from __future__ import annotations

import io
import sys

from tracekit.workload.shape import Request

# What `open` takes for a buffer where the file system has blocks of 4 KiB.
BLOCK = io.DEFAULT_BUFFER_SIZE if sys.version_info >= (3, 14) else 4096


class Buffered:
    """Requests of a file that is opened with `open(name, "rb")`.

    Args:
        size: Of the file, in bytes.
        block: Of the buffer, in bytes.
    """

    def __init__(self, size: int, block: int = BLOCK) -> None:
        self.requests: list[Request] = []
        self.at = 0
        self._size, self._block = size, block
        # What the buffer holds, as a range of the file; and where the system's offset is.
        self._first = self._end = self._raw = 0

    def seek(self, to: int, *, from_end: bool = False) -> None:
        """Go to a byte; one that is in the buffer costs nothing, unless it is named from the end."""
        target = self._size + to if from_end else to
        if not from_end and self.at < self._end and self._first <= target <= self._end:
            self.at = target
            return
        self.at = self._first = self._end = self._raw = target

    def read(self, count: int) -> int:
        """Ask for bytes; how many there are."""
        given, left = self._given(count)
        while left >= self._block:
            got = self._ask(left // self._block * self._block)
            if not got:
                return given
            given, left = given + got, left - got
            self.at = self._first = self._end = self._raw
        return given + self._filled(left)

    def readinto(self, count: int) -> int:
        """Ask for bytes into memory of one's own; how many there are."""
        given, left = self._given(count)
        while left > self._block:
            got = self._ask(left)
            if not got:
                return given
            given, left = given + got, left - got
            self.at = self._first = self._end = self._raw
        return given + self._filled(left)

    def read_all(self) -> None:
        """Ask for all that is left: the system is asked for one byte more, until it has none."""
        self._given(self._end - self.at)
        while self._ask(max(0, self._size - self._raw) + 1):
            pass
        self.at = self._first = self._end = self._raw

    def _given(self, count: int) -> tuple[int, int]:
        """What the buffer gives of so many bytes, and how many it lacks; a buffer that gave all it had is empty."""
        given = min(count, max(0, self._end - self.at))
        self.at += given
        if given < count:
            self._first = self._end = self.at
        return given, count - given

    def _filled(self, left: int) -> int:
        """The rest of a read, by way of the buffer."""
        given = 0
        while left > 0 and self._end - self._first < self._block:
            got = self._ask(self._block - (self._end - self._first))
            if not got:
                break
            self._end += got
            taken = min(got, left)
            self.at, given, left = self.at + taken, given + taken, left - taken
        return given

    def _ask(self, count: int) -> int:
        got = max(0, min(count, self._size - self._raw))
        self.requests.append((self._raw, count))
        self._raw += got
        return got
