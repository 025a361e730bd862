"""The cadence of requests: gaps between them, and how they bunch."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.keys import changes
from tracekit.metrics.schema import metric
from tracekit.metrics.view import Ints, View

WINDOW_NS = 10_000_000


@dataclass(frozen=True)
class Arrivals:
    """When data ops are issued."""

    inter_arrival_us_hist: Histogram = metric(
        "time between the submissions of successive data ops, over all streams", "us"
    )
    per_10ms_mean: float | None = metric("data ops submitted per window of 10 ms, mean over all windows", "ops")
    per_10ms_dispersion: float | None = metric(
        "variance / mean of data ops per window of 10 ms: 1 for a Poisson process, 0 for a clock, above 1 for bursts"
    )
    per_10ms_lag1: float | None = metric("autocorrelation of the number of data ops in neighbouring windows of 10 ms")


class ArrivalsTally:
    """The arrivals of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._gaps = Histogram()
        self._windows = Windows()
        self._last: Ints = np.zeros(0, np.int64)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        submit = view.submit
        if len(submit):
            self._gaps.add(np.diff(submit, prepend=self._last))
            self._windows.update(submit)
            self._last = submit[-1:].copy()

    def result(self) -> Arrivals:
        """What has come so far."""
        return Arrivals(self._gaps, *self._windows.result())


class Windows:
    """How many ops arrive per window of 10 ms, of times that come in pieces and ascend.

    Args:
        shift: How far the first window has begun before the first op, ns.
    """

    def __init__(self, shift: int = 0) -> None:
        self._shift = shift
        self._origin = 0
        self._ops = self._squares = self._products = self._first = 0
        # (number, count) of the last full window and of the one that may still be filling. Only occupied windows are
        # looked at: a trace may pause for days.
        self._full: tuple[int, int] | None = None
        self._open: tuple[int, int] | None = None

    def update(self, submit: Ints) -> None:
        """Take in times."""
        if not len(submit):
            return
        if not self._ops:
            self._origin = int(submit[0])
        self._ops += len(submit)
        windows = (submit - self._origin + self._shift) // WINDOW_NS
        starts = np.flatnonzero(changes(windows))
        numbers, counts = windows[starts], np.diff(np.append(starts, len(windows)))
        if self._open is not None and self._open[0] == numbers[0]:
            counts[0] += self._open[1]
        elif self._open is not None:
            numbers, counts = np.append(self._open[0], numbers), np.append(self._open[1], counts)
        self._settle(numbers, counts)

    def _settle(self, numbers: Ints, counts: Ints) -> None:
        """Add up all windows but the last, which may still be filling."""
        self._open = int(numbers[-1]), int(counts[-1])
        numbers, counts = numbers[:-1], counts[:-1]
        if not len(numbers):
            return
        self._squares += int((counts**2).sum())
        if self._full is None:
            self._first = int(counts[0])
        else:
            numbers, counts = np.append(self._full[0], numbers), np.append(self._full[1], counts)
        self._products += _neighbours(numbers, counts)
        self._full = int(numbers[-1]), int(counts[-1])

    def result(self) -> tuple[float | None, float | None, float | None]:
        """Mean, variance / mean and lag-1 autocorrelation of the ops per window; None where there is too little."""
        if self._ops < 2 or self._open is None:
            return None, None, None
        count = self._open[0] + 1
        if count < 2 or self._full is None:
            return float(self._ops), None, None
        mean = self._ops / count
        squares, last = self._squares + self._open[1] ** 2, self._open[1]
        spread = squares - count * mean**2
        if spread <= 1e-9 * self._ops:
            return mean, 0.0, None
        together = self._products + _neighbours(*np.array([self._full, self._open]).T)
        covariance = together - mean * (2 * self._ops - self._first - last) + (count - 1) * mean**2
        return mean, spread / count / mean, covariance / spread


def _neighbours(numbers: Ints, counts: Ints) -> int:
    """The sum of the products of windows that follow each other."""
    next_to = numbers[1:] == numbers[:-1] + 1
    return int((counts[1:] * counts[:-1])[next_to].sum())


def windows(submit: Ints, shift: int = 0) -> tuple[float | None, float | None, float | None]:
    """Mean, variance / mean and lag-1 autocorrelation of the arrivals per window of 10 ms; None where there is too little.

    Args:
        submit: When ops were issued, ns, ascending.
        shift: How far the first window has begun before the first op, ns.
    """
    of = Windows(shift)
    of.update(submit)
    return of.result()
