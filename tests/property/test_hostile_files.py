"""Every importer against every kind of hostile file: one sentence or counted bad lines, in bounded memory, never a crash."""

from __future__ import annotations

import io
import math
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tracekit import formats
from tracekit.errors import InputError, TracekitError
from tracekit.formats import darshan_log, imported, registry
from tracekit.formats.blkparse import Blkparse
from tracekit.formats.darshan import Darshan
from tracekit.formats.dftracer import Dftracer
from tracekit.formats.fio import FioLog
from tracekit.formats.oplog import OpLog
from tracekit.formats.strace import Strace
from tracekit.formats.table import Table

HEADER = b"idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n"
# Of each format: what stands before the ops, and a line with a name and a time of the format's own kind.
HEADS = {OpLog: HEADER, FioLog: b"fio version 3 iolog\n", Table: b"uri,offset,len,t_submit\n", Dftracer: b"[\n"}
LINES = {
    Strace: lambda name, time: b'7 %s openat(AT_FDCWD</w>, "a", O_RDONLY) = 3<%s> <0.000007>\n' % (time, name),
    Dftracer: lambda name, time: (
        b'{"id":"1","name":"read","cat":"POSIX","pid":"0","tid":"5","ts":%s,"dur":"2","ph":"X",'
        b'"args":{"ret":"7","offset":0,"fname":"%s"}}\n' % (time, name)
    ),
    OpLog: lambda name, time: b"1\t1\tGET\t\t1\t1000\ts3://b\tb%s\t\t%s\t\t2026-01-01T00:00:09Z\t5\n" % (name, time),
    FioLog: lambda name, time: b"%s %s read 0 5\n" % (time, name),
    Blkparse: lambda name, time: b"8,0 3 1 %s 1 D R 8 + 8 [%s]\n8,0 3 1 9.5 1 C R 8 + 8 [x]\n" % (time, name),
    Table: lambda name, time: b"%s,0,5,%s\n" % (name, time),
}
TIMES = dict.fromkeys(LINES, b"5") | {Strace: b"1700000000.5", Blkparse: b"0.5", OpLog: b"2026-01-01T00:00:01Z"}
KINDS = pytest.mark.parametrize("kind", LINES, ids=lambda kind: kind.NAME)


def good(kind, count=1):
    """Lines that are as they should be, with what stands before them."""
    return HEADS.get(kind, b"") + LINES[kind](b"/a", TIMES[kind]) * count


def read(kind, path, *, skip_bad):
    """The trace of a file, or None where it was refused with one sentence that names the file."""
    sentence = ""
    try:
        return imported.load(kind(str(path), skip_bad=skip_bad))
    except TracekitError as error:
        sentence = str(error)
    assert str(path) in sentence
    assert "\n" not in sentence
    return None


def test_every_importer_is_among_these():
    """A new importer of text has to be added to this file; Darshan's logs are binary and have tests of their own."""
    known = {kind.NAME for kind in (*LINES, Darshan)}

    assert {form._importer.NAME for form in registry.FORMATS if form.importer} == known


@KINDS
def test_the_good_line_is_good(tmp_path, kind):
    """What the other tests damage is read as it stands: they would prove nothing otherwise."""
    (tmp_path / "f").write_bytes(good(kind))

    assert len(read(kind, tmp_path / "f", skip_bad=False)) == 1


@KINDS
@pytest.mark.parametrize(
    "time", [b"NaN", b"Infinity", b"-Infinity", b"-5", b"-1700000000.5", b"1e400", b"9" * 30, b"", b"0x10", b'"x"']
)
def test_a_time_that_is_none_is_a_bad_line_or_left_out(tmp_path, kind, time):
    """Such a line is refused with its place, or counted; its op is never made up, and the good ones stay what they are."""
    (tmp_path / "f").write_bytes(good(kind) + LINES[kind](b"/b", time))
    strict, skipping = (read(kind, tmp_path / "f", skip_bad=skip) for skip in (False, True))

    assert skipping is not None
    assert len(skipping) == 1 or not time.strip(b'"x-'), "an op without a time was kept"
    # Where it is not refused, it was counted as no op.
    assert strict is None or strict.warnings or not time.strip(b'"x-')
    assert int(skipping.col("t_submit").min()) == 0


