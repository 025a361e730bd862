"""Which op of a replay answers which op of its recording.

An op is known by what it does, where, and how much (op, uri, offset, len); the k-th such op of the one trace answers the
k-th of the other. Within one stream first: the one that issues the very same ops, else the one of the same rank, pid and tid; what is
left then over all streams, in order of time. The pairing is one to one; what remains on either side is missing or extra.

Neither trace is held: ops that do the same are in one partition of the ledgers, and partitions are paired one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.ledger import FAILED, KEY, NUMBERED, Ledger
from harness.pairs import PAIR, Pairs
from harness.stats import Ints
from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import changes, sorted_order
from tracekit.metrics.slots import Slots
from tracekit.replay.records import Block
from tracekit.trace import NULL

# What goes on for many times as long as its recording need not be laid out: it is in another window anyway.
_MOST_WINDOWS = 5_000
Places = NDArray[np.intp]


class Pairing:
    """Two traces and what was counted over the ops of theirs that belong together.

    Args:
        recorded: The ops of the recording.
        replayed: Those of the replay; uris and kinds have the same numbers in both.
        width: The length of a window of time, ns.

    Attributes:
        failed: Pairs that fail in the replay and did not in the recording.
        moved: Bytes moved by ops of the replay that answer an op which serves a training step.
        windows: The ops of each by window of time since its first op.
    """

    def __init__(self, recorded: Ledger, replayed: Ledger, width: int) -> None:
        self._sides = recorded, replayed
        self._width = max(1, width)
        self._count = self.failed = self.moved = 0
        self._counts = Slots(), Slots()
        self._pairs = Pairs(recorded.edges)
        self._issued = Groups(2)
        streams = _twins(recorded, replayed)
        for left, right in _together(recorded, replayed):
            self._take(left, right, *paired(left, right, streams))

    def __len__(self) -> int:
        return self._count

    @property
    def missing_share(self) -> float:
        """The share of recorded ops that nothing answers."""
        recorded = self._sides[0].count
        return 1 - self._count / recorded if recorded else 0.0

    @property
    def extra_share(self) -> float:
        """Ops of the replay that answer nothing, as a share of the recorded ops."""
        recorded, replayed = self._sides
        return (replayed.count - self._count) / max(1, recorded.count)

    @property
    def failed_share(self) -> float | None:
        """The share of pairs that fail in the replay and did not in the recording; None without pairs."""
        return self.failed / self._count if self._count else None

    @property
    def common_files(self) -> bool:
        """Whether the two have any file in common."""
        mine, theirs = (side.files.values for side in self._sides)
        least = min(len(mine), len(theirs))
        return bool(((mine[:least] > 0) & (theirs[:least] > 0)).any())

    @cached_property
    def moved_share(self) -> float | None:
        """The share of pairs not issued by the stream that issued most of its recorded stream's ops; None without streams.

        The names of streams do not matter: a replay may number its processes anew.
        """
        if not self._count or not all(side.has_streams for side in self._sides):
            return None
        largest = Slots()
        for (stream, _), (counts,) in self._issued.rows():
            np.maximum.at(largest.room(stream), stream, counts)
        return 1 - float(largest.values.sum()) / self._count

    @cached_property
    def _inverted(self) -> list[tuple[int, int]]:
        return self._pairs.inverted(("stream", "uri"))

    @property
    def inverted_in_streams(self) -> tuple[int, int] | None:
        """(inverted pairs of pairs, all of them) within each recorded stream; None where the recording has no streams."""
        return self._inverted[0] if self._sides[0].has_streams else None

    @property
    def inverted_in_files(self) -> tuple[int, int]:
        """The same within each file."""
        return self._inverted[1]

    @cached_property
    def shifts(self) -> tuple[int, int] | None:
        """Median and p99 of |Δt_submit|, ns, both since the first pair; None without pairs."""
        if not self._count:
            return None
        middle, high = self._pairs.shifts((0.5, 0.99))
        return middle, high

    @property
    def windows(self) -> tuple[Ints, Ints]:
        """The ops of both by window of time since the first op of each."""
        mine, theirs = (slots.values for slots in self._counts)
        return mine, theirs

    def _take(self, left: Block, right: Block, at_left: Places, at_right: Places) -> None:
        for counts, side, rows in zip(self._counts, self._sides, (left, right), strict=True):
            if side.span is not None and len(rows):
                counts.add(np.minimum((rows["t"] - side.span[0]) // self._width, _MOST_WINDOWS))
        one, other = left[at_left], right[at_right]
        self._count += len(one)
        self.failed += int(((other["flags"] & FAILED) > (one["flags"] & FAILED)).sum())
        self.moved += int(other["moved"][(one["flags"] & NUMBERED) != 0].sum())
        streams = [rows["stream"].astype(np.int64) for rows in (one, other)]
        self._issued.add(streams, [np.ones(len(one), np.int64)])
        pairs = np.empty(len(one), PAIR)
        pairs["recorded"], pairs["replayed"] = one["t"], other["t"]
        # What has no uri is a file of its own: they are numbered from 1 here.
        pairs["stream"], pairs["uri"] = one["stream"], one["uri"] + 1
        self._pairs.put(pairs, one["at"])


def paired(left: Block, right: Block, streams: Ints) -> tuple[Places, Places]:
    """Places of rows of the one and of rows of the other that belong together.

    Args:
        left: Ops of the recording.
        right: Ops of the replay that do the same; both in order of time.
        streams: The recorded stream that a stream of the replay is taken for.
    """
    count = len(left)
    keys = _numbered(*(np.concatenate([left[name], right[name]]).astype(np.int64) for name in KEY))
    own = np.concatenate([left["stream"].astype(np.int64), streams[right["stream"]]])
    is_right = (np.arange(len(keys)) >= count).astype(np.int64)
    at_left, at_right = _kth_with_kth(is_right, keys, own)
    rest = np.ones(len(keys), np.bool_)
    rest[at_left], rest[at_right] = False, False
    left_over = np.flatnonzero(rest)
    more_left, more_right = _kth_with_kth(is_right[left_over], keys[left_over])
    at_left = np.concatenate([at_left, left_over[more_left]])
    return at_left, np.concatenate([at_right, left_over[more_right]]) - count


def _together(recorded: Ledger, replayed: Ledger) -> Iterator[tuple[Block, Block]]:
    """Rows of the two that may belong together, as much as memory holds at a time."""
    one, other = recorded.rows, replayed.rows
    if one.is_small and other.is_small:
        yield one.whole(), other.whole()
        return
    for number in sorted({*one.numbers, *other.numbers}):
        yield one.of(number), other.of(number)


def _twins(recorded: Ledger, replayed: Ledger) -> Ints:
    """For each stream of the replay the number of the recorded one that issues the very same ops in the same order.

    Names of threads mean nothing across processes: where several streams read the same places, pairing by name would give
    one stream's ops to another. A stream that has no twin keeps its name, where no other has taken it.
    """
    mine, theirs = recorded.sequences, replayed.sequences
    waiting: dict[bytes, list[int]] = {}
    for stream, digest in mine.items():
        waiting.setdefault(digest, []).append(stream)
    found = np.full(len(replayed.numbers), NULL, np.int64)
    for stream, digest in theirs.items():
        if waiting.get(digest):
            found[stream] = waiting[digest].pop(0)
    taken = set(found.tolist())
    for name, stream in replayed.numbers.items():
        if found[stream] == NULL:
            named = recorded.numbers.get(name)
            found[stream] = len(recorded.numbers) + stream if named is None or named in taken else named
    return found


def _numbered(*columns: Ints) -> Ints:
    """Numbers from 0 for the distinct rows of columns, in their sorted order."""
    order = sorted_order(*columns)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(changes(*(column[order] for column in columns))) - 1
    return numbers


def _kth_with_kth(is_right: Ints, *keys: Ints) -> tuple[Places, Places]:
    """Places of the one side and of the other with equal keys, the k-th with the k-th."""
    nothing = np.zeros(0, np.intp)
    if not len(is_right):
        return nothing, nothing
    order = sorted_order(*keys, is_right)
    side, new = is_right[order], changes(*(key[order] for key in keys))
    starts, group = np.flatnonzero(new), np.cumsum(new) - 1
    rights = np.add.reduceat(side, starts)
    lefts = np.diff(np.append(starts, len(side))) - rights
    # The k-th of the one lies k behind the start of their keys, that of the other as far behind the last of the one.
    nth = np.arange(len(side)) - starts[group]
    at = np.flatnonzero((side == 0) & (nth < rights[group]))
    return order[at], order[at + lefts[group[at]]]
