"""Plain CSV: any table with a header, its columns named for ours; and ours as CSV.

A column map says which of the table's columns is which of the trace's, as `uri=path,t_submit=start`. Columns that already have
our names need no word. Times are nanoseconds unless another unit is given, and may have fractions.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, ClassVar

from tracekit.errors import InputError, UnknownNameError, UsageError
from tracekit.formats.foreign import MAX_NS, Foreign, lines
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import COLUMNS, NULL, Trace, name_code
from tracekit.uri import utf8

_NEEDED = ("uri", "len", "t_submit")


class Table(Foreign):
    """A CSV file with a header."""

    NAME: ClassVar[str] = "csv"
    TOOL: ClassVar[str] = "a table with a header"
    FIELDS: ClassVar[tuple[str, ...]] = tuple(COLUMNS)
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """The column map is understood, the header is not yet read."""
        self._map = _column_map(self.options.get("columns", ""))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows, in the order of the file."""
        numbered = lines(self)
        _, first = next(numbered, (1, b""))
        header = first.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").rstrip("\r")
        delimiter = self.options.get("delimiter") or ("\t" if "," not in header and "\t" in header else ",")
        if len(delimiter) != 1:
            raise UsageError(f"the delimiter {delimiter!r} is not one character", "give one, such as ';'")
        try:
            places = self._places(next(csv.reader([header], delimiter=delimiter), []))
        except csv.Error as error:
            raise InputError(f"{self.path}:1: the header cannot be read ({error})", f"is it {self.TOOL}?") from None
        for number, text in numbered:
            row = self._row(number, text, delimiter, places)
            if row is not None:
                yield row

    def _places(self, header: Sequence[str]) -> list[tuple[str, int]]:
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
        self._width = len(names)
        return list(places.items())

    def _row(
        self, number: int, text: bytes, delimiter: str, places: Sequence[tuple[str, int]]
    ) -> tuple[Any, ...] | None:
        try:
            fields = next(csv.reader([os.fsdecode(text).rstrip("\r")], delimiter=delimiter, strict=True))
            if any(fields[self._width :]):
                self.reject(number, f"the row has {len(fields):,} columns, the header {self._width:,}")
                return None
            values = {name: self._value(name, fields[place]) for name, place in places}
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
            return int(text) if text.isdigit() else text
        exact = text.lstrip("+").isdigit()
        if column.unit == "ns":
            value = int(text) * self.time_unit if exact else _rounded(name, float(text) * self.time_unit)
        else:
            value = int(text) if exact else _rounded(name, float(text))
        if not 0 <= value < MAX_NS:
            raise ValueError(f"`{name}` is {text[:30]}")
        return value


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