@KINDS
@pytest.mark.parametrize("name", [b"/\xff\xfe\x80", b"/\xc3\x28", b"/a\x7f\x1b[31m", b"/\xed\xa0\x80"], ids=repr)
def test_a_name_that_is_not_utf_8_can_be_written_again(tmp_path, kind, name):
    """The trace goes through JSON Lines and Parquet and comes back with the same name, whatever stands for its bytes."""
    (tmp_path / "f").write_bytes(good(kind) + LINES[kind](name, TIMES[kind]))
    trace = read(kind, tmp_path / "f", skip_bad=True)

    assert trace is not None
    for form in ("t.jsonl", "t.parquet", "t.csv", "t.tkc"):
        formats.save(trace, tmp_path / form)
        assert [op.uri for op in formats.load(tmp_path / form)] == [op.uri for op in trace]


@KINDS
@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_line_of_a_million_columns_is_one_bad_line(tmp_path, kind, skip_bad):
    """A line of a million fields behind good ones does not take memory by the field, nor the good ones with it."""
    separator = {OpLog: b"\t", Table: b","}.get(kind, b" ")
    (tmp_path / "f").write_bytes(good(kind) + b"x" + separator.join([b"1"] * 1_000_000) + b"\n")
    trace = read(kind, tmp_path / "f", skip_bad=skip_bad)

    assert trace is None or len(trace) == 1
    assert trace is not None or not skip_bad


@KINDS
@pytest.mark.parametrize("skip_bad", [False, True])
def test_nul_bytes_between_good_lines(tmp_path, kind, skip_bad):
    """A hole in a file (zeros after a crash) is a bad line, and what stands before it is kept."""
    (tmp_path / "f").write_bytes(good(kind, 3) + b"\0" * 100_000 + b"\n")
    trace = read(kind, tmp_path / "f", skip_bad=skip_bad)

    assert trace is None or len(trace) == 3
    assert trace is not None or not skip_bad


@KINDS
@pytest.mark.parametrize("other", LINES, ids=lambda kind: kind.NAME)
def test_a_file_of_another_format_is_refused(tmp_path, kind, other):
    """A wrong header, a wrong format: one sentence, not a trace of nonsense."""
    if kind is other:
        return
    (tmp_path / "f").write_bytes(good(other, 5))

    assert read(kind, tmp_path / "f", skip_bad=False) is None


@KINDS
def test_a_zstd_stream_cut_short_anywhere(tmp_path, kind):
    """Cut at any of a dozen places, the file gives a sentence or the ops before the cut, and says that it was cut."""
    rng = random.Random(7)
    text = HEADS.get(kind, b"") + b"".join(LINES[kind](b"/%d" % rng.getrandbits(60), TIMES[kind]) for _ in range(1000))
    data = pa.compress(text, "zstd", asbytes=True)
    for cut in range(1, len(data), len(data) // 12):
        (tmp_path / "f").write_bytes(data[:cut])
        trace = read(kind, tmp_path / "f", skip_bad=True)
        assert trace is None or (trace.trailer is None and "damaged or cut short" in " ".join(trace.warnings))


@KINDS
def test_blank_lines_are_nothing(tmp_path, kind):
    """A few MiB of line ends behind the ops add none and take none away, also where they fill whole blocks of a reader."""
    (tmp_path / "f").write_bytes(good(kind, 3) + b"\n" * (3 << 20))

    assert len(read(kind, tmp_path / "f", skip_bad=False)) == 3


BOMB = """
import sys
from tracekit.errors import TracekitError
from tracekit.formats import registry
def highest():
    # Not getrusage's, which is at least that of whoever started this.
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
form = next(one for one in registry.FORMATS if one.name == sys.argv[1])
before = highest()
try:
    ops = sum(len(piece) for piece in form.chunks(sys.argv[2], ops=1 << 16, time_unit=1, skip_bad=True))
    print("ops", ops)
except TracekitError as error:
    print("sentence", error)
print(highest() - before)
"""


def bomb(path, head, block, times):
    """A zstd file of `head` and `block` over and over."""
    with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as file:
        file.write(head)
        for _ in range(times):
            file.write(block)


@pytest.mark.long
@pytest.mark.timeout(1800)
@KINDS
@pytest.mark.parametrize(
    ("unit", "times"), [(b"\0", 10 << 10), (b"\n", 16), (b"x ", 1 << 10)], ids=["nul", "lines", "words"]
)
def test_a_bomb_is_read_in_bounded_memory(tmp_path, kind, unit, times):
    """Ten GiB of zeros, a line without end or millions of empty lines behind a few KiB: a sentence or the ops before it."""
    name = next(form.name for form in registry.FORMATS if form.importer and form._importer is kind)
    bomb(tmp_path / "bomb", good(kind, 3), unit * ((1 << 20) // len(unit)), times)
    assert (tmp_path / "bomb").stat().st_size < 10 << 20
    done = subprocess.run(
        [sys.executable, "-c", BOMB, name, str(tmp_path / "bomb")], capture_output=True, text=True, check=True
    )
    said, grown = done.stdout.splitlines()

    assert said == "ops 3" or (said.startswith("sentence") and str(tmp_path / "bomb") in said)
    assert int(grown) < 300_000


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.long)])
def test_damaged_darshan_logs(tmp_path, seconds):
    """Logs cut short and with wrong bytes give ops or one sentence, though many of them end the darshan package's process."""
    darshan = pytest.importorskip("darshan", reason="darshan is not installed")
    data = (Path(darshan.__file__).parent / "examples" / "example_logs" / "dxt.darshan").read_bytes()
    keep = tmp_path / "keep"
    keep.write_text("what must not be removed")
    seed = random.randrange(2**32) if seconds else 20_26
    rng, outcomes, until = random.Random(seed), [], time.monotonic() + seconds
    while len(outcomes) < 2 or time.monotonic() < until:
        number = len(outcomes)
        damaged = bytearray(data[: rng.randrange(len(data))] if number % 8 == 0 else data)
        for _ in range(rng.randint(1, 10) * (number % 8 > 0)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "f").write_bytes(damaged)
        outcomes.append(read(Darshan, tmp_path / "f", skip_bad=True))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "keep"], seed


