"""Traces as Arrow tables and back: the same columns as the lines of a trace file, with true nulls.

Arrow gives a column one type, so a sample that has a name instead of a number stands in `sample_name`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError
from tracekit.trace import ALWAYS, CATEGORIES, COLUMNS, NULL, Column, IntArray, Mask, StringTable, Trace, name_code
from tracekit.uri import utf8

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_NAME = "sample_name"
REQUIRED = ("uri", "len", "t_submit")


def schema() -> pa.Schema:
    """Every column of a trace, in order."""
    import pyarrow as pa

    types = {np.int32: pa.int32(), np.int64: pa.int64()}
    text = pa.dictionary(pa.int32(), pa.string())
    fields = [(name, text if column.category else types[column.dtype]) for name, column in COLUMNS.items()]
    place = list(COLUMNS).index("sample_id") + 1
    return pa.schema([*fields[:place], (SAMPLE_NAME, text), *fields[place:]])


def table_of(trace: Trace, *, whole: bool = False) -> pa.Table:
    """The ops of a trace as a table: the columns it has, or every column there is (`whole`)."""
    import pyarrow as pa

    wanted = schema()
    if not whole:
        wanted = pa.schema([field for field in wanted if _present(trace, field.name)])
    return pa.Table.from_arrays([_array(trace, field) for field in wanted], schema=wanted)


def _present(trace: Trace, name: str) -> bool:
    return "sample_id" in trace.tables if name == SAMPLE_NAME else name in trace


def _array(trace: Trace, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    name = field.name
    if not _present(trace, name):
        return pa.nulls(len(trace), field.type)
    if name == SAMPLE_NAME:
        codes = trace.col("sample_id")
        return _texts(np.where(codes < NULL, name_code(codes), NULL), trace.strings("sample_id"))
    values = trace.col(name)
    if COLUMNS[name].category:
        return _texts(values, trace.strings(name))
    missing = values < 0
    return pa.array(values, field.type, mask=missing if bool(missing.any()) else None)


def _texts(codes: IntArray, strings: list[str]) -> pa.DictionaryArray:
    """Codes as a dictionary array that holds only the strings in use: a table may hold those of a much longer trace."""
    import pyarrow as pa

    used = np.zeros(len(strings) + 1, np.bool_)  # NULL is -1: the last
    used[codes] = True
    nothing, used[-1] = bool(used[-1]), False
    places = np.cumsum(used, dtype=np.int32) - 1
    missing = codes == NULL if nothing else None
    texts = pa.array([utf8(strings[code]) for code in np.flatnonzero(used)], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(places[codes], pa.int32(), mask=missing), texts)


class Decoder:
    """Turns record batches of one source into columns whose strings are codes into tables that grow.

    Args:
        source: The source's name, for messages.
        unit: What a time is to be multiplied with to be nanoseconds; where it is not 1, times may have fractions.
        skip_bad: Leave rows out that no op can be, and count them, instead of raising.
    """

    def __init__(self, source: str, unit: int = 1, *, skip_bad: bool = False) -> None:
        self.source = source
        self.unit = unit
        self.skip_bad = skip_bad
        self.tables = {name: StringTable() for name in (*CATEGORIES, "sample_id")}
        self.tables["op"].code("read")
        self.rows = 0
        self.bad = 0
        self.first_bad = ""
        self._dictionaries: dict[str, tuple[pa.Array, NDArray[np.int32]]] = {}

    def columns(self, batch: pa.RecordBatch) -> dict[str, IntArray]:
        """The columns of a batch, those left out that hold nothing.

        Raises:
            InputError: If a column is of the wrong type, or a row is no op.
        """
        bad = np.zeros(batch.num_rows, np.bool_)
        found: dict[str, IntArray] = {}
        for name, column in COLUMNS.items():
            if name in batch.schema.names:
                found[name] = self._column(column, batch.column(name), bad)
        if SAMPLE_NAME in batch.schema.names:
            found["sample_id"] = self._named(batch, found.get("sample_id"))
        for name in ("offset", "op"):
            found.setdefault(name, np.full(batch.num_rows, NULL, COLUMNS[name].dtype))
        if bool((found["op"] == NULL).any()):
            found["op"] = np.where(found["op"] == NULL, np.int32(0), found["op"])
        for name in REQUIRED:
            bad |= found[name] == NULL
        if bool(bad.any()):
            self._reject(bad)
            found = {name: values[~bad] for name, values in found.items()}
        self.rows += batch.num_rows
        return {name: found[name] for name in COLUMNS if name in found and _useful(name, found[name])}

    def _column(self, column: Column, array: pa.Array, bad: Mask) -> IntArray:
        import pyarrow.types as kinds

        if kinds.is_null(array.type):
            return np.full(len(array), NULL, column.dtype)
        if column.category:
            return self._codes(column.name, array)
        if column.name == "sample_id" and not kinds.is_integer(array.type):
            codes = self._codes("sample_id", array)
            return np.where(codes == NULL, NULL, name_code(codes.astype(np.int64)))
        if column.unit == "ns" and (self.unit != 1 or kinds.is_floating(array.type)):
            return self._times(column.name, array, bad)
        return self._numbers(column, array, bad)

    def _numbers(self, column: Column, array: pa.Array, bad: Mask) -> IntArray:
        import pyarrow as pa
        import pyarrow.types as kinds

        if not kinds.is_integer(array.type):
            raise self._wrong(column.name, array, "an integer")
        if array.type == pa.from_numpy_dtype(column.dtype):
            return _marked(array, bad)
        try:
            filled = array.cast(pa.from_numpy_dtype(column.dtype))
        except pa.ArrowInvalid:
            array, wrong = _limited(array, column)
            bad |= wrong
            filled = array.cast(pa.from_numpy_dtype(column.dtype))
        return _marked(filled, bad)

    def _times(self, name: str, array: pa.Array, bad: Mask) -> IntArray:
        import pyarrow as pa
        import pyarrow.types as kinds

        if not (kinds.is_integer(array.type) or kinds.is_floating(array.type)):
            raise self._wrong(name, array, "a number")
        missing = np.asarray(array.is_null())
        values = array.cast(pa.float64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False) * self.unit
        wrong = ~((values >= 0) & (values < 2.0**63))
        bad |= wrong & ~missing
        return np.where(missing, NULL, np.rint(np.where(wrong, 0, values)).astype(np.int64))

    def _codes(self, name: str, array: pa.Array) -> IntArray:
        import pyarrow.types as kinds

        if not kinds.is_dictionary(array.type):
            if not (kinds.is_string(array.type) or kinds.is_large_string(array.type)):
                raise self._wrong(name, array, "text")
            array = array.dictionary_encode()
        texts = array.dictionary
        if not (kinds.is_string(texts.type) or kinds.is_large_string(texts.type)):
            raise self._wrong(name, array, "text")
        before, mapping = self._dictionaries.get(name, (None, np.zeros(0, np.int32)))
        if before is None or not before.equals(texts):
            table = self.tables[name]
            mapping = np.append(table.encode(texts.to_pylist()), np.int32(NULL))
            self._dictionaries[name] = (texts, mapping)
        places = values_of(array.indices)
        if (known := known_of(array.indices)) is not None:
            # What stands in a null's place is anything.
            places = np.where(known, places.astype(np.int64), NULL)
        codes: IntArray = mapping[places]
        return codes

    def _named(self, batch: pa.RecordBatch, numbers: IntArray | None) -> IntArray:
        codes = self._column(COLUMNS["sample_id"], batch.column(SAMPLE_NAME), np.zeros(batch.num_rows, np.bool_))
        return codes if numbers is None else np.where(codes == NULL, numbers, codes)

    def _reject(self, bad: Mask) -> None:
        row = self.rows + int(np.flatnonzero(bad)[0]) + 1
        problem = f"{self.source}: row {row} is no op: it lacks `uri`, `len` or `t_submit`, or a number is out of range"
        if not self.skip_bad:
            raise InputError(problem, "mend the file, or pass --skip-bad to leave such rows out")
        self.bad += int(bad.sum())
        self.first_bad = self.first_bad or problem

    def _wrong(self, name: str, array: pa.Array, wanted: str) -> InputError:
        return InputError(f"{self.source}: the column `{name}` is {array.type}, not {wanted}", "name a trace file")


def values_of(array: pa.Array) -> IntArray:
    """The integers of an array; in a null's place stands anything."""
    # Arrow's own way to NumPy imports pandas, which takes longer than a small trace; its way to fill nulls imports all of its
    # functions, which takes as long as reading a million ops.
    # Arrow's integers have NumPy's names; to_pandas_dtype wants pandas to be there.
    kind = np.dtype(str(array.type))
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), kind)
    values: IntArray = np.frombuffer(data, kind, len(array), array.offset * kind.itemsize)
    return values


