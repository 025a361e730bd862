"""Writing Parquet: pieces of a trace into row groups, each column in the encoding that makes it smallest (see `parquet`)."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import msgspec

from tracekit import arrow
from tracekit.formats.lines import header_line, trailer_json, utf8_throughout
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import COLUMNS, Header, Mark, Marks, Trace, Trailer

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMAT = "tracekit-parquet"
# 1: the first published layout.
VERSION = 1
ROW_GROUP = 1 << 18
_PLAIN_BYTES = 1 << 20
_LEVEL = 3
# A file of a few thousand ops, of which the footer is a tenth: what is left can be packed harder in no time.
_SMALL_ROWS, _SMALL_LEVEL = 1 << 14, 15
# Columns of times grow with the row; the rest is tried out on the first rows there are.
_DELTA = "DELTA_BINARY_PACKED"
_CHOICES = ("dictionary", _DELTA, "BYTE_STREAM_SPLIT")
_TRIED_ROWS = 1 << 16
_DICTIONARY_LIMIT = 16 << 20


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Write a trace (see `tracekit.formats.save`)."""
    with writing(path, force=force) as writer:
        writer.whole(trace)


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[TableWriter]:
    """A writer of the file piece by piece (see `tracekit.formats.writing`)."""
    with replacing(path, force=force) as file:
        writer = TableWriter(file)
        try:
            yield writer
            writer.finish()
        finally:
            writer.abandon()


class TableWriter(Writer):
    """Gathers pieces into row groups of `ROW_GROUP` ops and writes each as it is full."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._marks: list[Marks] = []
        self._facts: dict[str, str] = {"tracekit.format": _json({"name": FORMAT, "version": VERSION})}

    def header(self, header: Header) -> None:
        """Keep the header for the file's metadata."""
        self._note("header", header_line(header))

    def marks(self, marks: Sequence[Mark]) -> None:
        """Keep marks for the file's metadata."""
        self._marks.append(Marks.of(marks))

    def ops(self, piece: Trace) -> None:
        """Take the ops of a piece; a row group is written when there are enough."""
        start = 0
        while start < len(piece):
            stop = min(start + ROW_GROUP - self._rows, len(piece))
            self._waiting.append(arrow.table_of(piece.select(slice(start, stop)), whole=True))
            self._rows += stop - start
            if self._rows == ROW_GROUP:
                self._flush()
            start = stop

    def trailer(self, trailer: Trailer) -> None:
        """Keep the trailer for the file's metadata."""
        self._note("trailer", utf8_throughout(trailer_json(trailer)))

    def part(self, about: Mapping[str, Any]) -> None:
        """Note which part of a trace this file is."""
        self._note("part", about)

    def finish(self) -> None:
        """Write what waits, and the file's end."""
        if self._waiting or self._writer is None:
            self._flush()
        if marks := Marks.joined(self._marks):
            self._note("marks", marks.columns())
        assert self._writer is not None
        self._writer.add_key_value_metadata(self._facts)
        self._writer.close()
        self._writer = None

    def abandon(self) -> None:
        """Let go of a file that will not be kept."""
        if self._writer is not None:
            with suppress(Exception):  # its sink may be what failed
                self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.concat_tables(self._waiting) if self._waiting else arrow.schema().empty_table()
        table = table.unify_dictionaries().combine_chunks()
        if self._writer is None:
            level = _SMALL_LEVEL if table.num_rows <= _SMALL_ROWS else _LEVEL
            self._writer = _writer(self._sink, table.schema, _encodings(table), level)
        if table.num_rows:
            self._writer.write_table(table, row_group_size=ROW_GROUP)
        self._waiting, self._rows = [], 0

    def _note(self, key: str, value: Any) -> None:
        import pyarrow as pa

        text = _json(value)
        if len(text) > _PLAIN_BYTES:
            packed = pa.Codec("zstd", 9).compress(text.encode(), asbytes=True)
            key, text = f"{key}.zst", base64.b64encode(packed).decode()
        self._facts[f"tracekit.{key}"] = text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _writer(sink: Any, schema: pa.Schema, encodings: Mapping[str, str], level: int = _LEVEL) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    others = {name: encoding for name, encoding in encodings.items() if encoding != "dictionary"}
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=level,
        use_dictionary=[name for name in schema.names if name not in others],
        column_encoding=others or None,
        dictionary_pagesize_limit=_DICTIONARY_LIMIT,
        write_page_checksum=True,
    )


def _encodings(table: pa.Table) -> dict[str, str]:
    """The encoding of each column: what makes its first rows smallest.

    Times are always deltas: those of the first rows may stand in a small dictionary, those of all rows never do.
    """
    chosen = {}
    first = table.slice(0, _TRIED_ROWS)
    for name in table.schema.names:
        column = COLUMNS.get(name)
        if column is None or column.category or first.column(name).null_count == first.num_rows:
            chosen[name] = "dictionary"
        elif column.unit == "ns":
            chosen[name] = _DELTA
        else:
            chosen[name] = min(_CHOICES, key=lambda choice, name=name: _size(first.select([name]), choice))  # type: ignore[misc]
    return chosen


def _size(table: pa.Table, encoding: str) -> int:
    sink = io.BytesIO()
    writer = _writer(sink, table.schema, {table.schema.names[0]: encoding})
    writer.write_table(table)
    writer.close()
    return sink.tell()
