"""The analysis of a trace in pieces is that of the whole, and its figures are those of their definitions."""

from __future__ import annotations

import dataclasses
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import Mark, Op, Trace
from tracekit.analysis.bursts import write_bursts
from tracekit.analysis.duty import Busy, duty_cycle
from tracekit.analysis.files import by_file
from tracekit.analysis.keys import Keys, Threads
from tracekit.analysis.pieces import pieces
from tracekit.analysis.snapshot import Analysis, Analyst
from tracekit.analysis.tail import Slowest
from tracekit.analysis.times import KeyedTimes
from tracekit.analysis.windows import Windows
from tracekit.formats.registry import pieces_of
from tracekit.metrics.keys import sorted_order
from tracekit.metrics.view import View

BLOCK = 4096
MS = 10**6


def ops_of(seed):
    """A few ops of any kind, in order of time, some without what a trace may lack; from a number, which is quick."""
    rng, at, out = random.Random(seed), 0, []
    for _ in range(rng.randint(1, 60)):
        at += rng.randint(0, 40) * 20 * MS
        size = rng.choice([0, 1, 4096, 10_000, 2 << 20])
        out.append(
            Op(
                f"file:///d{rng.randint(0, 2)}/f{rng.randint(0, 3)}", rng.choice([None, *range(0, 9 * 4096, 4096)]), size,
                at, rng.choice(["read", "read", "read", "write", "write", "close"]),
                rng.choice([None, at, *[at + rng.randint(0, 900 * MS)] * 4]), rng.choice([None, rng.randint(0, size)]),
                rng.choice([None, None, None, "EIO"]),
                pid=rng.randint(1, 2), tid=rng.randint(1, 3), worker=rng.choice([None, 0, 1]),
            )
        )  # fmt: skip
    return out


ops = st.integers(0, 2**32 - 1).map(ops_of)
marks = st.lists(
    st.tuples(st.sampled_from(["step", "checkpoint"]), st.integers(0, 20), st.integers(0, 9)).map(
        lambda m: Mark(m[0], m[1] * 100 * MS, (m[1] + m[2]) * 100 * MS, m[1])
    ),
    max_size=6,
)


def analysed(parts, trace):
    """What an analyst says who is given these pieces."""
    analyst = Analyst(BLOCK)
    for part in parts:
        analyst.update(View.of(part), len(trace.uris))
    return analyst.analysis(trace.uris, trace.marks, trace.trailer)


@settings(max_examples=40)
@given(ops, marks, st.integers(5, 70))
def test_pieces_are_the_whole(rows, structure, size):
    """Cut anywhere, a trace has the same analysis, to the last figure."""
    trace = Trace.of(rows, marks=structure)
    whole = analysed([trace], trace)
    cut = analysed(pieces_of(trace.sorted(), size), trace)

    assert cut.to_json() == whole.to_json()
    assert cut.all_files == whole.all_files
    assert Analysis.of_pieces(pieces_of(trace, size)).files == Analysis.of(trace).files


@given(ops, marks)
def test_bursts_are_those_of_the_definition(rows, structure):
    """Followed one write after the other, the same bursts are found, with what was read meanwhile."""
    moved = [op.ret if op.ret is not None else 0 if op.err else op.len for op in rows]
    expected = []
    for op, size in zip(rows, moved, strict=True):
        if op.op == "write" and size > 0:
            end = max(op.t_submit, op.t_complete or 0)
            if not expected or op.t_submit - expected[-1][1] > 500 * MS:
                expected.append([op.t_submit, end, 0, 0])
            expected[-1][1] = max(expected[-1][1], end)
            expected[-1][2] += 1
            expected[-1][3] += size
    read = [
        sum(s for op, s in zip(rows, moved, strict=True) if op.op == "read" and begin <= op.t_submit < end)
        for begin, end, _, _ in expected
    ]
    found = write_bursts(Trace.of(rows, marks=structure), least_bytes=0)

    assert [[one.start_ns, one.end_ns, one.ops, one.bytes] for one in found] == expected
    assert [one.reads_bytes for one in found] == read
    spans = [(mark.t, mark.t_end) for mark in structure if mark.mark == "checkpoint"]
    assert [one.checkpoint for one in found] == [
        any(begin <= one[1] and end >= one[0] for begin, end in spans) for one in expected
    ]


@given(ops, st.integers(0, 900 * MS), st.integers(1, 900 * MS))
def test_busy_time_is_that_of_the_definition(rows, begin, length):
    """The busy share of a span is the share of its nanoseconds (here: of its hundredths) in which an op is in flight."""
    spans = [
        (op.t_submit, op.t_complete)
        for op in rows
        if op.op in ("read", "write") and op.t_complete is not None and op.t_complete >= op.t_submit
    ]
    busy = Busy()
    for view in pieces(Trace.of(rows), 7):
        busy.update(view)
    # The union of the spans, cut at the ends of the span asked for.
    edges = sorted({begin, begin + length, *(min(max(t, begin), begin + length) for span in spans for t in span)})
    expected = sum(high - low for low, high in pairwise(edges) if any(s <= low and high <= e for s, e in spans))

    assert busy.shares(np.array([begin]), np.array([begin + length]))[0] == pytest.approx(expected / length)


