"""What one run says about itself: how many of its ops count as independent, and intervals from resampling its blocks of time.

An interval from within a run holds for that run: how sharply it shows its own quantile. It says nothing about the next run, whose
machine is in another state; on true repeats such intervals are apart in 50 to 77 % of the pairs. So they are shown where there is
nothing else, and never decide. All of it is deterministic: the chance is numbered.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.blocks import Blocked
    from harness.stats import Floats

# The criteria that are quantiles of service times.
PERCENTILES = {"latency.p50": 0.5, "latency.p95": 0.95, "latency.p99": 0.99, "latency.p99.9": 0.999}
REPLICATES = 1000
# Fewer blocks with ops in them are no sample of blocks.
LEAST_BLOCKS = 8


def quantile(blocked: Blocked, q: float) -> float | None:
    """A quantile over all blocks, as if values were spread evenly within a bucket; None of nothing."""
    return float(_quantiles(blocked.total[None, :].astype(np.float64), blocked.edges, q)[0]) if len(blocked) else None


def design_effect(blocked: Blocked, q: float) -> float | None:
    """How many ops it takes to say as much about a quantile as one independent op would, at least 1.

    It is the variance of the share of ops at or below the quantile between blocks of time (batch means), over that of independent
    ops. None where there are too few blocks, or no variance to speak of: where all values are alike.
    """
    used = blocked.counts[blocked.counts.sum(axis=1) > 0]
    at = quantile(blocked, q)
    if len(used) < LEAST_BLOCKS or at is None:
        return None
    ops = used.sum(axis=1).astype(np.float64)
    below = used[:, blocked.edges[1:] <= max(at, blocked.edges[1])].sum(axis=1)
    total, share = float(ops.sum()), float(below.sum() / ops.sum())
    if not 0 < share < 1:
        return None
    blocks = len(used)
    variance = blocks / (blocks - 1) * float(((below - share * ops) ** 2).sum()) / total**2
    return max(1.0, variance * total / (share * (1 - share)))


def effective_ops(blocked: Blocked, q: float) -> float | None:
    """How many independent ops would say as much about a quantile (see `design_effect`)."""
    effect = design_effect(blocked, q)
    return None if effect is None else float(blocked.total.sum()) / effect


def order_interval(blocked: Blocked, q: float, ops: float, confidence: float) -> tuple[float, float] | None:
    """The binomial interval of order statistics for a quantile, of so many independent ops; None where so few have none.

    It exists from 368 ops on for a 95 % interval of p99, from 3688 for one of p99.9.

    Args:
        blocked: The values.
        q: The quantile, between 0 and 1.
        ops: How many independent ops they are worth.
        confidence: Two-sided.
    """
    from scipy.special import bdtr

    count = math.floor(ops)
    if count < 1:
        return None
    tail, ranks = (1 - confidence) / 2, range(count + 1)
    low = bisect.bisect_right(ranks, tail, key=lambda rank: float(bdtr(rank, count, q)))
    high = bisect.bisect_left(ranks, 1 - tail, key=lambda rank: float(bdtr(rank, count, q))) + 1
    if low < 1 or high > count:
        return None
    below, above = quantile(blocked, low / count), quantile(blocked, high / count)
    return None if below is None or above is None else (below, above)


def ratio_interval(a: Blocked, b: Blocked, q: float, confidence: float) -> tuple[float, float] | None:
    """Where a quantile of `b` over that of `a` lies, by resampling the blocks of both; None where one has too few."""
    if min(_used(a), _used(b)) < LEAST_BLOCKS:
        return None
    logs = [
        np.log(np.maximum(_quantiles(_resampled(side, seed), side.edges, q), 1.0)) for seed, side in enumerate((a, b))
    ]
    low, high = np.quantile(logs[1] - logs[0], [(1 - confidence) / 2, (1 + confidence) / 2])
    return math.exp(float(low)), math.exp(float(high))


def ks_most(a: Blocked, b: Blocked, confidence: float) -> float | None:
    """The most that the Kolmogorov-Smirnov distance of the two (in buckets) is, with that confidence; None of too few blocks.

    Resampling adds a distance of its own, the more the fewer blocks there are. Its mean is taken off: without that the bound would
    lie far above most distances, and with a bound for independent ops far below.
    """
    if min(_used(a), _used(b)) < LEAST_BLOCKS:
        return None
    wide = max(a.counts.shape[1], b.counts.shape[1])
    found = float(_distances([_shares(side.total[None, :].astype(np.float64), wide) for side in (a, b)])[0])
    distances = _distances([_shares(_resampled(side, seed), wide) for seed, side in enumerate((a, b))])
    bias = float(distances.mean()) - found
    return min(1.0, max(found, float(np.quantile(distances, confidence)) - max(0.0, bias)))


def _used(blocked: Blocked) -> int:
    return int((blocked.counts.sum(axis=1) > 0).sum()) if len(blocked) else 0


def _resampled(blocked: Blocked, seed: int) -> Floats:
    """Sums of as many blocks as there are, drawn again and again; a row per draw. Whole numbers, so the sums are exact."""
    used = blocked.counts[blocked.counts.sum(axis=1) > 0]
    times = np.random.default_rng([seed, len(used)]).multinomial(
        len(used), np.full(len(used), 1 / len(used)), size=REPLICATES
    )
    sums: Floats = times.astype(np.float64) @ used.astype(np.float64)
    return sums


def _shares(counts: Floats, wide: int) -> Floats:
    shares: Floats = np.pad(counts, ((0, 0), (0, wide - counts.shape[1]))) / counts.sum(axis=1, keepdims=True)
    return shares


def _distances(shares: Sequence[Floats]) -> Floats:
    """The distance of two distributions, row by row."""
    distances: Floats = np.abs(np.cumsum(shares[0] - shares[1], axis=1)).max(axis=1)
    return distances


def _quantiles(counts: Floats, edges: Floats, q: float) -> Floats:
    """A quantile of each row of counts by bucket, between the edges of its bucket by its rank there."""
    ends = np.cumsum(counts, axis=1)
    ranks = q * ends[:, -1:]
    # The first bucket that reaches the rank and holds something.
    bucket = np.minimum((ends < np.maximum(ranks, 1e-9)).sum(axis=1), counts.shape[1] - 1)
    rows = np.arange(len(counts))
    inside = counts[rows, bucket]
    part = (ranks[:, 0] - (ends[rows, bucket] - inside)) / np.maximum(inside, 1e-9)
    found: Floats = edges[bucket] + np.clip(part, 0.0, 1.0) * (edges[bucket + 1] - edges[bucket])
    return found
