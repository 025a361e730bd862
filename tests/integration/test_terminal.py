"""What stands on a terminal: lines that fit, progress that is gone at the end, colour by the conventions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tracekit import formats, itself
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

sys.path.insert(0, str(Path(__file__).parent))
from terminal import on_terminal, seen  # beside this file, which is no package

WIDTHS = (60, 200)

REPORTS = [
    ("tracekit", "stats", "train.jsonl"), ("tracekit", "replay", "small.jsonl", "-o", "again.jsonl"),
    ("tracekit", "convert", "train.jsonl", "train.parquet"), ("tracekit", "doctor", "."),
    ("tracekit", "distil", "train.jsonl", "-o", "w.yaml"), ("tracekit", "dlio", "lint", "minimal"),
    ("tracekit", "generate", "minimal", "--dry-run", "--data", "data"),
    ("tracekit", "checkpoint", "trace-replay", "--dry-run"), ("tracekit", "replay", "nothing.jsonl"), ("tracekit", "stts"),
    ("harness", "check", "again.jsonl", "--golden", "small.jsonl"), ("harness", "check", "train.jsonl", "--golden", "torch-like"),
    ("harness", "check", "--explain", "order.stream"), ("harness", "compare", "train.jsonl", "small.jsonl"),
    ("harness", "list"), ("harness", "show", "torch-like"), ("harness", "power", "torch-like"),
    ("harness", "learn", "train.jsonl", "-o", "golden"),
]  # fmt: skip
# One process for all: most of a command's time is imports.
RUN_ALL = """
import json, sys
from harness import cli as harness
from tracekit import cli as tracekit

for program, *words in json.loads(sys.argv[1]):
    print("# status", {"tracekit": tracekit, "harness": harness}[program].main(words), flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    """A training job's trace, and a small one whose files are there."""
    formats.save(training_trace(), tmp_path / "train.jsonl")
    (tmp_path / "data.bin").write_bytes(bytes(40_000))
    reads = [Op(file_uri(tmp_path / "data.bin"), n * 100, 100, n * 1_000_000, pid=1, tid=1) for n in range(100)]
    formats.save(Trace.of(reads), tmp_path / "small.jsonl")
    return tmp_path


def lasting(folder, seconds):
    """A trace of a read every 10 ms, for so long."""
    uri = file_uri(folder / "data.bin")
    ops = [Op(uri, n % 400 * 100, 100, n * 10_000_000, pid=1, tid=1) for n in range(seconds * 100)]
    formats.save(Trace.of(ops), folder / "long.jsonl")
    return [*itself.command("tracekit.cli"), "replay", "long.jsonl", "-o", "out.jsonl", "--no-realtime"]


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_report_fits_the_terminal(folder, columns):
    """No line of any report, remark or error is wider than the terminal, but for a name that is longer than the line."""
    _, written = on_terminal([sys.executable, "-I", "-c", RUN_ALL, json.dumps(REPORTS)], columns)
    lines = seen(written)

    assert sum(line.startswith("# status") for line in lines) == len(REPORTS), written
    assert [line for line in lines if len(line) > columns and len(line.split()) > 1] == []


def test_a_report_stands_alone_when_the_replay_is_done(folder):
    """At the end of a run nothing is left of the line that said how far it was; the last line is the next command."""
    _, written = on_terminal(lasting(folder, 2), 100)
    lines = seen(written)

    assert not any("ops/s" in line for line in lines)
    assert any(line.startswith("replayed 200 of 200 ops") for line in lines)
    assert lines[-2].startswith("next: harness check")


def test_progress_is_one_line_and_gone_after_ctrl_c(folder):
    """What is drawn in place fits one line of a narrow terminal; Ctrl-C clears it, what was done is said, the status is 130."""
    pressed = []

    def press(so_far):
        if "replaying" in so_far and not pressed:
            pressed.append(True)
            return b"\x03"
        return b""

    status, written = on_terminal(lasting(folder, 600), 72, when=press)
    drawn = [part.split("\r")[0] for part in written.split("\r\x1b[K") if part.startswith("replaying")]
    lines = seen(written)

    assert drawn
    assert all(len(line) < 72 for line in drawn)
    assert status == 130
    assert not any("ops/s" in line for line in lines)
    assert any("60,000 ops" in line for line in lines)


def test_quiet_draws_nothing(folder):
    """With -q neither progress nor remarks are on the terminal."""
    command = lasting(folder, 1)
    _, written = on_terminal([*command[:-5], "-q", *command[-5:]], 100)
    assert "replay" not in written.partition("warning:")[0]
    assert "\x1b[K" not in written


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"CLICOLOR": "0"}, False)],
)
def test_colour_on_a_terminal(folder, variables, coloured):
    """NO_COLOR, TERM=dumb and CLICOLOR=0 are plain text; a terminal that wants it has colour."""
    _, written = on_terminal([*itself.command("tracekit.cli"), "stats", "train.jsonl"], 100, **variables)
    assert ("\x1b[" in written) is coloured
