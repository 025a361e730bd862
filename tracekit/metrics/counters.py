"""What the storage was asked to do, counted and timed by kind of op."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace


@dataclass(frozen=True)
class Timing:
    """A distribution of times in a few numbers; quantiles are off by less than 1/256."""

    count: int = metric("how many ops have this time", "ops")
    mean_us: float | None = metric("mean, exact", "us")
    p50_us: float | None = metric("median", "us")
    p95_us: float | None = metric("95th percentile", "us")
    p99_us: float | None = metric("99th percentile", "us")
    p999_us: float | None = metric("99.9th percentile", "us")
    max_us: float | None = metric("largest, exact", "us")

    @classmethod
    def of(cls, times: Histogram) -> Timing:
        """The summary of a histogram of nanoseconds."""
        values = (times.mean, *times.quantiles(0.5, 0.95, 0.99, 0.999), times.maximum)
        return cls(times.count, *(None if value is None else value / 1000 for value in values))


@dataclass(frozen=True)
class Kind:
    """The ops of one kind (read, open, …)."""

    ops: int = metric("how many", "ops")
    bytes: int | None = metric("bytes moved; null for kinds that move none", "bytes")
    errors: int = metric("how many failed", "ops")
    service: Timing = metric("t_complete - t_submit of those that succeeded")

    @classmethod
    def all_of(cls, view: View) -> dict[str, Kind]:
        """The kinds of op of a trace, by name."""
        return _kinds(view)


@dataclass(frozen=True)
class Counters:
    """What the storage was asked to do."""

    requests: dict[str, int] = metric("ops by kind", "ops")
    bytes_read: int = metric("bytes that reads moved", "bytes")
    bytes_written: int = metric("bytes that writes moved", "bytes")
    bytes_requested: int = metric("bytes that reads and writes asked for", "bytes")
    errors: dict[str, int] = metric("failed ops by errno name or HTTP status", "ops")
    short_reads: int | None = metric("reads that moved some bytes, but fewer than asked for; null without `ret`", "ops")
    eof_reads: int | None = metric(
        "reads that asked for bytes and moved none, without an error; null without `ret`", "ops"
    )
    opens: int = metric("files opened", "ops")
    closes: int = metric("files closed", "ops")
    stats: int = metric("stat calls", "ops")
    lists: int = metric("directories or prefixes listed", "ops")
    mmaps: int = metric("files mapped", "ops")
    mmap_bytes: int = metric(
        "bytes mapped; which of them were touched is seen where the recorder was asked to look (touch ops)", "bytes"
    )
    fsyncs: int = metric("fsync calls", "ops")
    deletes: int = metric("deletions", "ops")
    attempts: int | None = metric("wire requests that logical object requests took; null where none says", "requests")
    wire_requests: int = metric("wire requests recorded beside logical ones; counted here only", "requests")

    @classmethod
    def of(cls, view: View) -> Counters:
        """The counters of a trace."""
        return _counters(view)


def _names(trace: Trace, name: str) -> dict[str, int]:
    codes = trace.col(name)
    strings = trace.strings(name)
    counts = np.bincount(codes[codes != NULL], minlength=len(strings)).tolist()
    return {text: count for text, count in sorted(zip(strings, counts, strict=True)) if count}


def _kinds(view: View) -> dict[str, Kind]:
    trace = view.trace
    submit, complete, failed = trace.col("t_submit"), trace.col("t_complete"), trace.col("err") != NULL
    # The times of a touch are those of two looks at a page table, not of the touch.
    good = (complete != NULL) & (complete >= submit) & ~failed & ~trace.mask("op", "touch")
    moved = np.zeros(len(trace), np.int64)
    moved[view.data] = view.moved
    carries = set(view.trace.col("op")[view.data].tolist())
    kinds = {}
    for text in _names(trace, "op"):
        chosen = trace.mask("op", text)
        timing = Timing.of(Histogram.of((complete - submit)[good & chosen]))
        size = int(moved[chosen].sum()) if trace.tables["op"].find(text) in carries else None
        kinds[text] = Kind(int(chosen.sum()), size, int((failed & chosen).sum()), timing)
    return kinds


def _counters(view: View) -> Counters:
    trace = view.trace
    requests = _names(trace, "op")
    returned = view.col("ret")
    some = bool((returned[view.reads] != NULL).any())
    short = view.reads & (returned > 0) & (returned < view.sizes)
    at_end = view.reads & (returned == 0) & (view.sizes > 0) & ~view.failed
    attempts = trace.col("attempts")
    return Counters(
        requests=requests,
        bytes_read=int(view.moved[view.reads].sum()),
        bytes_written=int(view.moved[~view.reads].sum()),
        bytes_requested=int(view.sizes.sum()),
        errors=_names(trace, "err"),
        short_reads=int(short.sum()) if some else None,
        eof_reads=int(at_end.sum()) if some else None,
        opens=requests.get("open", 0),
        closes=requests.get("close", 0),
        stats=requests.get("stat", 0),
        lists=requests.get("list", 0),
        mmaps=requests.get("mmap", 0),
        mmap_bytes=int(trace.col("len")[trace.mask("op", "mmap")].sum()),
        fsyncs=requests.get("fsync", 0),
        deletes=requests.get("delete", 0),
        attempts=int(attempts[attempts != NULL].sum()) if "attempts" in trace else None,
        wire_requests=view.wire,
    )
