"""What we ship for tests: the clock that stands still, and traces known beforehand."""

from __future__ import annotations

import pytest

from tracekit.testing import FakeClock, trace_of, training_trace


def test_the_fake_clock_moves_only_when_told():
    """Sleeping jumps to the deadline, advancing adds, and looking changes nothing."""
    clock = FakeClock(100)

    assert (clock.now_ns(), clock.now_ns()) == (100, 100)
    assert clock.sleep_until(250) == 250
    clock.advance(50)
    assert clock.now_ns() == 300


def test_a_deadline_that_has_passed_costs_no_time():
    """Sleeping until the past returns at once, without overshoot."""
    clock = FakeClock(100, overshoot_ns=7)

    assert clock.sleep_until(50) == 100
    assert clock.sleep_until(100) == 100
    assert clock.sleep_until(101) == 108
    assert clock.deadlines == [50, 100, 101]


def test_the_fake_clock_does_not_go_back():
    """A monotonic clock refuses negative time."""
    with pytest.raises(ValueError, match="does not go back by 1 ns"):
        FakeClock().advance(-1)


def test_traces_of_rows():
    """Rows of three are ops without completion, rows of four have one."""
    first, second = trace_of([(0, 10, 5), (10, 20, 6, 9)])

    assert (first.offset, first.len, first.t_submit, first.t_complete) == (0, 10, 5, None)
    assert second.t_complete == 9


def test_a_training_trace_reads_every_sample_once_an_epoch():
    """Each epoch reads every file to its end, in chunks, by the worker whose turn it is; marks are two a step."""
    trace = training_trace(files=10, file_bytes=150, chunk_bytes=100, batch=5, workers=2, epochs=3)
    moved = {}
    for op in trace:
        moved[op.epoch, op.sample_id] = moved.get((op.epoch, op.sample_id), 0) + op.ret

    assert moved == {(epoch, sample): 150 for epoch in range(3) for sample in range(10)}
    assert [mark.mark for mark in trace.marks] == ["step", "compute"] * 6
    assert {(op.step % 2, op.worker) for op in trace} == {(0, 0), (1, 1)}
    assert (trace.trailer.ops, trace.trailer.bytes) == (len(trace), 4500)


def test_training_traces_are_repeatable_and_shuffled_by_seed():
    """The same seed gives the same trace, another seed another order, no shuffle the order of names."""
    assert list(training_trace(seed=1)) == list(training_trace(seed=1))
    assert list(training_trace(seed=1)) != list(training_trace(seed=2))
    plain = training_trace(shuffle=False, epochs=1)
    assert [op.sample_id for op in plain] == sorted(op.sample_id for op in plain)
