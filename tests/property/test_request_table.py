"""The two ways to read the table of a request log: whatever stands in its cells, they give the same trace."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import TracekitError
from tracekit.formats import foreign_lines, imported, request_table
from tracekit.formats.oplog import OpLog

HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
STAMPS = [
    "2026-01-01T00:00:01Z",
    "2026-01-01T00:00:01.5Z",
    "2026-01-01T02:00:01.000000007+02:00",
    "1970-01-01T00:00:00.25Z",
]
ODD_STAMPS = [
    "",
    "nan",
    "NULL",
    "2026-01-01",
    "2026-13-45T99:99:99Z",
    " 2026-01-01T00:00:01Z",
    "2026-01-01T00:00:01",
    "3000-01-01T00:00:00Z",
    '"',
]
NUMBERS = ["0", "7", "1000", "00012"]
ODD_NUMBERS = ["", "nan", "-1", "+5", "1.5", "0x10", " 5", "9" * 25, str(2**63 - 1), "N/A"]
TEXTS = ["", "a", "k x", '"q\tq"', "ü", "NULL", "\x00", "#"]
good = st.tuples(
    st.just("1"), st.sampled_from(["3", "18147521187885925800"]), st.sampled_from(["GET", "PUT", "GET_RANGE", "HEAD", "odd"]),
    st.just(""), st.just("1"), st.sampled_from(NUMBERS), st.sampled_from(["s3://b", "http://h:9000", "file://"]),
    st.sampled_from(["b/k", "/d/a", *TEXTS]), st.sampled_from(TEXTS), st.sampled_from(STAMPS), st.sampled_from([*STAMPS, ""]),
    st.sampled_from([*STAMPS, ""]), st.sampled_from([*NUMBERS, ""]),
)  # fmt: skip
odd = st.tuples(good, st.integers(0, 12), st.sampled_from([*ODD_STAMPS, *ODD_NUMBERS, *TEXTS])).map(
    lambda one: (*one[0][: one[1]], one[2], *one[0][one[1] + 1 :])
)
lines = st.one_of(good.map("\t".join), odd.map("\t".join), st.sampled_from(["# warp get", "", "1\t2", "\t" * 40]))


def read(path, *, skip_bad=True):
    """All that is said of a log: its ops, warnings, trailer and nulls, or the sentence."""
    try:
        trace = imported.load(OpLog(str(path), skip_bad=skip_bad))
    except TracekitError as error:
        # The cells of a bad row are shown as they stand, or as they were understood.
        return str(error).partition(": {")[0]
    return (
        list(trace),
        [text.partition(": {")[0] for text in trace.warnings],
        trace.trailer,
        trace.header.producer["null"],
        trace.header.clock,
    )


def both(path, *, skip_bad=True):
    """What the quick way says, and the exact one alone."""
    mine = read(path, skip_bad=skip_bad)
    with pytest.MonkeyPatch.context() as patch:

        def never(stream, used):
            raise pa.ArrowInvalid("not this way")

        patch.setattr(request_table, "_quick", never)
        return mine, read(path, skip_bad=skip_bad)


@given(st.lists(lines, max_size=12), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_both_ways_say_the_same(tmp_path_factory, rows, skip_bad, end):
    """Of any rows, good or odd: the same ops, counts and sentences."""
    path = tmp_path_factory.getbasetemp() / "both.tsv"
    path.write_bytes((HEADER + "\n".join(rows)).replace("\n", end).encode())
    mine, theirs = both(path, skip_bad=skip_bad)

    assert mine == theirs


@pytest.mark.parametrize("bad", [0, 1, 2000, 2999])
@pytest.mark.parametrize("cell", ["bytes", "columns"])
def test_rows_that_were_given_are_not_given_again(tmp_path, monkeypatch, bad, cell):
    """Where the odd row stands far behind, blocks of good rows came before: every row is there once."""
    monkeypatch.setattr(request_table, "_QUICK_BYTES", 1 << 10)
    monkeypatch.setattr(request_table, "_BLOCK_BYTES", 3 << 10)
    rows = [
        f"{i}\t3\tGET\t\t1\t{i}\ts3://b\tb/{i % 7}\t\t2026-01-01T00:00:01.{i:09d}Z\t\t2026-01-01T00:01:00Z\t5"
        for i in range(3000)
    ]
    rows[bad] = rows[bad].replace(f"\t1\t{bad}\t", "\t1\tx\t") if cell == "bytes" else rows[bad] + "\t\t"
    path = tmp_path / "log.tsv"
    path.write_text(HEADER + "\n".join(rows) + "\n# warp\n")
    trace = imported.load(OpLog(str(path), skip_bad=True))

    assert [op.len for op in trace] == [i for i in range(3000) if i != bad]
    assert "1 bad line was left out" in trace.warnings[0]
    assert len(set(trace.uris)) == 7


@pytest.mark.parametrize("spoil", [False, True])
def test_damage_is_told_once(tmp_path, spoil):
    """A stream cut short whose rows have to be read a second time says so once, and has the same rows as one way alone."""
    rng = random.Random(1)
    rows = [
        f"{i}\t3\tGET\t\t1\t{rng.getrandbits(40)}\ts3://b\tb/k\t\t2026-01-01T00:00:01Z\t\t2026-01-01T00:01:00Z\t5\n"
        for i in range(60_000)
    ]
    rows[100] = rows[100].replace("\t5\n", "\tx\n") if spoil else rows[100]
    data = pa.compress((HEADER + "".join(rows)).encode(), "zstd", asbytes=True)
    path = tmp_path / "log.tsv.zst"
    path.write_bytes(data[: len(data) * 3 // 4])
    mine, theirs = both(path)

    assert mine == theirs
    assert len(mine[0]) > 10_000
    assert sum("cut short" in text for text in mine[1]) == 1
    assert mine[2] is None


def test_little_is_lost_at_the_damage(tmp_path):
    """Of a damaged stream all but a few ten KiB before the damage are read, though whole blocks are asked for at first."""
    rng = random.Random(2)
    text = "".join(f"/f{rng.getrandbits(50)},5,7\n" for _ in range(400_000))
    data = pa.compress(("uri,len,t_submit\n" + text).encode(), "zstd", asbytes=True)
    path = tmp_path / "t.csv.zst"
    path.write_bytes(data[:-60])
    from tracekit.formats.table import Table

    source = Table(str(path))
    got = sum(map(len, foreign_lines.blocks(source)))
    assert len(text) - 300_000 < got < len(text)
    assert source.told.cut_short
    assert len(source.told.warnings) == 1


def test_a_reading_that_was_stopped_reads_no_further(tmp_path):
    """Who gives up on a stream gets no more of it, and the file's end is not met by it."""
    path = tmp_path / "log.tsv"
    path.write_text(HEADER + "x" * 100_000)
    source = OpLog(str(path))
    stream = request_table._Stream(source)
    assert stream.start().startswith(b"idx\t")
    stream.stop()
    assert stream.readinto(bytearray(10)) == 0
    assert isinstance(stream.buffered, io.BufferedReader)
