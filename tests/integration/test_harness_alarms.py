"""False alarms: faithful replays of short and of long programs, again and again, on whatever this machine does besides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import golden

pytestmark = pytest.mark.serial

READER = """
import sys, threading
def read(names):
    for name in names:
        with open(name, "rb", buffering=0) as file:
            while file.read(40_000):
                pass
threads = [threading.Thread(target=read, args=(sys.argv[1 + k::2],)) for k in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
PROGRAM = Path(golden.__file__).parent / "torch-like" / "program.py"


def run(*words):
    """A command to its end, whatever its status."""
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=600, check=False)


def verdict(trace, against):
    """The summary of `harness check`."""
    done = run("-m", "harness.cli", "check", trace, "--golden", against, "--json", "-")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def wrong(summary):
    """The criteria that failed, or made the trace invalid."""
    return [
        (row["id"], row["reason"])
        for row in summary["criteria"]
        if row["gates"] and row["verdict"] in {"FAIL", "ERROR"}
    ]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A recording of two threads that read twenty files as fast as they can: a few hundred ops in some tens of ms."""
    directory = tmp_path_factory.mktemp("short")
    files = [directory / f"file{index}" for index in range(20)]
    for file in files:
        file.write_bytes(os.urandom(300_000))
    program, trace = directory / "reader.py", directory / "short.jsonl"
    program.write_text(READER)
    done = run(
        "-m",
        "tracekit.cli",
        "record",
        "-o",
        trace,
        "--include",
        f"{directory}/file*",
        "--",
        sys.executable,
        program,
        *files,
    )
    assert done.returncode == 0, done.stderr
    return trace


@pytest.mark.parametrize("times", range(4))
def test_a_replay_of_a_short_program_never_fails(short, times, tmp_path):
    """A few hundred ops in some tens of ms, replayed again and again: never FAIL, if not always long enough to PASS."""
    again = tmp_path / f"again{times}.jsonl"
    done = run("-m", "tracekit.cli", "replay", short, "-o", again)
    assert done.returncode in {0, 3}, done.stderr
    assert wrong(verdict(again, short)) == []


@pytest.mark.parametrize("options", [("--loop", "3"), ("--select", "op=read"), ("--pace", "think")])
def test_a_replay_with_options_is_held_against_what_it_was_asked_for(short, options, tmp_path):
    """Whatever a replay was asked to issue, doing so is no FAIL."""
    again = tmp_path / "again.jsonl"
    done = run("-m", "tracekit.cli", "replay", short, "-o", again, *options)
    assert done.returncode in {0, 3}, done.stderr
    assert wrong(verdict(again, short)) == []


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.timeout(1800)
def test_thirty_repeats_and_their_replays_never_fail(tmp_path):
    """Thirty recordings of torch-like's program against the golden, and their replays against them; every third on taken cores."""
    pytest.importorskip("torch", reason="the golden's program is a PyTorch job")
    data = tmp_path / "data"
    assert run(PROGRAM, "--data", data, "--make-only").returncode == 0
    outcomes = []
    for number in range(30):
        burners = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 if number % 3 == 0 else 0)
        ]
        try:
            trace, again = tmp_path / f"run{number}.jsonl", tmp_path / f"again{number}.jsonl"
            program = (sys.executable, PROGRAM, "--data", data, "--seed", 1000 + number)
            assert (
                run("-m", "tracekit.cli", "record", "-o", trace, "--include", f"{data}/*", "--", *program).returncode
                == 0
            )
            assert run("-m", "tracekit.cli", "replay", trace, "-o", again).returncode in {0, 3}
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        repeat, paired = verdict(trace, "torch-like"), verdict(again, trace)
        assert (number, wrong(repeat), wrong(paired)) == (number, [], [])
        outcomes += [repeat["verdict"], paired["verdict"]]
        trace.unlink()
        again.unlink()
    assert outcomes.count("PASS") >= 50, outcomes
