"""The one thing everything else makes or reads: a Trace, columns of ops with a header, marks and a trailer.

The format is described in docs/trace.md (schema version 1). Times are nanoseconds since the trace's t0, sizes are bytes.
In the columns a missing value is `NULL`; every real value is zero or more, so the two cannot be confused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import UnknownNameError

if TYPE_CHECKING:
    import os

    import pandas as pd
    import pyarrow as pa

# 1: the first published schema.
SCHEMA_VERSION = 1
NULL = -1

IntArray = NDArray[np.signedinteger[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """One key of an op line: its type in memory, its unit, and what it means."""

    name: str
    dtype: type[np.int64 | np.int32]
    unit: str
    meaning: str
    category: bool = False


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("uri", np.int32, "", "what was accessed", category=True),
        Column("offset", np.int64, "bytes", "where in the file or object; null when the source did not record it"),
        Column("len", np.int64, "bytes", "how much was asked for"),
        Column("t_submit", np.int64, "ns", "when the op was issued"),
        Column(
            "op",
            np.int32,
            "",
            "what was done: read, write, open, close, stat, list, mmap, touch, delete, fsync…",
            category=True,
        ),
        Column("t_complete", np.int64, "ns", "when the op returned"),
        Column("ret", np.int64, "bytes", "how much was moved"),
        Column("err", np.int32, "", "errno name or HTTP status of a failed op", category=True),
        Column("t_due", np.int64, "ns", "when a replayer or driver was to issue it"),
        Column("t_first_byte", np.int64, "ns", "when the first byte of an object's body arrived"),
        Column("pid", np.int32, "", "process that issued the op"),
        Column("tid", np.int32, "", "thread that issued the op"),
        Column("rank", np.int32, "", "rank of a distributed job"),
        Column("worker", np.int32, "", "loader worker"),
        Column("epoch", np.int32, "", "training epoch the op serves"),
        Column("step", np.int32, "", "training step whose batch the op serves"),
        Column(
            "sample_id", np.int64, "", "training sample the op serves; values below -1 are codes into a table of names"
        ),
        Column("layer", np.int32, "", "who saw it: libc, python, s3, az", category=True),
        Column("level", np.int32, "", "logical or wire, for object requests", category=True),
        Column(
            "attempts",
            np.int32,
            "",
            "of a logical request the wire requests it took, of a wire request which attempt it was",
        ),
        Column(
            "flags",
            np.int32,
            "",
            "direct, o_append…, comma-separated; bracket: done at some time between t_submit and t_complete",
            category=True,
        ),
    )
}
CATEGORIES = tuple(name for name, column in COLUMNS.items() if column.category)


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


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of the program's own structure: a `step`, `epoch`, `checkpoint` or `compute` from `t` to `t_end`, in ns.

    A `step` runs from the moment its batch is asked for to the moment the next one is; the `compute` with the same step
    number starts when the batch was handed over. Their difference is the wait for data.
    """

    mark: str
    t: int
    t_end: int | None = None
    step: int | None = None
    epoch: int | None = None
    pid: int | None = None


@dataclass(frozen=True)
class Header:
    """The first line: where the trace comes from.

    `producer` has tool, version, verb, engine, reason and the verb's options; `clock` has t0_unix_ns, source and
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


class StringTable:
    """Strings by small integer code, in order of first appearance; code `NULL` is None."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self.strings: list[str] = []
        self._codes: dict[str | None, int] = {None: NULL}
        for text in strings:
            self.code(text)

    def code(self, text: str | None) -> int:
        """The code of `text`, adding it if it is new."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.strings)
            self.strings.append(text or "")
        return code

    def encode(self, texts: Sequence[str | None]) -> NDArray[np.int32]:
        """The codes of many texts, adding what is new in order of appearance."""
        distinct = dict.fromkeys(texts)
        for text in distinct:
            if text not in self._codes:
                self.code(text)
        if len(distinct) == 1:
            return np.full(len(texts), self._codes[texts[0]], np.int32)
        return np.fromiter(map(self._codes.__getitem__, texts), np.int32, len(texts))

    def find(self, text: str) -> int | None:
        """The code of `text`, or None if it is not in the table."""
        return self._codes.get(text)

    def __len__(self) -> int:
        return len(self.strings)


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
        self.marks = list(marks)
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
            array = _encode(column, data, tables.get(name))
            if name in _REQUIRED or bool((array != NULL).any()):
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

    def __getitem__(self, index: int) -> Op:
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

    def select(self, chosen: Mask | NDArray[np.intp] | slice) -> Trace:
        """The ops of a mask, index array or slice, in that order; marks, header and tables stay, the trailer goes."""
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
        marks = [
            replace(mark, t=mark.t + delta_ns, t_end=None if mark.t_end is None else mark.t_end + delta_ns)
            for mark in self.marks
        ]
        return Trace(columns, self.tables, marks, self.header, self.trailer, self.warnings)

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with one row per op: categories as strings, missing values as pandas' NA."""
        import pandas as pd

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


