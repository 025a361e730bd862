"""A trace in parts: each part holds its span, together they are the trace, and what is missing is said."""

from __future__ import annotations

import json
import shutil

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.cli import main
from tracekit.errors import InputError, OutputExistsError, UsageError
from tracekit.formats import parted
from tracekit.testing import training_trace

S = 10**9


def cut(source, folder, every_ns, *, force=True):
    """Write a trace in parts; how many there are."""
    with parted.writing(folder, every_ns=every_ns, force=force) as begin:
        parts = formats.fold(source, begin)
        parts.finish()
    return parts.count


def whole(trace):
    """All that a trace holds."""
    return [*trace], trace.header, trace.trailer, sorted(trace.marks, key=repr)


@pytest.fixture
def saved(tmp_path):
    """A training trace in a file."""
    formats.save(training_trace(), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


@pytest.mark.parametrize("share", [1, 3, 40])
def test_parts_are_the_trace(saved, share):
    """Ops, marks, header and trailer come back from any number of parts, whole and in pieces that share their tables."""
    trace = Trace.read(saved)
    every = int(trace.col("t_submit")[-1]) // share + 1
    count = cut(saved, saved.parent / "d", every)

    assert count == len(set((trace.col("t_submit") // every).tolist()))
    assert whole(Trace.read(saved.parent / "d")) == whole(trace)
    pieces = list(formats.chunks(saved.parent / "d", ops=50))
    assert [op for piece in pieces for op in piece] == list(trace)
    assert sorted((mark for piece in pieces for mark in piece.marks), key=repr) == sorted(trace.marks, key=repr)
    assert [piece.trailer for piece in pieces] == [None] * (len(pieces) - 1) + [trace.trailer]
    assert {piece.header == trace.header for piece in pieces} == {True}
    assert max(map(len, pieces)) <= 50
    assert pieces[-1].uris[: len(pieces[0].uris)] == pieces[0].uris


times = st.lists(st.integers(0, 30) | st.integers(0, 2**40), max_size=20)


@settings(max_examples=20)
@given(times, times, st.sampled_from([1, 7, 1000, 2**38]))
def test_any_times_are_in_their_spans(tmp_path_factory, submits, begins, every):
    """In whatever order ops and marks come: each op is in the part of its span, and all come back in order of time."""
    folder = tmp_path_factory.getbasetemp() / "parted"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ops = [Op(f"f{at % 3}", at, 1, at, ret=number) for number, at in enumerate(submits)]
    trace = Trace.of(
        ops, marks=[Mark("step", t, t + 1) for t in begins], header=Header(created="now"), trailer=Trailer(len(ops))
    )
    formats.save(trace, folder / "t.jsonl")
    cut(folder / "t.jsonl", folder / "d", every)
    back = formats.load(folder / "d")

    assert list(back) == sorted(ops, key=lambda op: op.t_submit)
    assert sorted(mark.t for mark in back.marks) == sorted(begins)
    assert (back.header, back.trailer) == (trace.header, trace.trailer)
    for path in sorted((folder / "d").iterdir()):
        about = parted.parquet.part_of(str(path))
        assert path.name == f"part-{about['number']:05}.parquet"
        found = pq.read_table(path, columns=["t_submit"]).column(0).to_pylist()
        assert all(about["from_ns"] <= at < about["to_ns"] for at in found)
        assert found or not ops


def test_duckdb_and_polars_read_the_parts_as_they_lie(saved):
    """A glob of the parts is one table, from which a span is taken without looking at the others."""
    trace = Trace.read(saved)
    count = cut(saved, saved.parent / "d", int(trace.col("t_submit")[-1]) // 5 + 1)
    places = str(saved.parent / "d" / "*.parquet")

    assert count > 1
    assert duckdb.sql(f"select count(*), sum(ret) from '{places}'").fetchall() == [
        (len(trace), int(trace.col("ret").sum()))
    ]
    assert pl.scan_parquet(places).select(pl.len()).collect().item() == len(trace)


@pytest.mark.parametrize(
    ("gone", "said"),
    [([1], "part 1 is missing"), ([0, 2], "2 parts are missing, the first is 0"), ([-1], "the last part is missing")],
)
def test_a_missing_part_is_said(saved, gone, said):
    """What is there is read; the trace is not whole, and has no trailer that counts what is not there."""
    trace = Trace.read(saved)
    cut(saved, saved.parent / "d", int(trace.col("t_submit")[-1]) // 5 + 1)
    paths = sorted((saved.parent / "d").iterdir())
    for number in gone:
        paths[number].unlink()
    back = formats.load(saved.parent / "d")

    assert 0 < len(back) < len(trace)
    assert back.trailer is None
    assert any(said in text for text in back.warnings)


def test_parts_of_several_hosts_are_merged(saved):
    """Directories of parts below one are a trace each, merged by time like files are."""
    trace = Trace.read(saved)
    for host in ("a", "b"):
        (saved.parent / "run" / host).mkdir(parents=True)
        cut(saved, saved.parent / "run" / host / "parts", int(trace.col("t_submit")[-1]) // 3 + 1)
    back = formats.load(saved.parent / "run")
    pieces = list(formats.chunks(saved.parent / "run", ops=1 << 20))
    found = [op for piece in pieces for op in piece]

    assert back.trailer.ops == pieces[-1].trailer.ops == 2 * trace.trailer.ops
    assert [op.t_submit for op in found] == [op.t_submit for op in back]
    assert sorted(map(repr, back)) == sorted(map(repr, found)) == sorted(map(repr, [*trace, *trace]))


def test_bad_rows_of_a_part_are_named_by_their_part(saved):
    """The place of a bad row is its own file and its row there; where they are skipped they are counted over all parts."""
    trace = Trace.read(saved)
    cut(saved, saved.parent / "d", int(trace.col("t_submit")[-1]) // 3 + 1)
    second = saved.parent / "d" / "part-00001.parquet"
    table = pq.read_table(second)
    rows = table.slice(0, 2).to_pylist()
    rows[1]["len"] = -5
    broken = table.schema.empty_table().from_pylist(rows, schema=table.schema)
    pq.write_table(broken.replace_schema_metadata(pq.read_metadata(second).metadata), second)

    with pytest.raises(InputError, match=r"part-00001.parquet: row 2 is no op"):
        formats.load(saved.parent / "d")
    found = formats.load(saved.parent / "d", skip_bad=True)
    assert any("1 bad row was left out" in text for text in found.warnings)


def test_the_verb_writes_parts_and_reads_them(saved, capsys):
    """An output that ends in / is a directory of parts; stats of it are those of the trace."""
    folder = saved.parent / "parts"
    assert main(["convert", str(saved), f"{folder}/", "--every", "100ms"]) == 0
    assert f"to {folder}/ in " in capsys.readouterr().err
    found = []
    for path in (saved, folder):
        assert main(["stats", str(path), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert len(list(folder.iterdir())) > 1
    assert main(["convert", str(folder), str(saved.parent / "again.parquet")]) == 0
    assert whole(Trace.read(saved.parent / "again.parquet")) == whole(Trace.read(saved))
    assert main(["convert", str(saved), f"{folder}/"]) == 2
    assert main(["convert", str(saved), f"{folder}/", "--force"]) == 0
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["d/", "--every", "5"], "'5' is not a duration"),
        (["d/", "--every", "0s"], "a part has no time at all"),
        (["d/", "--to", "jsonl"], "a directory of parts holds Parquet files"),
        (["d/", "--set", "layout=warp13"], "a directory of parts holds Parquet files"),
        (["-", "--every", "5s"], "parts cannot go to standard output"),
        (["missing/d/"], "missing does not exist"),
        (["t.parquet", "--every", "5s"], "would be written onto itself"),
        (["file", "--every", "5s"], "is no directory"),
        (["other", "--every", "5s", "--force"], "holds x.txt, which is no part of a trace"),
        (["d/", "--every", "1ns"], "would have more than 3 parts"),
    ],
)
def test_what_cannot_be_written_is_refused(saved, monkeypatch, capsys, words, said):
    """One sentence, exit 2, and nothing is left or lost."""
    monkeypatch.chdir(saved.parent)
    monkeypatch.setattr(parted, "_MOST_PARTS", 3)
    (saved.parent / "file").write_text("mine")
    (saved.parent / "other").mkdir()
    (saved.parent / "other" / "x.txt").write_text("mine")
    before = sorted(saved.parent.rglob("*"))

    assert main(["convert", "t.parquet", *words]) == 2
    assert said in capsys.readouterr().err
    assert sorted(saved.parent.rglob("*")) == before


def test_a_failure_leaves_the_parts_that_were_there(saved):
    """Whoever fails halfway has written nothing; what stood there before stands there still."""
    cut(saved, saved.parent / "d", S)
    before = {path.name: path.read_bytes() for path in (saved.parent / "d").iterdir()}
    with pytest.raises(ZeroDivisionError), parted.writing(saved.parent / "d", every_ns=10**7) as begin:
        begin([]).update(Trace.read(saved))
        _ = 1 / 0
    assert {path.name: path.read_bytes() for path in (saved.parent / "d").iterdir()} == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["d", "t.parquet"]
    with pytest.raises(OutputExistsError):
        cut(saved, saved.parent / "d", S, force=False)
    with pytest.raises(UsageError, match="no time at all"), parted.writing(saved.parent / "d", every_ns=0):
        pass


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"trace": 5, "number": "x", "last": 1}', b"\xff{"])
def test_a_part_that_says_nonsense_is_a_file_of_its_own(saved, text):
    """Files named like parts whose metadata is none are traces each, merged as any others are."""
    folder = saved.parent / "d"
    folder.mkdir()
    for number in range(2):
        path = folder / f"part-0000{number}.parquet"
        shutil.copy(saved, path)
        table = pq.read_table(path).replace_schema_metadata({**pq.read_metadata(path).metadata, b"tracekit.part": text})
        pq.write_table(table, path)
    assert len(formats.load(folder)) == 2 * len(Trace.read(saved))
