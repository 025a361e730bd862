"""Pieces on their way: a file that only remembers what was written to it, small pieces made large, and a count of what went by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tracekit.workload.datagen.content import BLOCK


class Sink:
    """Takes bytes in order; `take` hands them on."""

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Remember bytes (not a copy: take them before they change)."""
        view = memoryview(data).cast("B")
        self._pieces.append(view)
        self._at += len(view)
        return len(view)

    def tell(self) -> int:
        """How many there were."""
        return self._at

    def take(self) -> Iterator[memoryview]:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        yield from pieces

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing to give back."""
        self.closed = True

    def readable(self) -> bool:
        """It is not read."""
        return False

    def writable(self) -> bool:
        """It is written to."""
        return True

    def seekable(self) -> bool:
        """It goes forwards only."""
        return False


def gathered(pieces: Iterable[Any]) -> Iterator[Any]:
    """Small pieces as larger ones: a system call for each would cost more than the copy."""
    held = bytearray()
    for piece in pieces:
        large = len(piece) >= BLOCK // 2
        if not large:
            held += piece
        if held and (large or len(held) >= BLOCK):
            yield held
            held = bytearray()
        if large:
            yield piece
    if held:
        yield held


class Counted:
    """Pieces, counted as they go by.

    Args:
        pieces: What is counted.
        keep: Whether who takes them keeps them, as a client of a store does, which sends a part while the next is made: then each
            is bytes of its own, for pieces are made in one buffer.
    """

    def __init__(self, pieces: Iterable[Any], *, keep: bool) -> None:
        self._pieces = pieces
        self._keep = keep
        self.bytes = 0

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            self.bytes += len(piece)
            yield bytes(piece) if self._keep else piece
