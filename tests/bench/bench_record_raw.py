"""What --raw-syscalls costs: `python tests/bench/bench_record_raw.py [rounds]`; needs a C compiler.

A loop of 4 KiB preads from the page cache through the C library, of getppid through it, and of the same pread by a system
call of the program's own; recorded without and with the option in turn, medians over the rounds of the fastest of ten
stretches, ns per call.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static char to[4096];
static long raw(long n, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d; long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
double measure(int how, int fd) {
    double best = 1e18;
    for (int turn = 0; turn < 10; turn++) {
        double begin = now();
        for (int i = 0; i < 20000; i++)
            if (how == 0) (void)!pread(fd, to, 4096, 0);
            else if (how == 1) getppid();
            else raw(SYS_pread64, fd, (long)to, 4096, 0);
        begin = (now() - begin) / 20000;
        best = begin < best ? begin : best;
    }
    return best;
}
"""
PROGRAM = """
import ctypes, json, os
library = ctypes.CDLL("./calls.so"); library.measure.restype = ctypes.c_double
fd = os.open("data", os.O_RDONLY)
print(json.dumps([library.measure(how, fd) for how in range(3)]))
"""
KINDS = ("pread through the C library", "getppid through the C library", "pread by a call of its own")


def measure(directory: Path, *options: str) -> list[float]:
    """Times per call of each kind, ns."""
    command = [
        sys.executable,
        "-m",
        "tracekit",
        "record",
        "-o",
        "trace.jsonl",
        "--force",
        "--engine",
        "native",
        *options,
    ]
    done = subprocess.run(
        [*command, "--exclude", "data", "--", sys.executable, "program.py"],
        cwd=directory, capture_output=True, text=True, check=True,
    )  # fmt: skip
    times: list[float] = json.loads(done.stdout)
    return times


def main(rounds: int) -> None:
    """Measure without and with the option in turn and print a table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "calls.c").write_text(CODE)
        (directory / "program.py").write_text(PROGRAM)
        (directory / "data").write_bytes(os.urandom(4096))
        subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", "-o", "calls.so", "calls.c"], cwd=directory, check=True)
        plain, netted = [], []
        for _ in range(rounds):
            plain.append(measure(directory))
            netted.append(measure(directory, "--raw-syscalls"))
    print("| ns per call | recorded | with --raw-syscalls | added |\n|---|---|---|---|")
    for kind, name in enumerate(KINDS):
        before, after = (statistics.median(times[kind] for times in found) for found in (plain, netted))
        print(f"| {name} | {before:.0f} | {after:.0f} | {after - before:.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
