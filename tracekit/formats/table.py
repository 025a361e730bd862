"""Plain CSV: any table with a header, its columns named for ours; and ours as CSV.

A column map says which of the table's columns is which of the trace's, as `uri=path,t_submit=start`. Columns that already have
our names need no word. Times are nanoseconds unless another unit is given, and may have fractions.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, ClassVar

import numpy as np

from tracekit.errors import InputError, UnknownNameError, UsageError
from tracekit.formats.cells import coded, mapped, numbers, whole
from tracekit.formats.foreign import MAX_NS, Columns, Foreign, Row
from tracekit.formats.foreign_lines import by_halves, has_lines, line_blocks, numbered
from tracekit.formats.scanner import NUMBER, TEXT, WHOLE, Cell, Lines, Scanner, lines_of
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import COLUMNS, NULL, IntArray, Trace, name_code
from tracekit.uri import utf8

_NEEDED = ("uri", "len", "t_submit")
# To look for the letter and then back is three times as fast as to look for both.
_HEXADECIMAL = (re.compile(rb"x(?<=0x)"), re.compile(rb"X(?<=0X)"))
# A reader of columns has to know them all.
_WIDE = 1000
_PLAIN_DELIMITERS = ",;\t|"


class Table(Foreign):
    """A CSV file with a header."""

    NAME: ClassVar[str] = "csv"
    TOOL: ClassVar[str] = "a table with a header"
    FIELDS: ClassVar[tuple[str, ...]] = tuple(COLUMNS)
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """The column map is understood, the header is not yet read."""
        self._map = _column_map(self.options.get("columns", ""))
        self._places: list[tuple[str, int]] = []
        self._scanner: Scanner | None = None

    def batches(self) -> Iterator[Columns]:
        """The rows, in the order of the file: many at once where every cell is as it should be, odd ones one by one."""
        text = b""
        for number, text in line_blocks(self):
            rows = text if self._places else self._behind_header(number, text)
            yield from self._block(number, rows)
        if not self._places:
            self._behind_header(1, text)

    def _behind_header(self, number: int, text: bytes) -> bytes:
        """The block with its header taken, which leaves that line blank: the others keep their numbers."""
        _, line = next(numbered(number, text), (number, b""))
        header = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r")
        self._delimiter = self.options.get("delimiter") or ("\t" if "," not in header and "\t" in header else ",")
        if len(self._delimiter) != 1:
            raise UsageError(f"the delimiter {self._delimiter!r} is not one character", "give one, such as ';'")
        between = re.escape(self._delimiter.encode())
        # Cells that are quoted as a whole. With any other quote (`a"b`, `""b`) it is the row's to say what it means, if anything.
        self._quoted = re.compile(rb'(?:^|(?<=[\n%s]))"[^"\n]*(?:""[^"\n]*)*"(?=[\r\n%s]|\Z)' % (between, between))
        try:
            self._take_header(next(csv.reader([header], delimiter=self._delimiter), []))
        except csv.Error as error:
            raise InputError(f"{self.path}:1: the header cannot be read ({error})", f"is it {self.TOOL}?") from None
        return text.replace(line, b"", 1)

    def _take_header(self, header: Sequence[str]) -> None:
        names = [name.strip() for name in header]
        for theirs in self._map.values():
            if theirs not in names:
                raise UnknownNameError(f"column in {self.path}", theirs, names)
        places = {
            name: names.index(self._map.get(name, name)) for name in COLUMNS if self._map.get(name, name) in names
        }
        missing = [name for name in _NEEDED if name not in places]
        if missing:
            raise InputError(
                f"{self.path}:1: no column is named {', '.join(missing)}",
                f"say which it is with --set columns={missing[0]}=NAME; the header has {', '.join(names)[:200]}",
            )
        self._width, self._places = len(names), list(places.items())
        self._scanner = self._new_scanner()

    def _block(self, number: int, text: bytes) -> Iterator[Columns]:
        """The columns of a block's rows: by the core those that are plain, others by Arrow, and those that are odd one by one."""
        for lines in lines_of(self._scanner, number, text):
            columns = self._plain(lines)
            if columns is None:
                yield from by_halves(lines.number, lines.text, self._columns, self._rows)
            else:
                yield columns

    def _new_scanner(self) -> Scanner | None:
        """What reads plain rows; None where a cell is two columns of ours, or the core does not know the delimiter."""
        ours = {place: name for name, place in self._places}
        if len(ours) < len(self._places) or self._width > _WIDE or self._delimiter not in _PLAIN_DELIMITERS:
            return None
        return Scanner([self._cell(ours.get(place, "")) for place in range(self._width)], between=self._delimiter)

    def _cell(self, name: str) -> Cell:
        if not name:
            return Cell()
        if COLUMNS[name].category:
            return Cell(name, TEXT, name in _NEEDED, meaning=lambda text: self._code(name, text))
        scale = self.time_unit if COLUMNS[name].unit == "ns" else 1
        # A sample may have a name, also one that looks like a number.
        return Cell(name, WHOLE if name == "sample_id" else NUMBER, name in _NEEDED, scale)

    def _code(self, name: str, text: bytes) -> int:
        word = os.fsdecode(text).strip()
        return self.table(name).code(utf8(word) if word else None)

    def _plain(self, lines: Lines) -> Columns | None:
        """The columns of rows that the core read; None where it read none, or a name is nothing but blanks."""
        if not lines.rows or bool((lines.column("uri") == NULL).any()):
            return None
        columns = {
            name: column if COLUMNS[name].dtype is np.int64 else self.fitting(name, column)
            for name, column in lines.columns.items()
        }
        return {"offset": lines.column("offset"), **columns}

    def _columns(self, text: bytes) -> Columns | None:
        """The columns of many rows; None where one of them is odd."""
        table = self._table(text)
        if table is None:
            return None
        columns: Columns = {"offset": np.full(len(table), NULL, np.int64)}
        for name, place in self._places:
            cells = table.column(str(place)).combine_chunks()
            if cells.null_count == len(cells) and name not in _NEEDED:
                continue
            column = self._texts(name, cells) if COLUMNS[name].category else self._numbers(name, cells)
            if column is None or (name in _NEEDED and bool((column == NULL).any())):
                return None
            columns[name] = column
        return columns

    def _table(self, text: bytes) -> Any:
        """The cells of the columns that are looked at; None where a row has more or fewer than the header."""
        import pyarrow as pa

        if self._width > _WIDE or (b'"' in text and b'"' in self._quoted.sub(b"", text)):
            return None
        # Arrow's whole numbers may be hexadecimal; other cells are looked at as text.
        tries = [pa.binary()] if any(sign.search(text) for sign in _HEXADECIMAL) else [pa.int64(), pa.binary()]
        for number in tries:
            with suppress(pa.ArrowInvalid):
                table = self._parsed(text, number)
                return table if has_lines(text, len(table)) else None
        return None

    def _parsed(self, text: bytes, number: Any) -> Any:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        kinds: dict[str, Any] = {}
        for name, place in self._places:
            kind = pa.dictionary(pa.int32(), pa.binary()) if COLUMNS[name].category else number
            # A sample may have a name, and what is two columns of ours has no type of one.
            kinds[str(place)] = pa.binary() if name == "sample_id" or str(place) in kinds else kind
        return arrow_csv.read_csv(
            pa.BufferReader(text),
            arrow_csv.ReadOptions(
                block_size=len(text) + 1, column_names=[str(place) for place in range(self._width)]
            ),
            arrow_csv.ParseOptions(delimiter=self._delimiter),
            arrow_csv.ConvertOptions(
                check_utf8=False, column_types=kinds, null_values=[""], strings_can_be_null=True, include_columns=list(kinds)
            ),
        )  # fmt: skip

    def _texts(self, name: str, cells: Any) -> IntArray:
        codes, texts = coded(cells)
        return mapped(codes, [self._code(name, text) for text in texts]).astype(np.int32)

    def _numbers(self, name: str, cells: Any) -> IntArray | None:
        if name == "sample_id":
            found = whole(cells)
            if found is None:
                codes, texts = coded(cells)
                return mapped(codes, self.encoded(name, [_sample(os.fsdecode(text).strip()) for text in texts]))
        else:
            found = numbers(cells, self.time_unit if COLUMNS[name].unit == "ns" else 1)
        if found is None or bool((found[0] < 0).any()):
            return None
        return self.fitting(name, np.where(found[1], found[0], NULL))

    def _rows(self, number: int, text: bytes) -> Columns:
        """The columns of a few rows, of which one is odd."""
        rows = [self._row(place, line) for place, line in numbered(number, text)]
        return self.of_rows(row for row in rows if row is not None)

    def _row(self, number: int, text: bytes) -> Row | None:
        try:
            fields = next(csv.reader([os.fsdecode(text).rstrip("\r")], delimiter=self._delimiter, strict=True))
            if any(fields[self._width :]):
                self.reject(number, f"the row has {len(fields):,} columns, the header {self._width:,}")
                return None
            values = {name: self._value(name, fields[place]) for name, place in self._places}
        except (csv.Error, ValueError, IndexError) as error:
            why = "it has too few columns" if isinstance(error, IndexError) else str(error)
            self.reject(number, f"the row cannot be used: {why}")
            return None
        missing = next((name for name in _NEEDED if values[name] is None), None)
        if missing:
            self.reject(number, f"the row has no `{missing}`")
            return None
        return tuple(values.get(name) for name in COLUMNS)

    def _value(self, name: str, text: str) -> Any:
        text = text.strip()
        if not text:
            return None
        column = COLUMNS[name]
        if column.category:
            return utf8(text)
        if name == "sample_id":
            return _sample(text)
        exact = text.lstrip("+").isdigit()
        if column.unit == "ns":
            value = int(text) * self.time_unit if exact else _rounded(name, float(text) * self.time_unit)
        else:
            value = int(text) if exact else _rounded(name, float(text))
        if not 0 <= value < MAX_NS:
            raise ValueError(f"`{name}` is {text[:30]}")
        return value


