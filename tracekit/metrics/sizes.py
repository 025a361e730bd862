"""Sizes of requests: the exact table as long as there are not too many, and the histogram always."""

from __future__ import annotations

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.view import Ints, View

SIZES_LIMIT = 65_536
# Sizes below this are counted in an array with a place for each; sorting them takes longer.
_SMALL = 1 << 20


class SizesTally:
    """What the data ops of a trace that comes in pieces asked for."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self._values: Ints = np.zeros(0, np.int64)
        self._counts: Ints = np.zeros(0, np.int64)
        self._too_many = False

    def update(self, view: View) -> None:
        """Take in the next piece."""
        if len(view.sizes):
            values, counts = counted_values(view.sizes)
            self.histogram.add(values, counts)
            self._keep(values, counts)

    def merge(self, other: SizesTally) -> None:
        """Take in what another took in."""
        self.histogram.merge(other.histogram)
        self._too_many |= other._too_many
        self._keep(other._values, other._counts)

    def _keep(self, values: Ints, counts: Ints) -> None:
        if self._too_many:
            return
        self._values, codes = np.unique(np.concatenate([self._values, values]), return_inverse=True)
        total = np.zeros(len(self._values), np.int64)
        np.add.at(total, codes, np.concatenate([self._counts, counts]))
        self._counts = total
        self._too_many = len(self._values) > SIZES_LIMIT

    def table(self) -> dict[int, int] | None:
        """Size asked for → data ops; None where there are more than 65,536 sizes."""
        if self._too_many:
            return None
        return dict(zip(self._values.tolist(), self._counts.tolist(), strict=True))


def counted_values(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values (from 0) in ascending order, and how often each occurs."""
    if int(values.max()) < max(_SMALL, len(values)):
        counts = np.bincount(values)
        found = np.flatnonzero(counts)
        return found, counts[found]
    return np.unique(values, return_counts=True)
