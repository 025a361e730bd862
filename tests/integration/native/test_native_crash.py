"""However a recorded process ends, what it had completed is in the trace; and what is in the way of recording costs ops."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import TRACEKIT, command_for, needs_native, reads_of, record  # see there

from tracekit.trace import Trace

pytestmark = needs_native

# Reads the file again and again by two threads, and says after every read, in memory that outlives it, how many it has done.
READER = """
    import ctypes, mmap, os, signal, sys, threading
    data, progress, ending = sys.argv[1:4]
    fd = os.open(data, os.O_RDONLY)
    # Stored eight bytes at once: struct.pack_into would write zeros first, and may be killed before the rest.
    memory = memoryview(mmap.mmap(os.open(progress, os.O_RDWR), 4096)).cast("q")
    def work(slot, limit):
        done = 0
        while done < limit:
            os.pread(fd, 1 + done % 50, slot * 1000 + done % 900)
            done += 1
            memory[slot] = done
    other = threading.Thread(target=work, args=(1, 1 << 40), daemon=True)
    other.start()
    if ending == "wait":
        work(0, 1 << 40)
    work(0, int(sys.argv[4]))
    if ending == "exit": os._exit(3)
    if ending == "abort": os.abort()
    if ending == "segv": ctypes.string_at(0)
    if ending == "exec": os.execv("/bin/true", ["true"])
    os.kill(os.getpid(), getattr(signal, ending))
