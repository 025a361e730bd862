"""What a run's times look like beyond their quantiles: how they hang together, and how the load comes over time; piece by piece.

All sums are of whole numbers, so the result does not depend on where the trace was cut. Service times and sizes are taken by the
numbers of their histogram's buckets: logarithms from 128 on, in steps of 1/128 of an octave.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tracekit.histogram import Histogram, bucket_of
from tracekit.metrics.keys import changes, sorted_order
from tracekit.metrics.slots import Slots
from tracekit.trace import NULL

if TYPE_CHECKING:
    from harness.stats import Ints
    from tracekit.metrics.view import View

OPS_WINDOW_NS, BYTES_WINDOW_NS = 10_000_000, 100_000_000
# Fewer pairs say nothing about how they hang together.
LEAST_PAIRS = 10


class Together:
    """The correlation of pairs of whole numbers that come in pieces (each below 2 ** 20, so that sums stay exact)."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = [0] * 5

    def add(self, left: Ints, right: Ints) -> None:
        """Take in pairs."""
        self._count += len(left)
        for place, values in enumerate((left, right, left * left, right * right, left * right)):
            self._sums[place] += int(values.sum())

    def result(self) -> float | None:
        """Pearson's correlation; None of too few pairs, and where one side does not vary."""
        count, (left, right, squares, other_squares, products) = self._count, self._sums
        spreads = (count * squares - left * left) * (count * other_squares - right * right)
        if count < LEAST_PAIRS or spreads <= 0:
            return None
        # Whole numbers without end up to here: nothing was rounded.
        return (count * products - left * right) / math.sqrt(spreads)


class Service:
    """How service times hang together: with the size asked for, and with that of the op before."""

    def __init__(self) -> None:
        self.size, self.before = Together(), Together()
        self._last: Ints = np.zeros(0, np.int64)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        timed = view.timed
        if not bool(timed.any()):
            return
        took = bucket_of((view.complete - view.submit)[timed])
        self.size.add(bucket_of(view.sizes[timed]), took)
        chain = np.concatenate([self._last, took])
        self.before.add(chain[:-1], chain[1:])
        self._last = took[-1:].copy()


class Spans:
    """How long the reads of a file take from the first to the last, per file and epoch."""

    def __init__(self) -> None:
        self._spans = Histogram()
        self._epoch, self._first, self._last = Slots(NULL - 1), Slots(), Slots()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        chosen = view.reads & (view.col("uri") != NULL)
        if not bool(chosen.any()):
            return
        uri, epoch = view.col("uri")[chosen], view.col("epoch")[chosen]
        begin = view.submit[chosen]
        end = np.where(view.timed[chosen], view.complete[chosen], begin)
        order = sorted_order(uri)
        uri, begin, end = uri[order], begin[order], end[order]
        epoch = _latest(uri, np.maximum(epoch[order], self._epoch.room(uri)[uri]))
        starts = np.flatnonzero(changes(uri) | changes(epoch))
        self._take(uri[starts], epoch[starts], begin[starts], np.maximum.reduceat(end, starts))

    def _take(self, uri: Ints, epoch: Ints, begin: Ints, end: Ints) -> None:
        """Readings of files, those of a file in their order: the first may go on with what is open, the last stays open."""
        known, first, last = self._epoch.room(uri), self._first.room(uri), self._last.room(uri)
        opens, closes = changes(uri), np.append(changes(uri)[1:], True)
        going_on = opens & (known[uri] == epoch)
        done = opens & ~going_on & (known[uri] > NULL - 1)
        self._spans.add((last[uri] - first[uri])[done])
        begin = np.where(going_on, first[uri], begin)
        end = np.where(going_on, np.maximum(last[uri], end), end)
        self._spans.add((end - begin)[~closes])
        at = uri[closes]
        known[at], first[at], last[at] = epoch[closes], begin[closes], end[closes]

    def result(self) -> float | None:
        """The median, ns; None where no file is read."""
        open_now = self._epoch.values > NULL - 1
        rest = (self._last.values[: len(open_now)] - self._first.values[: len(open_now)])[open_now]
        return (self._spans + Histogram.of(rest)).quantile(0.5)


def _latest(uri: Ints, epoch: Ints) -> Ints:
    """The latest epoch so far of each op's file; the ops of a file follow each other."""
    number = np.cumsum(changes(uri)) - 1
    most = int(epoch.max()) + 3
    # Files ascend, so the largest so far never comes from another file.
    latest: Ints = np.maximum.accumulate(number * most + epoch + 2) - number * most - 2
    return latest


class Load:
    """How much arrives in each of equal windows of time, from the first op to the last, the empty ones among them.

    Args:
        width_ns: Length of a window.
    """

    def __init__(self, width_ns: int) -> None:
        self._width = width_ns
        self._full = Histogram()
        self._occupied = 0
        self._origin: int | None = None
        self._open: tuple[int, int] = (0, 0)

    def add(self, times: Ints, amounts: Ints) -> None:
        """Take in amounts at times that ascend."""
        if not len(times):
            return
        self._origin = int(times[0]) if self._origin is None else self._origin
        windows = (times - self._origin) // self._width
        starts = np.flatnonzero(changes(windows))
        numbers, sums = windows[starts], np.add.reduceat(amounts, starts)
        if numbers[0] == self._open[0]:
            sums[0] += self._open[1]
        else:
            numbers, sums = np.append(self._open[0], numbers), np.append(self._open[1], sums)
        self._full.add(sums[:-1])
        self._occupied += len(sums) - 1
        self._open = int(numbers[-1]), int(sums[-1])

    def result(self) -> Histogram:
        """The amounts per window; the last window, which the run does not fill, is left out unless it is the only one."""
        if self._origin is None:
            return Histogram()
        if not self._open[0]:
            return Histogram.of([self._open[1]])
        return self._full + Histogram.of([0], [self._open[0] - self._occupied])


class Times:
    """All of this of one run."""

    def __init__(self) -> None:
        self.service, self.spans = Service(), Spans()
        self.ops, self.bytes = Load(OPS_WINDOW_NS), Load(BYTES_WINDOW_NS)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self.service.update(view)
        self.spans.update(view)
        submit = view.submit
        self.ops.add(submit, np.ones(len(submit), np.int64))
        self.bytes.add(submit, np.maximum(view.moved, 0))

    def scalars(self) -> dict[str, float | None]:
        """The figures, by the ids of their criteria."""
        return {
            "latency.size": self.service.size.result(),
            "latency.lag1": self.service.before.result(),
            "file.span": self.spans.result(),
        }

    def histograms(self) -> dict[str, Histogram]:
        """The distributions, by the ids of their criteria."""
        return {"arrival.count": self.ops.result(), "arrival.bytes": self.bytes.result()}
