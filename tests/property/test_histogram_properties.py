"""The histogram's promises, against the data it was made from."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.histogram import QUANTILE_ERROR, Histogram, merged

VALUES = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 10**7), st.integers(0, 2**63 - 1)), min_size=1, max_size=60
)
LEVELS = st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]), st.floats(0, 1))


@given(VALUES, LEVELS)
def test_a_quantile_is_within_the_stated_error(values, level):
    """Every quantile is within 1/256 of the order statistic of the same rank, and exact below 256."""
    ordered = sorted(values)
    histogram = Histogram.of(np.array(values, np.int64))
    found = histogram.quantile(level)

    # Both readings of the level, as a double and as the decimal it prints, name a neighbouring rank at most.
    ranks = {max(1, math.ceil(level * len(values) + nudge)) for nudge in (-1e-9, 0.0, 1e-9)}
    errors = [
        abs(found - ordered[min(rank, len(values)) - 1]) / max(1, ordered[min(rank, len(values)) - 1]) for rank in ranks
    ]
    assert min(errors) <= QUANTILE_ERROR
    if max(values) < 256:
        assert min(errors) == 0


@given(VALUES, VALUES, VALUES)
def test_merging_is_exact_and_order_free(first, second, third):
    """Any way of merging parts gives the histogram of all values together."""
    parts = [Histogram.of(np.array(values, np.int64)) for values in (first, second, third)]
    whole = Histogram.of(np.array([*first, *second, *third], np.int64))

    assert merged(parts) == merged(reversed(parts)) == parts[0] + (parts[1] + parts[2]) == whole


@given(VALUES, VALUES)
def test_the_bracket_holds_the_true_distance(first, second):
    """The Kolmogorov-Smirnov distance of the raw values lies within the bracket, which is symmetric and within [0, 1]."""
    mine, theirs = np.sort(np.array(first, np.int64)), np.sort(np.array(second, np.int64))
    points = np.concatenate([mine, theirs])
    below = np.searchsorted(mine, points, "right") / len(mine) - np.searchsorted(theirs, points, "right") / len(theirs)
    low, high = Histogram.of(mine).distance(Histogram.of(theirs))

    assert -1e-12 <= low <= np.abs(below).max() + 1e-12
    assert np.abs(below).max() <= high + 1e-12
    assert high <= 1
    assert Histogram.of(theirs).distance(Histogram.of(mine)) == (low, high)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 50)), max_size=30))
def test_a_weight_is_so_many_values(pairs):
    """Weights are repetition."""
    values = [value for value, _ in pairs]
    repeated = [value for value, weight in pairs for _ in range(weight)]

    assert Histogram.of(values, [weight for _, weight in pairs]) == Histogram.of(np.array(repeated, np.int64))


@given(st.lists(st.integers(0, 2**50), max_size=40), st.sampled_from([1, 1000]))
def test_json_round_trip(values, divisor):
    """Writing and reading JSON loses nothing (values up to 2^50; in µs a double holds them to the ns)."""
    histogram = Histogram.of(np.array(values, np.int64))

    assert Histogram.from_json(json.loads(json.dumps(histogram.to_json(divisor)))) == histogram


@given(VALUES)
def test_count_sum_and_ends_are_exact(values):
    """Count, sum, mean, minimum and maximum are those of the data, not of the buckets."""
    histogram = Histogram.of(np.array(values, np.int64))

    assert (histogram.count, histogram.total) == (len(values), sum(values))
    assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
    assert histogram.mean == sum(values) / len(values)
