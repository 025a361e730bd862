"""How long `--help` of every verb takes to start, against an interpreter that does nothing and one that imports NumPy.

    python tests/bench/bench_help_start.py [--rounds N] [--check]

The commands take turns, so that what the machine does otherwise meets all of them. Shown are the median of wall-clock time and of CPU time
(user and system), and both as multiples of those of `python -I -c pass`. With --check the exit code is 1 when a help takes 100 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from harness import cli as harness
from tracekit import cli as tracekit

PYTHON = [sys.executable, "-I"]
BOUND_MS = 100
BARE = {"python -c pass": [*PYTHON, "-c", "pass"], "python -c 'import numpy'": [*PYTHON, "-c", "import numpy"]}
HELPS = {
    " ".join([program, *verb, "--help"]): [*PYTHON, "-m", module, *verb, "--help"]
    for program, module, verbs in (
        ("tracekit", "tracekit.cli", tracekit.VERBS),
        ("harness", "harness.cli", harness.VERBS),
    )
    for verb in ([], *([name] for name in verbs))
}
COMMANDS = {**BARE, **HELPS}


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
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="runs of each command (default: 21)")
    parser.add_argument("--check", action="store_true", help="exit 1 when the help of a verb takes too long")
    args = parser.parse_args()
    for command in COMMANDS.values():
        once(command)  # what is compiled or read for the first time is not counted
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(args.rounds):
        for name, command in COMMANDS.items():
            taken[name].append(once(command))
    medians = {name: [statistics.median(values) for values in zip(*runs, strict=True)] for name, runs in taken.items()}
    bare = medians["python -c pass"]
    print(f"{'':28} {'wall':>9} {'CPU':>9}   of python -c pass")
    for name, (wall, cpu) in medians.items():
        print(f"{name:28} {wall:6.1f} ms {cpu:6.1f} ms   {wall / bare[0]:4.1f} ×  {cpu / bare[1]:4.1f} ×")
    slow = [name for name in HELPS if medians[name][0] >= BOUND_MS]
    if args.check and slow:
        sys.exit(f"not below {BOUND_MS} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
