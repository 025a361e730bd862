"""The snapshot: everything tracekit can say about a trace in numbers, with what it cannot say left null."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tracekit.histogram import Histogram
from tracekit.metrics import schema
from tracekit.metrics.arrivals import Arrivals
from tracekit.metrics.counters import Counters, Kind, Timing
from tracekit.metrics.order import Order
from tracekit.metrics.samples import Samples
from tracekit.metrics.schema import metric
from tracekit.metrics.shares import Shares
from tracekit.metrics.steps import TABLE_LIMIT, Steps
from tracekit.trace import Trace

if TYPE_CHECKING:
    import os

# 1: the first published schema. A key that is removed, renamed or means something else raises it; a new key does not.
METRICS_VERSION = 1


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
        from tracekit.metrics.stream import Stream

        stream = Stream(trace.marks)
        stream.update(trace.sorted())
        return stream.result()

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
            InputError: If there is something else in the place of the directory.
            CannotRunError: If it cannot be made or written.
        """
        from tracekit.metrics import tables

        return tables.write(self, directory, force=force)
