"""The columns of a trace: what an op can say, and how it stands in memory.

In the columns a missing value is `NULL`; every real value is zero or more, so the two cannot be confused. Strings are codes
into tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

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
            "direct, o_append…, comma-separated; bracket: done at some time between t_submit and t_complete; of requests for objects range: for a "
            "range of bytes, connect: it opened a connection",
            category=True,
        ),
    )
}
CATEGORIES = tuple(name for name, column in COLUMNS.items() if column.category)
REQUIRED = ("uri", "offset", "len", "t_submit")
ALWAYS = (*REQUIRED, "op")
TIME_COLUMNS = tuple(name for name, column in COLUMNS.items() if column.unit == "ns")


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


def encode(column: Column, data: Sequence[Any], table: StringTable | None) -> IntArray:
    """The column of these values, None where one is missing; strings, and names of samples, go into `table`."""
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
