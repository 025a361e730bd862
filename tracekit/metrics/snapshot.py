"""The snapshot: everything tracekit can say about a trace in numbers, with what it cannot say left null."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics import schema
from tracekit.metrics.arrivals import Arrivals
from tracekit.metrics.order import Order
from tracekit.metrics.queue_depth import Sweep
from tracekit.metrics.schema import metric
from tracekit.metrics.steps import TABLE_LIMIT, Samples, Steps
from tracekit.metrics.view import Ints, View, codes_of
from tracekit.trace import NULL, Trace

if TYPE_CHECKING:
    import os

# 1: the first published schema. A key that is removed, renamed or means something else raises it; a new key does not.
METRICS_VERSION = 1
SIZES_LIMIT = 65_536
TIMELINE_BINS = 200


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
    mmap_bytes: int = metric("bytes mapped; which of them were touched cannot be seen", "bytes")
    fsyncs: int = metric("fsync calls", "ops")
    deletes: int = metric("deletions", "ops")
    attempts: int | None = metric("wire requests that logical object requests took; null where none says", "requests")
    wire_requests: int = metric("wire requests recorded beside logical ones; counted here only", "requests")


@dataclass(frozen=True)
class QueueDepth:
    """Data ops in flight over time, in [t_submit, t_complete)."""

    mean: float | None = metric("mean over time, from the first submission to the last completion", "ops")
    depth_ns_hist: Histogram = metric("time in ns spent at each depth: the counts are ns, the values depths", "ops")
    busy_share: float | None = metric("share of that time with at least one data op in flight")
    unfinished: int | None = metric(
        "data ops without t_complete in a trace that has it: left out of all queue depths", "ops"
    )
    timeline_t_us: list[float] = metric("start of each of at most 200 equal windows, since the trace's t0", "us")
    timeline_mean: list[float] = metric("mean depth in each window", "ops")
    timeline_max: list[int] = metric("largest depth in each window", "ops")

    @classmethod
    def of(cls, sweep: Sweep | None, unfinished: int | None) -> QueueDepth:
        """The depth profile of a sweep; None where no op has a completion."""
        if sweep is None:
            return cls(None, Histogram(), None, None, [], [], [])
        start, mean, highest = sweep.timeline(TIMELINE_BINS)
        spent = sweep.distribution()
        return cls(
            mean=sweep.mean(),
            depth_ns_hist=spent,
            busy_share=_busy(spent),
            unfinished=unfinished,
            timeline_t_us=(start / 1000).tolist(),
            timeline_mean=mean.tolist(),
            timeline_max=highest.tolist(),
        )


@dataclass(frozen=True)
class Part:
    """What one worker, rank or process contributed."""

    ops: int = metric("data ops", "ops")
    bytes: int = metric("bytes moved", "bytes")


@dataclass(frozen=True)
class Shares:
    """How the work was divided."""

    streams: int | None = metric("streams (one thread's ops) that read or wrote data", "streams")
    processes: int | None = metric("processes that did", "processes")
    workers: int | None = metric("loader workers that did", "workers")
    ranks: int | None = metric("ranks that did", "ranks")
    by_worker: dict[str, Part] = metric("data ops and bytes of each loader worker")
    by_rank: dict[str, Part] = metric("data ops and bytes of each rank")
    worker_balance: float | None = metric("bytes of the busiest worker / mean bytes per worker: 1 is even")
    rank_balance: float | None = metric("bytes of the busiest rank / mean bytes per rank: 1 is even")

    @classmethod
    def of(cls, view: View) -> Shares:
        """The division of a trace's data ops."""
        by_worker, by_rank = _parts(view, "worker"), _parts(view, "rank")
        streams = view.streams
        pids = codes_of(view.col("rank"), view.col("pid"))
        return cls(
            streams=None if streams is None else _distinct(streams),
            processes=_distinct(pids) if "pid" in view.trace else None,
            workers=len(by_worker) or None,
            ranks=len(by_rank) or None,
            by_worker=by_worker,
            by_rank=by_rank,
            worker_balance=_balance(by_worker),
            rank_balance=_balance(by_rank),
        )


@dataclass(frozen=True)
class Completeness:
    """How much of what happened is in the trace, as far as the trace itself knows."""

    trailer: bool = metric(
        "whether the trace has its last line; without it, it was cut short or its source writes none"
    )
    trailer_ops: int | None = metric("ops the trailer counts; more than the trace has means some are missing", "ops")
    lost: int | None = metric("ops the recorder knows it lost", "ops")
    negative_service: int = metric("data ops that complete before they begin: left out of times and queue depth", "ops")
    coverage: dict[str, Any] = metric("the trailer's coverage: bytes traced and ignored against the kernel's own count")
    run: dict[str, Any] = metric("the trailer's statement of a replay or driver about its own run")


