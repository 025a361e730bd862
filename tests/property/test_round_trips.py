"""Through every pair of formats and back: what both can say comes back as it was."""

from __future__ import annotations

import csv
import io
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.formats import imported, oplog, registry
from tracekit.formats.oplog import OpLog
from tracekit.trace import COLUMNS
from tracekit.uri import file_uri

EVERYTHING = frozenset(COLUMNS)
REQUESTS = frozenset({"uri", "len", "ret", "op", "t_submit", "t_complete", "tid", "err"})
# What each format that is written and read keeps of an op; those of EVERYTHING but CSV keep marks, header and trailer too.
KEPT = {
    "jsonl": EVERYTHING, "jsonl.zst": EVERYTHING, "parquet": EVERYTHING, "tkc": EVERYTHING, "csv": EVERYTHING,
    "oplog": REQUESTS, "fio": frozenset({"uri", "offset", "len", "op", "t_submit"}),
}  # fmt: skip
WHOLE = ("jsonl", "jsonl.zst", "parquet", "tkc")
PAIRS = list(product(KEPT, KEPT))


def trace_of(seed):
    """Reads and writes of local files as all formats can say them, with all that most have no word for; the first is at 0."""
    rng, at, ops = random.Random(seed), 0, []
    for number in range(rng.randint(1, 15)):
        size = rng.randint(1, 1 << 30)
        ops.append(
            Op(
                file_uri(f"/d/{rng.choice(['a', 'b+c', 'ü', 'x#y'])}"), rng.randrange(1 << 40), size, at,
                rng.choice(["read", "write"]), at + rng.randrange(1 << 30), size, None,
                t_first_byte=at + rng.randrange(9), pid=rng.randrange(1 << 22), tid=rng.randrange(1 << 16),
                rank=rng.choice([None, 3]), worker=rng.choice([None, 1]), epoch=1, step=number, sample_id=rng.choice([7, "n"]),
                layer="libc", flags=rng.choice([None, "direct"]),
            )
        )  # fmt: skip
        at += rng.randrange(10**9) * 1000
    return Trace.of(
        ops, marks=[Mark("step", 0, 10, 1, 0, 5)], header=Header("now", {"tool": "t"}, {"t0_unix_ns": 10**18}, ["a"]),
        trailer=Trailer(len(ops), 5),
    )  # fmt: skip


def rows(trace, kept):
    """The reads and writes as tuples of what is kept."""
    names = sorted(kept)
    return [tuple(getattr(op, name) for name in names) for op in trace if op.op in ("read", "write")]


def converted(source, target):
    """As `tracekit convert` does it, piece by piece."""
    with formats.writing(target) as writer:
        writer.pieces(formats.chunks(source, ops=4))


def test_every_format_that_is_written_and_read_is_among_these():
    """A new format has to be added here, with what it keeps."""
    assert {form.name for form in registry.FORMATS if form.reads and form.writes} == set(KEPT)


@settings(max_examples=3)
@given(st.integers(0, 2**32))
def test_every_pair_keeps_what_both_can_say(tmp_path_factory, seed):
    """From the one into the other, of all 49 pairs: the columns that both keep come back to the last digit."""
    folder, trace = tmp_path_factory.mktemp("pairs"), trace_of(seed)
    for first, second in PAIRS:
        one, two = (folder / f"{place}{registry.named(name).suffixes[0]}" for place, name in enumerate((first, second)))
        formats.save(trace, one)
        converted(one, two)
        kept = KEPT[first] & KEPT[second]
        back = formats.load(two)
        assert rows(back, kept) == rows(trace, kept), (first, second)
        if {first, second} <= set(WHOLE):
            assert (back.marks, back.header, back.trailer) == (trace.marks, trace.header, trace.trailer), (
                first,
                second,
            )


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from(sorted(oplog.LAYOUTS)), st.booleans())
def test_every_layout_of_request_logs_keeps_requests(tmp_path_factory, seed, layout, remote):
    """Objects and files, with names that hold what separates columns made plain; times to the nanosecond."""
    local = trace_of(seed)
    trace = Trace.of(
        [op if not remote else Op(f"s3://b/k{op.uri[10:]}", 0, op.len, op.t_submit, op.op, op.t_complete, op.ret, tid=op.tid) for op in local],
        header=local.header,
    )  # fmt: skip
    path = str(tmp_path_factory.mktemp("log") / "log.tsv.zst")
    with oplog.writing(path, layout=layout) as writer:
        writer.whole(trace)
    back = imported.load(OpLog(path, options={"bucket": "b"}))

    assert rows(back, REQUESTS) == rows(trace, REQUESTS)


@pytest.mark.parametrize("layout", sorted(oplog.LAYOUTS))
def test_names_cannot_end_a_column_or_a_line(tmp_path, layout):
    """Tabs, line ends and what is not UTF-8 in names and errors leave the table a table."""
    names = ["file:///a\tb", "s3://b/k\tl\nm", "s3://b/\udcff", "file:///x\r\ny"]
    trace = Trace.of(Op(name, 0, 5, n, t_complete=n + 1, err="500\tbad\nworse\udcff") for n, name in enumerate(names))
    path = tmp_path / "log.tsv"
    with oplog.writing(path, layout=layout) as writer:
        writer.whole(trace)
    table = list(csv.reader(io.StringIO(path.read_text()), delimiter="\t", quoting=csv.QUOTE_NONE))

    assert len(table) == 5
    assert {len(row) for row in table} == {len(oplog.LAYOUTS[layout])}


def test_sai3_bench_finds_what_it_replays(tmp_path):
    """Its reader puts endpoint and file together, takes five ops, and goes by `start`: so are the rows, in order of time."""
    ops = [
        Op("s3://bucket/a/b", 0, 10, 0, "read", 5, 10),
        Op("file:///data/x", 4096, 10, 7, "read", 9, 10),
        Op("az://box/k", 0, 3, 8, "write", 9, 3),
        Op("s3://bucket/a/c", 0, 0, 9, "stat", 10),
        Op("s3://bucket/a/", 0, 0, 10, "list", 11),
        Op("s3://bucket/a/d", 0, 0, 11, "delete", 12),
        Op("file:///data/x", 0, 0, 12, "open", 13),
    ]
    path = tmp_path / "log.tsv"
    with oplog.writing(path, layout="sai3") as writer:
        writer.whole(Trace.of(ops, header=Header(clock={"t0_unix_ns": 1_700_000_000 * 10**9})))
    found = list(csv.DictReader(io.StringIO(path.read_text()), delimiter="\t"))

    assert [row["endpoint"] + row["file"] for row in found] == [op.uri for op in ops[:-1]]
    assert [row["op"] for row in found] == ["GET", "GET", "PUT", "STAT", "LIST", "DELETE"]
    assert [row["bytes"] for row in found[:3]] == ["10", "10", "3"]
    assert [row["start"] for row in found] == sorted(row["start"] for row in found)
    assert found[0]["start"] == "2023-11-14T22:13:20.000000000Z"
    assert writer.dropped == {"open ops": 1, "offsets of reads": 1}
