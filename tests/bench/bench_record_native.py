"""What the native recorder costs: `python tests/bench/bench_record_native.py [rounds]`.

Three tables. The first pairs blocks with the recorder on and off inside one process, op by op, beside the cost of two reads
of the clock, which no recorder can do without. The second runs whole programs in turn: untraced, with the recorder loaded but
off (loading alone moves the heap, and times with it), recorded, and under strace with and without --seccomp-bpf. The third
is the time an interpreter takes to start. Medians; no threshold is checked here.
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

LOOPS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>
static char buffer[4096];
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
double clock_reads(int fd, const char *path, int n)
{ volatile uint64_t sum = 0; double a = now(); for (int i = 0; i < n; i++) { sum += __rdtsc(); sum += __rdtsc(); } return (now() - a) / n; }
double pread_4k(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) if (pread(fd, buffer, 4096, (i & 15) * 4096) != 4096) return -1; return (now() - a) / n; }
double read_4k(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { if ((i & 15) == 0) lseek(fd, 0, SEEK_SET); if (read(fd, buffer, 4096) != 4096) return -1; } return (now() - a) / n; }
double open_close(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) close(open(path, O_RDONLY)); return (now() - a) / n; }
double open_read_close(int fd, const char *path, int n)
{ double a = now(); for (int i = 0; i < n; i++) { int f = open(path, O_RDONLY); if (read(f, buffer, 4096) != 4096) return -1; close(f); } return (now() - a) / n; }
double untraced_read(int fd, const char *path, int n)
{ static int zero = -1; if (zero < 0) zero = open("/dev/zero", O_RDONLY); double a = now(); for (int i = 0; i < n; i++) read(zero, buffer, 1); return (now() - a) / n; }
"""
OPS = ("clock_reads", "pread_4k", "read_4k", "open_close", "open_read_close", "untraced_read")
BLOCK = 2000
OFF = "sys.modules['_tracekit_recorder'].recorder.context._push.__self__.record_pause(True)"

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


def main(rounds: int) -> None:
    """Print the three tables."""
    if len(sys.argv) > 2:  # ourselves, as the process that is measured
        _pairs(Path(sys.argv[2]), rounds)
        return
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "data.bin").write_bytes(os.urandom(65536))
        (root / "files").mkdir()
        for number in range(200):
            (root / "files" / f"{number}.bin").write_bytes(os.urandom(100_000))
        (root / "loops.c").write_text(LOOPS)
        command = ["cc", "-O2", "-shared", "-fPIC", "-w", "-o", str(root / "loops.so"), str(root / "loops.c")]
        subprocess.run(command, check=True)
        subprocess.run([sys.executable, __file__, str(rounds), directory], check=True)
        _programs(root, rounds)
        _starts(root, rounds)


def _pairs(root: Path, rounds: int) -> None:
    from tracekit import _core
    from tracekit.record.engine import time_stamp_counter

    spool = root / "spool"
    spool.mkdir()
    tsc, clock = time_stamp_counter()
    way = _core.record_start(str(spool), tsc, True, True)
    loops = ctypes.CDLL(str(root / "loops.so"))
    fd = os.open(root / "data.bin", os.O_RDONLY)
    print(f"{way[0]}, {clock}; {rounds * 11} pairs of blocks of {BLOCK} ops; ns per op, medians")
    print(f"{'op':16} {'off':>8} {'added':>8} {'clock reads':>12} {'ratio':>6}")
    clock_ns = 0.0
    for name in OPS:
        loop = loops[name]
        loop.restype = ctypes.c_double
        off, added = _paired(lambda loop=loop: loop(fd, os.fsencode(root / "data.bin"), BLOCK), _core, rounds * 11)
        clock_ns = clock_ns or off
        row = f"{name:16} {off:8.1f}"
        print(row if name == OPS[0] else f"{row} {added:8.1f} {clock_ns:12.1f} {added / clock_ns:6.2f}")


def _paired(block: Callable[[], float], core: object, pairs: int) -> tuple[float, float]:
    """(ns per op with the recorder off, what it adds), medians over pairs of blocks in turn."""
    off, added = [], []
    block()
    for number in range(pairs):
        times = {}
        for paused in (True, False) if number % 2 else (False, True):
            core.record_pause(paused)
            times[paused] = block()
        off.append(times[True])
        added.append(times[False] - times[True])
    core.record_pause(True)
    return statistics.median(off), statistics.median(added)


def _programs(root: Path, rounds: int) -> None:
    programs = {"pread loop": (LOOP, 200_000)}
    if importlib.util.find_spec("torch"):
        programs["DataLoader epochs"] = (EPOCH, 3000)
    record = [sys.executable, "-m", "tracekit", "record", "--force", "-o", "trace.jsonl", "--engine", "native", "--"]
    variants = {"untraced": [], "off": record, "recorded": record, "control": []}
    if shutil.which("strace"):
        calls = "trace=read,pread64,openat,close"
        variants["strace --seccomp-bpf"] = ["strace", "-f", "--seccomp-bpf", "-e", calls, "-o", os.devnull]
        variants["strace"] = ["strace", "-f", "-e", calls, "-o", os.devnull]
    print(f"\nwhole programs, {rounds} rounds in turn: seconds (median), ratio to loaded-but-off (median of pairs)")
    for title, (text, count) in programs.items():
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, prefix in variants.items():
                (root / "program.py").write_text(text.format(off=OFF if name == "off" else "", count=count))
                times[name].append(_seconds([*prefix, sys.executable, "program.py"], root))
        for name, values in times.items():
            ratio = statistics.median(value / base for value, base in zip(values, times["off"], strict=True))
            print(f"{title:18} {name:22} {statistics.median(values):8.3f} {ratio:7.3f}")


def _seconds(command: list[str], root: Path) -> float:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
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
        f"\ninterpreter start, {rounds * 8} pairs: {min(times['untraced']):.1f} ms, added {added:.1f} ms (minima), {middle:.1f} ms (medians)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
