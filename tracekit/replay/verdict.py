"""The run's statement about itself: was the recorded load really delivered, and if not, whose fault was it?

    VALID            the load was delivered as planned
    DEGRADED         it was not, the replayer was late, and the machine was taken by others meanwhile
    NOT SUSTAINED    it was not: the replayer could not keep up, or the run was stopped
    TARGET LIMITED   it was not: the storage, or the caps the user set, held the streams up

The measures and their bounds are those of docs/explanation/cadence.md. A busy machine alone is no verdict: on a shared
machine somebody is always busy, so it counts when the schedule was missed, and is a remark otherwise.
"""

from __future__ import annotations

import resource
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.machine import CpuTimes
from tracekit.replay.compile import Kind
from tracekit.replay.engines import Outcome
from tracekit.replay.plan import Plan
from tracekit.replay.result import Done, error_name
from tracekit.trace import NULL
from tracekit.units import format_ns

VALID, DEGRADED, NOT_SUSTAINED, TARGET_LIMITED = "VALID", "DEGRADED", "NOT SUSTAINED", "TARGET LIMITED"

# A normal thread on a saturated machine waits a few time slices of 3 to 4 ms for a core. With seven busy processes on two
# cores, replays that kept rate and order in every respect had a p99 of 8 to 17 ms and a median up to 2 ms.
LATE_P99_NS = 20_000_000
LATE_P50_NS = 4_000_000
MAKESPAN_SHARE, MAKESPAN_NS = 0.01, 10_000_000
# Share of ops issued in another 100 ms window than planned.
WINDOW_NS, WINDOW_SHARE = 100_000_000, 0.05
STEAL_SHARE, FOREIGN_SHARE = 0.01, 0.10

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Moment:
    """The machine and this process at one moment."""

    cpu: CpuTimes
    switches: int

    @classmethod
    def now(cls) -> Moment:
        """Read both."""
        return cls(CpuTimes.now(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


@dataclass
class Disturbance:
    """What the machine did besides: shares of all its CPU time, switches we did not want, and sleep overshoot before."""

    steal: float
    foreign_cpu: float
    involuntary_switches: int
    noise_floor_ns: list[int] = field(default_factory=list)

    @classmethod
    def between(cls, start: Moment, end: Moment, noise_floor: list[int]) -> Disturbance:
        """What happened from `start` to `end`."""
        steal, foreign = end.cpu.since(start.cpu)
        return cls(steal, foreign, end.switches - start.switches, noise_floor)

    @property
    def sentence(self) -> str:
        """What disturbed the run, or nothing."""
        parts = []
        if self.steal > STEAL_SHARE:
            parts.append(f"the hypervisor took {100 * self.steal:.1f} % of the CPU time")
        if self.foreign_cpu > FOREIGN_SHARE:
            parts.append(f"other processes used {100 * self.foreign_cpu:.0f} % of the CPU time")
        return " and ".join(parts)


def statement(plan: Plan, outcome: Outcome, done: Done, disturbance: Disturbance) -> dict[str, Any]:
    """The statement, as it stands under `run` in the trailer (docs/explanation/cadence.md names every key)."""
    facts = _facts(plan, outcome, done, disturbance)
    verdict, reasons = _judge(plan, outcome, done, facts, disturbance)
    return {"verdict": verdict, "reasons": reasons, **facts}


def _facts(plan: Plan, outcome: Outcome, done: Done, disturbance: Disturbance) -> dict[str, Any]:
    bytes_read = int(done.ret[done.ret > 0].sum())
    facts: dict[str, Any] = {
        "pace": plan.pace,
        "speed": plan.options.speed,
        "ops": len(done),
        "undelivered_ops": plan.ops - len(done),
        "interrupted": outcome.interrupted,
        "streams": len(plan.jobs),
        "threads": outcome.threads,
        "priority": outcome.priority,
        "recorded_bytes": _recorded_bytes(done),
        "moved_bytes": bytes_read,
        "issued_bytes": outcome.issued_bytes,
        "errors": _errors(done),
        "unexpected_errors": _unexpected(done),
        "short_reads": _short(done),
        "service_us": _microseconds(done.complete - done.submit),
        "duration_s": float(done.complete.max() - outcome.t0) / 1e9 if len(done) else 0.0,
        "queue_depth": {"recorded": _recorded_depth(plan), "achieved": depth(done.submit, done.complete)},
        "steal": round(disturbance.steal, 4),
        "foreign_cpu": round(disturbance.foreign_cpu, 4),
        "involuntary_switches": disturbance.involuntary_switches,
        "noise_floor_us": _microseconds(np.array(disturbance.noise_floor_ns, np.int64)),
        "peak_inflight_gate": {"ops": outcome.peak_ops, "bytes": outcome.peak_bytes},
        "direct_fallback_files": len(outcome.fell_back),
        "unmatched_closes": outcome.unmatched_closes,
        "skipped": dict(plan.skipped),
    }
    if plan.pace != "asap":
        facts |= _schedule_facts(plan, outcome, done)
    return facts


def _schedule_facts(plan: Plan, outcome: Outcome, done: Done) -> dict[str, Any]:
    causes = {
        "replayer": done.own_lateness,
        "cap_stall": done.stall,
        "no_free_worker": done.queued,
        "dependency": done.dependency,
    }
    facts: dict[str, Any] = {
        "lateness_us": _microseconds(done.lateness),
        "lateness_by_cause_us": {
            cause: {"p99": _quantile(values, 0.99) / 1e3, "sum": float(values.sum()) / 1e3}
            for cause, values in causes.items()
        },
        "response_us": _microseconds(np.maximum(done.complete - np.maximum(done.due, outcome.t0), 0)),
    }
    if plan.pace == "recorded" and len(done):
        facts["makespan_s"] = {
            "planned": float(done.due.max() - outcome.t0) / 1e9,
            "achieved": float(done.submit.max() - outcome.t0) / 1e9,
        }
        facts["makespan_error"] = _makespan_error(outcome, done)
        facts["window_rate_error"] = window_error(done.due - outcome.t0, done.submit - outcome.t0)
    return facts


def _judge(
    plan: Plan, outcome: Outcome, done: Done, facts: dict[str, Any], disturbance: Disturbance
) -> tuple[str, list[str]]:
    if outcome.stopped:
        lost = facts["undelivered_ops"]
        return NOT_SUSTAINED, [f"{outcome.stopped}; {lost} of {plan.ops} ops were not issued"]
    failures = _failures(facts)
    missed = _missed(plan, done, facts)
    remarks = [f"{disturbance.sentence}; latencies may say more about that than about the storage"]
    if failures and not missed:
        return TARGET_LIMITED, failures
    if not missed:
        return VALID, remarks if disturbance.sentence else []
    verdict, cause = _blame(plan, done)
    if verdict == NOT_SUSTAINED and disturbance.sentence:
        verdict, cause = DEGRADED, f"{cause}, while {disturbance.sentence}"
    return verdict, [*missed, cause, *failures]


def _failures(facts: dict[str, Any]) -> list[str]:
    reasons = []
    if facts["unexpected_errors"]:
        names = ", ".join(f"{name} {count}" for name, count in facts["unexpected_errors"].items())
        reasons.append(f"ops failed that had not failed in the recording: {names}")
    if facts["short_reads"]:
        reasons.append(f"{facts['short_reads']} reads returned less than in the recording")
    return reasons


def _missed(plan: Plan, done: Done, facts: dict[str, Any]) -> list[str]:
    """In which respects the planned load was not the delivered one. A closed loop promises only its think times."""
    if plan.pace == "asap" or not len(done):
        return []
    late = done.lateness if plan.pace == "recorded" else done.own_lateness
    p50, p99 = _quantile(late, 0.5), _quantile(late, 0.99)
    missed = []
    if p99 > LATE_P99_NS:
        missed.append(f"1 % of the ops were more than {format_ns(p99)} late (bound {format_ns(LATE_P99_NS)})")
    if p50 > LATE_P50_NS:
        missed.append(f"half of the ops were more than {format_ns(p50)} late (bound {format_ns(LATE_P50_NS)})")
    if plan.pace == "recorded":
        makespan, window = facts["makespan_error"], facts["window_rate_error"]
        span = facts["makespan_s"]["planned"]
        if abs(makespan) > MAKESPAN_SHARE and abs(makespan) * span * 1e9 > MAKESPAN_NS:
            missed.append(
                f"the run took {100 * makespan:+.1f} % longer than planned (bound {100 * MAKESPAN_SHARE:g} %)"
            )
        if window > WINDOW_SHARE:
            text = f"{100 * window:.1f} % of the ops fell into another 100 ms than planned"
            missed.append(f"{text} (bound {100 * WINDOW_SHARE:g} %)")
    return missed


def _blame(plan: Plan, done: Done) -> tuple[str, str]:
    """Whose fault lateness was, by what made it grow.

    An op that starts late because the one before it was still running says nothing by itself: that one may have been slow,
    or been late itself. So for every op that held up the next, three growths are added up: service time beyond the
    recorded one, waiting at the caps, and lateness of our own.
    """
    held_up = np.append(done.dependency[1:] > 0, False) & np.append(done.stream[1:] == done.stream[:-1], False)
    own = float(done.own_lateness.sum() + done.queued.sum())
    caps = float(done.stall.sum())
    target = float(_service_excess(done)[held_up].sum())
    if caps > max(own, target):
        return TARGET_LIMITED, "most of the waiting was at the in-flight caps (--max-inflight, --max-inflight-bytes)"
    if target > own:
        known = "t_complete" in plan.trace
        text = "took longer than in the recording" if known else "took longer than the schedule left room for"
        return TARGET_LIMITED, f"ops {text} and held up those behind them in their streams"
    return NOT_SUSTAINED, "the replayer itself issued ops too late"


def _service_excess(done: Done) -> Int64s:
    service = done.complete - done.submit
    then = done.recorded
    recorded = np.where(then.t_complete == NULL, 0, then.t_complete - then.t_submit)
    return np.asarray(np.maximum(service - recorded, 0), np.int64)


def window_error(due: Int64s, submit: Int64s) -> float:
    """The share of ops that were issued in another window of 100 ms than planned, net of those that took their place.

    Half the sum of |planned − issued| over the windows, divided by the number of ops (total variation distance).
    """
    if not len(due):
        return 0.0
    count = int(max(due.max(), submit.max()) // WINDOW_NS) + 1
    planned = np.bincount(np.maximum(due, 0) // WINDOW_NS, minlength=count)
    issued = np.bincount(np.maximum(submit, 0) // WINDOW_NS, minlength=count)
    return float(np.abs(planned - issued).sum() / (2 * len(due)))


def depth(submit: Int64s, complete: Int64s) -> dict[str, float]:
    """Ops in flight: `max`, and `mean` over the time from the first submit to the last completion."""
    if not len(submit):
        return {"mean": 0.0, "max": 0}
    span = int(complete.max() - submit.min())
    busy = float((complete - submit).sum())
    moments = np.concatenate([complete, submit])
    steps = np.concatenate([np.full(len(complete), -1), np.ones(len(submit), np.int64)])
    # Completions first where both happen at once: an op that ends as the next begins does not overlap it.
    order = np.argsort(moments, kind="stable")
    peak = int(np.cumsum(steps[order]).max(initial=0))
    return {"mean": round(busy / span, 4) if span else 0.0, "max": peak}


def _recorded_depth(plan: Plan) -> dict[str, float] | None:
    if not plan.program.has_service_times:
        return None
    trace = plan.trace
    return depth(trace.col("t_submit").astype(np.int64), trace.col("t_complete").astype(np.int64))


def _makespan_error(outcome: Outcome, done: Done) -> float:
    planned, achieved = int(done.due.max() - outcome.t0), int(done.submit.max() - outcome.t0)
    return round((achieved - planned) / planned, 6) if planned > 0 else 0.0


def _recorded_bytes(done: Done) -> int:
    moving = np.isin(done.recorded.kinds, (Kind.READ, Kind.WRITE))
    return int(done.recorded.length[moving].sum())


def _errors(done: Done) -> dict[str, int]:
    return _counted(done.error[done.error != 0])


def _unexpected(done: Done) -> dict[str, int]:
    return _counted(done.error[(done.error != 0) & ~done.recorded.failed])


def _counted(numbers: NDArray[np.int16]) -> dict[str, int]:
    return {error_name(int(number)): count for number, count in Counter(numbers.tolist()).most_common()}


def _short(done: Done) -> int:
    """Reads that returned less than the recording's; where it has no results, less than was asked for."""
    then = done.recorded
    reads = (then.kinds == Kind.READ) & ~then.failed & (done.error == 0)
    expected = np.where(then.ret == NULL, then.length, then.ret)
    return int((reads & (done.ret < expected)).sum())


def _microseconds(values: Int64s) -> dict[str, float]:
    if not len(values):
        return {}
    p50, p99, p999 = np.quantile(values, [0.5, 0.99, 0.999])
    return {
        "p50": round(float(p50) / 1e3, 3),
        "p99": round(float(p99) / 1e3, 3),
        "p99.9": round(float(p999) / 1e3, 3),
        "max": round(float(values.max()) / 1e3, 3),
    }


def _quantile(values: Int64s, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0
