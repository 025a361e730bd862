"""Other tools' files: what each importer makes of them, and what each exporter writes."""

from __future__ import annotations

import gzip
import json
import os

import numpy as np
import pyarrow as pa
import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.cli import main
from tracekit.errors import InputError, TraceFormatError, UnknownNameError
from tracekit.formats import chrome, fio, imported, oplog, table
from tracekit.formats.blkparse import Blkparse
from tracekit.formats.dftracer import Dftracer
from tracekit.formats.fio import FioLog
from tracekit.formats.oplog import OpLog
from tracekit.formats.strace import Strace
from tracekit.formats.table import Table

HEADER = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns"


@pytest.fixture
def made(tmp_path):
    """Write a file and give its path."""

    def write(text, name="source"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def read(kind, path, **rest):
    """The whole file as a trace."""
    return imported.load(kind(path, **rest))


# -- strace -----------------------------------------------------------------------------------------------------------


def strace_of(*calls, start=1_700_000_000):
    """Lines of strace, a millisecond apart, of (thread, call and result)."""
    return "".join(f"{tid} {start}.{index * 1000:06d} {call} <0.000007>\n" for index, (tid, call) in enumerate(calls))


def as_it_stands(*calls):
    """Lines of strace, a millisecond apart, of (thread, all of the call)."""
    return "".join(f"{tid} 1700000000.{index * 1000:06d} {call}\n" for index, (tid, call) in enumerate(calls))


def test_strace_offsets_follow_the_file_position(made):
    """A read begins where the one before it ended, or where lseek went; a pread says where it begins and moves nothing."""
    text = strace_of(
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a>'),
        (7, 'read(3</w/a>, ""..., 100) = 100'),
        (7, 'read(3</w/a>, ""..., 100) = 60'),
        (7, 'pread64(3</w/a>, ""..., 10, 5) = 10'),
        (7, "lseek(3</w/a>, 1000, SEEK_SET) = 1000"),
        (7, 'read(3</w/a>, ""..., 4) = 4'),
    )
    trace = read(Strace, made(text))

    assert [(op.op, op.offset, op.len, op.ret) for op in trace] == [
        ("open", 0, 0, 0),
        ("read", 0, 100, 100),
        ("read", 100, 100, 60),
        ("read", 5, 10, 10),
        ("read", 1000, 4, 4),
    ]
    assert trace[1] == Op("file:///w/a", 0, 100, 1_000_000, "read", 1_007_000, 100, pid=7, tid=7, layer="strace")
    assert trace.header.clock["t0_unix_ns"] == 1_700_000_000 * 10**9


def test_strace_positions_are_shared_by_copies_and_children(made):
    """Copies and forked children share a position, threads share descriptors, a second open has a position of its own."""
    text = strace_of(
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a>'),
        (7, "dup(3</w/a>) = 4</w/a>"),
        (7, 'read(4</w/a>, ""..., 10) = 10'),
        (7, "clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 8"),
        (8, 'read(3</w/a>, ""..., 10) = 10'),
        (7, "clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 9"),
        (9, 'read(3</w/a>, ""..., 10) = 10'),
        (8, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 5</w/a>'),
        (8, 'read(5</w/a>, ""..., 10) = 10'),
    )
    trace = read(Strace, made(text))

    assert [(op.pid, op.tid, op.offset) for op in trace if op.op == "read"] == [
        (7, 7, 0),
        (8, 8, 10),
        (7, 9, 20),
        (8, 8, 0),
    ]


def test_strace_calls_cut_in_two_are_one(made):
    """An unfinished call has the time of its beginning; what never ends is counted and left out."""
    text = (
        '7 1700000000.000000 openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.000001>\n'
        "7 1700000000.000100 read(3</w/a>,  <unfinished ...>\n"
        '8 1700000000.000150 openat(AT_FDCWD</w>, "b", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000002>\n'
        '7 1700000000.000200 <... read resumed>"x"..., 4096) = 4096 <0.000120>\n'
        "8 1700000000.000300 read(9</w/c>,  <unfinished ...>\n"
        "8 1700000000.000400 +++ exited with 0 +++\n"
    )
    trace = read(Strace, made(text))

    assert [(op.op, op.t_submit, op.t_complete, op.err) for op in trace] == [
        ("open", 0, 1_000, None),
        ("read", 100_000, 220_000, None),
        ("open", 150_000, 152_000, "ENOENT"),
    ]
    assert any("calls whose end is not in the file" in text for text in trace.warnings)


def test_strace_knows_a_child_before_the_call_that_made_it_ends(made):
    """After vfork the child is seen first: it stands where its parent stands, and the parent's later ops are its own."""
    text = as_it_stands(
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.000001>'),
        (7, 'read(3</w/a>, "", 100) = 100 <0.000001>'),
        (7, "vfork( <unfinished ...>"),
        (8, 'read(3</w/a>, "", 100) = 100 <0.000001>'),
        (8, 'openat(AT_FDCWD</w>, "b", O_RDONLY) = 4</w/b> <0.000001>'),
        (7, "<... vfork resumed>) = 8 <0.002000>"),
        (7, 'openat(AT_FDCWD</w>, "c", O_RDONLY) = 4</w/c> <0.000001>'),
        (8, 'read(4</w/b>, "", 10) = 10 <0.000001>'),
        (8, 'read(4</w/b>, "", 10) = 10 <0.000001>'),
        (7, 'read(4</w/c>, "", 10) = 10 <0.000001>'),
    )
    reads = [(op.pid, op.uri[-1], op.offset) for op in read(Strace, made(text)) if op.op == "read"]
    assert reads == [(7, "a", 0), (8, "a", 100), (8, "b", 0), (8, "b", 10), (7, "c", 0)]


def test_strace_knows_a_thread_before_the_call_that_made_it_ends(made):
    """A thread that is seen before its clone ends belongs to the process that made it, and shares its descriptors."""
    text = as_it_stands(
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.000001>'),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0} <unfinished ...>"),
        (8, 'read(3</w/a>, "", 100) = 100 <0.000001>'),
        (7, "<... clone3 resumed> => {parent_tid=[8]}, 88) = 8 <0.001000>"),
        (7, 'read(3</w/a>, "", 100) = 100 <0.000001>'),
    )
    reads = [(op.pid, op.tid, op.offset) for op in read(Strace, made(text)) if op.op == "read"]
    assert reads == [(7, 8, 0), (7, 7, 100)]


def test_strace_leaves_out_what_is_no_file_and_says_so(made):
    """Sockets, pipes and devices are counted by kind; names come back from their escapes."""
    text = strace_of(
        (7, 'read(3<socket:[81]>, ""..., 10) = 10'),
        (7, 'read(4<pipe:[82]>, ""..., 10) = 10'),
        (7, 'read(5</dev/urandom<char 1:9>>, ""..., 10) = 10'),
        (7, r'openat(AT_FDCWD</w>, "/w/\303\251 \"q\"", O_RDONLY|O_DIRECT) = 6</w/\303\251 "q">'),
    )
    trace = read(Strace, made(text))

    assert [(op.uri, op.flags) for op in trace] == [("file:///w/%C3%A9%20%22q%22", "direct")]
    assert trace.trailer.coverage["left_out"] == {
        "calls on sockets": 1,
        "calls on pipes": 1,
        "calls on /dev, /proc and /sys": 1,
    }


def test_strace_without_names_follows_descriptors(made):
    """Without -y a descriptor is the file it was opened as; one whose opening is not in the file is counted."""
    text = strace_of(
        (7, 'openat(AT_FDCWD, "/w/a", O_WRONLY|O_CREAT|O_APPEND, 0666) = 3'),
        (7, 'write(3, ""..., 10) = 10'),
        (7, 'read(9, ""..., 10) = 10'),
        (7, "fsync(3) = 0"),
        (7, "sendfile(1<socket:[1]>, 3, [64], 100) = 100"),
    )
    trace = read(Strace, made(text))

    assert [(op.op, op.uri, op.offset) for op in trace] == [
        ("open", "file:///w/a", 0),
        ("write", "file:///w/a", None),
        ("fsync", "file:///w/a", 0),
        ("read", "file:///w/a", 64),
    ]
    assert "calls on descriptors whose opening is not in the file" in trace.trailer.coverage["left_out"]


@pytest.mark.parametrize(
    "line",
    [
        'read(3</x>, "", 5) = %s <0.000001>',
        'read(%s</x>, "", 5) = 5 <0.000001>',
        'read(3</x>, "", 5) = 5 <%s.000001>',
        'readv(3</x>, [{iov_base="", iov_len=%s}], 1) = 5 <0.000001>',
        "sendfile(4</y>, 3</x>, [%s], 5) = 5 <0.000001>",
        "+++ superseded by execve in pid %s +++",
        "pread64(3</x>) = 5 <0.000001>",
    ],
)
def test_damaged_strace_calls_are_bad_lines(made, line):
    """A number of 5000 digits or a missing argument: the line is named, and --skip-bad leaves it out."""
    good = '1700000000.000001 read(3</x>, "", 5) = 5 <0.000001>\n'
    path = made(f"{good}1700000000.000002 {line.replace('%s', '1' * 5000)}\n{good}")
    with pytest.raises(TraceFormatError, match=r"source:2: the call cannot be understood"):
        formats.load(path, form="strace")
    assert len(formats.load(path, form="strace", skip_bad=True)) == 2


def test_a_strace_time_of_5000_digits_is_a_bad_line(made):
    """No time has so many: the line is none of strace."""
    with pytest.raises(TraceFormatError, match=r"source:1: the line is none of strace"):
        formats.load(made(f'{"1" * 5000}.000001 read(3</x>, "", 5) = 5 <0.000001>\n'), form="strace")


def test_strace_with_times_of_day_is_refused(made):
    """-t and -tt do not say the date, so the sentence says what to record with."""
    with pytest.raises(TraceFormatError, match=r"source:1: the times do not count from 1970; record with strace -ttt"):
        read(Strace, made('7 12:01:02.123456 read(3</w/a>, "", 1) = 1 <0.000001>\n'))


# -- dftracer ---------------------------------------------------------------------------------------------------------


def event(name, ts, /, *, cat="POSIX", dur=5, pid=1, tid=2, ph="X", **args):
    """An event as dftracer writes it."""
    return {"name": name, "cat": cat, "ph": ph, "ts": ts, "dur": dur, "pid": pid, "tid": tid, "args": args}


def pfw(*events):
    """A file of events."""
    return "[\n" + "".join(json.dumps(one) + "\n" for one in events) + "]\n"


def test_dftracer_reads_get_their_offsets_from_seeks(made):
    """An open is the beginning, lseek's result is where it went, a read moves on; pread says its own."""
    path = made(
        pfw(
            event("open64", 1000, fname="/d/a", ret=20, flags=0),
            event("read", "1010", fname="/d/a", fd=20, ret="4096", count="4096"),
            event("lseek64", 1020, fname="/d/a", fd=20, offset="-10", whence=2, ret="90000"),
            event("read", 1030, fname="/d/a", fd=20, ret="10", count="4096"),
            event("pread", 1040, fname="/d/a", fd=20, offset=7, ret=3, count=3),
            event("close", 1050, fname="/d/a", fd=20, ret=0),
        )
    )
    trace = read(Dftracer, path)

    assert [(op.op, op.offset, op.len, op.ret) for op in trace] == [
        ("open", 0, 0, 0),
        ("read", 0, 4096, 4096),
        ("read", 90000, 4096, 10),
        ("read", 7, 3, 3),
        ("close", 0, 0, 0),
    ]
    assert [op.t_submit for op in trace] == [0, 10_000, 30_000, 40_000, 50_000]
    assert trace.header.clock["t0_unix_ns"] == 1_000_000


def test_dftracer_times_that_are_numbers_are_exact(made):
    """Microseconds since 1970 times a thousand do not fit a double: a whole number is not made one on its way."""
    line = '{{"name":"read","cat":"POSIX","ph":"X","pid":1,"tid":1,"ts":{},"dur":3,"args":{{"fname":"/a","ret":5}}}}'
    first = 1_698_352_109_777_819
    trace = read(Dftracer, made("\n".join(line.format(first + later) for later in (0, 1, 7))))

    assert [(op.t_submit, op.t_complete) for op in trace] == [(0, 3000), (1000, 4000), (7000, 10_000)]
    assert trace.header.clock["t0_unix_ns"] == first * 1000


def test_dftracer_phases_may_be_numbers(made):
    """As version 2.2.0 writes them: 4 names a file, 1 is a call; reads without a descriptor follow their file's opening."""
    call = '{{"id":{0},"name":"{1}","cat":"POSIX","type":3,"pid":7,"tid":7,"ts":{2},"dur":2,"ph":1,"args":{{"hhash":"68",{3}"fhash":"0b"}}}}'
    path = made(
        "\n".join([
            '{"name":"HH","cat":"dftracer","type":1,"pid":7,"tid":7,"ph":4,"args":{"hhash":"68","name":"vm","value":"68"}}',
            '{"name":"FH","cat":"dftracer","type":1,"pid":7,"tid":7,"ph":4,"args":{"hhash":"68","name":"/d/1.bin","value":"0b"}}',
            call.format(1, "open64", 10, '"flags":524288,'),
            call.format(2, "read", 20, '"ret":32768,"count":32768,'),
            call.format(3, "read", 30, '"ret":4464,"count":32768,'),
            call.format(4, "close", 40, '"ret":0,'),
        ])
    )  # fmt: skip

    trace = read(Dftracer, path)

    assert [(op.uri, op.op, op.offset, op.ret) for op in trace] == [
        ("file:///d/1.bin", "open", 0, 0),
        ("file:///d/1.bin", "read", 0, 32768),
        ("file:///d/1.bin", "read", 32768, 4464),
        ("file:///d/1.bin", "close", 0, 0),
    ]


def test_dftracer_names_come_through_its_table(made):
    """FH events give digests their names, HH events name hosts; a digest without a name stays one."""
    path = made(
        pfw(
            event("HH", 0, ph="M", cat="dftracer", name="node7", value="h"),
            event("FH", 0, ph="M", cat="dftracer", name="/d/a", value="f00d"),
            event("read", 10, fhash="f00d", ret=5, count=5, offset=0),
            event("read", 20, fhash="beef", ret=5, count=5, offset=0),
        )
    )
    trace = read(Dftracer, path)

    assert trace.uris == ["file:///d/a", "fhash:beef"]
    assert trace.header.host == {"name": "node7"}


def test_workers_with_one_process_number_do_not_share_descriptors(made):
    """DLIO gives all workers of a rank its number: the same descriptor of two threads is two files."""
    path = made(
        pfw(
            event("open", 1, tid=5, fname="/d/a", ret=20),
            event("open", 2, tid=6, fname="/d/b", ret=20),
            event("read", 3, tid=5, fname="/d/a", fd=20, ret=100, count=100),
            event("read", 4, tid=6, fname="/d/b", fd=20, ret=7, count=7),
            event("read", 5, tid=5, fname="/d/a", fd=20, ret=100, count=100),
        )
    )
    reads = [(op.tid, op.offset) for op in read(Dftracer, path) if op.op == "read"]

    assert reads == [(5, 0), (6, 0), (5, 100)]


def test_the_python_tracer_of_dlio_is_read_too(made):
    """Its events say filename and size, its times have fractions, its threads are addresses, its batches are steps."""
    path = made(
        "\n".join(
            json.dumps(one)
            for one in (
                event("open", 10.5, dur=0.1, tid=139_000_000_000_001, filename="/d/a"),
                event("read", 11.25, dur=2.125, tid=139_000_000_000_001, filename="/d/a", size=50),
                event("read", 20.0, dur=1.0, tid=139_000_000_000_001, filename="/d/a", size=8),
                event("batch", 10.0, cat="APP", dur=30.0, epoch=0, step=3),
            )
        )
    )
    trace = read(Dftracer, path)

    assert [(op.op, op.offset, op.ret, op.tid, op.t_submit) for op in trace] == [
        ("open", 0, 0, 1, 0),
        ("read", 0, 50, 1, 750),
        ("read", 50, 8, 1, 9500),
    ]
    assert trace.marks == [Mark("step", 0, 29_500, 3, 0, 1)]


def test_a_log_without_io_is_no_trace(made):
    """Spans of the program alone are not ops: the sentence says that there are none."""
    with pytest.raises(InputError, match="holds no op that could be imported as dftracer"):
        read(Dftracer, made(pfw(event("compute", 1, cat="ai_framework"))))


# -- s3dlio and warp --------------------------------------------------------------------------------------------------


def test_s3dlio_log_says_what_it_knows_and_no_more(made):
    """Offsets of ranged GETs are null, endpoint and file make one URI, hashes of threads become small numbers."""
    rows = [
        "1\t18147521187885925800\tGET_RANGE\t\t1\t1000\ts3://b\tb/k x\t\t2026-01-01T00:00:01.000000500Z\t2026-01-01T00:00:01.000000700Z\t2026-01-01T00:00:01.000000900Z\t400",
        "0\t7364705619221056123\tGET\t\t1\t77\tfile://\t/d/a\t\t2026-01-01T00:00:01Z\t2026-01-01T00:00:01.000000002Z\t2026-01-01T00:00:01.000000003Z\t3",
        "2\t7364705619221056123\tHEAD\t\t1\t77\tfile://\t/d/a\tnot found\t2026-01-01T00:00:02Z\t\t2026-01-01T00:00:02.000000003Z\t3",
    ]
    trace = read(OpLog, made("\n".join([HEADER, *rows]) + "\n"))

    assert list(trace) == [
        Op("file:///d/a", 0, 77, 0, "read", 3, 77, t_first_byte=2, tid=2, level="logical"),
        Op("s3://b/k x", None, 1000, 500, "read", 900, 1000, t_first_byte=700, tid=1, level="logical"),
        Op("file:///d/a", 0, 0, 10**9, "stat", 10**9 + 3, 0, err="not found", tid=2, level="logical"),
    ]
    assert trace.header.producer["null"]["offset"] == 1
    assert any("--null-offset" in text for text in trace.warnings)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            "idx\tthread\top\tn_objects\tbytes\tfile\terror\tstart\tfirst_byte\tend\tduration_ns",
            "0\t3\tGET\t1\t10\tk\t\t2019-05-01T10:00:00.5+02:00\t2019-05-01T10:00:00.6+02:00\t2019-05-01T10:00:01+02:00\t500000000",
        ),
        (
            HEADER,
            '0\t3\tGET\tc1\t1\t10\thttp://h:9000\tk\t\t2019-05-01T10:00:00.5+02:00\t2019-05-01T10:00:00.6+02:00\t"2019-05-01T10:00:01+02:00"\t500000000',
        ),
        (
            HEADER.replace("first_byte", "first_byte\tlast_byte") + "\tcat",
            "0\t3\tGET\tc1\t1\t10\thttp://h:9000\tk\t\t2019-05-01T10:00:00.5+02:00\t2019-05-01T10:00:00.6+02:00\t2019-05-01T10:00:00.9+02:00\t2019-05-01T10:00:01+02:00\t500000000\t2",
        ),
    ],
    ids=["2019", "13 columns", "15 columns"],
)
def test_three_eras_of_warp(made, header, row):
    """Columns are found by name; the bucket comes from the user; the command line at the end is a comment."""
    path = made(f"{header}\n{row}\n# warp get --full --host h\n")
    trace = read(OpLog, path, options={"bucket": "b"})

    assert list(trace) == [
        Op("s3://b/k", 0, 10, 0, "read", 500_000_000, 10, t_first_byte=100_000_000, tid=3, level="logical")
    ]
    assert trace.header.clock["t0_unix_ns"] == 1_556_697_600_500_000_000


