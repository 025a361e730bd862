"""What comes before a read in its group (its file, its stream): where it ended, and whether this one goes on there.

The core goes through reads in order of time; without it they are sorted by group. Both give the same, read by read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.keys import changes, sorted_order
from tracekit.metrics.slots import Slots
from tracekit.metrics.view import Ints, Places
from tracekit.trace import NULL, Mask

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

# What is known of the read before one: there is none, it was of another file, it was of the same file.
FIRST, OTHER, SAME = range(3)


@dataclass(frozen=True)
class Followed:
    """Of each read: how far from the end of the one before it in its group it starts (0 where there is none), and what that was."""

    gap: Ints
    before: NDArray[np.uint8]

    @property
    def same(self) -> Mask:
        """Which have a read of their file before them."""
        same: Mask = self.before == SAME
        return same

    @property
    def goes_on(self) -> Mask:
        """Which start where the read of their file before them ended."""
        goes_on: Mask = self.same & (self.gap == 0)
        return goes_on


class Followers:
    """The last read of each group, of reads that come in pieces in order of time."""

    def __init__(self) -> None:
        self._uri, self._end = Slots(NULL), Slots(NULL)

    def take(self, group: Ints, places: Places) -> Followed:
        """Take in the next reads; what comes before each."""
        uris, ends = self._uri.room(group), self._end.room(group)
        if _core is None:
            return _sorted_followed(group, places, uris, ends)
        followed = Followed(np.empty(len(group), np.int64), np.empty(len(group), np.uint8))
        columns = [np.ascontiguousarray(column, np.int64) for column in (group, places.uri, places.offset, places.end)]
        arrays: list[NDArray[Any]] = [*columns, uris, ends, followed.gap, followed.before]
        _core.tally_follow(len(group), *(array.ctypes.data for array in arrays))
        return followed


def _sorted_followed(group: Ints, places: Places, uris: Ints, ends: Ints) -> Followed:
    """The same by sorting; `uris` and `ends` are those of the last read of each group."""
    order = sorted_order(group)
    group, places = group[order], places.taken(order)
    first = changes(group)
    last = np.append(first[1:], True)[: len(group)]
    before_uri, before_end = np.empty_like(places.uri), np.empty_like(places.end)
    before_uri[1:], before_end[1:] = places.uri[:-1], places.end[:-1]
    heads, tails = group[first], group[last]
    before_uri[first], before_end[first] = uris[heads], ends[heads]
    uris[tails], ends[tails] = places.uri[last], places.end[last]
    known = before_end != NULL
    gap, before = np.empty(len(order), np.int64), np.empty(len(order), np.uint8)
    gap[order] = np.where(known, places.offset - before_end, 0)
    before[order] = np.where(known, np.where(before_uri == places.uri, SAME, OTHER), FIRST)
    return Followed(gap, before)


class Runs:
    """Lengths of maximal runs of reads that each go on where the one of their file before them ended."""

    def __init__(self) -> None:
        self._open = Slots()

    def take(self, uri: Ints, goes_on: Mask) -> Ints:
        """Take in reads in order of time; the lengths of the runs that ended."""
        open_ = self._open.room(uri)
        if _core is None:
            return _sorted_runs(uri, goes_on, open_)
        lengths = np.empty(len(uri), np.int64)
        arrays = (np.ascontiguousarray(uri, np.int64), np.ascontiguousarray(goes_on), open_, lengths)
        return lengths[: _core.tally_runs(len(uri), *(array.ctypes.data for array in arrays))]

    @property
    def open(self) -> Ints:
        """The lengths of those that go on."""
        return self._open.values[self._open.values > 0]


def _sorted_runs(uri: Ints, goes_on: Mask, open_: Ints) -> Ints:
    """The same by sorting; `open_` has the length so far of each file's run."""
    order = sorted_order(uri)
    uri, goes_on = uri[order], goes_on[order]
    # Runs of this piece: they begin where one starts, and at each file.
    begins = np.flatnonzero(~goes_on | changes(uri))
    lengths = np.diff(np.append(begins, len(uri)))
    of_file, continues = uri[begins], goes_on[begins]
    heads = changes(of_file)
    lengths[continues] += open_[of_file[continues]]
    ended = open_[of_file[heads & ~continues]]
    last = np.append(heads[1:], True)[: len(heads)]
    open_[of_file[last]] = lengths[last]
    return np.concatenate([ended[ended > 0], lengths[~last]])
