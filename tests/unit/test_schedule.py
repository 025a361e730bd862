"""Checkpoints within runs: when they are due, who writes what, reading them back, and what is said of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.cli import main
from tracekit.trace import Trace
from tracekit.uri import file_uri
from tracekit.workload import drive, report
from tracekit.workload.dataset import create_dataset
from tracekit.workload.drive import Listing, Plan, Result
from tracekit.workload.job import Checkpoint, DataSet, Job, Train
from tracekit.workload.options import LoaderOptions
from tracekit.workload.rendezvous import LeftError
from tracekit.workload.schedule import Saver, places, places_of
from tracekit.workload.standing import Board


def dlio_s_places(checkpoint, epochs, steps, total):
    """The loops of dlio_benchmark/main.py 2.0.0, with nothing but their conditions; steps in all are ours, DLIO's are per epoch."""
    found, done = [], 0
    between = -1 if checkpoint.every_steps is None else checkpoint.every_steps
    next_epoch = checkpoint.first_epoch
    for epoch in range(1, epochs + 1):
        next_step, step = between, 1
        if done == total:
            break
        while True:
            done += 1
            if between >= 0 and step == next_step:
                found.append((epoch, step))
                next_step += between
            if step >= steps or done == total:
                break
            step += 1
        if between < 0 and epoch == next_epoch:
            found.append((epoch, step))
            next_epoch += checkpoint.every_epochs
    return found


@given(
    st.integers(1, 4),
    st.integers(0, 3),
    st.none() | st.integers(1, 7),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 40),
)
def test_checkpoints_are_due_when_dlio_writes_them(first, every, by_steps, epochs, steps, total):
    """After every so many steps of an epoch, or after the first epoch said and every so many from there, as DLIO's own loops do."""
    checkpoint = Checkpoint("c", first, every, by_steps)
    assert places(checkpoint, epochs, steps, total) == dlio_s_places(checkpoint, epochs, steps, total)


def test_no_more_are_written_than_asked_for():
    """`num_checkpoints_write` is the most of a run."""
    checkpoint = Checkpoint("c", every_steps=2, settings={"num_checkpoints_write": 3})
    assert places(checkpoint, 2, 5) == [(1, 2), (1, 4), (2, 2)]
    assert places(Checkpoint("c", settings={"num_checkpoints_write": 0}), 2, 5) == []


@pytest.mark.parametrize(("drop", "steps"), [(True, 1), (False, 2)])
def test_only_steps_that_all_ranks_have_count(drop, steps):
    """Of nineteen samples for three ranks in batches of four, one rank has a sample more; no checkpoint waits for its last step."""
    job = Job(
        "j", DataSet("d"), LoaderOptions(batch_size=4, drop_last=drop), Train(epochs=2, batch_size=4),
        checkpoint=Checkpoint("c", every_steps=1),
    )  # fmt: skip
    assert places_of(job, 19, 3) == [(epoch, step) for epoch in (1, 2) for step in range(1, steps + 1)]
    assert places_of(job, 19, 3, max_steps=1) == [(1, 1)]


@pytest.fixture
def data(tmp_path):
    """Twelve files of 500 bytes."""
    (tmp_path / "data").mkdir()
    for index in range(12):
        (tmp_path / "data" / f"{index:02d}").write_bytes(bytes(500))
    return str(tmp_path / "data")


def _plan(data, to, *, rank=0, ranks=1, max_steps=None, per_host=0, every_steps=None, **settings):
    checkpoint = Checkpoint(to, 2, 1, every_steps, {"model": {"model_size_bytes": 70_000}, **settings})
    job = Job("j", DataSet(data), LoaderOptions(batch_size=4), Train(epochs=3, batch_size=4), checkpoint=checkpoint)
    listing = Listing.of(data, create_dataset(data))
    return Plan(job, listing, max_steps=max_steps, rank=rank, ranks=ranks, per_host=per_host)


def _names(folder):
    return sorted(path.parent.name for path in Path(folder).rglob("*.pt"))


def test_a_run_writes_them_between_its_steps(data, tmp_path):
    """After epochs 2 and 3, or after every second step of each epoch; each is there when the next step is asked for."""
    by_epochs = drive.run(_plan(data, str(tmp_path / "e")))
    assert [one.place for one in by_epochs.moved] == [(2, 3), (3, 3)]
    assert _names(tmp_path / "e") == ["global_epoch2_step3", "global_epoch3_step3"]
    plan = _plan(data, file_uri(tmp_path / "s"), every_steps=2, max_steps=8)
    board = Board("", plan.job)
    saver = drive._saver(plan, lambda: None, [], board)
    seen = [_names(tmp_path / "s") for _ in drive._rows(plan, saver, board)]
    assert [len(names) for names in seen] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert len(_names(tmp_path / "s")) == 3


def test_they_are_read_back_at_the_end(data, tmp_path):
    """The last `num_checkpoints_read` are read and verified; a byte that changed ends the run as bad input with its place."""
    result = drive.run(_plan(data, str(tmp_path / "c"), every_steps=1, num_checkpoints_read=2))
    assert [one.place for one in result.moved if one.what == "read"] == [(3, 2), (3, 3)]
    met = []

    def spoil():
        met.append(len(_names(tmp_path / "d")))
        (tmp_path / "d" / "global_epoch3_step3" / "model_states-0.pt").write_bytes(bytes(70_000))

    spoilt = drive.run(_plan(data, str(tmp_path / "d"), num_checkpoints_read=1), spoil)
    assert met == [2]  # all is written before any is read
    assert spoilt.exit_code == 2
    assert "does not hold at byte 0 what was written" in spoilt.error
    assert len(spoilt.rows) == 9


