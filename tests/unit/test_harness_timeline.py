"""What is drawn over time: sums that stay exact while windows grow, and ops that are thinned evenly."""

import numpy as np
import pytest

from harness.report.timeline import DOTS, HEAD, WINDOWS, Timeline
from tracekit.formats.registry import pieces_of
from tracekit.testing import trace_of, training_trace
from tracekit.trace import Mark, Op, Trace

MS = 1_000_000


@pytest.fixture(scope="module")
def trace():
    """A job of 16 files a batch."""
    return training_trace(files=64, batch=16, wait_ns=2 * MS)


def test_every_op_is_counted_once(trace):
    """However often the windows were joined."""
    line = Timeline.of("x", [trace])
    assert int(line.arrivals.sum()) == line.ops == len(trace)
    assert len(line.arrivals) <= 2 * WINDOWS


def test_time_in_flight_is_exact(trace):
    """Mean depth times the width of the windows is the sum of the service times, to the nanosecond."""
    line = Timeline.of("x", [trace])
    service = trace.col("t_complete") - trace.col("t_submit")
    assert round(float((line.depth * line.width_ns).sum())) == int(service.sum())


@pytest.mark.parametrize("ops", [1, 7, 100])
def test_pieces_make_the_same_timeline(trace, ops):
    """Read at once or piece by piece: the same."""
    whole, pieces = Timeline.of("x", [trace]), Timeline.of("x", pieces_of(trace, ops))
    assert whole.width_ns == pieces.width_ns
    for name in ("arrivals", "depth", "compute", "waiting"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name
    for side in ("dots", "head"):
        for column in ("times", "places", "within"):
            assert np.array_equal(getattr(getattr(whole, side), column), getattr(getattr(pieces, side), column))
    assert (whole.streams, whole.files) == (pieces.streams, pieces.files) == (2, 64)


def test_every_window_has_the_time_that_ops_lie_in_it():
    """Against the overlap of every op with every window, computed one by one; joined windows included."""
    chance = np.random.default_rng(3)
    begin = np.sort(chance.integers(0, 700 * MS, 300))
    begin[0] = 0
    end = begin + chance.integers(1, 30 * MS, 300)
    line = Timeline.of(
        "x", pieces_of(trace_of(zip([0] * 300, [1] * 300, begin.tolist(), end.tolist(), strict=True)), 17)
    )
    edges = np.arange(len(line.depth) + 1) * line.width_ns
    overlap = np.minimum(end[:, None], edges[None, 1:]) - np.maximum(begin[:, None], edges[None, :-1])
    assert np.rint(line.depth * line.width_ns).tolist() == np.maximum(overlap, 0).sum(axis=0).tolist()


def test_consumers_compute_or_wait(trace):
    """Five of seven ms of each step are computed, two are waited; the sums say so exactly."""
    line = Timeline.of("x", [trace])
    assert float(line.compute.sum() / (line.compute.sum() + line.waiting.sum())) == pytest.approx(5 / 7)
    assert bool(((line.compute + line.waiting) <= 1 + 1e-9).all())


def test_two_consumers_are_shown_as_shares_of_both():
    """One computes all the time, the other never ends computing either: together it is 1, not 2."""
    marks = [Mark(kind, 0, 10 * MS, 0, 0, pid) for pid in (1, 2) for kind in ("step", "compute")]
    ops = [Op("file:///a", 0, 1, index * MS, t_complete=index * MS + 1) for index in range(11)]
    line = Timeline.of("x", [Trace.of(ops, marks=marks)])
    assert float(line.compute.max()) == pytest.approx(1.0)


def test_what_the_trace_does_not_tell_is_none():
    """No ends, no marks: no depth and no steps, not zeros."""
    line = Timeline.of("x", [Trace.of(Op("file:///a", 0, 1, n * MS) for n in range(5))])
    assert line.depth is None
    assert line.compute is None
    assert line.waiting is None


def test_many_ops_are_thinned_evenly_and_it_is_said():
    """Every n-th is kept, the first among them, and n is a power of two."""
    count = 5 * DOTS
    line = Timeline.of("x", pieces_of(trace_of([(n, 1, n * 1_000) for n in range(count)]), 999))
    assert DOTS / 2 <= len(line.dots.times) <= DOTS
    assert line.dots.every == 8
    assert np.array_equal(line.dots.times, np.arange(0, count, 8) * 1_000)
    assert len(line.head.times) == HEAD


def test_places_go_through_files_in_order_of_their_names():
    """Two files of 100 bytes: the second begins at a half, whichever was read first."""
    ops = [Op("file:///b", 0, 100, 0), Op("file:///a", 50, 50, 1), Op("file:///b", 50, 50, 2)]
    line = Timeline.of("x", [Trace.of(ops)])
    assert line.dots.places.tolist() == [0.5, 0.25, 0.75]
    assert line.dots.within.tolist() == [0.0, 0.5, 0.5]


def test_marks_before_the_first_op_are_not_lost():
    """A program marks its first step before it reads anything; the piece with the mark may hold no op."""
    ops = [Op("file:///a", 0, 1, 5 * MS, t_complete=6 * MS), Op("file:///a", 0, 1, 9 * MS, t_complete=9 * MS + 1)]
    marks = [Mark("step", 4 * MS, 9 * MS, 0, 0, 1), Mark("compute", 6 * MS, 9 * MS, 0, 0, 1)]
    pieces = [Trace.of([], marks=marks), Trace.of(ops)]
    line = Timeline.of("x", pieces)
    assert float(line.compute.sum() * line.width_ns) == pytest.approx(3 * MS)
