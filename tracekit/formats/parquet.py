"""Parquet: the columns of a trace as they are, for DuckDB, Polars, pandas and whoever else reads tables.

Every column is there, with true nulls; strings are dictionaries; times are deltas; row groups are bounded. Header,
trailer and marks stand in the file's key-value metadata, as the JSON that the lines of a trace have (docs/parquet.md):

    tracekit.format    {"name": "tracekit-parquet", "version": 1}
    tracekit.header    the object of a trace's first line
    tracekit.trailer   what stands under `end` in its last line
    tracekit.marks     {"mark": […], "t": […], "t_end": […], "step": […], "epoch": […], "pid": […]}
    tracekit.part      which part of which trace it is, where it is one (`tracekit.formats.parted`)

A text of more than a mebibyte is kept apart from the footer's other readers: zstd and base64 under the same key + `.zst`.
"""

from __future__ import annotations

import base64
import os
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tracekit import arrow, progress
from tracekit.errors import InputError
from tracekit.formats.lines import MarkLine, OtherLine, header_of, trailer_of
from tracekit.formats.parquet_writer import FORMAT, ROW_GROUP, VERSION, TableWriter, save, writing
from tracekit.formats.reader import join_columns
from tracekit.trace import CATEGORIES, COLUMNS, SCHEMA_VERSION, Header, IntArray, Marks, Trace

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["FORMAT", "ROW_GROUP", "VERSION", "Reader", "TableWriter", "chunks", "load", "part_of", "save", "writing"]

_MARK_KEYS = tuple(MarkLine.__struct_fields__)
_METADATA_LIMIT = 1 << 30


def load(path: str, *, time_unit: int, skip_bad: bool, columns: Collection[str] | None = None) -> Trace:
    """Read a whole file (see `tracekit.formats.load`)."""
    reader = Reader(path, time_unit, columns, skip_bad=skip_bad)
    return reader.finish(join_columns(list(reader.columns(ROW_GROUP))))


def chunks(
    path: str, *, ops: int, time_unit: int, skip_bad: bool, columns: Collection[str] | None = None
) -> Iterator[Trace]:
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    reader = Reader(path, time_unit, columns, skip_bad=skip_bad)
    before: dict[str, IntArray] | None = None
    for piece in reader.columns(ops):
        if before is not None:
            yield reader.piece(before)
        before = piece
    yield reader.finish(join_columns([before] if before else []))


