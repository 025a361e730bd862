"""Other tools' files: what their importers share.

An importer says what an op of its source is, with times on the source's own clock; this module brings the clock to zero,
counts what the source did not say, keeps count of bad lines, and gives pieces of a trace. A large file is read twice: once
for its first time and its counts, which belong into the header, and once for the ops, so memory does not grow with it.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, ClassVar

import numpy as np

from tracekit import __version__
from tracekit.errors import InputError, TraceFormatError
from tracekit.formats import reading
from tracekit.trace import (
    COLUMNS,
    NULL,
    TIME_COLUMNS,
    Header,
    IntArray,
    Mark,
    StringTable,
    Trace,
    Trailer,
    encode_samples,
)

LINE_LIMIT = 1 << 20
_BLOCK_BYTES = 1 << 20
DAMAGED = (OSError, EOFError, zlib.error)
# No clock of a source goes further; beyond it, sums of two times no longer fit.
MAX_NS = 2**62
# About 100 MB: what is no more is kept from the first pass on.
_KEPT_OPS = 1 << 20


@dataclass
class Told:
    """What a pass over a file found: counts for the header, the trailer and the user."""

    ops: int = 0
    bytes: int = 0
    first: int | None = None
    nulls: dict[str, int] = field(default_factory=dict)
    bad: int = 0
    first_bad: str = ""
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    cut_short: bool = False


class Foreign(ABC):
    """A file of another tool.

    Args:
        path: The file.
        skip_bad: Leave out bad lines and count them, instead of raising at the first.
        options: What the file itself does not say, by the names in its row of `tracekit.filetypes`.
        time_unit: The unit of times in ns, for formats that have none of their own.
    """

    NAME: ClassVar[str]
    TOOL: ClassVar[str]
    # The columns that the source can fill, in the order of the rows that `rows` yields.
    FIELDS: ClassVar[tuple[str, ...]]
    # How a file of this format begins; None where that does not tell.
    LOOKS: ClassVar[re.Pattern[bytes] | None] = None
    # Whether times count from 1970, so that traces of several hosts can be brought together.
    EPOCH: ClassVar[bool] = True

    def __init__(
        self, path: str, *, skip_bad: bool = False, options: Mapping[str, str] | None = None, time_unit: int = 1
    ) -> None:
        self.path = path
        self.time_unit = time_unit
        self.skip_bad = skip_bad
        self.options = dict(options or {})
        self.told = Told()
        self.marks: list[Mark] = []
        self.tables: dict[str, StringTable] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        self.begin()

    # -- what an importer says ----------------------------------------------------------------------------------------

    def begin(self) -> None:  # noqa: B027  # most formats need nothing
        """Set what a pass over the file needs; called before each."""

    @abstractmethod
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The ops, one tuple of the values of `FIELDS` each; None where the source does not say."""

    def facts(self) -> dict[str, Any]:
        """What the source tells about itself, for the header: any of command, host, frameworks."""
        return {}

    def mark(self, name: str, t: int, t_end: int, **rest: Any) -> None:
        """Note a span of the program's structure."""
        self.marks.append(Mark(name, t, t_end, **rest))

    def reject(self, line: int, problem: str) -> None:
        """A line that breaks the format.

        Raises:
            TraceFormatError: Unless bad lines are skipped.
        """
        if not self.skip_bad:
            way_out = "pass --skip-bad to leave such lines out" if self.told.ops or line > 1 else f"is it {self.TOOL}?"
            raise TraceFormatError(self.path, line, problem, way_out)
        self.told.bad += 1
        self.told.first_bad = self.told.first_bad or f"{self.path}:{line}: {problem}"

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count something that is no op of a file, such as a call on a socket."""
        self.told.left_out[what] = self.told.left_out.get(what, 0) + count

    def small(self, name: str, value: Any) -> int | None:
        """A number that fits its column: identities that are digests or addresses are numbered as they come."""
        number = number_of(value)
        if number is not None and 0 <= number < 2**31:
            return number
        return None if value is None else self.numbers.setdefault((name, str(value)), len(self.numbers) + 1)

    # -- pieces -------------------------------------------------------------------------------------------------------

    def pieces(self, ops: int) -> Iterator[Trace]:
        """Pieces of at most `ops` ops, with times on the source's clock."""
        rows = self.rows()
        while batch := list(islice(rows, ops)):
            columns = zip(*batch, strict=True)
            piece = self.piece(
                {name: self.encoded(name, values) for name, values in zip(self.FIELDS, columns, strict=True)}
            )
            if len(piece):
                self.told.ops += len(piece)
                yield piece

    def encoded(self, name: str, values: Sequence[Any]) -> IntArray:
        """A column of plain values; strings go into this file's tables."""
        column = COLUMNS[name]
        if column.category:
            return self.table(name).encode(values)
        if name == "sample_id":
            return encode_samples(values, self.table(name))
        numbers = [NULL if value is None else value for value in values] if None in values else values
        try:
            return np.array(numbers, column.dtype)
        except OverflowError:
            return self._in_range(name, numbers)

    def _in_range(self, name: str, numbers: Sequence[int]) -> IntArray:
        """The numbers, without those that no column of this kind can hold."""
        most = int(np.iinfo(COLUMNS[name].dtype).max)
        fitting = [value if NULL <= value <= most else NULL for value in numbers]
        self.leave_out(f"{name} out of range", sum(map(int.__ne__, fitting, numbers)))
        return np.array(fitting, COLUMNS[name].dtype)

    def table(self, name: str) -> StringTable:
        """The string table of a category column."""
        return self.tables.setdefault(name, StringTable())

    def piece(self, columns: dict[str, IntArray]) -> Trace:
        """A piece of these columns; what is missing throughout is left out, and an op that is not named is a read."""
        good = (columns["t_submit"] >= 0) & (columns["len"] >= 0) & (columns["t_submit"] < MAX_NS)
        if not good.all():
            self.leave_out("ops without a usable time or length", int((~good).sum()))
            columns = {name: array[good] for name, array in columns.items()}
        kept = {name: array for name, array in columns.items() if name in _ALWAYS or bool((array != NULL).any())}
        if "op" not in kept:
            kept["op"] = np.full(len(kept["t_submit"]), self.table("op").code("read"), np.int32)
        tables = {name: table for name, table in self.tables.items() if len(table) and name in kept}
        return Trace(kept, tables)


