"""System calls that do not go through the C library, caught when asked for; and that a program does not notice."""

import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import (
    FILTER,
    HERE,
    TRACEKIT,
    compiled,
    covers_once,
    needs_compiler,
    needs_native,
    reads_of,
    record,
)


def _why_not() -> str:
    script = "from tracekit import _core; print(_core.record_raw(False) or '')"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600).stdout.strip()


WHY_NOT = _why_not()
pytestmark = [
    needs_native,
    needs_compiler,
    pytest.mark.skipif(bool(WHY_NOT), reason=f"raw system calls cannot be caught here: {WHY_NOT}"),
]
CASES = (
    "raw_read_all", "raw_exactly", "raw_in_a_thread", "raw_in_a_forked_child", "raw_in_a_fork", "raw_in_a_clone", "raw_after_posix_spawn",
    "raw_in_a_signal_handler", "raw_in_a_handler_by_hand", "raw_with_all_signals_blocked", "raw_on_an_alternate_stack",
    "raw_by_a_second_library", "raw_after_a_clone_by_hand",
)  # fmt: skip
PRELUDE = """
import ctypes, faulthandler, os, sys, threading
library = ctypes.CDLL(sys.argv[1])
def call(name, path):
    function = getattr(library, name); function.argtypes = [ctypes.c_char_p]; function.restype = ctypes.c_long
    return function(path.encode())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """raws.c as a library."""
    return compiled(HERE / "raws.c", tmp_path_factory.mktemp("raws") / "raws.so")


def run(tmp_path, library, program, *args, options=("--raw-syscalls",), **rest):
    """Record a program that has `call`."""
    return record(tmp_path, PRELUDE + program, str(library), *args, options=options, **rest)


def test_every_way_of_reading_without_the_c_library(tmp_path, library):
    """Assembler in threads, children and handlers, with signals blocked, a second C library: every byte, once per time read."""
    for case in CASES:
        (tmp_path / case).write_bytes(os.urandom(65536))
    program = """
if "raw_on_an_alternate_stack" in sys.argv: faulthandler.enable()  # which has an alternate stack of its own
for name in sys.argv[2:]:
    result = call(name, name)
    assert result == 65536, (name, result)
"""
    done, trace = run(tmp_path, library, program, *CASES)
    assert done.returncode == 0, done.stderr
    twice = {"raw_with_all_signals_blocked"}
    for case in CASES:
        reads = reads_of(trace, tmp_path / case)
        if case in twice:
            half = len(reads) // 2
            assert covers_once(reads[:half], 65536), case
            reads = reads[half:]
        assert covers_once(reads, 65536), case
    found = trace.trailer.coverage["raw_syscalls"]
    assert found["noted"] >= 18 * len(CASES)
    assert (found["withdrawn"], found["let_go"]) == (0, 0)
    assert "system calls that do not go through the C library" not in trace.trailer.coverage["blind"]


def test_without_the_option_nothing_of_it_is_there(tmp_path, library):
    """By default such reads are not seen, SIGSYS is at its default, and the calls for it are not hooked."""
    (tmp_path / "data").write_bytes(bytes(65536))
    program = """
import signal
assert call("raw_read_all", "data") == 65536
status = open("/proc/self/status").read()
caught = int(status.split("SigCgt:")[1].split()[0], 16)
assert not caught >> (signal.SIGSYS - 1) & 1
"""
    done, trace = run(tmp_path, library, program, options=())
    assert done.returncode == 0, done.stderr
    assert reads_of(trace, tmp_path / "data") == []
    assert "raw_syscalls" not in trace.trailer.coverage


def test_threads_of_python_come_and_go(tmp_path, library):
    """200 threads, 8 at a time, each reading by itself: all of it, and places for threads do not run out."""
    (tmp_path / "data").write_bytes(bytes(65536))
    program = """
