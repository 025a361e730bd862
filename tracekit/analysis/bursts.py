"""Bursts of writing (checkpoints), and how much of the time the storage was asked for anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace

# Writes closer together than this belong to one burst: a checkpoint pauses for less between two tensors.
GAP_NS = 500_000_000


@dataclass(frozen=True)
class Burst:
    """Writes with no long pause between them; times in ns since the trace's t0."""

    start_ns: int
    end_ns: int
    ops: int
    bytes: int
    files: int
    reads_bytes: int

    @property
    def mb_s(self) -> float | None:
        """Megabytes (10^6) written per second; None where it took no time."""
        span = self.end_ns - self.start_ns
        return self.bytes * 1000 / span if span > 0 else None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**self.__dict__, "mb_s": self.mb_s}


def write_bursts(trace: Trace, *, gap_ns: int = GAP_NS, least_bytes: int = 1 << 20) -> list[Burst]:
    """Bursts of writing, in order of time.

    Args:
        trace: The trace.
        gap_ns: A pause longer than this ends a burst.
        least_bytes: Smaller bursts (logs, progress files) are left out.
    """
    view = View.of(trace)
    writes = ~view.reads & (view.moved > 0)
    start = view.submit[writes]
    if not len(start):
        return []
    end = np.where(view.complete[writes] == NULL, start, view.complete[writes])
    reach = np.maximum.accumulate(end)
    number = np.concatenate([[0], np.cumsum(start[1:] - reach[:-1] > gap_ns)])
    uri, moved = view.col("uri")[writes], view.moved[writes]
    read_times, read_moved = view.submit[view.reads], np.cumsum(np.concatenate([[0], view.moved[view.reads]]))
    bursts = []
    for first, last in _spans(number):
        begin, until = int(start[first]), int(end[first:last].max())
        low, high = np.searchsorted(read_times, [begin, until])
        burst = Burst(
            begin, until, last - first, int(moved[first:last].sum()), len(np.unique(uri[first:last])),
            int(read_moved[high] - read_moved[low]),
        )  # fmt: skip
        if burst.bytes >= least_bytes:
            bursts.append(burst)
    return bursts


def _spans(number: Any) -> list[tuple[int, int]]:
    return list(pairwise([0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]))


def duty_cycle(trace: Trace, windows: int = 100) -> tuple[list[float], list[float]]:
    """The share of each of equal windows of time in which at least one read or write was in flight.

    Returns:
        The start of each window in seconds since the first op, and its share; both empty where no op says when it completed.
    """
    view = View.of(trace)
    known = view.timed
    if not known.any():
        return [], []
    start, end = view.submit[known], view.complete[known]
    reach = np.maximum.accumulate(end)
    fresh = np.concatenate([[True], start[1:] > reach[:-1]])
    begins = start[fresh]
    ends = reach[np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(start) - 1]])]
    first, last = int(begins[0]), max(int(reach[-1]), int(begins[0]) + 1)
    edges = np.linspace(first, last, windows + 1)
    # Busy time up to a moment: whole spans before it, and the part of the one it falls into.
    total = np.concatenate([[0], np.cumsum(ends - begins)])
    index = np.searchsorted(begins, edges, side="right") - 1
    inside = np.where(index >= 0, np.minimum(edges, ends[np.maximum(index, 0)]) - begins[np.maximum(index, 0)], 0)
    busy = np.where(index >= 0, total[np.maximum(index, 0)] + inside, 0)
    shares = np.diff(busy) / np.diff(edges)
    return ((edges[:-1] - first) / 1e9).tolist(), np.clip(shares, 0, 1).tolist()