_ALWAYS = ("uri", "offset", "len", "t_submit")


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


# -- bytes in ---------------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed where its first bytes are those of gzip or zstd."""
    with reading.opened(path) as file:
        start = file.peek(4)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as plain:
                yield plain  # type: ignore[misc]  # a GzipFile is a reader of bytes
        elif start[:4] == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(file), "zstd") as plain:
                yield plain
        else:
            yield file


def blocks(source: Foreign) -> Iterator[bytes]:
    """The file's bytes in blocks; what is damaged ends it, and is said."""
    got = 0
    try:
        with opened(source.path) as file:
            while data := file.read(_BLOCK_BYTES):
                got += len(data)
                yield data
    except DAMAGED as error:
        problem = error
    else:
        return
    for data in _rest(source.path, got):
        got += len(data)
        yield data
    if not got:
        raise InputError(f"{source.path} cannot be decompressed ({problem})", "name a whole file") from None
    source.told.cut_short = True
    source.told.warnings.append(
        f"{source.path}: the compressed data is damaged or cut short; what came before it was read"
    )


def _rest(path: str, got: int) -> Iterator[bytes]:
    """What a damaged stream gives behind its first `got` bytes: nothing of the read that meets the damage, so small ones lose little."""
    with suppress(*DAMAGED), opened(path) as file:
        while got > 0 and (data := file.read(min(got, _BLOCK_BYTES))):
            got -= len(data)
        while data := file.read(_BLOCK_BYTES >> 6):
            yield data


def lines(source: Foreign) -> Iterator[tuple[int, bytes]]:
    """The file's lines with their numbers, without line ends; blank ones are left out, endless ones are bad."""
    number, rest, skipping = 1, b"", False
    for block in blocks(source):
        whole = (rest + block).split(b"\n")
        rest = whole.pop()
        if skipping and whole:
            # The end of a line that was too long.
            whole[0], skipping = b"", False
        for text in whole:
            if text and text != b"\r":
                yield number, text
            number += 1
        if skipping or len(rest) > LINE_LIMIT:
            if not skipping:
                source.reject(number, f"the line is longer than {LINE_LIMIT >> 20} MiB")
            rest, skipping = b"", True
    if rest:
        yield number, rest


def number_of(text: Any, scale: Callable[[Any], int] = int) -> int | None:
    """A number that JSON may carry as text; None for what is none, or is out of range.

    Args:
        text: The value.
        scale: From the value to the number wanted.
    """
    if text is None:
        return None
    try:
        value = scale(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if -MAX_NS < value < MAX_NS else None
