"""What the native recorder costs: `python tests/bench/bench_record_native.py [rounds] [table ...]`.

ops           short blocks with the recorder on and off in turn inside one process, op by op, beside two reads of the clock, which
              no recorder can do without. Blocks in which a new chunk was begun are taken for themselves: what they cost more, over
              the ops that fill a chunk, is the column `chunks` and part of `added`. Spare chunks are kept beside, as `record` does.
              `floor` is the least any recorder adds: two reads of the clock around the call, and 32 bytes stored in memory
loop          a loop of os.pread under `record`, on and off in turn in blocks of 1,000 turns, so that nothing but the recorder
              differs; the slowest blocks, as many as chunks were made, count as those in which one was
instructions  the same ops counted by callgrind: what noise cannot touch
epochs        epochs of a DataLoader with two workers under `record`, on and off in turn, in all three processes of one run
peers         one C loop of preads in processes of its own: untraced, recorded, under dftracer (with file, offset and length)
              and under strace; Darshan's runtime is in no package index that pip or apt know here. What ours adds is less than
              what two processes differ by, so it is taken from blocks on and off in turn inside the recorded process
programs      whole programs in turn: untraced, with the recorder loaded but off (loading alone moves the heap, and times with
              it), recorded, under strace
start         what an interpreter takes to start

Medians; no threshold is checked here.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "native"))

LOOPS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>
static char buffer[4096];
static uint64_t ring[4 << 16];
static unsigned taken;
/* What no recorder can leave out: when the call began and ended, and where that is kept. */
#define NOTED(call) ({ uint64_t begin = __rdtsc(); int result = (call); uint64_t end = __rdtsc(), *at = ring + 4 * (taken++ & 65535); \
    at[1] = result; at[2] = 4096; at[3] = end - begin; at[0] = begin; result; })
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
double clock_reads(int fd, const char *path, int n)
{ volatile uint64_t sum = 0; double a = now(); for (int i = 0; i < n; i++) { sum += __rdtsc(); sum += __rdtsc(); } return (now() - a) / n; }
double pread_4k(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) if (pread(fd, buffer, 4096, (i & 15) * 4096) != 4096) return -1; return (now() - a) / n; }
double pread_4k_floor(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) if (NOTED(pread(fd, buffer, 4096, (i & 15) * 4096)) != 4096) return -1; return (now() - a) / n; }
double read_4k_floor(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { if ((i & 15) == 0) lseek(fd, 0, SEEK_SET); if (NOTED(read(fd, buffer, 4096)) != 4096) return -1; } return (now() - a) / n; }
double open_close_floor(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { int f = NOTED(open(path, O_RDONLY)); NOTED(close(f)); } return (now() - a) / n; }
double open_read_close_floor(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { int f = NOTED(open(path, O_RDONLY)); if (NOTED(read(f, buffer, 4096)) != 4096) return -1; NOTED(close(f)); } return (now() - a) / n; }
double read_4k(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { if ((i & 15) == 0) lseek(fd, 0, SEEK_SET); if (read(fd, buffer, 4096) != 4096) return -1; } return (now() - a) / n; }
double open_close(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) close(open(path, O_RDONLY)); return (now() - a) / n; }
double open_read_close(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { int f = open(path, O_RDONLY); if (read(f, buffer, 4096) != 4096) return -1; close(f); } return (now() - a) / n; }
double untraced_read(int fd, const char *path, int n)
{ static int zero = -1; if (zero < 0) zero = open("/dev/zero", O_RDONLY); double a = now(); for (int i = 0; i < n; i++) read(zero, buffer, 1); return (now() - a) / n; }
"""
# Ops of a block.
OPS = {
    "clock_reads": 1 << 10, "pread_4k": 1 << 10, "read_4k": 1 << 10, "open_close": 1 << 8, "open_read_close": 1 << 8,
    "untraced_read": 1 << 10,
}  # fmt: skip
# The same as a program of its own, which records itself when told to.
MAIN = r"""
#include "recorder.h"
#include "loops.c"
#include <stdlib.h>
#include <string.h>
int main(int count, char **a)
{
    struct tk_interposed state;
    double (*loops[])(int, const char *, int) = {clock_reads, pread_4k, read_4k, open_close, open_read_close, untraced_read};
    if (*a[1] != '-') tk_recorder_start(a[1], 1, 1, 0, &state);
    int fd = open(a[2], O_RDONLY);
    loops[atoi(a[3])](fd, a[2], 10);
    return loops[atoi(a[3])](fd, a[2], atoi(a[4])) < 0;
}
"""
READER = """
import ctypes, os, sys
loops = ctypes.CDLL(os.path.abspath("loops.so"))
loops.pread_4k.restype = ctypes.c_double
data = os.path.abspath("data.bin")
fd = os.open(data, os.O_RDONLY)
loops.pread_4k(fd, data.encode(), 1000)
print(loops.pread_4k(fd, data.encode(), {count}))
"""
OFF = "sys.modules['_tracekit_recorder'].recorder.context._push.__self__.record_pause(True)"

