"""Sums by key over more keys than memory should hold: places of files, samples, samples of steps.

Rows are grouped as they come. When too many distinct keys have gathered they go to a temporary file, divided by a hash of
their key into partitions, so that in the end each partition can be grouped by itself: memory stays bounded, and the sums
are exact. Estimates (HyperLogLog) were rejected: an edit of one percent must be seen.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.held import Held, Ints, Rows, held, together

# A million rows of two keys and two sums are 32 MiB, and several times as much while they are sorted.
MOST_ROWS = 1 << 20
_PARTITIONS = 64
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Groups:
    """Sums by rows of keys.

    Args:
        keys: How many columns a key has.
        hashed: By how many of them, from the first, rows find together: whoever asks for them may group by fewer columns.
        most: How many distinct keys memory holds.
    """

    def __init__(self, keys: int, hashed: int | None = None, most: int = MOST_ROWS) -> None:
        self._keys = keys
        self._hashed = keys if hashed is None else hashed
        self._most = most
        self._held: Held | None = None
        self._away: _Away | None = None
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(_PARTITIONS)]

    def add(self, keys: Sequence[Ints], values: Sequence[Ints]) -> None:
        """Add values to the sums of their keys; every call gives as many values."""
        if not len(keys[0]):
            return
        if self._held is None:
            self._held = held(self._keys, len(keys) + len(values), self._most)
        for rows in self._held.add([*keys, *values]):
            self._put_away(rows)

    def rows(self) -> Iterator[tuple[Rows, Rows]]:
        """The distinct keys in their order, and their sums, in pieces that memory can hold; keys that hash alike are in one piece."""
        rows = [] if self._held is None else self._held.rows()
        if self._away is None:
            if rows:
                yield self._divided(together(self._keys, [rows]))
            return
        if rows:
            self._put_away(rows)
            self._held = None
        for pieces in self._pieces:
            if pieces:
                yield self._divided(together(self._keys, [self._away.rows(*piece) for piece in pieces]))

    def __deepcopy__(self, memo: object) -> Groups:
        twin = Groups(self._keys, self._hashed, self._most)
        if self._held is not None and (rows := self._held.rows()):
            twin.add(*self._divided(rows))
        # What was put away is never changed, only added to: two can share it.
        twin._away, twin._pieces = self._away, [list(pieces) for pieces in self._pieces]
        return twin

    def _divided(self, rows: Rows) -> tuple[Rows, Rows]:
        return rows[: self._keys], rows[self._keys :]

    def _put_away(self, rows: Rows) -> None:
        self._away = self._away or _Away(len(rows))
        parts = partition(rows[: self._hashed])
        order = np.argsort(parts, kind="stable")
        edges = np.searchsorted(parts[order], np.arange(_PARTITIONS + 1)).tolist()
        first = self._away.put([column[order] for column in rows])
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            if end > begin:
                self._pieces[number].append((first + begin, end - begin))


class _Away:
    """Rows of so many columns in a temporary file that nobody else sees."""

    def __init__(self, width: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as this object
        self._width = width
        self._count = 0

    def __del__(self) -> None:
        # What a full disk did not take is written once more here: whoever wrote it has been told.
        with suppress(OSError):
            self._file.close()

    def put(self, columns: Rows) -> int:
        """Add rows; the number of the first of them."""
        first = self._count
        self._file.seek(first * self._width * 8)
        self._file.write(np.stack(columns, axis=1).tobytes())
        self._count += len(columns[0])
        return first

    def rows(self, first: int, count: int) -> Rows:
        """The columns of some of the rows."""
        self._file.seek(first * self._width * 8)
        table = np.frombuffer(self._file.read(count * self._width * 8), np.int64).reshape(count, self._width)
        return [np.ascontiguousarray(column) for column in table.T]


def partition(keys: Sequence[Ints]) -> NDArray[np.uint8]:
    """The partition of each row of keys, from 0 to 63: equal rows are in one."""
    mixed = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        mixed = (mixed ^ key.astype(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    parts: NDArray[np.uint8] = (mixed >> np.uint64(58)).astype(np.uint8)
    return parts
