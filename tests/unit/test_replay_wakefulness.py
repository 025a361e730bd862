"""Idle processors: kept awake while a schedule is kept, where that is permitted, and said either way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from descriptors import open_descriptors

from tracekit.replay import wakefulness
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.testing import training_trace


def test_the_device_is_held_with_zero_and_let_go(tmp_path, monkeypatch):
    """Inside the block the bound is zero, as a 32-bit number; afterwards the descriptor is closed."""
    device = tmp_path / "latency"
    device.write_bytes(b"")
    monkeypatch.setattr(wakefulness, "DEVICE", str(device))
    before = open_descriptors()

    with wakefulness.processors_awake(wanted=True) as said:
        assert said == wakefulness.HELD
        assert device.read_bytes() == bytes(4)
        assert len(open_descriptors() - before) == 1
    assert open_descriptors() <= before


def test_what_is_not_permitted_is_said(tmp_path, monkeypatch):
    """Without the device the block runs all the same, and the words name it and the reason."""
    monkeypatch.setattr(wakefulness, "DEVICE", str(tmp_path / "none"))

    with wakefulness.processors_awake(wanted=True) as said:
        assert said == f"may sleep: {tmp_path}/none cannot be opened (No such file or directory)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"realtime": False}, "may sleep: there is no schedule"),
        ({"pace": "asap"}, "may sleep: there is no schedule"),
        ({}, ""),
    ],
)
def test_a_run_says_whether_processors_slept(tmp_path, monkeypatch, options, words):
    """The statement has it: declined, needless, or what became of it here."""
    trace = training_trace(files=4, file_bytes=1000, chunk_bytes=1000)
    done = replay(
        trace, Options(remap=((trace.uris[0].rsplit("/", 1)[0], f"file://{tmp_path}/d"),), prepare="zero", **options)
    )

    said = done.run["idle_processors"]
    assert said.startswith(words)
    assert words or said == wakefulness.HELD or said.startswith("may sleep: /dev/cpu_dma_latency")
