"""Arrivals and depth over time, fed piece by piece."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.replay.flow import Arrivals, Depth, Flow, depth, window_error

MS = 1_000_000


def arrivals(*pieces: list[int]) -> Arrivals:
    """Arrivals counted piece by piece."""
    counted = Arrivals()
    for piece in pieces:
        counted.add(np.array(piece, np.int64))
    return counted


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
    assert window_error(arrivals(due), arrivals(submit)) == expected


def test_gaps_go_on_over_the_seams() -> None:
    """The first arrival of a piece follows the last of the piece before; an earlier one follows at once."""
    assert arrivals([0, 5, 7], [9, 20]).gaps == arrivals([0, 5, 7, 9, 20]).gaps
    late = arrivals([0, 10], [8, 20])
    assert (late.gaps.count, late.gaps.total, late.gaps.minimum) == (3, 20, 0)


def test_depth_is_weighted_by_time() -> None:
    """Two ops side by side for half the time: 1.5 on average, at most 2; back to back is not side by side."""
    assert depth(np.array([0, 50]), np.array([100, 100])) == {"mean": 1.5, "max": 2}
    assert depth(np.array([0, 100]), np.array([100, 200])) == {"mean": 1.0, "max": 1}
    assert depth(np.array([100, 0]), np.array([200, 100])) == {"mean": 1.0, "max": 1}
    assert depth(np.array([], np.int64), np.array([], np.int64)) == {"mean": 0.0, "max": 0}


def test_the_histogram_of_depth_counts_nanoseconds() -> None:
    """Idle time counts as depth 0."""
    counted = Depth()
    counted.add(np.array([0, 50, 300]), np.array([100, 100, 310]))
    low, _, weights = counted.over_time().buckets()
    assert dict(zip(low.tolist(), weights.tolist(), strict=True)) == {0: 200, 1: 60, 2: 50}


OPS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=40)


@given(OPS, st.lists(st.integers(0, 40), max_size=4))
def test_pieces_make_no_difference(ops: list[tuple[int, int]], cuts: list[int]) -> None:
    """However a run in the order of time is cut, depth, windows and gaps of issued ops are the same."""
    ops = sorted(ops)
    submit = np.array([start for start, _ in ops], np.int64)
    complete = submit + np.array([length for _, length in ops], np.int64)
    whole, cut = Flow(), Flow()
    whole.add(submit, submit, complete)
    edges = [0, *sorted(min(each, len(ops)) for each in cuts), len(ops)]
    for low, high in itertools.pairwise(edges):
        cut.add(submit[low:high], submit[low:high], complete[low:high])
    assert cut.depth.over_time() == whole.depth.over_time()
    assert cut.depth.to_json() == whole.depth.to_json()
    assert cut.issued.gaps == whole.issued.gaps
    assert window_error(whole.issued, cut.issued) == 0.0


@given(OPS)
def test_the_mean_depth_is_that_of_littles_law(ops: list[tuple[int, int]]) -> None:
    """Time spent in ops over time passed."""
    submit = np.array([start for start, _ in ops], np.int64)
    complete = submit + np.array([length for _, length in ops], np.int64)
    found = depth(submit, complete)
    span = int(complete.max(initial=0) - submit.min(initial=10**18)) if ops else 0
    expected = sum(length for _, length in ops) / span if span > 0 else 0.0
    assert found["mean"] == pytest.approx(expected, abs=1e-4)
