"""The compact form, `.tkc`: a trace in as few bytes as it takes, written and read in one go from front to back.

    file     magic "TKC" and a byte of version, then blocks to the end
    block    kind (4 letters), bytes, CRC-32 of them; then the bytes
    HEAD     the object of a trace's first line, as JSON in zstd
    MARK     marks in columns, as JSON in zstd
    OPSS     rows, columns, bytes of strings; then the strings that are new since the last block (JSON in zstd, by column), and
             for each column its number, way (see `planes`; 128 more: its words are ranks of a table, see `ranked`), planes, and
             bytes; then those bytes: planes in zstd
    TAIL     {"ops": how many, "end": what stands under `end` in a trace's last line, or null}; the last block

What is cut short is read up to the last whole block, and said to be so. Every length is checked before memory is taken.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np

from tracekit.errors import InputError
from tracekit.formats import planes, ranked, reading
from tracekit.formats.lines import MarkLine, OtherLine, header_line, header_of, trailer_json, trailer_of
from tracekit.formats.reader import join_columns
from tracekit.formats.recode import Recoder
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import (
    ALWAYS,
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
)
from tracekit.uri import utf8

if TYPE_CHECKING:
    import pyarrow as pa

# 1: the first published layout. 2: columns may be ranks of a table. Both are read.
MAGIC = b"TKC\x02"
_RANKED = 128
BLOCK_ROWS = 1 << 16
_BLOCK = Struct("<4sII")
_OPS = Struct("<III")
_COLUMN = Struct("<BBBxI")
_SIZE = Struct("<I")
_BLOCK_LIMIT = 1 << 28
_ROW_LIMIT = 1 << 20
_JSON_LIMIT = 1 << 28
_LEVEL = 6
_TRIED_ROWS = 1 << 13
_NAMES = tuple(COLUMNS)
_TEXTS = (*CATEGORIES, "sample_id")
_ORDER = (*planes.FIRST, *(name for name in _NAMES if name not in planes.FIRST))
_MARK_KEYS = tuple(MarkLine.__struct_fields__)


class _Damaged(Exception):  # noqa: N818  # it ends a file, not a program
    """A block is not what it should be, or is not all there."""


# -- in ---------------------------------------------------------------------------------------------------------------


def load(path: str, *, time_unit: int, skip_bad: bool) -> Trace:
    """Read a whole file (see `tracekit.formats.load`); times are nanoseconds always."""
    pieces = list(chunks(path, ops=BLOCK_ROWS, time_unit=time_unit, skip_bad=skip_bad))
    last = pieces[-1]
    marks = [mark for piece in pieces for mark in piece.marks]
    columns = join_columns([piece.columns for piece in pieces])
    tables = {name: table for piece in pieces for name, table in piece.tables.items()}
    return Trace(columns, tables, marks, last.header, last.trailer, last.warnings)


def chunks(path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:  # noqa: ARG001  # as all formats
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    from tracekit.formats.registry import pieces_of

    reader = _Reader(path)
    with reading.opened(path) as file:
        before: Trace | None = None
        for columns in reader.blocks(file):
            for part in pieces_of(reader.piece(columns), ops):
                if before is not None:
                    yield before
                before = part
    yield reader.finish(before)


class _Reader:
    def __init__(self, path: str) -> None:
        self.path = path
        self.header: Header | None = None
        self.trailer: Trailer | None = None
        self.marks: list[Mark] = []
        self.tables = {name: StringTable() for name in _TEXTS}
        self.warnings: list[str] = []
        self.ops = 0
        self._ended = False

    def blocks(self, file: IO[bytes]) -> Iterator[dict[str, IntArray]]:
        """The columns of each block of ops; what is no op is kept aside."""
        magic = file.read(len(MAGIC))
        if magic[:3] != MAGIC[:3]:
            raise InputError(f"{self.path} is no compact trace: it does not begin with TKC", "name a trace file")
        if not MAGIC[:3] + b"\x01" <= magic <= MAGIC or len(magic) < len(MAGIC):
            version = magic[3] if len(magic) == len(MAGIC) else "none"
            raise InputError(
                f"{self.path} has layout {version}, this tracekit reads layouts 1 to {MAGIC[3]}",
                "use the tracekit that wrote it, or a newer one",
            )
        try:
            while (block := _block(file)) is not None and not self._ended:
                kind, data = block
                if kind == b"OPSS":
                    yield self._columns(data)
                else:
                    self._take(kind, data)
        except (_Damaged, OSError, ValueError, IndexError, KeyError, TypeError, msgspec.MsgspecError) as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        if not self.ops and self.header is None:
            raise InputError(
                f"{self.path} cannot be read: it is damaged or cut short ({error})", "write it again"
            ) from None
        self.warnings.append(f"{self.path}: the file is damaged or cut short; what came before it was read")

    def _take(self, kind: bytes, data: bytes) -> None:
        value = _unpacked(data)
        if kind == b"HEAD":
            line = msgspec.convert(value, OtherLine)
            if line.tracekit != SCHEMA_VERSION:
                raise InputError(
                    f"{self.path} has schema version {line.tracekit}, this tracekit reads version {SCHEMA_VERSION}",
                    "use the tracekit that wrote it, or a newer one",
                )
            self.header = header_of(line)
        elif kind == b"MARK":
            rows = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
            lines = msgspec.convert(rows, list[MarkLine])
            self.marks += [Mark(line.mark, line.t, line.t_end, line.step, line.epoch, line.pid) for line in lines]
        elif kind == b"TAIL":
            if value["ops"] != self.ops:
                raise _Damaged(f"it has {self.ops} of {value['ops']} ops")
            self.trailer = None if value["end"] is None else trailer_of(value["end"])
            self._ended = True

    def _columns(self, data: bytes) -> dict[str, IntArray]:
        rows, count, string_bytes = _OPS.unpack_from(data)
        if rows > _ROW_LIMIT or count > len(COLUMNS) or _OPS.size + string_bytes > len(data):
            raise _Damaged("a block says more than it can hold")
        place = _OPS.size + string_bytes
        self._learn(_unpacked(data[_OPS.size : place]) if string_bytes else {})
        heads = [_COLUMN.unpack_from(data, place + number * _COLUMN.size) for number in range(count)]
        place += count * _COLUMN.size
        left: dict[str, tuple[int, Any]] = {}
        for number, way, width, size in heads:
            if width > 8 or way & ~_RANKED > planes.LAST_WAY or place + size > len(data):
                raise _Damaged("a column says more than it can hold")
            body = data[place : place + size]
            left[_NAMES[number]] = way & ~_RANKED, _words(width, body, rows, is_ranked=bool(way & _RANKED))
            place += size
        wide = _restored(left, rows)
        if any(name not in wide for name in ALWAYS):
            raise _Damaged("a block lacks a column")
        self.ops += rows
        return {name: self._checked(name, wide[name]) for name in _NAMES if name in wide}

    def _learn(self, strings: Mapping[str, Sequence[str]]) -> None:
        for name, added in strings.items():
            for text in added:
                self.tables[name].code(text)

    def _checked(self, name: str, values: IntArray) -> IntArray:
        """A column in its type, every code within its table."""
        column = COLUMNS[name]
        least = NULL - len(self.tables[name]) if name == "sample_id" else NULL
        most = len(self.tables[name]) - 1 if column.category else int(np.iinfo(column.dtype).max)
        if len(values) and (int(values.min()) < least or int(values.max()) > most):
            raise _Damaged(f"a value of `{name}` is out of range")
        return values.astype(column.dtype)

    def piece(self, columns: Mapping[str, IntArray]) -> Trace:
        """A piece of the trace with these columns, and the marks seen since the last one."""
        marks, self.marks = self.marks, []
        tables = {name: table for name, table in self.tables.items() if len(table) and name in columns}
        return Trace(columns, tables, marks, self.header, None, self.warnings)

    def finish(self, last: Trace | None) -> Trace:
        """The last piece, with the trailer and everything a reader should be told."""
        if not self._ended and not self.warnings:
            self._stop(_Damaged("it has no end"))
        rest = self.piece({name: np.zeros(0, COLUMNS[name].dtype) for name in ALWAYS})
        last = rest if last is None else last
        if self.header is not None and self.trailer is None:
            self.warnings.append(f"{self.path} has no trailer: the trace was cut short")
        if not self.ops and self.header is None:
            raise InputError(f"{self.path} holds no op", "a trace has at least one op")
        marks = last.marks if last is rest else [*last.marks, *rest.marks]
        return Trace(last.columns, last.tables, marks, self.header, self.trailer, self.warnings)


def _restored(left: Mapping[str, tuple[int, Any]], rows: int) -> dict[str, IntArray]:
    """The columns of which so much was left, each after those that it was predicted from."""
    others: dict[str, IntArray] = {"tid": np.full(rows, NULL, np.int64), planes.SERVICE: np.zeros(rows, np.int64)}
    if "t_complete" in left:
        others[planes.SERVICE] = planes.unfolded(left["t_complete"][1]).view(np.int64)
    for name in _ORDER:
        if name in left:
            others[name] = planes.restored(*left[name], others)
    return {name: others[name] for name in left}


def _words(width: int, body: bytes, rows: int, *, is_ranked: bool) -> Any:
    if is_ranked:
        return ranked.looked_up(width, body, rows, _inflated)
    return planes.from_planes(width, _inflated(body, width * rows), rows)


def _block(file: IO[bytes]) -> tuple[bytes, bytes] | None:
    head = file.read(_BLOCK.size)
    if not head:
        return None
    if len(head) < _BLOCK.size:
        raise _Damaged("a block has no head")
    kind, size, checksum = _BLOCK.unpack(head)
    if size > _BLOCK_LIMIT:
        raise _Damaged("a block is too large")
    data = file.read(size)
    if len(data) < size or zlib.crc32(data) != checksum:
        raise _Damaged("a block is not as it was written")
    return kind, data


def _unpacked(data: bytes) -> Any:
    (size,) = _SIZE.unpack_from(data)
    if size > _JSON_LIMIT:
        raise _Damaged("a text is too large")
    return msgspec.json.decode(_inflated(data[_SIZE.size :], size))


def _inflated(data: bytes, size: int) -> bytes:
    if not size:
        return b""
    plain: bytes = _codec().decompress(data, size, asbytes=True)
    return plain


def _codec() -> pa.Codec:
    import pyarrow as pa

    return pa.Codec("zstd", _LEVEL)


# -- out --------------------------------------------------------------------------------------------------------------


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[CompactWriter]:
    """A writer of the file piece by piece (see `tracekit.formats.writing`)."""
    with replacing(path, force=force) as file:
        writer = CompactWriter(file)
        yield writer
        writer.finish()


class _WrittenTable(StringTable):
    """Strings as they can be written: two that UTF-8 cannot tell apart are one."""

    def code(self, text: str | None) -> int:
        """The code of `text` as it can be written, adding it if it is new."""
        return super().code(None if text is None else utf8(text))


class CompactWriter(Writer):
    """Gathers pieces into blocks of `BLOCK_ROWS` ops and writes each as it is full."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink
        self._codec = _codec()
        self._tables = {name: _WrittenTable() for name in _TEXTS}
        self._told = dict.fromkeys(_TEXTS, 0)
        self._waiting: list[dict[str, IntArray]] = []
        self._rows = 0
        self._ops = 0
        self._end: Any = None
        self._recoder = Recoder(self._tables)
        sink.write(MAGIC)

    def header(self, header: Header) -> None:
        """Write the header."""
        self._write(b"HEAD", self._packed(header_line(header)))

    def marks(self, marks: Sequence[Mark]) -> None:
        """Write marks."""
        if marks:
            rows = [(utf8(mark.mark), mark.t, mark.t_end, mark.step, mark.epoch, mark.pid) for mark in marks]
            columns = map(list, zip(*rows, strict=True))
            self._write(b"MARK", self._packed(dict(zip(_MARK_KEYS, columns, strict=True))))

    def ops(self, piece: Trace) -> None:
        """Take the ops of a piece; a block is written when there are enough."""
        columns = self._recoder.columns(piece)
        start = 0
        while start < len(piece):
            stop = min(start + BLOCK_ROWS - self._rows, len(piece))
            self._waiting.append({name: array[start:stop] for name, array in columns.items()})
            self._rows += stop - start
            if self._rows == BLOCK_ROWS:
                self._flush()
            start = stop

    def trailer(self, trailer: Trailer) -> None:
        """Keep the trailer for the last block."""
        self._end = trailer_json(trailer)

    def finish(self) -> None:
        """Write what waits, and the last block."""
        if self._rows:
            self._flush()
        self._write(b"TAIL", self._packed({"ops": self._ops, "end": self._end}))

    def _flush(self) -> None:
        columns = join_columns(self._waiting)
        nothing = np.full(self._rows, NULL, np.int64)
        others = {name: columns.get(name, nothing).astype(np.int64) for name in planes.FIRST}
        complete = columns.get("t_complete", others["t_submit"])
        others[planes.SERVICE] = (complete.view(np.uint64) - others["t_submit"].view(np.uint64)).view(np.int64)
        heads, bodies = [], []
        for name in _ORDER:
            if name in columns and (name in ALWAYS or bool((columns[name] != NULL).any())):
                way, width, body = self._column(name, columns[name], others)
                heads.append(_COLUMN.pack(_NAMES.index(name), way, width, len(body)))
                bodies.append(body)
        strings = self._strings()
        head = _OPS.pack(self._rows, len(heads), len(strings))
        self._write(b"OPSS", b"".join([head, strings, *heads, *bodies]))
        self._ops += self._rows
        self._waiting, self._rows = [], 0

    def _column(self, name: str, values: IntArray, others: Mapping[str, IntArray]) -> tuple[int, int, bytes]:
        """(way, planes, their bytes): by the way that makes the first rows smallest."""
        ways = planes.WAYS.get(name, planes.ORDINARY)
        way = ways[0]
        if len(ways) > 1:
            first = {key: array[:_TRIED_ROWS] for key, array in others.items()}
            way = min(ways, key=lambda one: len(self._planes(planes.residue(one, values[:_TRIED_ROWS], first))[1]))
        words = planes.residue(way, values, others)
        plain = self._planes(words)
        # What fits into a byte a row, or into next to nothing, has nothing to win.
        ranks = ranked.tabled(words, self._compressed) if plain[0] > 1 and len(plain[1]) > len(words) // 4 else None
        if ranks is not None and len(ranks[1]) < len(plain[1]):
            return (way | _RANKED, *ranks)
        return (way, *plain)

    def _planes(self, words: Any) -> tuple[int, bytes]:
        width, data = planes.to_planes(words)
        return width, self._compressed(data)

    def _compressed(self, data: bytes) -> bytes:
        return bytes(self._codec.compress(data, asbytes=True)) if data else b""

    def _strings(self) -> bytes:
        added = {name: table.strings[self._told[name] :] for name, table in self._tables.items()}
        self._told = {name: len(table) for name, table in self._tables.items()}
        kept = {name: texts for name, texts in added.items() if texts}
        return self._packed(kept) if kept else b""

    def _packed(self, value: Any) -> bytes:
        text = msgspec.json.encode(value)
        return _SIZE.pack(len(text)) + bytes(self._codec.compress(text, asbytes=True))

    def _write(self, kind: bytes, data: bytes) -> None:
        self._sink.write(_BLOCK.pack(kind, len(data), zlib.crc32(data)) + data)
