"""How soon data is read again, and what page cache a job would need: reuse distances and the cache-hit curve.

The reuse distance of an access is how many other bytes were read since the last access to the same block. A cache that
drops what was least recently used serves every access whose reuse distance is below its size: so one pass over a trace
gives the hit share of every cache size at once (Mattson et al., "Evaluation techniques for storage hierarchies", 1970).

Long traces are sampled by block: blocks whose hash is below a threshold are followed in full, and their distances stand
for all after scaling; when too many accesses are kept, the threshold is halved (Waldspurger et al., "Efficient MRC
construction with SHARDS", FAST 2015; with the correction it calls SHARDS-adj).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.pieces import pieces
from tracekit.metrics.view import View
from tracekit.trace import Trace

Ints = NDArray[np.int64]
BLOCK_BYTES = 1 << 16
# More accesses than this are sampled: a curve of as many points is exact to well under a percent.
MOST_ACCESSES = 1 << 20
_LIMIT = 1 << 21
# So many accesses are made from reads at once, and at most so many from one read: beyond it, its end is not looked at.
_STEP = 1 << 20
_BLOCKS_A_READ = 4


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


def reuse(trace: Trace, *, block_bytes: int = BLOCK_BYTES, most: int = MOST_ACCESSES) -> Reuse:
    """The reuse distances of a trace's reads.

    Args:
        trace: Reads without offset and those that moved nothing are left out.
        block_bytes: What the cache is thought to hold at once.
        most: Accesses to look at at the most, up to 2^21; beyond it, blocks are sampled.
    """
    accesses = Accesses(block_bytes, most)
    for view in pieces(trace):
        accesses.update(view)
    return accesses.reuse()


class Accesses:
    """The accesses to the sampled blocks in order of time; at most `most` of them.

    Args:
        block_bytes: What the cache is thought to hold at once; None lets the first reads say, so that one of them is about
            four blocks, and no less than 64 KiB.
        most: Accesses to keep at the most.
    """

    def __init__(self, block_bytes: int | None = None, most: int = MOST_ACCESSES) -> None:
        self._block = block_bytes
        self._most = min(most, _LIMIT)
        self._threshold = 2**64 - 1
        self._rate = 1.0
        self._kept: list[Ints] = []
        self._count = 0
        self._total = 0

    def update(self, view: View) -> None:
        """Take the reads of the next piece in order of time."""
        offset, uri = view.places.offset, view.places.uri
        moved = view.places.end - offset
        if not len(moved):
            return
        if self._block is None:
            self._block = _block_for(float(moved.mean()))
        shift = self._block.bit_length() - 1
        exact = self._block == 1 << shift
        first = offset >> shift if exact else offset // self._block
        last = offset + moved - 1
        count = (last >> shift if exact else last // self._block) - first + 1
        count = np.minimum(count, _STEP)
        until = np.cumsum(count)
        self._total += int(until[-1])
        start = 0
        while start < len(uri):
            stop = max(start + 1, int(np.searchsorted(until, _STEP + (until[start - 1] if start else 0), side="right")))
            part, start = slice(start, stop), stop
            self._keep((uri[part] << 40) + first[part], count[part])

    def _keep(self, numbers: Ints, count: Ints) -> None:
        """Keep the sampled ones of the blocks of reads: `count` of them from each number on."""
        if int(count.max()) > 1:
            inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
            numbers = np.repeat(numbers, count) + inside
        self._kept.append(self._sampled(numbers))
        self._count += len(self._kept[-1])
        while self._count > self._most:
            self._threshold >>= 1
            self._rate /= 2
            self._kept = [self._sampled(part) for part in self._kept]
            self._count = sum(map(len, self._kept))

    def _sampled(self, numbers: Ints) -> Ints:
        return numbers if self._rate == 1.0 else numbers[_mixed(numbers) <= np.uint64(self._threshold)]

    def reuse(self) -> Reuse:
        """The distances of what was kept."""
        blocks = np.concatenate(self._kept) if self._kept else np.zeros(0, np.int64)
        block = self._block or BLOCK_BYTES
        previous = _previous(blocks)
        distances = _distances(previous)
        again = previous >= 0
        scaled = np.sort(np.round(distances[again] * (block / self._rate)).astype(np.int64))
        unseen = self._total * self._rate - len(blocks) if self._rate < 1 else 0.0
        return Reuse(scaled, int((~again).sum()), self._rate, block, unseen)


def _block_for(mean_bytes: float) -> int:
    return max(BLOCK_BYTES, 1 << max(int(mean_bytes / _BLOCKS_A_READ), 1).bit_length() - 1)


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
    """For each i, how many k < i have values[k] <= values[i]; by merging sorted halves, level by level.

    Values are indices (or -1) of at most `_LIMIT` accesses: value, pair of halves and index fit into one number, and sorting
    numbers is several times faster than sorting by them. An index says by one of its bits in which half it is.
    """
    count = len(values)
    result = np.zeros(count, np.int64)
    index = np.arange(count)
    bits = max((count - 1).bit_length(), 1)
    by_value = ((values + 1) << bits) | index
    level = 0
    while 1 << level < count:
        pair = index >> (level + 1)
        # By pair of halves, then value; equal values by index, which has left halves before right ones.
        order = np.sort((pair << (2 * bits)) | by_value) & ((1 << bits) - 1)
        is_right = (order >> level) & 1 == 1
        left_so_far = np.cumsum(~is_right)
        # Every pair but the last is full and has half its accesses in its left half.
        seen = left_so_far - ((order >> (level + 1)) << level)
        result[order[is_right]] += seen[is_right]
        level += 1
    return result
