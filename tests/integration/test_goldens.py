"""The goldens that are shipped: whole, small, without traces of a machine, told apart, and what their programs do here today."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import alarms, golden, specimen
from harness.verdict import Outcome

NAMES = golden.names()
# Where `make .goldens` installs the frameworks that need an environment of their own.
PEERS = Path(sys.prefix) / "peers"
FRAMEWORKS = {"tf-like": "tensorflow", "jax-like": "jax"}
# torch-like's program is recorded and judged in test_harness_torch.
LIVE = [name for name in NAMES if name != "torch-like"]


def harness(*words):
    """`harness …` to its end."""
    command = [sys.executable, "-m", "harness.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=840, check=False)


@pytest.fixture(scope="module")
def goldens():
    """All of them, loaded."""
    return {name: golden.load(name) for name in NAMES}


def test_there_are_five():
    """One for each kind of loader."""
    assert NAMES == ["imagenet-like", "jax-like", "tf-like", "torch-like", "webdataset-like"]


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_is_whole_and_small(name, goldens):
    """Ten runs or more by the native recorder, a specimen, what it models and where that comes from; below 1 MB, no place of a machine."""
    loaded = goldens[name]
    files = [path for path in loaded.directory.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_000_000
    assert len(loaded.envelope.runs) >= 10
    assert {run.engine for run in loaded.envelope.runs} == {"native"}
    assert {"title", "models", "dataset", "reads", "loader", "program", "needs", "install", "regime", "sources"} <= set(
        loaded.profile
    )
    told = (loaded.directory / golden.ENVELOPE).read_text() + str(specimen.load(loaded).header)
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|usr)/", told)


@pytest.mark.parametrize("name", NAMES)
def test_the_specimen_is_a_run_of_it(name, goldens):
    """The trace that is kept for edits is not failed by the golden, has steps, and lies in /data."""
    loaded = goldens[name]
    trace = specimen.load(loaded)
    assert all(uri.startswith("file:///data") for uri in trace.uris)
    assert any(mark.mark == "step" for mark in trace.marks)
    assert len(trace) > 800


@pytest.mark.parametrize("name", NAMES)
def test_own_runs_are_never_failed(name, goldens):
    """Each run against the others, and random splits: no FAIL."""
    tally = alarms.of_own_runs(goldens[name].standard(), 20, 1)
    assert tally.outcomes[Outcome.FAIL] == 0, tally.named


def test_each_golden_fails_the_runs_of_the_others(goldens):
    """All five against the other four, a few runs each: FAIL, with names."""
    for mine in NAMES:
        for theirs in NAMES:
            if mine != theirs:
                runs = goldens[theirs].envelope.runs[:2]
                tally = alarms.of_fresh_runs(goldens[mine].standard(), runs)
                assert (mine, theirs, tally.outcomes[Outcome.FAIL]) == (mine, theirs, len(runs))
                assert tally.named


@pytest.mark.serial
@pytest.mark.parametrize("name", LIVE)
def test_its_program_does_here_what_it_did_there(name, tmp_path, goldens):
    """The golden's own program, recorded on this machine with another seed: nothing that counts fails."""
    python = PEERS / FRAMEWORKS[name] / "bin" / "python" if name in FRAMEWORKS else Path(sys.executable)
    if not python.exists():
        pytest.skip(f"{FRAMEWORKS[name]} could not be installed (make .goldens)")
    needs = goldens[name].profile["needs"]
    if name not in FRAMEWORKS and any(importlib.util.find_spec(package) is None for package in needs):
        pytest.skip(f"needs {needs}")
    done = harness(
        "check",
        "--golden",
        name,
        "--drive",
        "recorded-program",
        "--python",
        python,
        "--data",
        tmp_path / "data",
        "--seed",
        77,
        "--json",
        "-",
    )
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert [row["id"] for row in summary["criteria"] if row["gates"] and row["verdict"] in {"FAIL", "ERROR"}] == []


def test_a_missing_framework_is_said_in_one_sentence(tmp_path):
    """What is missing, and how it is installed; status 4, and no data set is made."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "profile.yaml").write_text(
        "title: x\nprogram: program.py\nneeds: [os, no_such_package]\ninstall: pip install such\n"
    )
    (own / "program.py").write_text("raise SystemExit(1)\n")
    done = harness("record-golden", own, "-o", tmp_path / "runs")
    assert done.returncode == 4
    assert "needs no_such_package, which is not installed here; pip install such" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    other = harness("record-golden", own, "--python", tmp_path / "python", "-o", tmp_path / "runs")
    assert (other.returncode, "cannot be started" in other.stderr) == (4, True)


PROGRAM = """
import argparse, os, sys
sys.path += [place for place in [os.environ.get("TRACEKIT_MARKS")] if place]
import tracekit
parser = argparse.ArgumentParser()
parser.add_argument("--data"); parser.add_argument("--seed", type=int); parser.add_argument("--make-only", action="store_true")
args = parser.parse_args()
os.makedirs(args.data, exist_ok=True)
for index in range(8):
    open(f"{args.data}/{index}", "wb").write(bytes(4000 + index))
