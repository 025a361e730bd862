"""Queue depth and bytes in flight over time: one sweep over the moments ops begin and end.

An op is in flight in the half-open interval [t_submit, t_complete): when one op ends at the very instant another begins,
they do not overlap. An op of length zero counts at its instant, for the peaks only: it takes no time.

A trace is swept in pieces: what happens before the time from which the next piece goes on is settled, the rest waits. Only
ops that are in flight at that time wait, so memory does not grow with the trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import Histogram
from tracekit.metrics.slots import Slots

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sweep:
    """Depth and bytes in flight as step functions of time.

    Between `times[i]` and `times[i + 1]` there are `depth[i]` ops with `bytes[i]` bytes in flight; `begun[i]` ops began at
    `times[i]`. Before the first and after the last time there are none, in the sweep of a whole trace; a later piece begins
    where the one before it ended.
    """

    times: Ints
    depth: Ints
    bytes: Ints
    begun: Ints
    peak_depth: int
    peak_bytes: int

    @classmethod
    def of(cls, submit: Ints, complete: Ints, sizes: Ints) -> Sweep:
        """The sweep over ops with these times (ns, complete ≥ submit) and sizes (bytes)."""
        return Sweeper().take(submit, complete, sizes, None)

    @property
    def span_ns(self) -> int:
        """From the first begin to the last end."""
        return int(self.times[-1] - self.times[0]) if len(self.times) else 0

    def mean(self) -> float | None:
        """Mean depth over time; None when no time passed."""
        span = self.span_ns
        return self.distribution().total / span if span else None

    def distribution(self) -> Histogram:
        """How many nanoseconds were spent at each depth."""
        spent = Slots()
        spent.add(self.depth[:-1], np.diff(self.times))
        return Histogram.of(np.arange(len(spent.values)), spent.values)

    def at(self, moments: Ints) -> Ints:
        """The depth at these moments."""
        position = np.searchsorted(self.times, moments, side="right")
        return np.concatenate([[0], self.depth])[position]

    def lowest(self, begin: Ints, end: Ints) -> Ints:
        """The smallest depth within each interval [begin, end); at `begin` where the interval is empty."""
        if not len(begin):
            return np.zeros(0, np.int64)
        depth = np.concatenate([[0], self.depth, [0]])
        first = np.searchsorted(self.times, begin, side="right")
        last = np.searchsorted(self.times, end, side="left") + 1
        pairs = np.column_stack([first, np.maximum(last, first + 1)]).ravel()
        lowest: Ints = np.minimum.reduceat(depth, pairs)[::2]
        return lowest

    def idle(self, begin: Ints, end: Ints) -> Ints:
        """How many nanoseconds of each of these intervals [begin, end) passed with nothing in flight."""
        if not len(begin) or not len(self.times):
            return end - begin
        empty = self.depth == 0
        until = np.concatenate([[0], np.cumsum(np.where(empty[:-1], np.diff(self.times), 0))])
        position = np.searchsorted(self.times, np.concatenate([begin, end]), side="right") - 1
        since = np.concatenate([begin, end]) - self.times[np.maximum(position, 0)]
        # Before the first op nothing is in flight either; `since` is negative there.
        passed = until[np.maximum(position, 0)] + np.where((position < 0) | empty[position], since, 0)
        idle: Ints = passed[len(begin) :] - passed[: len(begin)]
        return idle


class Sweeper:
    """The sweep over ops that come in pieces, in order of time."""

    def __init__(self) -> None:
        nothing = np.zeros(0, np.int64)
        # What was not settled yet: begins and ends (with sizes), and the times of ops that take no time.
        self._begin, self._begin_size = nothing, nothing
        self._end, self._end_size = nothing, nothing
        self._brief, self._brief_size = nothing, nothing
        self._depth = self._bytes = 0
        self._time: int | None = None

    def take(self, submit: Ints, complete: Ints, sizes: Ints, until: int | None) -> Sweep:
        """The sweep up to `until`, ns: no later op begins before that. None settles everything.

        It begins at the last time of the sweep before, with the depth that was reached there.
        """
        times, steps, amounts = self._events(submit, complete, sizes, until)
        depth, held = np.cumsum(steps) + self._depth, np.cumsum(amounts) + self._bytes
        settled = np.append(times[1:] != times[:-1], True) if len(times) else np.zeros(0, np.bool_)
        place = np.flatnonzero(settled)
        begun = np.diff(np.cumsum(steps > 0)[place], prepend=0)
        peaks = int(depth.max(initial=0)), int(held.max(initial=0))
        times, depth, held = times[place], depth[place], held[place]
        before = self._time
        if len(times):
            first = () if before is None else (before, self._depth, self._bytes)
            self._time, self._depth, self._bytes = int(times[-1]), int(depth[-1]), int(held[-1])
            if first:
                times, depth, held, begun = (
                    np.concatenate([[value], column])
                    for value, column in zip((*first, 0), (times, depth, held, begun), strict=True)
                )
        return Sweep(times, depth, held, begun, *peaks)

    def _events(self, submit: Ints, complete: Ints, sizes: Ints, until: int | None) -> tuple[Ints, Ints, Ints]:
        """What happens before `until`, in order of time: when, by how much depth and bytes change."""
        brief = complete == submit
        takes = ~brief
        self._begin, self._begin_size, begins, begin_sizes = _split(self._begin, self._begin_size, submit, sizes, until)
        self._end, self._end_size, ends, end_sizes = _split(
            self._end, self._end_size, complete[takes], sizes[takes], until
        )
        self._brief, self._brief_size, briefs, brief_sizes = _split(
            self._brief, self._brief_size, complete[brief], sizes[brief], until
        )
        # Ties: what ends makes room before what begins takes it; what takes no time leaves last, having been counted.
        times = np.concatenate([ends, begins, briefs])
        order = np.argsort(times, kind="stable")
        steps = np.ones(len(times), np.int64)
        steps[: len(ends)] = -1
        steps[len(ends) + len(begins) :] = -1
        amounts = np.concatenate([-end_sizes, begin_sizes, -brief_sizes])
        return times[order], steps[order], amounts[order]


def _split(
    waiting: Ints, waiting_sizes: Ints, times: Ints, sizes: Ints, until: int | None
) -> tuple[Ints, Ints, Ints, Ints]:
    """What waits on (times, sizes), and what is settled, in order of time."""
    if len(waiting):
        times, sizes = np.concatenate([waiting, times]), np.concatenate([waiting_sizes, sizes])
    if bool((times[1:] < times[:-1]).any()):
        order = np.argsort(times, kind="stable")
        times, sizes = times[order], sizes[order]
    place = len(times) if until is None else int(np.searchsorted(times, until, side="left"))
    # Copies: what waits must not keep the whole piece in memory.
    return times[place:].copy(), sizes[place:].copy(), times[:place], sizes[:place]


class Timeline:
    """Mean and largest depth in windows of equal length, a power of two of ns, at most so many.

    How long a trace takes is known at its end: windows are made twice as wide whenever there would be too many. They begin
    at the first op, so the result does not depend on the pieces.

    Args:
        most: How many windows there may be; more than half of them are used.
    """

    def __init__(self, most: int = 200) -> None:
        self._most = most + most % 2
        self._width = 1
        self._start: int | None = None
        self._end = 0
        self._area = np.zeros(self._most)
        self._highest = np.zeros(self._most, np.int64)

    def add(self, piece: Sweep) -> None:
        """Take in the next piece."""
        if not len(piece.times):
            return
        first, last = int(piece.times[0]), int(piece.times[-1])
        self._start = first if self._start is None else self._start
        self._end = last
        while self._count() > self._most:
            self._widen()
        if last > first:
            self._fill(piece, first, last)

    def windows(self) -> tuple[Ints, NDArray[np.float64], Ints]:
        """Start of each window (ns), mean depth, and largest depth; nothing where no time passed."""
        count = self._count()
        start = np.array([(self._start or 0) + self._width * number for number in range(count)], np.int64)
        lengths = np.minimum(self._end - start, self._width) if count else np.zeros(0, np.int64)
        return start, self._area[:count] / lengths, self._highest[:count].copy()

    def _count(self) -> int:
        return -(-(self._end - (self._start or 0)) // self._width) if self._start is not None else 0

    def _widen(self) -> None:
        self._width *= 2
        half = self._most // 2
        self._area[:half] = self._area.reshape(-1, 2).sum(axis=1)
        self._highest[:half] = self._highest.reshape(-1, 2).max(axis=1)
        self._area[half:], self._highest[half:] = 0, 0

    def _fill(self, piece: Sweep, first: int, last: int) -> None:
        assert self._start is not None
        low, high = (first - self._start) // self._width, -(-(last - self._start) // self._width)
        inner = [self._start + self._width * number for number in range(low + 1, high)]
        edges = np.array([first, *inner, last], np.int64)
        lasts = np.diff(piece.times)
        area = np.concatenate([[0.0], np.cumsum(piece.depth[:-1].astype(np.float64) * lasts)])
        before = np.searchsorted(piece.times, edges, side="right") - 1
        until = area[before] + piece.depth[before] * (edges - piece.times[before]).astype(np.float64)
        self._area[low:high] += np.diff(until)
        start = np.searchsorted(piece.times, edges[:-1], side="right") - 1
        stop = np.searchsorted(piece.times, edges[1:], side="left")
        pairs = np.column_stack([start, np.maximum(stop, start + 1)]).ravel()
        highest = np.maximum.reduceat(np.append(piece.depth, 0), pairs)[::2]
        self._highest[low:high] = np.maximum(self._highest[low:high], highest)


class Intervals:
    """What a sweep that comes in pieces is like within some intervals [begin, end).

    Args:
        begin: When each begins, ns; below 0 where it is not asked for.
        end: When it ends.
    """

    def __init__(self, begin: Ints, end: Ints) -> None:
        self._begin, self._end = begin, end
        self._lowest = np.full(len(begin), np.iinfo(np.int64).max)
        self._idle = np.zeros(len(begin), np.int64)
        self._order = np.argsort(begin, kind="stable")
        self._sorted = begin[self._order]
        self._longest = int((end - begin).max(initial=0))
        self._from: int | None = None
        self._until = 0

    def add(self, piece: Sweep) -> None:
        """Take in the next piece."""
        if not len(piece.times):
            return
        first, last = int(piece.times[0]), int(piece.times[-1])
        self._from = first if self._from is None else self._from
        self._until = last
        # Only what can overlap the piece: begun before its end, and not so early that it must be over.
        place = np.searchsorted(self._sorted, [first - self._longest, last])
        chosen = self._order[place[0] : place[1]]
        begin, end = self._begin[chosen], self._end[chosen]
        meets = (end > first) | (begin >= first)
        chosen, begin, end = chosen[meets], np.maximum(begin[meets], first), np.minimum(end[meets], last)
        self._lowest[chosen] = np.minimum(self._lowest[chosen], piece.lowest(begin, end))
        self._idle[chosen] += piece.idle(begin, np.maximum(begin, end))

    def lowest(self) -> Ints:
        """The smallest depth of each interval; 0 where a part of it lies outside of the sweep."""
        if self._from is None:
            return np.zeros(len(self._begin), np.int64)
        begun_outside = (self._begin < self._from) | (self._begin >= self._until)
        outside = begun_outside | (self._end > self._until)
        return np.where(outside, 0, self._lowest)

    def idle(self) -> Ints:
        """How many nanoseconds of each interval passed with nothing in flight: also those before and after the sweep."""
        idle: Ints = self._idle + np.maximum(self._end - self._begin, 0)
        if self._from is not None:
            inside = np.minimum(self._end, self._until) - np.maximum(self._begin, self._from)
            idle -= np.maximum(inside, 0)
        return idle
