"""A trace in pieces has the metrics of the whole, wherever it is cut."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.metrics import Metrics, Stream, groups, held
from tracekit.metrics.arrivals import Windows, windows
from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import codes_of, sorted_order
from tracekit.metrics.queue_depth import Intervals, Sweep, Sweeper, Timeline
from tracekit.metrics.sizes import SizesTally
from tracekit.metrics.view import View
from tracekit.trace import Mark, Op, Trace, Trailer

OPS = st.builds(
    Op,
    uri=st.sampled_from(["a", "b", "c10", "c9"]),
    offset=st.one_of(st.none(), st.integers(0, 5)),
    len=st.integers(0, 5),
    t_submit=st.integers(0, 60),
    op=st.sampled_from(["read", "read", "read", "write", "open", "stat", "mmap"]),
    t_complete=st.one_of(st.none(), st.integers(0, 90)),
    ret=st.one_of(st.none(), st.integers(0, 5)),
    err=st.one_of(st.none(), st.none(), st.just("EIO")),
    t_due=st.one_of(st.none(), st.integers(0, 60)),
    pid=st.one_of(st.none(), st.integers(1, 3)),
    tid=st.one_of(st.none(), st.integers(1, 3)),
    rank=st.one_of(st.none(), st.integers(0, 1)),
    worker=st.one_of(st.none(), st.integers(0, 1)),
    epoch=st.one_of(st.none(), st.integers(0, 1)),
    step=st.one_of(st.none(), st.integers(0, 3)),
    sample_id=st.one_of(st.none(), st.integers(0, 4), st.sampled_from(["x", "y"])),
    level=st.sampled_from([None, None, "logical", "wire"]),
    attempts=st.one_of(st.none(), st.integers(1, 3)),
)
STEPS = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20), st.booleans()), max_size=4)
CUTS = st.lists(st.integers(0, 40), max_size=6)
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(0, 9)), max_size=20)


def _marks(steps):
    marks, clock = [], 0
    for number, (length, compute, computes) in enumerate(steps):
        marks.append(Mark("step", clock, clock + length, number, 0, 9))
        if computes:
            marks.append(Mark("compute", clock + max(0, length - compute), clock + length, number, 0, 9))
        clock += length
    return marks


def _pieces(trace, cuts):
    """A trace cut at these places; the last piece has the trailer."""
    edges = [0, *sorted(min(cut, len(trace)) for cut in cuts), len(trace)]
    parts = [trace.select(slice(first, last)) for first, last in itertools.pairwise(edges)]
    for part in parts:
        # As readers do it: a column that holds nothing is not there.
        part.columns = {
            name: column
            for name, column in part.columns.items()
            if name in {"uri", "offset", "len", "t_submit", "op"} or bool((column != -1).any())
        }
    parts[-1].trailer = trace.trailer
    return parts


@settings(max_examples=60)
@given(st.lists(OPS, max_size=20), STEPS, CUTS, st.booleans())
def test_metrics_do_not_depend_on_where_a_trace_is_cut(rows, steps, cuts, numbered):
    """Any pieces of a trace, one after the other, give the very JSON that the whole gives."""
    if not numbered:
        rows = [Op(**{name: getattr(op, name) for name in Op.__slots__ if name != "step"}) for op in rows]
    trace = Trace.of(rows, marks=_marks(steps), trailer=Trailer(ops=len(rows))).sorted()
    stream = Stream(trace.marks)
    for piece in _pieces(trace, cuts):
        stream.update(piece)

    assert json.dumps(stream.result().to_json()) == json.dumps(Metrics.of(trace).to_json())


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(0, 9)), max_size=60), CUTS, st.integers(1, 8)
)
def test_groups_are_those_of_a_dict_also_from_a_file(rows, cuts, most):
    """Sums by key are exact however few keys memory holds, and each key comes once."""
    found: Counter[tuple[int, int]] = Counter()
    wanted: defaultdict[tuple[int, int], int] = defaultdict(int)
    for first, second, value in rows:
        wanted[first, second] += value
    table = np.array(rows, np.int64).reshape(-1, 3)
    grouping = Groups(2, most=most)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for first, last in itertools.pairwise(edges):
        part = table[first:last]
        grouping.add([part[:, 0], part[:, 1]], [part[:, 2]])
    keys = []
    for (first, second), (sums,) in grouping.rows():
        for pair, total in zip(zip(first.tolist(), second.tolist(), strict=True), sums.tolist(), strict=True):
            keys.append(pair)
            found[pair] = total

    assert dict(found) == dict(wanted)
    assert len(keys) == len(set(keys))


def test_many_small_pieces_are_put_together():
    """Sums of a thousand pieces of one row are kept in some dozens of arrays, and are right."""
    sorted_runs = held.Sorted(1, 1 << 20)
    for number in range(1000):
        assert list(sorted_runs.add([np.array([number % 7]), np.array([1])])) == []

    assert len(sorted_runs._runs) <= held._MOST_RUNS + 1
    assert sorted_runs.rows()[1].tolist() == [143] * 6 + [142]


MARKS = st.tuples(st.integers(0, 12), st.integers(0, 4), st.sampled_from([None, 0, 1]), st.sampled_from([None, 1, 2]))


@given(st.lists(MARKS, max_size=12), st.lists(MARKS, max_size=12))
def test_a_step_has_the_compute_mark_of_its_numbers(steps, computes):
    """The k-th step of a process and number, in order of time, has the k-th compute mark of the same."""
    made = [
        Mark(kind, t, t + length, step, None, pid)
        for kind, rows in (("step", steps), ("compute", computes))
        for t, length, step, pid in rows
    ]
    waiting: dict[tuple[int | None, int | None], list[Mark]] = defaultdict(list)
    for mark in sorted((mark for mark in made if mark.mark == "compute"), key=lambda mark: -mark.t):
        waiting[mark.pid, mark.step].append(mark)
    wanted = []
    for mark in sorted((mark for mark in made if mark.mark == "step"), key=lambda mark: mark.t):
        twins = waiting[mark.pid, mark.step]
        twin = twins.pop() if twins else None
        length = None if twin is None else (twin.t_end - twin.t) / 1000
        wanted.append((mark.step, mark.pid, mark.t / 1000, length))
    table = Metrics.of(Trace.of([], marks=made)).steps.table

    assert [(row.step, row.pid, row.t_us, row.compute_us) for row in table] == wanted


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**62), st.integers(-2, 2)), min_size=1, max_size=30))
def test_partitions_keep_together_what_is_hashed(rows):
    """Rows that agree in the hashed columns come in one piece, whatever the others say."""
    table = np.array(rows, np.int64)
    grouping = Groups(3, hashed=2, most=1)
    grouping.add([table[:, 0], table[:, 1], table[:, 2]], [])
    seen = [set(zip(keys[0].tolist(), keys[1].tolist(), strict=True)) for keys, _ in grouping.rows()]

    assert sum(map(len, seen)) == len(set().union(*seen)) == len({row[:2] for row in rows})
    assert len(seen) <= groups._PARTITIONS


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-1, 2), st.integers(0, 2**62)), max_size=30))
def test_rows_are_ordered_as_tuples_are(rows):
    """Packed into one number or not, rows sort as Python sorts them, and equal ones keep their order."""
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] if rows else [np.zeros(0, np.int64)]
    narrow = columns[:2]

    assert sorted_order(*columns).tolist() == sorted(range(len(rows)), key=rows.__getitem__)
    assert sorted_order(*narrow).tolist() == sorted(range(len(rows)), key=lambda place: rows[place][:2])
    ranks = {row: rank for rank, row in enumerate(sorted({row[:2] for row in rows}))}
    assert codes_of(*narrow).tolist() == [ranks[row[:2]] for row in rows]


def _swept(spans, cuts):
    """The pieces of a sweep over these spans, cut at these places."""
    rows = sorted(spans)
    begin = np.array([row[0] for row in rows], np.int64)
    end = begin + np.array([row[1] for row in rows], np.int64)
    sizes = np.array([row[2] for row in rows], np.int64)
    sweeper = Sweeper()
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for first, last in itertools.pairwise(edges):
        part = slice(first, last)
        until = int(begin[last]) if last < len(rows) else None
        yield sweeper.take(begin[part], end[part], sizes[part], until)


@given(SPANS, CUTS, st.lists(st.tuples(st.integers(-1, 60), st.integers(-1, 15)), max_size=8), st.integers(1, 9))
def test_a_sweep_in_pieces_is_the_whole(spans, cuts, intervals, most):
    """Peaks, time at each depth, begins, lowest depths, idle times and timeline of the pieces are those of the whole sweep."""
    rows = np.array(spans, np.int64).reshape(-1, 3)
    whole = Sweep.of(rows[:, 0], rows[:, 0] + rows[:, 1], rows[:, 2])
    begin = np.array([first for first, _ in intervals], np.int64)
    end = begin + np.array([length for _, length in intervals], np.int64)
    within, timeline, at_once = Intervals(begin, end), Timeline(most), Timeline(most)
    at_once.add(whole)
    spent, begun, peaks = Counter(), Counter(), [(0, 0)]
    for piece in _swept(spans, cuts):
        within.add(piece)
        timeline.add(piece)
        peaks.append((piece.peak_depth, piece.peak_bytes))
        for depth, length in zip(piece.depth[:-1].tolist(), np.diff(piece.times).tolist(), strict=True):
            spent[depth] += length
        for depth, count in zip(piece.depth.tolist(), piece.begun.tolist(), strict=True):
            begun[depth] += count
    _, _, counts = whole.distribution().buckets()

    assert tuple(map(max, zip(*peaks, strict=True))) == (whole.peak_depth, whole.peak_bytes)
    assert [spent[depth] for depth in sorted(spent) if spent[depth]] == counts.tolist()
    assert sum(begun.values()) == len(spans) == int(whole.begun.sum())
    meant = (begin >= 0) & (end >= begin)
    assert within.lowest()[meant].tolist() == whole.lowest(begin, end)[meant].tolist()
    assert within.idle()[meant].tolist() == whole.idle(begin, end)[meant].tolist()
    for one, other in zip(timeline.windows(), at_once.windows(), strict=True):
        assert one.tolist() == other.tolist()


@given(st.lists(st.integers(0, 4 * 10**8), max_size=40), CUTS, st.integers(0, 10**7 - 1))
def test_windows_in_pieces_are_the_whole(times, cuts, shift):
    """Mean, dispersion and autocorrelation per 10 ms do not depend on where arrivals are cut."""
    submit = np.sort(np.array(times, np.int64))
    counting = Windows(shift)
    edges = [0, *sorted(min(cut, len(submit)) for cut in cuts), len(submit)]
    for first, last in itertools.pairwise(edges):
        counting.update(submit[first:last])

    assert counting.result() == windows(submit, shift)


@given(st.lists(st.integers(0, 3 * 2**20), max_size=30), st.lists(st.integers(0, 5), max_size=30))
def test_sizes_of_parts_add_up(first, second):
    """Two size tables merged are the table of all ops, and so are their histograms."""
    parts = []
    for sizes in (first, second, [*first, *second]):
        tally = SizesTally()
        tally.update(View.whole(Trace.of(Op("a", 0, size, 0) for size in sizes)))
        parts.append(tally)
    parts[0].merge(parts[1])

    assert parts[0].table() == parts[2].table() == dict(sorted(Counter([*first, *second]).items()))
    assert parts[0].histogram == parts[2].histogram
