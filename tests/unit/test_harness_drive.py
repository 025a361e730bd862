"""Running a golden's own program: what is there is not lost by a run that fails, and one that does not end is said to be that."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from harness import drive, golden
from harness.cli import main
from tracekit import itself
from tracekit.errors import CannotRunError

MAKES_DATA = """
import argparse, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--data"); parser.add_argument("--seed", type=int); parser.add_argument("--make-only", action="store_true")
args = parser.parse_args()
os.makedirs(args.data, exist_ok=True)
open(f"{args.data}/a", "wb").write(bytes(1000))
if not args.make_only:
    with open(f"{args.data}/a", "rb", buffering=0) as file:
        file.read(500)
"""


@pytest.fixture
def own(tmp_path):
    """Makes a golden's folder with that program."""

    def make(program):
        folder = tmp_path / "own"
        folder.mkdir()
        (folder / "profile.yaml").write_text("title: x\nprogram: program.py\n")
        (folder / "program.py").write_text(program)
        return golden.load(str(folder))

    return make


def test_a_run_that_fails_leaves_the_trace_that_is_there(own, tmp_path):
    """A program that ends with status 3 after it has read: the old file is as it was, and nothing lies beside it."""
    made = own(MAKES_DATA + "    raise SystemExit(3)\n")
    output = tmp_path / "out" / "run.jsonl"
    output.parent.mkdir()
    output.write_text("kept")
    with pytest.raises(CannotRunError, match="ended with status 3"):
        drive.record_program(made, tmp_path / "data", output)
    assert output.read_text() == "kept"
    assert list(output.parent.iterdir()) == [output]


def test_a_run_that_succeeds_replaces_it(own, tmp_path, capfd):
    """The new trace stands under the old name, whole, nothing lies beside it, and no other name was said."""
    output = tmp_path / "out" / "run.jsonl"
    output.parent.mkdir()
    output.write_text("old")
    program = MAKES_DATA + "    print('kept as', os.environ.get('TRACEKIT_KEPT_AS'), file=sys.stderr)\n"
    drive.record_program(own(program), tmp_path / "data", output)
    assert '"read"' in output.read_text()
    assert list(output.parent.iterdir()) == [output]
    said = capfd.readouterr().err
    assert re.search(r"^recorded .* in .*out/run\.jsonl$", said, re.MULTILINE)
    assert ".harness-" not in said
    assert "next:" not in said
    assert "kept as None" in said


def test_a_program_that_does_not_end_is_stopped(own, tmp_path, monkeypatch, capfd):
    """It is one sentence that says after how long and what was run, with status 4, and no traceback."""
    monkeypatch.setattr(drive, "PROGRAM_LIMIT_S", 0.05)
    made = own("import time\ntime.sleep(600)\n")
    assert main(["record-golden", str(made.directory), "-o", str(tmp_path / "runs"), "--repeats", "1"]) == 4
    said = capfd.readouterr().err
    assert "did not end within 0.05 s and was stopped" in said
    assert "program.py" in said
    assert "Traceback" not in said


def test_a_recorded_program_that_does_not_end_is_not_left_behind(own, tmp_path, monkeypatch):
    """When the time is over the program ends with its recorder, and nothing of the run is left."""
    place = tmp_path / "pid"
    made = own(f"{MAKES_DATA}    open({str(place)!r}, 'w').write(f'{{os.getpid()}} ')\n    time.sleep(600)\n")
    waited = subprocess.Popen.wait

    def wait(process, timeout=None):
        """The time is over as soon as the recorded program runs."""
        if "record" in process.args and timeout == drive.PROGRAM_LIMIT_S:
            while not (place.exists() and place.read_text().endswith(" ")) and process.poll() is None:
                time.sleep(0.01)
            raise subprocess.TimeoutExpired(process.args, timeout)
        return waited(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(CannotRunError, match="was stopped"):
        drive.record_program(made, tmp_path / "data", tmp_path / "out" / "run.jsonl")
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)
    assert list((tmp_path / "out").iterdir()) == []


SPEAKS = "import sys, time; print('rank 0 ended without a result', file=sys.stderr, flush=True); {}"


def _driven_by(monkeypatch, what):
    """Have a program that speaks stand for the workload driver."""
    monkeypatch.setattr(itself, "command", lambda _module: [sys.executable, "-c", SPEAKS.format(what)])
    return golden.load("torch-like")


def test_what_a_failed_workload_said_is_passed_on(tmp_path, monkeypatch, capsys):
    """Its message stands above the error that says so."""
    made = _driven_by(monkeypatch, "sys.exit(4)")
    with pytest.raises(CannotRunError, match="ended with status 4; see its message above"):
        drive.record_workload(made, tmp_path / "data", tmp_path / "out" / "run.jsonl")
    assert capsys.readouterr().err == "rank 0 ended without a result\n"


def test_an_interrupted_workload_is_not_heard(tmp_path, monkeypatch, capfd):
    """Ctrl-C ends the workload too, at whatever it is at: it ends, what it says of that is left out, and nothing is left."""
    place = tmp_path / "pid"
    made = _driven_by(monkeypatch, f"import os; open({str(place)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(600)")
    waited = subprocess.Popen.wait

    def wait(process, timeout=None):
        """The key is pressed as soon as the program has spoken."""
        if timeout == drive.PROGRAM_LIMIT_S:
            while not (place.exists() and place.read_text().endswith(" ")) and process.poll() is None:
                time.sleep(0.01)
            raise KeyboardInterrupt
        return waited(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        drive.record_workload(made, tmp_path / "data", tmp_path / "out" / "run.jsonl")
    assert capfd.readouterr().err == ""
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


@contextmanager
def _heard(number):
    """Let what is started here be ended by a signal, also where whoever runs the tests ignores it (nohup)."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_leaves_nothing(own, tmp_path, number):
    """What it had started ends with it, and no temporary folder stays, beside the output or where such folders are made."""
    place, output, scratch = (tmp_path / name for name in ("pid", "out", "tmp"))
    scratch.mkdir()
    made = own(f"{MAKES_DATA}    open({str(place)!r}, 'w').write(f'{{os.getpid()}} ')\n    time.sleep(600)\n")
    command = [
        *itself.command("harness.cli"),
        "record-golden",
        str(made.directory),
        "-o",
        str(output),
        "--repeats",
        "1",
    ]
    with (
        _heard(number),
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(scratch)}
        ) as process,
    ):
        while not (place.exists() and place.read_text().endswith(" ")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "harness: error: interrupted" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)
    assert list(output.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_an_interpreter_that_never_answers_is_said(own, tmp_path, monkeypatch, capsys):
    """One that is asked for packages and hangs is stopped: one sentence, status 4."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr(drive, "ASK_LIMIT_S", 0.05)
    made = own(MAKES_DATA)
    runs = str(tmp_path / "runs")
    assert main(["record-golden", str(made.directory), "-o", runs, "--repeats", "1", "--python", str(slow)]) == 4
    said = capsys.readouterr().err
    assert f"{slow} did not say within 0.05 s what it can import" in said
    assert "Traceback" not in said