RECORD = [
    sys.executable,
    *["-m", "tracekit", "-q", "record", "--force", "-o", "trace.jsonl", "--engine", "native", "--"],
]

# Keeps spare chunks for the processes of a spool, as the launcher does for those of a run.
KEEPER = """
import sys
from tracekit.record import spares
with spares.kept(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""
PAUSE = """
import ctypes, os, statistics, sys, time
pause = sys.modules["_tracekit_recorder"].recorder.context._push.__self__.record_pause
"""
# Runs `block` with the recorder on and off in turn; slow blocks, as many as chunks were made, count as those in which one was.
IN_TURN = """
off, on = [], []
for number in range({blocks}):
    for recorded in (False, True) if number % 2 else (True, False):
        pause(not recorded)
        (on if recorded else off).append(block())
pause(True)
pairs = [b - a for a, b in zip(off, on)]
middle, turn = statistics.median(pairs), statistics.median(off)
most = sorted(pairs)[-max(1, len(pairs) * 1000 // 65536):]
chunks = (statistics.median(most) - middle) * len(most) / len(pairs)
"""
TURNS = (
    PAUSE
    + """
fd = os.open("data.bin", os.O_RDONLY)
def block(pread=os.pread, fd=fd, clock=time.perf_counter_ns):
    start = clock()
    for number in range(1000): pread(fd, 4096, number % 16 * 4096)
    return clock() - start
"""
    + IN_TURN
    + """
print(f"{{turn / 1000:.0f}} ns, {{1 + (middle + chunks) / turn:.3f}}, {{chunks / turn:.3f}}")
"""
)
READER_IN_TURN = (
    PAUSE
    + """
loops = ctypes.CDLL(os.path.abspath("loops.so"))
loops.pread_4k.restype = ctypes.c_double
data = os.path.abspath("data.bin")
fd = os.open(data, os.O_RDONLY)
def block(): return loops.pread_4k(fd, data.encode(), 1000)
"""
    + IN_TURN
    + """
print(turn, middle + chunks)
"""
)
# Indices from {count} on are read with the recorder paused, in the process that reads them.
EPOCHS_IN_TURN = (
    PAUSE
    + """
import torch
from torch.utils.data import DataLoader, Dataset
paused = None
def put(wanted):
    global paused
    if wanted != paused:
        pause(wanted)
        paused = wanted
class Files(Dataset):
    def __len__(self): return 2 * {count}
    def __getitem__(self, index):
        put(index >= {count})
        with open(f"files/{{index % 200}}.bin", "rb") as file: return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).float().mean()
class Epoch:
    first = 0
    def __len__(self): return {count}
    def __iter__(self): return iter(range(self.first, self.first + {count}))
order = Epoch()
loader = DataLoader(Files(), batch_size=32, num_workers=2, persistent_workers=True, sampler=order)
def spent():
    # CPU time of all three processes so far, ns: the first word of the schedstat of each thread.
    return sum(
        int(open(f"/proc/{{process}}/task/{{thread}}/schedstat").read().split()[0])
        for process in (os.getpid(), *(worker.pid for worker in turns._workers)) for thread in os.listdir(f"/proc/{{process}}/task")
    )
def epoch(recorded):
    put(not recorded)
    order.first = 0 if recorded else {count}
    start, cpu = time.perf_counter_ns(), spent()
    for _ in loader: pass
    return time.perf_counter_ns() - start, spent() - cpu
for _ in loader: pass
turns = loader._iterator
epoch(True), epoch(False)
kinds = [[], [], [], []]
for number in range({pairs}):
    first, second, third = [epoch(recorded) for recorded in ((False, True, False) if number % 2 else (False, False, True))]
    on, off = (second, third) if number % 2 else (third, second)
    for kind in 0, 1:
        kinds[kind].append(2 * on[kind] / (first[kind] + off[kind]))
        kinds[2 + kind].append(off[kind] / first[kind])
print(*map(statistics.median, kinds), *statistics.quantiles(kinds[0], n=4)[::2])
"""
)

LOOP = """
import os, sys, time
{off}
fd = os.open("data.bin", os.O_RDONLY)
start = time.perf_counter_ns()
for number in range({count}): os.pread(fd, 4096, number % 16 * 4096)
print((time.perf_counter_ns() - start) / 1e9)
"""
EPOCH = """
import os, sys, time
import torch
from torch.utils.data import DataLoader, Dataset
{off}
class Files(Dataset):
    def __len__(self): return {count}
    def __getitem__(self, index):
        with open(f"files/{{index % 200}}.bin", "rb") as file: return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).float().mean()
