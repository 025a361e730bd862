"""What a run looked like to the storage over time: when ops arrived, and how many were in flight, fed in the order of time.

Both are fed piece by piece and hold nothing that grows with the trace but one count per 100 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import Histogram

WINDOW_NS = 100_000_000

Int64s = NDArray[np.int64]


class Arrivals:
    """Moments at which ops arrive: the gaps between them, and how many fell into each window of 100 ms.

    Times count from the run's t0. A piece is sorted here; between pieces an arrival earlier than the last one of the piece
    before counts as a gap of 0 (only ops that were late across the seam of two pieces are).
    """

    def __init__(self) -> None:
        self.gaps = Histogram()
        self.windows: Int64s = np.zeros(0, np.int64)
        self.last: int | None = None

    def add(self, moments: Int64s) -> None:
        """Count arrivals, in ns from t0; negative ones count as 0."""
        if not len(moments):
            return
        ordered = np.sort(np.maximum(moments, 0))
        counts = np.bincount(ordered // WINDOW_NS)
        known = np.maximum(ordered, self.last or 0)
        self.gaps.add(np.diff(known) if self.last is None else np.diff(known, prepend=np.int64(self.last)))
        self.last = int(known[-1])
        if len(counts) > len(self.windows):
            # Twice as long as needed, so that a long run does not copy its windows with every piece.
            longer = np.zeros(2 * len(counts), np.int64)
            longer[: len(self.windows)] = self.windows
            self.windows = longer
        self.windows[: len(counts)] += counts


def window_error(planned: Arrivals, issued: Arrivals) -> float:
    """The share of ops that were issued in another window of 100 ms than planned, net of those that took their place.

    Half the sum of |planned − issued| over the windows, divided by the number of ops (total variation distance).
    """
    size = max(len(planned.windows), len(issued.windows))
    total = int(planned.windows.sum())
    if not total:
        return 0.0
    left, right = (np.pad(each.windows, (0, size - len(each.windows))) for each in (planned, issued))
    return float(np.abs(left - right).sum() / (2 * total))


class Depth:
    """Ops in flight over time. Pieces come in the order of t_submit; ops may still be running when a piece ends."""

    def __init__(self) -> None:
        self.peak = 0
        self._weighted = Histogram()
        self._running: Int64s = np.zeros(0, np.int64)
        self._begun = 0
        self._since: int | None = None

    def add(self, submit: Int64s, complete: Int64s) -> None:
        """Count ops, in ascending order of `submit`."""
        if len(submit):
            ends = np.concatenate([self._running, complete])
            over = ends <= submit[-1]
            self._running = ends[~over]
            self._walk(submit, ends[over])

    def over_time(self) -> Histogram:
        """The depths, each weighted by the ns it lasted, from the first submit to the last completion so far."""
        rest = Depth()
        rest._weighted.merge(self._weighted)
        rest._begun, rest._since = self._begun, self._since
        rest._walk(np.zeros(0, np.int64), self._running)
        return rest._weighted

    def to_json(self) -> dict[str, float]:
        """`mean` over time, and `max`."""
        mean = self.over_time().mean
        return {"mean": round(mean or 0.0, 4), "max": self.peak}

    def _walk(self, begins: Int64s, ends: Int64s) -> None:
        moments = np.concatenate([ends, begins])
        if not len(moments):
            return
        steps = np.concatenate([np.full(len(ends), -1), np.ones(len(begins), np.int64)])
        # Completions first where both happen at once: an op that ends as the next begins does not overlap it.
        order = np.argsort(moments, kind="stable")
        moments, depths = moments[order], self._begun + np.cumsum(steps[order])
        self.peak = max(self.peak, int(depths.max()))
        since = int(moments[0]) if self._since is None else self._since
        lasted = np.diff(moments, prepend=np.int64(since))
        before = np.concatenate([[self._begun], depths[:-1]])
        self._weighted.add(np.maximum(before, 0), np.maximum(lasted, 0))
        self._begun, self._since = int(depths[-1]), max(int(moments[-1]), since)


@dataclass
class Flow:
    """The planned and the real course of a run."""

    planned: Arrivals = field(default_factory=Arrivals)
    issued: Arrivals = field(default_factory=Arrivals)
    depth: Depth = field(default_factory=Depth)

    def add(self, due: Int64s | None, submit: Int64s, complete: Int64s) -> None:
        """Count issued ops: ns from t0, in ascending order of `submit`; `due` is None where there is no schedule."""
        if due is not None:
            self.planned.add(due)
        self.issued.add(submit)
        self.depth.add(submit, complete)

    @property
    def gap_distance(self) -> tuple[float, float] | None:
        """Kolmogorov-Smirnov distance of planned and real gaps between ops, as a bracket (at least, at most)."""
        return self.planned.gaps.distance(self.issued.gaps)


def depth(submit: Int64s, complete: Int64s) -> dict[str, float]:
    """Ops in flight of a whole trace, in any order: `max`, and `mean` from the first submit to the last completion."""
    counted = Depth()
    order = np.argsort(submit, kind="stable")
    counted.add(submit[order], complete[order])
    return counted.to_json()