for turn in range(25):
    threads = [threading.Thread(target=lambda: results.append(call("raw_read_all", "data"))) for _ in range(8)]
    results = []; [t.start() for t in threads]; [t.join() for t in threads]
    assert results == [65536] * 8
"""
    done, trace = run(tmp_path, library, program)
    assert done.returncode == 0, done.stderr
    reads = reads_of(trace, tmp_path / "data")
    assert sum(got for _, _, got in reads) == 200 * 65536
    assert len({op.tid for op in trace if op.op == "read" and op.uri.endswith("/data")}) > 100


def test_a_started_program_has_a_net_of_its_own(tmp_path, library):
    """An exec ends it and the next interpreter casts its own; what is no Python runs as ever."""
    (tmp_path / "data").write_bytes(bytes(65536))
    program = """
import subprocess
if len(sys.argv) == 2:
    subprocess.run([sys.executable, __file__, sys.argv[1], "child"], check=True)
    assert subprocess.run(["cat", "data"], capture_output=True, check=True).stdout == bytes(65536)
    os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "child"])
assert call("raw_read_all", "data") == 65536
"""
    done, trace = run(tmp_path, library, program)
    assert done.returncode == 0, done.stderr
    assert sum(got for _, _, got in reads_of(trace, tmp_path / "data")) == 2 * 65536


def test_a_program_that_handles_sigsys_has_it(tmp_path, library):
    """Its handler is called, its calls go through, the net is drawn in, and the summary says so."""
    (tmp_path / "data").write_bytes(bytes(65536))
    program = """
import signal
got = []
assert signal.getsignal(signal.SIGSYS) == signal.SIG_DFL
thread = threading.Thread(target=lambda: (event.wait(), results.append(call("raw_read_all", "data")))); event = threading.Event(); results = []
thread.start()
signal.signal(signal.SIGSYS, lambda number, frame: got.append(number))
signal.raise_signal(signal.SIGSYS)
event.set(); thread.join()
assert got == [signal.SIGSYS] and results == [65536] and call("raw_read_all", "data") == 65536
"""
    done, trace = run(tmp_path, library, program)
    assert done.returncode == 0, done.stderr
    assert trace.trailer.coverage["raw_syscalls"]["withdrawn"] == 1
    assert "use SIGSYS themselves" in done.stderr
    assert "system calls that do not go through the C library" in trace.trailer.coverage["blind"]


def test_a_filter_that_traps_kills_as_it_would(tmp_path, library):
    """SIGSYS of a seccomp filter is not taken for one of ours: without a handler of its own the program dies of it."""
    program = FILTER + "forbid(109, 0x00030000)\nos.setpgid(0, 0)\nprint('alive')\n"
    done, _ = run(tmp_path, library, program)
    assert done.returncode == 128 + signal.SIGSYS
    assert "alive" not in done.stdout


def test_where_it_is_refused_the_reason_is_said(tmp_path, library):
    """Under a real seccomp filter that forbids prctl the program is recorded without the net, and the summary says why."""
    outer = FILTER + "forbid(157, 0x00050001)\nos.execv(sys.argv[1], sys.argv[1:])\n"
    (tmp_path / "data").write_bytes(bytes(100))
    command = [*TRACEKIT, "record", "-o", "t.jsonl", "--engine", "native", "--raw-syscalls", "--"]
    done = subprocess.run(
        [sys.executable, "-c", outer, *command, sys.executable, "-c", "open('data').read()"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "does not dispatch system calls" in done.stderr
    assert library.exists()


def test_the_python_engine_says_that_it_cannot(tmp_path):
    """--raw-syscalls with the Python engine: the program is recorded, and the reason is said."""
    command = [
        *TRACEKIT,
        "record",
        "-o",
        "t.jsonl",
        "--engine",
        "python",
        "--raw-syscalls",
        "--",
        sys.executable,
        "-c",
        "1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0
    assert "the Python engine sees no system calls" in done.stderr