"""
ENDINGS = {"exit": 3, "abort": 134, "segv": 139, "exec": 0, "SIGKILL": 137, "SIGTERM": 143, "SIGINT": 130}


def _check(trace: Trace, data: Path, progress: Path) -> int:
    completed = [int.from_bytes(progress.read_bytes()[slot * 8 : slot * 8 + 8], "little") for slot in (0, 1)]
    found = [[], []]
    for offset, asked, _ in reads_of(trace, data):
        found[offset // 1000].append(asked)
    for slot in (0, 1):
        assert len(found[slot]) >= completed[slot], (slot, len(found[slot]), completed[slot])
        assert len(found[slot]) <= completed[slot] + 1
        assert found[slot] == [1 + number % 50 for number in range(len(found[slot]))]
    assert trace.trailer.lost == 0
    return sum(completed)


def _files(directory: Path) -> tuple[Path, Path]:
    data, progress = directory / "data.bin", directory / "progress"
    data.write_bytes(bytes(3000))
    progress.write_bytes(bytes(4096))
    return data, progress


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_completed_op_survives_the_end(tmp_path, ending):
    """At _exit, abort, a segmentation fault, exec and signals at most the op in flight of each thread is missing."""
    data, progress = _files(tmp_path)
    done, trace = record(tmp_path, READER, str(data), str(progress), ending, "20000", options=("--include", str(data)))
    assert done.returncode in (ENDINGS[ending], -signal.SIGINT), done.stderr
    assert _check(trace, data, progress) > 20_000


def _kill_at_random(directory: Path, seed: int, number: int) -> int:
    data, progress = _files(directory)
    chance = random.Random(seed)
    command = command_for(directory, READER, options=("--include", str(data)))
    with subprocess.Popen([*command, str(data), str(progress), "wait"], stderr=subprocess.DEVNULL) as launcher:
        while not progress.read_bytes()[:1].strip(b"\0") and launcher.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.15)
        child = int(Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()[0])
        os.kill(child, number)
    return _check(Trace.read(directory / "trace.jsonl"), data, progress)


@pytest.mark.parametrize("seed", range(4))
def test_sigkill_at_a_random_moment(tmp_path, seed):
    """Killed at any moment, a process leaves every op it had completed."""
    assert _kill_at_random(tmp_path, seed, signal.SIGKILL) > 0


def _end_at_random(directory: Path, seed: int, ending: str) -> int:
    """The process ends itself, while its other thread reads, after a number of ops that nobody chose."""
    data, progress = _files(directory)
    count = str(random.Random(seed).randrange(1, 12_000))
    _, trace = record(directory, READER, str(data), str(progress), ending, count, options=("--include", str(data)))
    return _check(trace, data, progress)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_ends(tmp_path):
    """The same two hundred times: each signal that ends a process from outside, and each way of ending from inside."""
    signals = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM)
    within = ("exit", "exec", "abort", "segv")
    for seed in range(200):
        if seed % 2:
            assert _end_at_random(tmp_path, seed, within[seed // 2 % 4]) > 0
        else:
            assert _kill_at_random(tmp_path, seed, signals[seed // 2 % 4]) > 0


def test_a_full_disk_costs_ops_and_nothing_else(tmp_path):
    """Where the parts cannot grow, the program runs as ever, and the ops that found no room are counted."""
    data, _ = _files(tmp_path)
    program = """
        import os, resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
        fd = os.open(sys.argv[1], os.O_RDONLY)
        for number in range(20_000):
            assert os.pread(fd, 10, number % 1000) == bytes(10)
        print("done")
    """
    done, trace = record(tmp_path, program, str(data), options=("--include", str(data)))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    kept = len(reads_of(trace, data))
    assert 1000 < kept < 20_000
    assert kept + trace.trailer.lost >= 20_000
    assert "no room" in done.stderr


def test_parts_that_vanish_cost_ops_and_nothing_else(tmp_path):
    """When the parts directory is removed under a running program, it goes on."""
    data, _ = _files(tmp_path)
    program = """
        import os, shutil, sys, threading
        shutil.rmtree(next(line.split()[-1] for line in open("/proc/self/maps") if line.endswith(".ops\\n")).rpartition("/")[0], ignore_errors=True)
        def work():
            with open(sys.argv[1], "rb") as f:
                for number in range(60_000): f.seek(number % 1000); f.read(1)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [t.start() for t in threads]; [t.join() for t in threads]
        if os.fork() == 0: work(); os._exit(0)
        print(os.wait()[1])
    """
    done, _ = record(tmp_path, program, str(data))
    assert done.stdout == "0\n"


def test_few_descriptors(tmp_path):
    """A program at its limit of descriptors gets the errors it would get, and no other."""
    data, _ = _files(tmp_path)
    program = """
        import errno, os, resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        held = []
        while True:
            try: held.append(os.open(sys.argv[1], os.O_RDONLY))
            except OSError as error: assert error.errno == errno.EMFILE; break
        print(max(held))
        for fd in held: assert len(os.pread(fd, 7, 3)) == 7
    """
    done, trace = record(tmp_path, program, str(data), options=("--include", str(data)))
    assert (done.returncode, done.stdout) == (0, "31\n"), done.stderr
    assert len([read for read in reads_of(trace, data) if read[1] == 7]) >= 28


@pytest.mark.parametrize("scale", [1, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_churn_of_threads_forks_and_signals(tmp_path, scale):
    """Threads come and go, fork, run others and are interrupted: no op is lost, no chunk is wasted, nothing hangs."""
    data, _ = _files(tmp_path)
    program = """
        import os, signal, subprocess, sys, threading
        path, scale = sys.argv[1], int(sys.argv[2])
        signal.signal(signal.SIGALRM, lambda *_: os.close(os.open(path, os.O_RDONLY)))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        def work():
            with open(path, "rb", 0) as f:
                for number in range(50): f.seek(number); assert len(f.read(5)) == 5
        for turn in range(40 * scale):
            threads = [threading.Thread(target=work) for _ in range(10)]
            [t.start() for t in threads]; [t.join() for t in threads]
            if turn % 8 == 0:
                if os.fork() == 0:
                    signal.setitimer(signal.ITIMER_REAL, 0); work(); os._exit(0)
                os.wait(); subprocess.run(["true"], check=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        parts = next(line.split()[-1] for line in open("/proc/self/maps") if line.endswith(".ops\\n")).rpartition("/")[0]
        own = [n for n in os.listdir(parts) if n.startswith(f"{os.getpid()}.") and n.endswith(".ops")]
        print(sum(os.path.getsize(f"{parts}/{name}") for name in own))
    """
    done, trace = record(tmp_path, program, str(data), str(scale), options=("--include", str(data)), timeout=1500)
    assert done.returncode == 0, done.stderr
    fives = [read for read in reads_of(trace, data) if read[1] == 5]
    assert len(fives) == (400 + 5) * 50 * scale
    assert trace.trailer.lost == 0
    assert int(done.stdout) < (2 << 20) + 100 * len(fives)


def test_a_process_without_executable_memory(tmp_path):
    """Where the kernel forbids new code (PR_SET_MDWE), tables are rewritten instead, and the header says so."""
    data, _ = _files(tmp_path)
    launcher = tmp_path / "launch.py"
    launcher.write_text(
        "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\n"
        "if libc.prctl(65, 1, 0, 0, 0): sys.exit(77)\n"  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    script = tmp_path / "inner.py"
    script.write_text(
        "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "for n in range(9): os.pread(fd, 5, n)\nimport zlib\nopen(sys.argv[1], 'rb').read(50)\n"
    )
    output = tmp_path / "trace.jsonl"
    command = [
        *TRACEKIT,
        "record",
        "-o",
        str(output),
        "--engine",
        "native",
        "--",
        sys.executable,
        str(launcher),
        str(script),
        str(data),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
    trace = Trace.read(output)
    assert [read for read in reads_of(trace, data) if read[1] == 5] == [(number, 5, 5) for number in range(9)]
    assert "got" in trace.trailer.coverage["way"]
