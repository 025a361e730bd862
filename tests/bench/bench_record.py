"""What recording costs: `python tests/bench/bench_record.py [rounds]`.

Four variants of one program run interleaved: untraced, loaded but off (every file excluded, so the hooks only look),
recorded, and untraced again as the control that shows the noise. Printed are medians per round of each loop (`whole` is
open, read to the end, close; `decode` the same and decompressing 120 kB; `pipe` a write and a read that are not recorded)
and ratios of medians; no threshold is checked here.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, os, sys, time
N = 20_000
path = "data.bin"
def timed(body, count=N):
    start = time.perf_counter_ns()
    rounds = body(count)
    return (time.perf_counter_ns() - start) / (rounds or count)
fd = os.open(path, os.O_RDONLY)
def pread(count):
    for _ in range(count): os.pread(fd, 4096, 0)
def read(count):
    for n in range(count):
        if n % 200 == 0: os.lseek(fd, 0, 0)
        os.read(fd, 4096)
raw = open(path, "rb", 0)
buffer = bytearray(4096)
def readinto(count):
    for n in range(count):
        if n % 200 == 0: raw.seek(0)
        raw.readinto(buffer)
def whole(count):
    for _ in range(count // 10):
        with open(path, "rb") as file: file.read()
    return count // 10
def decode(count):
    import zlib
    data = zlib.compress(os.urandom(2000) * 60)
    for _ in range(count // 10):
        with open(path, "rb") as file: file.read()
        zlib.decompress(data)
    return count // 10
reader, writer = os.pipe()
def pipe(count):
    for _ in range(count // 4):
        os.write(writer, b"x"); os.read(reader, 1)
    return count // 4
out = {}
for body in (pread, read, readinto, whole, decode, pipe):
    body(1000)
    out[body.__name__] = timed(body)
print(json.dumps(out))
"""


def main(rounds: int) -> None:
    """Run the variants in turn and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "data.bin").write_bytes(os.urandom(1 << 20)[: 800 << 10])
        Path(directory, "program.py").write_text(PROGRAM)
        variants = {"untraced": None, "off": ["--exclude", "*"], "recorded": [], "control": None}
        times: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, options in variants.items():
                times[name].append(_run(directory, options))
    print(f"{rounds} rounds, interleaved; ns per op (median), and ratio to untraced")
    print(f"{'op':10} {'untraced':>9} {'control':>8} {'off':>8} {'recorded':>9} {'added ns':>9} {'ratio':>6}")
    for op in times["untraced"][0]:
        plain, control, off, recorded = (
            statistics.median(run[op] for run in times[name]) for name in ("untraced", "control", "off", "recorded")
        )
        ratios = f"{recorded - plain:9.0f} {recorded / plain:6.2f}"
        print(f"{op:10} {plain:9.0f} {control:8.0f} {off:8.0f} {recorded:9.0f} {ratios}")


def _run(directory: str, options: list[str] | None) -> dict[str, float]:
    command = [sys.executable, "program.py"]
    if options is not None:
        command = [sys.executable, "-m", "tracekit", "record", "--force", "-o", "trace.jsonl", *options, "--", *command]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