def test_a_darshan_log_of_endless_segments_is_refused(monkeypatch):
    """However much a few compressed bytes become: what is handed on is bounded, and one sentence says so."""

    class Log:
        modules, start, version, command = ("DXT_POSIX",), 0, "3", "a"

        def names(self):
            return {1: "/a"}

        def records(self, module):
            while True:
                yield 1, 0, "h", 1, 0, bytes(darshan_log.SEGMENT_BYTES)

    monkeypatch.setattr(darshan_log, "_MOST_BYTES", 100 * darshan_log.SEGMENT_BYTES)
    sink = io.BytesIO()
    with pytest.raises(ValueError, match="more than 100 segments"):
        darshan_log._write(Log(), sink)
    assert len(sink.getvalue()) < 20_000


def test_darshan_times_that_are_none_are_left_out(monkeypatch, tmp_path):
    """Infinite, negative and reversed times, and offsets below zero, are counted; the good segments stay, reads first."""
    reads = [
        (0, 5, 0.5, 0.6),
        (0, 5, math.nan, 1),
        (0, 5, 0.5, math.inf),
        (0, 5, -1e300, 1),
        (0, 5, 2, 1),
        (-1, 5, 1, 2),
    ]
    job = b'{"module":"DXT_POSIX","start":1000000000,"version":"3","command":"a b"}\n'
    record = b'{"name":"/a","rank":0,"host":"h","write":1,"read":%d}\n' % len(reads)
    segments = b"".join(struct.pack("=qqdd", *segment) for segment in [(9, 5, 0.7, 0.9), *reads])
    monkeypatch.setattr("tracekit.formats.darshan._records", lambda path: job + record + segments)
    trace = imported.load(Darshan(str(tmp_path / "x")))

    assert [(op.op, op.offset, op.len, op.t_complete) for op in trace] == [
        ("read", 0, 5, 10**8), ("write", 9, 5, 4 * 10**8),
    ]  # fmt: skip
    assert trace.trailer.coverage["left_out"] == {"segments without usable times or offset": 5}


def test_what_is_no_darshan_log_is_refused(tmp_path):
    """A text file gets one sentence."""
    pytest.importorskip("darshan", reason="darshan is not installed")
    (tmp_path / "f.darshan").write_text("hello\n")
    with pytest.raises(InputError, match="cannot be read as a Darshan log"):
        Darshan(str(tmp_path / "f.darshan"))
