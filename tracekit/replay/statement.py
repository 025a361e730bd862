"""The run's statement about itself: what stands under `run` in the trailer, and what `tracekit replay --json` prints."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics import schema
from tracekit.metrics.schema import metric
from tracekit.replay.account import Account
from tracekit.replay.disturbance import Disturbance
from tracekit.replay.flow import window_error
from tracekit.replay.summary import Summary
from tracekit.replay.verdict import Verdict, judge, makespan_error

# 1: the first version that is published. Statements of earlier traces have no version and fewer keys.
RUN_VERSION = 1


@dataclass(frozen=True)
class RankFacts:
    """One rank of several that were one run."""

    rank: int = metric("its number")
    host: str = metric("where it ran")
    streams: int = metric("streams it replayed")
    planned_ops: int = metric("ops of its share", "ops")
    ops: int = metric("issued and known of", "ops")
    verdict: str = metric("on its part of the run")
    start_error_us: float | None = metric("how much later than agreed it began; null where it had nothing to do", "us")
    clock_offset_us: float | None = metric("its CLOCK_MONOTONIC less rank 0's; null where that was not found out", "us")
    clock_error_us: float | None = metric("the most that may be wrong with that", "us")
    clock_drift_us: float = metric("by how much the offset had changed after the run", "us")


@dataclass(frozen=True)
class Statement:
    """One run. What does not apply to its pace is None."""

    verdict: str = metric("VALID, DEGRADED, NOT SUSTAINED or TARGET LIMITED")
    reasons: list[str] = metric("why, in sentences with figures and a way out; those of a VALID run are remarks")
    delivered: bool = metric("whether the load was issued as planned; a DEGRADED run may have done so")
    pace: str = metric("recorded, think or asap")
    speed: float = metric("factor on the schedule or the think times")
    ops: int = metric("issued", "ops")
    undelivered_ops: int = metric("planned and not issued", "ops")
    interrupted: bool = metric("ended by a person or a signal")
    streams: int = metric("recorded threads that were replayed")
    threads: int = metric("threads that issued ops")
    priority: str = metric("their priority, and why it is that")
    recorded_bytes: int = metric("asked for in the trace by the issued ops", "bytes")
    moved_bytes: int = metric("transferred", "bytes")
    issued_bytes: int = metric("asked of the system (O_DIRECT rounds outwards)", "bytes")
    errors: dict[str, int] = metric("failed ops by errno", "ops")
    unexpected_errors: dict[str, int] = metric("those that had not failed in the recording", "ops")
    error_kinds: dict[str, int] = metric(
        "failed ops by kind: of objects in words (throttled, reset, short body, clock skew…), of files the errno", "ops"
    )
    requests: int | None = metric("made for objects, repeated ones too; null where the trace has none", "requests")
    connections: int | None = metric(
        "TCP connections that were opened, counted by the core, or without it seen by looking each second; of ranks the sum; null where the trace has no objects",
        "connections",
    )
    cache_hints: dict[str, int] = metric(
        "files of which the page cache was told something (--cache, --cache-start), by advice", "files"
    )
    retried: dict[str, int] = metric("failed requests that were made again (--retries), by kind", "requests")
    first_byte_us: dict[str, float] = metric(
        "from a request for an object to the beginning of its answer, where it was not made again: p50, p99, p99.9, max",
        "us",
    )
    short_reads: int = metric("reads that returned less than in the recording", "ops")
    duration_s: float = metric("from t0 to the last completion", "s")
    service_us: dict[str, float] = metric("t_complete − t_submit: p50, p99, p99.9, max", "us")
    recorded_service_us: dict[str, float] = metric("the same in the recording", "us")
    lateness_us: dict[str, float] | None = metric("t_submit − t_due (dispatch delay): p50, p99, p99.9, max", "us")
    lateness_apart_us: dict[str, float] | None = metric(
        "the same of the ops whose wait no standstill of the machine was a part of: p50, p99, p99.9, max", "us"
    )
    lateness_by_cause_us: dict[str, dict[str, float]] | None = metric(
        "p99 and sum of what lateness is made of: replayer, cap_stall, no_free_worker, dependency", "us"
    )
    response_us: dict[str, float] | None = metric("t_complete − t_due (scheduled latency): p50, p99, p99.9, max", "us")
    makespan_s: dict[str, float] | None = metric("last submit, planned and achieved (recorded pace)", "s")
    makespan_error: float | None = metric("their relative difference; null where no time was planned")
    window_rate_error: float | None = metric("share of ops issued in another 100 ms than planned")
    arrival_distance: list[float] | None = metric(
        "Kolmogorov-Smirnov distance of planned and issued gaps between ops: at least, at most"
    )
    queue_depth: dict[str, dict[str, float] | None] = metric(
        "ops in flight, mean over time and max: recorded (null where it has no completions), achieved", "ops"
    )
    stalled_ops: int = metric("ops that waited at the in-flight caps for more than 10 µs", "ops")
    peak_inflight_gate: dict[str, int] = metric("most ops and bytes the caps let in at once; of ranks, added up")
    steal: float = metric("share of the CPU time the hypervisor took; of several ranks the worst")
    foreign_cpu: float = metric("share that other processes used; of several ranks the worst")
    own_cpu_s: float = metric("CPU time of the replay itself", "s")
    standstills: dict[str, float] | None = metric(
        "times in which no core let even a thread of real-time priority run: cores looked at, count, total_ms, longest_ms, and "
        "touched_ops that were due meanwhile; one_core_count and one_core_longest_ms of what kept at least one core; of several ranks "
        "the worst; null where nobody looked (no real-time priority)"
    )
    involuntary_switches: int = metric("how often a thread of the replay was put aside for another")
    cpu_limit: dict[str, float | None] = metric(
        "the control groups' CPU limit: cores (null: none), throttled_periods, throttled_s"
    )
    pressure: dict[str, float] = metric("share of the run in which somebody on the machine waited for cpu, io, memory")
    clock_source: str = metric("what the kernel reads the time from")
    realtime_share: float | None = metric("share of each second the kernel leaves to real-time threads; null: all")
    idle_processors: str = metric(
        "whether processors were kept out of idle states while a schedule was kept, or why not"
    )
    noise_floor_us: dict[str, float] = metric("how late plain sleeps of 1 ms were just before the run", "us")
    direct_files: int = metric("files read with O_DIRECT; of several ranks the most")
    direct_fallback_files: int = metric("files not read with O_DIRECT though asked")
    unmatched_closes: int = metric("recorded closes without an open", "ops")
    skipped: dict[str, int] = metric("ops left out, by reason", "ops")
    lost_ranks: list[str] = metric("ranks that did not answer, in sentences")
    ranks: list[RankFacts] = metric("one entry for each rank; empty for a run of one process")
    histograms_us: dict[str, Histogram] = metric(
        "service, recorded_service, first_byte, response, lateness, the causes of lateness, planned_gaps and issued_gaps",
        "us",
    )
    queue_depth_hist: Histogram = metric("achieved depth, each counted for the ns it lasted", "ops")

    def to_json(self) -> dict[str, Any]:
        """The statement as a JSON object: `run` (its version) first."""
        return {"run": RUN_VERSION, **schema.to_json(self)}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of `to_json`, as published in docs/reference/run.schema.json."""
        return schema.json_schema(
            cls, identifier="run.schema.json", title="A replay's statement about itself", version_key="run", version=RUN_VERSION
        )  # fmt: skip


