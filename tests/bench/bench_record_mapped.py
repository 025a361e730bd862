"""What it costs to see which pages of a mapped file are touched: `python tests/bench/bench_record_mapped.py [rounds]`.

A file of 64 MiB in the page cache is mapped and one byte of each page is read, in order and in random order; recorded with
--mmap map, pagemap and exact in turn, medians over the rounds of the fastest of five passes, ns per touched page.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = 16_384
PROGRAM = """
import json, sys, time
import numpy as np
pages = int(sys.argv[1])
orders = {"in order": np.arange(pages) * 4096, "at random": np.random.default_rng(1).permutation(pages) * 4096}
open("data", "rb").read()
best = {}
for turn in range(5):
    for name, places in orders.items():
        data = np.memmap("data", np.uint8, "r")
        begin = time.perf_counter_ns()
        data[places].sum()
        touched = time.perf_counter_ns()
        del data
        ended = time.perf_counter_ns()
        best.setdefault(name, []).append(((touched - begin) / pages, (ended - touched) / pages))
print(json.dumps({name: [min(each) for each in zip(*times)] for name, times in best.items()}))
"""
MODES = ("map", "pagemap", "exact")


def measure(directory: Path, mode: str) -> dict[str, list[float]]:
    """Ns per page: touching and letting go, by order."""
    command = [sys.executable, "-m", "tracekit", "record", "-o", "trace.jsonl", "--force", "--engine", "native"]
    done = subprocess.run(
        [*command, "--mmap", mode, "--", sys.executable, "program.py", str(PAGES)],
        cwd=directory, capture_output=True, text=True, check=True,
    )  # fmt: skip
    times: dict[str, list[float]] = json.loads(done.stdout)
    return times


def main(rounds: int) -> None:
    """Measure the modes in turn and print a table."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "program.py").write_text(PROGRAM)
        (directory / "data").write_bytes(os.urandom(PAGES * 4096))
        found = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode in MODES:
                found[mode].append(measure(directory, mode))
    print("| ns per page | touched in order | at random | let go |\n|---|---|---|---|")
    for mode in MODES:
        cells = [statistics.median(each[order][0] for each in found[mode]) for order in ("in order", "at random")]
        gone = statistics.median(each["in order"][1] for each in found[mode])
        print(f"| {mode} | " + " | ".join(f"{value:.0f}" for value in (*cells, gone)) + " |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
