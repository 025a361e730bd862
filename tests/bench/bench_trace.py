"""How fast traces are read, written and measured, beside json and jsonlines in the same run.

    python tests/bench/bench_trace.py [OPS] [ROUNDS]

The contestants take turns, so that a slow phase of the machine hits all of them; medians and ratios are printed. Each
does what its user would: read the file into something that can be computed with, or write it from that.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import jsonlines
import numpy as np

from tracekit import Header, Metrics, Trace, Trailer, formats
from tracekit.trace import StringTable


def make_trace(ops: int) -> Trace:
    """A trace as a recorder writes it: four workers, reads of 64 KiB, 14 keys an op."""
    chance = np.random.default_rng(1)
    index = np.arange(ops)
    submit = np.cumsum(chance.integers(0, 20_000, ops))
    worker = (index % 4).astype(np.int32)
    columns = {
        "uri": (index // 4).astype(np.int32),
        "offset": index % 4 * 65_536,
        "len": np.full(ops, 65_536),
        "t_submit": submit,
        "op": np.zeros(ops, np.int32),
        "t_complete": submit + chance.integers(10_000, 100_000, ops),
        "ret": np.full(ops, 65_536),
        "pid": 1000 + worker,
        "tid": 1000 + worker,
        "worker": worker,
        "epoch": np.zeros(ops, np.int32),
        "step": (index // 128).astype(np.int32),
        "sample_id": index // 4,
        "layer": np.zeros(ops, np.int32),
    }
    files = StringTable(f"file:///data/train/img_{number:07d}.jpg" for number in range(ops // 4 + 1))
    tables = {"uri": files, "op": StringTable(["read"]), "layer": StringTable(["python"])}
    return Trace(columns, tables, (), Header(created="2026-01-01T00:00:00Z"), Trailer(ops))


def read_json(path: str) -> list[dict[str, object]]:
    """A dict per line, by the standard library."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_jsonlines(path: str) -> list[dict[str, object]]:
    """A dict per line, by jsonlines."""
    with jsonlines.open(path) as reader:
        return list(reader)


def write_json(rows: list[dict[str, object]], path: str) -> None:
    """Dicts by the standard library."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def timed(action: Callable[[], object]) -> float:
    """Seconds of one run; what it made is thrown away outside the clock."""
    begin = time.perf_counter()
    made = action()
    taken = time.perf_counter() - begin
    del made
    return taken


def main(ops: int = 200_000, rounds: int = 5) -> None:
    """Run all contestants in turns and print medians."""
    trace = make_trace(ops)
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "t.jsonl"), os.path.join(folder, "out.jsonl")
        packed = path + ".zst"
        formats.save(trace, path)
        formats.save(trace, packed)
        rows = read_json(path)
        contest: dict[str, Callable[[], object]] = {
            "read: tracekit": lambda: formats.load(path),
            "read: tracekit .zst": lambda: formats.load(packed),
            "read: json.loads": lambda: read_json(path),
            "read: jsonlines": lambda: read_jsonlines(path),
            "write: tracekit": lambda: formats.save(trace, out),
            "write: json.dumps": lambda: write_json(rows, out),
            "metrics": lambda: Metrics.of(trace),
        }
        taken: dict[str, list[float]] = {name: [] for name in contest}
        for _ in range(rounds):
            for name, action in contest.items():
                taken[name].append(timed(action))
        size = os.path.getsize(path) / ops
    report(taken, ops, size)


def report(taken: dict[str, list[float]], ops: int, size: float) -> None:
    """Medians, rates, and each against the standard library's."""
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print(
        f"{ops:,} ops of {size:.0f} bytes, median of {len(taken['metrics'])} rounds in turns, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    for name, seconds in medians.items():
        base = medians.get({"read": "read: json.loads", "write": "write: json.dumps"}.get(name.split(":")[0], ""))
        ratio = f"  {base / seconds:5.2f} x json" if base else ""
        print(f"{name:22s} {seconds:7.3f} s  {ops / seconds / 1e6:6.3f} M ops/s{ratio}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
