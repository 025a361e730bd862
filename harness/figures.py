"""The figures of one run that criteria are decided on: taken from its Metrics, small enough to keep in a golden."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.blocks import Blocked, BlocksTally
from harness.overlaps import Meetings
from harness.stats import Ints
from harness.times import Times
from tracekit.histogram import Histogram
from tracekit.machine import host_class
from tracekit.metrics import Metrics
from tracekit.metrics.levels import Levels
from tracekit.trace import Header, Trace

if TYPE_CHECKING:
    from tracekit.metrics.view import View

# Above this many distinct sizes a table is kept in the histogram's buckets (1/128 of the value wide).
TABLE_LIMIT = 4096
COARSE_BITS = 5


@dataclass(frozen=True)
class Table:
    """A distribution: values ascending, and how often each occurs."""

    values: Ints
    counts: Ints

    def __len__(self) -> int:
        return int(self.counts.sum())

    @classmethod
    def of(cls, counted: Mapping[int, int]) -> Table:
        """The table of value → count."""
        pairs = sorted(counted.items())
        return cls(np.array([value for value, _ in pairs], np.int64), np.array([count for _, count in pairs], np.int64))

    def __add__(self, other: Table) -> Table:
        values, codes = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, codes, np.concatenate([self.counts, other.counts]))
        return Table(values, counts)

    def quantile(self, q: float) -> float | None:
        """The value at rank ⌈q·count⌉; None of an empty table."""
        if not len(self):
            return None
        return float(self.values[np.searchsorted(np.cumsum(self.counts), max(1.0, np.ceil(q * len(self))))])

    @classmethod
    def coarse(cls, histogram: Histogram) -> Table:
        """A histogram in 16 buckets an octave, by their lower ends; whole numbers below 32 stay as they are.

        Distances of such tables never exceed those of the values; goldens stay small.
        """
        low, _, counts = histogram.buckets()
        shift = np.maximum(np.frexp(low.astype(np.float64))[1].astype(np.int64) - COARSE_BITS, 0)
        values, codes = np.unique((low >> shift) << shift, return_inverse=True)
        total = np.zeros(len(values), np.int64)
        np.add.at(total, codes, counts)
        return cls(values, total)

    def to_json(self) -> dict[str, list[int]]:
        """Values and counts as JSON."""
        return {"values": self.values.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Table:
        """The table of a JSON object; ValueError where it does not agree with itself."""
        values, counts = (_whole_numbers(data[name]) for name in ("values", "counts"))
        if (
            values.shape != counts.shape
            or values.ndim != 1
            or bool((np.diff(values) <= 0).any())
            or bool((counts <= 0).any())
        ):
            raise ValueError("a table's values ascend and have positive counts")
        return cls(values, counts)


class Beside:
    """What figures need beside the metrics, of a run that comes in pieces."""

    def __init__(self) -> None:
        self.meetings, self.times, self.blocks = Meetings(), Times(), BlocksTally()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self.meetings.update(view)
        self.times.update(view)
        self.blocks.update(view)


@dataclass(frozen=True)
class Figures:
    """What one run shows.

    Args:
        scalars: By name; None is "the trace cannot say".
        sizes: Requested sizes of reads and writes, bytes.
        depths: Reads and writes by the queue depth right after their submission, themselves included.
        chance: The same, over all of a few copies (`harness.overlaps`) of the run in which every stream was moved by the time of a few ops: how often
            ops would meet if streams knew nothing of each other.
        kinds: All ops by kind.
        engine: What recorded it (engines see different kinds of metadata ops).
        host_class: `tracekit.machine.host_class`; empty where the header does not tell.
        tables: Further distributions by name (`_tables`), coarse; what the trace cannot say is missing.
        blocks: Gaps, service times and sizes by block of time (`harness.blocks`); what the trace cannot say is missing.
    """

    scalars: Mapping[str, float | None]
    sizes: Table
    depths: Table
    chance: Table
    kinds: Mapping[str, int]
    engine: str = ""
    host_class: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    blocks: Mapping[str, Blocked] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> Figures:
        """The figures of a trace: a pure function."""
        return cls.measured(trace, Metrics.of(trace))

    @classmethod
    def measured(cls, trace: Trace, metrics: Metrics) -> Figures:
        """The figures of a trace whose metrics are at hand."""
        beside = Levels(Beside())
        beside.update(trace.sorted())
        return cls.summed(metrics, beside.tally, trace.header)

    @classmethod
    def summed(cls, metrics: Metrics, beside: Beside, header: Header | None) -> Figures:
        """The figures of a run of which nothing is left but what was added up."""
        meetings, times = beside.meetings, beside.times
        return cls(
            scalars=_scalars(metrics) | {"streams.peak": meetings.lives.most()} | times.scalars(),
            sizes=_sizes(metrics),
            depths=Table.of(meetings.overlaps.depths()),
            chance=Table.of(meetings.overlaps.chance()),
            kinds=dict(metrics.backend_counters.requests),
            engine=str(header.producer.get("engine", "")) if header else "",
            host_class=host_class(header.host) if header else "",
            tables=_tables(metrics, times),
            blocks=beside.blocks.result(),
        )

    @property
    def data_ops(self) -> int:
        """Reads and writes."""
        return int(self.scalars.get("data_ops") or 0)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "scalars": dict(sorted(self.scalars.items())),
            "sizes": self.sizes.to_json(),
            "depths": self.depths.to_json(),
            "chance": self.chance.to_json(),
            "kinds": dict(sorted(self.kinds.items())),
            "engine": self.engine,
            "host_class": self.host_class,
            "tables": {name: table.to_json() for name, table in sorted(self.tables.items())},
            "blocks": {name: blocked.to_json() for name, blocked in sorted(self.blocks.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Figures:
        """The figures of a JSON object; KeyError, TypeError or ValueError where it is none."""
        scalars = {str(name): None if value is None else float(value) for name, value in data["scalars"].items()}
        if not all(value is None or math.isfinite(value) for value in scalars.values()):
            raise ValueError("its figures are finite numbers")
        kinds = {str(name): int(count) for name, count in data["kinds"].items()}
        sizes, depths, chance = (Table.from_json(data[name]) for name in ("sizes", "depths", "chance"))
        # Goldens that were made before there were such tables and blocks are read as they are.
        tables = {str(name): Table.from_json(table) for name, table in data.get("tables", {}).items()}
        blocks = {str(name): Blocked.from_json(blocked) for name, blocked in data.get("blocks", {}).items()}
        return cls(scalars, sizes, depths, chance, kinds, str(data["engine"]), str(data["host_class"]), tables, blocks)


def _whole_numbers(values: Any) -> Ints:
    # NumPy would cut fractions off without a word.
    if not all(type(value) is int and 0 <= value < 2**63 for value in values):
        raise ValueError("a table holds whole numbers from 0")
    return np.array(values, np.int64)


def histograms(metrics: Metrics) -> dict[str, Histogram]:
    """The distributions that reports show, by name; latency and gap in ns."""
    return {
        "size": metrics.req_bytes_hist,
        "latency": metrics.latency_us_hist,
        "gap": metrics.arrivals.inter_arrival_us_hist,
        "qd": metrics.queue_depth.depth_ns_hist,
    }


def _scalars(metrics: Metrics) -> dict[str, float | None]:
    steps, order, samples = metrics.steps, metrics.order, metrics.samples
    latency = metrics.latency_us_hist
    # Ops assigned by time belong to the step during which they were read ahead, another quantity than the step they serve.
    numbered = steps.attribution == "step"
    return {
        "data_ops": float(metrics.data_ops),
        "bytes": float(metrics.bytes),
        "duration": _number(metrics.duration_ns),
        "size.mean": metrics.req_bytes_hist.mean,
        "size.median": _sizes(metrics).quantile(0.5),
        "ops.errors": _error_share(metrics),
        "step.bytes": steps.bytes_per_step_hist.mean if numbered else None,
        "step.ops": steps.ops_per_step_hist.mean if numbered else None,
        "sample.bytes": samples.bytes_per_sample_hist.mean,
        "sample.ops": samples.ops_per_sample_hist.mean,
        "files.distinct": float(metrics.files),
        "order.sequential": order.sequential_in_uri,
        "order.sequential-stream": order.sequential_in_stream,
        "order.first-touch": order.first_touch_randomness,
        "order.reaccess": order.reaccess_share,
        "order.top-files": order.top1_file_share,
        "streams.workers": _number(metrics.shares.workers),
        "streams.count": _number(metrics.shares.streams),
        "depth.max": _number(metrics.max_qd),
        "depth.bytes": _number(metrics.peak_inflight),
        "depth.mean": metrics.queue_depth.mean,
        "stall.share": steps.stall_share,
        "stall.starved": steps.starved_share,
        "stall.hungry": steps.hungry_idle_share,
        "depth.fed": steps.busy_compute_share,
        "latency.mean": latency.mean,
        "latency.p50": latency.quantile(0.5),
        "latency.p95": latency.quantile(0.95),
        "latency.p99": latency.quantile(0.99),
        "latency.p99.9": latency.quantile(0.999),
        "throughput": None if metrics.throughput_mb_s is None else metrics.throughput_mb_s * 1e6,
        "ops.rate": metrics.data_ops_per_s,
        "arrival.dispersion": metrics.arrivals.per_10ms_dispersion,
        "arrival.lag1": metrics.arrivals.per_10ms_lag1,
    }


def _tables(metrics: Metrics, times: Times) -> dict[str, Table]:
    found = {
        **times.histograms(),
        "order.seek": metrics.order.seek_in_uri_hist,
        "order.seek-stream": metrics.order.seek_in_stream_hist,
        "order.run": metrics.order.run_ops_hist,
        "order.jump": metrics.order.first_touch_jump_hist,
        "sample.bytes": metrics.samples.bytes_per_sample_hist,
        "sample.ops": metrics.samples.ops_per_sample_hist,
        "latency": metrics.latency_us_hist,
        "gap": metrics.arrivals.inter_arrival_us_hist,
        "depth": metrics.queue_depth.depth_ns_hist,
    }
    return {name: Table.coarse(histogram) for name, histogram in found.items() if histogram}


def _error_share(metrics: Metrics) -> float | None:
    failed = sum(metrics.kinds[name].errors for name in ("read", "write") if name in metrics.kinds)
    return failed / metrics.data_ops if metrics.data_ops else None


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _sizes(metrics: Metrics) -> Table:
    if metrics.sizes is not None and len(metrics.sizes) <= TABLE_LIMIT:
        return Table.of(metrics.sizes)
    low, _, counts = metrics.req_bytes_hist.buckets()
    return Table(np.asarray(low, np.int64), np.asarray(counts, np.int64))