@dataclass(frozen=True)
class Metrics:
    """The snapshot of one trace. What the trace cannot say is None (JSON null) or an empty histogram, never 0."""

    ops: int = metric("all ops", "ops")
    data_ops: int = metric("reads and writes: the requests of the figures below, unless said otherwise", "ops")
    bytes: int = metric(
        "bytes moved by data ops: `ret`, or `len` where `ret` is not known and the op did not fail", "bytes"
    )
    files: int = metric("distinct uris read or written", "files")
    duration_ns: int | None = metric("from the first t_submit to the last t_complete (or t_submit) of all ops", "ns")
    throughput_mb_s: float | None = metric("bytes / duration, in 10^6 bytes per second", "MB/s")
    data_ops_per_s: float | None = metric("data_ops / duration", "1/s")
    req_bytes_hist: Histogram = metric("size asked for by each data op (`len`)", "bytes")
    latency_us_hist: Histogram = metric("service time t_complete - t_submit of data ops that succeeded", "us")
    max_qd: int | None = metric("largest number of data ops in flight at once", "ops")
    peak_inflight: int | None = metric("largest number of bytes asked for by data ops in flight at once", "bytes")
    backend_counters: Counters = metric("what the storage was asked to do")
    kinds: dict[str, Kind] = metric("ops by kind, with bytes, errors and service times")
    sizes: dict[int, int] | None = metric("exact table: size asked for -> data ops; null above 65,536 sizes", "ops")
    service: Timing = metric("t_complete - t_submit of data ops that succeeded")
    response: Timing = metric(
        "t_complete - t_due of data ops that succeeded, where a replayer or driver had a schedule"
    )
    lateness: Timing = metric("t_submit - t_due of data ops, 0 where early")
    queue_depth: QueueDepth = metric("data ops in flight over time")
    arrivals: Arrivals = metric("cadence")
    order: Order = metric("order and locality")
    steps: Steps = metric("training steps and starvation")
    samples: Samples = metric("training samples")
    shares: Shares = metric("streams, workers and ranks")
    completeness: Completeness = metric("what is missing, as far as the trace knows")
    warnings: list[str] = metric("what a reader of these numbers should know")

    @classmethod
    def of(cls, trace: Trace) -> Metrics:
        """The metrics of a trace: a pure function, the same for the same trace whoever made it."""
        view = View.of(trace)
        sweep = _sweep(view)
        duration = _duration(view)
        size = int(view.moved.sum())
        service = Histogram.of((view.complete - view.submit)[view.timed & ~view.failed])
        response, lateness = _scheduled(view)
        has_complete = "t_complete" in trace
        result = cls(
            ops=len(view.trace),
            data_ops=len(view.data),
            bytes=size,
            files=_distinct(view.col("uri")),
            duration_ns=duration,
            throughput_mb_s=size / duration * 1e3 if duration else None,
            data_ops_per_s=len(view.data) / duration * 1e9 if duration else None,
            req_bytes_hist=Histogram.of(view.sizes),
            latency_us_hist=service,
            max_qd=sweep.peak_depth if sweep else None,
            peak_inflight=sweep.peak_bytes if sweep else None,
            backend_counters=_counters(view),
            kinds=_kinds(view),
            sizes=_size_table(view.sizes),
            service=Timing.of(service),
            response=Timing.of(response),
            lateness=Timing.of(lateness),
            queue_depth=QueueDepth.of(sweep, int((view.complete == NULL).sum()) if has_complete else None),
            arrivals=Arrivals.of(view),
            order=Order.of(view),
            steps=Steps.of(view, sweep),
            samples=Samples.of(view),
            shares=Shares.of(view),
            completeness=_completeness(view),
            warnings=[],
        )
        return replace(result, warnings=[*trace.warnings, *_warnings(view, result)])

    def to_json(self) -> dict[str, Any]:
        """The snapshot as a JSON object: `metrics` (schema version) first, then docs/reference/metrics.schema.json."""
        limited = replace(self, steps=replace(self.steps, table=self.steps.table[:TABLE_LIMIT]))
        return {"metrics": METRICS_VERSION, **schema.to_json(limited)}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of `to_json`, as published in docs/reference/metrics.schema.json."""
        return schema.json_schema(
            cls,
            identifier="metrics.schema.json",
            title="Metrics of a trace",
            version_key="metrics",
            version=METRICS_VERSION,
        )

    def to_csv(self, directory: str | os.PathLike[str], *, force: bool = True) -> list[str]:
        """Write scalars.csv, hist_*.csv, steps.csv and queue_depth.csv into a directory, all or none.

        Args:
            directory: Where to; created if it is missing.
            force: Whether files of these names may be replaced.

        Returns:
            The names of the files written.

        Raises:
            OutputExistsError: If one of the files exists and `force` is false.
            InputError: If the directory cannot be made or written.
        """
        from tracekit.metrics import tables

        return tables.write(self, directory, force=force)


def _distinct(values: Ints) -> int:
    return len(np.unique(values))


def _busy(spent: Histogram) -> float | None:
    idle = spent.share_below(1)
    return None if idle is None else 1 - idle


def _sweep(view: View) -> Sweep | None:
    timed = view.timed
    if not bool(timed.any()):
        return None
    return Sweep.of(view.submit[timed], view.complete[timed], view.sizes[timed])


def _duration(view: View) -> int | None:
    submit, complete = view.trace.col("t_submit"), view.trace.col("t_complete")
    if not len(submit):
        return None
    return int(max(submit.max(), complete.max()) - submit.min())


def _scheduled(view: View) -> tuple[Histogram, Histogram]:
    due = view.col("t_due")
    scheduled = due != NULL
    late = np.maximum(view.submit - due, 0)[scheduled]
    done = scheduled & view.timed & ~view.failed & (view.complete >= due)
    return Histogram.of((view.complete - due)[done]), Histogram.of(late)


def _size_table(sizes: Ints) -> dict[int, int] | None:
    values, counts = np.unique(sizes, return_counts=True)
    if len(values) > SIZES_LIMIT:
        return None
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _names(trace: Trace, name: str) -> dict[str, int]:
    codes = trace.col(name)
    strings = trace.strings(name)
    counts = np.bincount(codes[codes != NULL], minlength=len(strings)).tolist()
    return {text: count for text, count in sorted(zip(strings, counts, strict=True)) if count}


def _kinds(view: View) -> dict[str, Kind]:
    trace = view.trace
    submit, complete, failed = trace.col("t_submit"), trace.col("t_complete"), trace.col("err") != NULL
    good = (complete != NULL) & (complete >= submit) & ~failed
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


def _parts(view: View, name: str) -> dict[str, Part]:
    owner = view.col(name)
    known = owner != NULL
    if not bool(known.any()):
        return {}
    numbers, codes = np.unique(owner[known], return_inverse=True)
    ops = np.bincount(codes)
    moved = np.zeros(len(numbers), np.int64)
    np.add.at(moved, codes, view.moved[known])
    return {str(number): Part(int(n), int(size)) for number, n, size in zip(numbers, ops, moved, strict=True)}


def _balance(parts: Mapping[str, Part]) -> float | None:
    sizes = [part.bytes for part in parts.values()]
    return max(sizes) * len(sizes) / sum(sizes) if sum(sizes) else None


def _completeness(view: View) -> Completeness:
    trailer = view.source.trailer
    negative = (view.complete != NULL) & (view.complete < view.submit)
    return Completeness(
        trailer=trailer is not None,
        trailer_ops=trailer.ops if trailer else None,
        lost=trailer.lost if trailer else None,
        negative_service=int(negative.sum()),
        coverage=dict(trailer.coverage) if trailer else {},
        run=dict(trailer.run) if trailer else {},
    )


def _warnings(view: View, metrics: Metrics) -> Iterable[str]:
    if not metrics.data_ops:
        yield "the trace has no reads and no writes: sizes, latency, queue depth and order are not known"
        return
    if "t_complete" not in view.trace:
        yield "no op has t_complete: latency and queue depth are not known"
    elif metrics.queue_depth.unfinished:
        yield f"{metrics.queue_depth.unfinished} data ops have no t_complete: they are left out of latency and queue depth"
    if metrics.completeness.negative_service:
        count = metrics.completeness.negative_service
        yield f"{count} data ops complete before they begin: their clock cannot be trusted and they are left out of times"
    if "ret" not in view.trace:
        yield "no op has ret: bytes are those asked for, and short reads are not known"
    if metrics.shares.streams is None:
        yield "no op has pid or tid: streams and the order within them are not known"
    yield from _step_warnings(metrics.steps)
    yield from _loss_warnings(metrics)


def _step_warnings(steps: Steps) -> Iterable[str]:
    if steps.excluded is None:
        yield "the trace has no step marks: starvation is not known"
        return
    if not steps.judged:
        yield "no step after the first has a compute mark: waiting and starvation are not known"
    if steps.attribution is None:
        yield "ops cannot be assigned to steps: bytes and ops per step are not known"
    elif steps.attribution == "time":
        yield "ops carry no step numbers: they are assigned to the step during which they were issued, not the one they serve"


def _loss_warnings(metrics: Metrics) -> Iterable[str]:
    complete = metrics.completeness
    if complete.lost:
        yield f"the recorder lost {complete.lost} ops: every count is too low"
    if complete.trailer_ops is not None and complete.trailer_ops > metrics.ops + metrics.backend_counters.wire_requests:
        yield f"the trailer counts {complete.trailer_ops} ops, the trace has {metrics.ops}: some lines are missing"
