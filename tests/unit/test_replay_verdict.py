"""The run's statement about itself, from made-up runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tracekit.cgroup import CpuLimit
from tracekit.replay.account import Account, merged
from tracekit.replay.disturbance import Disturbance
from tracekit.replay.engines import RESULT, Log, Outcome
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.replay.result import as_trace, collect
from tracekit.replay.standstill import Standstills
from tracekit.replay.statement import Statement, statement
from tracekit.replay.summary import Summary
from tracekit.storage import MemoryStorage
from tracekit.trace import Op, Trace

MS = 1_000_000
T0 = 10**12
COUNT = 200
QUIET = Disturbance(noise_floor_ns=[1000])
NOISY = Disturbance(0.05, 0.5, 9, [1000])


def plan_of(**options: object) -> Plan:
    """One stream of 200 reads, 10 ms apart, 1 ms each."""
    ops = [Op("file:///m", 0, 8, i * 10 * MS, t_complete=i * 10 * MS + MS, ret=8, pid=1, tid=1) for i in range(COUNT)]
    return make_plan(Trace.of(ops), Options(**options), storage_of=lambda _: MemoryStorage({}))  # type: ignore[arg-type]


def walked(
    plan: Plan, *, service: int = MS, own: int = 0, stall: int = 0, done: int = COUNT, error: int = 0
) -> Outcome:
    """A run of the plan on a machine with these habits, each in ns per op."""
    log = Log(np.zeros(COUNT, RESULT))
    log.done = done
    free = T0
    for index in range(done):
        due = T0 + int(plan.jobs[0].times[index])
        submit = max(due, free) + own + stall
        row = (due, free, stall, submit, submit + service, 8 if not error else -1)
        for name, value in zip(("due", "free", "stall", "submit", "complete", "ret"), row, strict=True):
            getattr(log, name)[index] = value
        log.error[index] = error
        free = submit + service
    return Outcome([log], T0, 0)


def stated(plan: Plan, outcome: Outcome, disturbance: Disturbance = QUIET) -> Statement:
    """The statement on a run."""
    summary = Summary.of(outcome)
    summary.add(collect(plan, outcome))
    return statement(Account.of(plan, outcome, disturbance), summary, plan.program.depth)


def judged(plan: Plan, outcome: Outcome, disturbance: Disturbance = QUIET) -> tuple[str, str]:
    """Verdict and reasons of a run."""
    run = stated(plan, outcome, disturbance)
    return run.verdict, " / ".join(run.reasons)


def test_a_punctual_run_is_valid() -> None:
    """A little late each time is what machines are like."""
    plan = plan_of()
    assert judged(plan, walked(plan, own=80_000)) == ("VALID", "")


def test_a_busy_machine_alone_is_degraded() -> None:
    """The schedule was kept, so the load was delivered; its latencies may be the doing of others, so it is not VALID."""
    run = stated(plan_of(), walked(plan_of()), NOISY)
    assert (run.verdict, run.delivered) == ("DEGRADED", True)
    assert "other processes used 50 %" in run.reasons[1]
    assert "hypervisor took 5.0 %" in run.reasons[0]


@pytest.mark.parametrize(
    ("disturbance", "words"),
    [
        (Disturbance(steal=0.02, cpu_s=2.0), "hypervisor took 2.0 %"),
        (Disturbance(foreign_cpu=0.11, cpu_s=2.0), "other processes used 11 %"),
        (Disturbance(limit=CpuLimit(0.5, 3, 40_000_000)), "CPU limit of 0.5 cores stopped the replay for 40 ms in 3"),
        (Disturbance(clock="acpi_pm"), "reads the time from acpi_pm"),
    ],
)
def test_each_disturbance_is_named_with_a_way_out(disturbance: Disturbance, words: str) -> None:
    """One sentence each, with its figure, and what to do after a colon."""
    run = stated(plan_of(), walked(plan_of()), disturbance)
    assert run.verdict == "DEGRADED"
    assert words in run.reasons[0]
    assert ": " in run.reasons[0]


@pytest.mark.parametrize(
    "disturbance",
    [
        # Two ticks of 10 ms in a run of a tenth of a second say nothing.
        Disturbance(steal=0.1, foreign_cpu=0.1, cpu_s=0.2),
        Disturbance(foreign_cpu=0.15, cpu_s=0.2),
        Disturbance(steal=0.009, foreign_cpu=0.09, cpu_s=60.0),
        Disturbance(limit=CpuLimit(0.5, 0, 0)),
        Disturbance(involuntary_switches=10**6, clock="tsc"),
    ],
)
def test_what_a_quiet_machine_does_is_no_disturbance(disturbance: Disturbance) -> None:
    """Below the bounds, or too few ticks of the kernel's clock to tell."""
    assert judged(plan_of(), walked(plan_of()), disturbance) == ("VALID", "")


