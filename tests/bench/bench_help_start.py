"""How long `--help` takes to start, against an interpreter that does nothing and one that imports NumPy.

    python tests/bench/bench_help_start.py [--rounds N]

The commands take turns, so that what the machine does otherwise meets all of them. Shown are the median of wall-clock time and of CPU time
(user and system), and both as multiples of those of `python -I -c pass`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

PYTHON = [sys.executable, "-I"]
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [*PYTHON, "-c", "pass"],
    "python -c 'import numpy'": [*PYTHON, "-c", "import numpy"],
    "tracekit --help": [*PYTHON, "-m", "tracekit", "--help"],
    "tracekit replay --help": [*PYTHON, "-m", "tracekit", "replay", "--help"],
    "tracekit run --help": [*PYTHON, "-m", "tracekit", "run", "--help"],
    "tracekit record --help": [*PYTHON, "-m", "tracekit", "record", "--help"],
    "tracekit convert --help": [*PYTHON, "-m", "tracekit", "convert", "--help"],
    "harness --help": [*PYTHON, "-m", "harness.cli", "--help"],
    "harness check --help": [*PYTHON, "-m", "harness.cli", "check", "--help"],
}


def once(command: Sequence[str]) -> tuple[float, float]:
    """Wall-clock and CPU time of one run, in ms."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: {said.decode()}")
    return 1e3 * wall, 1e3 * (used.ru_utime + used.ru_stime)


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="runs of each command (default: 41)")
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        once(command)  # what is compiled or read for the first time is not counted
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken[name].append(once(command))
    medians = {name: [statistics.median(values) for values in zip(*runs, strict=True)] for name, runs in taken.items()}
    bare = medians["python -c pass"]
    print(f"{'':28} {'wall':>9} {'CPU':>9}   of python -c pass")
    for name, (wall, cpu) in medians.items():
        print(f"{name:28} {wall:6.1f} ms {cpu:6.1f} ms   {wall / bare[0]:4.1f} ×  {cpu / bare[1]:4.1f} ×")


if __name__ == "__main__":
    main()