if not args.make_only:
    for step in tracekit.step(range(16)):
        with open(f"{args.data}/{(step * 5 + args.seed) % 8}", "rb", buffering=0) as file:
            file.read(3000)
            file.read(1000)
"""


def test_a_program_is_recorded_again_and_again(tmp_path):
    """Runs with seeds of their own, by an interpreter that has no tracekit; those that are there are kept; one becomes the specimen."""
    own, runs = tmp_path / "own", tmp_path / "runs"
    own.mkdir()
    (own / "profile.yaml").write_text("title: x\nprogram: program.py\n")
    (own / "program.py").write_text(PROGRAM)
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    words = ("record-golden", own, "-o", runs, "--python", bare / "bin" / "python", "--specimen")
    assert harness(*words, "--repeats", 2).returncode == 0
    times = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    done = harness(*words, "--repeats", 3)
    assert "1 run recorded, 2 already there" in done.stdout, done.stderr
    assert sorted(path.name for path in runs.iterdir()) == ["run001.jsonl", "run002.jsonl", "run003.jsonl"]
    assert times == {name: (runs / name).stat().st_mtime_ns for name in times}
    trace = specimen.load(golden.load(str(own)))
    assert sum(mark.mark == "step" for mark in trace.marks) == 16
    assert {uri.rpartition("/")[0] for uri in trace.uris} == {"file:///data"}


@pytest.mark.long
def test_one_command_records_goldens_again(tmp_path, repository):
    """The script records five runs and a specimen and blesses the golden, and again the next revision; a missing program is said at the end."""
    own, bad = tmp_path / "own-like", tmp_path / "bad-like"
    for folder in (own, bad):
        folder.mkdir()
        (folder / "profile.yaml").write_text("title: x\nprogram: program.py\n")
    (own / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"VENV": sys.prefix}
    script = ["sh", str(repository / "golden/record-all.sh"), "recorded in a test", "5", str(bad), str(own)]
    for revision in (1, 2):
        made = environment | {"RUNS": str(tmp_path / f"runs{revision}")}
        done = subprocess.run(script, env=made, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 1
        assert "not recorded or not blessed: bad-like;" in done.stderr
        found = golden.load(str(own))
        assert (found.revision, len(found.envelope.runs)) == (revision, 5), done.stderr
        assert specimen.load(found) is not None


@pytest.mark.parametrize("words", [("--repeats", "0"), ("--checks", "0")])
def test_numbers_that_are_none_are_refused(words, tmp_path):
    """No repeats, no checks: one sentence, status 2."""
    verb = ["record-golden", "torch-like", "-o", str(tmp_path)] if words[0] == "--repeats" else ["selftest"]
    done = harness(*verb, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_selftest_in_short(tmp_path):
    """One golden, few checks, edits at twice the tolerance: all targets are met, the blind spots have names, the JSON says it all."""
    done = harness("selftest", "--golden", "tf-like", "--quick", "--checks", "24", "--json", tmp_path / "rates.json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "rates.json").read_text())
    assert all(target["met"] for target in report["targets"])
    assert report["true_repeats"]["all"]["FAIL"]["count"] == 0
    assert report["detection"]["2"]["trials"] + report["in_steps"]["2"]["trials"] > 20
    assert {spot["edit"] for spot in report["blind_spots"]} >= {"service times doubled", "slower"}
    assert "MISSED" not in done.stdout


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_selftest_whole(tmp_path):
    """All goldens, 300 true-repeat checks and the whole catalogue: every target is met."""
    done = harness_for_long("selftest", "--json", tmp_path / "rates.json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "rates.json").read_text())
    assert report["true_repeats"]["all"]["trials"] >= 300
    assert len(report["goldens"]) == 5


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.timeout(7200)
def test_fresh_repeats_of_every_golden_never_fail(tmp_path):
    """Sixty fresh recordings of every golden whose framework is here, judged one by one: 300 where all five are."""
    recorded = 0
    for name in NAMES:
        python = PEERS / FRAMEWORKS[name] / "bin" / "python" if name in FRAMEWORKS else Path(sys.executable)
        if not python.exists():
            continue
        words = (
            "record-golden",
            name,
            "-o",
            tmp_path / name,
            "--repeats",
            60,
            "--first-seed",
            1001,
            "--python",
            python,
        )
        assert harness_for_long(*words).returncode == 0
        recorded += 60
    assert recorded
    done = harness_for_long(
        "selftest", "--traces", tmp_path, "--edited", 0, "--quick", "--json", tmp_path / "rates.json"
    )
    report = json.loads((tmp_path / "rates.json").read_text())
    fresh = report["fresh_runs"]["all"]
    assert (fresh["trials"], fresh["FAIL"]["count"]) == (recorded, 0), fresh["failed"]
    assert done.returncode == 0, done.stdout


def harness_for_long(*words):
    """`harness …` without a limit of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, words)], capture_output=True, text=True, check=False
    )
