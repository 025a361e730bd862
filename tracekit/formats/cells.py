"""Columns of cells, as Arrow's readers give them, as columns of a trace: no cell becomes an object of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracekit.arrow import integers, known_of, values_of
from tracekit.formats.foreign import MAX_NS
from tracekit.trace import NULL, IntArray, Mask


def whole(cells: Any) -> tuple[IntArray, Mask] | None:
    """Cells of digits alone, and which are not null; None where one is something else, or too large."""
    import pyarrow as pa

    try:
        if not pa.types.is_integer(cells.type):
            cells = cells.cast(pa.string())
            cells = cells if _all_digits(cells) else _trimmed(cells)
            if not _all_digits(cells):
                return None
        values = cells.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return _filled(values), known(values)


def numbers(cells: Any, scale: int = 1) -> tuple[IntArray, Mask] | None:
    """Cells of numbers times `scale`, and which are not null; None where one is no number, or out of range.

    Whole numbers stay exact, whatever stands beside them; others are rounded.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = whole(cells) if not pa.types.is_floating(cells.type) else None
    if found is not None:
        most = (MAX_NS - 1) // scale
        return (found[0] * scale, found[1]) if bool((np.abs(found[0]) <= most).all()) else None
    try:
        if pa.types.is_floating(cells.type):
            exact, fractions = np.zeros(len(cells), np.int64), cells
            plain = np.zeros(len(cells), np.bool_)
        else:
            cells = _trimmed(cells)
            digits = pc.ascii_is_decimal(cells)
            plain = (values_of(digits.cast(pa.uint8())) != 0) & known(digits)
            exact = _filled(pc.if_else(digits, cells, pa.scalar("0", pa.string())).cast(pa.int64()))
            fractions = cells.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    scaled = np.where(known(fractions), values_of(fractions), 0) * scale
    if not bool((np.abs(scaled) < MAX_NS).all()):
        return None
    return np.where(plain, exact * scale, np.rint(scaled).astype(np.int64)), known(fractions)


def coded(cells: Any) -> tuple[IntArray, list[Any]]:
    """Cells as codes, NULL for null, and the distinct values in order of appearance."""
    import pyarrow as pa

    found = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    return integers(found.indices), found.dictionary.to_pylist()


def mapped(codes: IntArray, values: Any) -> IntArray:
    """Of each code its value; NULL where there is none."""
    return np.append(np.asarray(values, np.int64), NULL)[codes]


def _all_digits(cells: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.ascii_is_decimal(cells), min_count=0).as_py())


def _trimmed(cells: Any) -> Any:
    """Text without blanks around it; what is empty then is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.ascii_trim_whitespace(cells.cast(pa.string()))
    # Not as Python's values: to turn these into its own, Arrow imports pandas.
    return pc.if_else(pc.equal(texts, pa.scalar("", pa.string())), pa.nulls(1, pa.string())[0], texts)


def _filled(values: Any) -> IntArray:
    return np.where(known(values), values_of(values), 0)


def known(cells: Any) -> Mask:
    """Which cells are not null."""
    mask = known_of(cells)
    return np.ones(len(cells), np.bool_) if mask is None else mask
