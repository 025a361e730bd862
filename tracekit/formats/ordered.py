"""A trace file as pieces in order of time, with all marks known from the first: what one pass over a trace wants.

Our own recordings are like that. A file that is not shows it on the way: then it is read again, with the marks that were
found, or by way of a temporary file that holds its ops as columns, of which those are in memory that overlap in time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from tracekit.formats.ahead import ahead
from tracekit.interleave import Chunk, interleave
from tracekit.trace import IntArray, Mark, Marks, StringTable, Trace

# Columns of that many ops are about 60 MiB.
PIECE_OPS = 1 << 19


class Sink(Protocol):
    """What takes in a trace piece by piece."""

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""


Filled = TypeVar("Filled", bound=Sink)


def fold(read: Callable[[int], Iterator[Trace]], start: Callable[[Sequence[Mark]], Filled], *, again: bool) -> Filled:
    """Give the pieces of a trace to a sink, in order of submission; ops submitted together keep their order.

    Args:
        read: Reads the trace in pieces of so many ops.
        start: Makes a sink of the trace's marks; what a first try leaves behind is thrown away.
        again: Whether the trace can be read twice.
    """
    if again:
        attempt, sink = _Attempt(ahead(read(PIECE_OPS))), None
        for piece in attempt:
            sink = start(attempt.marks) if sink is None else sink
            if attempt.is_good:
                sink.update(piece)
        if sink is not None and attempt.is_good:
            return sink
        if attempt.in_order:
            return _filled(start(attempt.marks), read(PIECE_OPS))
    # Standard input may keep a thread waiting for ever: it is read by this one.
    kept = Kept(ahead(read(PIECE_OPS)) if again else read(PIECE_OPS))
    return _filled(start(kept.marks), kept.pieces())


def _filled(sink: Filled, pieces: Iterator[Trace]) -> Filled:
    for piece in ahead(pieces):
        sink.update(piece)
    return sink


class _Attempt:
    """The pieces of a trace as they stand in its file, and whether they are as they should be."""

    def __init__(self, pieces: Iterator[Trace]) -> None:
        self._pieces = pieces
        self._last = -1
        self.marks = Marks.of([])
        self.in_order = self.is_good = True

    def __iter__(self) -> Iterator[Trace]:
        for number, piece in enumerate(self._pieces):
            self.marks = Marks.joined([self.marks, piece.marks])
            self.in_order &= self._goes_on(piece.col("t_submit"))
            self.is_good &= self.in_order and (number == 0 or not piece.marks)
            yield piece

    def _goes_on(self, times: IntArray) -> bool:
        if not len(times):
            return True
        before, self._last = self._last, int(times[-1])
        return before <= int(times[0]) and not bool((times[1:] < times[:-1]).any())


class Kept:
    """A trace whose ops were put into a temporary file, to be read in order of time."""

    def __init__(self, pieces: Iterator[Trace]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as this object
        self._size = 0
        self._chunks: list[Chunk] = []
        self._tables: dict[str, StringTable] = {}
        self._last = Trace.of([])
        self.marks = Marks.of([])
        for piece in pieces:
            self._last = piece
            self.marks = Marks.joined([self.marks, piece.marks])
            self._tables |= piece.tables
            if len(piece):
                self._put(piece)

    def __del__(self) -> None:
        # What a full disk did not take is written once more here: whoever wrote it has been told.
        with suppress(OSError):
            self._file.close()

    def pieces(self) -> Iterator[Trace]:
        """The pieces in order; header and tables with each, the trailer with the last."""
        about = self._last
        before = about.select(slice(0, 0)).columns
        for columns in interleave(self._chunks, PIECE_OPS):
            if len(before["t_submit"]):
                yield Trace(before, self._tables, (), about.header, None, about.warnings)
            before = columns
        yield Trace(before, self._tables, (), about.header, about.trailer, about.warnings)

    def _put(self, piece: Trace) -> None:
        at, kinds = self._size, {name: array.dtype for name, array in piece.columns.items()}
        self._file.seek(at)
        for array in piece.columns.values():
            self._size += self._file.write(np.ascontiguousarray(array).tobytes())
        self._chunks.append(Chunk(int(piece.col("t_submit").min()), partial(self._read, at, len(piece), kinds)))

    def _read(self, at: int, count: int, kinds: Mapping[str, np.dtype[Any]]) -> dict[str, IntArray]:
        self._file.seek(at)
        return {name: np.frombuffer(self._file.read(count * kind.itemsize), kind) for name, kind in kinds.items()}
