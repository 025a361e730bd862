"""The sweep over begins and ends: ties, ops of length zero, windows."""

from __future__ import annotations

import numpy as np
import pytest

from tracekit.metrics.queue_depth import Sweep, Timeline


def sweep(*ops):
    """The sweep of (submit, complete[, size]) rows."""
    rows = np.array([(op[0], op[1], op[2] if len(op) > 2 else 1) for op in ops], np.int64).reshape(-1, 3)
    return Sweep.of(rows[:, 0], rows[:, 1], rows[:, 2])


def test_ops_that_touch_do_not_overlap():
    """An op that begins at the instant another ends finds its place free: [t_submit, t_complete)."""
    assert sweep((0, 10), (10, 20)).peak_depth == 1


def test_ops_that_overlap_by_one_ns_do():
    """One nanosecond of overlap is depth 2."""
    assert sweep((0, 11), (10, 20)).peak_depth == 2


def test_an_op_of_length_zero_counts_at_its_instant_for_peaks_only():
    """A zero-length op raises the peaks, takes no time, and leaves mean and distribution alone."""
    alone = sweep((5, 5, 7))
    within = sweep((0, 10, 1), (5, 5, 7))

    assert (alone.peak_depth, alone.peak_bytes, alone.mean()) == (1, 7, None)
    assert (within.peak_depth, within.peak_bytes, within.mean()) == (2, 8, 1.0)
    assert within.distribution().maximum == 1


def test_the_mean_is_weighted_by_time():
    """One op for 10 ns, two for 10 ns, none for 20 ns: mean 0.75."""
    found = sweep((0, 20), (10, 20), (40, 40))

    assert found.span_ns == 40
    assert found.mean() == pytest.approx(0.75)
    assert found.distribution().quantiles(0.5, 0.75, 1.0) == [0.0, 1.0, 2.0]


def test_depth_at_a_moment_is_right_continuous():
    """At the instant an op begins it is in flight, at the instant it ends it is not; before everything nothing is."""
    found = sweep((10, 20), (15, 30))

    assert found.at(np.array([0, 10, 14, 15, 20, 29, 30, 99])).tolist() == [0, 1, 1, 2, 1, 1, 0, 0]


def test_the_lowest_depth_of_an_interval():
    """The minimum within [begin, end) sees dips inside, ignores what happens at its end, and knows empty intervals."""
    found = sweep((0, 10), (12, 30))
    begin, end = np.array([0, 0, 5, 12, 10, 40, 11]), np.array([10, 12, 20, 30, 10, 50, 11])

    assert found.lowest(begin, end).tolist() == [1, 0, 0, 1, 0, 0, 0]
    assert found.lowest(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_a_swap_at_one_instant_is_no_dip():
    """When one op ends as the next begins, the depth never fell to zero."""
    assert sweep((0, 10), (10, 20)).lowest(np.array([2]), np.array([18])).tolist() == [1]


def timeline(found, most):
    """The windows of one sweep."""
    windows = Timeline(most)
    windows.add(found)
    return windows.windows()


def test_the_timeline_keeps_the_area():
    """The windows' means times their lengths are the total busy time; the largest depth shows in its window."""
    start, mean, highest = timeline(sweep((0, 1024), (512, 700), (990, 1024)), 8)

    assert start.tolist() == list(range(0, 1024, 128))
    assert mean.sum() * 128 == pytest.approx(1024 + 188 + 34)
    assert highest.tolist() == [1, 1, 1, 1, 2, 2, 1, 2]


def test_the_last_window_of_a_timeline_may_be_shorter():
    """Windows are a power of two long; the mean of the last is over the time that there is."""
    start, mean, highest = timeline(sweep((0, 9), (8, 9)), 4)

    assert (start.tolist(), mean.tolist(), highest.tolist()) == ([0, 4, 8], [1.0, 1.0, 2.0], [1, 1, 2])


def test_a_short_trace_has_as_many_windows_as_nanoseconds():
    """There is no window shorter than a nanosecond, and none at all where no time passes."""
    assert len(timeline(sweep((0, 3)), 200)[0]) == 3
    assert len(timeline(sweep((4, 4)), 200)[0]) == 0
    assert len(timeline(sweep(), 200)[0]) == 0


def test_times_near_the_limit_do_not_overflow():
    """A trace that spans almost 2^63 ns has a mean and a timeline."""
    found = sweep((0, 2**62), (2**62, 2**63 - 1))
    start, mean, _ = timeline(found, 200)

    assert found.mean() == 1.0
    assert len(start) == 128
    assert mean == pytest.approx(np.ones(128))


def test_many_long_ops_do_not_overflow():
    """Depth times time is added up beyond 2^63."""
    assert sweep(*[(0, 2**62)] * 100).mean() == pytest.approx(100)


def test_nothing_is_nothing():
    """A sweep over no ops has no mean and an empty distribution."""
    empty = sweep()

    assert (empty.peak_depth, empty.peak_bytes, empty.span_ns, empty.mean()) == (0, 0, 0, None)
    assert not empty.distribution()
