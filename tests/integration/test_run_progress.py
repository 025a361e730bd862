"""`tracekit run` while it lasts: a line that says how far it is, and what an interrupt leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracekit import itself
from tracekit.trace import Trace

sys.path.insert(0, str(Path(__file__).parent))
from terminal import on_terminal, seen  # beside this file, which is no package

RUN = [*itself.command("tracekit.cli"), "run"]
pytestmark = pytest.mark.serial


@pytest.fixture
def data():
    """Forty files of 5,000 bytes."""
    Path("data").mkdir()
    for index in range(40):
        Path(f"data/{index:02d}").write_bytes(bytes(5000))
    return "data"


def test_progress_is_a_line_that_goes(data):
    """Steps of all, epoch, MB/s and utilisation while two ranks run; nothing of it is left at the end, and no colour with NO_COLOR."""
    words = ["custom", "--data", data, "-O", "batch_size=1", "--ranks", "2", "--epochs", "100", "--max-steps", "60", "--compute", "0.05"]  # fmt: skip
    lines: list[str] = []
    for _ in range(3):  # nobody promises that the command gets to look twice meanwhile
        code, written = on_terminal([*RUN, *words], 120, NO_COLOR="1")
        assert code == 0, written
        if lines := [part for part in written.split("\r") if "AU" in part and "MB/s" in part and "/120" in part]:
            break
    line = lines[0]
    assert line.startswith("\x1b[Kcustom ")
    assert "/120 steps (" in line
    assert " · epoch " in line
    assert "/100 · " in line
    assert " MB/s · AU " in line
    assert "\x1b[3" not in written
    assert not any(" s left" in shown for shown in seen(written))


def _interrupted(words, enough, number=signal.SIGINT):
    """A run that gets a signal, and nobody else does, once a file is there; its exit code and report."""
    report = Path("report.json")
    command = [*RUN, *words, "--format", "json", "--output", str(report)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "TMPDIR": os.getcwd()}
    )
    try:
        while not enough():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=240)[1]
    finally:
        process.kill()
    assert "Traceback" not in said
    assert "error: interrupted" in said if number == signal.SIGINT else "error: ended by SIGTERM [interrupted]" in said
    return process.returncode, json.loads(report.read_text())


def _steps():
    """Steps that a run in this folder has done so far."""
    from tracekit.workload import standing

    return sum(standing.read(str(path)).steps for path in Path().glob("tracekit-run-*/standing*"))


@pytest.mark.parametrize(
    ("more", "number"),
    [
        ((), signal.SIGTERM),
        pytest.param(("--ranks", "2"), signal.SIGINT, marks=pytest.mark.long),
        (("-o", "t.jsonl"), signal.SIGINT),
    ],
)
def test_an_interrupt_keeps_what_was_done(data, more, number):
    """The steps until then are reported, the recording holds them, and the exit code is 130, or 143 by SIGTERM; no rank lives on."""
    words = ["custom", "--data", data, "-O", "batch_size=1", "--epochs", "1000", "--compute", "0.01", *more]
    code, told = _interrupted(words, lambda: _steps() >= 20, number)
    assert code == 128 + number
    assert told["steps"] >= 20
    assert not told["completed"]
    assert set(told["errors"]) == {"interrupted"}
    if "-o" in more:
        trace = Trace.read("t.jsonl")
        assert len({op.step for op in trace if op.step is not None}) >= 20
        assert trace.is_complete


@pytest.mark.parametrize("more", [(), ("--ranks", "2"), ("-o", "t.jsonl")])
def test_an_interrupt_of_ranks_that_still_import_is_one_word(data, more):
    """Each process of a rank gets it as its interpreter starts: it is taken once the rank can say what it has done, and that is nothing."""
    Path("early").mkdir()
    Path("early/sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if any('tracekit.workload.drive' in word for word in sys.orig_argv):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    command = [*RUN, "custom", "--data", data, *more]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "early"}, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert [line for line in done.stderr.splitlines() if "error" in line] == ["tracekit: error: interrupted"]
    assert "Traceback" not in done.stderr