loader = DataLoader(Files(), batch_size=32, num_workers=2, persistent_workers=True)
for _ in loader: pass
start = time.perf_counter_ns()
for epoch in range(2):
    for _ in loader: pass
print((time.perf_counter_ns() - start) / 1e9)
"""


def main(rounds: int, tables: list[str]) -> None:
    """Print the tables that are wanted."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "data.bin").write_bytes(os.urandom(65536))
        (root / "files").mkdir()
        for number in range(200):
            (root / "files" / f"{number}.bin").write_bytes(os.urandom(100_000))
        (root / "loops.c").write_text(LOOPS)
        command = ["cc", "-O2", "-shared", "-fPIC", "-w", "-o", str(root / "loops.so"), str(root / "loops.c")]
        subprocess.run(command, check=True)
        for name in tables:
            TABLES[name](root, rounds)
            print(flush=True)


def _in_a_process_of_its_own(root: Path, rounds: int) -> None:
    subprocess.run([sys.executable, __file__, str(rounds), f"pairs:{root}"], check=True)


def _pairs(root: Path, rounds: int) -> None:
    from tracekit import _core
    from tracekit.record.engine import time_stamp_counter

    spool = root / "spool"
    spool.mkdir()
    keeper = subprocess.Popen([sys.executable, "-c", KEEPER, spool], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    keeper.stdout.readline()
    tsc, clock = time_stamp_counter()
    way = _core.record_start(str(spool), tsc, True, True)
    blocks = Blocks(root, spool, _core)
    print(f"{way[0]}, {clock}; {rounds * 200} pairs of blocks; ns per op, medians")
    print(f"{'op':16} {'off':>8} {'added':>8} {'chunks':>8} {'clock reads':>12} {'ratio':>6} {'floor':>8}")
    clock_ns = 0.0
    for name in OPS:
        off, hooks, chunks = blocks.paired(name, name, rounds * 200)
        row = f"{name:16} {off:8.1f}"
        if name == "clock_reads":
            clock_ns = off
        else:
            floor = f"{blocks.paired(name, f'{name}_floor', rounds * 200)[1]:8.1f}" if name != "untraced_read" else ""
            row += f" {hooks + chunks:8.1f} {chunks:8.1f} {clock_ns:12.1f} {(hooks + chunks) / clock_ns:6.2f} {floor}"
        print(row, flush=True)
    keeper.communicate()


class Blocks:
    """Blocks of one op, with the recorder off and on in turn."""

    def __init__(self, root: Path, spool: Path, core: Any) -> None:
        self.loops = ctypes.CDLL(str(root / "loops.so"))
        self.data = os.fsencode(root / "data.bin")
        self.fd = os.open(self.data, os.O_RDONLY)
        self.spool, self.core = spool, core

    def paired(self, off: str, on: str, pairs: int) -> tuple[float, float, float]:
        """(ns per op of `off`, what `on` adds in blocks without a new chunk, what making chunks adds), medians.

        The recorder is on during `on`, unless that is a floor: then it stays off.
        """
        count, plain, added = OPS[off], [], []
        self._block(on, count, recorded=on == off)
        for number in range(pairs):
            times = {}
            before = self._chunks()
            for recorded in (False, True) if number % 2 else (True, False):
                times[recorded] = self._block(on if recorded else off, count, recorded=recorded and on == off)
            plain.append(times[False])
            added.append((self._chunks() != before, times[True] - times[False]))
        for full in sorted(self.spool.glob("*.ops"), key=os.path.getmtime)[:-1]:
            full.unlink()
        hooks = statistics.median(more for turned, more in added if not turned)
        turns = [more - hooks for turned, more in added if turned]
        return statistics.median(plain), hooks, statistics.median(turns or [0]) * len(turns) / pairs

    def _block(self, name: str, count: int, *, recorded: bool) -> float:
        loop = self.loops[name]
        loop.restype = ctypes.c_double
        self.core.record_pause(not recorded)
        try:
            return float(loop(self.fd, self.data, count))
        finally:
            self.core.record_pause(True)

    def _chunks(self) -> int:
        return sum(name.endswith(".ops") for name in os.listdir(self.spool))


def _loop(root: Path, rounds: int) -> None:
    """A syscall-bound loop in Python, recorded and loaded but off in turn inside one run."""
    (root / "turns.py").write_text(TURNS.format(blocks=rounds * 200))
    print("a loop of os.pread under record, on and off in turn: ns a turn off, ratio, part of it by chunks")
    for _ in range(3):
        print(_said([*RECORD, sys.executable, "turns.py"], root), flush=True)


def _epochs(root: Path, rounds: int) -> None:
    """Epochs of a DataLoader, recorded and loaded but off in turn inside one run."""
    if not importlib.util.find_spec("torch"):
        print("torch is not installed (make .venv/.torch)")
        return
    (root / "epochs.py").write_text(EPOCHS_IN_TURN.format(count=600, pairs=rounds * 30))
    print(
        f"epochs of a DataLoader, on and off in turn, {rounds * 30} threes: wall, CPU; control of both; quartiles of the first"
    )
    for _ in range(3):
        print(
            *(f"{float(word):.3f}" for word in _said([*RECORD, sys.executable, "epochs.py"], root).split()), flush=True
        )


def _instructions(root: Path, rounds: int) -> None:
    """Instructions that recording adds to each op."""
    from native_programs import RECORDER

    if shutil.which("valgrind") is None:
        print("instructions: valgrind is not installed")
        return
    (root / "main.c").write_text(MAIN)
    target = str(root / "main")
    command = ["cc", "-O2", "-std=gnu11", "-w", *RECORDER, str(root / "main.c"), "-o", target]
    subprocess.run([*command, "-lpthread", "-lrt", "-ldl"], check=True)
    print("instructions added per op, by callgrind, without making chunks")
    for number, name in enumerate(OPS):
        if name != "clock_reads":
            plain, recorded = (_counted(root, [target, where, number]) for where in ("-", root / "counted"))
            print(f"{name:16} {recorded - plain:8.1f}")


def _counted(root: Path, words: list[object]) -> float:
    """Instructions of one op: the difference of two runs of different length."""
    counts = []
    for ops in (1000, 1500):
        shutil.rmtree(root / "counted", ignore_errors=True)
        (root / "counted").mkdir()
        arguments = [str(word) for word in (*words[:2], root / "data.bin", words[2], ops)]
        command = ["valgrind", "--tool=callgrind", "--smc-check=all", "--callgrind-out-file=/dev/null", *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        counts.append(int(said.rpartition("Collected : ")[2].split()[0]))
    return (counts[1] - counts[0]) / 500


def _peers(root: Path, rounds: int) -> None:
    """What each way of recording adds to one pread of 4 KiB."""
    strace = ["strace", "-f", "-e", "trace=read,pread64,openat,close", "-o", str(root / "strace.log")]
    ways: dict[str, tuple[list[str], dict[str, str], int]] = {
        "untraced": ([], {}, 200_000),
    }
    peer = Path(sys.prefix) / "peers" / "dftracer"
    for library in peer.glob("lib/python*/site-packages/dftracer/lib64/libdftracer_preload.so"):
        settings = {
            "LD_PRELOAD": str(library), "DFTRACER_ENABLE": "1", "DFTRACER_INIT": "PRELOAD", "DFTRACER_INC_METADATA": "1",
            "DFTRACER_DATA_DIR": "all", "DFTRACER_TRACE_COMPRESSION": "0", "DFTRACER_LOG_FILE": str(root / "dft"),
        }  # fmt: skip
        ways["dftracer"] = ([], settings, 50_000)
    if shutil.which("strace"):
        ways["strace --seccomp-bpf"] = ([strace[0], "--seccomp-bpf", *strace[1:]], {}, 5000)
        ways["strace"] = (strace, {}, 5000)
    times: dict[str, list[float]] = {name: [] for name in ways}
    ours = []
    (root / "turns.py").write_text(READER_IN_TURN.format(blocks=1000))
    for _ in range(rounds):
        ours.append([float(word) for word in _said([*RECORD, sys.executable, "turns.py"], root).split()])
        for name, (prefix, settings, count) in ways.items():
            (root / "program.py").write_text(READER.format(count=count))
            times[name].append(_seconds([*prefix, sys.executable, "program.py"], root, settings))
            _saw(root, name, count)
    added = {
        name: statistics.median(value - base for value, base in zip(values, times["untraced"], strict=True))
        for name, values in times.items()
    }
    added["tracekit"] = statistics.median(extra for _, extra in ours)
    times["tracekit"] = [turn + extra for turn, extra in ours]
    print(f"a C loop of pread of 4 KiB, {rounds} rounds in turn; ns per op, medians")
    print(f"{'':22} {'ns':>8} {'added':>8} {'of ours':>8}")
    for name, values in times.items():
        print(f"{name:22} {statistics.median(values):8.0f} {added[name]:8.0f} {added[name] / added['tracekit']:8.1f}")
    if "dftracer" not in ways:
        print("dftracer is not installed (make .venv/.peers)")


def _saw(root: Path, name: str, count: int) -> None:
    """Make sure that a peer recorded what it is timed for; throws its output away."""
    for pattern, peer in (("dft*", "dftracer"), ("strace.log", "strace")):
        found = list(root.glob(pattern))
        lines = sum(text.count("pread") for text in (path.read_text(errors="replace") for path in found))
        if name.startswith(peer) and lines < count:
            raise RuntimeError(f"{name} recorded {lines} of {count} preads")
        for path in found:
            path.unlink()


def _programs(root: Path, rounds: int) -> None:
    programs = {"pread loop": (LOOP, 200_000)}
    if importlib.util.find_spec("torch"):
        programs["DataLoader epochs"] = (EPOCH, 3000)
    variants = {"untraced": [], "off": RECORD, "recorded": RECORD, "control": []}
    if shutil.which("strace"):
        calls = "trace=read,pread64,openat,close"
        variants["strace --seccomp-bpf"] = ["strace", "-f", "--seccomp-bpf", "-e", calls, "-o", os.devnull]
        variants["strace"] = ["strace", "-f", "-e", calls, "-o", os.devnull]
    print(f"whole programs, {rounds} rounds in turn: seconds (median), ratio to loaded-but-off (median of pairs)")
    for title, (text, count) in programs.items():
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, prefix in variants.items():
                # A twentieth of the turns under strace, which else would take minutes.
                share = 20 if name.startswith("strace") and text is LOOP else 1
                (root / "program.py").write_text(text.format(off=OFF if name == "off" else "", count=count // share))
                times[name].append(_seconds([*prefix, sys.executable, "program.py"], root) * share)
        for name, values in times.items():
            ratio = statistics.median(value / base for value, base in zip(values, times["off"], strict=True))
            print(f"{title:18} {name:22} {statistics.median(values):8.3f} {ratio:7.3f}")


def _said(command: list[str], root: Path) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def _seconds(command: list[str], root: Path, settings: dict[str, str] | None = None) -> float:
    environment = {**os.environ, **(settings or {})}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout.split()[-1])


def _starts(root: Path, rounds: int) -> None:
    from tracekit.record import launch

    plan = launch.Plan([sys.executable, "-c", "pass"], str(root / "start.jsonl"), engine="native")
    run = launch.prepare(plan)
    recorded = launch._environment(run.parts)
    times: dict[str, list[float]] = {"untraced": [], "recorded": []}
    for _ in range(rounds * 8):
        for name, environment in (("untraced", dict(os.environ)), ("recorded", recorded)):
            start = time.perf_counter_ns()
            subprocess.run([sys.executable, "-c", "pass"], env=environment, check=True)
            times[name].append((time.perf_counter_ns() - start) / 1e6)
    launch.remove_parts(run)
    added = min(times["recorded"]) - min(times["untraced"])
    middle = statistics.median(times["recorded"]) - statistics.median(times["untraced"])
    print(
        f"interpreter start, {rounds * 8} pairs: {min(times['untraced']):.1f} ms, added {added:.1f} ms (minima), {middle:.1f} ms (medians)"
    )


TABLES: dict[str, Callable[[Path, int], None]] = {
    "ops": _in_a_process_of_its_own,
    "loop": _loop,
    "epochs": _epochs,
    "instructions": _instructions,
    "peers": _peers,
    "programs": _programs,
    "start": _starts,
}

if __name__ == "__main__":
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    if sys.argv[2:] and sys.argv[2].startswith("pairs:"):
        _pairs(Path(sys.argv[2].removeprefix("pairs:")), turns)
    else:
        main(turns, sys.argv[2:] or list(TABLES))
