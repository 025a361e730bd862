"""Op by op: what one call in a program becomes in the trace."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from record_programs import TRACEKIT, run_recorded  # beside this file, which is no package

from tracekit.trace import Trace

SIZE = 10_000

CASES = {
    "read_by_offset_of_the_descriptor": (
        "fd = os.open('data', 0); os.lseek(fd, 100, 0); os.read(fd, 10); os.read(fd, 5)",
        [("open", 0, 0, 0), ("read", 100, 10, 10), ("read", 110, 5, 5)],
    ),
    "read_through_a_duplicate": (
        "fd = os.open('data', 0); copy = os.dup(fd); os.read(copy, 7); os.read(fd, 7)",
        [("open", 0, 0, 0), ("read", 0, 7, 7), ("read", 7, 7, 7)],
    ),
    "read_at_the_end": (
        "fd = os.open('data', 0); os.pread(fd, 10, 20_000)",
        [("open", 0, 0, 0), ("read", 20_000, 10, 0)],
    ),
    "vectors": (
        "fd = os.open('data', 0); os.preadv(fd, [bytearray(3), memoryview(bytearray(4))], 50)",
        [("open", 0, 0, 0), ("read", 50, 7, 7)],
    ),
    "append_has_the_offset_it_got": (
        "fd = os.open('data', os.O_WRONLY | os.O_APPEND); os.write(fd, b'abc'); os.write(fd, b'de')",
        [("open", 0, 0, 0), ("write", SIZE, 3, 3), ("write", SIZE + 3, 2, 2)],
    ),
    "append_through_open": (
        "f = open('data', 'ab', 0); f.write(b'xy'); f.close()",
        [("open", 0, 0, 0), ("write", SIZE, 2, 2), ("close", 0, 0, 0)],
    ),
    "positioned_write": (
        "fd = os.open('data', os.O_RDWR); os.pwrite(fd, b'abc', 33); os.writev(fd, [b'a', b'bc']); os.fsync(fd); os.ftruncate(fd, 5)",
        [("open", 0, 0, 0), ("write", 33, 3, 3), ("write", 0, 3, 3), ("fsync", 0, 0, 0), ("truncate", 0, 0, 0)],
    ),
    "buffered_write_is_one_write": (
        "f = open('data', 'wb'); [f.write(b'x' * 10) for _ in range(20)]; f.close()",
        [("open", 0, 0, 0), ("write", 0, 200, 200), ("close", 0, 0, 0)],
    ),
    "copy_reads_and_writes": (
        "a = os.open('data', 0); b = os.open('data', os.O_RDWR); os.sendfile(b, a, 10, 20)",
        [("open", 0, 0, 0), ("open", 0, 0, 0), ("read", 10, 20, 20), ("write", 0, 20, 20)],
    ),
    "copy_up_to_the_end_writes_what_there_was": (
        (
            "a = os.open('data', 0); b = os.open('data', os.O_RDWR); "
            f"os.sendfile(b, a, {SIZE - 30}, 1 << 20); os.sendfile(b, a, {SIZE}, 1 << 20)"
        ),
        [
            ("open", 0, 0, 0),
            ("open", 0, 0, 0),
            ("read", SIZE - 30, 1 << 20, 30),
            ("write", 0, 30, 30),
            ("read", SIZE, 1 << 20, 0),
            ("write", 30, 0, 0),
        ],
    ),
    "descriptor_of_a_file_object": (
        "f = open('data', 'rb', 0); os.read(f.fileno(), 4); f.read(3); f.close()",
        [("open", 0, 0, 0), ("read", 0, 4, 4), ("read", 4, 3, 3), ("close", 0, 0, 0)],
    ),
    "borrowed_descriptor_is_not_closed": (
        "fd = os.open('data', 0); f = open(fd, 'rb', 0, closefd=False); f.read(2); f.close(); os.read(fd, 2)",
        [("open", 0, 0, 0), ("read", 0, 2, 2), ("read", 2, 2, 2)],
    ),
    "metadata": (
        "os.stat('data'); os.path.getsize('data'); os.truncate('data', 7); os.rename('data', 'b'); os.rename('b', 'data'); os.unlink('data')",
        [("stat", 0, 0, 0), ("stat", 0, 0, 0), ("truncate", 0, 0, 0), ("delete", 0, 0, 0)],
    ),
    "map": (
        "import mmap; f = open('data', 'rb'); m = mmap.mmap(f.fileno(), 4096, access=mmap.ACCESS_READ, offset=4096); m[5]",
        [("open", 0, 0, 0), ("mmap", 4096, 4096, 4096)],
    ),
    "forked_child_shares_the_position": (
        "fd = os.open('data', 0); os.read(fd, 10); pid = os.fork(); pid or (os.read(fd, 20), os._exit(0)); os.wait(); os.read(fd, 30)",
        [("open", 0, 0, 0), ("read", 0, 10, 10), ("read", 10, 20, 20), ("read", 30, 30, 30)],
    ),
    "inherited_descriptor": (
        (
            "fd = os.open('data', 0); os.set_inheritable(fd, True); "
            "os.execv(sys.executable, [sys.executable, '-c', f'import os; os.read({fd}, 9)'])"
        ),
        [("open", 0, 0, 0), ("read", 0, 9, 9)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_call_becomes_op(tmp_path, name):
    """Op, offset, asked and moved are those of the call."""
    program, expected = CASES[name]
    (tmp_path / "data").write_bytes(b"x" * SIZE)
    done, trace = run_recorded(tmp_path, f"import os, sys\n{program}\n")
    assert done.returncode == 0, done.stderr
    ops = [op for op in trace if op.uri == f"file://{tmp_path}/data"]
    got = [(op.op, op.offset, op.len, op.ret) for op in ops]
    assert got == expected or [row for row in got if row[0] != "close"] == expected
    assert all(op.t_complete >= op.t_submit for op in ops)
    assert trace.trailer.lost == 0


@pytest.mark.parametrize(
    ("program", "op", "err"),
    [
        ("open('missing/file')", "open", "ENOENT"), ("os.open('missing', 0)", "open", "ENOENT"), ("os.stat('missing')", "stat", "ENOENT"),
        ("os.unlink('missing')", "delete", "ENOENT"), ("os.listdir('missing')", "list", "ENOENT"),
        ("os.write(os.open('data', 0), b'x')", "write", "EBADF"), ("open('data', 'xb')", "open", "EEXIST"),
        ("os.pread(os.open('data', 0), 5, -1)", "read", "EINVAL"),
    ],
)  # fmt: skip
def test_failed_call_carries_its_error(tmp_path, program, op, err):
    """An op that failed is there with the name of its error, and moved nothing."""
    (tmp_path / "data").write_bytes(b"x")
    done, trace = run_recorded(tmp_path, f"import os\ntry:\n    {program}\nexcept OSError: pass\n")
    assert done.returncode == 0, done.stderr
    assert [(found.op, found.err, found.ret) for found in trace if found.err] == [(op, err, 0)]


def test_flags_say_how_a_file_was_opened(tmp_path):
    """direct, o_append and o_sync are on every op of a descriptor, creation flags on its open."""
    program = """
        import mmap, os
        fd = os.open("new", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC)
        os.write(fd, b"x" * 8192)
        fd = os.open("new", os.O_RDONLY | os.O_DIRECT)
        os.readv(fd, [mmap.mmap(-1, 4096)])
    """
    done, trace = run_recorded(tmp_path, program)
    if "Invalid argument" in done.stderr:
        pytest.skip("the file system of the test directory has no O_DIRECT")
    assert done.returncode == 0, done.stderr
    flags = {(op.op, op.flags) for op in trace if op.uri.endswith("/new") and op.op != "close"}
    assert flags == {
        ("open", "o_append,o_sync,o_creat,o_wronly"), ("write", "o_append,o_sync"), ("open", "direct"), ("read", "direct"),
    }  # fmt: skip


def test_pipes_sockets_and_devices_are_not_recorded(tmp_path):
    """Only regular files are."""
    program = """
        import os, socket, subprocess
        r, w = os.pipe(); os.write(w, b"x"); os.read(r, 1)
        a, b = socket.socketpair(); os.write(a.fileno(), b"x"); os.read(b.fileno(), 1)
        open("/dev/zero", "rb").read(10); open("/proc/self/stat").read(); os.open("/dev/null", os.O_WRONLY)
        memory = os.memfd_create("scratch"); os.write(memory, b"x")
    """
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert [op.uri for op in trace] == []


def test_rank_is_the_launchers(tmp_path):
    """The rank a distributed launcher put into the environment is on every op."""
    (tmp_path / "data").write_bytes(b"x")
    _, trace = run_recorded(tmp_path, "open('data', 'rb').read()", env={**os.environ, "RANK": "3"})
    assert {op.rank for op in trace} == {3}


def test_header_and_trailer_say_what_was_done(tmp_path):
    """Engine and reason, command, clock, filters and coverage are in the trace."""
    (tmp_path / "data").write_bytes(b"x" * 5000)
    program = "import decimal, sys; open('data', 'rb').read(); sys.exit(4)"
    done, trace = run_recorded(tmp_path, program, "--flag", options=("--exclude", "*.log"))
    header, trailer = trace.header, trace.trailer
    assert done.returncode == 4
    assert (header.producer["verb"], header.producer["engine"]) == ("record", "python")
    assert header.producer["reason"] == "asked for with --engine python"
    assert header.command[-1] == "--flag"
    assert header.clock["source"] == "CLOCK_MONOTONIC"
    assert header.filters == {"include": [], "exclude": ["*.log"]}
    assert header.host["filesystem"]
    coverage = trailer.coverage
    assert (trailer.ops, trailer.bytes) == (len(trace), 5000)
    assert coverage["known"] is False
    assert coverage["traced_read_bytes"] == 5000
    assert 5000 < coverage["ignored_read_bytes"] + 5000 <= coverage["kernel_read_bytes"]
    assert [process["exit"] for process in trailer.processes] == [4]


def test_bytes_nobody_saw_are_said(tmp_path):
    """When a child that is no Python reads much, the trailer says how much is missing and names it."""
    (tmp_path / "big").write_bytes(b"x" * (40 << 20))
    program = "import subprocess; subprocess.run(['md5sum', 'big'], stdout=subprocess.DEVNULL)"
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    coverage = trace.trailer.coverage
    assert coverage["kernel_read_bytes"] > 40 << 20
    assert coverage["share"] < 0.1
    assert "md5sum" in coverage["missing"]
    assert coverage["missing"] in done.stderr


def test_recording_inside_a_recording(tmp_path):
    """An inner record keeps its program to itself; the outer one sees the launcher."""
    (tmp_path / "data").write_bytes(b"x" * 77)
    inner = [*TRACEKIT, "record", "-o", "inner.jsonl", "--", sys.executable, "-c", "open('data', 'rb').read()"]
    outer = [*TRACEKIT, "record", "-o", "outer.jsonl", "--", *inner]
    done = subprocess.run(outer, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    seen = {
        name: sum(op.op == "read" and op.ret == 77 for op in Trace.read(tmp_path / f"{name}.jsonl"))
        for name in ("inner", "outer")
    }
    assert seen == {"inner": 1, "outer": 0}


def test_parent_directories_in_names_cost_no_op(tmp_path):
    """A name with `..` in it is resolved without an op of our own, also through a link, and is the file's own name."""
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("data/deep")
    program = "for name in ('link/../x', 'data/../data/x', './data//deep/../x'): open(name).read()"
    _, trace = run_recorded(tmp_path, program)
    assert [op.op for op in trace] == ["open", "read", "read", "close"] * 3
    assert {op.uri for op in trace} == {(tmp_path / "data" / "x").resolve().as_uri()}