def stood_still(*spans_ms: tuple[int, int]) -> Standstills:
    """Two cores stood still from and to so many ms after the start."""
    return Standstills.of([T0 + np.array(spans_ms, np.int64).reshape(-1, 2) * MS] * 2)


def test_what_a_short_standstill_did_is_told_apart() -> None:
    """6 ms of 2 s do not disturb a run: a remark says what the tail is without the ops that were due meanwhile."""
    plan, outcome = plan_of(), walked(plan_of(), own=5000)
    outcome.logs[0].submit[50] += 6 * MS
    outcome.logs[0].complete[50] += 6 * MS
    outcome.standstills = stood_still((499, 506), (700, 701))
    run = stated(plan, outcome, replace(QUIET, lasted_s=2.0, standstills=outcome.standstills))
    one_core = {"one_core_count": 4, "one_core_longest_ms": 7.0}
    assert (run.verdict, run.standstills) == (
        "VALID", {"cores": 2, "count": 2, "total_ms": 8.0, "longest_ms": 7.0, "touched_ops": 2, **one_core},
    )  # fmt: skip
    assert run.lateness_us is not None
    assert run.lateness_us["max"] == pytest.approx(6005, rel=0.004)
    assert run.lateness_apart_us == pytest.approx(dict.fromkeys(("p50", "p99", "p99.9", "max"), 5.0), rel=0.004)
    assert len(run.reasons) == 1
    assert run.reasons[0].startswith("the machine stood still for 8 ms (2 times, at most 7 ms)")
    assert "without the 2 ops that were due meanwhile p99.9 of the lateness is 5 µs instead of" in run.reasons[0]


@pytest.mark.parametrize(
    ("spans", "word"), [([(100, 119)], "VALID"), ([(100, 120), (700, 710)], "DEGRADED"), ([], "VALID")]
)
def test_a_machine_that_stood_still_for_long_is_disturbed(spans: list[tuple[int, int]], word: str) -> None:
    """From the share of the time on that counts for stolen time."""
    seen = stood_still(*spans)
    run = stated(plan_of(), walked(plan_of()), replace(QUIET, lasted_s=2.0, standstills=seen))
    assert (run.verdict, run.delivered) == (word, True)
    assert any("stood still for 30 ms" in reason for reason in run.reasons) == (word == "DEGRADED")


def test_where_nobody_looked_standstills_are_unknown() -> None:
    """Not none: null."""
    run = stated(plan_of(), walked(plan_of()))
    assert run.standstills is None
    assert run.lateness_apart_us == run.lateness_us


def test_a_replayer_that_is_late_is_not_sustained() -> None:
    """Nobody else to blame: 15 ms late each time, on a quiet machine."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan, own=15 * MS))
    assert verdict == "NOT SUSTAINED"
    assert "replayer itself" in reasons


def test_the_same_on_a_busy_machine_is_degraded() -> None:
    """Somebody else may be to blame."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan, own=15 * MS), NOISY)
    assert verdict == "DEGRADED"
    assert "replayer itself" in reasons
    assert "other processes used 50 %" in reasons


def test_slow_storage_is_target_limited() -> None:
    """Reads of 25 ms where the schedule has one each 10 ms."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan, service=25 * MS), NOISY)
    assert verdict == "TARGET LIMITED"
    assert "took longer than in the recording" in reasons


def test_slow_storage_with_a_slightly_late_replayer_is_still_the_storage() -> None:
    """What grew the delay counts, not what came first."""
    plan = plan_of()
    assert judged(plan, walked(plan, service=25 * MS, own=MS))[0] == "TARGET LIMITED"


def test_caps_that_hold_up_the_streams_are_target_limited() -> None:
    """The user's own limits are named."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan, stall=20 * MS))
    assert verdict == "TARGET LIMITED"
    assert "--max-inflight" in reasons


