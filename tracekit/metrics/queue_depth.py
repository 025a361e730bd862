"""Queue depth and bytes in flight over time: one sweep over the moments ops begin and end.

An op is in flight in the half-open interval [t_submit, t_complete): when one op ends at the very instant another begins,
they do not overlap. An op of length zero counts at its instant, for the peaks only: it takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import Histogram

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sweep:
    """Depth and bytes in flight as step functions of time.

    Between `times[i]` and `times[i + 1]` there are `depth[i]` ops with `bytes[i]` bytes in flight; before the first and
    after the last time there are none.
    """

    times: Ints
    depth: Ints
    bytes: Ints
    peak_depth: int
    peak_bytes: int

    @classmethod
    def of(cls, submit: Ints, complete: Ints, sizes: Ints) -> Sweep:
        """The sweep over ops with these times (ns, complete ≥ submit) and sizes (bytes)."""
        instant = complete == submit
        begin = np.argsort(submit, kind="stable")
        end = _sorted_where(~instant, complete)
        brief = _sorted_where(instant, complete)
        # Ties: what ends makes room before what begins takes it; what takes no time leaves last, having been counted.
        times = np.concatenate([complete[end], submit[begin], complete[brief]])
        order = np.argsort(times, kind="stable")
        ones = np.concatenate([np.full(len(end), -1), np.ones(len(begin), np.int64), np.full(len(brief), -1)])
        amounts = np.concatenate([-sizes[end], sizes[begin], -sizes[brief]])
        times, depth, held = times[order], np.cumsum(ones[order]), np.cumsum(amounts[order])
        settled = np.append(times[1:] != times[:-1], True) if len(times) else np.zeros(0, np.bool_)
        return cls(
            times[settled],
            depth[settled],
            held[settled],
            int(depth.max(initial=0)),
            int(held.max(initial=0)),
        )

    @property
    def span_ns(self) -> int:
        """From the first begin to the last end."""
        return int(self.times[-1] - self.times[0]) if len(self.times) else 0

    def mean(self) -> float | None:
        """Mean depth over time; None when no time passed."""
        span = self.span_ns
        return float(self._areas().sum() / span) if span else None

    def distribution(self) -> Histogram:
        """How many nanoseconds were spent at each depth."""
        return Histogram.of(self.depth[:-1], np.diff(self.times))

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

    def idle(self, begin: Ints, end: Ints) -> int:
        """How many nanoseconds of these intervals [begin, end) passed with nothing in flight."""
        if not len(begin):
            return 0
        if not len(self.times):
            return int((end - begin).sum())
        empty = self.depth == 0
        until = np.concatenate([[0], np.cumsum(np.where(empty[:-1], np.diff(self.times), 0))])
        position = np.searchsorted(self.times, np.concatenate([begin, end]), side="right") - 1
        since = np.concatenate([begin, end]) - self.times[np.maximum(position, 0)]
        # Before the first op nothing is in flight either; `since` is negative there.
        passed = until[np.maximum(position, 0)] + np.where((position < 0) | empty[position], since, 0)
        return int((passed[len(begin) :] - passed[: len(begin)]).sum())

    def timeline(self, bins: int = 200) -> tuple[Ints, NDArray[np.float64], Ints]:
        """At most `bins` windows of equal length: start of each (ns), mean depth, and largest depth."""
        span = self.span_ns
        if not span:
            return np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64)
        count = min(bins, span)
        start = int(self.times[0])
        edges = np.array([start + span * i // count for i in range(count + 1)], np.int64)
        area = np.concatenate([[0.0], np.cumsum(self._areas())])
        before = np.searchsorted(self.times, edges, side="right") - 1
        until = area[before] + self.depth[before] * (edges - self.times[before]).astype(np.float64)
        return edges[:-1], np.diff(until) / np.diff(edges), self._highest(edges)

    def _areas(self) -> NDArray[np.float64]:
        return self.depth[:-1].astype(np.float64) * np.diff(self.times)

    def _highest(self, edges: Ints) -> Ints:
        first = np.searchsorted(self.times, edges[:-1], side="right") - 1
        last = np.searchsorted(self.times, edges[1:], side="left")
        pairs = np.column_stack([first, np.maximum(last, first + 1)]).ravel()
        highest: Ints = np.maximum.reduceat(np.append(self.depth, 0), pairs)[::2]
        return highest


def _sorted_where(chosen: NDArray[np.bool_], times: Ints) -> NDArray[np.intp]:
    index = np.flatnonzero(chosen)
    return index[np.argsort(times[index], kind="stable")]
