"""Writing a trace as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

import msgspec

from tracekit.formats.emit import QuickLines
from tracekit.formats.lines import MarkLine, OpLine, header_line, trailer_json
from tracekit.formats.native import native_core
from tracekit.formats.reader import OP_KEYS
from tracekit.formats.writer import Writer
from tracekit.trace import COLUMNS, NULL, Header, Mark, StringTable, Trace, Trailer, name_code
from tracekit.uri import utf8

_OPS_AT_ONCE = 16_384


class Sink(Protocol):
    """What takes bytes: a file, or what compresses them on their way."""

    def write(self, data: bytes, /) -> int:
        """Take bytes."""


class LineWriter(Writer):
    """Writes the lines of a trace to an open file, in the order in which they are given."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._encoder = msgspec.json.Encoder()
        self._emit = _emitter()

    def header(self, header: Header) -> None:
        """Write the first line."""
        self._sink.write(self._encoder.encode(header_line(header)) + b"\n")

    def marks(self, marks: Sequence[Mark]) -> None:
        """Write mark lines."""
        for mark in marks:
            line = MarkLine(mark.mark, mark.t, mark.t_end, mark.step, mark.epoch, mark.pid)
            self._sink.write(self._encoder.encode(line) + b"\n")

    def ops(self, piece: Trace) -> None:
        """Write the op lines of a piece."""
        for lines in self._emit(piece):
            self._sink.write(lines)

    def trailer(self, trailer: Trailer) -> None:
        """Write the last line."""
        self._sink.write(self._encoder.encode({"end": trailer_json(trailer)}) + b"\n")


def _emitter() -> Callable[[Trace], Iterator[bytes]]:
    """The native core's way to lines where there is a core, else Python's."""
    core = native_core()
    return QuickLines(core) if core else PythonLines()


class PythonLines:
    """Op lines of pieces of a trace, by msgspec: what the quick way is held against."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()
        self._tables: dict[str, tuple[StringTable | None, list[str]]] = {}

    def __call__(self, piece: Trace) -> Iterator[bytes]:
        """The lines, some thousand at a time."""
        tables = {name: self._table(piece, name) for name in piece.columns}
        for start in range(0, len(piece), _OPS_AT_ONCE):
            yield self._encoder.encode_lines(_rows(piece, tables, slice(start, start + _OPS_AT_ONCE)))

    def _table(self, piece: Trace, name: str) -> list[str]:
        """The strings of a table as UTF-8; of a table that has grown, only what is new is looked at."""
        table = piece.tables.get(name)
        seen, known = self._tables.get(name, (None, []))
        if table is None or seen is not table:
            known = []
            self._tables[name] = (table, known)
        known += [utf8(text) for text in piece.strings(name)[len(known) :]]
        return known


def _rows(trace: Trace, tables: Mapping[str, Sequence[str]], part: slice) -> list[OpLine]:
    columns: list[Iterable[Any]] = [
        _values(trace, name, tables[name], part) if name in trace else repeat(default)
        for name, default in zip(OP_KEYS, OpLine.__struct_defaults__, strict=True)
    ]
    return list(map(OpLine, *columns))


def _values(trace: Trace, name: str, table: Sequence[str], part: slice) -> list[Any]:
    array = trace.columns[name][part]
    data: list[Any] = array.tolist()
    if COLUMNS[name].category:
        texts = [*table, None]  # NULL is -1: the last
        return [texts[code] for code in data]
    if name == "sample_id":
        return data if bool((array >= 0).all()) else [_sample(code, table) for code in data]
    if name == "offset" and bool((array == NULL).any()):
        # The one key whose null is written: a reader must see that the place is not known, not assume 0.
        return [None if value == NULL else value for value in data]
    return data


def _sample(code: int, table: Sequence[str]) -> int | str | None:
    if code < NULL:
        return table[name_code(code)]
    return None if code == NULL else code
