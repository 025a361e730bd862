"""The one thing everything else makes or reads: a Trace, columns of ops with a header, marks and a trailer.

The format is described in docs/trace.md (schema version 1). Times are nanoseconds since the trace's t0, sizes are bytes.
In the columns a missing value is `NULL`; every real value is zero or more, so the two cannot be confused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from tracekit.columns import (
    ALWAYS,
    CATEGORIES,
    COLUMNS,
    NULL,
    REQUIRED,
    TIME_COLUMNS,
    Column,
    IntArray,
    Mask,
    StringTable,
    encode,
    encode_samples,
    name_code,
)
from tracekit.errors import CannotRunError, UnknownNameError, UsageError
from tracekit.marks import Mark, Marks

if TYPE_CHECKING:
    import os

    import pandas as pd
    import pyarrow as pa

# What a trace is made of is named together with it.
__all__ = [
    "ALWAYS",
    "CATEGORIES",
    "COLUMNS",
    "NULL",
    "SCHEMA_VERSION",
    "TIME_COLUMNS",
    "Column",
    "Header",
    "IntArray",
    "Mark",
    "Marks",
    "Mask",
    "Op",
    "StringTable",
    "Trace",
    "Trailer",
    "encode_samples",
    "name_code",
]

# 1: the first published schema.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Op:
    """One I/O request. Times are ns since the trace's t0, sizes bytes; None is "not known", never zero."""

    uri: str
    offset: int | None
    len: int
    t_submit: int
    op: str = "read"
    t_complete: int | None = None
    ret: int | None = None
    err: str | None = None
    t_due: int | None = None
    t_first_byte: int | None = None
    pid: int | None = None
    tid: int | None = None
    rank: int | None = None
    worker: int | None = None
    epoch: int | None = None
    step: int | None = None
    sample_id: int | str | None = None
    layer: str | None = None
    level: str | None = None
    attempts: int | None = None
    flags: str | None = None


@dataclass(frozen=True)
class Header:
    """The first line: where the trace comes from.

    `producer` has tool, version, verb, run, engine, reason and the verb's options; `clock` has t0_unix_ns, source and
    resolution_ns; `host` has cpu, kernel, memory and the file system of each data root.
    """

    created: str = ""
    producer: Mapping[str, Any] = field(default_factory=dict)
    clock: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    host: Mapping[str, Any] = field(default_factory=dict)
    frameworks: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    redacted: bool = False


