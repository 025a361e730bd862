"""The native writer of lines writes what the Python writer writes, byte for byte, and stays inside its memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from drivers import sanitized

from tracekit import Op, Trace
from tracekit.formats import emit, line_writer
from tracekit.formats.emit import QuickLines
from tracekit.formats.line_writer import PythonLines
from tracekit.testing import training_trace
from tracekit.trace import COLUMNS, StringTable

core = pytest.importorskip("tracekit._core", reason="the native core is not built here")

TEXT = st.one_of(st.sampled_from(["/a", 'quote" \\ \n', "é€", "\udcff"]), st.text(max_size=12))
BIG = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1), st.sampled_from([10**n for n in range(19)]))
SMALL = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 2**31 - 1))
TIME = st.one_of(st.none(), BIG)
NAME = st.one_of(st.none(), TEXT)
OPS = st.builds(
    Op, uri=TEXT, offset=TIME, len=BIG, t_submit=BIG, op=TEXT, t_complete=TIME, ret=TIME, err=NAME, t_due=TIME,
    t_first_byte=TIME, pid=SMALL, tid=SMALL, rank=SMALL, worker=SMALL, epoch=SMALL, step=SMALL,
    sample_id=st.one_of(st.none(), BIG, TEXT), layer=NAME, level=NAME, attempts=SMALL, flags=NAME,
)  # fmt: skip


def _both(*pieces):
    """What each of the two makes of pieces that come one after the other."""
    quick, python = QuickLines(core), PythonLines()
    return b"".join(b"".join(quick(piece)) for piece in pieces), b"".join(b"".join(python(piece)) for piece in pieces)


@settings(max_examples=200)
@given(st.lists(st.lists(OPS, max_size=8), max_size=3), st.sampled_from([1, 700, 1 << 20]))
def test_both_writers_write_the_same_bytes(groups, room):
    """Any ops in any number of pieces, each with tables of its own, and any room for lines."""
    before, emit._ROOM = emit._ROOM, room
    try:
        quick, python = _both(*map(Trace.of, groups))
    finally:
        emit._ROOM = before
    assert quick == python


def test_tables_that_grow_between_pieces_are_followed():
    """A table that got longer gives the new strings, and a new table under the same name its own."""
    table = StringTable(["/a"])

    def piece(code, uris):
        columns = {"uri": np.array([code], np.int32), "op": np.zeros(1, np.int32)}
        numbers = {name: np.array([code]) for name in ("offset", "len", "t_submit")}
        return Trace({**columns, **numbers}, {"uri": uris, "op": StringTable(["read"])})

    first = piece(0, table)
    table.code("/b")
    quick, python = _both(first, piece(1, table), piece(0, StringTable(["/other"])))
    assert quick == python
    assert [line.split(b'"')[3] for line in quick.splitlines()] == [b"/a", b"/b", b"/other"]


def test_a_long_line_finds_room():
    """A name longer than all the room there is gets more."""
    quick, python = _both(Trace.of([Op("/" + "x" * 3_000_000, 0, 1, 2)]))
    assert quick == python


def test_a_slice_or_wider_column_is_no_trouble():
    """Columns that are views, or of another type than the table of columns says, are written all the same."""
    trace = training_trace()
    part = trace.select(slice(3, 250, 7))
    wide = Trace({name: array.astype(np.int64) for name, array in part.columns.items()}, part.tables)
    assert _both(part)[0] == _both(part)[1] == _both(wide)[0]


def test_a_code_outside_its_table_is_refused():
    """A trace that contradicts itself is an error, not a look into other memory."""
    trace = training_trace()
    trace.columns["uri"] = trace.columns["uri"] + 10_000
    with pytest.raises(ValueError, match="row 0 has a code that is not in its column's table"):
        list(QuickLines(core)(trace))


def test_what_the_core_emits_is_what_it_parses():
    """The writer takes the columns in the order that the parser has them, and Python's way is taken without a core."""
    assert [name for name, _ in core.parser_columns()] == list(COLUMNS)
    assert isinstance(line_writer._emitter(), QuickLines)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_writer_is_clean_under_sanitizers(repository, tmp_path):
    """Random rows into room of exactly the size given, under ASan and UBSan: no access outside, no undefined behaviour."""
    driver = sanitized(repository, tmp_path / "driver", "emit", ("emit", "parse", "scan", "strings"))
    done = subprocess.run([str(driver), "1", "20000"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines, no_room, bad = map(int, done.stdout.split())
    assert min(lines, no_room, bad) > 500
