"""Importers and exporters on random traces and on files damaged at random."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import Header, Op, Trace
from tracekit.errors import TracekitError
from tracekit.formats import chrome, fio, imported, oplog, table
from tracekit.formats.blkparse import Blkparse
from tracekit.formats.dftracer import Dftracer
from tracekit.formats.fio import FioLog
from tracekit.formats.oplog import OpLog
from tracekit.formats.strace import Strace
from tracekit.formats.table import Table

small = st.integers(0, 2**31 - 1)
large = st.integers(0, 2**40)
words = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-_."), min_size=1, max_size=8)


@st.composite
def requests(draw, uris):
    """Traces of requests in order of time, with what request logs and fio's logs can say."""
    times = sorted(draw(st.lists(large, min_size=1, max_size=20)))
    return Trace.of(
        Op(
            draw(uris), 0, size := draw(st.integers(1, 2**30)), at * 1000, draw(st.sampled_from(["read", "write"])),
            at * 1000 + draw(st.integers(0, 2**30)), size, tid=draw(st.integers(0, 65_535)),
        )
        for at in times
    )  # fmt: skip


local = words.map(lambda name: f"file:///data/x{name}")
remote = st.tuples(words, words).map(lambda pair: f"s3://{pair[0]}/{pair[1]}")


@given(trace=requests(local), offsets=st.data())
def test_fio_keeps_place_size_kind_and_time(trace, offsets, tmp_path_factory):
    """Whatever local reads and writes there are, they come back with their ranges and their times to the microsecond."""
    rows = [offsets.draw(large) for _ in range(len(trace))]
    trace = Trace.of(
        Op(op.uri, offset, op.len, op.t_submit, op.op, ret=op.ret) for op, offset in zip(trace, rows, strict=True)
    )
    path = str(tmp_path_factory.mktemp("fio") / "log")
    with fio.writing(path) as writer:
        writer.whole(trace)
    back = [op for op in imported.load(FioLog(path)) if op.op not in ("open", "close")]

    first = trace[0].t_submit
    assert [(op.uri, op.offset, op.len, op.op, op.t_submit) for op in back] == [
        (op.uri, op.offset, op.len, op.op, op.t_submit - first) for op in trace
    ]


@given(trace=requests(remote), layout=st.sampled_from(["s3dlio"]), compressed=st.booleans())
def test_request_logs_keep_object_bytes_and_times(trace, layout, compressed, tmp_path_factory):
    """Requests come back to the nanosecond, with their objects, bytes and threads."""
    path = str(tmp_path_factory.mktemp("log") / ("log.tsv.zst" if compressed else "log.tsv"))
    trace.header = Header(clock={"t0_unix_ns": 1_700_000_000 * 10**9})
    with oplog.writing(path, layout=layout) as writer:
        writer.whole(trace)
    back = imported.load(OpLog(path))

    first = trace[0].t_submit
    assert [(op.uri, op.len, op.op, op.t_submit, op.t_complete, op.tid) for op in back] == [
        (op.uri, op.len, op.op, op.t_submit - first, op.t_complete - first, op.tid) for op in trace
    ]
    assert back.header.clock["t0_unix_ns"] == 1_700_000_000 * 10**9 + first


@given(trace=requests(local | remote))
def test_a_table_keeps_everything(trace, tmp_path_factory):
    """CSV has every column: what is read is what was written, from the first op on."""
    path = str(tmp_path_factory.mktemp("csv") / "t.csv")
    with table.writing(path) as writer:
        writer.whole(trace)
    back = imported.load(Table(path))

    assert list(back) == list(trace.shifted(-trace[0].t_submit))


@given(trace=requests(local | remote))
def test_timelines_balance(trace, tmp_path_factory):
    """Begins and ends pair up, nothing ends before it begins, and in the end nothing is in flight."""
    path = tmp_path_factory.mktemp("chrome") / "t.json"
    with chrome.writing(path) as writer:
        writer.whole(trace)
    events = json.loads(path.read_bytes())["traceEvents"]
    begins = {one["id"]: one["ts"] for one in events if one["ph"] == "b"}
    ends = {one["id"]: one["ts"] for one in events if one["ph"] == "e"}
    depth = [one["args"]["ops"] for one in events if one["name"] == "ops in flight"]

    assert len(begins) == len(trace)
    assert all(begins[key] <= ends[key] for key in begins)
    assert depth[-1] == 0
    assert max(depth) <= len(trace)


