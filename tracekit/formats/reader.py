"""Reading lines: blocks of them become columns; headers, marks and trailers are kept aside; bad lines are named."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tracekit.errors import InputError, TraceFormatError
from tracekit.formats.lines import (
    MALFORMED,
    NOTHING,
    MarkLine,
    OpLine,
    OtherLine,
    ScaledOpLine,
    header_of,
    problem,
    trailer_of,
)
from tracekit.trace import (
    ALWAYS,
    CATEGORIES,
    COLUMNS,
    NULL,
    SCHEMA_VERSION,
    TIME_COLUMNS,
    Header,
    IntArray,
    Mark,
    StringTable,
    Trace,
    Trailer,
    encode_samples,
)

LINE_LIMIT = 1 << 24
_WAY_OUT = "mend the line, or pass --skip-bad to leave it out"
_NOT_A_TRACE = (
    "a trace is JSON Lines with `uri`, `offset`, `len` and `t_submit` in every op, or another tool's file that "
    "`tracekit convert --help` lists"
)
NoneType = type(None)

OP_KEYS = tuple(COLUMNS)
_GETTERS: dict[str, Callable[[OpLine], Any]] = {name: operator.attrgetter(name) for name in OP_KEYS}
OTHER_DECODER = msgspec.json.Decoder(OtherLine)
MARK_DECODER = msgspec.json.Decoder(MarkLine)

Columns = dict[str, IntArray]


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: how many there are, the number of the first, and whether they are its unfinished end."""

    number: int
    lines: int
    text: memoryview
    last: bool


