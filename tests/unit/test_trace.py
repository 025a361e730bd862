"""The Trace in memory: columns, tables, deriving, merging."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, merge
from tracekit.errors import UnknownNameError, UsageError
from tracekit.trace import COLUMNS, NULL, StringTable


def test_ops_come_back_as_they_were():
    """Indexing and iterating give the ops that were put in; what is missing is None."""
    ops = [Op("/a", None, 5, 7, err="EIO"), Op("/b", 3, 5, 1, op="write", sample_id="x", pid=0)]
    trace = Trace.of(ops)

    assert (len(trace), list(trace), trace[1]) == (2, ops, ops[1])
    assert "pid" in trace
    assert "worker" not in trace
    assert trace.uris == ["/a", "/b"]


def test_a_column_that_is_not_there_is_null():
    """`col` gives NULL throughout for a column the trace does not have, in its type and without memory."""
    column = Trace.of([Op("/a", 0, 1, 0)] * 3).col("worker")

    assert column.tolist() == [NULL] * 3
    assert column.dtype == np.int32
    assert column.strides == (0,)


def test_a_column_nobody_knows_is_refused_with_a_proposal():
    """A misspelt column is an error that names the nearest."""
    trace = Trace.of([Op("/a", 0, 1, 0)])

    with pytest.raises(UnknownNameError, match="there is no column 't_submitt'; did you mean 't_submit'"):
        trace.col("t_submitt")
    with pytest.raises(UnknownNameError, match="'lenn'"):
        Trace({**trace.columns, "lenn": trace.columns["len"]}, trace.tables)


def test_masks_know_names_that_do_not_occur():
    """A mask over a category is True for its texts and False for texts the trace does not have."""
    trace = Trace.of([Op("/a", 0, 1, 0), Op("/a", 0, 1, 1, op="write"), Op("/a", 0, 1, 2, op="open")])

    assert trace.mask("op", "write", "open", "fsync").tolist() == [False, True, True]
    assert trace.mask("op", "fsync").tolist() == [False] * 3
    assert trace.mask("err", "EIO").tolist() == [False] * 3


def test_a_slice_is_a_trace():
    """As of a list: an index gives an op, a slice the trace of those ops."""
    trace = Trace.of([Op(f"/{n}", n, 1, n) for n in range(5)])
    assert isinstance(trace[1:4], Trace)
    assert list(trace[1:4]) == [trace[1], trace[2], trace[3]]
    assert [op.offset for op in trace[::-2]] == [4, 2, 0]


def test_a_mask_an_index_array_and_an_expression_pick_ops():
    """As NumPy has it, and as --select does; also picking nothing."""
    trace = Trace.of([Op(f"/{n}", n, 1, n, op="write" if n == 2 else "read") for n in range(5)])
    late = trace.col("offset") >= 3
    for part in (trace[late], trace.select(late), trace[[3, 4]], trace.select("offset>=3"), trace[np.array([3, 4])]):
        assert isinstance(part, Trace)
        assert list(part) == [trace[3], trace[4]]
    assert list(trace.select("op=write")) == [trace[2]]
    assert len(trace[[]]) == len(trace.select([])) == 0


def test_a_name_is_no_op():
    """`trace["op"]` says how to come by a column and by ops; an expression that nobody can read is refused as --select does."""
    trace = Trace.of([Op("/a", 0, 1, 0)])
    with pytest.raises(UsageError, match=r"none is 'op'; col\('op'\) is a column, select\('op=…'\) the ops"):
        trace["op"]
    with pytest.raises(UnknownNameError, match="'op'"):
        trace.select("opp=read")


def test_selecting_drops_the_trailer():
    """A part of a trace keeps marks and header; the trailer counted the whole and goes."""
    trace = Trace.of(
        [Op("/a", 0, 1, 0), Op("/b", 0, 1, 1)], marks=[Mark("step", 0)], header=Header(), trailer=Trailer(2)
    )
    part = trace.select(trace.mask("uri", "/b"))

    assert list(part) == [Op("/b", 0, 1, 1)]
    assert (part.trailer, part.marks, part.header) == (None, trace.marks, trace.header)
    assert len(trace) == 2


def test_sorted_traces_are_not_copied():
    """Sorting what is sorted gives the same object."""
    trace = Trace.of([Op("/a", 0, 1, 0), Op("/a", 0, 1, 0)])

    assert trace.sorted() is trace


def test_shifting_moves_every_time_and_no_null():
    """All times of ops and marks move; NULL stays NULL; the original is untouched."""
    trace = Trace.of(
        [Op("/a", 0, 1, 5, t_due=3), Op("/a", 0, 1, 6, t_complete=9)], marks=[Mark("step", 1, 2), Mark("epoch", 4)]
    )
    moved = trace.shifted(100)

    assert list(moved) == [Op("/a", 0, 1, 105, t_due=103), Op("/a", 0, 1, 106, t_complete=109)]
    assert moved.marks == [Mark("step", 101, 102), Mark("epoch", 104)]
    assert trace[0].t_submit == 5


def test_merging_adds_trailers_up():
    """Ops, bytes and losses are sums, processes are listed one after the other, coverage keeps its parts."""
    parts = [
        Trace.of([], trailer=Trailer(1, 10, 0, [{"pid": 1}], {"a": 1})),
        Trace.of([], trailer=Trailer(2, 20, 3, [{"pid": 2}], {"a": 2})),
    ]
    trailer = merge(parts).trailer

    assert (trailer.ops, trailer.bytes, trailer.lost) == (3, 30, 3)
    assert trailer.processes == [{"pid": 1}, {"pid": 2}]
    assert trailer.coverage == {"parts": [{"a": 1}, {"a": 2}]}


def test_merging_with_a_part_cut_short_is_cut_short():
    """One part without a trailer leaves the whole without one."""
    assert merge([Trace.of([], trailer=Trailer()), Trace.of([])]).trailer is None


def test_merging_without_clocks_says_so():
    """Parts without t0_unix_ns keep their times, with a warning; one part alone needs none."""
    parts = [Trace.of([Op("/a", 0, 1, 5)]), Trace.of([Op("/b", 0, 1, 3)], header=Header(clock={"t0_unix_ns": 9}))]

    assert [op.t_submit for op in merge(parts)] == [3, 5]
    assert merge(parts).warnings == ["merged traces without a common clock: times are as recorded"]
    assert merge(parts[:1]).warnings == []


def test_merging_nothing_is_an_empty_trace():
    """No parts make a trace of no ops."""
    assert len(merge([])) == 0


def test_merging_joins_tables():
    """Names of files, ops and samples mean the same in the whole as in the parts."""
    first = [Op("/a", 0, 1, 0, sample_id="x"), Op("/b", 0, 1, 1, sample_id=4)]
    second = [Op("/b", 0, 1, 2, op="write", sample_id="y"), Op("/a", 0, 1, 3, sample_id="x")]

    assert list(merge([Trace.of(first), Trace.of(second)])) == first + second


def test_pandas_has_one_row_per_op():
    """Categories are strings, integers keep their 64 bits, missing is NA."""
    frame = Trace.of([Op("/a", 2**62 + 1, 5, 0, worker=1), Op("/b", None, 5, 1)]).to_pandas()

    assert frame["uri"].tolist() == ["/a", "/b"]
    assert frame["offset"][0] == 2**62 + 1
    assert frame["offset"].isna().tolist() == [False, True]
    assert str(frame["t_submit"].dtype) == "Int64"


def test_string_tables_count_from_zero():
    """Codes are given in order of appearance; None is NULL; unknown texts are not added by looking."""
    table = StringTable(["x"])

    assert [table.code(text) for text in ("x", "y", None, "x")] == [0, 1, NULL, 0]
    assert table.encode(["z", None, "x"]).tolist() == [2, NULL, 0]
    assert (table.find("w"), len(table), table.strings) == (None, 3, ["x", "y", "z"])


def test_repr_says_how_much_and_whether_it_is_whole():
    """What a debugger shows counts ops and files and says when the trailer is missing."""
    assert repr(Trace.of([Op("/a", 0, 1, 0)])) == "<Trace 1 ops, 1 uris, no trailer>"


def test_every_column_is_a_key_of_op():
    """Op and the table of columns have the same names in the same order."""
    assert list(COLUMNS) == list(Op.__dataclass_fields__)


def test_importing_tracekit_imports_nothing_heavy():
    """`import tracekit` inside a recorded program loads neither NumPy nor our own modules."""
    code = "import sys, tracekit; print([m for m in sys.modules if m.split('.')[0] in {'numpy', 'msgspec', 'pyarrow'} or m.startswith('tracekit.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_public_names_are_found_and_others_are_not():
    """Every public name resolves; a wrong one is an AttributeError."""
    import tracekit

    for name in ("Trace", "Op", "Mark", "Header", "Trailer", "Metrics", "merge"):
        assert getattr(tracekit, name) is not None
        assert name in dir(tracekit)
    assert [name for name in dir(tracekit) if not name.startswith("__")] == sorted(tracekit.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = tracekit.nothing
