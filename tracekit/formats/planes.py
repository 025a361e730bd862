"""Integer columns as planes of bytes: what is predicted is taken off, and the bytes of equal weight are put side by side.

Every way of predicting is exact both ways: arithmetic is modulo 2^64, so missing values (-1) need no care.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import IntArray

_Words = NDArray[np.uint64]
# Ways of predicting; the numbers are part of the format, never use one again.
PLAIN, DELTA, BESIDE_SUBMIT, BESIDE_LEN, PER_FILE, PER_THREAD = range(6)
LAST_WAY = PER_THREAD
# Which of them are tried for which column; the columns that they look at come before.
WAYS: Mapping[str, tuple[int, ...]] = {
    "t_submit": (DELTA, PER_THREAD),
    "t_complete": (BESIDE_SUBMIT,),
    "t_due": (BESIDE_SUBMIT,),
    "t_first_byte": (BESIDE_SUBMIT,),
    "offset": (PLAIN, DELTA, PER_FILE),
    "ret": (BESIDE_LEN, PLAIN),
}
ORDINARY = (PLAIN, DELTA)
# Columns whose values others are predicted from go first.
FIRST = ("uri", "len", "tid", "t_submit")
# How long an op took: what is left of t_complete beside t_submit. It is known before either is.
SERVICE = "service"


def residue(way: int, values: IntArray, others: Mapping[str, IntArray]) -> _Words:
    """What is left of a column when its prediction is taken off, small where that was good."""
    words = values.astype(np.int64).view(np.uint64)
    if way == DELTA:
        words = np.diff(words, prepend=np.uint64(0))
    elif way == BESIDE_SUBMIT:
        words = words - others["t_submit"].view(np.uint64)
    elif way == BESIDE_LEN:
        words = words - others["len"].view(np.uint64)
    elif way == PER_FILE:
        words = words - _ends_before(words, others["uri"], others["len"])
    elif way == PER_THREAD:
        words = words - _ends_before(words, others["tid"], others[SERVICE])
    signed = words.view(np.int64)
    return ((signed << 1) ^ (signed >> 63)).view(np.uint64)


def restored(way: int, left: _Words, others: Mapping[str, IntArray]) -> IntArray:
    """The column that `residue` was made of."""
    words = unfolded(left)
    if way == DELTA:
        words = np.cumsum(words, dtype=np.uint64)
    elif way == BESIDE_SUBMIT:
        words = words + others["t_submit"].view(np.uint64)
    elif way == BESIDE_LEN:
        words = words + others["len"].view(np.uint64)
    elif way == PER_FILE:
        words = _placed(words, others["uri"], others["len"])
    elif way == PER_THREAD:
        words = _placed(words, others["tid"], others[SERVICE])
    values: IntArray = words.view(np.int64)
    return values


def unfolded(left: _Words) -> _Words:
    """Differences with their sign back: 0, 1, 2, 3 … are 0, -1, 1, -2 …."""
    words: _Words = (left >> np.uint64(1)) ^ (np.uint64(0) - (left & np.uint64(1)))
    return words


def _grouped(keys: IntArray, lengths: IntArray) -> tuple[NDArray[np.intp], NDArray[np.bool_], _Words]:
    """The order in which the ops of each key follow each other, where a key begins in it, and lengths in that order."""
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return order, begins, lengths.view(np.uint64)[order]


def _ends_before(words: _Words, keys: IntArray, lengths: IntArray) -> _Words:
    """For each op where the op before it of the same key ended; 0 for a key's first."""
    order, begins, lengths_in_order = _grouped(keys, lengths)
    ends = np.zeros(len(words), np.uint64)
    ends[1:] = (words[order] + lengths_in_order)[:-1]
    ends[begins] = 0
    found = np.empty_like(ends)
    found[order] = ends
    return found


def _placed(words: _Words, keys: IntArray, lengths: IntArray) -> _Words:
    """The values of which `_ends_before` was taken off."""
    order, begins, lengths_in_order = _grouped(keys, lengths)
    before = np.zeros(len(words), np.uint64)
    before[1:] = lengths_in_order[:-1]
    before[begins] = 0
    sums = np.cumsum(words[order] + before, dtype=np.uint64)
    starts = np.flatnonzero(begins)
    base = np.zeros(len(starts), np.uint64)
    base[1:] = sums[starts[1:] - 1]
    found = np.empty_like(sums)
    found[order] = sums - np.repeat(base, np.diff(starts, append=len(words)))
    return found


def to_planes(words: _Words) -> tuple[int, bytes]:
    """(bytes a value, all first bytes, all second bytes, …), no more bytes than the largest value has."""
    largest = int(words.max()) if len(words) else 0
    count = (largest.bit_length() + 7) // 8
    return count, np.ascontiguousarray(words.view(np.uint8).reshape(-1, 8)[:, :count].T).tobytes()


def from_planes(count: int, data: Any, rows: int) -> _Words:
    """The values of planes.

    Raises:
        ValueError: If there are not `count` bytes for each.
    """
    if not count:
        return np.zeros(rows, np.uint64)
    planes = np.frombuffer(data, np.uint8).reshape(count, rows)
    wide = np.zeros((rows, 8), np.uint8)
    wide[:, :count] = planes.T
    return wide.view(np.uint64).reshape(-1)
