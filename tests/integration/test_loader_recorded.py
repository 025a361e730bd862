"""The loader inside a recorded program: its requests carry worker, epoch, step and sample, and its batches are steps."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracekit.trace import Trace

PROGRAM = """
import asyncio, sys
import tracekit
from tracekit.workload.loader import create_async_loader

loader = create_async_loader(sys.argv[1], {"batch_size": 4, "num_workers": 2, "shuffle": True, "target_request_bytes": 4096})

async def go():
    async for batch in loader:
        bytes(batch[0].data)

for epoch in range(2):
    if sys.argv[2] == "async":
        asyncio.run(go())
    elif sys.argv[2] == "marked":
        for batch in tracekit.step(loader):
            bytes(batch[0].data)
    else:
        for batch in loader:
            bytes(batch[0].data)
"""


@pytest.mark.parametrize("way", ["plain", "async", "marked"])
def test_requests_carry_what_they_serve(tmp_path, way):
    """Six batches in two epochs are six steps; each op names its worker, epoch, step and sample, whoever marks the steps."""
    data = tmp_path / "data"
    data.mkdir()
    for index in range(12):
        (data / f"{index:02d}").write_bytes(bytes(5000))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    output = tmp_path / "run.jsonl"
    record = [sys.executable, "-m", "tracekit.cli", "record", "-o", str(output), "--include", f"{data}/*"]
    subprocess.run([*record, "--", sys.executable, str(program), str(data), way], check=True, capture_output=True)
    trace = Trace.read(output)
    reads = [op for op in trace if op.op == "read"]
    assert sorted(op.len for op in reads) == [904] * 24 + [4096] * 24
    assert {op.worker for op in reads} <= {0, 1}
    assert [mark.step for mark in trace.marks if mark.mark == "step"] == list(range(6))
    assert [mark.epoch for mark in trace.marks if mark.mark == "step"] in ([0, 0, 0, 1, 1, 1], [None] * 6)
    for step in range(6):
        of_step = [op for op in reads if op.step == step]
        assert {op.epoch for op in of_step} == {step // 3}
        assert len({op.sample_id for op in of_step}) == 4
        assert len(of_step) == 8
    for epoch in range(2):
        assert {op.sample_id for op in reads if op.epoch == epoch} == set(range(12))
    assert sum(op.op == "open" for op in trace) == sum(op.op == "close" for op in trace) == 24
