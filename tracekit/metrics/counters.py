"""What the storage was asked to do, counted and timed by kind of op."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.histogram import Histogram, merged
from tracekit.metrics.schema import metric
from tracekit.metrics.slots import Slots
from tracekit.metrics.stores import StoresTally
from tracekit.metrics.view import View
from tracekit.trace import NULL, Mask, Trace

_THROTTLED = ("429", "503")


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
    retries: int | None = metric(
        "requests for objects that were made again: of a logical one all but the first, of wire ones those that are no first attempt; "
        "null where none says",
        "requests",
    )
    throttled: int = metric("ops that failed with 429 or 503: the store asked for less", "ops")
    first_byte: Timing = metric("t_first_byte - t_submit of the requests for objects that were not made again")
    first_byte_us_hist: Histogram = metric("the same as a histogram", "us")
    object_requests: dict[str, int] = metric(
        "requests for objects by kind of op, repeated ones too; a call whose requests nobody saw counts once",
        "requests",
    )
    ranged_gets: int | None = metric("those that asked for a range of bytes; null where none says so", "requests")
    connections: int | None = metric(
        "TCP connections to stores that were opened: by recorded wire requests, or seen by a replay; null where neither says",
        "connections",
    )
    cache_hints: dict[str, int] = metric(
        "what the page cache was told of files, by advice: calls of a recorded program, files of a replay (`--cache`, `--cache-start`)",
        "hints",
    )
    wire_requests: int = metric("wire requests recorded beside logical ones; counted here only", "requests")


class KindsTally:
    """The ops of a trace that comes in pieces, by kind."""

    def __init__(self) -> None:
        self._ops, self._bytes, self._errors, self._carries = Slots(), Slots(), Slots(), Slots()
        self._times: dict[int, Histogram] = {}
        self._names: list[str] = []

    def update(self, view: View) -> None:
        """Take in the next piece."""
        trace = view.trace
        if not len(trace):
            return
        self._names = trace.strings("op")
        kinds, failed = trace.col("op"), trace.col("err") != NULL
        self._ops.add(kinds)
        self._bytes.room(kinds)
        self._errors.add(kinds[failed])
        data = kinds if len(view.data) == len(kinds) else kinds[view.data]
        self._bytes.add(data, view.moved)
        self._carries.add(data)
        self._add_times(view, ~failed)

    def _add_times(self, view: View, succeeded: Mask) -> None:
        trace = view.trace
        submit, complete, kinds = trace.col("t_submit"), trace.col("t_complete"), trace.col("op")
        # The times of a touch are those of two looks at a page table, not of the touch.
        good = (complete != NULL) & (complete >= submit) & succeeded & ~trace.mask("op", "touch")
        times = (complete - submit).astype(np.int64, copy=False)
        for code in np.flatnonzero(np.bincount(kinds[good])).tolist():
            chosen = good & (kinds == code)
            self._times.setdefault(code, Histogram()).add(times if bool(chosen.all()) else times[chosen])

    def result(self) -> dict[str, Kind]:
        """What has come so far, by name."""
        found = sorted((self._names[code], code) for code in np.flatnonzero(self._ops.values).tolist())
        return {name: self._kind(code) for name, code in found}

    def service(self, *names: str) -> Histogram:
        """The service times of the ops of some kinds that succeeded."""
        return merged([times for code, times in self._times.items() if self._names[code] in names])

    def _kind(self, code: int) -> Kind:
        size = self._bytes.of(code) if self._carries.of(code) else None
        return Kind(self._ops.of(code), size, self._errors.of(code), Timing.of(self._times.get(code, Histogram())))


class CountersTally:
    """What the ops of a trace that comes in pieces asked of the storage."""

    def __init__(self) -> None:
        self._kinds, self._errors = Slots(), Slots()
        self._kind_names: list[str] = []
        self._error_names: list[str] = []
        self._read = self._written = self._requested = self._short = self._at_end = self._mapped = self._attempts = 0
        self._returns = self._attempted = False
        self._retries = 0
        self._first_byte = Histogram()
        self._stores = StoresTally()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        trace = view.trace
        if not len(trace):
            return
        self._kinds.add(trace.col("op"))
        self._kind_names = trace.strings("op")
        if "err" in trace:
            errors = trace.col("err")
            self._errors.add(errors[errors != NULL])
            self._error_names = trace.strings("err")
        self._mapped += int(trace.col("len")[trace.mask("op", "mmap")].sum())
        if "attempts" in view.told:
            attempts = trace.col("attempts")
            self._attempts += int(attempts[attempts != NULL].sum())
            self._attempted = True
            again = np.maximum(attempts - 1, 0)  # NULL is below 0
            self._retries += int(np.where(trace.mask("level", "wire"), again > 0, again).sum())
        self._add_first_bytes(trace)
        self._add_data(view)
        self._stores.update(view)

    def _add_first_bytes(self, trace: Trace) -> None:
        if "t_first_byte" not in trace:
            return
        submit, began = trace.col("t_submit"), trace.col("t_first_byte")
        # A logical request that was made again has waited for more than its answer.
        good = (began != NULL) & (began >= submit) & ((trace.col("attempts") <= 1) | trace.mask("level", "wire"))
        self._first_byte.add((began - submit)[good])

    def _add_data(self, view: View) -> None:
        reads, moved, returned, sizes = view.reads, view.moved, view.col("ret"), view.sizes
        total, read = int(moved.sum()), int(moved[reads].sum())
        self._read += read
        self._written += total - read
        self._requested += int(sizes.sum())
        if "ret" in view.trace:
            known = reads & (returned != NULL)
            self._returns |= bool(known.any())
            self._short += int((known & (returned > 0) & (returned < sizes)).sum())
            self._at_end += int((known & (returned == 0) & (sizes > 0) & ~view.failed).sum())

    def result(self, wire: int, run: Mapping[str, Any]) -> Counters:
        """What has come so far, beside so many wire requests and what a replay says of itself."""
        requests, errors = _named(self._kinds, self._kind_names), _named(self._errors, self._error_names)
        return Counters(
            requests=requests,
            bytes_read=self._read,
            bytes_written=self._written,
            bytes_requested=self._requested,
            errors=errors,
            short_reads=self._short if self._returns else None,
            eof_reads=self._at_end if self._returns else None,
            opens=requests.get("open", 0),
            closes=requests.get("close", 0),
            stats=requests.get("stat", 0),
            lists=requests.get("list", 0),
            mmaps=requests.get("mmap", 0),
            mmap_bytes=self._mapped,
            fsyncs=requests.get("fsync", 0),
            deletes=requests.get("delete", 0),
            attempts=self._attempts if self._attempted else None,
            retries=self._retries if self._attempted else None,
            throttled=sum(errors.get(status, 0) for status in _THROTTLED),
            first_byte=Timing.of(self._first_byte),
            first_byte_us_hist=self._first_byte,
            **self._stores.result(run),
            wire_requests=wire,
        )


def _named(counts: Slots, names: list[str]) -> dict[str, int]:
    found = sorted((names[code], count) for code, count in enumerate(counts.values.tolist()) if count)
    return dict(found)
