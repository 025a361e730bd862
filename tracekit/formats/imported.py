"""Another tool's file as a trace: its clock brought to zero, its header, and what its source did not say.

A large file is read twice: once for its first time and its counts, which belong into the header, and once for the ops, so memory
does not grow with it.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracekit import __version__
from tracekit.errors import InputError
from tracekit.formats.foreign import Foreign, Told
from tracekit.trace import COLUMNS, NULL, TIME_COLUMNS, Header, Mark, Trace, Trailer

# About 100 MB: what is no more is kept from the first pass on.
_KEPT_OPS = 1 << 20


def load(source: Foreign) -> Trace:
    """The whole file as one trace, in order of t_submit.

    Raises:
        InputError: If it holds no op, or is not of this format.
        TraceFormatError: If a line is bad and `skip_bad` is false.
    """
    (whole,) = _chunks(source, 2**62, keep=2**62)
    return whole.sorted()


def chunks(source: Foreign, *, ops: int) -> Iterator[Trace]:
    """The file piece by piece, in the order in which it stands there.

    Raises:
        InputError, TraceFormatError: As for `load`.
    """
    return _chunks(source, ops, keep=_KEPT_OPS)


def _chunks(source: Foreign, ops: int, *, keep: int) -> Iterator[Trace]:
    kept = _Kept(keep)
    told = _surveyed(source, kept)
    header = _header(source, told)
    origin = told.first or 0
    waiting: Trace | None = None
    if not kept.whole:
        source.told, source.tables, source.marks, source.numbers = Told(), {}, [], {}
        source.begin()
    for piece in kept.again(ops) if kept.whole else source.pieces(ops):
        if waiting is not None:
            yield waiting
        waiting = _dressed(source, piece, header, origin)
    assert waiting is not None
    # Marks seen after the last op belong to the last piece.
    waiting.marks = [*waiting.marks, *_shifted_marks(source, origin)]
    waiting.warnings = _warnings(source, told)
    if not told.cut_short:
        coverage = {"known": False, "imported": source.NAME, "left_out": told.left_out}
        waiting.trailer = Trailer(ops=told.ops, bytes=told.bytes, coverage=coverage)
    yield waiting


class _Kept:
    """What the first pass made of the file, up to `most` ops: then it need not be read a second time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[Trace] = []
        self._ops = 0
        self.whole = True

    def add(self, piece: Trace) -> None:
        """Keep a piece; when there are too many, keep none."""
        self._ops += len(piece)
        self.whole = self._ops <= self._most
        if self.whole:
            self._pieces.append(piece)
        else:
            self._pieces = []

    def again(self, ops: int) -> Iterator[Trace]:
        """The same in pieces of at most `ops` ops; they share their tables."""
        names = [name for name in COLUMNS if any(name in piece for piece in self._pieces)]
        columns = {name: np.concatenate([piece.col(name) for piece in self._pieces]) for name in names}
        tables = {name: table for piece in self._pieces for name, table in piece.tables.items()}
        whole, self._pieces = Trace(columns, tables), []
        for start in range(0, len(whole), ops):
            yield whole.select(slice(start, start + ops))


def _surveyed(source: Foreign, kept: _Kept) -> Told:
    """The first pass: counts, and the first time."""
    for piece in source.pieces(1 << 16):
        _count(source.told, piece)
        kept.add(piece)
    told = source.told
    if not told.ops:
        raise InputError(
            f"{source.path} holds no op that could be imported as {source.NAME}",
            f"the first bad line: {told.first_bad}" if told.bad else _what_there_was(told, source),
        )
    return told


def _what_there_was(told: Told, source: Foreign) -> str:
    if told.left_out:
        return "it has " + ", ".join(f"{count} × {what}" for what, count in told.left_out.items())
    return f"is it a file of {source.TOOL}? --from names another format"


def _count(told: Told, piece: Trace) -> None:
    first = int(piece.col("t_submit").min())
    told.first = first if told.first is None else min(told.first, first)
    moved = piece.mask("op", "read", "write")
    ret = piece.col("ret")[moved]
    told.bytes += int(ret[ret > 0].sum())
    for name in COLUMNS:
        if name not in _OPTIONAL:
            missing = int((piece.col(name) == NULL).sum())
            if missing:
                told.nulls[name] = told.nulls.get(name, 0) + missing


# What most programs and tools have no word for; that it is missing says nothing about the source.
_OPTIONAL = ("err", "t_due", "flags", "layer", "level", "attempts", "rank", "worker", "epoch", "step", "sample_id")


def _header(source: Foreign, told: Told) -> Header:
    facts = source.facts()
    clock: dict[str, Any] = {"source": f"as recorded by {source.TOOL}"}
    if source.EPOCH:
        clock["t0_unix_ns"] = told.first
    producer = {
        "tool": source.TOOL, "version": facts.pop("version", ""), "verb": "import", "engine": source.NAME,
        "importer": f"tracekit {__version__}", "options": source.options, "source": os.path.basename(source.path),
        "null": told.nulls,
    }  # fmt: skip
    created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return Header(created=created, producer=producer, clock=clock, **facts)


def _dressed(source: Foreign, piece: Trace, header: Header, origin: int) -> Trace:
    columns = dict(piece.columns)
    for name in TIME_COLUMNS:
        if name in columns:
            columns[name] = np.where(columns[name] == NULL, NULL, columns[name] - origin)
    return Trace(columns, piece.tables, _shifted_marks(source, origin), header, None)


def _shifted_marks(source: Foreign, origin: int) -> list[Mark]:
    marks, source.marks = source.marks, []
    # A span that began before the first op begins with it: no time of a trace is below zero.
    return [
        Mark(m.mark, max(0, m.t - origin), max(0, (m.t_end or m.t) - origin), m.step, m.epoch, m.pid) for m in marks
    ]


def _warnings(source: Foreign, told: Told) -> list[str]:
    warnings = list(told.warnings)
    if told.bad:
        noun = "line was" if told.bad == 1 else "lines were"
        warnings.append(f"{told.bad} bad {noun} left out; the first: {told.first_bad}")
    if told.left_out:
        what = ", ".join(f"{count} × {name}" for name, count in sorted(told.left_out.items(), key=lambda x: -x[1])[:6])
        warnings.append(f"{source.path}: left out as no op on a file: {what}")
    if offsets := told.nulls.get("offset"):
        warnings.append(f"{offsets} of {told.ops} ops have no offset in the source; a replay needs --null-offset")
    return warnings
