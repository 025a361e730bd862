"""Which rank replays which streams of a trace."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Trace

Rows = NDArray[np.intp]


def divide(trace: Trace, count: int) -> tuple[list[Rows], str]:
    """The rows of each of `count` ranks, and by what they were divided.

    A stream stays whole. Where the recording has as many ranks as there are now, each replays one of them, in their order;
    else streams are dealt out, the heaviest first, each to the rank that has least so far. A stream weighs what its ops and
    its bytes are of all, since either may be what takes time.
    """
    ranks = np.unique(trace.col("rank"))
    if count > 1 and len(ranks) == count and ranks[0] != NULL:
        return [np.flatnonzero(trace.col("rank") == rank) for rank in ranks], "recorded rank"
    streams = _streams(trace)
    weights = _weights(trace, streams)
    owner = np.zeros(len(weights), np.int64)
    loads = [(0.0, rank) for rank in range(count)]
    for stream in np.argsort(-weights, kind="stable"):
        load, rank = heapq.heappop(loads)
        owner[stream] = rank
        heapq.heappush(loads, (load + float(weights[stream]), rank))
    return [np.flatnonzero(owner[streams] == rank) for rank in range(count)], "ops and bytes"


def _streams(trace: Trace) -> NDArray[np.int64]:
    """A number for the stream of each op (see `tracekit.replay.compile`)."""
    if "pid" in trace and "tid" in trace:
        names = ["rank", "pid", "tid"]
    elif "worker" in trace:
        names = ["rank", "worker"]
    else:
        return np.zeros(len(trace), np.int64)
    keys = np.stack([np.asarray(trace.col(name), np.int64) for name in names])
    _, numbers = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(numbers.reshape(-1), np.int64)


def _weights(trace: Trace, streams: NDArray[np.int64]) -> NDArray[np.float64]:
    ops = np.bincount(streams)
    size = np.bincount(streams, np.maximum(trace.col("len"), 0))
    return np.asarray(ops / max(1, len(trace)) + size / max(1.0, float(size.sum())), np.float64)
