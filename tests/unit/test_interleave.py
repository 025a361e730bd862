"""Chunks of ops become one stream in order of time, and no chunk is read before its time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.interleave import Chunk, interleave
from tracekit.trace import NULL


def _columns(times, tag):
    return {"t_submit": np.array(times, np.int64), "pid": np.full(len(times), tag, np.int32)}


def _chunk(times, tag, *, begins=None):
    return Chunk(min(times, default=0) if begins is None else begins, lambda: _columns(times, tag))


def _all(pieces):
    return [pair for piece in pieces for pair in zip(piece["t_submit"].tolist(), piece["pid"].tolist(), strict=True)]


@given(st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=8), st.integers(1, 30))
def test_the_stream_is_what_sorting_everything_gives(groups, ops):
    """Any chunks, unsorted and overlapping, come out as one stable sort of all their ops would have it."""
    chunks = [_chunk(times, tag) for tag, times in enumerate(groups)]
    wanted = sorted(((time, tag) for tag, times in enumerate(groups) for time in times), key=lambda pair: pair[0])
    assert _all(interleave(chunks, ops)) == wanted


def test_only_what_overlaps_is_open():
    """A chunk is read when its time has come, and let go before one that begins after its end is read."""
    read = []

    def of(tag, first, last):
        return Chunk(first, lambda: read.append(tag) or _columns([first, last], tag))

    stream = interleave([of(0, 0, 10), of(1, 5, 20), of(2, 21, 30), of(3, 25, 26)], 1)
    assert next(stream)["t_submit"].tolist() == [0, 5, 10]
    assert read == [0, 1]
    seen = [time for piece in stream for time in piece["t_submit"].tolist()]
    assert seen == [20, 21, 25, 26, 30]
    assert read == [0, 1, 2, 3]


def test_a_chunk_that_begins_too_late_is_refused():
    """An op from before its chunk's beginning would be out of order: it is an error, not a silent one."""
    with pytest.raises(ValueError, match="a chunk that begins at 5 has an op of 3"):
        list(interleave([_chunk([3], 0, begins=5)], 10))


def test_columns_that_a_chunk_lacks_are_missing_values():
    """Where one chunk has a column and another has not, the other's ops have NULL there."""
    with_ret = Chunk(0, lambda: {**_columns([1], 0), "ret": np.array([7])})
    (piece,) = interleave([with_ret, _chunk([2], 1)], 10)
    assert piece["ret"].tolist() == [7, NULL]


def test_pieces_have_about_the_asked_size():
    """Many small chunks are joined until there are enough ops; nothing is lost at the end."""
    chunks = [_chunk(range(n * 10, n * 10 + 10), n) for n in range(20)]
    sizes = [len(piece["t_submit"]) for piece in interleave(chunks, 64)]
    assert sizes == [70, 70, 60]
