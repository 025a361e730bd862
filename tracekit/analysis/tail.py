"""Where the slow ops come from: which sizes, which files, which streams, which moments.

An op is slow when its service time is in the highest share of all (1 % unless said). If slowness had nothing to do with size,
every size class would hold its own share of the slow ops; `lift` is how many times more than that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.view import View
from tracekit.trace import Mask, Trace

Ints = NDArray[np.int64]
_WINDOWS = 100


@dataclass(frozen=True)
class Part:
    """A class of ops: how many, how many of them are slow, and by how much more than their share."""

    name: str
    ops: int
    slow: int
    lift: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Tail:
    """The slow ops of a trace and the classes in which they are found more often than chance has it."""

    ops: int
    slow: int
    threshold_us: float
    by_size: list[Part]
    by_file: list[Part]
    by_stream: list[Part]
    by_time: list[Part]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        lists = ("by_size", "by_file", "by_stream", "by_time")
        parts = {name: [part.to_json() for part in getattr(self, name)] for name in lists}
        return {"ops": self.ops, "slow": self.slow, "threshold_us": self.threshold_us, **parts}


def tail(trace: Trace, *, share: float = 0.01, most: int = 10) -> Tail | None:
    """The slow ops of a trace; None where fewer than a hundred ops have a service time.

    Args:
        trace: Reads and writes that succeeded and say when they completed are looked at.
        share: Which highest share of service times is slow.
        most: How many classes of each kind are given, those with the most slow ops first.
    """
    view = View.of(trace)
    known = view.timed & ~view.failed
    service = (view.complete - view.submit)[known]
    if len(service) < 100:
        return None
    threshold = int(np.quantile(service, 1 - share, method="higher"))
    slow = service >= threshold
    uris = trace.uris
    size_class = np.ceil(np.log2(np.maximum(view.sizes[known], 1))).astype(np.int64)
    stream = view.col("pid")[known] * 2**32 + view.col("tid")[known]
    start = view.submit[known]
    window = (start - start[0]) * _WINDOWS // max(int(start[-1] - start[0]) + 1, 1)
    span_s = (int(start[-1] - start[0]) + 1) / _WINDOWS / 1e9
    return Tail(
        len(service),
        int(slow.sum()),
        threshold / 1000,
        _parts(size_class, slow, most, lambda key: f"{_bytes(key - 1)}–{_bytes(key)}" if key > 0 else "1 B"),
        _parts(view.col("uri")[known], slow, most, lambda key: uris[key]),
        _parts(stream, slow, most, lambda key: f"pid {key >> 32} tid {key & 0xFFFFFFFF}") if "tid" in trace else [],
        _parts(window, slow, most, lambda key: f"{key * span_s:.3g}–{(key + 1) * span_s:.3g} s"),
    )


def _parts(keys: Ints, slow: Mask, most: int, name: Any) -> list[Part]:
    values, places = np.unique(keys, return_inverse=True)
    ops = np.bincount(places, minlength=len(values))
    found = np.bincount(places, slow, len(values)).astype(np.int64)
    share = slow.sum() / len(slow)
    order = np.lexsort((values, -found))[:most]
    return [
        Part(name(int(values[i])), int(ops[i]), int(found[i]), float(found[i] / ops[i] / share))
        for i in order
        if found[i]
    ]


def _bytes(power: int) -> str:
    from tracekit.units import format_bytes

    return format_bytes(1 << power)


def size_by_latency(trace: Trace) -> tuple[list[int], list[int], list[list[int]]]:
    """Ops by size class and service-time class, both powers of two.

    Returns:
        The lower edges of the size classes in bytes, those of the time classes in microseconds, and the counts, a row a size.
    """
    view = View.of(trace)
    known = view.timed & (view.sizes > 0)
    sizes = np.floor(np.log2(view.sizes[known])).astype(np.int64) if known.any() else np.zeros(0, np.int64)
    times = _time_class((view.complete - view.submit)[known])
    if not len(sizes):
        return [], [], []
    low_size, low_time = int(sizes.min()), int(times.min())
    table = np.zeros((int(sizes.max()) - low_size + 1, int(times.max()) - low_time + 1), np.int64)
    np.add.at(table, (sizes - low_size, times - low_time), 1)
    edges: Sequence[int] = [1 << (low_size + i) for i in range(table.shape[0])]
    return (
        list(edges),
        [0 if low_time + i == 0 else 1 << (low_time + i - 1) for i in range(table.shape[1])],
        table.tolist(),
    )


def _time_class(service: Ints) -> Ints:
    """0 for less than a microsecond, then one class a power of two."""
    micros = service // 1000
    return np.where(micros == 0, 0, np.floor(np.log2(np.maximum(micros, 1))).astype(np.int64) + 1)
