"""Blocked histograms: values by the block of time they fall into, so that what holds for a while is resampled as a whole.

Ops that follow each other are not independent: a burst is slow together. Resampling single ops calls any two runs different;
resampling blocks of time does not, as long as a block outlives a burst. So there are few blocks, 33 to 64 of a run.

A block lasts a power of two of ns and begins at a multiple of it. The width is the least with which the span from first to
last takes at most 64 blocks: a function of these two alone. So histograms of parts add up to that of the whole, in any order
and without loss, and however long a run is, what is kept of it is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import SUB_BITS, bucket_low, bucket_of

if TYPE_CHECKING:
    from harness.stats import Floats, Ints
    from tracekit.metrics.view import View

MOST = 64
# 32 buckets an octave: every fourth edge of tracekit's own histogram, so that the two agree.
BITS = 5
_COARSER = SUB_BITS - BITS
_MOST_BUCKETS = int(bucket_of(np.array([2**63 - 1]))[0] >> _COARSER) + 1
NAMES = ("gap", "latency", "size")


@dataclass(frozen=True)
class Blocked:
    """How often values of a bucket occur in a block of time.

    Args:
        shift: A block lasts 2 ** shift ns.
        first: The number of the first block: it begins at `first` times that.
        counts: A row per block, a column per bucket.
    """

    shift: int
    first: int
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Blocked:
        """No values: what adding begins with."""
        return cls(0, 0, np.zeros((0, 0), np.int64))

    @classmethod
    def of(cls, times: Ints, values: Ints) -> Blocked:
        """Values (from 0) at times in ns (from 0)."""
        if not len(times):
            return cls.empty()
        low, high = int(times.min()), int(times.max())
        shift = _width(low, high, 0)
        first = low >> shift
        rows, columns = (times >> shift) - first, bucket_of(values) >> _COARSER
        wide, long = int(columns.max()) + 1, (high >> shift) - first + 1
        counts = np.bincount(rows * wide + columns, minlength=long * wide)
        return cls(shift, first, counts.reshape(long, wide).astype(np.int64, copy=False))

    def __add__(self, other: Blocked) -> Blocked:
        parts = [part for part in (self, other) if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else self
        low = min(part.first << part.shift for part in parts)
        high = max(part.last << part.shift for part in parts)
        shift = _width(low, high, max(part.shift for part in parts))
        first = low >> shift
        total = np.zeros(((high >> shift) - first + 1, max(part.counts.shape[1] for part in parts)), np.int64)
        for part in parts:
            rows = ((part.first + np.arange(len(part))) >> (shift - part.shift)) - first
            np.add.at(total[:, : part.counts.shape[1]], rows, part.counts)
        return Blocked(shift, first, total)

    def __len__(self) -> int:
        """How many blocks there are; some of them may be empty."""
        return len(self.counts)

    @property
    def last(self) -> int:
        """The number of the last block."""
        return self.first + len(self) - 1

    @cached_property
    def total(self) -> Ints:
        """The values of all blocks by bucket."""
        total: Ints = self.counts.sum(axis=0)
        return total

    @cached_property
    def edges(self) -> Floats:
        """The lower ends of the buckets, and the upper end of the last."""
        edges = np.arange(self.counts.shape[1] + 1, dtype=np.int64) << _COARSER
        return bucket_low(np.minimum(edges, _MOST_BUCKETS << _COARSER)).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """The blocks as JSON: of each the buckets that are not empty, as bucket, count, bucket, count and so on."""
        rows = []
        for row in self.counts:
            used = np.flatnonzero(row)
            rows.append(np.column_stack([used, row[used]]).ravel().tolist())
        return {"shift": self.shift, "first": self.first, "rows": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Blocked:
        """The blocks of a JSON object; KeyError, TypeError or ValueError where it is none."""
        shift, first, rows = data["shift"], data["first"], [list(row) for row in data["rows"]]
        whole = all(type(value) is int and 0 <= value < 2**63 for row in [[shift, first], *rows] for value in row)
        if not whole or shift > 62 or len(rows) > MOST or any(len(row) % 2 for row in rows):
            raise ValueError("blocks are at most 64 rows of whole numbers in pairs")
        wide = max((max(row[::2], default=-1) for row in rows), default=-1) + 1
        if wide > _MOST_BUCKETS or bool(rows) > bool(wide):
            raise ValueError(f"blocks have at most {_MOST_BUCKETS} buckets, and not all of them are empty")
        counts = np.zeros((len(rows), wide), np.int64)
        for place, row in enumerate(rows):
            counts[place, row[::2]] = row[1::2]
        return cls(shift, first, counts)


def _width(low: int, high: int, least: int) -> int:
    """The least shift, from `least` on, with which [low, high] takes no more blocks than there may be."""
    shift = max(least, ((high - low) // MOST).bit_length() - 1, 0)
    while (high >> shift) - (low >> shift) >= MOST:
        shift += 1
    return shift


class BlocksTally:
    """Service times, sizes and gaps of the reads and writes of a run that comes in pieces, by block of time."""

    def __init__(self) -> None:
        self.found = dict.fromkeys(NAMES, Blocked.empty())
        self._last: Ints = np.zeros(0, np.int64)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        submit = view.submit
        if not len(submit):
            return
        timed = view.timed
        gaps = np.diff(submit, prepend=self._last)
        self._last = submit[-1:].copy()
        self._add("gap", submit[len(submit) - len(gaps) :], gaps)
        self._add("latency", submit[timed], (view.complete - submit)[timed])
        self._add("size", submit, view.sizes)

    def _add(self, name: str, times: Ints, values: Ints) -> None:
        self.found[name] = self.found[name] + Blocked.of(times, values)

    def result(self) -> dict[str, Blocked]:
        """What has come so far, by name; what the run does not tell is missing."""
        return {name: blocked for name, blocked in self.found.items() if len(blocked)}


def together(blocks: Sequence[Blocked]) -> Blocked:
    """All blocks of several runs one after the other, as blocks of one: for resampling, not for times."""
    wide = max((blocked.counts.shape[1] for blocked in blocks), default=0)
    rows = [np.pad(blocked.counts, ((0, 0), (0, wide - blocked.counts.shape[1]))) for blocked in blocks if len(blocked)]
    return Blocked(0, 0, np.concatenate(rows)) if rows else Blocked.empty()
