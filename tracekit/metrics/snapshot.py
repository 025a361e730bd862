"""The snapshot: everything tracekit can say about a trace in numbers, with what it cannot say left null."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics import schema
from tracekit.metrics.arrivals import Arrivals
from tracekit.metrics.counters import Counters, Kind, Timing
from tracekit.metrics.order import Order
from tracekit.metrics.queue_depth import Sweep
from tracekit.metrics.schema import metric
from tracekit.metrics.shares import Shares
from tracekit.metrics.steps import TABLE_LIMIT, Samples, Steps
from tracekit.metrics.view import Ints, View, distinct
from tracekit.trace import NULL, Trace
from tracekit.units import counted

if TYPE_CHECKING:
    import os

# 1: the first published schema. A key that is removed, renamed or means something else raises it; a new key does not.
METRICS_VERSION = 1
SIZES_LIMIT = 65_536
TIMELINE_BINS = 200


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
            files=distinct(view.col("uri")),
            duration_ns=duration,
            throughput_mb_s=size / duration * 1e3 if duration else None,
            data_ops_per_s=len(view.data) / duration * 1e9 if duration else None,
            req_bytes_hist=Histogram.of(view.sizes),
            latency_us_hist=service,
            max_qd=sweep.peak_depth if sweep else None,
            peak_inflight=sweep.peak_bytes if sweep else None,
            backend_counters=Counters.of(view),
            kinds=Kind.all_of(view),
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
        number = counted(metrics.queue_depth.unfinished, "data op has no t_complete", "data ops have no t_complete")
        yield f"{number}: left out of latency and queue depth"
    if metrics.completeness.negative_service:
        count = metrics.completeness.negative_service
        what = counted(count, "data op completes before it begins", "data ops complete before they begin")
        yield f"{what}: the clock cannot be trusted; left out of times"
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
        yield f"the recorder lost {counted(complete.lost, 'op')}: every count is too low"
    if complete.trailer_ops is not None and complete.trailer_ops > metrics.ops + metrics.backend_counters.wire_requests:
        yield f"the trailer counts {complete.trailer_ops} ops, the trace has {metrics.ops}: some lines are missing"