@dataclass(frozen=True)
class Trailer:
    """The last line: how much there is, what was lost, and how complete the picture is.

    `run` is a replay's or driver's statement about its own run (DESIGN: VALID, DEGRADED, NOT SUSTAINED, TARGET LIMITED).
    """

    ops: int = 0
    bytes: int = 0
    lost: int = 0
    processes: Sequence[Mapping[str, Any]] = ()
    coverage: Mapping[str, Any] = field(default_factory=dict)
    residency: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Trace:
    """Columns of ops with string tables, marks, header and trailer. Treat it as immutable.

    Args:
        columns: Arrays of equal length, by name from `COLUMNS`; `uri`, `offset`, `len`, `t_submit` and `op` must be there.
        tables: One string table per category column present; `sample_id` may have one for names that are not integers.
        marks: The program's structure.
        header: None when the source had none.
        trailer: None when the trace was cut short or the source had none.
        warnings: What a reader should be told about this trace, as sentences.
    """

    def __init__(
        self,
        columns: Mapping[str, IntArray],
        tables: Mapping[str, StringTable],
        marks: Sequence[Mark] = (),
        header: Header | None = None,
        trailer: Trailer | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        for name in columns:
            if name not in COLUMNS:
                raise UnknownNameError("column", name, COLUMNS)
        self.columns = dict(columns)
        self.tables = dict(tables)
        # Many marks come as columns and stay that way.
        self.marks: Sequence[Mark] = marks if isinstance(marks, Marks) else list(marks)
        self.header = header
        self.trailer = trailer
        self.warnings = list(warnings)

    # -- making -------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, time_unit: str = "ns", skip_bad: bool = False) -> Trace:
        """Read a trace file of any known format (see `tracekit.formats.load` for arguments and errors)."""
        from tracekit import formats

        return formats.load(path, time_unit=time_unit, skip_bad=skip_bad)

    @classmethod
    def of(cls, ops: Iterable[Op], **rest: Any) -> Trace:
        """A trace of single ops, for tests and small tools; `rest` goes to the constructor."""
        rows = list(ops)
        columns: dict[str, Sequence[Any]] = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        return cls.from_values(columns, **rest)

    @classmethod
    def from_values(cls, values: Mapping[str, Sequence[Any]], **rest: Any) -> Trace:
        """A trace of plain Python sequences by column (None for missing, strings in category columns).

        A column that is missing throughout is left out; `op` defaults to `read`. `rest` goes to the constructor.
        """
        tables: dict[str, StringTable] = {}
        columns: dict[str, IntArray] = {}
        for name, data in values.items():
            column = COLUMNS[name]
            if column.category or name == "sample_id":
                tables[name] = StringTable()
            array = encode(column, data, tables.get(name))
            if name in REQUIRED or bool((array != NULL).any()):
                columns[name] = array
        count = len(columns["uri"])
        if "op" not in columns:
            tables["op"] = StringTable(["read"])
            columns["op"] = np.zeros(count, np.int32)
        tables = {name: table for name, table in tables.items() if name in columns and len(table)}
        return cls(columns, tables, **rest)

    # -- looking ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.columns["t_submit"])

    def __repr__(self) -> str:
        state = "" if self.is_complete else ", no trailer"
        return f"<Trace {len(self)} ops, {len(self.uris)} uris{state}>"

    def _repr_html_(self) -> str:
        """What notebooks show: a card with counts, times and the busiest files."""
        from tracekit import card

        return card.html(self)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @overload
    def __getitem__(self, index: int) -> Op: ...

    @overload
    def __getitem__(self, index: slice | Mask | NDArray[np.intp] | Sequence[int]) -> Trace: ...

    def __getitem__(self, index: int | slice | Mask | NDArray[np.intp] | Sequence[int]) -> Op | Trace:
        if isinstance(index, str):
            raise UsageError(
                f"a trace has ops by their number, and none is {index!r}",
                f"col({index!r}) is a column, select({index + '=…'!r}) the ops that have a value there",
            )
        if isinstance(index, slice | np.ndarray | Sequence):
            return self.select(index)
        return Op(**{name: self._value(name, index) for name in self.columns})

    def __iter__(self) -> Iterator[Op]:
        return (self[index] for index in range(len(self)))

    @property
    def is_complete(self) -> bool:
        """Whether the trace has its trailer; without one it was cut short, or its source writes none."""
        return self.trailer is not None

    @property
    def uris(self) -> list[str]:
        """The URI table; `col("uri")` holds positions in it."""
        return self.strings("uri")

    def col(self, name: str) -> IntArray:
        """A column as integers, `NULL` throughout when the trace does not have it (read-only, no memory)."""
        if name in self.columns:
            return self.columns[name]
        if name not in COLUMNS:
            raise UnknownNameError("column", name, COLUMNS)
        return np.broadcast_to(COLUMNS[name].dtype(NULL), len(self))

    def strings(self, name: str) -> list[str]:
        """The string table of a category column; codes are positions in it."""
        return self.tables[name].strings if name in self.tables else []

    def mask(self, name: str, *texts: str) -> Mask:
        """Which ops have one of `texts` in a category column."""
        codes = [code for text in texts if name in self.tables and (code := self.tables[name].find(text)) is not None]
        column = self.col(name)
        # Not np.isin, which sorts: there are one or two texts.
        mask: Mask = np.zeros(len(column), np.bool_)
        for code in codes:
            mask |= column == code
        return mask

    # -- deriving -----------------------------------------------------------------------------------------------

    def select(self, chosen: Mask | NDArray[np.intp] | Sequence[int] | slice | str) -> Trace:
        """The ops of a mask, index array, slice or `--select` expression, in that order; marks, header and tables stay, the trailer goes.

        Raises:
            UsageError: If the expression cannot be read, or names a column that there is not.
        """
        if isinstance(chosen, str):
            from tracekit import selection

            chosen = selection.select(self, chosen)
        elif isinstance(chosen, Sequence):
            chosen = np.asarray(chosen, None if len(chosen) else np.intp)
        columns = {name: array[chosen] for name, array in self.columns.items()}
        return Trace(columns, self.tables, self.marks, self.header, None, self.warnings)

    def sorted(self) -> Trace:
        """The same trace with its ops in order of t_submit; ties keep their order."""
        times = self.columns["t_submit"]
        if bool((times[1:] >= times[:-1]).all()):
            return self
        order = np.argsort(times, kind="stable")
        columns = {name: array[order] for name, array in self.columns.items()}
        return Trace(columns, self.tables, self.marks, self.header, self.trailer, self.warnings)

    def shifted(self, delta_ns: int) -> Trace:
        """The same trace with every time moved by `delta_ns`; the caller sees to it that none falls below zero."""
        columns = dict(self.columns)
        for name in TIME_COLUMNS:
            if name in columns:
                times = columns[name]
                columns[name] = np.where(times == NULL, NULL, times + delta_ns)
        marks = Marks.of(self.marks).shifted(delta_ns)
        return Trace(columns, self.tables, marks, self.header, self.trailer, self.warnings)

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with one row per op: categories as strings, missing values as pandas' NA.

        Raises:
            CannotRunError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            way_out = "pip install 'tracekit-io[pandas]', or pip install pandas"
            raise CannotRunError("a DataFrame needs pandas, which is not installed", way_out) from None

        data: dict[str, Any] = {}
        for name, array in self.columns.items():
            if COLUMNS[name].category:
                data[name] = pd.Categorical.from_codes(array.tolist(), categories=pd.Index(self.strings(name)))
            elif name == "sample_id" and name in self.tables:
                data[name] = [self._value(name, index) for index in range(len(self))]
            else:
                # ExtensionArray with its mask, not floats: an int64 of nanoseconds does not fit a float.
                data[name] = pd.arrays.IntegerArray(array.copy(), array == NULL)
        frame: pd.DataFrame = pd.DataFrame(data)
        return frame

    def to_arrow(self) -> pa.Table:
        """An Arrow table with one row per op: categories as dictionaries, missing values as nulls.

        Samples that have a name instead of a number stand in a column of their own, `sample_name`.
        """
        from tracekit import arrow

        return arrow.table_of(self)

    def _value(self, name: str, index: int) -> Any:
        value = int(self.columns[name][index])
        if value == NULL:
            return None
        if COLUMNS[name].category:
            return self.strings(name)[value]
        return self.sample_name(value) if name == "sample_id" else value

    def sample_name(self, code: int) -> int | str | None:
        """What a value of the `sample_id` column stands for: an integer, a name, or None."""
        if code < NULL:
            return self.tables["sample_id"].strings[name_code(code)]
        return None if code == NULL else code
