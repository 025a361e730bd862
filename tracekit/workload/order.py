"""In which order samples are read: by number, shuffled by seed and epoch, or drawn at random, and shared among ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.options import LoaderOptions

Ints = NDArray[np.int64]


def order(options: LoaderOptions, count: int, epoch: int) -> Ints:
    """The samples of one rank and epoch, in order. The same on every machine for the same options.

    Ranks share one order by turns, so that together they read what one alone would, or each has samples of its own (`shard_mode`);
    without `drop_last` some have a sample more than others, with it all have as many.

    Args:
        options: Seed, shuffle, random index and shard.
        count: How many samples there are.
        epoch: From 0.
    """
    if options.shard_mode != "turns":
        return _own(options, count, epoch)
    whole = _whole(options, count, epoch)
    if options.drop_last:
        whole = whole[: count // options.shard_world_size * options.shard_world_size]
    return whole[options.shard_rank :: options.shard_world_size]


def _own(options: LoaderOptions, count: int, epoch: int) -> Ints:
    """The samples that a rank has in every epoch, in an order of its own."""
    rank, ranks = options.shard_rank, options.shard_world_size
    every = np.arange(count, dtype=np.int64)
    mine = every[rank::ranks] if options.shard_mode == "strided" else np.array_split(every, ranks)[rank]
    if options.drop_last:
        mine = mine[: count // ranks]
    return mine[_whole(options, len(mine), epoch, rank)]


def _whole(options: LoaderOptions, count: int, epoch: int, *rank: int) -> Ints:
    chance = np.random.default_rng([options.seed, epoch, *rank])
    if options.index_mode == "uniform":
        return chance.integers(0, count, count)
    if options.index_mode == "zipfian":
        return zipfian(chance, np.random.default_rng(options.seed), count, options.theta)
    return chance.permutation(count).astype(np.int64) if options.shuffle else np.arange(count, dtype=np.int64)


def zipfian(chance: np.random.Generator, names: np.random.Generator, count: int, theta: float) -> Ints:
    """`count` draws of `count` samples, the sample of rank r in proportion to r ** -theta.

    Args:
        chance: Where draws come from.
        names: Where it comes from which sample has which rank: hot samples are not the first ones, and the same every epoch.
        count: Samples, and draws.
        theta: The exponent; 0 would be uniform.
    """
    weights = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -theta)
    ranks = np.searchsorted(weights, chance.random(count) * weights[-1], side="right")
    return np.asarray(names.permutation(count)[np.minimum(ranks, count - 1)], np.int64)


def batches(indices: Ints, batch_size: int, *, drop_last: bool) -> list[Ints]:
    """Indices dealt to batches; the last may be smaller unless it is to be dropped."""
    whole = len(indices) // batch_size * batch_size if drop_last else len(indices)
    return [indices[first : first + batch_size] for first in range(0, whole, batch_size)]
