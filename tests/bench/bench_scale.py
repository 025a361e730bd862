"""Ten million ops: how long the commands take, on how much CPU, and how much memory they hold at most.

    python tests/bench/bench_scale.py [OPS]

Beside them what peers take to read the same Parquet file and group it by file: pandas, DuckDB and Polars, each in a process of its
own. Memory is the kernel's highest resident size of the whole process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracekit import Header, Trace, Trailer, formats
from tracekit.trace import Mark, StringTable

OPS, FILES, STEP, PIECE = 10_000_000, 100_000, 128, 1 << 18
PEERS = {
    "pandas": "import pandas as d; d.read_parquet({0!r}).groupby('uri', observed=True)['ret'].agg(['count', 'sum'])",
    "DuckDB": "import duckdb as d; d.sql('select uri, count(*), sum(ret) from ' + repr({0!r}) + ' group by uri').fetchall()",
    "Polars": "import polars as d; d.scan_parquet({0!r}).group_by('uri').agg(d.len(), d.col('ret').sum()).collect()",
}


def pieces(ops: int) -> Iterator[Trace]:
    """A training job: four workers read 100,000 files in chunks of 64 KiB, epoch after epoch, in steps of 128 ops."""
    chance = np.random.default_rng(1)
    tables = {
        "uri": StringTable(f"file:///data/train/img_{number:07d}.jpg" for number in range(FILES)),
        "op": StringTable(["read"]),
        "layer": StringTable(["libc"]),
    }
    now = 0
    for start in range(0, ops, PIECE):
        index = np.arange(start, min(start + PIECE, ops))
        submit = now + np.cumsum(chance.integers(0, 20_000, len(index)))
        now = int(submit[-1])
        epoch = index // 4 // FILES
        sample = (index // 4 % FILES * 7919 + epoch * 31) % FILES
        worker = 1000 + index % 4
        # Each worker goes on when its op returns.
        complete = np.append(submit[4:], np.full(4, now))
        columns = {
            "uri": sample.astype(np.int32), "offset": index % 4 * 65_536, "len": np.full(len(index), 65_536),
            "t_submit": submit, "op": np.zeros(len(index), np.int32),
            "t_complete": complete,
            "ret": np.where(index % 4 == 3, 30_000, 65_536), "pid": worker.astype(np.int32),
            "tid": worker.astype(np.int32), "worker": (worker - 1000).astype(np.int32), "epoch": epoch.astype(np.int32),
            "step": (index // STEP).astype(np.int32), "sample_id": sample, "layer": np.zeros(len(index), np.int32),
        }  # fmt: skip
        begins = submit[::STEP].tolist()
        marks = [
            Mark("step", begin, end, start // STEP + number, 0, 1)
            for number, (begin, end) in enumerate(zip(begins, [*begins[1:], now], strict=True))
        ]
        header = Header(created="2026-01-01T00:00:00Z", producer={"tool": "tracekit", "verb": "record"})
        yield Trace(columns, tables, marks, header, Trailer(ops) if start + PIECE >= ops else None)


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall and CPU seconds and the highest resident MiB of a command, which may end with any of a verdict's codes."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in {0, 1, 3}, said
    assert "Traceback" not in said, said
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main(ops: int = OPS) -> None:
    """Make the traces, run everything once, and print a table."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        parquet, jsonl = str(Path(folder) / "t.parquet"), str(Path(folder) / "t.jsonl")
        # By another process: a child's highest memory begins with what its parent has when it starts.
        subprocess.run([sys.executable, __file__, str(ops), parquet], check=True)
        tool, judge = (
            [sys.executable, "-I", "-m", "tracekit", "-q"],
            [sys.executable, "-I", "-c", "import sys; from harness.cli import main; sys.exit(main())"],
        )
        jobs = {"convert Parquet to JSONL": [*tool, "convert", parquet, jsonl]}
        for name, path in (("Parquet", parquet), ("JSONL", jsonl)):
            jobs |= {
                f"stats {name}": [*tool, "stats", path],
                f"check {name} (golden)": [*judge, "check", path, "--golden", "torch-like"],
                f"convert {name} to Parquet": [*tool, "convert", path, f"{path}.2.parquet"],
            }
        jobs["compare Parquet, Parquet"] = [*judge, "compare", parquet, parquet]
        jobs |= {name: [sys.executable, "-c", text.format(parquet)] for name, text in PEERS.items()}
        print(f"{ops:,} ops, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for name, command in jobs.items():
            wall, cpu, most = measured(command)
            print(f"{name:28} {wall:7.1f} s  CPU {cpu:7.1f} s  {most:6.0f} MiB", flush=True)


def make(ops: int, path: str) -> None:
    """Write the trace."""
    with formats.writing(path) as writer:
        writer.pieces(pieces(ops))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        make(int(sys.argv[1]), sys.argv[2])
    else:
        main(*map(int, sys.argv[1:]))
