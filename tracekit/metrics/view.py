"""The data ops of a trace, sorted and with everything derived that several metrics need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.keys import codes_of
from tracekit.trace import NULL, IntArray, Mask, Trace

Ints = NDArray[np.int64]
DATA_KINDS = ("read", "write")
_TOLD = ("t_complete", "ret", "pid", "tid", "attempts", "level")


class Streams:
    """Numbers for the streams (rank, pid, tid) of a trace that comes in pieces, in order of their first op."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int, int], int] = {}

    def codes(self, *rows: IntArray) -> Ints:
        """The number of each op's stream, of columns rank, pid and tid."""
        local = codes_of(*rows)
        if not len(local):
            return local
        first = np.zeros(int(local.max()) + 1, np.intp)
        first[local[::-1]] = np.arange(len(local))[::-1]  # the last to be written is the first op
        keys = list(zip(*(column[first].tolist() for column in rows), strict=True))
        for code in np.argsort(first).tolist():
            self.known.setdefault(keys[code], len(self.known))
        return np.array([self.known[key] for key in keys], np.int64)[local]


@dataclass(frozen=True)
class Places:
    """Where reads were that moved data and tell their place: files, offsets and ends."""

    uri: Ints
    offset: Ints
    end: Ints

    def taken(self, order: NDArray[np.intp]) -> Places:
        """The same in another order."""
        return Places(self.uri[order], self.offset[order], self.end[order])


@dataclass(frozen=True)
class View:
    """One trace in order of submission, and its data ops (reads and writes) as columns.

    Object requests are counted once: where a trace may have the wire requests of its logical ones, they are left out here.
    """

    source: Trace
    trace: Trace
    data: NDArray[np.intp]
    wire: int
    numbers: Streams | None = None

    @classmethod
    def of(cls, trace: Trace) -> View:
        """The view of a trace."""
        ordered = trace.sorted()
        return cls.without_wire(ordered) if has_doubles(ordered) else cls.whole(ordered)

    @classmethod
    def whole(cls, ordered: Trace, numbers: Streams | None = None) -> View:
        """The view of all ops of a trace that is in order of submission."""
        return cls(ordered, ordered, _places(ordered.mask("op", *DATA_KINDS)), 0, numbers)

    @classmethod
    def without_wire(cls, ordered: Trace, numbers: Streams | None = None) -> View:
        """The view of a trace that is in order of submission, its wire requests left out."""
        on_wire = ordered.mask("level", "wire")
        wire = int(on_wire.sum())
        kept = ordered.select(~on_wire) if wire else ordered
        return cls(ordered, kept, _places(kept.mask("op", *DATA_KINDS)), wire, numbers)

    def col(self, name: str) -> Ints:
        """A column of the data ops."""
        if name not in self.trace:
            return np.broadcast_to(np.int64(NULL), len(self.data))
        column = self.trace.columns[name].astype(np.int64, copy=False)
        return column if len(self.data) == len(column) else column[self.data]

    @cached_property
    def told(self) -> frozenset[str]:
        """The columns in which an op says something, of those whose absence a reader should know."""
        there = (name for name in _TOLD if name in self.trace)
        return frozenset(name for name in there if bool((self.trace.columns[name] != NULL).any()))

    @cached_property
    def submit(self) -> Ints:
        """When each data op was issued, ns, ascending."""
        return self.col("t_submit")

    @cached_property
    def complete(self) -> Ints:
        """When each data op returned, ns; NULL where it is not known."""
        return self.col("t_complete")

    @cached_property
    def sizes(self) -> Ints:
        """How much each data op asked for, bytes."""
        return self.col("len")

    @cached_property
    def failed(self) -> Mask:
        """Which data ops ended in an error."""
        failed: Mask = self.col("err") != NULL
        return failed

    @cached_property
    def moved(self) -> Ints:
        """How much each data op moved, bytes: what it returned, else what it asked for, nothing where it failed."""
        returned = self.col("ret")
        known = returned != NULL
        if bool(known.all()):
            return returned
        return np.where(known, returned, np.where(self.failed, 0, self.sizes))

    @cached_property
    def reads(self) -> Mask:
        """Which data ops are reads."""
        reads = self.trace.mask("op", "read")
        return reads if len(reads) == len(self.data) else reads[self.data]

    @cached_property
    def placed(self) -> Mask:
        """Which data ops are reads that moved data and tell their place."""
        placed: Mask = self.reads & (self.moved > 0) & (self.col("offset") != NULL)
        return placed

    @cached_property
    def places(self) -> Places:
        """The places of these reads, in order of time."""
        columns = [self.col("uri"), self.col("offset"), self.moved]
        if not bool(self.placed.all()):
            columns = [column[self.placed] for column in columns]
        uri, offset, moved = columns
        return Places(uri, offset, offset + moved)

    @cached_property
    def timed(self) -> Mask:
        """Which data ops have a service time that can be true: completed, and not before they began."""
        timed: Mask = (self.complete != NULL) & (self.complete >= self.submit)
        return timed

    @cached_property
    def streams(self) -> Ints | None:
        """A number for the stream (rank, pid, tid) of each data op; None where the trace has neither pid nor tid.

        Of a piece of a trace they are the numbers that the whole trace's streams have, and never None.
        """
        if self.numbers is not None:
            codes = self.all_streams
            return codes if len(codes) == len(self.data) else codes[self.data]
        if "pid" not in self.trace and "tid" not in self.trace:
            return None
        return codes_of(self.col("rank"), self.col("pid"), self.col("tid"))

    @cached_property
    def all_streams(self) -> Ints:
        """A number for the stream of every op, of a piece of a trace."""
        assert self.numbers is not None
        return self.numbers.codes(*(self.trace.col(name) for name in ("rank", "pid", "tid")))


def has_doubles(trace: Trace) -> bool:
    """Whether a trace may have requests at both levels: ours has each at one, of clients of either kind side by side."""
    ours = trace.header is not None and trace.header.producer.get("tool") == "tracekit"
    return not ours and has_level(trace, "logical")


def has_level(trace: Trace, level: str) -> bool:
    """Whether an op of a trace is of this level."""
    return "level" in trace and bool(trace.mask("level", level).any())


def _places(chosen: Mask) -> NDArray[np.intp]:
    return np.arange(len(chosen)) if bool(chosen.all()) else np.flatnonzero(chosen)
