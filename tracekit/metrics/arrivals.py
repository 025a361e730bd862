"""The cadence of requests: gaps between them, and how they bunch."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
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

    @classmethod
    def of(cls, view: View) -> Arrivals:
        """The arrivals of a trace's data ops."""
        mean, dispersion, lag1 = windows(view.submit)
        return cls(Histogram.of(np.diff(view.submit)), mean, dispersion, lag1)


def windows(submit: Ints, shift: int = 0) -> tuple[float | None, float | None, float | None]:
    """Mean, variance / mean and lag-1 autocorrelation of the arrivals per window of 10 ms; None where there is too little.

    Args:
        submit: When ops were issued, ns, ascending.
        shift: How far the first window has begun before the first op, ns.
    """
    if len(submit) < 2:
        return None, None, None
    # Only occupied windows are stored: a trace may pause for days.
    number, counts = np.unique((submit - submit[0] + shift) // WINDOW_NS, return_counts=True)
    count = int(number[-1]) + 1
    if count < 2:
        return float(len(submit)), None, None
    mean = len(submit) / count
    spread = float((counts.astype(np.float64) ** 2).sum() - count * mean**2)
    if spread <= 1e-9 * len(submit):
        return mean, 0.0, None
    neighbours = number[1:] == number[:-1] + 1
    together = float((counts[1:] * counts[:-1])[neighbours].sum())
    ends = int(counts[0]) + int(counts[-1])
    covariance = together - mean * (2 * len(submit) - ends) + (count - 1) * mean**2
    return mean, spread / count / mean, covariance / spread
