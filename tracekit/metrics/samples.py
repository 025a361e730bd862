"""Training samples: how much I/O each took."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import changes
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import NULL


@dataclass(frozen=True)
class Samples:
    """Training samples: how much I/O each took (once per epoch where epochs are known)."""

    count: int | None = metric("distinct samples named by data ops", "samples")
    ops_per_sample_hist: Histogram = metric("data ops per sample and epoch", "ops")
    bytes_per_sample_hist: Histogram = metric("bytes moved per sample and epoch", "bytes")


class SamplesTally:
    """The samples of a trace that comes in pieces; memory: the distinct ones of each epoch (`tracekit.metrics.groups`)."""

    def __init__(self) -> None:
        self._sums = Groups(2, hashed=1)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        columns = [view.col("sample_id"), view.col("epoch"), view.moved]
        named = columns[0] != NULL
        if not bool(named.any()):
            return
        if not bool(named.all()):
            columns = [column[named] for column in columns]
        sample, epoch, moved = columns
        self._sums.add([sample, epoch], [np.ones(len(sample), np.int64), moved])

    def result(self) -> Samples:
        """What has come so far."""
        count, ops, size = 0, Histogram(), Histogram()
        for (sample, _), (number, moved) in self._sums.rows():
            count += int(changes(sample).sum())
            ops.add(number)
            size.add(moved)
        return Samples(count or None, ops, size)
