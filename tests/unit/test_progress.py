"""How far work is: said by the rooms, heard by whoever listens."""

from __future__ import annotations

import threading
import time

import pytest

from tracekit import console, formats, progress
from tracekit.progress import Step
from tracekit.testing import training_trace


class Beats:
    """An event that is set after some beats, in all but the last of which somebody says something."""

    SPEAKING = 3

    def __init__(self, speak):
        self._speak, self._waits = speak, 0

    def wait(self, _seconds):
        """A beat passes."""
        self._waits += 1
        if self._waits <= self.SPEAKING:
            self._speak()
        return self._waits > self.SPEAKING + 1


@pytest.fixture
def heard():
    """The steps that were said in the test."""
    steps: list[Step] = []
    with progress.heard_by(steps.append):
        yield steps


def test_nobody_listens_by_default(capfd, tmp_path):
    """The library prints nothing by itself: reading a trace says nothing on any stream."""
    formats.save(training_trace(), tmp_path / "t.jsonl")
    formats.load(tmp_path / "t.jsonl")
    progress.tell("reading", 1)

    assert capfd.readouterr() == ("", "")


def test_a_listener_is_asked_for_a_while(heard):
    """What is said within the block is heard there, and the listener before hears again afterwards."""
    inner: list[Step] = []
    with progress.heard_by(inner.append):
        progress.tell("a", 1, 2, "B", ("note",))
    progress.tell("b", 3)

    assert inner == [Step("a", 1, 2, "B", ("note",))]
    assert heard == [Step("b", 3, None, "ops", ())]


def test_an_item_is_done_when_the_next_is_asked_for(heard):
    """`each` gives the items on; its steps count those that are done."""
    assert list(progress.each("xyz", "letters", 3, "letters")) == ["x", "y", "z"]
    assert [step.done for step in heard] == [0, 1, 2, 3]
    assert {(step.label, step.total, step.unit) for step in heard} == {("letters", 3, "letters")}


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.zst", "t.parquet", "t.tkc", "t.csv", "t.csv.gz", "t.tsv.zst"])
def test_reading_a_trace_is_said(heard, tmp_path, name):
    """Every reader says how much it has read; where the size is known the last step is the whole of it."""
    path = tmp_path / name
    formats.save(training_trace(), path)
    ops = len(formats.load(path))
    last = heard[-1]

    assert last.label == f"reading {name}"
    assert last.done == last.total == (ops if name == "t.parquet" else path.stat().st_size)


def test_what_cannot_be_counted_is_told_as_time(heard, monkeypatch):
    """A body that says nothing for a beat is told as seconds; one that speaks for itself is not, and both are ended."""
    monkeypatch.setattr(progress, "_BEAT_S", 0.01)
    with progress.during("thinking"):
        while not heard:
            time.sleep(0.001)
    assert {(step.label, step.unit) for step in heard} == {("thinking", "s")}
    assert heard[0].total is None
    assert heard[-1].done == heard[-1].total


def test_nobody_is_told_of_a_second_where_somebody_speaks(heard, monkeypatch):
    """Between two beats in which something was said there is no word of the time."""
    over = Beats(lambda: progress.tell("reading", 1, 2))
    progress._beat("thinking", over)
    assert [step.label for step in heard] == ["reading"] * Beats.SPEAKING + ["thinking"]


def test_nothing_beats_where_nobody_listens():
    """Without a listener no thread is started."""
    before = threading.active_count()
    with progress.during("thinking"):
        assert threading.active_count() == before


def test_a_follower_shows_one_line_for_each_work(monkeypatch, capsys):
    """Works that go on side by side keep their own rates; one that is done begins anew."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    follow = console.Follower()
    for now, step in [
        (0.0, Step("one", 0, 100)),
        (0.0, Step("two", 0, 10_000, "B")),
        (11.0, Step("one", 22, 100)),
        (11.0, Step("two", 1100, 10_000, "B", ("late",))),
        (12.0, Step("one", 100, 100)),
        (20.0, Step("one", 50, 100)),
    ]:
        clock[0] = now
        follow(step)

    assert capsys.readouterr().err.splitlines() == [
        "one 22/100 ops (22 %) · 39 s left · 2 ops/s",
        "two 1.07 KiB/9.77 KiB (11 %) · 1 min 29 s left · 100 B/s · late",
    ]
