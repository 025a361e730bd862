"""How far a rank is: written by it after each step, read by whoever asks, added up over ranks."""

import pytest

from tracekit import progress
from tracekit.verbs import run_progress
from tracekit.workload import standing
from tracekit.workload.drive import Listing, Plan, Row
from tracekit.workload.job import Checkpoint, DataSet, Job, Train
from tracekit.workload.standing import Board, Standing

JOB = Job("j", DataSet("d"), train=Train(epochs=2, batch_size=2))


def row(epoch, wait_s=1.0, compute_s=3.0):
    """A step of training."""
    return Row("train", epoch, wait_s, 0.0, 0.0, compute_s, 2, 100)


def test_what_is_written_is_read(tmp_path):
    """After each step its sums are in the file; the first step of each epoch does not count for utilisation."""
    path = str(tmp_path / "s")
    assert standing.read(path) == Standing()
    board = Board(path, JOB)
    assert standing.read(path) == Standing()
    board.trained(row(0, wait_s=50.0))
    assert standing.read(path).utilisation is None
    board.trained(row(0))
    board.trained(row(1, wait_s=50.0))
    board.trained(row(1, wait_s=0.0))
    assert standing.read(path) == Standing(2, 0, 4, 400, 7_000_000_000, 6_000_000_000)
    board.evaluated()
    board.moved(1, 77)
    assert (standing.read(path).evaluating, standing.read(path).checkpoint_bytes) == (1, 77)
    board.trained(row(2))
    assert standing.read(path).evaluating == 0


def test_half_a_file_is_nothing(tmp_path):
    """Where a rank has just made its file, or nobody looks, nothing is known and nothing fails."""
    (tmp_path / "s").write_bytes(b"123")
    assert standing.read(str(tmp_path / "s")) == Standing()
    Board("", JOB).trained(row(0))


def test_ranks_are_added_up():
    """Sums of all, the epoch of who is behind; one that has not begun is not behind."""
    both = Standing(2, 0, 10, 1000, 8, 6) + Standing(1, 1, 5, 500, 2, 1, 7) + Standing()
    assert both == Standing(1, 1, 15, 1500, 10, 7, 7)
    assert both.utilisation == pytest.approx(0.7)


def _heard(plan, now):
    steps = []
    with progress.heard_by(steps.append):
        run_progress.tell(plan, now, run_progress.Rate())
    return steps[0]


def test_training_is_told_by_steps():
    """Steps of all there are to be, the epoch, and the utilisation so far; a rate once two moments are known."""
    plan = Plan(JOB, Listing("d", list("abcdefgh"), [50] * 8), ranks=2, max_steps=3)
    told = _heard(plan, Standing(1, 1, 4, 6_000_000, 10, 9))
    assert (told.label, told.done, told.total, told.unit) == ("j", 4, 6, "steps")
    assert list(told.notes) == ["epoch 1/2, evaluation", "", "AU 90%"]


def test_a_rate_begins_with_the_first_bytes():
    """What was there when bytes were first seen, and the time before, do not count."""
    rate = run_progress.Rate()
    assert [rate.at(*point) for point in ((1.0, 0), (3.0, 100), (3.5, 200), (5.0, 500))] == [None, None, 200.0, 200.0]


def test_checkpoints_alone_are_told_by_bytes():
    """Of a job that only writes and reads checkpoints: their bytes, of those of all of them."""
    settings = {"model": {"model_size_bytes": 1000}, "num_checkpoints_write": 3, "num_checkpoints_read": 2}
    plan = Plan(Job("j", DataSet("d"), train=None, checkpoint=Checkpoint("c", settings=settings)), Listing("d", [], []))
    told = _heard(plan, Standing(checkpoint_bytes=1500))
    assert (told.done, told.total, told.unit) == (1500, 5000, "B")