def known_of(array: pa.Array) -> Mask | None:
    """Which values of an array are no nulls; None where none is one."""
    bits = array.buffers()[0]
    if bits is None or not array.null_count:
        return None
    start = array.offset // 8
    used = np.frombuffer(bits, np.uint8)[start : (array.offset + len(array) + 7) // 8]
    return np.unpackbits(used, bitorder="little")[array.offset % 8 :][: len(array)].astype(np.bool_)


def integers(array: pa.Array) -> IntArray:
    """The integers of an array with NULL for nulls."""
    values, known = values_of(array), known_of(array)
    return values if known is None else np.where(known, values, values.dtype.type(NULL))


def _marked(array: pa.Array, bad: Mask) -> IntArray:
    """The integers of an array with NULL for nulls; what is below zero itself is noted as bad."""
    values = values_of(array)
    if len(values) and int(values.min()) < 0:
        known = known_of(array)
        bad |= values < 0 if known is None else (values < 0) & known
    return integers(array)


def _limited(array: pa.Array, column: Column) -> tuple[pa.Array, Mask]:
    """An array of a wider type with 0 for what its column cannot hold, and where that was."""
    import pyarrow as pa
    import pyarrow.compute as pc

    largest = pa.scalar(int(np.iinfo(column.dtype).max), array.type)
    fits = pc.and_(pc.greater_equal(array, pa.scalar(0, array.type)), pc.less_equal(array, largest)).fill_null(True)
    return pc.if_else(fits, array, pa.scalar(0, array.type)), ~np.asarray(fits)


def _useful(name: str, values: IntArray) -> bool:
    return name in ALWAYS or bool(len(values) and (values[0] != NULL or (values != NULL).any()))
