"""The first golden, the recorder and the replayer together, on a real PyTorch DataLoader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import golden

pytest.importorskip("torch", reason="the golden's program is a PyTorch job")
pytestmark = pytest.mark.torch

PROGRAM = Path(golden.__file__).parent / "torch-like" / "program.py"


def run(*words, cwd=None):
    """A command to its end, whatever its status."""
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=600, cwd=cwd, env=environment
    )


def tracekit(*words):
    """`tracekit …`, which must not fail."""
    done = run("-m", "tracekit.cli", *words)
    assert done.returncode in {0, 3}, done.stderr
    return done


def check(*words):
    """`harness check …`: exit status and summary."""
    done = run("-m", "harness.cli", "check", *words, "--json", "-")
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def failed(summary):
    """The gating criteria that failed."""
    return {row["id"] for row in summary["criteria"] if row["gates"] and row["verdict"] == "FAIL"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data set of the golden's program."""
    directory = tmp_path_factory.mktemp("golden") / "data"
    assert run(PROGRAM, "--data", directory, "--make-only").returncode == 0
    return directory


@pytest.fixture(scope="module")
def record(data):
    """Records the golden's program with some options; gives the trace's path."""

    def recorded(name, *options):
        trace = data.parent / f"{name}.jsonl"
        if not trace.exists():
            tracekit(
                "record", "-o", trace, "--include", f"{data}/*", "--", sys.executable, PROGRAM, "--data", data, *options
            )
        return trace

    return recorded


@pytest.mark.parametrize("seed", [101, 102, 103, 104, 105])
def test_a_repeat_of_the_job_never_fails(record, seed):
    """The same job with another seed: not FAIL, and on intent criteria PASS."""
    status, summary = check(record(f"repeat{seed}", "--seed", seed), "--golden", "torch-like")
    assert failed(summary) == set()
    assert (status, summary["verdict"]) == (0, "PASS")


@pytest.mark.parametrize(
    ("name", "options", "criterion"),
    [
        ("batch", ("--batch-size", "32"), "step.bytes"),
        ("order", ("--no-shuffle",), "order.first-touch"),
        ("workers", ("--workers", "3"), "streams.workers"),
    ],
)
def test_another_job_fails_by_name(record, name, options, criterion):
    """Another batch size, no shuffle, another number of workers: each fails, and the criterion is named."""
    status, summary = check(record(name, "--seed", "7", *options), "--golden", "torch-like")
    assert status == 1
    assert criterion in failed(summary)


def test_spawned_workers_are_the_same_job(record):
    """How workers are started changes nothing that is asked of the storage."""
    assert check(record("spawn", "--start-method", "spawn"), "--golden", "torch-like")[0] == 0


@pytest.mark.serial
@pytest.mark.parametrize("time", range(3))
def test_a_faithful_replay_passes(record, time, tmp_path):
    """Recorded pace, judged op by op: PASS, sizes, bytes per step and throughput within ±10 %."""
    recording = record("repeat101", "--seed", "101")
    tracekit("replay", recording, "-o", tmp_path / "again.jsonl", "--pace", "recorded")
    status, summary = check(tmp_path / "again.jsonl", "--golden", recording)
    assert failed(summary) == set()
    assert status == 0
    effects = {row["id"]: row["effect"] for row in summary["criteria"]}
    assert all(0.9 <= effects[name] <= 1.1 for name in ("size.mean", "step.bytes", "throughput", "time.duration"))


@pytest.mark.serial
@pytest.mark.parametrize(
    ("options", "criterion"),
    [
        (("--speed", "2"), "time.duration"),
        (("--pace", "asap"), "time.duration"),
        (("--max-inflight", "1"), "depth.cap"),
    ],
)
def test_an_unfaithful_replay_fails_by_name(record, options, criterion, tmp_path):
    """Twice the speed, as fast as possible, half the concurrency: each fails, and the criterion is named."""
    recording = record("repeat101", "--seed", "101")
    tracekit("replay", recording, "-o", tmp_path / "bad.jsonl", *options)
    status, summary = check(tmp_path / "bad.jsonl", "--golden", recording)
    assert status == 1
    assert criterion in failed(summary)


@pytest.mark.parametrize(("edit", "criterion"), [("halved_sizes", "size.match"), ("shuffled", "order.stream")])
def test_an_edited_recording_replayed_fails_by_name(record, edit, criterion, tmp_path):
    """Sizes halved, order shuffled, then really replayed: each fails, and the criterion is named."""
    from harness import mutations
    from tracekit import formats

    recording = record("repeat101", "--seed", "101")
    formats.save(getattr(mutations, edit)(formats.load(recording)), tmp_path / "edited.jsonl")
    tracekit("replay", tmp_path / "edited.jsonl", "-o", tmp_path / "bad.jsonl")
    status, summary = check(tmp_path / "bad.jsonl", "--golden", recording)
    assert status == 1
    assert criterion in failed(summary)


def test_a_golden_runs_its_own_program_here(data, tmp_path):
    """Where it is asked for, the golden's program is recorded and judged; the trace can be kept."""
    kept = tmp_path / "own.jsonl"
    status, summary = check(
        "--golden", "torch-like", "--drive", "recorded-program", "--data", data, "-o", kept, "--seed", "5"
    )
    assert (status, summary["verdict"]) == (0, "PASS")
    assert kept.exists()


@pytest.mark.serial
def test_the_demonstration_comes_out_as_it_should(tmp_path):
    """It records, replays, passes the good replay, fails the hasty one by name, and leaves traces and summaries."""
    done = run("-m", "harness.cli", "demo", "--dir", tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nPASS  faithful.jsonl against train.jsonl" in done.stdout
    assert "\nFAIL  time.duration: it runs faster" in done.stdout
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == [
        "demo_train.py",
        "faithful.jsonl",
        "faithful.summary.json",
        "hasty.jsonl",
        "hasty.summary.json",
        "train.jsonl",
    ]
