"""Properties of pacing, planning and replaying."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.replay.clock import PythonClock
from tracekit.replay.compile import compile_trace
from tracekit.replay.engines import Choice
from tracekit.replay.options import Options
from tracekit.replay.pacer import Recorded, Think
from tracekit.replay.plan import make_plan
from tracekit.replay.session import replay
from tracekit.replay.threads import ThreadsEngine
from tracekit.selection import select
from tracekit.storage import MemoryStorage
from tracekit.trace import Op, Trace

small = st.integers(0, 10_000)
rows = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(0, 2), st.integers(0, 3), st.integers(0, 90), st.integers(0, 20)),
    min_size=1,
    max_size=40,
)
DATA = MemoryStorage({f"file:///m/{i}": bytes(range(100)) * 2 for i in range(4)})


def trace_of(rows: list[tuple[int, int, int, int, int]]) -> Trace:
    """Reads (t, thread, file, offset, len)."""
    return Trace.of(
        Op(f"file:///m/{file}", offset, length, t, t_complete=t + 10, ret=length, pid=1, tid=tid, sample_id=i)
        for i, (t, tid, file, offset, length) in enumerate(rows)
    )


@given(gaps=st.lists(small, min_size=1), late=st.lists(small, min_size=1), service=st.lists(small, min_size=1))
def test_an_open_loop_is_late_only_by_what_is_under_way(gaps: list[int], late: list[int], service: list[int]) -> None:
    """Each op is due at its own time whatever happened before, and goes at max(due, stream free) + its own wake-up."""
    schedule = np.cumsum(gaps).tolist()
    pacer, free = Recorded(0, schedule, 1), 0
    for index, planned in enumerate(schedule):
        due = pacer.due(0, index, free)
        assert due == planned
        submit = max(due, free) + late[index % len(late)]
        pacer.issued(due, submit)
        free = submit + service[index % len(service)]


@given(think=st.lists(small, min_size=1), late=st.lists(small, min_size=1), service=st.lists(small, min_size=1))
def test_a_closed_loop_loses_no_time(think: list[int], late: list[int], service: list[int]) -> None:
    """The run ends at services + think times + what is still owed: every overshoot is either paid back or known as debt."""
    pacer, free = Think(think), 0
    for index in range(len(think)):
        due = pacer.due(0, index, free)
        assert due >= free
        submit = due + late[index % len(late)]
        pacer.issued(due, submit)
        free = submit + service[index % len(service)]
    services = sum(service[index % len(service)] for index in range(len(think)))
    assert free == services + sum(think) + pacer.debt


@given(rows=rows, speed=st.floats(0.1, 10.0))
def test_streams_split_a_trace_without_loss(rows: list[tuple[int, int, int, int, int]], speed: float) -> None:
    """Every op is in exactly one stream, each stream is in order of time, and its schedule is the recorded one, scaled."""
    trace = trace_of(rows)
    plan = make_plan(trace, Options(speed=speed), storage_of=lambda _: DATA)
    together = np.concatenate([job.rows for job in plan.jobs])
    assert sorted(together.tolist()) == list(range(len(trace)))
    for job in plan.jobs:
        submits = plan.trace.col("t_submit")[job.rows]
        assert (np.diff(submits) >= 0).all()
        assert (np.diff(job.times) >= 0).all()
        assert np.abs(job.times - (submits - plan.program.origin) / speed).max() <= 1


@given(rows=rows)
def test_anchors_never_wait_for_each_other(rows: list[tuple[int, int, int, int, int]]) -> None:
    """A stream's start waits for one that was over before, so there is no circle."""
    streams = compile_trace(trace_of(rows)).streams
    for stream in streams:
        seen = {stream.index}
        while stream.after is not None:
            assert stream.after not in seen
            seen.add(stream.after)
            stream = streams[stream.after]  # noqa: PLW2901 -- following the chain
        assert stream.lead >= 0


@settings(max_examples=25, deadline=None)
@given(
    rows=rows,
    pace=st.sampled_from(["recorded", "think", "asap"]),
    max_inflight=st.none() | st.integers(1, 2),
    max_bytes=st.none() | st.integers(1, 30),
    loop=st.integers(1, 2),
)
def test_every_op_is_done_once_in_the_order_of_its_stream(
    rows: list[tuple[int, int, int, int, int]], pace: str, max_inflight: int | None, max_bytes: int | None, loop: int
) -> None:
    """Whatever pace, caps and repetitions: the output holds each op `loop` times, per stream in the recorded order."""
    source = trace_of(rows)
    options = Options(pace=pace, max_inflight=max_inflight, max_inflight_bytes=max_bytes, loop=loop)
    clock = PythonClock()
    choice = Choice(ThreadsEngine(clock), clock, "test")
    done = replay(source, options, choice=choice, storage_of=lambda _: DATA)
    wanted: dict[int, list[int]] = defaultdict(list)
    for op in source.sorted():
        wanted[op.tid or 0].append(int(op.sample_id or 0))
    got: dict[int, list[int]] = defaultdict(list)
    last: dict[int, int] = defaultdict(int)
    for op in done.trace:
        got[op.tid or 0].append(int(op.sample_id or 0))
        assert op.t_submit >= last[op.tid or 0]
        assert op.t_complete is not None
        assert op.ret == op.len
        assert op.t_due is None or op.t_submit >= op.t_due
        last[op.tid or 0] = op.t_complete
    assert dict(got) == {tid: ids * loop for tid, ids in wanted.items()}
    assert max_inflight is None or done.outcome.peak_ops <= max_inflight
    largest = max(row[4] for row in rows)
    assert max_bytes is None or done.outcome.peak_bytes <= max(max_bytes, largest)


@given(rows=rows, low=st.integers(0, 20), high=st.integers(0, 20))
def test_a_selection_and_its_opposite_are_everything(
    rows: list[tuple[int, int, int, int, int]], low: int, high: int
) -> None:
    """Ranges are what comparing says, and != is the rest."""
    trace = trace_of(rows)
    chosen = select(trace, f"len={low}..{high}")
    assert (chosen == select(trace, f"len>={low},len<={high}")).all()
    assert (chosen != select(trace, f"len!={low}..{high}")).all()
