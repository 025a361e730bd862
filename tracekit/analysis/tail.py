"""Where the slow ops come from: which sizes, which files, which streams, which moments.

An op is slow when its service time is in the highest share of all (1 % unless said). If slowness had nothing to do with size,
every size class would hold its own share of the slow ops; `lift` is how many times more than that it holds.
"""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.keys import Threads
from tracekit.analysis.pieces import pieces
from tracekit.analysis.windows import Windows
from tracekit.metrics import schema
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import Trace
from tracekit.units import format_bytes

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

Ints = NDArray[np.int64]
# So many of the slowest ops are kept: one in a hundred of a hundred million.
_MOST_KEPT = 1 << 20
_FEWEST_OPS = 100
_SIZE_CLASSES = 65
_KEPT = ("service", "size", "uri", "stream", "start")


@dataclass(frozen=True)
class Part:
    """A class of ops: how many, how many of them are slow, and by how much more than their share."""

    name: str = metric("the sizes, the file, the stream or the moment")
    ops: int = metric("its ops that have a service time and did not fail", "ops")
    slow: int = metric("how many of them are slow", "ops")
    lift: float = metric("(slow / ops) / (slow ops / ops of the trace): 1 is its own share")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return schema.to_json(self)


@dataclass(frozen=True)
class Tail:
    """The slow ops of a trace and the classes in which they are found more often than chance has it."""

    ops: int = metric("reads and writes that have a service time and did not fail", "ops")
    slow: int = metric("those at or above the threshold: the slowest 1 %, and their equals", "ops")
    threshold_us: float = metric("service time from which on an op is slow", "us")
    by_size: list[Part] = metric(
        "by what was asked for, in powers of two; those with the most slow ops first, at most 10"
    )
    by_file: list[Part] = metric("by file, the same")
    by_stream: list[Part] = metric("by process and thread, the same; empty where threads are not known")
    by_time: list[Part] = metric("by moment, in seconds since the first op, the same")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return schema.to_json(self)