@pytest.mark.parametrize("ops", [1, 3, 1000])
def test_pieces_are_the_whole(tmp_path, ops):
    """Read piece by piece, a file gives the ops that it gives at once, and the counts are in the header from the start."""
    path = tmp_path / "t.csv"
    path.write_text("uri,len,t_submit\n" + "".join(f"/f{i % 3},{i},{1000 - i}\n" for i in range(10)))
    pieces = list(imported.chunks(Table(str(path)), ops=ops))
    whole = imported.load(Table(str(path)))

    assert sorted((op.t_submit, op.uri, op.len) for piece in pieces for op in piece) == [
        (op.t_submit, op.uri, op.len) for op in whole
    ]
    assert {piece.header.producer["null"]["offset"] for piece in pieces} == {10}
    assert [piece.trailer is None for piece in pieces] == [True] * (len(pieces) - 1) + [False]


# -- damage -----------------------------------------------------------------------------------------------------------

HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
SAMPLES = {
    Strace: b"".join(
        b'7 1700000000.%06d openat(AT_FDCWD</w>, "a\\303", O_RDONLY) = 3</w/a> <0.000007>\n'
        b"7 1700000000.%06d read(3</w/a>,  <unfinished ...>\n8 1700000000.%06d clone(flags=CLONE_VM|CLONE_THREAD) = 9 <0.1>\n"
        b'7 1700000000.%06d <... read resumed>"x"..., 100) = 60 <0.000120>\n'
        b"7 1700000000.%06d mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</w/a>, 0) = 0x7f00 <0.000001>\n"
        % (i, i + 1, i + 2, i + 3, i + 4)
        for i in range(0, 60, 5)
    ),
    Dftracer: b"[\n"
    + b"".join(
        b'{"id":"%d","name":"%s","cat":"POSIX","pid":"0","tid":"5","ts":"%d","dur":"2","ph":"X","args":{"ret":"7","count":"9","fname":"/a","fd":20,"flags":0}}\n'
        % (i, name, 1000 + i)
        for i, name in enumerate([b"open64", b"read", b"lseek64", b"read", b"close"] * 8)
    ),
    OpLog: HEADER.encode()
    + b"".join(
        b"%d\t18147521187885925800\tGET_RANGE\t\t1\t1000\ts3://b\tb/k\t\t2026-01-01T00:00:%02dZ\t\t2026-01-01T00:00:%02d.5Z\t5\n"
        % (i, i, i)
        for i in range(40)
    ),
    FioLog: b"fio version 3 iolog\n" + b"".join(b"%d /d/a read %d 4096\n" % (i, i * 4096) for i in range(60)),
    Blkparse: b"".join(
        b"  8,0 3 %d 0.%09d 697 D R %d + 8 [x]\n  8,0 3 %d 0.%09d 0 C R %d + 8 [0]\n" % (i, i, i * 8, i, i + 1, i * 8)
        for i in range(30)
    ),
    Table: b"uri,offset,len,t_submit,sample_id,err\n" + b"".join(b"/a,%d,5,%d,%d,EIO\n" % (i, i, i) for i in range(60)),
}
SPITE = [
    b"\0", b"\n", b"\t", b'"', b"\\", b"\xff", b"NaN", b"Infinity", b"-1", b"1e400", b"9" * 25, b"-" + b"9" * 25, b"{", b"[",
    b"<unfinished ...>", b"= ?", b"\r\n", b",,,,,", b"=" * 50, b"2026-13-45T99:99:99Z", b"0x" + b"f" * 20, b"1e308", b"<", b">",
]  # fmt: skip