def statement(
    account: Account,
    summary: Summary,
    recorded_depth: dict[str, float] | None,
    *,
    verdict: Verdict | None = None,
    ranks: Sequence[RankFacts] = (),
) -> Statement:
    """The statement on a run.

    Args:
        account: What was asked for and how it ran.
        summary: What came of its ops.
        recorded_depth: Ops in flight in the recording (`flow.depth`); None where it has no completions.
        verdict: What several ranks' verdicts come to; else the run is judged here.
        ranks: One entry for each of them.
    """
    verdict = verdict or judge(account, summary)
    return Statement(
        verdict=verdict.word,
        reasons=verdict.reasons,
        delivered=verdict.delivered,
        **_asked(account, summary),
        **_results(summary),
        **_times(account, summary),
        **_machine(account.disturbances),
        standstills=_standstills(account, summary),
        ranks=list(ranks),
        queue_depth={"recorded": recorded_depth, "achieved": summary.flow.depth.to_json()},
        histograms_us=_histograms(account, summary),
        queue_depth_hist=summary.flow.depth.over_time(),
    )


def _asked(account: Account, summary: Summary) -> dict[str, Any]:
    return {
        "pace": account.pace,
        "speed": account.speed,
        "undelivered_ops": account.planned_ops - summary.ops,
        "interrupted": account.interrupted,
        "streams": account.streams,
        "threads": account.threads,
        "priority": account.priority,
        "issued_bytes": account.issued_bytes,
        "peak_inflight_gate": {"ops": account.peak_ops, "bytes": account.peak_bytes},
        "direct_files": account.went_direct,
        "direct_fallback_files": account.fell_back,
        "unmatched_closes": account.unmatched_closes,
        "skipped": dict(account.skipped),
        "connections": account.connections,
        "cache_hints": dict(sorted(account.cache_hints.items())),
        "retried": dict(account.retried.most_common()),
        "lost_ranks": account.lost,
    }


