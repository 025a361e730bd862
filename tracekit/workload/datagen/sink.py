"""A file that only remembers what was written to it, for libraries that want one while we want pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


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
