"""The trace format itself: JSON Lines, plain or zstd-compressed (docs/trace.md).

Blocks of lines are decoded by msgspec into typed rows and turned into columns at once, so memory is bounded by the chunk
and no object per op outlives it. A block that fails is read again line by line to find the line and the key.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from typing import IO, Annotated, Any

import msgspec
import numpy as np

from tracekit.errors import InputError, TraceFormatError
from tracekit.output import replacing
from tracekit.trace import (
    CATEGORIES,
    COLUMNS,
    NULL,
    SCHEMA_VERSION,
    Header,
    IntArray,
    Mark,
    StringTable,
    Trace,
    Trailer,
    encode_samples,
)

_BLOCK_BYTES = 1 << 22
_LINE_LIMIT = 1 << 24
_CHUNK_OPS = 1 << 18
_WAY_OUT = "mend the line, or pass --skip-bad to leave it out"

_Int = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_AnyTime = Annotated[float, msgspec.Meta(ge=0)]
_Json = dict[str, Any]


class _Line(msgspec.Struct, omit_defaults=True):
    """Any line of a trace; which kind it is shows in the key it has. The order is the order of keys in files."""

    tracekit: int | None = None
    created: str | None = None
    producer: _Json | None = None
    clock: _Json | None = None
    command: list[str] | None = None
    host: _Json | None = None
    frameworks: _Json | None = None
    filters: _Json | None = None
    redacted: bool | None = None
    end: _Json | None = None
    mark: str | None = None
    t: _Time | None = None
    t_end: _Time | None = None
    uri: str | None = None
    offset: _Int | None = None
    len: _Int | None = None
    t_submit: _Time | None = None
    op: str | None = None
    t_complete: _Time | None = None
    ret: _Int | None = None
    err: str | None = None
    t_due: _Time | None = None
    t_first_byte: _Time | None = None
    pid: _Int32 | None = None
    tid: _Int32 | None = None
    rank: _Int32 | None = None
    worker: _Int32 | None = None
    epoch: _Int32 | None = None
    step: _Int32 | None = None
    sample_id: int | str | None = None
    layer: str | None = None
    level: str | None = None
    attempts: _Int32 | None = None
    flags: str | None = None


class _ScaledLine(_Line):
    """A line of a file whose times are not nanoseconds and may have fractions."""

    t: _AnyTime | None = None  # type: ignore[assignment]
    t_end: _AnyTime | None = None  # type: ignore[assignment]
    t_submit: _AnyTime | None = None  # type: ignore[assignment]
    t_complete: _AnyTime | None = None  # type: ignore[assignment]
    t_due: _AnyTime | None = None  # type: ignore[assignment]
    t_first_byte: _AnyTime | None = None  # type: ignore[assignment]


_TIMES = ("t", "t_end", "t_submit", "t_complete", "t_due", "t_first_byte")
_OP_KEYS = tuple(COLUMNS)
_ALWAYS = ("uri", "offset", "len", "t_submit", "op")
_op_values = operator.attrgetter(*_OP_KEYS)


def load(path: str, *, time_unit: int, skip_bad: bool) -> Trace:
    """Read a whole file (see `tracekit.formats.load`)."""
    parts = list(chunks(path, ops=_CHUNK_OPS, time_unit=time_unit, skip_bad=skip_bad))
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([part.col(name) for part in parts])
        for name in COLUMNS
        if any(name in part for part in parts)
    }
    last = parts[-1]
    marks = [mark for part in parts for mark in part.marks]
    tables = {name: last.tables[name] for name in columns if name in last.tables}
    return Trace(columns, tables, marks, last.header, last.trailer, last.warnings)


def chunks(path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    reader = _Reader(path, time_unit, skip_bad)
    pending: list[_Line] = []
    with _source(path) as file:
        for number, block, last in _blocks(file, path, reader):
            pending += reader.ops_of(number, block, last)
            while len(pending) > ops:
                yield reader.piece(pending[:ops])
                del pending[:ops]
    yield reader.finish(pending)


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Write a trace; `.zst` in the name compresses it; `-` is standard output."""
    name = os.fspath(path)
    if name == "-":
        _write(trace, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with replacing(name, force=force) as file, _compressing(file, name) as sink:
        _write(trace, sink)


class _Reader:
    """Turns blocks of lines into pieces of a trace, and keeps what belongs to the whole."""

    def __init__(self, path: str, time_unit: int, skip_bad: bool) -> None:
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
        self._plain = msgspec.json.Decoder(_Line)
        self._decoder: msgspec.json.Decoder[Any] = (
            self._plain if time_unit == 1 else msgspec.json.Decoder(_ScaledLine)
        )

    def ops_of(self, number: int, block: bytes, last: bool) -> list[_Line]:
        """The op lines of a block whose first line has this number; headers, marks and trailers are kept aside."""
        if number > 1:  # the first block may hold a header, which decides how the lines after it are read
            try:
                rows: list[_Line] = self._decoder.decode_lines(block)
            except (msgspec.DecodeError, UnicodeDecodeError):
                rows = []
            if rows and all(row.uri is not None and row.len is not None and row.t_submit is not None for row in rows):
                return rows
        return [row for line, row in self._line_by_line(number, block, last) if self._sorted_out(line, row)]

    def _line_by_line(self, number: int, block: bytes, last: bool) -> Iterator[tuple[int, _Line]]:
        lines = block.split(b"\n")
        for line, text in enumerate(lines, number):
            if not text.strip():
                continue
            try:
                yield line, self._decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                unfinished = last and line == number + len(lines) - 1
                self._bad_line(line, text, error, unfinished=unfinished)

    def _bad_line(self, line: int, text: bytes, error: Exception, *, unfinished: bool) -> None:
        if unfinished and (self.ops or self.header or line > 1):
            self.warnings.append(f"{self.path}:{line}: the last line is cut short and was left out")
            return
        self._reject(line, _problem(text, error))

    def _reject(self, line: int, problem: str) -> None:
        if not self.skip_bad:
            raise TraceFormatError(self.path, line, problem, _WAY_OUT if self.ops or line > 1 else _NOT_A_TRACE)
        self.bad += 1
        self.first_bad = self.first_bad or f"{self.path}:{line}: {problem}"

    def _sorted_out(self, line: int, row: _Line) -> bool:
        """Whether the row is an op; anything else is put where it belongs."""
        if row.uri is not None:
            missing = next((key for key in ("len", "t_submit") if getattr(row, key) is None), None)
            if missing:
                self._reject(line, f"the op has no `{missing}`")
            return missing is None
        if row.tracekit is not None:
            self._take_header(line, row)
        elif row.end is not None:
            self.trailer = _trailer(row.end)
        elif row.mark is not None and row.t is not None:
            self.marks.append(Mark(row.mark, self._ns(row.t), self._ns(row.t_end), row.step, row.epoch, row.pid))
        elif row.len is not None or row.t_submit is not None:
            self._reject(line, "the op has no `uri`")
        else:
            self._reject(line, "the line is no op, no mark, no header and no trailer")
        return False

    def _take_header(self, line: int, row: _Line) -> None:
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
        names = [field.name for field in fields(Header)]
        known = {name: value for name in names if (value := getattr(row, name)) is not None}
        self.header = Header(**known)
        # A header says its times are nanoseconds; --time-unit is for files without one.
        self.unit, self._decoder = 1, self._plain

    def _ns(self, value: float | None) -> Any:
        if value is None or self.unit == 1:
            return value
        return round(value * self.unit)

    def piece(self, rows: Sequence[_Line]) -> Trace:
        """A piece of the trace made of these rows, with the marks seen since the last piece."""
        values = list(zip(*map(_op_values, rows), strict=True)) if rows else [()] * len(_OP_KEYS)
        columns = {}
        for name, data in zip(_OP_KEYS, values, strict=True):
            if name in _ALWAYS or data.count(None) < len(data):
                columns[name] = self._column(name, data)
        self.ops += len(rows)
        marks, self.marks = self.marks, []
        tables = {name: table for name, table in self.tables.items() if len(table) and name in columns}
        return Trace(columns, tables, marks, self.header, None, self.warnings)

    def finish(self, rows: Sequence[_Line]) -> Trace:
        """The last piece, with the trailer and everything a reader should be told."""
        piece = self.piece(rows)
        if not self.ops and self.header is None:
            raise InputError(f"{self.path} holds no op", "a trace has at least one op line")
        if self.bad:
            noun = "line was" if self.bad == 1 else "lines were"
            self.warnings.append(f"{self.bad} bad {noun} left out; the first: {self.first_bad}")
        if self.header is not None and self.trailer is None:
            self.warnings.append(f"{self.path} has no trailer: the trace was cut short")
        piece.trailer = self.trailer
        piece.warnings = list(self.warnings)
        return piece

    def _column(self, name: str, data: Sequence[Any]) -> IntArray:
        column = COLUMNS[name]
        if column.category:
            table = self.tables[name]
            if name == "op":
                data = ["read" if value is None else value for value in data]
            return np.fromiter(map(table.code, data), column.dtype, len(data))
        if name == "sample_id":
            return encode_samples(data, self.tables[name])
        if column.unit == "ns" and self.unit != 1:
            data = [None if value is None else self._ns(value) for value in data]
        if None in data:
            data = [NULL if value is None else value for value in data]
        return np.array(data, column.dtype)


_NOT_A_TRACE = "a trace is JSON Lines with `uri`, `offset`, `len` and `t_submit` in every op"


def _problem(text: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the line is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        message = str(error)
        reason, _, place = message.partition(" - at `$.")
        key = place.rstrip("`")
        reason = reason.replace(" | null", "").replace("Expected", "expected")
        return f"`{key}`: {reason}" if key else f"the line is not a JSON object ({reason})"
    sample = text[:40].decode("utf-8", "backslashreplace")
    return f"the line is not JSON ({str(error).removeprefix('JSON is malformed: ')}): {sample!r}"


def _trailer(end: _Json) -> Trailer:
    names = {field.name for field in fields(Trailer)} - {"extra"}
    extra = {key: value for key, value in end.items() if key not in names}
    return Trailer(**{key: value for key, value in end.items() if key in names}, extra=extra)


# -- bytes in ---------------------------------------------------------------------------------------------------------


def _source(path: str) -> AbstractContextManager[IO[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    if path.endswith(".zst"):
        return _zstd_source(path)
    return open(path, "rb")


def _zstd_source(path: str) -> AbstractContextManager[IO[bytes]]:
    import pyarrow as pa

    source: AbstractContextManager[IO[bytes]] = pa.CompressedInputStream(pa.OSFile(path), "zstd")
    return source


def _blocks(file: IO[bytes], path: str, reader: _Reader) -> Iterator[tuple[int, bytes, bool]]:
    """Blocks of whole lines with the number of their first line, and whether it is the file's unfinished end."""
    number, rest = 1, b""
    while True:
        try:
            data = file.read(_BLOCK_BYTES)
        except OSError as error:
            if not reader.ops and number == 1:
                raise InputError(f"{path} is not a zstd file ({error})", "name a trace file") from None
            reader.warnings.append(f"{path}: the compressed data is damaged or cut short; what came before it was read")
            data = b""
        if number == 1 and not rest:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data:
            break
        end = data.rfind(b"\n") + 1
        if not end:
            rest += data
            if len(rest) > _LINE_LIMIT:
                raise TraceFormatError(path, number, f"the line is longer than {_LINE_LIMIT} bytes", _NOT_A_TRACE)
            continue
        block = rest + data[:end]
        yield number, block, False
        number += block.count(b"\n")
        rest = data[end:]
    if rest.strip():
        yield number, rest, True


# -- bytes out --------------------------------------------------------------------------------------------------------


def _compressing(file: IO[bytes], name: str) -> AbstractContextManager[IO[bytes]]:
    if not name.endswith(".zst"):
        return nullcontext(file)
    import pyarrow as pa

    sink: AbstractContextManager[IO[bytes]] = pa.CompressedOutputStream(file, "zstd")
    return sink


def _write(trace: Trace, sink: IO[bytes], ops: int = 65_536) -> None:
    encoder = msgspec.json.Encoder()
    if trace.header is not None:
        sink.write(encoder.encode(header_line(trace.header)) + b"\n")
    for mark in trace.marks:
        line = _Line(mark=mark.mark, t=mark.t, t_end=mark.t_end, step=mark.step, epoch=mark.epoch, pid=mark.pid)
        sink.write(encoder.encode(line) + b"\n")
    for start in range(0, len(trace), ops):
        sink.write(encoder.encode_lines(_rows(trace, slice(start, start + ops))))
    if trace.trailer is not None:
        sink.write(encoder.encode({"end": trailer_json(trace.trailer)}) + b"\n")


def header_line(header: Header) -> _Json:
    """The header as the JSON object of the first line."""
    return {"tracekit": SCHEMA_VERSION, **{key: value for key, value in asdict(header).items() if value}}


def trailer_json(trailer: Trailer) -> _Json:
    """The trailer as the JSON object under `end`."""
    values = asdict(trailer)
    extra = values.pop("extra")
    optional = ("residency", "run")
    return {key: value for key, value in values.items() if value or key not in optional} | extra


def _rows(trace: Trace, part: slice) -> list[_Line]:
    names = list(trace.columns)
    values = [_texts(trace, name, part) for name in names]
    return [_Line(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]


def _texts(trace: Trace, name: str, part: slice) -> list[Any]:
    array = trace.columns[name][part]
    table = trace.strings(name)
    data: list[Any] = array.tolist()
    if COLUMNS[name].category:
        return [table[code] if code != NULL else None for code in data]
    if name == "sample_id" and table:
        return [trace.sample_name(code) for code in data]
    if bool((array == NULL).any()):
        return [None if value == NULL else value for value in data]
    return data
