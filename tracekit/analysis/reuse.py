"""Reuse distance, and the share of reads that a page cache of any size would serve.

The reuse distance of an access is how many distinct blocks were touched since the last access to the same block (Mattson et al.,
"Evaluation techniques for storage hierarchies", 1970): a least-recently-used cache of more blocks than that serves it. Large traces
are sampled by block, not by op, so that the distances of those that are kept stay true after scaling (Waldspurger et al.,
"Efficient MRC construction with SHARDS", FAST 2015; with the correction it calls SHARDS-adj).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace

Ints = NDArray[np.int64]
BLOCK_BYTES = 1 << 16
# More accesses than this are sampled: a curve of as many points is exact to well under a percent.
_MOST_ACCESSES = 1 << 20


@dataclass(frozen=True)
class Reuse:
    """Reuse distances in bytes of the accesses that had one, and how many accesses were the first of their block.

    `rate` is the share of blocks that was looked at; counts are of what was looked at. `unseen` is by how many accesses these
    are fewer (below zero: more) than that share of all: a few busy blocks were missed or met, whose accesses come again soon.
    """

    distances: Ints
    first: int
    rate: float
    block_bytes: int
    unseen: float = 0.0

    @property
    def accesses(self) -> float:
        """The share of all accesses that stands for what was looked at."""
        return len(self.distances) + self.first + self.unseen

    @property
    def working_set_bytes(self) -> int:
        """Distinct bytes read, in whole blocks."""
        return round(self.first * self.block_bytes / self.rate)

    def hit_share(self, cache_bytes: float) -> float | None:
        """The share of accesses that an LRU cache of this size serves, empty at the start; None without accesses."""
        if not self.accesses:
            return None
        served = float(np.searchsorted(self.distances, cache_bytes, side="left")) + self.unseen
        return min(1.0, max(0.0, served / self.accesses))

    def curve(self, points: int = 64) -> tuple[list[int], list[float]]:
        """Cache sizes in bytes from one block to the working set, and the hit share at each."""
        if not self.accesses:
            return [], []
        top = max(self.working_set_bytes, self.block_bytes)
        sizes = np.unique(np.geomspace(self.block_bytes, top, points).astype(np.int64))
        return sizes.tolist(), [self.hit_share(float(size)) or 0.0 for size in sizes]

    def needed_bytes(self, share: float) -> int | None:
        """The smallest cache that serves this share of all accesses; None where none does, however large."""
        rank = int(np.ceil(share * self.accesses - self.unseen)) - 1
        if rank < 0:
            return 0
        return int(self.distances[rank]) + self.block_bytes if rank < len(self.distances) else None


def reuse(trace: Trace, *, block_bytes: int = BLOCK_BYTES, most: int = _MOST_ACCESSES) -> Reuse:
    """The reuse distances of a trace's reads.

    Args:
        trace: Reads without offset and those that moved nothing are left out.
        block_bytes: What the cache is thought to hold at once.
        most: Accesses to look at at the most; beyond it, blocks are sampled.
    """
    view = View.of(trace)
    chosen = view.reads & (view.col("offset") != NULL) & (view.moved > 0)
    offset, moved, uri = view.col("offset")[chosen], view.moved[chosen], view.col("uri")[chosen]
    first = offset // block_bytes
    count = (offset + moved - 1) // block_bytes - first + 1
    total = int(count.sum())
    rate = min(1.0, most / total) if total else 1.0
    blocks = _sampled(uri, first, count, rate)
    previous = _previous(blocks)
    distances = _distances(previous)
    again = previous >= 0
    return Reuse(
        np.sort(np.round(distances[again] * (block_bytes / rate)).astype(np.int64)),
        int((~again).sum()),
        rate,
        block_bytes,
    )


def _sampled(uri: Ints, first: Ints, count: Ints, rate: float) -> Ints:
    """The block of every access in order of time, of the sampled blocks only, as one number each."""
    out = []
    threshold = np.uint64(min(int(rate * 2.0**64), 2**64 - 1))
    step = 1 << 18
    for start in range(0, len(uri), step):
        part = slice(start, start + step)
        repeats = count[part]
        inside = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        numbers = (np.repeat(uri[part], repeats) << 40) + np.repeat(first[part], repeats) + inside
        out.append(numbers if rate >= 1 else numbers[_mixed(numbers) < threshold])
    return np.concatenate(out) if out else np.zeros(0, np.int64)


def _mixed(numbers: Ints) -> NDArray[np.uint64]:
    """A hash with every bit depending on every other (the finalizer of SplitMix64)."""
    x = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def _previous(blocks: Ints) -> Ints:
    """For each access, the index of the one before it to the same block; -1 where there is none."""
    order = np.argsort(blocks, kind="stable")
    same = blocks[order][1:] == blocks[order][:-1]
    previous = np.full(len(blocks), -1, np.int64)
    previous[order[1:][same]] = order[:-1][same]
    return previous


def _distances(previous: Ints) -> Ints:
    """Distinct blocks between each access and the one before it to the same block; where there is none, meaningless.

    Of the accesses between j = previous[i] and i, those whose own previous lies at or before j are the distinct ones. Every
    access up to j has that too, so the number is the count of k < i with previous[k] <= j, less j + 1.
    """
    return _earlier_at_most(previous) - (previous + 1)


def _earlier_at_most(values: Ints) -> Ints:
    """For each i, how many k < i have values[k] <= values[i]; by merging sorted halves, level by level."""
    count = len(values)
    result = np.zeros(count, np.int64)
    index = np.arange(count)
    bits = max(count.bit_length() + 1, 1)
    level = 0
    while 1 << level < count:
        right = (index >> level) & 1
        pair = index >> (level + 1)
        # By pair of halves, then value, left halves before right ones at equal values: the left ones so far are what counts.
        order = np.argsort((pair << (bits + 1)) + ((values + 1) << 1) + right)
        is_right = right[order] == 1
        left_so_far = np.cumsum(~is_right)
        # Every pair but the last is full and has half its accesses in its left half.
        seen = left_so_far - (pair[order] << level)
        result[order[is_right]] += seen[is_right]
        level += 1
    return result