class Reader:
    """The ops of a file in batches, and what belongs to the whole.

    Args:
        path: The file.
        time_unit: The unit of times in ns, where the file has no header.
        wanted: The columns that are looked at; None is all.
        before: The reader of the part before, of a trace in parts: they share their tables, and count bad rows together.
        skip_bad: Leave bad rows out and count them.
    """

    def __init__(
        self,
        path: str,
        time_unit: int,
        wanted: Collection[str] | None = None,
        before: Reader | None = None,
        *,
        skip_bad: bool,
    ) -> None:
        self.path = path
        self._wanted = wanted
        self.file = _opened(path)
        self._metadata = self.file.metadata.metadata or {}
        _check_format(path, self._json("format"))
        self._check_columns()
        self.header = self._header()
        unit = 1 if self.header else time_unit
        self._decoder = arrow.Decoder(path, unit, skip_bad=skip_bad) if before is None else before.next_decoder(path)
        self.warnings: list[str] = []
        self._marks = self._read_marks()

    def next_decoder(self, path: str) -> arrow.Decoder:
        """What decodes the part that follows."""
        self._decoder.source, self._decoder.rows = path, 0
        return self._decoder

    def columns(self, rows: int) -> Iterator[dict[str, IntArray]]:
        """Columns of at most `rows` ops each."""
        label = f"reading {os.path.basename(self.path)}"
        there = self.file.schema_arrow.names
        chosen = [name for name in self._names() if name in there and not self._empty(name)]
        try:
            for batch in self.file.iter_batches(min(rows, ROW_GROUP), columns=chosen):
                yield self._decoder.columns(batch)
                progress.tell(label, self._decoder.rows, self.file.metadata.num_rows)
        except _broken() as error:
            raise _damaged(self.path, error) from None

    def _names(self) -> list[str]:
        """The columns that are looked at."""
        wanted = set(self._wanted or COLUMNS)
        names = [name for name in COLUMNS if name in wanted or name in (*arrow.REQUIRED, "op")]
        return [*names, arrow.SAMPLE_NAME] if "sample_id" in wanted else names

    def piece(self, columns: Mapping[str, IntArray]) -> Trace:
        """A piece of the trace; the first has the marks."""
        marks, self._marks = self._marks, Marks.of([])
        tables = {name: table for name, table in self._decoder.tables.items() if len(table) and name in columns}
        return Trace(columns, tables, marks, self.header, None, self.warnings)

    def finish(self, columns: Mapping[str, IntArray]) -> Trace:
        """The last piece, with the trailer and everything a reader should be told."""
        decoder = self._decoder
        if not decoder.rows and self.header is None:
            raise InputError(f"{self.path} holds no op", "a trace has at least one op")
        end = self._json("trailer")
        if decoder.bad:
            noun = "row was" if decoder.bad == 1 else "rows were"
            self.warnings.append(f"{decoder.bad} bad {noun} left out; the first: {decoder.first_bad}")
        if self.header is not None and end is None:
            self.warnings.append(f"{self.path} has no trailer: the trace was cut short")
        piece = self.piece(columns)
        piece.trailer = None if end is None else self._converted("trailer", trailer_of, end)
        piece.warnings = list(self.warnings)
        return piece

    def _empty(self, name: str) -> bool:
        """Whether the file's own statistics say that a column holds nothing, so that it need not be read."""
        place = self.file.schema_arrow.names.index(name)
        if name in arrow.REQUIRED or self.file.metadata.num_columns != len(self.file.schema_arrow.names):
            return False
        for number in range(self.file.metadata.num_row_groups):
            column = self.file.metadata.row_group(number).column(place)
            if column.statistics is None or column.statistics.null_count != column.num_values:
                return False
        return True

    def _check_columns(self) -> None:
        for name in arrow.REQUIRED:
            if name not in self.file.schema_arrow.names:
                raise InputError(
                    f"{self.path} is a Parquet file but no trace: it has no column `{name}`",
                    "name a trace, or rename its columns to `uri`, `offset`, `len` and `t_submit`",
                )

    def _header(self) -> Header | None:
        line = self._json("header")
        if line is None:
            return None
        other = self._converted("header", lambda value: msgspec.convert(value, OtherLine), line)
        if other.tracekit != SCHEMA_VERSION:
            raise InputError(
                f"{self.path} has schema version {other.tracekit}, this tracekit reads version {SCHEMA_VERSION}",
                "use the tracekit that wrote it, or a newer one",
            )
        return header_of(other)

    def _read_marks(self) -> Marks:
        text = self._text("marks")
        try:
            return Marks.of([]) if text is None else self._converted("marks", _marks_of, text)
        except msgspec.DecodeError as error:
            raise self._unreadable("marks", error) from None

    def _converted(self, key: str, how: Callable[[Any], Any], value: Any) -> Any:
        try:
            return how(value)
        except (msgspec.ValidationError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(
                f"{self.path}: the trace's metadata is not what it should be (tracekit.{key}: {error})",
                "write the file again",
            ) from None

    def _json(self, key: str) -> Any:
        text = self._text(key)
        try:
            return None if text is None else msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._unreadable(key, error) from None

    def _text(self, key: str) -> bytes | None:
        import pyarrow as pa

        name = f"tracekit.{key}".encode()
        text: bytes | None = self._metadata.get(name)
        try:
            if text is None and (packed := self._metadata.get(name + b".zst")) is not None:
                with pa.CompressedInputStream(pa.BufferReader(base64.b64decode(packed)), "zstd") as stream:
                    text = stream.read(_METADATA_LIMIT)
        except (ValueError, OSError) as error:
            raise self._unreadable(key, error) from None
        return text

    def _unreadable(self, key: str, error: Exception) -> InputError:
        what = f"{self.path}: the trace's metadata cannot be read (tracekit.{key}: {error})"
        return InputError(what, "write the file again")


def part_of(path: str) -> dict[str, Any] | None:
    """Which part of which trace a file is (`tracekit.formats.parted`); None where it is none, or cannot be read."""
    import pyarrow.parquet as pq

    try:
        text = (pq.read_metadata(path).metadata or {}).get(b"tracekit.part", b"null")
    except _broken():
        return None
    try:
        about = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError):
        return None
    keys = {"trace": str, "number": int, "last": bool}
    good = isinstance(about, dict) and all(isinstance(about.get(key), kind) for key, kind in keys.items())
    return about if good else None


def _opened(path: str) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    texts = {arrow.SAMPLE_NAME, *CATEGORIES}
    try:
        metadata = pq.read_metadata(path)
        columns = [metadata.schema.column(place) for place in range(metadata.num_columns)]
        found = [one.path for one in columns if one.path in texts and one.physical_type == "BYTE_ARRAY"]
        return pq.ParquetFile(
            path, metadata=metadata, read_dictionary=found, pre_buffer=False, page_checksum_verification=True
        )
    except _broken() as error:
        raise _damaged(path, error) from None


def _broken() -> tuple[type[Exception], ...]:
    """What comes out of a damaged file: besides Arrow's own errors, what its values make of NumPy and Python."""
    import pyarrow as pa

    return pa.ArrowException, OSError, IndexError, UnicodeDecodeError, OverflowError


def _damaged(path: str, error: Exception) -> InputError:
    why = str(error).splitlines()[0].rstrip(".")
    return InputError(f"{path} cannot be read as Parquet: it is damaged or cut short ({why})", "write it again")


def _check_format(path: str, about: Any) -> None:
    if about is None:
        return  # somebody else's table; its columns decide
    name, version = (about.get("name"), about.get("version")) if isinstance(about, dict) else (None, None)
    if name != FORMAT or version != VERSION:
        raise InputError(
            f"{path} is {name} version {version}, this tracekit reads {FORMAT} version {VERSION}",
            "use the tracekit that wrote it, or a newer one",
        )


class _MarkColumns(msgspec.Struct):
    """The text of the marks, each column by itself: one of them at a time is a list of values."""

    mark: msgspec.Raw
    t: msgspec.Raw
    t_end: msgspec.Raw
    step: msgspec.Raw
    epoch: msgspec.Raw
    pid: msgspec.Raw


def _marks_of(text: bytes) -> Marks:
    raw = msgspec.json.decode(text, type=_MarkColumns)
    return Marks.from_columns(*(decoder.decode(getattr(raw, key)) for key, decoder in _mark_decoders().items()))


def _mark_decoders() -> dict[str, msgspec.json.Decoder[Any]]:
    """What reads each column: the same types as those of a mark line."""
    kinds: dict[str, Any] = typing.get_type_hints(MarkLine, include_extras=True)
    return {key: msgspec.json.Decoder(types.GenericAlias(list, (kinds[key],))) for key in _MARK_KEYS}
