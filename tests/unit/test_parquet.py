"""Traces as Parquet: nothing is lost on the way, other tools read the columns as they lie, and bad files are named."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.arrow import schema
from tracekit.errors import InputError, OutputExistsError, TracekitError, UsageError
from tracekit.formats import parquet_writer
from tracekit.testing import training_trace
from tracekit.trace import NULL, StringTable


@pytest.fixture
def saved(tmp_path):
    """Save a trace as Parquet and give its path."""

    def made(trace, name="t.parquet"):
        formats.save(trace, tmp_path / name)
        return str(tmp_path / name)

    return made


def _whole(trace):
    """All that a trace holds."""
    return [*trace], trace.header, trace.trailer, trace.marks


MIXED = [
    Op("s3://b/k", 0, 10, 5, sample_id=3, t_complete=9, ret=10),
    Op("file:///a%20b", None, 2**63 - 1, 6, op="write", sample_id="three", err="EIO", flags="direct,o_append"),
    Op("s3://b/k", 7, 0, 2**62, op="stat", sample_id=None, rank=0, worker=1, epoch=2, step=3, attempts=2, level="wire"),
]


# -- there and back ---------------------------------------------------------------------------------------------------


def test_a_training_trace_comes_back_whole(saved):
    """Ops, marks, header and trailer of a training job are the same after Parquet."""
    trace = training_trace()
    assert _whole(Trace.read(saved(trace))) == _whole(trace)


def test_nulls_names_and_large_numbers_come_back(saved):
    """A null offset, named and numbered samples, and numbers up to 2^63 - 1 come back as they were, without header."""
    trace = Trace.of(MIXED)
    back = Trace.read(saved(trace))
    assert _whole(back) == _whole(trace)
    assert list(back.columns) == list(trace.columns)


def test_row_groups_are_bounded_and_their_strings_are_their_own(tmp_path, monkeypatch):
    """Whatever size pieces have, row groups have the given number of ops and only the strings that stand in them."""
    monkeypatch.setattr(parquet_writer, "ROW_GROUP", 100)
    ops = [Op(f"/file{number // 10}", number, 1, number) for number in range(1050)]
    path = tmp_path / "t.parquet"
    with formats.writing(path) as writer:
        for start, stop in ((0, 30), (30, 31), (31, 700), (700, 1050)):
            writer.ops(Trace.of(ops[start:stop]))
    file = pq.ParquetFile(path, read_dictionary=["uri"])
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [100] * 10 + [50]
    assert len(file.read_row_group(3).column("uri").chunk(0).dictionary) == 10
    assert list(Trace.read(path)) == ops


def test_pieces_share_tables_that_grow(tmp_path):
    """Codes of a table that grew between two pieces mean the same in both."""
    table = StringTable(["/a"])

    def piece(code, time):
        columns = {"uri": np.array([code], np.int32), "op": np.zeros(1, np.int32)}
        return Trace(
            {**columns, **{name: np.array([time]) for name in ("offset", "len", "t_submit")}},
            {"uri": table, "op": StringTable(["read"])},
        )

    with formats.writing(tmp_path / "t.parquet") as writer:
        writer.ops(piece(0, 1))
        table.code("/b")
        writer.ops(piece(1, 2))
    assert [op.uri for op in Trace.read(tmp_path / "t.parquet")] == ["/a", "/b"]


def test_pieces_of_a_file_are_the_file(saved):
    """Chunks have at most the asked number of ops, share their tables, and only the last has the trailer."""
    trace = training_trace()
    pieces = list(formats.chunks(saved(trace), ops=50))
    assert max(map(len, pieces)) <= 50
    assert [op for piece in pieces for op in piece] == list(trace)
    assert [mark for piece in pieces for mark in piece.marks] == trace.marks
    assert [piece.is_complete for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(piece.tables["uri"] is pieces[0].tables["uri"] for piece in pieces)


def test_many_marks_and_a_long_trailer_are_packed(saved, monkeypatch):
    """Metadata longer than the limit is compressed and comes back; shorter metadata is JSON that DuckDB can read."""
    trace = Trace.of(MIXED, header=Header(created="now"), trailer=Trailer(ops=3, extra={"files": ["x" * 50] * 9}))
    trace.marks = [Mark("step", number, number + 1, number, 0, 7) for number in range(100)]
    path = saved(trace)
    marks = duckdb.sql(
        f"select decode(value) from parquet_kv_metadata('{path}') where decode(key) = 'tracekit.marks'"
    ).fetchall()
    assert json.loads(marks[0][0])["t_end"] == list(range(1, 101))
    monkeypatch.setattr(parquet_writer, "_PLAIN_BYTES", 100)
    packed = saved(trace, "packed.parquet")
    assert b"tracekit.marks.zst" in pq.ParquetFile(packed).metadata.metadata
    assert _whole(Trace.read(packed)) == _whole(trace)


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.tkc"])
def test_columns_that_nobody_wants_are_left_out(tmp_path, name):
    """Whatever the format: those asked for and those that every trace has, in pieces and as a whole; an offset not asked for is null."""
    trace = training_trace()
    formats.save(trace, tmp_path / name)
    whole = formats.load(tmp_path / name, columns=["ret", "t_complete"])
    for found in (whole, *formats.chunks(tmp_path / name, ops=1 << 20, columns=["ret", "t_complete"])):
        assert set(found.columns) == {"uri", "offset", "len", "t_submit", "op", "ret", "t_complete"}
        assert found.uris == trace.uris
        for column in ("uri", "len", "t_submit", "ret", "t_complete"):
            assert np.array_equal(found.col(column), trace.col(column))
        assert found.strings("op")[found.col("op")[0]] == trace[0].op
        assert (found.col("offset") == NULL).all()
        assert (found.header, found.trailer, found.marks) == (trace.header, trace.trailer, trace.marks)
    assert np.array_equal(formats.load(tmp_path / name, columns=["offset"]).col("offset"), trace.col("offset"))


def test_several_traces_have_the_columns_asked_for(tmp_path):
    """A directory of traces, of which one is Parquet, gives those columns of every one of them."""
    for name in ("a.parquet", "b.jsonl"):
        formats.save(Trace.of(MIXED), tmp_path / name)
    (whole,) = formats.chunks(tmp_path, columns=["sample_id"])
    assert [op.sample_id for op in whole] == [op.sample_id for op in formats.load(tmp_path, columns=["sample_id"])]
    assert sorted(map(str, (op.sample_id for op in whole))) == ["3", "3", "None", "None", "three", "three"]
    assert {op.op for op in whole} == {"read", "write", "stat"}
    assert {(op.ret, op.err) for op in whole} == {(None, None)}


def test_a_column_that_there_is_not_is_named(saved):
    """A wrong name of a column is said before anything is read, with the nearest."""
    with pytest.raises(UsageError, match="did you mean 't_complete'"):
        formats.load(saved(training_trace()), columns=["t_complet"])


def test_reading_imports_no_functions_of_tables(saved):
    """What Arrow can compute takes longer to import than a small trace takes to read; nulls are no reason to."""
    path = saved(Trace.of(MIXED))
    code = "import sys; from tracekit import formats; print(len(formats.load(sys.argv[1])), 'pyarrow.compute' in sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-c", code, path], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["3", "False"]


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 65])
def test_nulls_are_found_wherever_a_piece_begins(tmp_path, rows):
    """Pieces of any size begin anywhere in the bits that say what is null."""
    ops = [
        Op("f", number if number % 3 else None, 1, number, ret=number if number % 5 else None) for number in range(200)
    ]
    formats.save(Trace.of(ops), tmp_path / "t.parquet")
    assert [op for piece in formats.chunks(tmp_path / "t.parquet", ops=rows) for op in piece] == ops


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int16(), pa.uint32(), pa.int64()])
def test_codes_of_any_width_may_be_null(tmp_path, kind):
    """Other writers' dictionaries have small or unsigned codes; an op that is null is a read, a file that is null is no op."""
    codes = pa.DictionaryArray.from_arrays(pa.array([0, None, 1], kind), pa.array(["write", "stat"]))
    table = {
        "uri": ["a", "b", "c"],
        "len": [1, 2, 3],
        "t_submit": [1, 2, 3],
        "op": codes,
        "ret": pa.array([1, None, 3], pa.int32()),
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    assert [(op.op, op.ret) for op in Trace.read(tmp_path / "t.parquet")] == [("write", 1), ("read", None), ("stat", 3)]


def test_a_trace_of_no_ops_is_a_file(saved):
    """A recording that saw nothing is a table without rows, and reads as one."""
    trace = Trace.of([], header=Header(created="now"), trailer=Trailer())
    back = Trace.read(saved(trace))
    assert (len(back), back.header, back.warnings) == (0, trace.header, [])


def test_a_trace_without_trailer_is_said_to_be_cut_short(saved):
    """What was cut short before stays known as such."""
    path = saved(Trace.of(MIXED, header=Header(created="now")))
    assert Trace.read(path).warnings == [f"{path} has no trailer: the trace was cut short"]


def test_names_that_are_not_utf8_are_escaped(saved):
    """A lone surrogate, which no UTF-8 can say, is written as an escape, as in lines."""
    assert Trace.read(saved(Trace.of([Op("/a\udcff", 0, 1, 2)])))[0].uri == "/a\\udcff"


def test_a_column_is_encoded_as_its_values_ask_for(tmp_path):
    """Offsets of a scan become deltas, sizes of a few kinds a dictionary, and times are always deltas."""
    count = 20_000
    columns = {
        "uri": np.zeros(count, np.int32), "op": np.zeros(count, np.int32), "offset": np.arange(count) * 4099,
        "len": np.random.default_rng(0).choice([512, 4096, 65536], count), "t_submit": np.arange(count) % 7,
    }  # fmt: skip
    formats.save(Trace(columns, {"uri": StringTable(["/a"]), "op": StringTable(["read"])}), tmp_path / "t.parquet")
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    encodings = {group.column(n).path_in_schema: group.column(n).encodings for n in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in encodings["offset"]
    assert "DELTA_BINARY_PACKED" in encodings["t_submit"]
    assert "RLE_DICTIONARY" in encodings["len"]
    assert {group.column(n).compression for n in range(group.num_columns)} == {"ZSTD"}


# -- as it lies -------------------------------------------------------------------------------------------------------


def test_duckdb_polars_and_pandas_read_the_columns_as_they_lie(saved):
    """The three see the same names, nulls and numbers that the trace has, without knowing of tracekit."""
    path = saved(Trace.of(MIXED))
    names = [*schema().names]
    relation = duckdb.sql(f"select * from '{path}'")
    assert relation.columns == names
    wanted = [
        ("s3://b/k", 0, 5, 3, None),
        ("file:///a%20b", None, 6, None, "three"),
        ("s3://b/k", 7, 2**62, None, None),
    ]
    chosen = ["uri", "offset", "t_submit", "sample_id", "sample_name"]
    assert relation.select(*chosen).fetchall() == wanted
    frame = pl.read_parquet(path)
    assert frame.columns == names
    assert frame.select(chosen).rows() == wanted
    assert (
        pl.scan_parquet(path).filter(pl.col("op") == "write").select(pl.col("len").sum()).collect().item() == 2**63 - 1
    )
    table = pd.read_parquet(path, dtype_backend="numpy_nullable")
    assert [tuple(None if pd.isna(v) else v for v in row) for row in table[chosen].itertuples(index=False)] == wanted


def test_duckdb_answers_a_question_about_a_training_job(saved):
    """Bytes read per worker in SQL are those of the trace."""
    trace = training_trace()
    answer = dict(
        duckdb.sql(f"select worker, sum(ret)::bigint from '{saved(trace)}' where op = 'read' group by 1").fetchall()
    )
    assert answer == {w: int(trace.col("ret")[trace.col("worker") == w].sum()) for w in (0, 1)}


def test_to_arrow_has_the_columns_of_the_trace(saved):
    """An Arrow table of a trace has its columns, true nulls, and names of samples apart."""
    table = Trace.of(MIXED).to_arrow()
    assert "t_due" not in table.column_names
    assert table.column("sample_id").to_pylist() == [3, None, None]
    assert table.column("sample_name").to_pylist() == [None, "three", None]
    assert table.column("offset").null_count == 1
    assert training_trace().to_arrow().column("t_submit").to_pylist() == training_trace().col("t_submit").tolist()


# -- other people's tables --------------------------------------------------------------------------------------------


def _foreign(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_table_of_ops_made_elsewhere_is_a_trace(tmp_path):
    """Plain strings, other integer types and no metadata are enough; times may be in another unit, with fractions."""
    path = _foreign(
        tmp_path / "t.parquet", len=pa.array([1, 2], pa.uint16()), uri=["/a", "/b"], t_submit=[0.5, 1.25], more=[1, 2],
        sample_id=["x", None], epoch=pa.array([None, None]),
    )  # fmt: skip
    trace = formats.load(path, time_unit="us")
    assert list(trace) == [Op("/a", None, 1, 500, sample_id="x"), Op("/b", None, 2, 1250)]


def test_pandas_and_polars_tables_are_traces(tmp_path):
    """What the two write of a frame of ops reads as a trace."""
    frame = {"uri": ["/a", "/a"], "offset": [0, 5], "len": [5, 5], "t_submit": [1, 2], "op": ["read", "write"]}
    pd.DataFrame(frame).to_parquet(tmp_path / "pandas.parquet")
    pl.DataFrame(frame).write_parquet(tmp_path / "polars.parquet")
    wanted = [Op("/a", 0, 5, 1), Op("/a", 5, 5, 2, op="write")]
    assert list(Trace.read(tmp_path / "pandas.parquet")) == list(Trace.read(tmp_path / "polars.parquet")) == wanted


def test_parquet_under_another_name_is_known_by_its_first_bytes(saved, tmp_path):
    """A file whose suffix says nothing is read as Parquet when it begins like one."""
    os.rename(saved(Trace.of(MIXED)), tmp_path / "trace.data")
    assert len(Trace.read(tmp_path / "trace.data")) == 3


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a": [1]}, "no column `uri`"),
        ({"uri": ["/a"], "len": [1]}, "no column `t_submit`"),
        ({"uri": [1], "len": [1], "t_submit": [1]}, "`uri` is int64, not text"),
        ({"uri": ["/a"], "len": ["1"], "t_submit": [1]}, "`len` is string, not an integer"),
        ({"uri": ["/a"], "len": [1], "t_submit": [True]}, "`t_submit` is bool"),
        ({"uri": ["/a", None], "len": [1, 1], "t_submit": [1, 1]}, "row 2 is no op"),
        ({"uri": ["/a"], "len": [-1], "t_submit": [1]}, "row 1 is no op"),
        ({"uri": ["/a"], "len": [1], "t_submit": [float("nan")]}, "row 1 is no op"),
        ({"uri": ["/a"], "len": [1], "t_submit": [float("inf")]}, "row 1 is no op"),
        ({"uri": ["/a"], "len": pa.array([2**64 - 1], pa.uint64()), "t_submit": [1]}, "row 1 is no op"),
        ({"uri": ["/a"], "len": [1], "t_submit": [1], "pid": [2**31]}, "row 1 is no op"),
        ({"uri": ["/a"], "len": [1], "t_submit": [1], "pid": pa.array([None], pa.int64()), "tid": [-1]}, "row 1 is no op"),
        ({"uri": [], "len": [], "t_submit": []}, "holds no op"),
    ],
)  # fmt: skip
def test_a_table_that_is_no_trace_is_refused_in_one_sentence(tmp_path, columns, said):
    """Missing columns, columns of another type and rows that no op can be are named."""
    path = _foreign(tmp_path / "t.parquet", **columns)
    with pytest.raises(InputError) as refused:
        formats.load(path)
    assert said in str(refused.value)
    assert path in str(refused.value)
    assert "\n" not in str(refused.value)


def test_skip_bad_leaves_rows_out_and_says_how_many(tmp_path):
    """Rows that are no op are left out on request; the good ones stay, exact to the last digit."""
    good = 2**62 + 1
    path = _foreign(
        tmp_path / "t.parquet", uri=["/a", None, "/c"], len=pa.array([good, 2, 2**63], pa.uint64()), t_submit=[1, 2, 3]
    )
    trace = formats.load(path, skip_bad=True)
    assert [op.len for op in trace] == [good]
    assert trace.warnings[0].startswith("2 bad rows were left out; the first: ")


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(saved, keep):
    """A file cut short anywhere is refused with its name and why."""
    path = saved(training_trace())
    os.truncate(path, int(os.path.getsize(path) * keep))
    with pytest.raises(
        InputError, match=r"cannot be read as Parquet: it is damaged or cut short \(.*\); write it again"
    ):
        Trace.read(path)


def test_damage_inside_never_crashes(saved):
    """A byte turned over anywhere gives a trace or one sentence, never another error."""
    path = saved(training_trace())
    data = Path(path).read_bytes()
    refused = []
    for place in range(4, len(data), max(len(data) // 150, 1)):
        broken = bytearray(data)
        broken[place] ^= 0x55
        with open(path, "wb") as file:
            file.write(broken)
        try:
            Trace.read(path)
        except TracekitError as error:
            refused.append(str(error))
    assert refused
    assert "\n" not in "".join(refused)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tracekit.format", '{"name":"tracekit-parquet","version":2}', "reads tracekit-parquet version 1"),
        ("tracekit.format", "[]", "this tracekit reads"),
        ("tracekit.header", '{"tracekit":2}', "schema version 2"),
        ("tracekit.header", "{", "tracekit.header"),
        ("tracekit.header", '{"tracekit":"x"}', "not what it should be"),
        ("tracekit.trailer", '{"ops":-1}', "not what it should be"),
        ("tracekit.marks", '{"mark":["step"],"t":[]}', "not what it should be"),
        ("tracekit.marks", "7", "not what it should be"),
        ("tracekit.marks", '{"mark":["step"],"t":[-5]}', "not what it should be"),
        ("tracekit.marks.zst", "!!", "tracekit.marks"),
        ("tracekit.marks.zst", base64.b64encode(b"no zstd").decode(), "tracekit.marks"),
    ],
)
def test_metadata_that_is_not_ours_is_named(tmp_path, key, value, said):
    """A newer version, broken JSON and values out of range in the metadata are one sentence each."""
    table = pa.table({"uri": ["/a"], "len": [1], "t_submit": [1]}).replace_schema_metadata({key: value})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError) as refused:
        Trace.read(tmp_path / "t.parquet")
    assert said in str(refused.value)


def test_a_failed_write_leaves_nothing(tmp_path):
    """When the block raises, neither the file nor a part of it stays."""
    with pytest.raises(RuntimeError), formats.writing(tmp_path / "t.parquet") as writer:
        writer.ops(training_trace())
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_not_replaced_unasked(saved, tmp_path):
    """Without force a Parquet file that exists stays as it is."""
    path = saved(Trace.of(MIXED))
    with pytest.raises(OutputExistsError):
        formats.save(training_trace(), path, force=False)
    assert len(Trace.read(path)) == 3
    with pytest.raises(UsageError, match=r"\.jsonl, \.jsonl\.zst, \.parquet, "):
        formats.save(training_trace(), tmp_path / "t.orc")


def test_null_is_the_only_number_below_zero():
    """Every integer column of an Arrow table has nulls exactly where the trace has NULL."""
    trace = training_trace()
    table = trace.to_arrow()
    for name in trace.columns:
        assert table.column(name).null_count == int((trace.col(name) == NULL).sum())
