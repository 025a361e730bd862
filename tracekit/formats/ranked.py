"""Words of a column as the ranks of a table: the values that come most often first, and for each row which of them it has.

Planes of bytes take the bytes of a value as if they had nothing to do with each other. Where the same values come again and
again, as offsets of the chunks of a data set do, or service times on a clock of coarse steps, the rank says all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.formats import planes

_Words = NDArray[np.uint64]
_HEAD = Struct("<IBxxxI")  # entries of the table, its planes, their compressed bytes
_LEAST_REPEATS = 8
_LOOKED_AT = 1 << 12


def tabled(words: _Words, compress: Callable[[bytes], bytes]) -> tuple[int, bytes] | None:
    """(planes of the ranks, table and ranks as bytes); None where values come less than eight times each."""
    first = np.sort(words[:_LOOKED_AT])
    if not len(words) or np.count_nonzero(first[1:] != first[:-1]) > len(first) // 2:
        return None
    # np.unique does the same and takes a twentieth of a second to be imported.
    order = np.argsort(words)
    in_order = words[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    if len(starts) * _LEAST_REPEATS > len(words):
        return None
    counts = np.diff(starts, append=len(words))
    most_first = np.argsort(-counts, kind="stable")
    rank = np.empty(len(starts), np.uint64)
    rank[most_first] = np.arange(len(starts), dtype=np.uint64)
    ranks = np.empty(len(words), np.uint64)
    ranks[order] = np.repeat(rank, counts)
    table_width, table = planes.to_planes(in_order[starts][most_first])
    width, data = planes.to_planes(ranks)
    packed = compress(table)
    return width, _HEAD.pack(len(starts), table_width, len(packed)) + packed + compress(data)


def looked_up(width: int, data: bytes, rows: int, expand: Callable[[bytes, int], bytes]) -> _Words:
    """The words that `tabled` was given.

    Raises:
        ValueError: If the bytes are no table with ranks in it.
    """
    if len(data) < _HEAD.size:
        raise ValueError("a table has no head")
    entries, table_width, size = _HEAD.unpack_from(data)
    if entries > rows or table_width > 8 or _HEAD.size + size > len(data):
        raise ValueError("a table says more than it can hold")
    packed, rest = data[_HEAD.size : _HEAD.size + size], data[_HEAD.size + size :]
    table = planes.from_planes(table_width, expand(packed, table_width * entries), entries)
    ranks: Any = planes.from_planes(width, expand(rest, width * rows), rows)
    if rows and (not entries or int(ranks.max()) >= entries):
        raise ValueError("a rank is beyond its table")
    words: _Words = table[ranks.astype(np.intp)]
    return words
