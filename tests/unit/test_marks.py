"""Marks as columns: the same marks as a list of them, without an object for each."""

from __future__ import annotations

import numpy as np
import pytest

from tracekit import Op, Trace, formats
from tracekit.marks import Mark, Marks
from tracekit.metrics import Metrics

SOME = [Mark("step", 5, 9, 1, 0, 7), Mark("epoch", 0), Mark("step", 2, 1, 0), Mark("compute", 5, 6, 1, 0, 7)]


def test_columns_are_the_marks():
    """Marks come back as they went in, one by one, by slice and counted from the end; a list of them is equal."""
    marks = Marks.of(SOME)

    assert list(marks) == SOME
    assert marks == SOME
    assert [marks[0], marks[-1]] == [SOME[0], SOME[-1]]
    assert marks[1:3] == SOME[1:3]
    assert marks != SOME[:3]
    assert marks != 7
    assert len(Marks.of([])) == 0
    assert repr(marks) == "<Marks 4, of step, epoch, compute>"


def test_a_place_that_is_not_there_is_an_error():
    """As of a list."""
    with pytest.raises(IndexError):
        Marks.of(SOME)[4]


def test_columns_of_different_lengths_are_refused():
    """A damaged file must not give one mark the times of another."""
    with pytest.raises(ValueError, match="of one length"):
        Marks.from_columns(["step"], [1], [], [None], [None], [None])


def test_joined_marks_keep_their_order_and_kinds():
    """Parts that know different kinds find together; nothing and nothing is nothing."""
    parts = [SOME[:1], [], SOME[1:2], Marks.of(SOME[2:])]

    assert Marks.joined(parts) == SOME
    assert Marks.joined([]) == Marks.joined([[], []]) == []


def test_spans_end_and_not_before_they_begin():
    """A step that never ended, or whose clock went backwards, is none whose length is known."""
    assert Marks.of(SOME).spans("step") == SOME[:1]
    assert Marks.of(SOME).kind("step") == [SOME[0], SOME[2]]
    assert Marks.of(SOME).spans("checkpoint") == []


def test_sorting_and_moving():
    """Marks are ordered by their begin; moved, what had no end still has none."""
    marks = Marks.of(SOME)

    assert marks.sorted() == sorted(SOME, key=lambda mark: mark.t)
    assert marks.shifted(10)[:2] == [Mark("step", 15, 19, 1, 0, 7), Mark("epoch", 10)]


def test_a_trace_keeps_columns_as_they_are():
    """No trace made of another copies the marks into objects."""
    marks = Marks.of(SOME)
    trace = Trace.of([], marks=marks)

    assert trace.select(slice(0, 0)).marks is marks


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "tkc"])
def test_files_give_back_every_mark(tmp_path, suffix):
    """The formats that hold marks hold more of them than fit into one piece, in their order."""
    marks = [Mark("step", number, number + 1, number, number // 100, 3) for number in range(10_000)]
    path = tmp_path / f"t.{suffix}"
    formats.save(Trace.of([Op("/a", 0, 1, 0)], marks=marks), path)

    assert Trace.read(path).marks == marks


def test_a_step_costs_tens_of_bytes():
    """The metrics of many steps hold columns: a row is made when somebody looks at it."""
    count = 20_000
    numbers = list(range(count))
    ends = [number + 1 for number in numbers]
    marks = Marks.from_columns(["step"] * count, numbers, ends, numbers, [0] * count, [1] * count)
    table = Metrics.of(Trace.of([], marks=marks)).steps.table
    columns = [column for column in vars(table)["_columns"].values() if isinstance(column, np.ndarray)]

    assert len(table) == count
    assert (table[-1].step, table[-1].wait_us, table[5].t_us) == (count - 1, None, 0.005)
    assert sum(column.nbytes for column in columns) / count <= 100


def test_metrics_of_equal_traces_are_equal():
    """The table of steps, of which only columns are kept, is compared by its rows."""
    one, same, other = (
        Metrics.of(Trace.of([Op("/a", 0, 1, 0)], marks=[Mark("step", begin, 9, 0)])) for begin in (0, 0, 1)
    )

    assert one == same
    assert one.steps.table == list(same.steps.table)
    assert one.steps.table != other.steps.table
    assert one.steps.table != 7
