"""Visits: the reads that a stream makes of a file one after the other, from where it begins to where it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Mask, Trace
from tracekit.workload.distil.rows import numbered

Ints = NDArray[np.int64]
Request = tuple[int, int]


@dataclass(frozen=True)
class Visits:
    """The visits of a recording, in order of their first read.

    Args:
        reads: The reads, visit by visit.
        first: Where each begins among them.
        count: How many reads each has.
        sizes: How far into each file anybody read, by its code.
    """

    reads: Trace
    first: Ints
    count: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.first)

    def of(self, name: str) -> Ints:
        """A column at the first read of each visit."""
        return np.asarray(self.reads.col(name)[self.first], np.int64)

    def last(self, name: str) -> Ints:
        """A column at the last read of each."""
        return np.asarray(self.reads.col(name)[self.first + self.count - 1], np.int64)

    @property
    def sequential(self) -> Mask:
        """Which go from the file's begin to its end without a jump."""
        offset, ret = self.reads.col("offset"), np.maximum(self.reads.col("ret"), 0)
        jumps = np.zeros(len(offset), np.int64)
        jumps[1:] = offset[1:] != offset[:-1] + ret[:-1]
        jumps[self.first] = offset[self.first] != 0
        # Up to each read; visits stand in order of time, and their reads side by side.
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(jumps)])
        mask: Mask = before[self.first + self.count] == before[self.first]
        return mask

    def requests(self, visit: int) -> list[Request]:
        """(offset, length) of the requests of a visit."""
        first, stop = int(self.first[visit]), int(self.first[visit] + self.count[visit])
        return list(
            zip(self.reads.col("offset")[first:stop].tolist(), self.reads.col("len")[first:stop].tolist(), strict=True)
        )

    def size(self, visit: int) -> int:
        """The size of the file of a visit, as far as anybody read."""
        return int(self.sizes[self.reads.col("uri")[self.first[visit]]])

    def at(self, chosen: Mask) -> Visits:
        """Some of them."""
        return Visits(self.reads, self.first[chosen], self.count[chosen], self.sizes)


def visits(reads: Trace) -> Visits:
    """The visits of reads."""
    columns = {name: reads.col(name) for name in ("uri", "tid", "pid", "t_submit")}
    order = np.lexsort((columns["t_submit"], columns["uri"], columns["tid"], columns["pid"]))
    ordered = reads.select(order)
    uri, offset = ordered.col("uri"), ordered.col("offset")
    begins = np.ones(len(ordered), np.bool_)
    same = np.ones(len(ordered) - 1, np.bool_)
    for name in ("uri", "tid", "pid", "sample_id", "epoch"):
        column = ordered.col(name)
        same &= column[1:] == column[:-1]
    # Back at the begin of a file: it is read again. A file of nothing may be asked twice.
    again = (offset[1:] == 0) & (offset[:-1] + np.maximum(ordered.col("ret")[:-1], 0) > 0)
    begins[1:] = ~same | again
    first = np.flatnonzero(begins)
    count = np.diff(np.append(first, len(ordered)))
    sizes = np.zeros(len(ordered.uris) + 1, np.int64)
    np.maximum.at(sizes, uri, offset + np.maximum(ordered.col("ret"), 0))
    in_time = np.argsort(ordered.col("t_submit")[first], kind="stable")
    return Visits(ordered, first[in_time], count[in_time], sizes)


def most_at_a_time(reads: Trace) -> tuple[int, int]:
    """The most processes, and streams, that are between their first and last read at one time."""
    return _most(reads, ("pid",)), _most(reads, ("pid", "tid"))


def _most(reads: Trace, names: tuple[str, ...]) -> int:
    codes = numbered(*(reads.col(name) for name in names))
    time = reads.col("t_submit")
    begin = np.full(int(codes.max()) + 1, np.iinfo(np.int64).max)
    end = np.full(len(begin), NULL, np.int64)
    np.minimum.at(begin, codes, time)
    np.maximum.at(end, codes, time)
    moments = np.concatenate([begin, end + 1])
    change = np.concatenate([np.ones(len(begin), np.int64), -np.ones(len(end), np.int64)])
    # One that ends when another begins is not there at the same time.
    return int(np.cumsum(change[np.lexsort((change, moments))]).max())
