"""Profiles driven and recorded: they pass against the golden of the framework they imitate, and against no other."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from harness import drive, golden, repeat
from harness.cli import main
from harness.run import Run
from harness.verdict import Outcome
from tracekit.errors import UsageError
from tracekit.metrics import Metrics
from tracekit.trace import Trace

pytestmark = pytest.mark.serial

NAMES = golden.names()
KIB = 1024
# A busy machine may leave a verdict open; what is asked for is that it comes out, not that it does at once.
TURNS = 3


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """Runs a profile with short steps and records it; the trace's path. Each is run once for all tests."""
    folder, made = tmp_path_factory.mktemp("profiles"), {}

    def drive(name, form="recorded", turn=0):
        key = f"{name}-{form}-{turn}"
        if key not in made:
            trace = folder / f"{key}.jsonl"
            command = [
                sys.executable, "-m", "tracekit.cli", "run", name, "--as", form, "--data", str(folder / f"{name}-{form}"),
                "-o", str(trace), "--seed", str(1 + turn), "--compute", "0.002", "--decode", "0.0001",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            made[key] = trace
        return made[key]

    return drive


def _judged(trace, name, mode="profile"):
    return repeat.judge(golden.load(name).standard(), [Run.read(str(trace))], [trace.name], mode)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_passes_against_its_golden(name, driven):
    """What a profile does as recorded is, by every criterion that counts, what the framework itself does."""
    for turn in range(TURNS):
        verdict = _judged(driven(name, turn=turn), name)
        failed = [finding.id for finding in verdict.findings if finding.gates and finding.outcome is Outcome.FAIL]
        assert failed == []
        if verdict.outcome is Outcome.PASS:
            return
    pytest.fail(f"{TURNS} runs of {name} and none was decided")


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_fails_against_the_others(name, driven):
    """The same run fails against the golden of every other framework, and the criteria that fail are named."""
    for other in NAMES:
        if other != name:
            verdict = _judged(driven(name), other)
            named = {finding.id for finding in verdict.findings if finding.gates and finding.outcome is Outcome.FAIL}
            assert verdict.outcome is Outcome.FAIL
            assert named & {"size.mean", "ops.mix"}, (name, other, named)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_five_runs_of_a_profile_pass_and_fail_as_they_should(name, driven):
    """Whatever the seed, no criterion that counts fails against the profile's own golden, and one does against every other."""
    for turn in range(5):
        own = _judged(driven(name, turn=turn), name)
        assert [finding.id for finding in own.findings if finding.gates and finding.outcome is Outcome.FAIL] == []
        others = {other: _judged(driven(name, turn=turn), other).outcome for other in NAMES if other != name}
        assert set(others.values()) == {Outcome.FAIL}, others


def _checked(*words):
    command = [sys.executable, "-m", "harness.cli", "check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_golden_without_a_trace_drives_its_workload(tmp_path):
    """No framework is asked for: the profile is driven, judged in profile mode, kept where asked, and the verdict says how it was made."""
    kept = tmp_path / "kept.jsonl"
    for seed in range(TURNS):
        words = ("--golden", "jax-like", "--data", str(tmp_path / "d"), "-o", str(kept), "--force", "--seed", str(seed))
        code, out, err = _checked(*words, "--json", "-")
        told = json.loads(out)
        assert [row["id"] for row in told["criteria"] if row["gates"] and row["verdict"] in {"FAIL", "ERROR"}] == []
        assert told["mode"] == "profile"
        assert any(
            f"the workload driver made this run (--drive workload, seed {seed})" in note for note in told["notes"]
        )
        assert "driving the workload jax-like" in err
        assert len(_reads(Trace.read(kept))) > 1000
        if code == 0:
            return
    pytest.fail(f"{TURNS} runs and none was decided")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--golden", "jax-like", "--drive", "workloads"), "did you mean 'workload'?"),
        (("--golden", "jax-like", "--drive", "workload", "--python", "p"), "--python runs the recorded program"),
        (("t.jsonl", "--golden", "jax-like", "--drive", "workload"), "--drive makes a run, and there is a TRACE"),
    ],
)
def test_wrong_ways_to_drive_are_one_sentence(words, said, capsys):
    """What does not go together is said, with status 2, before anything runs."""
    assert main(["check", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "driving" not in told


def test_a_golden_of_ones_own_has_no_workload(tmp_path):
    """A copy of a shipped golden under its name is another's golden: what it is recorded from is its own program."""
    own = tmp_path / "torch-like"
    shutil.copytree(golden.find("torch-like"), own)
    loaded = golden.load(str(own))
    assert drive.ways(loaded) == drive.PROGRAM
    assert drive.ways(golden.load("torch-like")) == drive.WORKLOAD
    with pytest.raises(UsageError, match="there is no workload profile torch-like"):
        drive.record_workload(loaded, tmp_path / "d", tmp_path / "o.jsonl")


def _reads(trace):
    return [op for op in trace if op.op == "read"]


def test_torch_like_has_the_seed_s_values(driven):
    """The preset: requests of 128 to 256 KiB, uniform order, and never more than twice as many batches ahead as workers."""
    trace = Trace.read(driven("torch-like", "preset"))
    reads, metrics = _reads(trace), Metrics.of(trace)
    assert all(128 * KIB <= op.len <= 256 * KIB for op in reads)
    assert _evenly_spread([op.len for op in reads], 128 * KIB, 256 * KIB)
    assert {op.worker for op in reads} == {0, 1, 2, 3}
    assert metrics.max_qd <= 4
    assert metrics.peak_inflight <= 4 * 256 * KIB
    # About 1 is random order, 0 the order of names; seven standard deviations of 96 files are 0.5.
    assert metrics.order.first_touch_randomness > 0.5
    _never_too_far_ahead(trace, 8)


def test_imagenet_like_has_the_seed_s_values(driven):
    """The preset: reads of 2 to 6 KB, and an open, a close and a stat for every file."""
    trace = Trace.read(driven("imagenet-like", "preset"))
    reads = _reads(trace)
    assert all(2000 <= op.len <= 6000 for op in reads)
    assert _evenly_spread([op.len for op in reads], 2000, 6000)
    counts = {kind: sum(op.op == kind for op in trace) for kind in ("open", "close", "stat")}
    assert counts == {"open": 768, "close": 768, "stat": 384}
    assert {op.worker for op in reads} == {0, 1, 2, 3}
    _never_too_far_ahead(trace, 8)


def _evenly_spread(lengths, low, high):
    """Whether each quarter of the span has about its share; what is left at a file's end tips it a little."""
    shares = np.histogram(lengths, 4, (low, high))[0] / len(lengths)
    return bool((shares > 0.15).all() and (shares < 0.4).all())


def _never_too_far_ahead(trace, prefetch):
    """Reads for a step begin before it is asked for (overlap), and not before the one `prefetch` earlier is."""
    asked = {mark.step: mark.t for mark in trace.marks if mark.mark == "step"}
    early = sum(op.t_submit < asked[op.step] for op in _reads(trace))
    assert early > 0
    for op in _reads(trace):
        of_epoch = min(step for step in asked if step // (len(asked) // 2) == op.step // (len(asked) // 2))
        if op.step - prefetch >= of_epoch:
            assert op.t_submit >= asked[op.step - prefetch]


@pytest.mark.parametrize(
    ("name", "workers"),
    [
        pytest.param("tf-like", 4, marks=pytest.mark.long),
        pytest.param("jax-like", 2, marks=pytest.mark.long),
        pytest.param("webdataset-like", 4, marks=pytest.mark.long),
    ],
)
def test_the_other_presets_differ_from_the_recordings(name, workers, driven):
    """Streaming presets have the seed's workers and requests; the data is the same to the byte as in the recorded form."""
    preset, recorded = (Trace.read(driven(name, form)) for form in ("preset", "recorded"))
    largest = {"tf-like": 256 * KIB, "webdataset-like": 1024 * KIB, "jax-like": 1024 * KIB}[name]
    sizes = [op.len for op in _reads(preset)]
    assert max(sizes) <= largest
    if name == "webdataset-like":
        # Shards are smaller than a request, or little larger: in order, one for each and what is left.
        assert len(sizes) < 1.5 * sum(op.op == "open" for op in preset)
    else:
        assert sizes.count(largest) >= {"tf-like": len(sizes) // 2, "jax-like": 4}[name]
    if name == "webdataset-like":
        assert {op.worker for op in _reads(preset)} == set(range(workers))
    else:
        # Two threads share the work of each of jax-like's workers: one of them may do it all.
        assert workers <= len({op.tid for op in _reads(preset)} - {_main_thread(preset)}) <= 2 * workers
    bytes_of = {
        form: sum(op.ret for op in _reads(trace)) for form, trace in (("preset", preset), ("recorded", recorded))
    }
    epochs = 2 if name == "tf-like" else 1  # as recorded, four epochs; as preset, two
    assert bytes_of["recorded"] == epochs * bytes_of["preset"]


def _main_thread(trace):
    """The thread that looks at files before the workers start."""
    return next(op.tid for op in trace if op.op == "stat")
