"""A wire between ranks that are threads of one process."""

from __future__ import annotations

from collections import deque
from typing import Any


class MemoryWire:
    """One end of a wire between threads."""

    def __init__(self, rank: int, boxes: list[deque[tuple[int, Any]]]) -> None:
        self.rank, self.size, self._boxes = rank, len(boxes), boxes
        self.aborted: int | None = None
        self.gone: set[int] = set()

    def send(self, to: int, message: Any) -> None:
        """At once."""
        self._boxes[to].append((self.rank, message))

    def poll(self) -> tuple[int, Any] | None:
        """What is there."""
        return self._boxes[self.rank].popleft() if self._boxes[self.rank] else None

    def flush(self, patience_s: float) -> bool:
        """Nothing is ever under way."""
        return True

    def abort(self, code: int) -> None:
        """Remember it."""
        self.aborted = code


def wires(size: int) -> list[MemoryWire]:
    """All ends of one wire."""
    boxes: list[deque[tuple[int, Any]]] = [deque() for _ in range(size)]
    return [MemoryWire(rank, boxes) for rank in range(size)]
