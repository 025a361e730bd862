"""A Trace as streams: for each, the plain arrays an engine walks through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Trace


class Kind(IntEnum):
    """What an op does, as far as the replayer tells ops apart."""

    READ = 0
    OPEN = 1
    CLOSE = 2
    STAT = 3
    LIST = 4
    MMAP = 5
    FSYNC = 6
    WRITE = 7
    DELETE = 8
    UNKNOWN = 9


CHANGES = (Kind.FSYNC, Kind.WRITE, Kind.DELETE)
_NAMES = {kind.name.lower(): kind for kind in Kind if kind is not Kind.UNKNOWN} | {"fdatasync": Kind.FSYNC}
_IDENTITIES = ("pid", "tid", "worker", "rank")


@dataclass(frozen=True)
class Stream:
    """The ops of one recorded thread, in order.

    `rows` are positions in the compiled trace; `after` is the stream whose end this one's start waits for in a closed
    loop (None: it starts with the run).
    """

    index: int
    rows: NDArray[np.intp]
    identity: dict[str, int]
    after: int | None = None
    lead: int = 0

    @property
    def label(self) -> str:
        """Who it is, for messages."""
        return " ".join(f"{name} {value}" for name, value in self.identity.items()) or "the only stream"


@dataclass(frozen=True)
class Program:
    """A compiled trace.

    `origin` is the first t_submit, `period` what one repetition takes; both ns. `kinds` has one `Kind` per row.
    """

    trace: Trace
    kinds: NDArray[np.int8]
    streams: list[Stream]
    grouping: str
    origin: int
    period: int
    overlaps: int
    notes: list[str] = field(default_factory=list)

    @property
    def has_service_times(self) -> bool:
        """Whether every op says when it completed."""
        return "t_complete" in self.trace and bool((self.trace.col("t_complete") != NULL).all())


def compile_trace(trace: Trace) -> Program:
    """Bring a trace into the order of time and split it into streams.

    A stream is one thread: ops with the same (rank, pid, tid), in order of t_submit. Without them it is one loader worker,
    and without workers there is a single stream.
    """
    trace = trace.sorted()
    submits = trace.col("t_submit")
    names, grouping, notes = _grouping(trace)
    streams = _streams(trace, names)
    overlaps = sum(_overlaps(trace, stream.rows) for stream in streams)
    if overlaps:
        notes.append(
            f"{overlaps} ops were submitted before the op ahead of them in their stream had completed; "
            "a stream is replayed one op at a time, so these wait"
        )
    origin = int(submits[0]) if len(trace) else 0
    return Program(trace, kinds_of(trace), _anchored(trace, streams), grouping, origin, _period(trace), overlaps, notes)


def kinds_of(trace: Trace) -> NDArray[np.int8]:
    """The `Kind` of each op; names nobody knows are UNKNOWN."""
    table = np.array([_NAMES.get(name, Kind.UNKNOWN) for name in trace.strings("op")] or [Kind.READ], np.int8)
    return np.asarray(table[trace.col("op")], np.int8)


def _grouping(trace: Trace) -> tuple[list[str], str, list[str]]:
    notes: list[str] = []
    if "pid" in trace and "tid" in trace:
        return ["rank", "pid", "tid"], "pid and tid", notes
    if "worker" in trace:
        notes.append("the trace has no pid and tid; its loader workers are taken for its streams")
        return ["rank", "worker"], "worker", notes
    notes.append(
        "the trace does not say which thread issued which op, so all ops form one stream and none overlaps another"
    )
    return [], "none", notes


def _streams(trace: Trace, names: list[str]) -> list[Stream]:
    if not len(trace):
        return []
    keys = np.stack([np.asarray(trace.col(name), np.int64) for name in names] or [np.zeros(len(trace), np.int64)])
    _, codes = np.unique(keys, axis=1, return_inverse=True)
    codes = codes.reshape(-1)
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    groups.sort(key=lambda rows: int(rows[0]))
    return [Stream(index, rows, _identity(trace, int(rows[0]))) for index, rows in enumerate(groups)]


def _identity(trace: Trace, row: int) -> dict[str, int]:
    values = {name: int(trace.col(name)[row]) for name in _IDENTITIES if name in trace}
    return {name: value for name, value in values.items() if value != NULL}


def ends(trace: Trace, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """When each of these ops ended: its t_complete, or its t_submit where that is not known."""
    submits = trace.col("t_submit")[rows]
    return np.maximum(submits, trace.col("t_complete")[rows]).astype(np.int64)


def _overlaps(trace: Trace, rows: NDArray[np.intp]) -> int:
    submits = trace.col("t_submit")[rows]
    return int((submits[1:] < ends(trace, rows)[:-1]).sum())


def _anchored(trace: Trace, streams: list[Stream]) -> list[Stream]:
    """Tie each stream's start to the end of the last stream that was over by then.

    Loader workers of a second epoch exist because the first epoch has ended. In a closed loop that end moves with the
    storage, and so must they.
    """
    if not streams:
        return []
    starts = [int(trace.col("t_submit")[stream.rows[0]]) for stream in streams]
    finishes = np.array([int(ends(trace, stream.rows).max()) for stream in streams])
    order = np.argsort(finishes, kind="stable")
    sorted_ends = finishes[order]
    anchored = []
    for stream, start in zip(streams, starts, strict=True):
        before = int(np.searchsorted(sorted_ends, start, side="right")) - 1
        after = int(order[before]) if before >= 0 and int(order[before]) != stream.index else None
        lead = start - (int(finishes[after]) if after is not None else starts[0])
        anchored.append(Stream(stream.index, stream.rows, stream.identity, after, lead))
    return anchored


def _period(trace: Trace) -> int:
    """What one repetition takes: from the first submit to the last end, and one typical gap more."""
    if not len(trace):
        return 0
    submits = trace.col("t_submit")
    span = int(ends(trace, np.arange(len(trace))).max() - submits[0])
    gap = int(np.median(np.diff(submits))) if len(trace) > 1 else 0
    return max(span + gap, 1)


def think_times(trace: Trace, rows: NDArray[np.intp], lead: int) -> NDArray[np.int64]:
    """The pause before each op of a stream: from the end of the op before to its submit, 0 where they overlapped."""
    submits = trace.col("t_submit")[rows].astype(np.int64)
    pauses = submits[1:] - ends(trace, rows)[:-1]
    return np.concatenate([[lead], np.maximum(pauses, 0)]).astype(np.int64)
