"""Pick ops of a trace by an expression: `op=read|write, uri=*/train/*, step=3..9, t=0s..5s, len>=4KiB`.

    EXPRESSION  = TERM, TERM, …             every term must hold
    TERM        = KEY COMPARE VALUES        COMPARE is = != < <= > >=
    VALUES      = VALUE | VALUE | …         any of them (= and != only)
    VALUE       = a number, a size (4KiB), a time (1.5s), a name or glob (*.npy), a range LOW..HIGH (both ends are in,
                  either may be left out), or none: the op does not say

Keys are the columns of a trace; `t` is `t_submit`, `service` is t_complete − t_submit. An op that does not say fulfils no
comparison but `=none` and `!=`. A glob on `uri` is held against the URI and, for local files, against the path; a `?`
stands for a comma, which separates terms.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import TracekitError, UnknownNameError, UsageError, nearest
from tracekit.trace import CATEGORIES, COLUMNS, NULL, Mask, StringTable, Trace
from tracekit.units import parse_bytes, parse_ns
from tracekit.uri import local_path

_TERM = re.compile(r"\s*([A-Za-z_]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
# `op == 'read' and len > 5`, as Python and SQL have it: it would be a name that no op has.
_FOREIGN = re.compile(r"^=|^(['\"]).*\1$|\s(?:and|or|&&|\|\|)\s+[A-Za-z_]+\s*[=<>!]", re.IGNORECASE)
_ALIASES = {"t": "t_submit"}
_KEYS = (*COLUMNS, *_ALIASES, "service")
_ORDERS: dict[str, Callable[[NDArray[np.int64], int], Mask]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_EXAMPLE = "write terms as KEY=VALUE, as in op=read,step=3..9,len>=4KiB"


def select(trace: Trace, expression: str) -> Mask:
    """Which ops of a trace an expression picks.

    Raises:
        UnknownNameError: If a key does not exist; the nearest is proposed.
        UsageError: If a term cannot be read.
    """
    mask = np.ones(len(trace), np.bool_)
    for term in expression.split(","):
        mask &= _term(trace, term)
    return mask


def hint(expression: str, tables: Mapping[str, StringTable]) -> str:
    """What to change in an expression that picks nothing: names that no op has, and the nearest that some op has.

    Args:
        expression: One that `select` has read.
        tables: The trace's names by column.
    """
    told = []
    for match in filter(None, map(_TERM.fullmatch, expression.split(","))):
        key, compare, text = match.groups()
        if compare == "=" and key in tables and key != "uri":
            told += [_unknown(key, value.strip(), tables[key].strings) for value in text.split("|")]
    return "; ".join(["change --select", *filter(None, told)])


def _unknown(key: str, value: str, names: Sequence[str]) -> str:
    if value == "none" or any(_is_like(key, name, value) for name in names):
        return ""
    near = nearest(value, names)
    return f"no op has {key}={value}" + (f" (did you mean {near!r}?)" if near else "")


def _term(trace: Trace, term: str) -> Mask:
    match = _TERM.fullmatch(term)
    if match is None:
        raise UsageError(f"{term.strip()!r} is not a term of a selection", _EXAMPLE)
    key, compare, text = match.groups()
    if key not in _KEYS:
        raise UnknownNameError("selection key", key, _KEYS)
    if not text:
        raise UsageError(f"the term {term.strip()!r} has no value", _EXAMPLE)
    if _FOREIGN.search(text):
        raise UsageError(
            f"the term {term.strip()!r} is written as in another language",
            "a comma stands between terms, a single = compares, and names have no quotes: op=read, len>=4KiB",
        )
    if compare in _ORDERS:
        return _ordered(trace, key, compare, text)
    chosen = np.zeros(len(trace), np.bool_)
    for value in text.split("|"):
        chosen |= _equal(trace, key, value.strip())
    return chosen if compare == "=" else ~chosen


def _ordered(trace: Trace, key: str, compare: str, text: str) -> Mask:
    column = _ALIASES.get(key, key)
    if column in CATEGORIES:
        raise UsageError(f"{key} has names, not numbers: {compare} does not apply", f"use {key}={text}")
    values = _values(trace, column)
    return np.asarray(_ORDERS[compare](values, _number(column, text)) & (values != NULL), np.bool_)


def _equal(trace: Trace, key: str, text: str) -> Mask:
    column = _ALIASES.get(key, key)
    if column in CATEGORIES:
        return _named(trace, column, text)
    values = _values(trace, column)
    if text == "none":
        return np.asarray(values == NULL, np.bool_)
    if column == "sample_id" and not re.fullmatch(r"[0-9.]+", text):
        return _sampled(trace, text)
    low, separator, high = text.partition("..")
    if not separator:
        return np.asarray(values == _number(column, text), np.bool_)
    if not low and not high:
        raise UsageError(f"the range in {key}={text} has no end", "write LOW..HIGH, LOW.. or ..HIGH")
    above = values >= (_number(column, low) if low else 0)
    below = values <= _number(column, high) if high else True
    return np.asarray(above & below & (values != NULL), np.bool_)


def _named(trace: Trace, column: str, text: str) -> Mask:
    if text == "none":
        return np.asarray(trace.col(column) == NULL, np.bool_)
    matches = [code for code, name in enumerate(trace.strings(column)) if _is_like(column, name, text)]
    return np.isin(trace.col(column), matches)


def _is_like(column: str, name: str, pattern: str) -> bool:
    names = [name]
    if column == "flags":
        names = [flag.strip() for flag in name.split(",")]
    elif column == "uri":
        try:
            names.append(local_path(name))
        except TracekitError:
            pass  # an object has no path; its URI is all there is to match
    return any(fnmatch.fnmatchcase(one, pattern) for one in names)


def _sampled(trace: Trace, pattern: str) -> Mask:
    names = trace.strings("sample_id")
    # Codes of named samples run from -2 down, in the order of their table (tracekit.trace).
    codes = [NULL - 1 - code for code, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
    return np.isin(trace.col("sample_id"), codes)


def _values(trace: Trace, column: str) -> NDArray[np.int64]:
    if column != "service":
        return np.asarray(trace.col(column), np.int64)
    completes, submits = trace.col("t_complete"), trace.col("t_submit")
    return np.asarray(np.where(completes == NULL, NULL, completes - submits), np.int64)


def _number(column: str, text: str) -> int:
    unit = "ns" if column == "service" else COLUMNS[column].unit
    if unit == "bytes":
        return parse_bytes(text)
    if unit == "ns":
        return int(text) if re.fullmatch(r"[0-9]+", text) else parse_ns(text)
    if not re.fullmatch(r"[0-9]+", text):
        raise UsageError(f"{column} is compared with a whole number, not with {text!r}", _EXAMPLE)
    return int(text)
