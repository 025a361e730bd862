"""Effect sizes and intervals against values worked out by hand or by another route."""

import math

import numpy as np
import pytest

from harness import stats


def table(**counts):
    """Values and counts of a table given as _VALUE=COUNT."""
    values = sorted(counts.items(), key=lambda item: int(item[0][1:]))
    return np.array([int(name[1:]) for name, _ in values]), np.array([count for _, count in values])


def test_ks_distance_is_the_largest_gap_of_the_cumulative_shares():
    """Half of the one table lies where the other has nothing yet."""
    assert stats.ks_distance(*table(_1=1, _2=1), *table(_2=1, _3=1)) == pytest.approx(0.5)


def test_ks_distance_does_not_depend_on_how_many_there_are():
    """Ten times as many of everything is the same distribution."""
    assert stats.ks_distance(*table(_1=1, _5=3), *table(_1=10, _5=30)) == 0.0


def test_ks_distance_of_one_byte_is_total_and_is_forgiven_within_one_percent():
    """131072 against 131073 bytes: plain distance 1, with a tolerance of 1 % none."""
    one, other = table(_131072=5), table(_131073=5)
    assert stats.ks_distance(*one, *other) == 1.0
    assert stats.ks_distance_within(*one, *other, 0.01) == 0.0


def test_ks_distance_with_tolerance_still_sees_what_is_larger_than_it():
    """Sizes 5 % apart are apart at a tolerance of 1 %."""
    assert stats.ks_distance_within(*table(_1000=1), *table(_1050=1), 0.01) == 1.0


def test_ks_distance_with_tolerance_holds_for_the_largest_sizes_there_are():
    """Where a size has no room to grow in, nothing overflows: equal tables are equal, and one size in four is a quarter."""
    values, counts = np.array([4096, 2**63 - 1]), np.array([3, 1])
    with np.errstate(all="raise"):
        assert stats.ks_distance_within(values, counts, values, counts, 0.01) == 0.0
        assert stats.ks_distance_within(values, counts, values[:1], counts[:1], 0.01) == 0.25


def test_ks_p_value_rejects_a_large_and_keeps_a_tiny_distance():
    """The diagnostic goes the right way round."""
    assert stats.ks_p_value(0.5, 1000, 1000) < 1e-6
    assert stats.ks_p_value(0.001, 1000, 1000) > 0.99


def test_unmatched_share_counts_what_has_no_counterpart():
    """One of two sizes has a counterpart within 10 %, the other none."""
    assert stats.unmatched_share(*table(_100=1, _200=1), *table(_105=1, _400=1), 0.10) == pytest.approx(0.5)


def test_unmatched_share_at_the_edge_of_the_tolerance_matches():
    """90 and 100 differ by exactly 10 % of the larger."""
    assert stats.unmatched_share(*table(_90=1), *table(_100=1), 0.10) == 0.0
    assert stats.unmatched_share(*table(_89=1), *table(_100=1), 0.10) == 1.0


def test_unmatched_share_sees_a_change_of_the_mix():
    """The same two sizes, half and half against nine to one."""
    assert stats.unmatched_share(*table(_10=5, _1000=5), *table(_10=9, _1000=1), 0.10) == pytest.approx(0.4)


def test_variation_distance_is_the_share_that_would_have_to_change_its_name():
    """All reads against half reads, half writes."""
    assert stats.variation_distance({"read": 1.0}, {"read": 0.5, "write": 0.5}) == pytest.approx(0.5)


def test_the_t_interval_is_that_of_the_textbook():
    """Ten golden runs and one new run: 2.262 × s × √1.1 at 95 %."""
    assert stats.repeat_half_width(1.0, 10, 1, 0.95) == pytest.approx(2.2622 * math.sqrt(1.1), rel=1e-4)


def test_runs_that_never_differ_leave_no_doubt():
    """A spread of zero is an interval of zero, whatever the confidence."""
    assert stats.repeat_half_width(0.0, 5, 1, 0.999) == 0.0


def test_one_golden_run_says_nothing_about_a_spread():
    """A spread that nobody measured is infinitely wide."""
    assert stats.repeat_half_width(0.1, 1, 1, 0.95) == math.inf


def test_more_runs_settle_what_one_run_cannot():
    """With sd 0.10 and ±25 % a single run is not enough, a few are."""
    needed = stats.runs_needed(0.10, 10, math.log1p(0.25), 0.95)
    assert needed is not None
    assert needed > 1
    assert stats.repeat_half_width(0.10, 10, needed, 0.95) < math.log1p(0.25)


def test_noise_wider_than_the_band_is_hopeless():
    """With sd 0.60 no number of runs resolves ±25 % against ten golden runs."""
    assert stats.runs_needed(0.60, 10, math.log1p(0.25), 0.95) is None


def test_the_exact_interval_of_no_hits_is_the_rule_of_three():
    """None in 100: below about 3.6 % (two-sided 95 %), and 0 is inside."""
    low, high = stats.share_interval(0, 100, 0.95)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 100), rel=1e-9)
    assert stats.share_interval(0, 0, 0.95) == (0.0, 1.0)
    assert stats.share_interval(100, 100, 0.95)[1] == 1.0


def test_spread_of_equal_values_is_zero_despite_rounding():
    """Means that differ in the last bit are one value."""
    assert stats.spread([0.1 + 0.2, 0.3, 0.3]) == 0.0
    assert stats.spread([1.0]) == 0.0
    assert stats.spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("reference", "observed", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], (0, 3)),
        ([1, 2, 3], [3, 2, 1], (3, 3)),
        ([1, 2, 3], [2, 1, 3], (1, 3)),
        ([1, 1, 1], [3, 2, 1], (0, 3)),
        ([1, 2, 3], [5, 5, 5], (0, 3)),
        ([1], [1], (0, 0)),
        ([], [], (0, 0)),
    ],
)
def test_inversions_of_small_orders(reference, observed, expected):
    """Inverted pairs are counted, ties on either side are not."""
    groups = np.zeros(len(reference), np.int64)
    assert stats.inversions(groups, np.array(reference, np.int64), np.array(observed, np.int64)) == expected


def test_inversions_are_counted_within_groups_only():
    """Two groups, each in order, that come in the opposite order of each other."""
    groups = np.array([0, 0, 1, 1])
    assert stats.inversions(groups, np.array([1, 2, 3, 4]), np.array([30, 40, 1, 2])) == (0, 2)