def test_the_same_caps_are_named_when_the_schedule_was_kept() -> None:
    """Half of an op's time spent at the caps changes the load, however punctual it was."""
    plan = plan_of()
    run = stated(plan, walked(plan, stall=MS // 2))
    assert (run.verdict, run.delivered, run.stalled_ops) == ("TARGET LIMITED", False, COUNT)
    assert "100 % of the ops waited at the in-flight caps, 500 µs on average" in run.reasons[0]


@pytest.mark.parametrize("stall", [5_000, 20_000])
def test_caps_that_are_hardly_felt_are_valid(stall: int) -> None:
    """Passing the gate is no waiting, and 20 µs of 1 ms change nothing."""
    assert judged(plan_of(), walked(plan_of(), stall=stall))[0] == "VALID"


def test_where_nothing_was_due_caps_are_what_was_asked_for() -> None:
    """`--pace asap --max-inflight 4` asks how fast four at a time are."""
    plan = plan_of(pace="asap")
    outcome = walked(plan, stall=5 * MS)
    outcome.logs[0].due[:] = 0
    assert judged(plan, outcome)[0] == "VALID"


def test_too_few_threads_are_named() -> None:
    """Waiting for a free thread is the replayer's fault, and another remedy: more of them only where there were too few."""
    plan = plan_of()
    outcome = walked(plan, own=25 * MS)
    outcome.logs[0].queued[:] = 24 * MS
    verdict, reasons = judged(plan, outcome)
    assert verdict == "NOT SUSTAINED"
    assert "for a free thread: the trace has 1 stream and the engine 0 threads; replay on several" in reasons
    outcome.threads = 1
    assert "for a free thread: the cores were busy with other ops" in judged(plan, outcome)[1]


def test_the_way_out_of_lateness_is_one_that_is_left() -> None:
    """Nobody is sent to the engine that ran, nor told to permit a priority that it had."""
    plan = plan_of()
    outcome = walked(plan, own=25 * MS)
    for priority, ways in (
        ("normal: only for objects by this engine", "use --engine native or take a smaller --speed"),
        (
            "normal: real-time priority was refused (Operation not permitted)",
            "permit real-time priority (ulimit -r) or take",
        ),
        ("real-time", "late here): take a smaller --speed"),
    ):
        outcome.priority = priority
        assert ways in judged(plan, outcome)[1]


def test_a_makespan_of_nothing_has_no_relative_error() -> None:
    """All ops at one instant: how long it took is said, a share of no time is not."""
    plan = plan_of()
    run = walked(plan, done=1)
    assert stated(plan, run).makespan_s == {"planned": 0.0, "achieved": 0.0}
    assert stated(plan, run).makespan_error is None


def test_a_machine_that_puts_threads_aside_is_not_slow_storage() -> None:
    """Most reads as quick as recorded and some very long ones, on a busy machine: DEGRADED, not the storage."""
    plan = plan_of()
    outcome = walked(plan)
    log = outcome.logs[0]
    log.complete[::8] += 60 * MS
    free = T0
    for index in range(COUNT):
        late = max(0, free - int(log.due[index]))
        service = int(log.complete[index] - log.submit[index])
        log.free[index], log.submit[index] = free, log.due[index] + late
        free = log.complete[index] = int(log.submit[index]) + service
    assert judged(plan, outcome, NOISY)[0] == "DEGRADED"
    assert judged(plan, outcome)[0] == "TARGET LIMITED"


def test_slower_storage_that_keeps_the_schedule_is_a_remark() -> None:
    """The load was delivered; that it took longer is the finding."""
    verdict, reasons = judged(plan_of(), walked(plan_of(), service=5 * MS))
    assert verdict == "VALID"
    assert "slower than the recorded one (half of them over 5" in reasons


def test_errors_are_never_valid() -> None:
    """Failed reads were on time and still not delivered."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan, error=5))
    assert verdict == "TARGET LIMITED"
    assert "EIO 200" in reasons


def test_errors_that_were_recorded_are_no_news() -> None:
    """An op that failed then and fails now did what it should."""
    ops = [Op("file:///m", 0, 8, i * 10 * MS, err="ENOENT", pid=1, tid=1) for i in range(COUNT)]
    plan = make_plan(Trace.of(ops), Options(), storage_of=lambda _: MemoryStorage({}))
    outcome = walked(plan, error=2)
    run = stated(plan, outcome)
    assert (run.verdict, run.errors, run.unexpected_errors) == ("VALID", {"ENOENT": COUNT}, {})


def test_short_reads_are_never_valid() -> None:
    """Bytes that did not come were not delivered."""
    plan = plan_of()
    outcome = walked(plan)
    outcome.logs[0].ret[:3] = 4
    verdict, reasons = judged(plan, outcome)
    assert verdict == "TARGET LIMITED"
    assert "3 reads returned less" in reasons


def test_a_stopped_run_is_not_sustained() -> None:
    """What was not issued is counted."""
    plan = plan_of()
    outcome = walked(plan, done=50)
    outcome.stopped = "the run was interrupted"
    verdict, reasons = judged(plan, outcome)
    assert verdict == "NOT SUSTAINED"
    assert "150 of 200 ops were not issued" in reasons


def test_a_closed_loop_is_not_judged_by_the_storage() -> None:
    """With think times slow storage makes the run longer, and that is the finding, not a failure."""
    plan = plan_of(pace="think")
    outcome = walked(plan)
    log = outcome.logs[0]
    log.due[:] = log.submit[:] = T0 + np.arange(COUNT) * 60 * MS
    log.free[:] = log.due - 9 * MS
    log.complete[:] = log.submit + 51 * MS
    run = stated(plan, outcome)
    assert run.verdict == "VALID"
    assert run.makespan_error is None


def test_asap_has_no_lateness() -> None:
    """Where nothing was due, nothing is late."""
    plan = plan_of(pace="asap")
    outcome = walked(plan, own=50 * MS)
    outcome.logs[0].due[:] = 0
    run = stated(plan, outcome)
    assert run.verdict == "VALID"
    assert run.lateness_us is None
    assert "t_due" not in as_trace(plan, outcome, collect(plan, outcome))


def test_lateness_is_the_sum_of_its_causes() -> None:
    """Own lateness, stall and dependency add up to lateness, op by op."""
    plan = plan_of()
    done = collect(plan, walked(plan, service=12 * MS, own=MS, stall=2 * MS))
    assert (done.lateness == done.own_lateness + done.stall + done.dependency).all()
    assert done.dependency[-1] > 0


def test_the_figures_are_those_of_the_ops() -> None:
    """Quantiles, sums, makespan and depth of a run whose every op is 2 ms late and takes 3 ms."""
    run = stated(plan_of(), walked(plan_of(), own=2 * MS, service=3 * MS))
    assert run.lateness_us == run.lateness_us | {"p50": pytest.approx(2000, rel=0.004), "max": 2000.0}
    assert run.lateness_by_cause_us is not None
    assert run.lateness_by_cause_us["replayer"]["sum"] == 2000.0 * COUNT
    assert run.makespan_s == {"planned": 1.99, "achieved": 1.992}
    assert run.queue_depth["recorded"] == {"mean": pytest.approx(0.1, rel=0.01), "max": 1}
    assert run.queue_depth["achieved"] == {"mean": pytest.approx(0.3, rel=0.01), "max": 1}
    assert run.arrival_distance is not None
    assert run.arrival_distance[0] == 0.0
    assert (run.recorded_bytes, run.moved_bytes, run.duration_s) == (8 * COUNT, 8 * COUNT, 1.995)


def test_ranks_add_up_and_each_is_named() -> None:
    """Two ranks' ops and caps are sums, the worst machine counts, and sentences say whose it was."""
    plan = plan_of()
    outcome = walked(plan)
    outcome.peak_ops = 3
    summaries = [Summary(T0), Summary(T0)]
    for one in summaries:
        one.add(collect(plan, outcome))
    summaries[0].merge(summaries[1])
    account = merged([Account.of(plan, outcome, disturbance) for disturbance in (QUIET, NOISY)])
    run = statement(account, summaries[0], None)
    assert (run.ops, run.streams, run.peak_inflight_gate["ops"]) == (2 * COUNT, 2, 6)
    assert run.histograms_us["service"].count == 2 * COUNT
    assert run.verdict == "DEGRADED"
    assert all(reason.startswith("rank 1: ") for reason in run.reasons)


def test_a_lost_rank_is_not_sustained() -> None:
    """Whatever the others did."""
    plan = plan_of()
    outcome = walked(plan)
    account = merged([Account.of(plan, outcome, QUIET)] * 2)
    account.lost.append("rank 1 did not answer for 30 s")
    summary = Summary(T0)
    summary.add(collect(plan, outcome))
    run = statement(account, summary, None)
    assert (run.verdict, run.lost_ranks) == ("NOT SUSTAINED", ["rank 1 did not answer for 30 s"])
    assert run.reasons == ["rank 1 did not answer for 30 s; 200 of 400 ops were not issued"]


def test_the_result_is_a_trace_of_what_was_done() -> None:
    """Identity as recorded, times from t0, deadlines beside them, only ops that were issued."""
    plan = plan_of(speed=2.0)
    outcome = walked(plan, own=5, done=3)
    trace = as_trace(plan, outcome, collect(plan, outcome))
    assert [(op.t_due, op.t_submit, op.t_complete, op.ret, op.pid) for op in trace] == [
        (i * 5 * MS, i * 5 * MS + 5, i * 5 * MS + 5 + MS, 8, 1) for i in range(3)
    ]