class Slowest:
    """The slowest ops so far, and how many ops there are of each class; memory does not grow with ops.

    Of a trace of more than a hundred million ops the slowest million are kept: less than 1 % is looked at then.

    Args:
        threads: The numbers of threads.
        most: How many ops to keep at the most.
    """

    def __init__(self, threads: Threads, most: int = _MOST_KEPT) -> None:
        self._most = most
        self._kept: dict[str, list[Ints]] = {name: [np.zeros(0, np.int64)] for name in _KEPT}
        self._count = 0
        # The largest service time that was not kept.
        self._dropped = -1
        self._sizes = np.zeros(_SIZE_CLASSES, np.int64)
        self._files = np.zeros(0, np.int64)
        self._streams = threads
        self._stream_ops = np.zeros(0, np.int64)
        self._windows = Windows()

    def update(self, view: View) -> None:
        """Take the data ops of the next piece in order of time."""
        known = view.timed & ~view.failed
        columns = {"uri": view.col("uri"), "start": view.submit, "size": size_class(view.sizes)}
        columns["service"] = view.complete - view.submit
        columns["stream"] = self._streams.of(view)
        if not known.all():
            columns = {name: array[known] for name, array in columns.items()}
        if not len(columns["uri"]):
            return
        self._sizes += np.bincount(columns["size"], minlength=_SIZE_CLASSES)
        self._files = _added(self._files, np.bincount(columns["uri"]))
        self._stream_ops = _added(self._stream_ops, np.bincount(columns["stream"], minlength=len(self._streams)))
        self._windows.add(columns["start"])
        slow = columns["service"] > self._dropped
        for name, array in columns.items():
            self._kept[name].append(array[slow])
        self._count += len(self._kept["service"][-1])
        if self._count > self._most:
            self._prune()

    def _joined(self) -> dict[str, Ints]:
        return {name: np.concatenate(parts) for name, parts in self._kept.items()}

    def _prune(self) -> None:
        kept = self._joined()
        service = kept["service"]
        edge = int(np.partition(service, len(service) - self._most // 2)[len(service) - self._most // 2])
        keep = service >= edge
        # So many may be equally slow that they all have to go.
        if int(keep.sum()) > self._most * 3 // 4:
            keep = service > edge
        self._dropped = max(self._dropped, int(service[~keep].max()))
        self._kept = {name: [array[keep]] for name, array in kept.items()}
        self._count = int(keep.sum())

    def tail(self, uris: Sequence[str], *, share: float = 0.01, most: int = 10) -> Tail | None:
        """The slow ops and their classes; None where fewer than a hundred ops have a service time."""
        ops = int(self._sizes.sum())
        if ops < _FEWEST_OPS:
            return None
        kept = self._joined()
        service = kept["service"]
        # Counted from the slowest: the rank that np.quantile(method="higher") takes.
        rank = ops - 1 - int(np.ceil((ops - 1) * (1 - share)))
        edge = int(np.sort(service)[::-1][rank]) if rank < len(service) else 0
        threshold = max(edge, self._dropped + 1)
        slow = {name: array[service >= threshold] for name, array in kept.items()}
        count = len(slow["service"])
        part = _Parts(count / ops if count else 1.0, most)
        pairs = self._streams.pairs
        threads = any(tid >= 0 for _, tid in pairs)
        return Tail(
            ops,
            count,
            threshold / 1000,
            part.of(self._sizes, slow["size"], _size_name),
            part.of(self._files, slow["uri"], lambda key: uris[key]),
            part.of(self._stream_ops, slow["stream"], lambda key: "pid {} tid {}".format(*pairs[key]))
            if threads
            else [],
            part.of(self._windows.counts, self._windows.number(slow["start"]), self._windows.name),
        )


def tail(trace: Trace, *, share: float = 0.01, most: int = 10) -> Tail | None:
    """The slow ops of a trace; None where fewer than a hundred ops have a service time.

    Args:
        trace: Reads and writes that succeeded and say when they completed are looked at.
        share: Which highest share of service times is slow.
        most: How many classes of each kind are given, those with the most slow ops first.
    """
    slowest = Slowest(Threads())
    for view in pieces(trace):
        slowest.update(view)
    return slowest.tail(trace.uris, share=share, most=most)


@dataclass(frozen=True)
class _Parts:
    share: float
    most: int

    def of(self, ops: Ints, slow: Ints, name: Callable[[int], str]) -> list[Part]:
        """The classes with the most slow ops, of how many ops each class has and which class each slow op is in."""
        found = np.bincount(slow, minlength=len(ops))
        used = np.flatnonzero(found)
        order = used[np.lexsort((used, -found[used]))][: self.most].tolist()
        return [Part(name(i), int(ops[i]), int(found[i]), float(found[i] / ops[i] / self.share)) for i in order]


def _added(total: Ints, counts: Ints) -> Ints:
    if len(counts) <= len(total):
        total[: len(counts)] += counts
        return total
    counts[: len(total)] += total
    return counts


def size_class(sizes: Ints) -> Ints:
    """The smallest power of two that is no less than each size; 0 for one byte and less."""
    _, exponent = np.frexp(np.maximum(sizes - 1, 0).astype(np.float64))
    return np.asarray(exponent, np.int64)


def _size_name(key: int) -> str:
    return f"{format_bytes(1 << (key - 1))}–{format_bytes(1 << key)}" if key > 0 else "1 B"


class SizesByLatency:
    """Ops by size class and service-time class, both powers of two."""

    def __init__(self) -> None:
        self._counts = np.zeros(_SIZE_CLASSES * _SIZE_CLASSES, np.int64)

    def update(self, view: View) -> None:
        """Count the data ops of a piece."""
        known = view.timed & (view.sizes > 0)
        sizes, service = view.sizes, view.complete - view.submit
        if not known.all():
            sizes, service = sizes[known], service[known]
        if _core is None:
            cell = _power(sizes) * _SIZE_CLASSES + _power(service // 1000)
            self._counts += np.bincount(cell, minlength=len(self._counts))
            return
        arrays = [*(np.ascontiguousarray(column, np.int64) for column in (sizes, service)), self._counts]
        _core.power_cells(len(sizes), _SIZE_CLASSES, *(array.ctypes.data for array in arrays))

    def table(self) -> tuple[list[int], list[int], list[list[int]]]:
        """Lower edges of the size classes in bytes, those of the time classes in microseconds, and the counts, a row a size."""
        table = self._counts.reshape(_SIZE_CLASSES, _SIZE_CLASSES)
        sizes, times = np.flatnonzero(table.sum(axis=1)), np.flatnonzero(table.sum(axis=0))
        if not len(sizes):
            return [], [], []
        rows, columns = range(int(sizes[0]), int(sizes[-1]) + 1), range(int(times[0]), int(times[-1]) + 1)
        counts = table[rows.start : rows.stop, columns.start : columns.stop].tolist()
        return [_lowest(row) for row in rows], [_lowest(column) for column in columns], counts


def size_by_latency(trace: Trace) -> tuple[list[int], list[int], list[list[int]]]:
    """Ops by size class and service-time class, both powers of two.

    Returns:
        The lower edges of the size classes in bytes, those of the time classes in microseconds, and the counts, a row a size.
    """
    counted = SizesByLatency()
    for view in pieces(trace):
        counted.update(view)
    return counted.table()


def _power(values: Ints) -> Ints:
    """How many bits each value has: 0 for 0, then one class a power of two."""
    _, exponent = np.frexp(values.astype(np.float64))
    return np.asarray(exponent, np.int64)


def _lowest(bits: int) -> int:
    return 1 << (bits - 1) if bits else 0
