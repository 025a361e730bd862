"""Programs that are no Python, recorded by a preloaded library where that was asked for."""

import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_compiler, needs_native, reads_of, record  # see there

from tracekit.errors import RecorderError
from tracekit.record.engine import preload_library
from tracekit.trace import Trace

try:
    LIBRARY = preload_library()
except RecorderError:
    LIBRARY = ""
pytestmark = [needs_native, pytest.mark.skipif(not LIBRARY, reason="the library was not built")]
PRELOAD = ("--native-children", "preload")


def _bytes(trace, path):
    return sum(got for _, _, got in reads_of(trace, path))


def test_programs_are_recorded_with_files_offsets_and_lengths(tmp_path):
    """cat, dd, shells, pipes, wiped environments: every read of a data file is an op, each once, and the run is complete."""
    (tmp_path / "a").write_bytes(os.urandom(3_000_000))
    done, trace = record(
        tmp_path,
        """
        import os, subprocess, sys
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["cat", "a"], check=True, **quiet)
        subprocess.run(["dd", "if=a", "of=copy", "bs=100000", "skip=10", "count=5"], check=True, **quiet)
        subprocess.run(["sh", "-c", "cat a | md5sum; (cat < a) | wc -c"], check=True, env={}, **quiet)
        subprocess.run(["env", "-i", "cat", "a"], check=True, **quiet)
        subprocess.run(["sh", "-c", f"{sys.executable} -c 'open(\\"a\\", \\"rb\\").read()'; cat a"], check=True, **quiet)
        print([name for name in ("TRACEKIT_RECORD", "TRACEKIT_PRELOAD", "LD_PRELOAD") if name in os.environ])
        """,
        options=PRELOAD,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert _bytes(trace, tmp_path / "a") == 6 * 3_000_000 + 500_000
    ranges = [(op.offset, op.len, op.ret) for op in trace if op.op == "read" and op.len == 100_000]
    assert ranges == [(1_000_000 + n * 100_000, 100_000, 100_000) for n in range(5)]
    assert sum(op.ret for op in trace if op.op == "write" and op.uri.endswith("/copy")) == 500_000
    coverage = trace.trailer.coverage
    assert 0.995 <= coverage["share"] <= 1.0, coverage
    assert coverage["complete"]
    assert trace.header.producer["options"]["native_children"] == "preload"
    words = Counter(process["argv"][0] for process in trace.trailer.processes if process["argv"])
    assert words["cat"] == 5
    assert {op.layer for op in trace} == {"libc"}


def test_the_command_itself_is_recorded(tmp_path):
    """A command that is no Python is recorded from its start, with its status."""
    (tmp_path / "a").write_bytes(os.urandom(200_000))
    output = tmp_path / "t.jsonl"
    command = [sys.executable, "-m", "tracekit", "record", *PRELOAD, "-o", str(output), "--"]
    done = subprocess.run(
        [*command, "sh", "-c", "md5sum a; exit 3"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 3
    assert _bytes(Trace.read(output), tmp_path / "a") == 200_000


@needs_compiler
def test_stdio_threads_and_sudden_ends(tmp_path):
    """A C program that reads by stdio and in threads and is killed in the middle leaves what it had read."""
    source = r"""
        #include <fcntl.h>
        #include <pthread.h>
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        static void *work(void *path)
        { char b[1000]; FILE *f = fopen(path, "rb"); while (fread(b, 1, sizeof b, f)) ; fclose(f); return 0; }
        int main(int n, char **words)
        { pthread_t t[4]; for (int i = 0; i < 4; i++) pthread_create(t + i, 0, work, words[1]);
          for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
          char b[10]; int fd = open(words[1], O_RDONLY); pread(fd, b, 10, 5000); raise(SIGKILL); }
    """
    (tmp_path / "reader.c").write_text(source)
    subprocess.run(["cc", "-O1", "-w", "-o", "reader", "reader.c", "-lpthread"], cwd=tmp_path, check=True)
    (tmp_path / "a").write_bytes(os.urandom(100_000))
    done, trace = record(tmp_path, "import subprocess; print(subprocess.call(['./reader', 'a']))", options=PRELOAD)
    assert done.stdout == "-9\n"
    assert _bytes(trace, tmp_path / "a") == 4 * 100_000 + 10
    assert reads_of(trace, tmp_path / "a")[-1] == (5000, 10, 10)


def test_results_and_messages_are_as_without_us(tmp_path):
    """Output, errors and status of ordinary tools are the same, also of one whose name and arguments are no text."""
    (tmp_path / "a").write_bytes(b"one\ntwo\n" * 1000)
    odd = os.fsencode(tmp_path) + b"/odd\xff"
    shutil.copy("/bin/cat", odd)
    script = (
        "sort a | uniq -c; grep -c two a; tail -n 1 a; ls -d .; cat none; head -c 3 a; awk 'END{print NR}' a; "
        "sed -n 2p a; find . -name a; tar cf - a | tar tf -; gzip -c a | gzip -dc | wc -c; exit 4"
    )
    program = f"""
        import os, subprocess
        done = subprocess.run(["sh", "-c", {script!r}], capture_output=True, text=True)
        print(done.returncode, done.stdout, done.stderr)
        print(subprocess.run([{odd!r}, b"a", b"\\xfe"], capture_output=True).returncode)
    """
    plain, _ = record(tmp_path, program, options=("--native-children", "off"))
    done, trace = record(tmp_path, program, options=PRELOAD)
    assert done.stdout == plain.stdout
    words = [os.fsdecode(odd), "a", os.fsdecode(b"\xfe")]
    written = [word.encode("ascii", "backslashreplace").decode() for word in words]  # as a trace keeps what is no text
    assert written in [process["argv"] for process in trace.trailer.processes]


def test_it_needs_the_native_engine(tmp_path):
    """With the Python engine there is nothing to preload: refused before the program starts."""
    command = [sys.executable, "-m", "tracekit", "record", "--engine", "python", *PRELOAD, "--", "true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert "needs the native engine" in done.stderr