@given(ops)
def test_reads_in_sequence_are_those_of_the_definition(rows):
    """A read is in sequence when it starts where the read of the same file before it ended."""
    end, followed, sequential = {}, {}, {}
    for op in rows:
        moved = op.ret if op.ret is not None else 0 if op.err else op.len
        if op.op == "read" and op.offset is not None and moved > 0:
            if op.uri in end:
                followed[op.uri] = followed.get(op.uri, 0) + 1
                sequential[op.uri] = sequential.get(op.uri, 0) + (op.offset == end[op.uri])
            end[op.uri] = op.offset + moved
    found = {group.name: group.sequential for group in by_file(Trace.of(rows))}

    assert {name: share for name, share in found.items() if share is not None} == {
        name: sequential[name] / followed[name] for name in followed
    }


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1), st.integers(1, 5))
def test_keys_number_pairs_as_they_come(values, size):
    """The same pair has the same number in every piece, and new ones are numbered in the order of their coming."""
    keys, order = Keys(), list(dict.fromkeys(values))
    codes = []
    for start in range(0, len(values), size):
        part = np.array(values[start : start + size], np.int64)
        codes += keys.codes(part[:, 0], part[:, 1]).tolist()

    assert codes == [order.index(pair) for pair in values]
    assert keys.pairs == order


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 9), max_size=60))
def test_the_stable_order_is_that_of_a_stable_sort(codes):
    """Codes below and above 16 bits are ordered as by comparing."""
    array = np.array(codes, np.int64)

    assert sorted_order(array).tolist() == np.argsort(array, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10**12)), min_size=1), st.sampled_from([10**6, 1500, 400]))
def test_quantiles_of_keys_are_within_their_error(pairs, most):
    """Each key's median and 99th percentile are off by less than is said, however few buckets there is room for."""
    keys, times = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    counted = KeyedTimes(most)
    counted.grow(6)
    counted.add(keys, times)
    assert counted.error is not None

    for level, values in zip((0.5, 0.99), counted.quantiles(np.arange(6), 0.5, 0.99), strict=True):
        for key, value in enumerate(values):
            mine = np.sort(times[keys == key])
            if not len(mine):
                assert value is None
            else:
                exact = mine[max(0, int(np.ceil(level * len(mine))) - 1)]
                assert value == pytest.approx(exact, rel=counted.error * 1.001)


def test_too_many_keys_have_no_quantiles():
    """When not even one bucket an octave fits, nothing is kept and that is said."""
    counted = KeyedTimes(100)
    counted.grow(3)
    counted.add(np.array([1]), np.array([5]))

    assert counted.error is None


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_windows_hold_every_op_once(gaps):
    """However long a trace grows, its windows count every op, and each time is in the window that its number says."""
    times = np.cumsum(np.array(gaps, np.int64))
    windows = Windows()
    for time in times:
        windows.add(np.array([time]))

    assert windows.counts.tolist() == np.bincount((times - times[0]) // windows.width_ns).tolist()
    assert len(windows.counts) <= 256


@given(st.lists(st.integers(0, 50), min_size=120, max_size=300), st.sampled_from([16, 64]), st.integers(1, 300))
def test_the_slowest_that_are_kept_are_the_slowest(times, most, size):
    """With little room, fewer are looked at, but all of them are slower than any that is not, and none is missed."""
    trace = Trace.of(Op("/a", 0, 1, i, t_complete=i + took, pid=1, tid=1) for i, took in enumerate(times))
    slowest = Slowest(Threads(), most)
    for view in pieces(trace, size):
        slowest.update(view)
    found = slowest.tail(trace.uris)

    assert found.ops == len(times)
    assert found.slow == sum(took >= found.threshold_us * 1000 for took in times)
    assert found.threshold_us * 1000 >= np.quantile(times, 0.99, method="higher")


@given(ops)
def test_duty_is_a_share(rows):
    """The timeline is from 0 to 1 everywhere, and its mean is the share of the whole."""
    trace = Trace.of(rows)
    _, shares = duty_cycle(trace)
    whole = Analysis.of(trace).duty

    assert all(0 <= share <= 1 for share in shares)
    if whole.busy_share is not None:
        assert np.mean(shares) == pytest.approx(whole.busy_share)


def test_nothing_is_made_up_of_nothing():
    """A trace without reads and writes has an analysis in which nothing is known."""
    found = Analysis.of(Trace.of([Op("/a", 0, 0, 0, "open")]))

    assert dataclasses.replace(found.files, time_error=None) == type(found.files)(0, [], [], None, None)
    assert (found.tail, found.bursts, found.duty.busy_share, found.cache.most_hits) == (None, [], None, None)
    assert (found.workers.by, found.amplification.ratio) == (None, None)