def damaged(rng, data):
    """The data with a few of its bytes lost, doubled, exchanged or made spiteful, perhaps compressed and cut."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(len(data) + 1)
        length = rng.choice([1, 1, 2, 8, 60])
        what = rng.randrange(5)
        if what == 0:
            del data[at : at + length]
        elif what == 1:
            data[at:at] = rng.choice(SPITE)
        elif what == 2:
            data[at:at] = data[at : at + length] * rng.choice([1, 3])
        elif what == 3 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            data[at : at + length] = rng.choice(SPITE)
    out = bytes(data)
    packing = rng.randrange(8)
    if packing == 0:
        out = gzip.compress(out)[: rng.randrange(20, 2000)]
    elif packing == 1:
        out = pa.compress(out, "zstd", asbytes=True)[: rng.randrange(8, 2000)]
    return out


def outcome(kind, path, *, skip_bad):
    """The trace of a file, or the sentence it was refused with."""
    try:
        return imported.load(kind(path, skip_bad=skip_bad)), ""
    except TracekitError as error:
        return None, str(error)


def survive(kind, path, rng, tries, until=0.0):
    """Read this many damaged files, and more until this moment; how many were read, and how many gave ops."""
    count = kept = 0
    while count < tries or time.monotonic() < until:
        data = damaged(rng, SAMPLES[kind])
        path.write_bytes(data)
        skip_bad = rng.random() < 0.7
        try:
            trace, sentence = outcome(kind, str(path), skip_bad=skip_bad)
        except Exception as error:
            # The file itself: whoever reads this can read it again.
            raise AssertionError(f"{kind.NAME}, skip_bad={skip_bad}: {error!r} of {data!r}") from error
        if trace is None:
            assert "\n" not in sentence
        else:
            kept += 1
            assert int(trace.col("t_submit").min()) == 0
            assert int(trace.col("len").min()) >= 0
        count += 1
    return count, kept


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.NAME)
def test_damaged_files_never_crash(tmp_path, kind):
    """A hundred damaged files each give ops or one sentence."""
    count, kept = survive(kind, tmp_path / "f", random.Random(20_26), 100)

    assert count == 100
    assert kept > 0


@pytest.mark.parametrize("name", [b"start", b"end", b"bytes", b"op", b"file"])
def test_a_log_that_names_a_column_twice_is_refused(tmp_path, name):
    """Nobody knows which of the two is meant."""
    header, _, rest = SAMPLES[OpLog].partition(b"\n")
    columns = header.split(b"\t")
    columns[columns.index(b"thread")] = name
    (tmp_path / "f").write_bytes(b"\t".join(columns) + b"\n" + rest)
    trace, sentence = outcome(OpLog, str(tmp_path / "f"), skip_bad=True)

    assert trace is None
    assert f"names the column {name.decode()} more than once" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("sign", [b"\r", b'"'])
@pytest.mark.parametrize("column", [b"n_objects", b"endpoint", b"duration_ns"])
def test_a_log_whose_header_ends_elsewhere_than_its_line_is_refused(tmp_path, column, sign):
    """A carriage return or a quote within the header, found by the fuzzer: one sentence."""
    (tmp_path / "f").write_bytes(SAMPLES[OpLog].replace(column, column[:3] + sign + column[3:], 1))
    trace, sentence = outcome(OpLog, str(tmp_path / "f"), skip_bad=True)

    assert (trace is None) == bool(sentence)
    assert "\n" not in sentence


# What a child of ours does, with this module, and by how many KiB its highest resident size grew meanwhile. The kernel's figure for
# a process begins anew when a program is executed; getrusage's is at least that of whoever started it.
CHILD = """
import importlib.util, json, random, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("fuzz", sys.argv[1])
it = importlib.util.module_from_spec(spec)
spec.loader.exec_module(it)
kind = next(kind for kind in it.SAMPLES if kind.NAME == sys.argv[2])
path, seed = Path(sys.argv[3]), int(sys.argv[4])
def highest():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
FUZZ = """
it.survive(kind, path, random.Random(1), 50)  # what is imported at the first use is no growth
before = highest()
print(json.dumps([*it.survive(kind, path, random.Random(seed), 50, time.monotonic() + 60), highest() - before]))
"""
READ = """
before = highest()
print(json.dumps([sum(len(piece) for piece in it.imported.chunks(kind(str(path)), ops=1 << 16)), highest() - before]))
"""


def told_by_a_child(kind, path, what, seed=0):
    """What a process of its own prints that does `what` with a file."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + what, __file__, kind.NAME, str(path), str(seed)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.NAME)
def test_a_minute_of_damaged_files(tmp_path, kind):
    """A minute of random damage, fifty files at the least: no crash, and memory does not grow."""
    seed = random.randrange(2**32)
    count, kept, grown = told_by_a_child(kind, tmp_path / "f", FUZZ, seed)

    assert count >= 50, seed
    assert kept > 0, seed
    assert grown < 200_000, seed


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "unit"), [(Table, b"/a,5,7\n"), (FioLog, b"5 /d/a read 0 4096\n")], ids=["csv", "fio"]
)
def test_a_bomb_is_read_in_bounded_memory(tmp_path, kind, unit):
    """More ops than are kept from the first reading, behind some hundred kilobytes of gzip, are counted and not held."""
    head = {Table: b"uri,len,t_submit\n", FioLog: b"fio version 3 iolog\n"}[kind]
    path = tmp_path / "bomb.gz"
    block = unit * (1 << 16)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(20):
            file.write(block)
    ops, grown = told_by_a_child(kind, path, READ)

    assert path.stat().st_size < 1 << 20
    assert ops == 20 << 16 > imported._KEPT_OPS
    assert grown < 200_000