def _results(summary: Summary) -> dict[str, Any]:
    return {
        "ops": summary.ops,
        "recorded_bytes": summary.recorded_bytes,
        "moved_bytes": summary.moved_bytes,
        "errors": dict(summary.errors.most_common()),
        "unexpected_errors": dict(summary.unexpected_errors.most_common()),
        "error_kinds": dict(summary.error_kinds.most_common()),
        "requests": summary.attempts or None,
        "first_byte_us": _microseconds(summary.first_byte),
        "short_reads": summary.short_reads,
        "stalled_ops": summary.stalled,
        "duration_s": summary.last_complete / 1e9,
        "service_us": _microseconds(summary.service),
        "recorded_service_us": _microseconds(summary.recorded_service),
    }


def _times(account: Account, summary: Summary) -> dict[str, Any]:
    """What lateness was like, where there was a schedule to be late for."""
    kept, recorded = account.pace != "asap", account.pace == "recorded" and summary.ops > 0
    flow, distance = summary.flow, summary.flow.gap_distance
    return {
        "lateness_us": _microseconds(summary.lateness) if kept else None,
        "lateness_apart_us": _microseconds(summary.apart) if kept else None,
        "lateness_by_cause_us": {cause: _p99_and_sum(histogram) for cause, histogram in summary.causes.items()}
        if kept
        else None,
        "response_us": _microseconds(summary.response) if kept else None,
        "makespan_s": {"planned": summary.last_due / 1e9, "achieved": summary.last_submit / 1e9} if recorded else None,
        "makespan_error": makespan_error(summary) if recorded else None,
        "window_rate_error": window_error(flow.planned, flow.issued) if recorded else None,
        "arrival_distance": [round(end, 6) for end in distance] if recorded and distance else None,
    }


def _machine(all_of_them: Sequence[Disturbance]) -> dict[str, Any]:
    limits = [one.limit for one in all_of_them]
    first = all_of_them[0]
    floor = Histogram.of(np.array([late for one in all_of_them for late in one.noise_floor_ns], np.int64).clip(0))
    return {
        "steal": round(max(one.steal for one in all_of_them), 4),
        "foreign_cpu": round(max(one.foreign_cpu for one in all_of_them), 4),
        "own_cpu_s": round(sum(one.own_s for one in all_of_them), 4),
        "involuntary_switches": sum(one.involuntary_switches for one in all_of_them),
        "cpu_limit": {
            "cores": min((limit.cores for limit in limits if limit.cores is not None), default=None),
            "throttled_periods": sum(limit.periods for limit in limits),
            "throttled_s": sum(limit.throttled_ns for limit in limits) / 1e9,
        },
        "pressure": {
            name: round(max(one.pressure.get(name, 0.0) for one in all_of_them), 4) for name in first.pressure
        },
        "clock_source": first.clock,
        "realtime_share": first.realtime_share,
        "idle_processors": first.idle,
        "noise_floor_us": _microseconds(floor),
    }


def _standstills(account: Account, summary: Summary) -> dict[str, float] | None:
    seen = [one.standstills.to_json() for one in account.disturbances if one.standstills is not None]
    return max(seen, key=lambda one: one["total_ms"]) | {"touched_ops": summary.touched} if seen else None


def _histograms(account: Account, summary: Summary) -> dict[str, Histogram]:
    found = {"service": summary.service, "recorded_service": summary.recorded_service}
    found |= {"first_byte": summary.first_byte}
    if account.pace != "asap":
        found |= {"response": summary.response, "lateness": summary.lateness, **summary.causes}
    found |= {"planned_gaps": summary.flow.planned.gaps, "issued_gaps": summary.flow.issued.gaps}
    return {name: histogram for name, histogram in found.items() if histogram}


def _microseconds(histogram: Histogram) -> dict[str, float]:
    if not histogram:
        return {}
    levels = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: round((histogram.quantile(level) or 0.0) / 1e3, 3) for name, level in levels.items()}


def _p99_and_sum(histogram: Histogram) -> dict[str, float]:
    return {"p99": (histogram.quantile(0.99) or 0.0) / 1e3, "sum": histogram.total / 1e3}
