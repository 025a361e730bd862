"""dftracer's lines as columns: the core, the Python way and the oracle, which goes line by line, say the same."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from drivers import sanitized

from tracekit import _core
from tracekit.errors import TracekitError
from tracekit.formats import dftracer_calls, dftracer_events, foreign_lines
from tracekit.formats.dftracer import Dftracer
from tracekit.formats.dftracer_events import EventReader
from tracekit.formats.dftracer_positions import Positions

sys.path.insert(0, str(Path(__file__).parent))

from dftracer_oracle import Oracle

FIELDS = (
    "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "err", "pid", "tid", "epoch", "step", "sample_id", "layer",
)  # fmt: skip


def said(source):
    """All that an importer says of its file, or its sentence."""
    try:
        ops = [tuple(getattr(op, name) for name in FIELDS) for piece in source.pieces(2**40) for op in piece]
    except TracekitError as error:
        return str(error)
    marks = [(mark.mark, mark.t, mark.t_end, mark.step, mark.epoch, mark.pid) for mark in source.marks]
    return ops, marks, source.told.left_out, source.told.bad, source.facts()


def wanted(path, data, *, skip_bad):
    """The same as the oracle has it."""
    try:
        oracle = Oracle(str(path), skip_bad=skip_bad).read(data)
    except TracekitError as error:
        return str(error)
    facts = {"host": {"name": ", ".join(sorted(oracle.hosts))}} if oracle.hosts else {}
    return oracle.ops, oracle.marks, oracle.left, oracle.bad, facts


def assert_same(path, data, *, skip_bad, block=1 << 22):
    """The core's columns, Python's and the oracle's ops are the same."""
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign_lines, "_BLOCK_BYTES", block)
        mine = said(Dftracer(str(path), skip_bad=skip_bad))
        patch.setattr("tracekit.formats.dftracer.reader_of", EventReader)
        patch.setattr("tracekit.formats.dftracer.positions_of", Positions)
        assert said(Dftracer(str(path), skip_bad=skip_bad)) == mine
    assert mine == wanted(path, data, skip_bad=skip_bad), data


numbers = st.one_of(
    st.integers(0, 500),
    st.integers(0, 500).map(str),
    st.sampled_from([-1, "-5", 2**40, 2**61, 2**62, 10**18, "007", "", 1.5]),
)
texts = st.sampled_from(["/a", "/a", "/b", "", "s3://b/k", "/ü", 'q"', "a\\b", "x" * 40, 5, None])
digests = st.sampled_from(["0a", "0a", 11, "11", 2**64 - 1, 2**64, -3, 0, None, 1.5])
arguments = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["ret", "size", "count", "offset", "nmemb", "length", "epoch", "step", "image_idx"], numbers),
        "fd": st.sampled_from([3, 3, 4, "4", -1, 2**61, "x"]), "whence": st.integers(0, 2), "flags": st.sampled_from([0, 0o2000]),
        "fname": texts, "filename": st.sampled_from(["/c", ""]), "fhash": digests, "value": digests, "name": texts,
        "errno": st.sampled_from([0, 2, 9999, -2, "x"]), "hostname": st.sampled_from(["h", "", 3]),
        "odd": st.sampled_from([[], {}, None, True, 1e3, {"fname": "/z"}]), "mode": numbers, "hhash": texts,
    },
)  # fmt: skip
NAMES = [
    "open", "open", "open64", "read", "read", "read", "pread", "write", "write", "fread", "fwrite", "lseek64", "lseek", "fseek",
    "close", "mmap", "__xstat", "socket", "fsync", "access", "TorchFramework.compute", "epoch_3", "epoch_x", "batch",
    "a.checkpoint", "checkpoint.a", "epoch_7",
]  # fmt: skip
times = st.one_of(
    st.integers(0, 10**6),
    st.sampled_from([1.5, "2.25", 10**15, "1698352095942658", 1698352095942658.2, 0.0005, 0.0015]),
    st.sampled_from([-1, "x", 2**60, "1e3", 4611686018427387, 4611686018427388]),
)
calls = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "cat": st.sampled_from(["POSIX", "POSIX", "STDIO", "APP"]), "ph": st.sampled_from(["X", "X", 1, "4"])},
    optional={
        "ts": times, "dur": times, "pid": st.sampled_from([1, "2", 2**40, "x"]), "id": numbers, "new": texts, "args": arguments,
        "tid": st.sampled_from([5, 5, "6", 139_000_000_000_001, "x", -4]),
    },
)  # fmt: skip
# Most have all that is needed, so that their ops hang together.
usual = st.tuples(calls, st.integers(1, 10**9), arguments, st.sampled_from(["/a", "/b"])).map(
    lambda one: {"tid": 5, **one[0], "ts": one[1], "args": {**one[2], "fname": one[3]}}
)
namings = st.fixed_dictionaries(
    {"name": st.sampled_from(["FH", "FH", "HH", "PR"]), "ph": st.sampled_from(["M", 4]), "args": arguments},
    optional={"cat": texts},
)
events = st.one_of(usual, usual, usual, calls, namings)


