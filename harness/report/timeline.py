"""What of a trace is drawn over time: arrivals, queue depth, steps, and where the reads were. Fed piece by piece.

However long the trace, what is kept is bounded: times lie in windows that are joined two by two when they grow too many, and of the
ops every n-th is kept, n doubling as needed. What is thinned says so (`Dots.every`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.criterion import PAIRED
from harness.stats import Floats, Ints
from harness.verdict import Verdict
from tracekit import formats
from tracekit.marks import Marks
from tracekit.metrics.keys import codes_of
from tracekit.metrics.view import View
from tracekit.trace import NULL, Mark, Trace

# Between so many windows and twice as many: about one for each pixel of a picture.
WINDOWS = 240
FIRST_WIDTH_NS = 1_000
# Between half as many dots and so many.
DOTS = 6_000
HEAD = 300


@dataclass(frozen=True)
class Dots:
    """Single ops in their order; shares are from 0 to 1.

    Args:
        times: When, ns since the first op.
        places: Where in all bytes of all files, in order of their names.
        within: Where in its own file.
        files: Which file, as a number.
        streams: By which stream, as a number.
        every: 1 where all ops are here, n where it is every n-th.
    """

    times: Ints
    places: Floats
    within: Floats
    files: Ints
    streams: Ints
    every: int = 1


@dataclass(frozen=True)
class Timeline:
    """A trace over time, in windows of `width_ns` from its first data op on.

    Args:
        name: What to call it.
        ops: Reads and writes, all of them.
        width_ns: Length of a window.
        arrivals: Ops that were issued in each window.
        depth: Mean ops in flight in each window; None where the trace does not say when ops ended.
        compute: Share of each window in which its consumers computed; None where there are no marks of that.
        waiting: Share of each window in which they waited for a batch; None where there are no marks of that.
        dots: Ops over the whole run.
        head: The first ops, all of them.
        streams: How many streams the ops that are drawn come from.
        files: How many files they go to.
    """

    name: str
    ops: int
    width_ns: int
    arrivals: Ints
    depth: Floats | None
    compute: Floats | None
    waiting: Floats | None
    dots: Dots
    head: Dots
    streams: int
    files: int

    @property
    def duration_ns(self) -> int:
        """From the first op to the end of the last window."""
        return len(self.arrivals) * self.width_ns

    @classmethod
    def of(cls, name: str, pieces: Iterable[Trace]) -> Timeline:
        """The timeline of a trace that comes in pieces, in about the order of time."""
        gathered = _Gathered()
        for piece in pieces:
            gathered.feed(piece)
        return gathered.timeline(name)


def of_check(
    verdict: Verdict, against: str, traces: Sequence[str], *, time_unit: str = "ns", skip_bad: bool = False
) -> tuple[list[Timeline], bool]:
    """The traces of a check over time, and whether the first is the reference's.

    They are read once more, piece by piece: a verdict holds figures and distributions only.
    """
    of_golden = verdict.mode == PAIRED
    paths = [against, *traces] if of_golden else traces
    read = partial(formats.chunks, time_unit=time_unit, skip_bad=skip_bad)
    return [Timeline.of(os.path.basename(path), read(path)) for path in paths], of_golden


class _Windows:
    """Sums over windows of time that double their width when there are too many."""

    def __init__(self, kinds: int) -> None:
        self.width = FIRST_WIDTH_NS
        self.used = 0
        self.sums: NDArray[np.int64] = np.zeros((kinds, 2 * WINDOWS), np.int64)

    def reach(self, last: int) -> None:
        """Make room for a moment."""
        while last // self.width >= 2 * WINDOWS:
            pairs = self.sums.reshape(len(self.sums), WINDOWS, 2).sum(axis=2)
            self.sums = np.concatenate([pairs, np.zeros_like(pairs)], axis=1)
            self.width *= 2
            self.used = -(-self.used // 2)
        self.used = max(self.used, last // self.width + 1)

    def count(self, kind: int, moments: Ints) -> None:
        """Add 1 at each moment."""
        self.sums[kind] += np.bincount(moments // self.width, minlength=2 * WINDOWS)

    def cover(self, kind: int, begin: Ints, end: Ints) -> None:
        """Add the ns that each [begin, end) lies in each window: whole windows by their edges, the two at its ends by parts."""
        first, last = begin // self.width, np.minimum(end // self.width, 2 * WINDOWS - 1)
        sums, edges = self.sums[kind], np.zeros(2 * WINDOWS + 1, np.int64)
        np.add.at(edges, first, 1)
        np.add.at(edges, last, -1)
        sums += np.cumsum(edges)[:-1] * self.width
        np.add.at(sums, first, -(begin - first * self.width))
        np.add.at(sums, last, end - last * self.width)


class _Sample:
    """Every n-th op of those offered; n doubles when there are too many."""

    def __init__(self) -> None:
        self.every, self._seen = 1, 0
        self._rows: list[Ints] = []
        self._kept = 0

    def offer(self, rows: Ints) -> None:
        """Rows of ops, in their order."""
        first = -self._seen % self.every
        self._seen += len(rows)
        self._rows.append(rows[first :: self.every])
        self._kept += len(self._rows[-1])
        while self._kept > DOTS:
            self.every *= 2
            self._rows = [np.concatenate(self._rows)[::2]]
            self._kept = len(self._rows[0])

    def rows(self) -> Ints:
        """What was kept."""
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 4), np.int64)


_ARRIVALS, _DEPTH, _COMPUTE, _STEP = range(4)


class _Gathered:
    """What is kept of the pieces so far."""

    def __init__(self) -> None:
        self.ops = 0
        self._start: int | None = None
        self._windows = _Windows(4)
        self._sample, self._head = _Sample(), np.zeros((0, 4), np.int64)
        self._ends = np.zeros(0, np.int64)
        self._streams: dict[tuple[int, int, int], int] = {}
        self._uris: list[str] = []
        self._trainers: set[int] = set()
        self._is_timed = False
        # Marks may come before the first op: they wait until it is known when that was.
        self._early: Sequence[Mark] = ()

    def feed(self, piece: Trace) -> None:
        """Take the next piece."""
        view = View.of(piece)
        self._uris = view.trace.uris
        marks = Marks.joined([self._early, piece.marks])
        if self._start is None and not len(view.data):
            self._early = marks
            return
        self._early = ()
        if self._start is None:
            self._start = int(view.submit[0])
        self._take_marks(marks)
        if len(view.data):
            self._take_ops(view)

    def _take_ops(self, view: View) -> None:
        self.ops += len(view.data)
        submit, timed = self._since(view.submit), view.timed
        end = np.where(timed, self._since(view.complete), submit)
        self._windows.reach(int(max(submit.max(), end.max())))
        self._windows.count(_ARRIVALS, submit)
        if bool(timed.any()):
            self._is_timed = True
            self._windows.cover(_DEPTH, submit[timed], end[timed])
        self._take_places(view, submit)

    def _take_places(self, view: View, submit: Ints) -> None:
        uri, offset = view.col("uri"), view.col("offset")
        known = (offset != NULL) & (uri != NULL)
        uri, offset = uri[known], offset[known]
        if not len(uri):
            return
        grown = np.zeros(max(len(self._uris), len(self._ends)), np.int64)
        grown[: len(self._ends)] = self._ends
        np.maximum.at(grown, uri, offset + view.sizes[known])
        self._ends = grown
        rows = np.column_stack([submit[known], uri, offset, self._stream_numbers(view)[known]])
        self._sample.offer(rows)
        if len(self._head) < HEAD:
            self._head = np.concatenate([self._head, rows[: HEAD - len(self._head)]])

    def _stream_numbers(self, view: View) -> Ints:
        columns = [view.col(name) for name in ("rank", "pid", "tid")]
        codes, first = codes_of(*columns), np.zeros(0, np.intp)
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
        names = zip(*(column[first].tolist() for column in columns), strict=True)
        numbers = [self._streams.setdefault(name, len(self._streams)) for name in names]
        return np.array(numbers, np.int64)[codes.reshape(-1)]

    def _take_marks(self, marks: Marks) -> None:
        for kind, name in ((_COMPUTE, "compute"), (_STEP, "step")):
            spans = marks.kind(name)
            spans = spans.select(spans.t_end != NULL)
            if len(spans):
                begin, end = self._since(spans.t), self._since(spans.t_end)
                self._windows.reach(int(end.max()))
                self._windows.cover(kind, begin, np.maximum(begin, end))
        self._trainers.update(np.unique(marks.kind("compute").pid).tolist())

    def _since(self, times: Ints) -> Ints:
        assert self._start is not None
        return np.maximum(times - self._start, 0)

    def timeline(self, name: str) -> Timeline:
        """What there is."""
        windows = self._windows
        arrivals, depth, compute, step = windows.sums[:, : windows.used]
        whole = windows.width * max(1, len(self._trainers))
        marked = bool(compute.any())
        order = np.argsort(np.argsort(np.array(self._uris[: len(self._ends)], object))) if len(self._ends) else None
        return Timeline(
            name,
            self.ops,
            windows.width,
            arrivals,
            depth / windows.width if self._is_timed else None,
            np.minimum(compute / whole, 1.0) if marked else None,
            np.clip((step - compute) / whole, 0.0, 1.0) if marked else None,
            self._dots(self._sample.rows(), order, self._sample.every),
            self._dots(self._head, order, 1),
            len(self._streams),
            int((self._ends > 0).sum()),
        )

    def _dots(self, rows: Ints, order: NDArray[np.intp] | None, every: int) -> Dots:
        times, uri, offset, streams = rows.T
        if order is None:
            return Dots(times, np.zeros(0), np.zeros(0), uri, streams)
        sizes = np.zeros(len(order), np.int64)
        sizes[order] = self._ends
        before = np.concatenate([[0], np.cumsum(sizes)])
        places = (before[order[uri]] + offset) / max(1, int(before[-1]))
        within = offset / np.maximum(1, self._ends[uri])
        return Dots(times, places, within, uri, streams, every)