def test_a_log_cut_short_keeps_what_came_before(made):
    """A zstd stream without its end gives the rows before the cut, no trailer, and a sentence."""
    row = "{}\t3\tGET\t\t1\t{}\ts3://b\tb/k\t\t2026-01-01T00:00:{:02d}Z\t\t2026-01-01T00:00:{:02d}Z\t0"
    rng = np.random.default_rng(1)
    rows = [row.format(i, int(rng.integers(1 << 60)), i % 60, i % 60) for i in range(20_000)]
    whole = pa.compress("\n".join([HEADER, *rows]).encode(), "zstd", asbytes=True)
    trace = read(OpLog, made(whole[: len(whole) // 2]), skip_bad=True)

    assert 1000 < len(trace) < 20_000
    assert trace.trailer is None
    assert any("cut short" in text for text in trace.warnings)


# -- fio --------------------------------------------------------------------------------------------------------------


def test_fio_version_3_has_times(made):
    """Microseconds become nanoseconds; add lines are no ops; threads and completions are null."""
    path = made(
        "fio version 3 iolog\n5 /d/a add\n6 /d/a open\n10 /d/a read 4096 512\n20 /d/a write 0 100\n21 /d/a sync 0 0\n30 /d/a close\n"
    )
    trace = read(FioLog, path)

    assert [(op.op, op.offset, op.len, op.t_submit) for op in trace] == [
        ("open", 0, 0, 0),
        ("read", 4096, 512, 4_000),
        ("write", 0, 100, 14_000),
        ("fsync", 0, 0, 15_000),
        ("close", 0, 0, 24_000),
    ]
    assert trace[1].tid is None
    assert trace[1].t_complete is None


def test_fio_version_2_has_waits_at_most(made):
    """Waits add up to times; without any, everything is at 0 and that is said."""
    waits = read(FioLog, made("fio version 2 iolog\n/d/a read 0 5\n/d/a wait 100 0\n/d/a read 5 5\n"))
    none = read(FioLog, made("fio version 2 iolog\n/d/a read 0 5\n"))

    assert [op.t_submit for op in waits] == [0, 100_000]
    assert any("has no times" in text for text in none.warnings)


@pytest.mark.parametrize("cut", ["", "7 /d/a re"])
@pytest.mark.parametrize("version", [2, 3])
def test_two_jobs_in_one_log_of_fio_are_named(made, version, cut):
    """Where a second log begins, even within a line that fio cut, the error says what happened and what fio wants instead."""
    log = f"fio version {version} iolog\n{'5 ' if version == 3 else ''}/d/a read 0 5\n"
    path = made(log + cut + log)
    with pytest.raises(
        TraceFormatError,
        match=r":3: a second log begins here: several jobs of fio .* a write_iolog for each; pass --skip",
    ):
        read(FioLog, path)

    whole = read(FioLog, path, skip_bad=True)
    assert len(whole) == 2
    assert "1 bad line was left out; the first: " in whole.warnings[-1]


def test_what_fio_writes_back_is_the_same_ops(tmp_path):
    """Reads, writes and flushes with offsets survive; what fio has no word for is counted."""
    trace = Trace.of(
        [
            Op("file:///d/a", 0, 10, 5_000, "open"),
            Op("file:///d/a", 0, 10, 5_000, ret=10),
            Op("file:///d/b", 64, 20, 9_000, "write", ret=20),
            Op("file:///d/b", 0, 0, 9_500, "fsync"),
            Op("file:///d/b", 0, 0, 9_600, "stat"),
            Op("s3://b/k", 0, 5, 9_700),
            Op("file:///d/b%20c", 0, 5, 9_750),
            Op("file:///d/b", None, 5, 9_800),
            Op("file:///d/b", 64, 20, 9_900, "read", ret=0),
        ],
        marks=[Mark("step", 0)],
    )
    with fio.writing(tmp_path / "log") as writer:
        writer.whole(trace)
    back = read(FioLog, str(tmp_path / "log"))

    assert [(op.op, op.uri, op.offset, op.len) for op in back if op.op not in ("open", "close")] == [
        ("read", "file:///d/a", 0, 10),
        ("write", "file:///d/b", 64, 20),
        ("fsync", "file:///d/b", 0, 0),
    ]
    assert writer.dropped == {
        "marks": 1,
        "opens and closes but one of each for every file": 1,
        "stat ops": 1,
        "ops on what is no local file": 1,
        "ops on files with a space in their name": 1,
        "ops without offset": 1,
        "ops that moved nothing": 1,
    }
    assert writer.left_out == 6


# -- blkparse ---------------------------------------------------------------------------------------------------------


def test_block_requests_run_from_issue_to_completion(made):
    """A request begins when it is issued, or queued where no issue is seen; sectors are 512 bytes; messages are no events."""
    path = made(
        "  8,0    3        1     0.000000000   697  Q   R 8 + 8 [x]\n"
        "  8,0    3        2     0.000000100   697  m   N cfq insert\n"
        "  8,0    3        3     0.000001000   697  D   R 8 + 8 [x]\n"
        "  8,0    3        4     0.000005000     0  C   R 8 + 8 [0]\n"
        "  8,0    1        5     0.000006000    12  Q  WS 100 + 16 [x]\n"
        "  8,0    1        6     0.000009000     0  C  WS 100 + 16 [0]\n"
        "CPU0 (8,0):\n Reads Queued:  1,  4KiB\n"
    )
    trace = read(Blkparse, path)

    assert list(trace) == [
        Op("file:///dev/block/8:0", 4096, 4096, 0, "read", 4_000, 4096, pid=697, layer="block", flags="direct"),
        Op(
            "file:///dev/block/8:0",
            51200,
            8192,
            5_000,
            "write",
            8_000,
            8192,
            pid=12,
            layer="block",
            flags="direct,o_sync",
        ),
    ]


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_a_table_is_read_through_a_column_map(made):
    """The map names columns, times may have fractions of their unit, empty cells are null."""
    path = made("path;start;n;pos\n/d/a;0.001;10;\n/d/b;0.0025;20;7\n")
    trace = read(
        Table,
        path,
        options={"columns": "uri=path,t_submit=start,len=n,offset=pos", "delimiter": ";"},
        time_unit=10**9,
    )

    assert list(trace) == [Op("/d/a", None, 10, 0), Op("/d/b", 7, 20, 1_500_000)]


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        ("a,b\n1,2\n", {}, InputError, r"source:1: no column is named uri, len, t_submit; say which it is"),
        ("uri,len,t_submit\n/a,1,2\n", {"columns": "ur=x"}, UnknownNameError, "did you mean 'uri'"),
        ("uri,len,t_submit\n/a,1,2\n", {"columns": "uri=x"}, UnknownNameError, "there is no column in"),
        ("uri,len,t_submit\n/a,1,NaN\n", {}, TraceFormatError, r"source:2: the row cannot be used: `t_submit` is not a number"),
        ("uri,len,t_submit\n/a,1,-5\n", {}, TraceFormatError, r"source:2: .*`t_submit` is -5"),
        ("uri,len,t_submit\n/a,1\n", {}, TraceFormatError, r"source:2: .*too few columns"),
        ("uri,len,t_submit\n,1,2\n", {}, TraceFormatError, r"source:2: the row has no `uri`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(made, text, options, kind, message):
    """Missing columns, unknown names and bad cells each get one sentence with the place."""
    with pytest.raises(kind, match=message):
        read(Table, made(text), options=options)


# -- out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", oplog.LAYOUTS)
@pytest.mark.parametrize("name", ["log.tsv", "log.tsv.zst"])
def test_a_log_of_requests_comes_back(tmp_path, layout, name):
    """Requests keep their object, bytes, times, thread and error; opens are left out and counted."""
    trace = Trace.of(
        [
            Op("s3://b/x/k", 0, 10, 5, "read", 15, 10, t_first_byte=9, tid=3),
            Op("s3://b/x/k", 0, 0, 20, "open", 25),
            Op("s3://b/x/l", 0, 99, 30, "write", 40, 99, tid=4),
            Op("s3://b/x/m", 0, 0, 50, "stat", 51, 0, err="404\tnot found", tid=4),
        ],
        header=Header(clock={"t0_unix_ns": 1_700_000_000_000_000_001}),
    )
    with oplog.writing(tmp_path / name, layout=layout) as writer:
        writer.whole(trace)
    back = read(OpLog, str(tmp_path / name), options={"bucket": "b"})

    assert [(op.uri, op.op, op.len, op.t_submit, op.t_complete, op.tid) for op in back] == [
        ("s3://b/x/k", "read", 10, 0, 10, 3),
        ("s3://b/x/l", "write", 99, 25, 35, 4),
        ("s3://b/x/m", "stat", 0, 45, 46, 4),
    ]
    assert back[2].err == "404 not found"
    assert back.header.clock["t0_unix_ns"] == 1_700_000_000_000_000_006
    assert writer.dropped == {"open ops": 1}


def test_a_table_comes_back_whole(tmp_path):
    """Every column of every op survives CSV, names that need quotes included."""
    trace = Trace.of(
        [
            Op(
                'file:///d/"a,b"',
                1,
                2,
                0,
                "read",
                4,
                5,
                "EIO",
                6,
                7,
                8,
                9,
                10,
                11,
                12,
                13,
                14,
                "s3",
                "wire",
                2,
                "direct",
            ),
            Op("file:///d/c", None, 2, 5, sample_id="name"),
        ]
    )
    with table.writing(tmp_path / "t.csv") as writer:
        writer.whole(trace)

    assert list(read(Table, str(tmp_path / "t.csv"))) == list(trace)


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_timeline_is_valid_trace_events(tmp_path, name):
    """Every begin has its end, overlapping ops are asynchronous, counters follow what is in flight, steps are there."""
    trace = Trace.of(
        [
            Op("file:///a", 0, 100, 0, t_complete=1_000_000, ret=100, pid=1, tid=2, worker=0, step=1),
            Op("file:///b", 5, 200, 500_000, t_complete=2_000_001, ret=200, err="EIO", pid=1, tid=2),
        ],
        marks=[Mark("step", 0, 3_000_000, 1, 0, 1)],
        trailer=Trailer(ops=2, bytes=300),
    )
    with chrome.writing(tmp_path / name) as writer:
        writer.whole(trace)
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rb") as file:
        content = json.load(file)
    events = content["traceEvents"]

    begins = {one["id"]: one for one in events if one["ph"] == "b"}
    ends = {one["id"]: one for one in events if one["ph"] == "e"}
    assert begins.keys() == ends.keys()
    assert [(begins[key]["ts"], ends[key]["ts"]) for key in sorted(begins)] == [(0, 3000), (0, 1000), (500, 2000.001)]
    assert [one["args"]["ops"] for one in events if one["name"] == "ops in flight"] == [1, 2, 1, 0]
    assert [one["args"]["bytes"] for one in events if one["name"] == "bytes in flight"] == [100, 300, 200, 0]
    assert begins[3]["args"] == {"uri": "file:///b", "offset": 5, "len": 200, "ret": 200, "err": "EIO"}
    assert content["otherData"]["bytes"] == 300


# -- which format a file is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (strace_of((7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a>')), "strace"),
        (pfw(event("read", 1, fname="/a", ret=1, offset=0)), "dftracer"),
        (f"{HEADER}\n0\t1\tGET\t\t1\t5\ts3://b\tb/k\t\t2026-01-01T00:00:01Z\t\t2026-01-01T00:00:02Z\t9\n", "oplog"),
        ("fio version 3 iolog\n1 /a read 0 5\n", "fio"),
        ("  8,0 3 1 0.0 1 D R 8 + 8 [x]\n  8,0 3 1 0.1 1 C R 8 + 8 [x]\n", "blkparse"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_is_known_by_how_it_begins(made, content, form, packed):
    """A name that says nothing is no hindrance, compressed or not; the header says how the file was read."""
    data = gzip.compress(content.encode()) if packed else content
    trace = formats.load(made(data, "some.thing"))

    assert trace.header.producer["engine"] == form


def test_lines_of_a_trace_are_not_taken_for_another_format(made):
    """A trace under an unknown name is still read as lines."""
    trace = formats.load(made('{"uri":"/a","offset":0,"len":10,"t_submit":1}\n', "some.thing"))

    assert list(trace) == [Op("/a", 0, 10, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["in.csv", "out.jsonl", "--set", "colums=uri=a"],
            "there is no csv option 'colums'; did you mean 'columns'?",
        ),
        (["in.csv", "out.jsonl", "--set", "bucket"], "--set bucket has no value"),
        (
            ["in.csv", "out.tsv", "--set", "layout=warp9"],
            "there is no layout 'warp9'; use one of s3dlio, sai3, warp13, warp15",
        ),
        (
            ["in.csv", "out.jsonl", "--set", "layout=warp13"],
            "there is no jsonl option 'layout'; no jsonl option is available here",
        ),
        (["in.csv", "out.strace"], "strace is only read, not written"),
        (["t.json", "out.jsonl"], "chrome (.json, .json.gz) is only written, not read"),
        (["day.txt", "out.jsonl"], "the times do not count from 1970; record with strace -ttt"),
    ],
)
def test_convert_says_what_a_format_cannot_do(made, capsys, arguments, message):
    """Options and directions that a format does not have each get one sentence and exit 2, and no file is left."""
    place = made("uri,len,t_submit\n/a,1,2\n", "in.csv").removesuffix("in.csv")
    made("{}", "t.json")
    made('17  19:56:57.153025 openat(AT_FDCWD</d>, "x", O_RDONLY) = 3</d/x> <0.000103>\n', "day.txt")
    names = [word if word.startswith("--") or "=" in word or word == "bucket" else place + word for word in arguments]

    assert main(["convert", *names]) == 2
    assert message in capsys.readouterr().err
    assert not [name for name in os.listdir(place) if name.startswith("out")]


def test_convert_says_what_is_lost(made, capsys):
    """What the target has no word for is named with its count."""
    source = made('{"uri":"/a","offset":5,"len":10,"t_submit":1}\n{"mark":"step","t":1}\n', "in.jsonl")
    assert main(["convert", source, source.replace("in.jsonl", "out.tsv")]) == 0
    said = capsys.readouterr().err

    assert "out.tsv has no place for marks" in said
    assert "out.tsv has no place for offsets of reads" in said


@pytest.mark.parametrize("name", ["out.iolog", "out.tsv", "out.csv", "out.json", "out.parquet", "out.jsonl", "out.tkc"])
def test_convert_says_how_many_ops_it_wrote(made, capsys, name):
    """Of four ops each target says how many are in it, counted in the file, why the others are not, and what comes next."""
    ops = [
        Op("file:///d/a", 0, 10, 1, "open", tid=1),
        Op("file:///d/a", 0, 10, 2, t_complete=3, ret=10, tid=1),
        Op("file:///d/a%20b", 0, 10, 4, t_complete=5, ret=10, tid=1),
        Op("file:///d/a", 0, 10, 6, "close", tid=1),
    ]
    source = made("", "in.jsonl")
    formats.save(Trace.of(ops), source)
    target = source.replace("in.jsonl", name)
    assert main(["convert", source, target]) == 0
    said = capsys.readouterr().err

    if name == "out.json":
        with open(target, "rb") as file:
            count = sum(event["ph"] == "b" for event in json.load(file)["traceEvents"])
    else:
        count = sum(op.op not in ("open", "close") or name != "out.iolog" for op in Trace.read(target))
    assert count == {"out.iolog": 1, "out.tsv": 2}.get(name, 4)
    assert f"wrote {'4 ops' if count == 4 else f'{count} of 4 ops'} to {target} (" in said
    assert f"{os.path.getsize(target) / count:.1f} bytes an op)" in said
    assert said.count(" has no place for ") == {"out.iolog": 2, "out.tsv": 2}.get(name, 0)
    assert f"next: {'open' if name == 'out.json' else 'tracekit stats'} {target}" in said


def test_convert_proposes_nothing_where_nothing_was_written(made, capsys):
    """A trace of which a format can say nothing says so: 0 of so many ops, and no next command."""
    source = made('{"uri":"s3://b/k","offset":0,"len":10,"t_submit":1}\n' * 2, "in.jsonl")
    assert main(["convert", source, source.replace("in.jsonl", "out.iolog")]) == 0
    said = capsys.readouterr().err

    assert "out.iolog has no place for ops on what is no local file (2)" in said
    assert "wrote 0 of 2 ops to " in said
    assert "bytes an op" not in said
    assert "next:" not in said


@pytest.mark.parametrize("cell", ['""b', '"a"b', '"a,"b', '"a"""b', '"a', '"a""'])
def test_text_behind_a_closed_quote_is_a_bad_row(made, cell):
    """Alone or among many good rows: what RFC 4180 gives no meaning is not guessed at."""
    good = "".join(f'/a,"{number}",2\n"/b,""c""",1,3\n' for number in range(500))
    for rows in (f"{cell},1,2\n", good + f"{cell},1,2\n" + good):
        path = made("uri,len,t_submit\n" + rows)
        with pytest.raises(TraceFormatError, match="the row cannot be used: "):
            read(Table, path)

    whole = read(Table, path, skip_bad=True)
    assert len(whole) == 2000
    assert set(whole.uris) == {"/a", '/b,"c"'}


def test_a_column_of_a_table_may_be_two_of_ours(made):
    """A table that has one number for what was accessed and who did it."""
    trace = read(Table, made("id,len,t_submit\n7,1,2\n8,1,3\n"), options={"columns": "uri=id,tid=id"})

    assert [(op.uri, op.tid) for op in trace] == [("7", 7), ("8", 8)]


# -- hostile files ----------------------------------------------------------------------------------------------------

HOSTILE = {
    "empty lines": b"\n\n\n",
    "NUL bytes": b"\0" * 5000 + b"\n",
    "not UTF-8": b"\xff\xfe\xfa\n" * 20,
    "one endless line": b"x" * (3 << 20),
    "a million columns": b",\t" * 600_000 + b"\n",
    "deep JSON": b"[" * 100_000 + b"\n" + b'{"a":' * 100_000 + b"\n",
    "a gzip cut short": gzip.compress(b"hello\n" * 10_000)[:40],
    "gzip by its first bytes alone": b"\x1f\x8b" + b"junk" * 30,
    "zstd by its first bytes alone": b"\x28\xb5\x2f\xfd" + b"junk" * 30,
}


@pytest.mark.parametrize("kind", [Strace, Dftracer, OpLog, FioLog, Blkparse, Table], ids=lambda kind: kind.NAME)
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_hostile_files_get_one_sentence(made, kind, content, skip_bad):
    """Whatever the bytes, an importer answers with a sentence that names the file, never with a crash."""
    path = made(content)
    with pytest.raises((InputError, TraceFormatError)) as caught:
        read(kind, path, skip_bad=skip_bad)

    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Strace, strace_of((7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a>')), "garbage\n"),
        (Dftracer, pfw(event("read", 1, fname="/a", ret=1, offset=0)), '{"ts":"NaN","name":"read","cat":"POSIX"}\n'),
        (Dftracer, pfw(event("read", 1, fname="/a", ret=1, offset=0)), '{"ts":-5,"name":"read","cat":"POSIX"}\n'),
        (Dftracer, pfw(event("read", 1, fname="/a", ret=1, offset=0)), '{"ts":1e300,"name":"read","cat":"POSIX"}\n'),
        (FioLog, "fio version 3 iolog\n1 /a read 0 5\n", "x /a read 0 5\n"),
        (FioLog, "fio version 3 iolog\n1 /a read 0 5\n", "2 /a read -1 5\n"),
        (FioLog, "fio version 3 iolog\n1 /a read 0 5\n", "2 /a jump\n"),
        (Table, "uri,len,t_submit\n/a,1,2\n", "/a,Infinity,3\n"),
        (Blkparse, "8,0 3 1 0.0 1 D R 8 + 8 [x]\n8,0 3 1 0.1 1 C R 8 + 8 [x]\n", "nonsense here\n"),
        (
            OpLog,
            f"{HEADER}\n0\t1\tGET\t\t1\t5\ts3://b\tb/k\t\t2026-01-01T00:00:01Z\t\t2026-01-01T00:00:02Z\t9\n",
            "1\t1\tGET\t\t1\t5\ts3://b\tb/k\t\tyesterday\t\t2026-01-01T00:00:02Z\t9\n",
        ),
        (
            OpLog,
            f"{HEADER}\n0\t1\tGET\t\t1\t5\ts3://b\tb/k\t\t2026-01-01T00:00:01Z\t\t2026-01-01T00:00:02Z\t9\n",
            "1\tfour\tcolumns\tonly\n",
        ),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_or_counted(made, kind, good, bad):
    """A bad line after good ones is an error with its place, and with skip_bad one line less and a count."""
    path = made(good + bad)
    with pytest.raises(InputError, match="source"):
        read(kind, path)
    trace = read(kind, path, skip_bad=True)

    assert len(trace) == 1
    assert any("1 bad line was left out; the first: " in text for text in trace.warnings)
