"""Streams of ops into one, in order of time, without holding more than what overlaps.

Each stream is a chunk of columns that is read when its time comes and let go when its last op was handed on. So memory
grows with the number of chunks that overlap in time, never with the number of ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tracekit.trace import COLUMNS, NULL, IntArray

Columns = Mapping[str, IntArray]


@dataclass(frozen=True)
class Chunk:
    """Ops that are not read yet: none of them was submitted before `begins`; `read` gives their columns, in any order."""

    begins: int
    read: Callable[[], Columns]


def interleave(chunks: Sequence[Chunk], ops: int) -> Iterator[dict[str, IntArray]]:
    """The columns of all chunks in order of `t_submit`, in pieces of about `ops` ops; ties keep the order of the chunks.

    Raises:
        ValueError: If a chunk has an op from before it begins.
    """
    pending: list[dict[str, IntArray]] = []
    waiting = 0
    for columns in _ordered(chunks):
        pending.append(columns)
        waiting += len(columns["t_submit"])
        if waiting >= ops:
            yield _stacked(pending)
            pending, waiting = [], 0
    if pending:
        yield _stacked(pending)


class _Open:
    """A chunk that was read, and how far it has been handed on."""

    def __init__(self, number: int, chunk: Chunk) -> None:
        columns = chunk.read()
        times = columns["t_submit"]
        if len(times) and bool((times[1:] < times[:-1]).any()):
            order = np.argsort(times, kind="stable")
            columns = {name: array[order] for name, array in columns.items()}
            times = columns["t_submit"]
        if len(times) and int(times[0]) < chunk.begins:
            raise ValueError(f"a chunk that begins at {chunk.begins} has an op of {times[0]}")
        self.number = number
        self.columns = columns
        self.times = times
        self.place = 0
        self.last = int(times[-1]) if len(times) else chunk.begins

    def until(self, time: int) -> dict[str, IntArray]:
        """The ops up to and with this time that were not handed on yet."""
        stop = int(np.searchsorted(self.times, time, side="right"))
        part, self.place = slice(self.place, stop), stop
        return {name: array[part] for name, array in self.columns.items()}

    @property
    def is_done(self) -> bool:
        return self.place == len(self.times)


def _ordered(chunks: Sequence[Chunk]) -> Iterator[dict[str, IntArray]]:
    waiting = sorted(range(len(chunks)), key=lambda number: (chunks[number].begins, number), reverse=True)
    active: list[_Open] = []
    while waiting or active:
        while waiting and (not active or chunks[waiting[-1]].begins <= min(one.last for one in active)):
            number = waiting.pop()
            active.append(_Open(number, chunks[number]))
            active.sort(key=lambda one: one.number)
        # Everything up to here is in the chunks that are open: the first of them ends here, the next has not begun.
        horizon = min(one.last for one in active)
        parts = [part for one in active if len((part := one.until(horizon))["t_submit"])]
        if parts:
            yield _sorted(parts)
        active = [one for one in active if not one.is_done]


def _sorted(parts: list[dict[str, IntArray]]) -> dict[str, IntArray]:
    if len(parts) == 1:
        return parts[0]
    columns = _stacked(parts)
    order = np.argsort(columns["t_submit"], kind="stable")
    return {name: array[order] for name, array in columns.items()}


def _stacked(parts: list[dict[str, IntArray]]) -> dict[str, IntArray]:
    if len(parts) == 1:
        return parts[0]
    names = [name for name in COLUMNS if any(name in part for part in parts)]
    return {name: np.concatenate([_column(part, name) for part in parts]) for name in names}


def _column(part: dict[str, IntArray], name: str) -> IntArray:
    found = part.get(name)
    return np.full(len(part["t_submit"]), NULL, COLUMNS[name].dtype) if found is None else found


def interleave_streams(streams: Sequence[Iterator[Columns]]) -> Iterator[dict[str, IntArray]]:
    """The columns of streams that are in order of `t_submit` each, in one order; one piece of each is held at a time.

    Where a stream is not in order, its late ops come as soon as they are known.
    """
    active = [one for number, stream in enumerate(streams) if (one := _next_open(number, stream)) is not None]
    while active:
        # Beyond the first end nothing is certain: that stream goes on there.
        horizon = min(one.last for one in active)
        parts = [part for one in active if len((part := one.until(horizon))["t_submit"])]
        if parts:
            yield _sorted(parts)
        left = [_next_open(one.number, streams[one.number]) if one.is_done else one for one in active]
        active = [one for one in left if one is not None]


def _next_open(number: int, stream: Iterator[Columns]) -> _Open | None:
    for columns in stream:
        if len(columns["t_submit"]):
            return _Open(number, Chunk(int(columns["t_submit"].min()), partial(dict, columns)))
    return None
