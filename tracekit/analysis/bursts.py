"""Bursts of writing: checkpoints, how fast they went, and what was read meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.pieces import pieces
from tracekit.metrics import schema
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import NULL, Mark, Marks, Trace

Ints = NDArray[np.int64]
# Writes closer together than this belong to one burst: a checkpoint pauses for less between two tensors.
GAP_NS = 500_000_000
LEAST_BYTES = 1 << 20


@dataclass(frozen=True)
class Burst:
    """Writes with no long pause between them; times in ns since the trace's t0."""

    start_ns: int = metric("when its first write was issued, since the trace's t0", "ns")
    end_ns: int = metric("when its last write returned", "ns")
    ops: int = metric("writes", "ops")
    bytes: int = metric("bytes written", "bytes")
    files: int = metric("files written", "files")
    reads_bytes: int = metric("bytes that reads issued meanwhile moved", "bytes")
    mb_s: float | None = metric("bytes / (end - start), in 10^6 bytes per second; null where it took no time", "MB/s")
    checkpoint: bool = metric("whether a checkpoint mark of the program overlaps it")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return schema.to_json(self)


def write_bursts(trace: Trace, *, gap_ns: int = GAP_NS, least_bytes: int = LEAST_BYTES) -> list[Burst]:
    """Bursts of writing, in order of time.

    Args:
        trace: The trace.
        gap_ns: A pause longer than this ends a burst.
        least_bytes: Smaller bursts (logs, progress files) are left out.
    """
    bursts = Bursts(gap_ns, least_bytes)
    for view in pieces(trace):
        bursts.update(view)
    return bursts.bursts(trace.marks)


@dataclass
class _Open:
    """A burst that may go on; `before` and `until` are the bytes read in all when it began and when it ended."""

    start: int
    before: int
    end: int
    until: int | None = None
    ops: int = 0
    bytes: int = 0
    files: set[int] = field(default_factory=set)

    def burst(self, read: int, checkpoints: Sequence[tuple[int, int]]) -> Burst:
        """As it stands; `read` are the bytes read in all so far."""
        span = self.end - self.start
        return Burst(
            start_ns=self.start,
            end_ns=self.end,
            ops=self.ops,
            bytes=self.bytes,
            files=len(self.files),
            reads_bytes=(read if self.until is None else self.until) - self.before,
            mb_s=self.bytes * 1000 / span if span > 0 else None,
            checkpoint=any(begin <= self.end and end >= self.start for begin, end in checkpoints),
        )


class Bursts:
    """Bursts of writing, followed from piece to piece; memory grows with bursts and with the files that they write."""

    def __init__(self, gap_ns: int = GAP_NS, least_bytes: int = LEAST_BYTES) -> None:
        self._gap, self._least = gap_ns, least_bytes
        self._done: list[_Open] = []
        self._open: _Open | None = None
        # Bytes of reads before the last one's time, and that time with the bytes of the reads that have it.
        self._read = 0
        self._last = np.zeros(0, np.int64)

    def update(self, view: View) -> None:
        """Take the data ops of the next piece in order of time."""
        if not len(view.data):
            return
        reads = view.reads
        times, moved = (view.submit, view.moved) if reads.all() else (view.submit[reads], view.moved[reads])
        # A write may begin at the moment of the last read of the piece before: that read is not before it.
        times, moved = np.concatenate([self._last[:1], times]), np.concatenate([self._last[1:], moved])
        read = _Reads(times, self._read + np.concatenate([[0], np.cumsum(moved)]), int(view.submit[-1]))
        if self._open is not None and self._open.until is None:
            self._open.until = read.before(self._open.end)
        writes = ~reads & (view.moved > 0)
        if writes.any():
            start = view.submit[writes]
            end = np.where(view.complete[writes] == NULL, start, view.complete[writes])
            self._writes(start, np.maximum(end, start), view.moved[writes], view.col("uri")[writes], read)
        if len(times):
            place = int(np.searchsorted(times, times[-1]))
            self._read = int(read.total[place])
            self._last = np.array([times[-1], moved[place:].sum()])

    def _writes(self, start: Ints, end: Ints, moved: Ints, uri: Ints, read: _Reads) -> None:
        # Far enough in the past that the first write of all begins a burst.
        before = self._open.end if self._open else int(start[0]) - self._gap - 1
        reach = np.maximum.accumulate(np.concatenate([[before], end]))
        fresh = start - reach[:-1] > self._gap
        places = np.flatnonzero(fresh).tolist()
        for first, last in pairwise([*([] if fresh[0] else [0]), *places, len(start)]):
            if fresh[first] or self._open is None:
                self._close()
                self._open = _Open(int(start[first]), read.before(int(start[first])) or 0, int(start[first]))
            part = slice(first, last)
            self._open.end = max(self._open.end, int(end[part].max()))
            self._open.until = read.before(self._open.end)
            self._open.ops += last - first
            self._open.bytes += int(moved[part].sum())
            self._open.files.update(np.unique(uri[part]).tolist())

    def _close(self) -> None:
        if self._open is not None and self._open.bytes >= self._least:
            self._done.append(self._open)
        self._open = None

    def bursts(self, marks: Sequence[Mark] = ()) -> list[Burst]:
        """The bursts in order of time; `marks` say which are checkpoints of the program."""
        of = Marks.of(marks).kind("checkpoint")
        checkpoints = list(zip(of.t.tolist(), np.where(of.t_end == NULL, of.t, of.t_end).tolist(), strict=True))
        read = self._read + int(self._last[1:].sum())
        still = [self._open] if self._open is not None and self._open.bytes >= self._least else []
        return [one.burst(read, checkpoints) for one in (*self._done, *still)]


@dataclass(frozen=True)
class _Reads:
    """The reads of a piece: when they were issued, bytes read in all before each and in the end, and when the piece ends."""

    times: Ints
    total: Ints
    last: int

    def before(self, time: int) -> int | None:
        """Bytes that reads issued before this time moved; None where a later piece has to say."""
        if time > self.last:
            return None
        return int(self.total[np.searchsorted(self.times, time)])
