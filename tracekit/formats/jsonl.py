"""The trace format itself: JSON Lines, plain or zstd-compressed (docs/trace.md).

A block of lines is decoded by msgspec into typed rows and turned into columns at once, so no object per op outlives its
block. The rows' type leaves out what is not an op; a block that holds anything else, or fails, is looked at line by line
to sort out headers, marks and trailers and to name the line and key that are wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import repeat
from typing import IO, Any

import msgspec
import numpy as np

from tracekit.errors import InputError
from tracekit.formats.lines import MarkLine, OpLine, header_line, trailer_json, utf8
from tracekit.formats.quick import QuickReader
from tracekit.formats.reader import ALWAYS, LINE_LIMIT, OP_KEYS, Columns, Reader, empty_columns
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import COLUMNS, NULL, Header, IntArray, Mark, StringTable, Trace, Trailer, name_code

# Small enough that the rows of a block stay in the processor's cache while they become columns.
_BLOCK_BYTES = 1 << 20
_OPS_AT_ONCE = 16_384


def load(path: str, *, time_unit: int, skip_bad: bool) -> Trace:
    """Read a whole file (see `tracekit.formats.load`)."""
    (whole,) = chunks(path, ops=sys.maxsize, time_unit=time_unit, skip_bad=skip_bad)
    return whole


def chunks(path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    reader = _reader(path, time_unit, skip_bad=skip_bad)
    pending: list[Columns] = []
    waiting = 0
    with _source(path) as file:
        for number, block, last in _blocks(file, path, reader):
            columns = reader.columns_of(number, block, last=last)
            pending.append(columns)
            waiting += len(columns["uri"])
            if waiting > ops:
                joined = _joined(pending)
                for start in range(0, waiting - ops, ops):
                    yield reader.piece(_cut(joined, slice(start, start + ops)))
                pending = [_cut(joined, slice((waiting - 1) // ops * ops, waiting))]
                waiting = len(pending[0]["uri"])
    yield reader.finish(_joined(pending))


def _reader(path: str, time_unit: int, *, skip_bad: bool) -> Reader:
    """The native core's reader where there is a core and times are nanoseconds, else the Python reader."""
    if time_unit == 1:
        try:
            from tracekit import _core
        except ImportError:
            pass
        else:
            return QuickReader(_core, path, skip_bad=skip_bad)
    return Reader(path, time_unit, skip_bad=skip_bad)


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Write a trace; `.zst` in the name compresses it; `-` is standard output."""
    with writing(path, force=force) as writer:
        writer.whole(trace)


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[LineWriter]:
    """A writer of the file piece by piece (see `tracekit.formats.writing`)."""
    name = os.fspath(path)
    if name == "-":
        yield LineWriter(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with replacing(name, force=force) as file, _compressing(file, name) as sink:
        yield LineWriter(sink)


def _joined(parts: Sequence[Columns]) -> Columns:
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


def _cut(columns: Columns, part: slice) -> Columns:
    return {name: array[part] for name, array in columns.items()}


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


def _blocks(file: IO[bytes], path: str, reader: Reader) -> Iterator[tuple[int, bytes, bool]]:
    """Blocks of whole lines with the number of their first line, and whether it is the file's unfinished end."""
    number, rest, skipping = 1, b"", False
    while data := _read(file, path, reader, first=number == 1 and not rest):
        end = data.rfind(b"\n") + 1
        if not end:
            rest += b"" if skipping else data
            if len(rest) > LINE_LIMIT:
                reader.too_long(number)
                rest, skipping = b"", True
            continue
        block = rest + data[:end]
        if skipping:
            # What is left of the line that was too long counts as one blank line.
            block, skipping = data[data.index(b"\n") : end], False
        yield number, block, False
        number += block.count(b"\n")
        rest = data[end:]
    if rest.strip():
        yield number, rest, True


def _read(file: IO[bytes], path: str, reader: Reader, *, first: bool) -> bytes:
    try:
        data = file.read(_BLOCK_BYTES)
    except OSError as error:
        if first:
            raise InputError(f"{path} cannot be read as a zstd file ({error})", "name a trace file") from None
        reader.warnings.append(f"{path}: the compressed data is damaged or cut short; what came before it was read")
        return b""
    return data.removeprefix(b"\xef\xbb\xbf") if first else data


# -- bytes out --------------------------------------------------------------------------------------------------------


def _compressing(file: IO[bytes], name: str) -> AbstractContextManager[IO[bytes]]:
    if not name.endswith(".zst"):
        return nullcontext(file)
    import pyarrow as pa

    sink: AbstractContextManager[IO[bytes]] = pa.CompressedOutputStream(file, "zstd")
    return sink


class LineWriter(Writer):
    """Writes the lines of a trace to an open file, in the order in which they are given."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink
        self._encoder = msgspec.json.Encoder()
        self._tables: dict[str, tuple[StringTable | None, list[str]]] = {}

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
        tables = {name: self._table(piece, name) for name in piece.columns}
        for start in range(0, len(piece), _OPS_AT_ONCE):
            self._sink.write(self._encoder.encode_lines(_rows(piece, tables, slice(start, start + _OPS_AT_ONCE))))

    def trailer(self, trailer: Trailer) -> None:
        """Write the last line."""
        self._sink.write(self._encoder.encode({"end": trailer_json(trailer)}) + b"\n")

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
