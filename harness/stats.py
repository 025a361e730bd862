"""Effect sizes and their uncertainty.

The unit of replication is the run, not the op: two runs of one job on one machine differ by more than any error computed
from the ops of a single run (autocorrelation, and the state of the machine). Intervals about repeats therefore come from the
spread between runs. SciPy is imported where it is needed, as it takes longer to load than a check takes to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def repeat_half_width(spread: float, golden_runs: int, runs: int, confidence: float) -> float:
    """Half the width of the t interval for (mean of `runs` new runs) − (mean of the golden runs).

    It is the prediction interval of Student's t with `golden_runs` − 1 degrees of freedom; it assumes that runs are
    independent and about normal in the scale of `spread` (logarithms for ratios).

    Args:
        spread: Standard deviation between the golden runs.
        golden_runs: How many golden runs `spread` comes from; fewer than two give infinity, unless the spread is 0.
        runs: How many new runs are averaged.
        confidence: Two-sided, 0.95 for instance.
    """
    if spread == 0.0:
        return 0.0
    if golden_runs < 2:
        return math.inf
    return _t_quantile(golden_runs - 1, confidence) * spread * math.sqrt(1 / runs + 1 / golden_runs)


def runs_needed(
    spread: float, golden_runs: int, tolerance: float, confidence: float, power: float = 0.9, limit: int = 30
) -> int | None:
    """The fewest new runs that pass ±`tolerance` with probability `power` when nothing differs; None when not even `limit` would."""
    return next(
        (
            runs
            for runs in range(1, limit + 1)
            if _with_power(spread, golden_runs, runs, confidence, 0.5 + power / 2) < tolerance
        ),
        None,
    )


def smallest_failed(spread: float, golden_runs: int, runs: int, confidence: float, power: float) -> float:
    """How far beyond the band the true effect must lie for `runs` runs to fail with probability `power` (see `repeat_half_width`)."""
    return _with_power(spread, golden_runs, runs, confidence, power)


def _with_power(spread: float, golden_runs: int, runs: int, confidence: float, probability: float) -> float:
    """The half width of `repeat_half_width` and what chance adds to the effect with this probability."""
    from scipy.special import ndtri

    if spread == 0.0:
        return 0.0
    chance = float(ndtri(probability)) * spread * math.sqrt(1 / runs + 1 / max(1, golden_runs))
    return repeat_half_width(spread, golden_runs, runs, confidence) + chance


def welch_half_width(values_a: Sequence[float], values_b: Sequence[float], confidence: float) -> float | None:
    """Half the width of Welch's t interval for the difference of two means; None where neither side tells its spread.

    A side of a single run takes the other's variance.
    """
    counts = (len(values_a), len(values_b))
    variances = [spread(values) ** 2 if len(values) > 1 else None for values in (values_a, values_b)]
    known = [variance for variance in variances if variance is not None]
    if not known:
        return None
    parts = [
        (known[0] if variance is None else variance) / count for variance, count in zip(variances, counts, strict=True)
    ]
    total = sum(parts)
    if total == 0.0:
        return 0.0
    weights = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True) if count > 1)
    freedom = total**2 / weights if weights and len(known) > 1 else max(counts) - 1
    return _t_quantile(freedom, confidence) * math.sqrt(total)


def _t_quantile(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def share_interval(hits: int, trials: int, confidence: float) -> tuple[float, float]:
    """The Clopper–Pearson interval of a share: exact for independent trials, (0, 1) without trials."""
    from scipy.special import betaincinv

    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def spread(values: Sequence[float]) -> float:
    """The standard deviation between runs (n − 1); 0 for fewer than two, and for values equal but for rounding."""
    if len(values) < 2:
        return 0.0
    deviation = float(np.std(np.asarray(values, float), ddof=1))
    scale = max(abs(value) for value in values)
    return 0.0 if deviation <= 1e-12 * scale else deviation


# -- distributions as tables: values ascending, and how often each occurs --------------------------------------------


def ks_distance(values_a: Ints, counts_a: Ints, values_b: Ints, counts_b: Ints) -> float:
    """The Kolmogorov–Smirnov distance of two tables, exact: the largest gap between their cumulative shares."""
    grid = np.union1d(values_a, values_b)
    return float(np.max(np.abs(_cumulative(values_a, counts_a, grid) - _cumulative(values_b, counts_b, grid))))


def ks_distance_within(values_a: Ints, counts_a: Ints, values_b: Ints, counts_b: Ints, tolerance: float) -> float:
    """The KS distance of two tables after every value may move by `tolerance` of itself.

    It is the largest F(x) − G(x·(1 + tolerance)), either way round: symmetric, at most the plain distance, and equal to it at
    tolerance 0.
    """
    grid = np.union1d(values_a, values_b)
    # The largest sizes there can be have no room to grow in.
    wide = np.maximum(grid, np.minimum(grid * (1 + tolerance), np.nextafter(2.0**63, 0)).astype(np.int64))
    mine, theirs = _cumulative(values_a, counts_a, grid), _cumulative(values_b, counts_b, grid)
    mine_wide, theirs_wide = _cumulative(values_a, counts_a, wide), _cumulative(values_b, counts_b, wide)
    return max(0.0, float(np.max(mine - theirs_wide)), float(np.max(theirs - mine_wide)))


def _cumulative(values: Ints, counts: Ints, grid: Ints) -> Floats:
    sums = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    position: Ints = np.searchsorted(values, grid, side="right")
    return np.asarray(sums[position], float)


def ks_p_value(distance: float, count_a: int, count_b: int) -> float:
    """The asymptotic p-value of a KS distance for independent, continuous values: a diagnostic, never a gate.

    Ops are neither independent nor, as sizes, continuous; on true repeats it rejects almost always for times, and it is
    far too lenient for sizes with ties.
    """
    from scipy.special import kolmogorov

    return float(kolmogorov(distance * math.sqrt(count_a * count_b / (count_a + count_b))))


def unmatched_share(values_a: Ints, counts_a: Ints, values_b: Ints, counts_b: Ints, tolerance: float) -> float:
    """The share of values without a counterpart that differs by at most `tolerance` of the larger of the two.

    It is 1 − the largest share of both tables that can be paired one to one (a partial transport in one dimension). Both tables are taken as shares of 1, so unequal totals do not matter. Two pointers, smallest first: as the interval of
    acceptable counterparts moves up with the value, the greedy pairing is the largest there is.
    """
    weights_a, weights_b = counts_a / counts_a.sum(), counts_b / counts_b.sum()
    left_a, left_b = weights_a.tolist(), weights_b.tolist()
    sizes_a, sizes_b = values_a.tolist(), values_b.tolist()
    matched, i, j = 0.0, 0, 0
    while i < len(sizes_a) and j < len(sizes_b):
        small, large = sorted((sizes_a[i], sizes_b[j]))
        if small >= (1 - tolerance) * large:
            pair = min(left_a[i], left_b[j])
            matched += pair
            left_a[i] -= pair
            left_b[j] -= pair
            done_a, done_b = left_a[i] <= 0.0, left_b[j] <= 0.0
        else:
            done_a, done_b = sizes_a[i] < sizes_b[j], sizes_b[j] < sizes_a[i]
        i, j = i + done_a, j + done_b
    return max(0.0, 1.0 - matched) if 1.0 - matched > 1e-9 else 0.0


def log_shift(values_a: Ints, counts_a: Ints, values_b: Ints, counts_b: Ints) -> float:
    """The mean over all quantiles of |ln(quantile of the one / quantile of the other)|; values below 1 count as 1.

    It is the Wasserstein distance of the logarithms: how far, as a share, a value has to move on average.
    """
    ends_a, ends_b = np.cumsum(counts_a) / counts_a.sum(), np.cumsum(counts_b) / counts_b.sum()
    ends = np.union1d(ends_a, ends_b)
    widths = np.diff(ends, prepend=0.0)
    middles = ends - widths / 2
    quantiles = [
        np.log(np.maximum(values, 1))[np.minimum(np.searchsorted(ends_of, middles), len(values) - 1)]
        for values, ends_of in ((values_a, ends_a), (values_b, ends_b))
    ]
    return float((widths * np.abs(quantiles[0] - quantiles[1])).sum())


def variation_distance(shares_a: dict[str, float], shares_b: dict[str, float]) -> float:
    """The share of one mix of named things that would have to change its name to become the other."""
    names = sorted({*shares_a, *shares_b})
    return 0.5 * sum(abs(shares_a.get(name, 0.0) - shares_b.get(name, 0.0)) for name in names)


# -- order -----------------------------------------------------------------------------------------------------------


def inversions(groups: Ints, reference: Ints, observed: Ints) -> tuple[int, int]:
    """(inverted pairs, all pairs) of two orders, counted within each group; equal times are not inverted.

    Args:
        groups: The group of each element; pairs of different groups are not looked at.
        reference: Its time in the one order.
        observed: Its time in the other.

    A merge sort over all groups at once, in O(n log² n) with NumPy.
    """
    count = len(groups)
    if count < 2:
        return 0, 0
    order = np.lexsort((observed, reference, groups))
    new = np.ones(count, np.bool_)
    new[1:] = np.diff(groups[order]) != 0
    sizes = np.diff(np.append(np.flatnonzero(new), count))
    _, ranks = np.unique(observed[order], return_inverse=True)
    # Groups ascend, so pairs of different groups can never be inverted: one count serves them all.
    return _inverted_pairs(np.cumsum(new) * count + ranks), int((sizes * (sizes - 1) // 2).sum())


def _inverted_pairs(values: Ints) -> int:
    # What nothing before exceeds and nothing behind undercuts is in no inverted pair: nearly all of a faithful replay.
    highest, lowest = np.maximum.accumulate(values), np.minimum.accumulate(values[::-1])[::-1]
    values = values[(highest != values) | (lowest != values)]
    _, ranks = np.unique(values, return_inverse=True)
    count, width, total = len(ranks), 1, 0
    positions = np.arange(count)
    while width < count:
        blocks = positions // (2 * width)
        keys = blocks * count + ranks
        is_right = (positions // width) % 2 == 1
        lefts, rights = keys[~is_right], keys[is_right]
        before = np.cumsum(np.bincount(blocks[~is_right], minlength=int(blocks[-1]) + 1))
        total += int((before[blocks[is_right]] - np.searchsorted(lefts, rights, side="right")).sum())
        ranks = np.sort(keys) - blocks * count
        width *= 2
    return total