def test_ranks_meet_and_read_what_another_host_wrote(tmp_path):
    """With rank_sync all wait after each; with recovery_rank_shift a rank reads what one of the next host wrote."""
    settings = {"model": {"model_size_bytes": 900}, "type": "all_ranks", "rank_sync": True, "recovery_rank_shift": True, "num_checkpoints_read": 1}  # fmt: skip
    checkpoint = Checkpoint(str(tmp_path / "c"), settings=settings)
    met, savers = [], []
    for rank in range(4):
        savers.append(Saver(checkpoint, rank, 4, [(1, 5)], lambda rank=rank: met.append(rank), [], 2))
        savers[-1].after_epoch(1)
    assert met == [0, 1, 2, 3]
    for saver in savers:
        saver.recover()
    assert [saver.moved[1].rank for saver in savers] == [2, 3, 0, 1]
    assert met[4:] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_rank_that_is_left_alone_says_so(data, tmp_path):
    """Where another ended early, a meeting ends the run of this one, which is not its cause."""

    def left():
        raise LeftError(0)

    result = drive.run(_plan(data, str(tmp_path / "c"), every_steps=2, rank_sync=True), left)
    assert (result.left, result.exit_code, len(result.moved)) == (True, 4, 1)
    assert "rank 0 was waiting for the others" in result.error


def test_the_report_adds_up_ranks_and_takes_the_slowest(data, tmp_path):
    """A checkpoint of two ranks has the bytes of both and the time of the slower one; CSV has a line for each rank's part."""
    plans = [_plan(data, str(tmp_path / "c"), rank=rank, ranks=2, type="all_ranks") for rank in range(2)]
    results = [drive.run(plan) for plan in plans]
    for result, seconds in zip(results, (0.25, 0.5), strict=True):
        for one in result.moved:
            object.__setattr__(one, "seconds", seconds)
    told = report.report(plans, results)["checkpoints"]
    each = [(one["what"], one["epoch"], one["step"], one["bytes"], one["seconds"]) for one in told["each"]]
    assert each == [("write", 2, 2, 140_000, 0.5), ("write", 3, 2, 140_000, 0.5)]
    assert told["write"]["mb_per_s"] == pytest.approx(0.28)
    assert (told["write"]["checkpoints"], told["read"]["checkpoints"]) == (2, 0)
    lines = report.table(results).splitlines()
    assert sum(line.startswith("1,checkpoint,") for line in lines) == 2
    assert "0,checkpoint,1,1,0.250000000,0.000000000,0.000000000,0.000000000,0,70000" in lines
    assert report.report([_plan(data, "x")], [Result(0)])["checkpoints"]["each"] == []


def _dlio(tmp_path, **more):
    keys = {
        "dataset.data_folder": tmp_path / "data", "dataset.num_files_train": 12, "dataset.record_length_bytes": 500, "reader.batch_size": 2,
        "dataset.format": "npy", "dataset.num_samples_per_file": 1, "workflow.checkpoint": True, "model.model_size_bytes": 50_000, "train.epochs": 2, "reader.read_threads": 1,
        "train.computation_time": 0, **more,
    }  # fmt: skip
    return [f"++{key}={value}" for key, value in keys.items()]


def test_a_recorded_run_shows_its_checkpoints(tmp_path):
    """Two ranks, a checkpoint after every second step: in the trace as writes and marks of both, in the report as JSON."""
    words = _dlio(
        tmp_path, **{"checkpoint.steps_between_checkpoints": 2, "checkpoint.type": "all_ranks", "checkpoint.num_checkpoints_read": 1,
                     "checkpoint.rank_sync": True, "checkpoint.recovery_rank_shift": True},
    )  # fmt: skip
    assert main(["generate", "minimal", "-q", *words]) == 0
    run = [
        sys.executable,
        "-m",
        "tracekit",
        "run",
        "minimal",
        "-q",
        "--ranks",
        "2",
        "--ranks-per-host",
        "1",
        "--checkpoint",
        "ck",
    ]
    done = subprocess.run(
        [*run, "-o", "t.jsonl", "--format", "json", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["checkpoints"]
    assert [(one["what"], one["epoch"], one["step"], one["files"]) for one in told["each"]] == [
        ("write", 1, 2, 2), ("write", 2, 2, 2), ("read", 2, 2, 2),
    ]  # fmt: skip
    trace = Trace.read("t.jsonl")
    moved = [op for op in trace if "/ck/" in op.uri]
    assert sum(op.ret for op in moved if op.op == "write") == 4 * 50_000
    assert not any(op.err == "ENOENT" for op in moved)
    reads = {(op.rank, Path(op.uri).name) for op in moved if op.op == "read" and op.ret}
    assert reads == {(0, "model_states-1.pt"), (1, "model_states-0.pt")}
    assert sorted(mark.step for mark in trace.marks if mark.mark == "checkpoint") == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "c", "++workflow.checkpoint=False"], "minimal writes no checkpoints (workflow.checkpoint is off)"),
        (["++model.num_layers=2", "++model.parallelism.tensor=2"], "1 ranks do not hold a model of 2 parts"),
        (["++model.model_size_bytes=1000000000000000000"], "free"),
        (["--ranks-per-host", "-1"], "--ranks-per-host is -1; write 0 or more"),
    ],
)  # fmt: skip
def test_checkpoints_that_cannot_be_are_refused_before_the_first_step(tmp_path, words, said, capsys):
    """One sentence, exit 2, nothing written."""
    assert main(["generate", "minimal", "-q", *_dlio(tmp_path)]) == 0
    options = [word for word in words if not word.startswith("++")]
    capsys.readouterr()
    assert main(["run", "minimal", *options, *_dlio(tmp_path), *[word for word in words if word.startswith("++")]]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().rglob("*.pt"))