@settings(max_examples=60)
@given(
    st.lists(events, max_size=25), st.booleans(), st.sampled_from(["\n", ",\n", " ,\r\n", "\n\n"]), st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":")]), st.booleans(), st.sampled_from([60, 700, 1 << 22]),
)  # fmt: skip
def test_events(tmp_path_factory, those, skip_bad, end, bracket, gaps, ascii_only, block):
    """Of any events, whatever their types and wherever a block ends: ops, marks, counts, hosts and sentences."""
    path = tmp_path_factory.getbasetemp() / "events.pfw"
    lines = end.join(json.dumps(event, separators=gaps, ensure_ascii=ascii_only) for event in those)
    assert_same(path, ("[\n" * bracket + lines + "\n]" * bracket).encode(), skip_bad=skip_bad, block=block)


def call_on_a_file(rng):
    """A call on one of two files by one of two descriptors in one of two threads."""
    args = {"fname": rng.choice(["/a", "/a", "/a", "/b"]), "ret": rng.choice([3, 3, 3, 0, 5, -1])}
    for name, values, share in (
        ("fd", [3, 3, 3, 5], 0.8), ("offset", [0, 5, 7, -2], 0.2), ("whence", [0, 1, 1, 2], 0.5), ("flags", [0o2000], 0.2),
    ):  # fmt: skip
        if rng.random() < share:
            args[name] = rng.choice(values)
    name = rng.choice(["open", "open", "read", "read", "read", "pread", "write", "write", "lseek64", "fseek"])
    return {"name": name, "cat": "POSIX", "ph": 1, "tid": rng.choice([1, 1, 2]), "pid": 9, "ts": 1, "args": args}


@pytest.mark.parametrize("seed", range(8))
def test_positions(tmp_path, seed):
    """Of three hundred calls: where each read and write began, as one after another moves its file on."""
    rng = random.Random(seed)
    lines = (json.dumps(call_on_a_file(rng)) for _ in range(300))
    assert_same(tmp_path / "t.pfw", "\n".join(lines).encode(), skip_bad=False)


@pytest.mark.parametrize(
    ("count", "members"), [(2**61, 4), (2**61, 3), (-(2**61), 4), (2**61, -4), (-(2**61), -4), (2**61, 0)]
)
def test_lengths_beyond_any_number_are_left_out(tmp_path, count, members):
    """Members times their size may fit no column: such an op is counted, and not there."""
    events = [
        {"name": "fread", "cat": "POSIX", "ts": 1, "args": {"fname": "/a", "count": asked, "nmemb": members}}
        for asked in (count, 1)
    ]
    assert_same(tmp_path / "t.pfw", "\n".join(map(json.dumps, events)).encode(), skip_bad=False)


LINES = [
    b'{"id":"3","name":"open","cat":"POSIX","pid":"13","tid":"27","ts":"1698080323784880","dur":"913","ph":"X","args":{"hostname":"c","ret":18,"flags":66,"fname":"/p/a.bat","mode":420}}',
    b'{"id":"4","name":"read","cat":"POSIX","pid":"13","tid":"27","ts":"1698080323784990","dur":"9","ph":"X","args":{"hostname":"c","ret":"40","count":"50","fname":"/p/a.bat","fd":18}}',
    b'{"id":5,"name":"lseek64","cat":"POSIX","type":3,"pid":13,"tid":27,"ts":1698080323784995,"dur":2,"ph":1,"args":{"hhash":"68","offset":-4,"whence":1,"fname":"/p/a.bat","fd":18}}',
    b'{"name":"FH","cat":"dftracer","type":1,"pid":7,"tid":7,"ph":4,"args":{"hhash":"68","name":"/d/1.bin","value":"0b"}}',
    b'{"id":6,"name":"read","cat":"POSIX","type":3,"pid":7,"tid":7,"ts":1698080323785000.25,"dur":2.5,"ph":1,"args":{"hhash":"68","ret":32768,"count":32768,"fhash":"0b"}}',
    b'{"id":7,"name":"batch","cat":"APP","pid":7,"tid":7,"ts":1698080323785001,"dur":7,"ph":"X","args":{"epoch":1,"step":3,"image_idx":9}}',
]  # fmt: skip
SPITE = [
    b'"', b"\\", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"-", b"0", b"1", b"9" * 20, b".", b".5", b"e5", b"{", b"}", b"[", b",", b":", b" ", b"\t",
    b"\r", b"\n", b"\0", b"null", b"true", b'"ts":1,', b'"fname":"/q",', b'"args":{},', b'"ret":null,', b'"M"', b"4", b"\\u00e9", b"\x0c",
]  # fmt: skip


