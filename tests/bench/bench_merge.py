"""What it takes to make a trace of a run's parts: `python tests/bench/bench_merge.py [million ops] [threads]`.

Spool files are written as the core writes them (32-byte records in chunks of a mebibyte, one after the other per thread), then
merged by one core: to columns alone, and into a file of each format. CPU time of the whole process, peak memory, bytes an op.
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK_BYTES = 1 << 20
HEADER_BYTES = 256
RECORD = np.dtype([("t", "<u8"), ("offset", "<i8"), ("len", "<u4"), ("ret", "<i4"), ("dur", "<u4"), ("what", "<u4")])
READ, OPEN, CONTEXT = 1, 3, 35
FILES = 200


def write_spool(directory: str | Path, ops: int, threads: int) -> None:
    """The parts of a process of so many threads, each of which reads files in turn with a context per sample."""
    per_chunk = (CHUNK_BYTES - HEADER_BYTES) // 32 - 2 * FILES
    numbers = iter(range(1 << 30))
    chance = np.random.default_rng(1)
    head = struct.pack("<8sIIQqiiQQQQIIII", b"tkproc\0\0", 2, 0, 5, 1, 4242, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    Path(directory, "4242.5.head").write_bytes(head.ljust(4096, b"\0"))
    for thread in range(threads):
        now, left, first = 1_000 + thread * 37, ops // threads, thread == 0
        while left:
            count = min(left, per_chunk)
            now = _write_chunk(directory, next(numbers), 4242 + thread, now, count, chance, named=first)
            left, first = left - count, False


def _write_chunk(directory: str | Path, number: int, tid: int, now: int, count: int, chance, *, named: bool) -> int:
    records = np.zeros(count, RECORD)
    durations = chance.integers(300, 1500, count)
    gaps = chance.integers(100, 900, count)
    records["t"] = now + np.concatenate([[0], np.cumsum(durations + gaps)[:-1]])
    records["dur"] = durations
    records["offset"] = chance.integers(0, 64, count) * 4096
    records["len"] = records["ret"] = 4096
    records["what"] = READ | (1 + np.arange(count) // 16 % FILES) << 7
    contexts = records[::64]
    contexts["what"], contexts["offset"] = CONTEXT, np.arange(len(contexts))
    contexts["len"] = contexts["ret"] = contexts["dur"] = 0
    data = bytearray(CHUNK_BYTES)
    header = (b"tkops\0\0\0", 2, HEADER_BYTES, 5, 4242, tid, number, 0, CHUNK_BYTES, now, now, -1, *[2**32 - 1] * 3, 0)
    struct.pack_into("<8sIIQiiiiQQqqIIII", data, 0, *header)
    used = 0
    opens = np.zeros(FILES if named else 0, RECORD)
    for file in range(len(opens)):
        name = f"/data/{file:05d}.bin".encode()
        used += (len(name) + 7) & ~7
        data[CHUNK_BYTES - used : CHUNK_BYTES - used + len(name)] = name
        opens[file] = (now, (CHUNK_BYTES - used) << 32 | len(name), 0, 3, 10, OPEN | (file + 1) << 7)
    body = np.concatenate([opens, records]).tobytes()
    data[HEADER_BYTES : HEADER_BYTES + len(body)] = body
    struct.pack_into("<II", data, 128, len(body) // 32, used)
    Path(directory, f"4242.5.{number}.ops").write_bytes(data)
    return int(records["t"][-1] + durations[-1] + gaps[-1])


def measure(directory: str, target: str) -> None:
    """Merge the parts into `target` (columns: nothing is written) in this process, and print the figures."""
    from tracekit import formats
    from tracekit.record.merge import Merge

    cpu, wall = time.process_time(), time.perf_counter()
    merge = Merge(directory, 0)
    ops = 0
    if target == "columns":
        ops = sum(map(len, merge.pieces()))
    else:
        with formats.writing(target) as writer:
            ops = writer.pieces(merge.pieces()).ops
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    size = os.path.getsize(target) / ops if target != "columns" else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(
        f"{os.path.splitext(target)[1] if '.' in target else target:<10} {ops / cpu / 1e6:6.2f} M ops/s of CPU "
        f"{ops / wall / 1e6:6.2f} M ops/s {size:6.1f} bytes an op, peak {peak} MiB"
    )


def main(millions: float, threads: int) -> None:
    """Write a spool and merge it in a process of its own for each target."""
    with tempfile.TemporaryDirectory() as directory:
        parts = os.path.join(directory, "parts")
        os.mkdir(parts)
        write_spool(parts, int(millions * 1e6), threads)
        print(f"{millions:g} M ops of {threads} threads")
        for target in ("columns", "t.parquet", "t.jsonl", "t.jsonl.zst"):
            path = target if target == "columns" else os.path.join(directory, target)
            subprocess.run([sys.executable, __file__, "--into", parts, path], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--into"]:
        measure(*sys.argv[2:4])
    else:
        main(float(sys.argv[1]) if sys.argv[1:] else 4, int(sys.argv[2]) if sys.argv[2:] else 4)