_REQUIRED = ("uri", "offset", "len", "t_submit")
ALWAYS = (*_REQUIRED, "op")
TIME_COLUMNS = tuple(name for name, column in COLUMNS.items() if column.unit == "ns")


def merge(traces: Sequence[Trace]) -> Trace:
    """All ops and marks of several traces in one, in order of time.

    Clocks are brought together by the headers' `t0_unix_ns` where every trace has one; otherwise times stay as they are
    and the result carries a warning. The header is the first trace's; trailers are added up where all have one.
    """
    if not traces:
        return Trace.of([])
    parts, warnings = _on_one_clock(traces)
    joined = concatenate(parts)
    marks = sorted(joined.marks, key=lambda mark: mark.t)
    trailer = trailers_added([part.trailer for part in parts])
    notes = [*warnings, *(note for part in parts for note in part.warnings)]
    return Trace(joined.columns, joined.tables, marks, parts[0].header, trailer, notes).sorted()


def concatenate(parts: Sequence[Trace]) -> Trace:
    """The pieces of one trace in one, in their order: header of the first, trailer of the last, marks of all."""
    if not parts:
        return Trace.of([])
    names = [name for name in COLUMNS if any(name in part for part in parts)]
    tables = {name: StringTable() for name in names if any(name in part.tables for part in parts)}
    columns = {name: np.concatenate([_recoded(part, name, tables.get(name)) for part in parts]) for name in names}
    marks = [mark for part in parts for mark in part.marks]
    return Trace(columns, tables, marks, parts[0].header, parts[-1].trailer, parts[-1].warnings)


def _on_one_clock(traces: Sequence[Trace]) -> tuple[list[Trace], list[str]]:
    origins = [trace.header.clock.get("t0_unix_ns") if trace.header else None for trace in traces]
    known = [origin for origin in origins if isinstance(origin, int)]
    if len(known) < len(traces):
        several = len(traces) > 1
        return list(traces), ["merged traces without a common clock: times are as recorded"] if several else []
    first = min(known)
    shifted = [trace.shifted(origin - first) for trace, origin in zip(traces, known, strict=True)]
    leader = shifted[known.index(first)].header or Header()
    shifted[0].header = replace(shifted[0].header or Header(), clock=leader.clock)
    return shifted, []


def _recoded(part: Trace, name: str, table: StringTable | None) -> IntArray:
    codes = part.col(name)
    if table is None or name not in part.tables:
        return codes
    mapping = np.array([table.code(text) for text in part.strings(name)], np.int64)
    if name == "sample_id":
        named = codes < NULL
        out = codes.copy()
        out[named] = name_code(mapping[name_code(codes[named])])
        return np.asarray(out)
    known = codes != NULL
    out = np.full(len(codes), NULL, COLUMNS[name].dtype)
    out[known] = mapping[codes[known]]
    return out


def trailers_added(parts: Sequence[Trailer | None]) -> Trailer | None:
    """The trailer of several traces in one; None where one of them has none."""
    trailers = [trailer for trailer in parts if trailer is not None]
    if len(trailers) < len(parts):
        return None
    return Trailer(
        ops=sum(trailer.ops for trailer in trailers),
        bytes=sum(trailer.bytes for trailer in trailers),
        lost=sum(trailer.lost for trailer in trailers),
        processes=[process for trailer in trailers for process in trailer.processes],
        coverage=trailers[0].coverage if len(trailers) == 1 else {"parts": [dict(t.coverage) for t in trailers]},
        residency=trailers[0].residency if len(trailers) == 1 else {},
        run=trailers[0].run if len(trailers) == 1 else {},
    )


def _encode(column: Column, data: Sequence[Any], table: StringTable | None) -> IntArray:
    if column.category and table is not None:
        return table.encode(data)
    if table is not None:
        return encode_samples(data, table)
    values: Iterable[int] = (NULL if value is None else value for value in data) if None in data else data
    return np.fromiter(values, column.dtype, len(data))


def encode_samples(data: Sequence[int | str | None], table: StringTable) -> IntArray:
    """The `sample_id` column of these values; names, and integers below 0 as text, go into `table`."""
    return np.fromiter((_sample_code(value, table) for value in data), np.int64, len(data))


def _sample_code(value: int | str | None, table: StringTable) -> int:
    """Integers from 0 stand for themselves; names, and integers that would collide with NULL, get codes from -2 down."""
    if value is None:
        return NULL
    if isinstance(value, int) and 0 <= value < 2**63:
        return value
    return name_code(table.code(str(value)))


_Code = TypeVar("_Code", int, IntArray)


def name_code(position: _Code) -> _Code:
    """The sample_id code of a position in its table of names, and (being its own inverse) the position of a code."""
    return NULL - 1 - position