def _sample(text: str) -> int | str | None:
    return int(text) if text.isdigit() else text or None


def _rounded(name: str, value: float) -> int:
    if not math.isfinite(value):
        raise ValueError(f"`{name}` is not a number")
    return round(value)


def _column_map(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for ours, sign, theirs in pairs:
        if not sign or not theirs:
            raise UsageError(f"{ours!r} is not OURS=THEIRS", "name a column of the trace and one of the table")
        if ours.strip() not in COLUMNS:
            raise UnknownNameError("column", ours.strip(), COLUMNS)
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[Writer]:
    """A writer of CSV: a header of our names, a row an op, empty where nothing is known."""
    with replacing(path, force=force) as file:
        yield _TableWriter(file)


class _TableWriter(Writer):
    """Writes the ops alone."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="", write_through=True)
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def ops(self, piece: Trace) -> None:
        """Write a row for each op."""
        self._rows.writerows(zip(*(_texts(piece, name) for name in COLUMNS), strict=True))


def _texts(piece: Trace, name: str) -> list[Any]:
    values = piece.col(name).tolist()
    if COLUMNS[name].category:
        table = [*piece.strings(name), ""]
        return [table[code] for code in values]
    if name == "sample_id" and name in piece.tables:
        table = piece.strings(name)
        return ["" if code == NULL else table[name_code(code)] if code < NULL else code for code in values]
    return ["" if value == NULL else value for value in values]
