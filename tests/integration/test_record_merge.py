"""Merging the parts of a run: flat memory, damage that stays where it is, and a clock that says how good it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tracekit import Trace
from tracekit.record.launch import Run
from tracekit.record.merge import Merge, merge_parts
from tracekit.record.ticks import Clock

BENCH = Path(__file__).parents[1] / "bench" / "bench_merge.py"


@pytest.fixture(scope="module")
def bench():
    """The benchmark's own writer of spool files."""
    spec = importlib.util.spec_from_file_location("bench_merge", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _peak(directory):
    done = subprocess.run(
        [sys.executable, BENCH, "--into", str(directory), "columns"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return int(done.stdout.split("peak ")[1].split()[0])


def test_memory_does_not_grow_with_the_ops(tmp_path, bench):
    """Three times as many ops of the same threads raise the merge's peak memory by less than a tenth of their columns."""
    peaks = []
    for ops in (1_000_000, 3_000_000):
        parts = tmp_path / str(ops)
        parts.mkdir()
        bench.write_spool(parts, ops, 4)
        peaks.append(_peak(parts))
    assert peaks[1] - peaks[0] < 2_000_000 * 100 / 2**20 / 10


def test_the_stream_is_the_whole_in_order_of_time(tmp_path, bench):
    """Pieces of a merge are in order, hold every op once with its thread, and reading again gives the same."""
    bench.write_spool(tmp_path, 200_000, 3)
    merge = Merge(tmp_path, 0)
    pieces = list(merge.pieces(10_000))
    times = np.concatenate([piece.col("t_submit") for piece in pieces])
    assert bool((times[1:] >= times[:-1]).all())
    whole, parts = merge_parts(tmp_path, 0)
    assert len(whole) == len(times) == parts[0].ops
    assert np.array_equal(whole.col("t_submit"), times)
    again, _ = merge_parts(tmp_path, 0)
    assert all(np.array_equal(whole.col(name), again.col(name)) for name in whole.columns)
    for tid in (4242, 4243, 4244):
        mine = whole.select((whole.col("tid") == tid) & whole.mask("op", "read"))
        assert bool((mine.col("t_submit")[1:] >= mine.col("t_complete")[:-1]).all())


def test_a_damaged_chunk_loses_only_itself(tmp_path, bench):
    """Of a run with one chunk overwritten and one cut short the others are in the trace, and the damage is said."""
    parts = tmp_path / "parts"
    parts.mkdir()
    bench.write_spool(parts, 150_000, 2)
    chunks = sorted(parts.glob("*.ops"), key=lambda path: int(path.name.split(".")[2]))
    whole = len(merge_parts(parts, 0)[0])
    chunks[1].write_bytes(b"\xff" * 5000)
    chunks[2].write_bytes(chunks[2].read_bytes()[:200])
    run = Run(str(parts), str(tmp_path / "t.parquet"), ["x"], 0, 0, "now", "native", "", {"include": [], "exclude": []})
    run.note()
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", "record", "--merge", str(parts), "-o", str(tmp_path / "t.parquet")],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = f"{chunks[1].name}, {chunks[2].name}"
    assert f"2 parts of the recording are damaged, what is in them is not in the trace: {names}" in done.stderr
    trace = Trace.read(tmp_path / "t.parquet")
    assert 0 < len(trace) < whole
    assert trace.trailer.ops == len(trace)


def test_a_recording_goes_into_each_format(tmp_path):
    """-o with another suffix records the same ops as Parquet and compressed lines, header first."""
    (tmp_path / "data").write_bytes(b"x" * 1000)
    program = "f = open('data', 'rb', buffering=0)\nfor _ in range(5): f.seek(0); f.read(100)"
    for name in ("a.jsonl", "b.jsonl.zst", "c.parquet"):
        command = [sys.executable, "-m", "tracekit", "record", "-o", name, "--", sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        trace = Trace.read(tmp_path / name)
        assert [op.ret for op in trace if op.op == "read"] == [100] * 5
        assert trace.trailer.ops == len(trace)
    first = (tmp_path / "a.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["tracekit"] == 1


def test_the_clock_says_how_far_it_was_off():
    """Readings of both clocks that were not needed to set the counter are what it is held against; the worst is told."""
    pairs = [(0, 1_000), (400_000_000, 800_001_000), (700_000_000, 1_400_001_600), (2_000_000_000, 4_000_001_000)]
    clock = Clock(pairs)
    facts = clock.facts()
    assert facts["tsc_hz"] == 2_000_000_000
    assert (facts["checks"], facts["error_ns"]) == (2, 300)
    assert "error_ns" not in Clock(pairs[::3]).facts()
