"""Other tools' files: what their importers share.

An importer says what the ops of its source are, in columns, with times on the source's own clock, and counts what it leaves out and
which lines are bad; `imported` makes a trace of that.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from tracekit.errors import TraceFormatError
from tracekit.trace import COLUMNS, NULL, IntArray, Mark, StringTable, Trace, encode_samples
from tracekit.uri import file_uri

# No clock of a source goes further; beyond it, sums of two times no longer fit.
MAX_NS = 2**62
_ALWAYS = ("uri", "offset", "len", "t_submit")
_BATCH = 1 << 14

Columns = dict[str, IntArray]
Row = tuple[Any, ...]


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
    # The columns that rows made one by one fill, in their order.
    FIELDS: ClassVar[tuple[str, ...]] = ()
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
    def batches(self) -> Iterator[Columns]:
        """The ops in batches of columns: codes of this file's tables where there are texts, NULL where the source does not say."""

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
        for columns in self.batches():
            for start in range(0, len(columns["t_submit"]), ops):
                piece = self.piece({name: array[start : start + ops] for name, array in columns.items()})
                if len(piece):
                    self.told.ops += len(piece)
                    yield piece

    def of_rows(self, rows: Iterable[Row]) -> Columns:
        """Columns of tuples of the values of `FIELDS`; None where the source does not say."""
        values = list(zip(*rows, strict=True)) or [()] * len(self.FIELDS)
        return {name: self.encoded(name, column) for name, column in zip(self.FIELDS, values, strict=True)}

    def encoded(self, name: str, values: Sequence[Any]) -> IntArray:
        """A column of plain values; strings go into this file's tables."""
        if COLUMNS[name].category:
            return self.table(name).encode(values)
        if name == "sample_id":
            return encode_samples(values, self.table(name))
        numbers = [NULL if value is None else value for value in values] if None in values else values
        try:
            return np.array(numbers, COLUMNS[name].dtype)
        except OverflowError:
            return self.fitting(name, np.array(numbers, object))

    def fitting(self, name: str, numbers: Any) -> IntArray:
        """Numbers as a column; those that no column of this kind can hold are counted, and not known."""
        dtype = COLUMNS[name].dtype
        beyond = (numbers > np.iinfo(dtype).max) | (numbers < NULL)
        if beyond.any():
            self.leave_out(f"{name} out of range", int(beyond.sum()))
            numbers = np.where(beyond, NULL, numbers)
        return np.asarray(numbers.astype(dtype, copy=False))

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


class Stateful(Foreign):
    """A file whose every line changes what the next ones mean: its ops come one by one, and are made columns batch by batch."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """The ops, one tuple of the values of `FIELDS` each; None where the source does not say."""

    def batches(self) -> Iterator[Columns]:
        """The rows, many in one."""
        rows = self.rows()
        while batch := list(islice(rows, _BATCH)):
            yield self.of_rows(batch)


def uri_of(name: str) -> str:
    """What a trace calls a file of another tool's; what is no path stays as it is."""
    return file_uri(name) if name.startswith("/") else name


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
