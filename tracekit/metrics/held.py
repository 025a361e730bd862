"""Sums by rows of keys in memory: a hash table in the core, or runs that are sorted and put together.

What is held is bounded; what has to go for that is handed back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.keys import grouped

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

Ints = NDArray[np.int64]
# Columns of rows: keys, then sums.
Rows = list[Ints]
# Small runs are put together before there are so many that they themselves take memory.
_MOST_RUNS = 64


class Held(Protocol):
    """Rows in memory."""

    def add(self, columns: Sequence[Ints]) -> Iterator[Rows]:
        """Add rows; those that there is no room for any more."""

    def rows(self) -> Rows:
        """What is held, each key once, in any order; nothing where nothing is."""


def held(keys: int, width: int, most: int) -> Held:
    """Where rows of `width` columns are added up by the first `keys` of them, about `most` at a time."""
    if _core is None:
        return Sorted(keys, most)
    return Hashed(_core, keys, width, most)


class Hashed:
    """A hash table in the core."""

    def __init__(self, core: ModuleType, keys: int, width: int, most: int) -> None:
        self._core, self._width, self._most = core, width, most
        self._table = core.groups(keys, width)
        self._count = 0

    def add(self, columns: Sequence[Ints]) -> Iterator[Rows]:
        """Add rows; what fills the table is handed back."""
        arrays = [np.ascontiguousarray(column, np.int64) for column in columns]
        addresses, place, count = _addresses(arrays), 0, len(arrays[0])
        while place < count:
            taken, self._count = self._core.groups_add(
                self._table, addresses.ctypes.data, place, count - place, self._most
            )
            place += taken
            if place < count:
                yield self.rows()
                self._core.groups_clear(self._table)
                self._count = 0

    def rows(self) -> Rows:
        """What is held, in order of first appearance."""
        if not self._count:
            return []
        found = [np.empty(self._count, np.int64) for _ in range(self._width)]
        addresses = _addresses(found)
        self._core.groups_columns(self._table, addresses.ctypes.data)
        return found


class Sorted:
    """Runs of rows, each sorted: what NumPy does best."""

    def __init__(self, keys: int, most: int) -> None:
        self._keys, self._most = keys, most
        self._runs: list[Rows] = []

    def add(self, columns: Sequence[Ints]) -> Iterator[Rows]:
        """Add rows; the runs are put together when there are many, and handed back when they stay many."""
        self._runs.append(together(self._keys, [list(columns)]))
        if sum(len(rows[0]) for rows in self._runs) > self._most:
            self._runs = [together(self._keys, self._runs)]
            if 2 * len(self._runs[0][0]) > self._most:
                yield self._runs.pop()
        elif len(self._runs) > _MOST_RUNS:
            self._runs = [together(self._keys, self._runs)]

    def rows(self) -> Rows:
        """What is held, in order."""
        return together(self._keys, self._runs) if self._runs else []


def together(keys: int, runs: Sequence[Rows]) -> Rows:
    """The rows of several runs in order of their keys, each once."""
    columns = [np.concatenate(parts) for parts in zip(*runs, strict=True)] if len(runs) > 1 else runs[0]
    found, sums = grouped(columns[:keys], columns[keys:])
    return [*found, *sums]


def _addresses(arrays: Sequence[Ints]) -> NDArray[np.uint64]:
    return np.array([array.ctypes.data for array in arrays], np.uint64)
