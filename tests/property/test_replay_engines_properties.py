"""Whatever the plan, every engine keeps order, moments and caps, and does every op once."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.replay import engines, native
from tracekit.replay.engines import Control
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.trace import Op, Trace

core = pytest.importorskip("tracekit._core", reason="the native core is not built here")
SIZE = 100_000
RING = native.probe(core)
ENGINES = ["threads", "native", pytest.param("uring", marks=pytest.mark.skipif(not RING.usable, reason=RING.reason))]

OPS = st.tuples(
    st.integers(0, 4),  # stream
    st.integers(0, 2),  # file
    st.integers(0, SIZE + 100),  # offset
    st.sampled_from([0, 1, 100, 4096, 30_000, 90_000]),  # length
    st.integers(0, 300_000),  # gap before it, ns
    st.sampled_from(["read"] * 6 + ["stat", "open", "close"]),
)
PLANS = st.fixed_dictionaries(
    {
        "pace": st.sampled_from(["recorded", "think", "asap"]),
        "speed": st.sampled_from([0.5, 1.0, 4.0]),
        "loop": st.integers(1, 2),
        "max_inflight": st.none() | st.integers(1, 3),
        "max_inflight_bytes": st.none() | st.sampled_from([1, 5000, 60_000]),
    }
)
WORKERS = st.sampled_from([1, 2, 3, native.MAX_WORKERS])  # fewer than streams: they take ops from each other


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files of 100,000 bytes."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(3):
        (folder / str(number)).write_bytes(bytes(SIZE))
    return [f"file://{folder}/{number}" for number in range(3)]


def trace_of(files, rows):
    """A trace with these ops, each stream on a clock of its own."""
    clocks = {}
    ops = []
    for stream, file, offset, length, gap, kind in rows:
        begin = clocks.get(stream, 0) + gap
        clocks[stream] = begin + 1000
        ops.append(Op(files[file], offset, length, begin, op=kind, t_complete=begin + 1000, pid=1, tid=stream))
    return Trace.of(ops).sorted()


def intervals(outcome):
    """Submit and complete of every op that was done."""
    submit = np.concatenate([log.submit[: log.done] for log in outcome.logs])
    return submit, np.concatenate([log.complete[: log.done] for log in outcome.logs])


def most(submit, complete, weights):
    """The largest sum of weights in flight."""
    order = np.argsort(np.concatenate([complete, submit]), kind="stable")
    return int(np.cumsum(np.concatenate([-weights, weights])[order]).max())


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60)
@given(rows=st.lists(OPS, min_size=1, max_size=40), chosen=PLANS, workers=WORKERS)
def test_every_engine_keeps_its_promises(files, engine, rows, chosen, workers):
    """All ops once, in order, never early, within the caps, with the bytes that the files have."""
    options = Options(engine=engine, **chosen)
    plan = make_plan(trace_of(files, rows), options)
    with mock.patch.object(native, "MAX_WORKERS", workers):
        outcome = engines.choose(engine, plan).engine.run(plan, Control())
    assert outcome.stopped == ""
    for job, log in zip(plan.jobs, outcome.logs, strict=True):
        assert log.done == len(job) * options.loop
        assert (log.submit >= np.maximum(log.due, log.free)).all()
        assert (log.submit[1:] >= log.complete[:-1]).all()
        kinds, offsets = np.tile(job.kinds, options.loop), np.tile(job.offsets, options.loop)
        expected = np.clip(SIZE - offsets, 0, np.tile(job.lengths, options.loop))
        assert (log.ret[kinds == 0] == expected[kinds == 0]).all()
        assert (log.error == 0).all()
    submit, complete = intervals(outcome)
    if options.max_inflight is not None:
        assert most(submit, complete, np.ones(len(submit), np.int64)) <= options.max_inflight
    if options.max_inflight_bytes is not None:
        sizes = np.concatenate([np.tile(np.where(job.kinds == 0, job.lengths, 0), options.loop) for job in plan.jobs])
        fitting = np.where(sizes <= options.max_inflight_bytes, sizes, 0)
        assert most(submit, complete, fitting) <= options.max_inflight_bytes


@given(rows=st.lists(OPS, min_size=1, max_size=40), chosen=PLANS)
@settings(max_examples=40)
def test_the_engines_are_due_at_the_same_moments(files, rows, chosen):
    """In an open loop the schedule does not depend on who keeps it."""
    due = []
    for engine in ("threads", "native"):
        options = Options(engine=engine, **chosen | {"pace": "recorded"})
        plan = make_plan(trace_of(files, rows), options)
        outcome = engines.choose(engine, plan).engine.run(plan, Control())
        due.append(np.concatenate([log.due - outcome.t0 for log in outcome.logs]).tolist())
    assert due[0] == due[1]
