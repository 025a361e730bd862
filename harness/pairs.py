"""What pairs of ops of two traces say about order and time. They lie in slabs: spans of time of the one trace, of bounded size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness import stats
from harness.partitions import Partitions
from harness.stats import Ints
from tracekit.histogram import bucket_of
from tracekit.metrics.keys import changes, sorted_order
from tracekit.metrics.slots import Slots
from tracekit.replay.records import Block

# When each was submitted, ns; the recorded stream and uri as numbers.
PAIR = np.dtype([("recorded", "i8"), ("replayed", "i8"), ("stream", "i4"), ("uri", "i4")])
_BUCKETS = int(bucket_of(np.array([2**63 - 1]))[0]) + 1


class Pairs:
    """Pairs by slab.

    Args:
        edges: Where slabs end, ns, ascending: pairs recorded at one moment are in one slab.
    """

    def __init__(self, edges: Sequence[int]) -> None:
        self._edges = np.array(edges, np.int64)
        self._slabs = Partitions(PAIR)
        self._first: tuple[int, int, int] | None = None

    def put(self, rows: Block, places: Ints) -> None:
        """Add pairs, and which op of the recording each has."""
        if not len(rows):
            return
        at = int(np.argmin(places))
        first = int(places[at]), int(rows["recorded"][at]), int(rows["replayed"][at])
        self._first = first if self._first is None else min(first, self._first)
        self._slabs.put(rows, np.searchsorted(self._edges, rows["recorded"], side="right"))

    def inverted(self, groups: Sequence[str]) -> list[tuple[int, int]]:
        """(inverted pairs of pairs, all of them) within each stream, or uri; as of `stats.inversions`."""
        wrong, sizes = [0] * len(groups), [Slots() for _ in groups]
        highest: dict[int, int] = {}
        for number in self._slabs.numbers:
            rows = self._slabs.of(number)
            lowest = int(rows["replayed"].min())
            # A faithful replay goes through the slabs one by one; only where it does not are two of them compared.
            before = [self._slabs.of(slab) for slab, high in highest.items() if high > lowest]
            for place, group in enumerate(groups):
                sizes[place].add(np.asarray(rows[group], np.int64))
                wrong[place] += stats.inversions(rows[group], rows["recorded"], rows["replayed"])[0]
                wrong[place] += sum(_inverted_between(earlier, rows, group) for earlier in before)
            highest[number] = int(rows["replayed"].max())
        return [(count, _pairs(size.values)) for count, size in zip(wrong, sizes, strict=True)]

    def shifts(self, shares: Sequence[float]) -> list[int]:
        """Quantiles of |Δt_submit|, ns, both traces counted from the first pair: the values at rank ⌈q·count⌉, exact."""
        counts = np.zeros(_BUCKETS, np.int64)
        for number in self._slabs.numbers:
            counts += np.bincount(bucket_of(self._shifts(number)), minlength=_BUCKETS)
        upto = np.cumsum(counts)
        ranks = [max(0, math.ceil(int(upto[-1]) * share - 1)) for share in shares]
        buckets = [int(np.searchsorted(upto, rank, side="right")) for rank in ranks]
        within = self._of_buckets(buckets)
        before = [int(upto[bucket] - counts[bucket]) for bucket in buckets]
        return [
            int(np.partition(values, rank - fewer)[rank - fewer])
            for values, rank, fewer in zip(within, ranks, before, strict=True)
        ]

    def _of_buckets(self, buckets: Sequence[int]) -> list[Ints]:
        found: list[list[Ints]] = [[] for _ in buckets]
        for number in self._slabs.numbers:
            shifts = self._shifts(number)
            places = bucket_of(shifts)
            for values, bucket in zip(found, buckets, strict=True):
                values.append(shifts[places == bucket])
        return [np.concatenate(values) for values in found]

    def _shifts(self, number: int) -> Ints:
        assert self._first is not None
        rows, (_, recorded, replayed) = self._slabs.of(number), self._first
        shifts: Ints = np.abs((rows["replayed"] - replayed) - (rows["recorded"] - recorded))
        return shifts


def _inverted_between(earlier: Block, later: Block, group: str) -> int:
    """How many pairs of the later slab were submitted before how many of the same group of the earlier one, in the replay."""
    groups, times = (np.concatenate([earlier[name], later[name]]).astype(np.int64) for name in (group, "replayed"))
    # Sorting is stable: of equal times those of the earlier slab come first, and are no inversions.
    order = sorted_order(groups, times)
    is_earlier = order < len(earlier)
    so_far = np.cumsum(is_earlier)
    starts = np.flatnonzero(changes(groups[order]))
    ends = np.append(starts[1:], len(order))
    all_of_group = np.repeat(so_far[ends - 1], ends - starts)
    return int((all_of_group - so_far)[~is_earlier].sum())


def _pairs(sizes: Ints) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