class Reader:
    """Turns blocks of lines into pieces of a trace, and keeps what belongs to the whole."""

    def __init__(self, path: str, time_unit: int, *, skip_bad: bool) -> None:
        self.path = path
        self.skip_bad = skip_bad
        self.unit = time_unit
        self.header: Header | None = None
        self.trailer: Trailer | None = None
        self.marks: list[Mark] = []
        self.bad = 0
        self.first_bad = ""
        self.ops = 0
        self.warnings: list[str] = []
        self.tables = {name: StringTable() for name in (*CATEGORIES, "sample_id")}
        self.tables["op"].code("read")
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(OpLine if time_unit == 1 else ScaledOpLine)

    def lines_in(self, text: memoryview) -> int:
        """How many lines end in a text: `bytes.count` takes eight times as long."""
        return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))

    def columns_of(self, block: Block) -> Columns:
        """The columns of a block; what is no op is kept aside."""
        whole, rows = bytes(block.text), None
        # The first block may hold a header, which decides how the lines after it are read.
        if block.number > 1 and not block.last:
            rows = self._at_once(whole)
        if rows is None:
            lines = _lines(block.number, whole)
            rows = [row for line, text in lines if (row := self._row(line, text, last=block.last)) is not None]
        if not rows:
            return empty_columns()
        columns = {name: self._column(name, rows) for name in OP_KEYS}
        return {name: array for name, array in columns.items() if name in ALWAYS or bool((array != NULL).any())}

    def _at_once(self, block: bytes) -> list[OpLine] | None:
        """The rows of a block that holds nothing but good ops, one a line; None for any other block."""
        try:
            rows: list[OpLine] = self._decoder.decode_lines(block)
        except MALFORMED:
            return None
        if len(rows) != block.count(b"\n") or None in map(_GETTERS["uri"], rows):
            return None
        for name in ("len", "t_submit"):
            if any(value in NOTHING for value in {*map(_GETTERS[name], rows)}):
                return None
        if self.unit != 1 and not all(map(self._in_range, rows)):
            return None
        self.ops += len(rows)
        return rows

    def _in_range(self, row: OpLine) -> bool:
        return self.unit == 1 or all((getattr(row, name) or 0) * self.unit < 2**63 for name in TIME_COLUMNS)

    def _row(self, line: int, text: bytes, *, last: bool) -> OpLine | None:
        """The op of a line; None when it is something else, which is put where it belongs."""
        try:
            row: OpLine = self._decoder.decode(text)
            if row.uri is None:
                self._take_other(line, text, row)
                return None
        except MALFORMED as error:
            self._bad_line(line, text, error, unfinished=last)
            return None
        missing = next((key for key in ("len", "t_submit") if getattr(row, key) in NOTHING), None)
        if missing:
            self._reject(line, f"the op has no `{missing}`")
        elif not self._in_range(row):
            self._reject(line, "a time is beyond 2^63 ns")
        else:
            self.ops += 1
            return row
        return None

    def _bad_line(self, line: int, text: bytes, error: Exception, *, unfinished: bool) -> None:
        if unfinished and (self.ops or self.header or line > 1):
            self.warnings.append(f"{self.path}:{line}: the last line is cut short and was left out")
            return
        self._reject(line, problem(text, error))

    def _reject(self, line: int, problem: str) -> None:
        if not self.skip_bad:
            raise TraceFormatError(self.path, line, problem, _WAY_OUT if self.ops or line > 1 else _NOT_A_TRACE)
        self.bad += 1
        self.first_bad = self.first_bad or f"{self.path}:{line}: {problem}"

    def too_long(self, line: int) -> None:
        """A line that does not fit into memory meant for lines."""
        self._reject(line, f"the line is longer than {LINE_LIMIT >> 20} MiB")

    def _take_other(self, line: int, text: bytes, row: OpLine) -> None:
        other = OTHER_DECODER.decode(text)
        if other.tracekit is not None:
            self._take_header(line, other)
        elif other.end is not None:
            self.trailer = trailer_of(other.end)
        elif other.mark is not None:
            self._take_mark(line, text, other)
        elif row.len not in NOTHING or row.t_submit not in NOTHING:
            self._reject(line, "the op has no `uri`")
        else:
            self._reject(line, "the line is no op, no mark, no header and no trailer")

    def _take_mark(self, line: int, text: bytes, other: OtherLine) -> None:
        if other.t is None:
            self._reject(line, "the mark has no `t`")
            return
        # Nanoseconds are integers: through a double they would lose their last digits.
        exact = MARK_DECODER.decode(text) if self.unit == 1 else None
        t, t_end = (exact.t, exact.t_end) if exact else (self._ns(other.t), self._ns(other.t_end))
        if max(t, t_end or 0) >= 2**63:
            self._reject(line, "a time is beyond 2^63 ns")
            return
        self.marks.append(Mark(other.mark or "", t, t_end, other.step, other.epoch, other.pid))

    def _ns(self, value: float | None) -> Any:
        return None if value is None else round(value * self.unit)

    def _take_header(self, line: int, row: OtherLine) -> None:
        if row.tracekit != SCHEMA_VERSION:
            raise TraceFormatError(
                self.path,
                line,
                f"the trace has schema version {row.tracekit}, this tracekit reads version {SCHEMA_VERSION}",
                "use the tracekit that wrote it, or a newer one",
            )
        if self.header is not None:
            self._reject(line, "a second header")
            return
        if self.ops or self.marks:
            self._reject(line, "the header is not the first line")
            return
        self.header = header_of(row)
        # A header says its times are nanoseconds; --time-unit is for files without one.
        self.unit, self._decoder = 1, msgspec.json.Decoder(OpLine)

    def _column(self, name: str, rows: Sequence[OpLine]) -> IntArray:
        column = COLUMNS[name]
        scaled = column.unit == "ns" and self.unit != 1
        if not (column.category or scaled or name == "sample_id"):
            # Straight from the rows; a null among them is no number and takes the longer way below.
            with suppress(TypeError):
                return np.fromiter(map(_GETTERS[name], rows), column.dtype, len(rows))
        values = list(map(_GETTERS[name], rows))
        if column.category:
            return self._codes(name, values)
        if name == "sample_id":
            return _samples(values, self.tables[name])
        if None in values:
            values = [NULL if value is None else value for value in values]
        if scaled:
            times = np.array(values, np.float64)
            return np.where(times == NULL, NULL, np.rint(times * self.unit)).astype(np.int64)
        return np.array(values, column.dtype)

    def _codes(self, name: str, values: Sequence[str | None]) -> IntArray:
        if name == "op" and None in values:
            values = ["read" if value is None else value for value in values]
        return self.tables[name].encode(values)

    def piece(self, columns: Columns) -> Trace:
        """A piece of the trace with these columns, and the marks seen since the last piece."""
        marks, self.marks = self.marks, []
        tables = {name: table for name, table in self.tables.items() if len(table) and name in columns}
        return Trace(columns, tables, marks, self.header, None, self.warnings)

    def finish(self, columns: Columns) -> Trace:
        """The last piece, with the trailer and everything a reader should be told."""
        piece = self.piece(columns)
        if not self.ops and self.header is None:
            way_out = f"the first bad line: {self.first_bad}" if self.bad else "a trace has at least one op line"
            raise InputError(f"{self.path} holds no op", way_out)
        if self.bad:
            noun = "line was" if self.bad == 1 else "lines were"
            self.warnings.append(f"{self.bad} bad {noun} left out; the first: {self.first_bad}")
        if self.header is not None and self.trailer is None:
            self.warnings.append(f"{self.path} has no trailer: the trace was cut short")
        piece.trailer = self.trailer
        piece.warnings = list(self.warnings)
        return piece


def _lines(number: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    return ((line, text) for line, text in enumerate(block.split(b"\n"), number) if text.strip())


def _samples(values: Sequence[int | str | None], table: StringTable) -> IntArray:
    # By type, not by trying: NumPy would take the text "5" for the number 5, which is another sample.
    kinds = {*map(type, values)}
    if kinds <= {int, NoneType}:
        numbers = [NULL if value is None else value for value in values] if None in values else values
        with suppress(OverflowError):
            codes = np.array(numbers, np.int64)
            if bool((codes >= 0).all()) or (NULL not in values and NoneType in kinds and int(codes.min()) == NULL):
                return codes
    return encode_samples(values, table)


def empty_columns() -> Columns:
    """The columns of no ops."""
    return {name: np.zeros(0, COLUMNS[name].dtype) for name in ALWAYS}


def join_columns(parts: Sequence[Columns]) -> Columns:
    """The columns of several blocks in one, NULL where a block did not have one."""
    if len(parts) == 1:
        return parts[0]
    names = [name for name in OP_KEYS if name in ALWAYS or any(name in part for part in parts)]
    return (
        {name: np.concatenate([_column_of(part, name) for part in parts]) for name in names}
        if parts
        else empty_columns()
    )


def _column_of(part: Columns, name: str) -> IntArray:
    found = part.get(name)
    return np.full(len(part["uri"]), NULL, COLUMNS[name].dtype) if found is None else found
