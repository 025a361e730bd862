"""Rows of integers as keys: their codes, their order, and what belongs to equal ones.

NumPy sorts one array of 64-bit integers many times as fast as it sorts rows of several: where the ranges of the columns
allow it, a row becomes one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import IntArray

Ints = NDArray[np.int64]

# A table of that many entries (one per possible value) is looked through faster than values are sorted.
_TABLE = 1 << 22
_MOST = 2**63


def codes_of(*columns: IntArray) -> Ints:
    """Numbers from 0 for the distinct rows of columns of 32-bit values (NULL allowed), in their sorted order."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if len(column) and not bool((column == column[0]).all()):
            low, high = int(column.min()), int(column.max())
            codes = _ranks(codes * (high - low + 1) + (column.astype(np.int64) - low))
    return codes


def _ranks(values: Ints) -> Ints:
    """The rank of each value (not negative) among the distinct ones."""
    size = int(values.max()) + 1
    if size > max(_TABLE, len(values)):
        return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    # Memory that is never written to costs nothing: only the places of values that occur are touched.
    met, rank = np.zeros(size, np.bool_), np.empty(size, np.int64)
    met[values] = True
    found = np.flatnonzero(met)
    rank[found] = np.arange(len(found))
    return rank[values]


def sorted_order(*columns: IntArray) -> NDArray[np.intp]:
    """The order that sorts rows by the first column, then the second and so on; equal rows keep theirs."""
    count = len(columns[0])
    if not count:
        return np.zeros(0, np.intp)
    packed = _packed(columns, _MOST // count)
    return np.lexsort(columns[::-1]) if packed is None else _order(packed.rows, packed.size)


def _order(rows: Ints, size: int) -> NDArray[np.intp]:
    """The stable order of numbers from 0 to below `size`, which times their count is below 2^63."""
    if size <= 1 << 16:
        # Of 16-bit integers NumPy's stable sort is a radix sort.
        return np.argsort(rows.astype(np.uint16), kind="stable")
    if size <= 1 << 32:
        order = np.argsort((rows & 0xFFFF).astype(np.uint16), kind="stable")
        return order[np.argsort((rows >> 16).astype(np.uint16)[order], kind="stable")]
    return np.sort(rows * len(rows) + np.arange(len(rows))) % len(rows)


@dataclass(frozen=True)
class _Packed:
    """Rows of columns as one number each, and how to get the columns back: (smallest value, zeros at the end, bits)."""

    rows: Ints
    size: int
    columns: Sequence[tuple[int, int, int]]

    def unpacked(self, rows: Ints) -> list[Ints]:
        """The columns of some rows."""
        found: list[Ints] = []
        for low, zeros, bits in reversed(self.columns):
            found.append(((rows & ((1 << bits) - 1)) << zeros) + low)
            rows = rows >> bits
        return found[::-1]


def _packed(columns: Sequence[IntArray], most: int) -> _Packed | None:
    """One number from 0 for each row, in the rows' order; None where there would have to be more than `most`."""
    together, rows, facts = 0, np.zeros(len(columns[0]), np.int64), []
    for column in columns:
        low = int(column.min())
        span = int(column.max()) - low + 1
        if span >= _MOST:
            return None
        values = column.astype(np.int64, copy=False) - low
        zeros = 0
        if span > 1 << 16:
            # Offsets are multiples of a block: zeros at the end need no room.
            found = int(np.bitwise_or.reduce(values))
            zeros = (found & -found).bit_length() - 1
            values, span = values >> zeros, (span - 1 >> zeros) + 1
        # Whole bits, not the span itself: dividing takes ten times as long as shifting.
        bits = (span - 1).bit_length()
        together += bits
        if 1 << together > most:
            return None
        rows = (rows << bits) | values if bits else rows
        facts.append((low, zeros, bits))
    return _Packed(rows, 1 << together, facts)


def changes(*columns: Ints) -> NDArray[np.bool_]:
    """Where a row differs from the one before; the first always does."""
    new = np.ones(len(columns[0]), np.bool_)
    if len(new):
        new[1:] = False
        for column in columns:
            new[1:] |= column[1:] != column[:-1]
    return new


def grouped(keys: Sequence[Ints], values: Sequence[Ints]) -> tuple[list[Ints], list[Ints]]:
    """The distinct rows of keys in their order, and the sums of the values of each."""
    count = len(keys[0])
    if not count:
        return list(keys), list(values)
    packed = _packed(keys, _MOST // count)
    rows, sums = list(keys) if packed is None else [packed.rows], list(values)
    # What is grouped by step or time often comes in order.
    if packed is None or bool((packed.rows[1:] < packed.rows[:-1]).any()):
        if packed is not None and packed.size <= 4 * count and _fit_doubles(values):
            return _counted(packed, values)
        order = np.lexsort(keys[::-1]) if packed is None else _order(packed.rows, packed.size)
        rows, sums = ([column[order] for column in columns] for columns in (rows, sums))
    starts = np.flatnonzero(changes(*rows))
    firsts = [row[starts] for row in rows]
    sums = [np.add.reduceat(value, starts) for value in sums]
    return (firsts if packed is None else packed.unpacked(firsts[0])), sums


def _counted(packed: _Packed, values: Sequence[Ints]) -> tuple[list[Ints], list[Ints]]:
    """The groups of rows of which few are possible: they are counted, not sorted."""
    met = np.flatnonzero(np.bincount(packed.rows, minlength=packed.size))
    sums = [np.bincount(packed.rows, value, packed.size)[met].astype(np.int64) for value in values]
    return packed.unpacked(met), sums


def _fit_doubles(values: Sequence[Ints]) -> bool:
    """Whether sums of these values are exact in doubles."""
    return all(len(value) * int(np.abs(value).max(initial=0)) < 2**53 for value in values)
