"""When the machine itself stood still: what all cores had in common, and which ops it touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.replay.standstill import LEAST_NS, Standstills, none, touched

MS = 1_000_000


def spans(*pairs: tuple[int, int]) -> np.ndarray:
    """Spans given in ms."""
    return np.array(pairs, np.int64).reshape(-1, 2) * MS


def test_what_one_core_alone_waited_for_is_no_standstill() -> None:
    """Something may have kept that core busy; it is said apart."""
    seen = Standstills.of([spans((10, 20)), spans((30, 45))])
    one_core = {"one_core_count": 2, "one_core_longest_ms": 15.0}
    assert seen.to_json() == {"cores": 2, "count": 0, "total_ms": 0.0, "longest_ms": 0.0, **one_core}


def test_what_all_cores_waited_for_is_one() -> None:
    """As long as the overlap, in the order of time whatever order the cores noted them in."""
    seen = Standstills.of([spans((50, 60), (10, 15)), spans((11, 16), (40, 58)), spans((0, 100))])
    assert seen.spans.tolist() == [[11 * MS, 15 * MS], [50 * MS, 58 * MS]]
    one_core = {"one_core_count": 5, "one_core_longest_ms": 100.0}
    assert seen.to_json() == {"cores": 3, "count": 2, "total_ms": 12.0, "longest_ms": 8.0, **one_core}


def test_a_short_overlap_is_none() -> None:
    """Two cores may be late for reasons of their own and meet by chance."""
    late = np.array([[0, MS]], np.int64)
    assert not len(Standstills.of([late, late + MS - LEAST_NS + 1]).spans)
    assert len(Standstills.of([late, late + MS - LEAST_NS]).spans) == 1


@pytest.mark.parametrize(
    ("wait", "is_touched"),
    [
        ((0, 10), False),
        ((0, 11), True),
        ((12, 13), True),
        ((19, 30), True),
        ((20, 30), False),
        ((25, 45), True),
        ((60, 90), False),
    ],
)
def test_an_op_is_touched_by_what_overlaps_its_wait(wait: tuple[int, int], is_touched: bool) -> None:
    """From when it was due to when it was submitted."""
    begin, end = (np.array([moment * MS]) for moment in wait)
    assert touched(spans((10, 20), (40, 50)), begin, end).tolist() == [is_touched]


def test_without_standstills_nothing_is_touched() -> None:
    """The usual case."""
    assert not touched(none(), np.array([1, 2]), np.array([3, 4])).any()


def apart(lengths: list[tuple[int, int]]) -> np.ndarray:
    """Spans from gaps and lengths: they do not overlap."""
    edges = np.cumsum(np.array(lengths, np.int64).ravel())
    return edges.reshape(-1, 2)


SPANS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=8).map(apart)


@given(st.lists(SPANS, min_size=1, max_size=4), st.integers(0, 400))
def test_a_moment_is_in_a_standstill_exactly_if_all_cores_waited(cores: list[np.ndarray], moment: int) -> None:
    """Held against the definition, without the bound on length."""
    scaled = [one * LEAST_NS for one in cores]
    at = moment * LEAST_NS + LEAST_NS // 2
    found = Standstills.of(scaled).spans
    assert any(begin <= at < end for begin, end in found) == all(
        any(begin <= at < end for begin, end in one) for one in scaled
    )
    assert touched(found, np.array([at]), np.array([at + 1]))[0] == any(begin <= at < end for begin, end in found)