def edited(line, rng):
    """A line with a few bytes lost, doubled or made spiteful."""
    line = bytearray(line)
    for _ in range(rng.choice([0, 1, 1, 2])):
        at, length = rng.randrange(len(line)), rng.choice([1, 1, 3, 12])
        if rng.random() < 0.4:
            del line[at : at + length]
        elif rng.random() < 0.2:
            line[at:at] = line[at : at + length]
        else:
            line[at : at + rng.choice([0, 1])] = rng.choice(SPITE)
    return bytes(line)


def edited_files(path, rng, tries, until=0.0):
    """Files of edited lines, so many and more until this moment, read in all three ways; how many."""
    count = 0
    while count < tries or time.monotonic() < until:
        lines = [edited(line, rng) for line in LINES for _ in range(rng.randint(0, 2))]
        data = b"\n".join(lines) + b"\n" * rng.randint(0, 1)
        assert_same(path, data, skip_bad=rng.random() < 0.8, block=rng.choice([100, 1 << 20]))
        count += 1
    return count


def test_edited_lines_are_read_alike(tmp_path):
    """The fuzzer's first sixty files, in every run of the tests."""
    assert edited_files(tmp_path / "t.pfw", random.Random(11), 60) == 60


@pytest.mark.long
def test_edited_lines_are_read_alike_for_a_minute(tmp_path):
    """The same from other seeds, a minute long."""
    assert edited_files(tmp_path / "t.pfw", random.Random(), 100, time.monotonic() + 60) >= 100


def test_real_files_are_read_alike(repository, tmp_path):
    """The samples of two generations, in blocks that cut them anywhere."""
    shared = repository.parent / "shared" / "traces"
    if not shared.is_dir():
        pytest.skip("no shared/traces beside the checkout")
    for name in ("dftracer/test.pfw.gz", "made_here/dlio200_unet3d_8files.pfw.gz"):
        data = gzip.decompress((shared / name).read_bytes())
        assert_same(tmp_path / "t.pfw", data[: 1 << 20].rpartition(b"\n")[0], skip_bad=False, block=10_000)


def test_a_rest_without_an_end_is_a_line(tmp_path):
    """The last line needs no newline, and each plain line is the core's: nothing of it is left to Python."""
    data = b"\n".join(LINES[:2])

    assert_same(tmp_path / "t.pfw", data, skip_bad=False)
    assert _core.events_read(_core.events(), data + b"\n", 0, *_room(2))[1:] == (2, 2)


def _room(rows):
    cells = np.empty((len(dftracer_events.COLUMNS), rows), np.int64)
    return cells.ctypes.data, 0, rows


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_the_lines_that_dftracer_writes_are_plain(line):
    """Each form of line is taken by the core, which is what makes reading quick."""
    position, rows, lines = _core.events_read(_core.events(), line + b"\n", 0, *_room(1))

    assert (position, rows, lines) == (len(line) + 1, 1, 1)


def test_the_core_and_python_mean_the_same_columns_and_steps(repository):
    """Their order is written down in both."""
    assert _core.events_columns() == (list(dftracer_events.COLUMNS), len(dftracer_events.TEXTS))
    header = (repository / "tracekit" / "_native" / "positions.h").read_text()
    names = header.partition("enum tk_step {")[2].partition("}")[0].replace("TK_STEP_", "").split(",")
    assert [name.strip() for name in names] == [step.name for step in dftracer_calls.Step]


def test_the_door_refuses_what_is_not_there():
    """Columns without an address, places outside the text, tables that are none."""
    scanner = _core.events()
    for arguments in ((0, 0, 0, 1), (2, 1, 0, 1), (0, 1, 2, 1), (-1, 1, 0, 1)):
        with pytest.raises(ValueError, match="events_read"):
            _core.events_read(scanner, b"\n", *arguments)
    with pytest.raises(ValueError, match="no such column"):
        _core.events_new_texts(scanner, 9)
    with pytest.raises(ValueError, match="no such column"):
        _core.events_code(scanner, -1, "x")
    with pytest.raises(ValueError, match="columns"):
        _core.positions_follow(_core.positions(), 0, 1)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_scanner_is_clean_under_sanitizers(repository, tmp_path):
    """Mutated lines in blocks of exact size and random calls, under ASan and UBSan: no access outside, no undefined behaviour."""
    driver = sanitized(repository, tmp_path / "driver", "events", ("events", "positions", "scan", "strings"))
    done = subprocess.run([str(driver), "1", "30000"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    taken, refused = map(int, done.stdout.split())
    assert min(taken, refused) > 5_000
