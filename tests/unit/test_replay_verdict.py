"""The run's statement about itself, from made-up runs."""

from __future__ import annotations

import numpy as np
import pytest

from tracekit.replay.engines import Log, Outcome
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.replay.result import as_trace, collect
from tracekit.replay.verdict import Disturbance, depth, statement, window_error
from tracekit.storage import MemoryStorage
from tracekit.trace import Op, Trace

MS = 1_000_000
T0 = 10**12
COUNT = 200
QUIET = Disturbance(0.0, 0.0, 0, [1000])
NOISY = Disturbance(0.05, 0.5, 9, [1000])


def plan_of(**options: object) -> Plan:
    """One stream of 200 reads, 10 ms apart, 1 ms each."""
    ops = [Op("file:///m", 0, 8, i * 10 * MS, t_complete=i * 10 * MS + MS, ret=8, pid=1, tid=1) for i in range(COUNT)]
    return make_plan(Trace.of(ops), Options(**options), storage_of=lambda _: MemoryStorage({}))  # type: ignore[arg-type]


def walked(
    plan: Plan, *, service: int = MS, own: int = 0, stall: int = 0, done: int = COUNT, error: int = 0
) -> Outcome:
    """A run of the plan on a machine with these habits, each in ns per op."""
    log = Log(COUNT)
    log.done = done
    free = T0
    for index in range(done):
        due = T0 + int(plan.jobs[0].schedule[index])
        submit = max(due, free) + own + stall
        row = (due, free, stall, submit, submit + service, 8 if not error else -1)
        for name, value in zip(Log.NAMES, row, strict=True):
            getattr(log, name)[index] = value
        log.error[index] = error
        free = submit + service
    return Outcome([log], T0, 0)


def judged(plan: Plan, outcome: Outcome, disturbance: Disturbance = QUIET) -> tuple[str, str]:
    """Verdict and reasons of a run."""
    run = statement(plan, outcome, collect(plan, outcome), disturbance)
    return run["verdict"], " / ".join(run["reasons"])


def test_a_punctual_run_is_valid() -> None:
    """A little late each time is what machines are like."""
    plan = plan_of()
    assert judged(plan, walked(plan, own=80_000)) == ("VALID", "")


def test_a_busy_machine_alone_is_a_remark() -> None:
    """The schedule was kept, so the load was delivered; that others computed meanwhile is said."""
    plan = plan_of()
    verdict, reasons = judged(plan, walked(plan), NOISY)
    assert verdict == "VALID"
    assert "other processes used 50 %" in reasons
    assert "hypervisor took 5.0 %" in reasons


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
    assert "while" in reasons


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
    run = statement(plan, outcome, collect(plan, outcome), QUIET)
    assert (run["verdict"], run["errors"], run["unexpected_errors"]) == ("VALID", {"ENOENT": COUNT}, {})


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
    run = statement(plan, outcome, collect(plan, outcome), QUIET)
    assert run["verdict"] == "VALID"
    assert "makespan_error" not in run


def test_asap_has_no_lateness() -> None:
    """Where nothing was due, nothing is late."""
    plan = plan_of(pace="asap")
    outcome = walked(plan, own=50 * MS)
    run = statement(plan, outcome, collect(plan, outcome), QUIET)
    assert run["verdict"] == "VALID"
    assert "lateness_us" not in run
    assert "t_due" not in as_trace(plan, outcome, collect(plan, outcome))


def test_lateness_is_the_sum_of_its_causes() -> None:
    """Own lateness, stall and dependency add up to lateness, op by op."""
    plan = plan_of()
    done = collect(plan, walked(plan, service=12 * MS, own=MS, stall=2 * MS))
    assert (done.lateness == done.own_lateness + done.stall + done.dependency).all()
    assert done.dependency[-1] > 0


def test_every_statement_has_its_keys() -> None:
    """What readers of the trailer rely on is always there in the recorded pace."""
    plan = plan_of()
    outcome = walked(plan)
    run = statement(plan, outcome, collect(plan, outcome), QUIET)
    expected = {
        "verdict", "reasons", "lateness_us", "lateness_by_cause_us", "response_us", "service_us", "makespan_error",
        "window_rate_error", "queue_depth", "undelivered_ops", "errors", "recorded_bytes", "issued_bytes", "steal",
        "foreign_cpu", "involuntary_switches", "noise_floor_us", "streams", "threads",
    }  # fmt: skip
    assert expected <= run.keys()
    assert set(run["lateness_us"]) == {"p50", "p99", "p99.9", "max"}


def test_the_result_is_a_trace_of_what_was_done() -> None:
    """Identity as recorded, times from t0, deadlines beside them, only ops that were issued."""
    plan = plan_of(speed=2.0)
    outcome = walked(plan, own=5, done=3)
    trace = as_trace(plan, outcome, collect(plan, outcome))
    assert [(op.t_due, op.t_submit, op.t_complete, op.ret, op.pid) for op in trace] == [
        (i * 5 * MS, i * 5 * MS + 5, i * 5 * MS + 5 + MS, 8, 1) for i in range(3)
    ]


@pytest.mark.parametrize(
    ("due", "submit", "expected"),
    [
        ([0, 10, 20], [0, 10, 20], 0.0),
        ([0, 50 * MS, 150 * MS, 250 * MS], [0, 120 * MS, 150 * MS, 250 * MS], 0.25),
        ([0, 0], [500 * MS, 500 * MS], 1.0),
        ([], [], 0.0),
    ],
)
def test_window_error_is_the_share_that_moved(due: list[int], submit: list[int], expected: float) -> None:
    """Total variation distance over windows of 100 ms."""
    assert window_error(np.array(due, np.int64), np.array(submit, np.int64)) == expected


def test_depth_is_weighted_by_time() -> None:
    """Two ops side by side for half the time: 1.5 on average, at most 2; back to back is not side by side."""
    assert depth(np.array([0, 50]), np.array([100, 100])) == {"mean": 1.5, "max": 2}
    assert depth(np.array([0, 100]), np.array([100, 200])) == {"mean": 1.0, "max": 1}
    assert depth(np.array([], np.int64), np.array([], np.int64)) == {"mean": 0.0, "max": 0}
