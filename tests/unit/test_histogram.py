"""The histogram: what it keeps exactly, what it refuses, and what it says when it is empty."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tracekit.histogram import QUANTILE_ERROR, Histogram, bucket_low, bucket_of, bucket_width, merged


def test_an_empty_histogram_knows_nothing():
    """Without values there is no mean, quantile, share or distance: None, never 0."""
    empty = Histogram()

    assert (empty.count, empty.total, empty.minimum, empty.maximum) == (0, 0, None, None)
    assert empty.mean is None
    assert empty.quantile(0.5) is None
    assert empty.share_below(10) is None
    assert empty.distance(Histogram.of([1])) is None
    assert Histogram.of([1]).distance(empty) is None
    assert not empty


def test_small_values_are_exact():
    """Below 256 every integer has a bucket of its own, so every quantile is the order statistic."""
    histogram = Histogram.of(range(256))

    assert [histogram.quantile(k / 256) for k in range(1, 257)] == [float(v) for v in range(256)]


def test_buckets_tile_the_integers():
    """The buckets follow each other without gap or overlap from 0 to 2^63 - 1."""
    buckets = np.arange(7296)
    low, width = bucket_low(buckets), bucket_width(buckets)

    assert low[0] == 0
    assert (low[1:] == low[:-1] + width[:-1]).all()
    assert int(low[-1]) + int(width[-1]) == 2**63


@pytest.mark.parametrize("power", range(8, 63))
def test_powers_of_two_open_a_bucket(power):
    """Every power of two is the smallest value of its bucket and its predecessor lies in the bucket before."""
    value = 1 << power
    edge = bucket_of(np.array([value - 1, value, value + 1], np.int64))

    assert edge[1] == edge[0] + 1
    assert bucket_low(edge)[1] == value


def test_large_values_do_not_round_into_the_next_octave():
    """Integers that a double would round up to a power of two keep their own octave."""
    values = np.array([2**53 - 1, 2**54 - 1, 2**60 - 1, 2**63 - 1], np.int64)
    buckets = bucket_of(values)

    assert (bucket_low(buckets) <= values).all()
    assert (values - bucket_low(buckets) < bucket_width(buckets)).all()


def test_the_sum_of_large_values_does_not_wrap():
    """Count, sum and mean are exact where int64 arithmetic would overflow."""
    histogram = Histogram.of(np.full(1000, 2**62, np.int64))
    weighted = Histogram.of([2**62], [1000])

    assert histogram.total == weighted.total == 1000 * 2**62
    assert histogram.mean == float(2**62)
    assert histogram == weighted


def test_quantiles_mean_the_decimal_that_was_written():
    """0.07 of 100 values is rank 7, although the nearest double of 0.07 times 100 is above 7."""
    histogram = Histogram.of(range(1, 101))

    assert histogram.quantile(0.07) == 7.0
    assert histogram.quantiles(0, 0.99, 1) == [1.0, 99.0, 100.0]


@pytest.mark.parametrize("level", [-0.01, 1.01, math.nan])
def test_a_quantile_outside_zero_to_one_is_refused(level):
    """A level that is no share is an error, not an extreme value."""
    with pytest.raises(ValueError, match="a quantile is from 0 to 1"):
        Histogram.of([1]).quantile(level)


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ([-1], None),
        ([1.5], None),
        ([math.nan], None),
        (["1"], None),
        ([1], [-1]),
        ([1, 2], [1]),
        ([[1, 2]], None),
        ([2**63], None),
    ],
)
def test_what_is_no_count_is_refused(values, weights):
    """Negative, fractional, nested or mismatched input raises instead of being counted wrongly."""
    with pytest.raises(ValueError, match=r"histogram's|weights"):
        Histogram.of(values, weights)


def test_weight_zero_leaves_no_trace():
    """A value of weight 0 changes neither the counts nor the extremes."""
    assert Histogram.of([5, 900], [3, 0]) == Histogram.of([5, 5, 5])
    assert Histogram.of([900], [0]) == Histogram()


def test_adding_a_single_number_works():
    """A scalar counts as one value."""
    histogram = Histogram()
    histogram.add(7)
    histogram.add(7, 2)

    assert histogram == Histogram.of([7, 7, 7])
    assert len(histogram) == 3


def test_distance_is_exact_below_256_and_bracketed_above():
    """Known distances: disjoint 1, half moved 0.5, itself at least 0; wide buckets only widen the upper end."""
    low, high = Histogram.of([1] * 10), Histogram.of([1] * 5 + [2] * 5)

    assert low.distance(high) == (0.5, 0.5)
    assert low.distance(Histogram.of([200])) == (1.0, 1.0)
    assert low.distance(low) == (0.0, 0.0)
    same = Histogram.of([131_072, 131_073]).distance(Histogram.of([131_073]))
    assert same is not None
    assert same[0] == 0.0
    assert same[1] >= 0.5


def test_json_keeps_everything():
    """to_json and from_json are inverse, also when values are written in another unit."""
    histogram = Histogram.of([0, 3, 255, 256, 1_234_567, 2**40 + 1])

    for divisor in (1, 1000):
        text = json.dumps(histogram.to_json(divisor))
        assert Histogram.from_json(json.loads(text)) == histogram
    assert Histogram.from_json(Histogram().to_json()) == Histogram()


def test_json_in_microseconds_is_in_microseconds():
    """A divisor scales values, not counts and not the exact sum."""
    data = Histogram.of([1_500, 1_500, 200]).to_json(1000)

    assert (data["min"], data["max"], data["sum"]) == (0.2, 1.5, 3200)
    assert data["counts"] == [1, 2]
    assert data["low"] == [0.2, 1.496]


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "other"},
        {"count": 3},
        {"counts": [1]},
        {"counts": [1, -1]},
        {"min": None},
        {"low": [1, -5]},
        {"low": None},
        {"counts": "ab"},
    ],
)
def test_damaged_json_is_refused(change):
    """A histogram that does not agree with itself is an error, not a distribution."""
    with pytest.raises(ValueError, match="histogram's"):
        Histogram.from_json(Histogram.of([1, 500]).to_json() | change)


def test_merged_is_the_sum():
    """Merging any number of histograms, none included, is adding their values."""
    assert merged([]) == Histogram()
    assert merged([Histogram.of([1]), Histogram(), Histogram.of([500, 2])]) == Histogram.of([1, 2, 500])


def test_merging_leaves_the_other_alone():
    """`+` and `merge` copy: later additions do not leak into a histogram merged before."""
    left, right = Histogram.of([1]), Histogram.of([1000])
    total = left + right
    left.merge(right)
    left.add([2])

    assert total == Histogram.of([1, 1000])
    assert right == Histogram.of([1000])


def test_repr_names_the_range():
    """What a debugger shows says how many values there are and where they lie."""
    assert repr(Histogram.of([3, 9])) == "<Histogram of 2 values, 3 to 9>"


def test_the_stated_error_is_half_a_bucket():
    """The published bound is half the relative width of a bucket."""
    assert QUANTILE_ERROR == 1 / 256
