"""Paired mode reads both traces piece by piece: what it says is what a plain computation over whole traces says."""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations, pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ledger, mutations, partitions
from harness.check import check
from harness.cli import main
from harness.ledger import Ledger, Names
from harness.paired import judge
from harness.pairing import Pairing
from tracekit import formats
from tracekit.formats import ordered
from tracekit.joining import merge
from tracekit.metrics.levels import Levels
from tracekit.replay import records
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.selection import select
from tracekit.testing import training_trace
from tracekit.trace import Header, Op, Trace, Trailer

WIDTH = 7
OPS = st.builds(
    Op,
    uri=st.sampled_from("abc"),
    offset=st.one_of(st.none(), st.integers(0, 2)),
    len=st.integers(0, 2),
    t_submit=st.integers(0, 60),
    op=st.sampled_from(["read", "read", "write", "open"]),
    ret=st.one_of(st.none(), st.integers(0, 9)),
    err=st.one_of(st.none(), st.just("EIO")),
    step=st.one_of(st.none(), st.integers(0, 2)),
    pid=st.integers(1, 2),
    tid=st.integers(1, 2),
    level=st.sampled_from([None, None, None, "logical", "wire"]),
)
TRACES = st.lists(OPS, max_size=40).map(lambda rows: Trace.of(rows).sorted())
CUTS = st.lists(st.integers(0, 40), max_size=4)


def taken(trace, names, cuts):
    """The ledger of a trace that comes in pieces."""
    levels = Levels(Ledger(names))
    for first, last in pairwise([0, *sorted(min(cut, len(trace)) for cut in cuts), len(trace)]):
        levels.update(trace.select(slice(first, last)))
    return levels.tally


def plain_pairs(one, other):
    """Pairs of ops of two lists in order of time, by the definition in words."""
    twins = plain_twins(one, other)
    free = [list(one), list(other)]
    pairs = []
    for keys in (lambda op, twin: (does(op), twin), lambda op, twin: does(op)):
        waiting = defaultdict(list)
        for op in free[1]:
            waiting[keys(op, twins[stream(op)])].append(op)
        for op in list(free[0]):
            answers = waiting[keys(op, ("recorded", stream(op)))]
            if answers:
                answer = answers.pop(0)
                pairs.append((op, answer))
                free = [
                    [left for left in side if left is not gone] for side, gone in zip(free, (op, answer), strict=True)
                ]
    place = {id(op): number for number, op in enumerate(one)}
    return sorted(pairs, key=lambda pair: place[id(pair[0])])


def plain_twins(one, other):
    """The stream of the recording that each of the replay is taken for."""
    mine, theirs = ({}, {})
    for ops, streams in ((one, mine), (other, theirs)):
        for op in ops:
            streams.setdefault(stream(op), []).append(does(op))
    twins, free = {}, list(mine)
    for name, ops in theirs.items():
        twin = next((left for left in free if mine[left] == ops), None)
        if twin is not None:
            free.remove(twin)
            twins[name] = "recorded", twin
    taken_names = set(twins.values())
    for name in theirs:
        own = ("recorded", name)
        twins.setdefault(name, own if own not in taken_names and name in mine else ("alone", name))
    return twins


def does(op):
    """What makes two ops the same."""
    return op.op, op.uri, op.offset, op.len


def stream(op):
    """Who issued it."""
    return op.pid, op.tid


def plain_inverted(pairs, group):
    """(inverted, all) pairs of pairs of one group."""
    both = [(a, b) for a, b in combinations(pairs, 2) if group(a[0]) == group(b[0])]
    wrong = sum((a[0].t_submit - b[0].t_submit) * (a[1].t_submit - b[1].t_submit) < 0 for a, b in both)
    return wrong, len(both)


def plain_windows(ops):
    """Ops by window since the first."""
    counts = Counter((op.t_submit - ops[0].t_submit) // WIDTH for op in ops)
    return [counts[number] for number in range(max(counts, default=-1) + 1)]


def counted_ops(trace):
    """The ops that count: where there are logical requests, wire requests do not."""
    ops = list(trace)
    return [op for op in ops if op.level != "wire"] if any(op.level == "logical" for op in ops) else ops


def without_end(counts):
    """Counts without the zeros behind the last."""
    return np.trim_zeros(counts, "b").tolist()


@settings(max_examples=80, deadline=None)
@given(TRACES, TRACES, CUTS, CUTS, st.booleans())
def test_pairs_are_those_of_a_plain_computation(one, other, cuts, other_cuts, spilled):
    """Wherever traces are cut, and whether their ops are in memory or in a file, every figure is that of loops over all ops."""
    most, slab = (3, 4) if spilled else (partitions.MOST, ledger.SLAB)
    with mock.patch.object(partitions, "MOST", most), mock.patch.object(ledger, "SLAB", slab):
        names = Names()
        found = Pairing(taken(one, names, cuts), taken(other, names, other_cuts), WIDTH)
        recorded, replayed = counted_ops(one), counted_ops(other)
        pairs = plain_pairs(recorded, replayed)

        assert len(found) == len(pairs)
        assert found.missing_share == pytest.approx((len(recorded) - len(pairs)) / max(1, len(recorded)))
        assert found.extra_share == (len(replayed) - len(pairs)) / max(1, len(recorded))
        assert found.failed == sum(b.err is not None and a.err is None for a, b in pairs)
        assert found.moved == sum(moved(b) for a, b in pairs if a.step is not None)
        assert found.common_files == bool({op.uri for op in recorded} & {op.uri for op in replayed})
        assert list(map(without_end, found.windows)) == [plain_windows(recorded), plain_windows(replayed)]
        assert found.inverted_in_files == plain_inverted(pairs, lambda op: op.uri)
        assert found.inverted_in_streams in (None, plain_inverted(pairs, stream))
        issued = Counter((stream(a), stream(b)) for a, b in pairs)
        largest = Counter()
        for (own, _), count in issued.items():
            largest[own] = max(largest[own], count)
        assert found.moved_share == (1 - sum(largest.values()) / len(pairs) if pairs else None)
        shifts = [abs(b.t_submit - pairs[0][1].t_submit - a.t_submit + pairs[0][0].t_submit) for a, b in pairs]
        expected = tuple(np.quantile(shifts, [0.5, 0.99], method="inverted_cdf").tolist()) if pairs else None
        assert found.shifts == expected


def moved(op):
    """Bytes that a read or write moved."""
    if op.op == "open":
        return 0
    return op.ret if op.ret is not None else 0 if op.err else op.len


def as_replay(trace, options):
    """The trace as a replayer would have written it."""
    header = Header(producer={"tool": "tracekit", "verb": "replay", "options": options})
    return Trace(trace.columns, trace.tables, [], header, Trailer(ops=len(trace), run={}))


def placed(trace):
    """The trace with the offsets that the planner gives to ops without one."""
    plan = make_plan(trace, Options(null_offset="sequential"))
    return mutations.with_columns(trace, {"offset": plan.trace.col("offset")})


REPLAYS = {
    "faithful": ({}, lambda trace: trace),
    "shuffled": ({}, mutations.shuffled),
    "selected": ({"select": "op=read,step=0..3"}, lambda trace: trace.select(select(trace, "op=read,step=0..3"))),
    "twice": ({"loop": 2}, lambda trace: merge([trace, trace.shifted(make_plan(trace, Options()).period)])),
    "placed": ({"null_offset": "sequential"}, placed),
}


@pytest.mark.parametrize("kind", REPLAYS)
def test_check_pairs_files_without_loading_them(tmp_path, monkeypatch, kind):
    """In pieces of 100 ops, with rows in files, the verdict is the one on traces in memory; only the shuffled replay fails."""
    options, edit = REPLAYS[kind]
    recorded = training_trace()
    if kind == "placed":
        recorded = Trace.of(op if n % 3 else replace(op, offset=None) for n, op in enumerate(recorded))
    replayed = as_replay(edit(recorded), options)
    names = [str(tmp_path / "replay.jsonl"), str(tmp_path / "recording.parquet")]
    formats.save(replayed, names[0])
    formats.save(recorded, names[1])
    wanted = judge(recorded, replayed, names=(names[1], names[0]))
    monkeypatch.setattr(ordered, "PIECE_OPS", 100)
    monkeypatch.setattr(formats, "load", None)
    monkeypatch.setattr(partitions, "MOST", 50)
    monkeypatch.setattr(ledger, "SLAB", 64)
    found = check([names[0]], names[1])

    assert found.findings == wanted.findings
    assert found.notes == wanted.notes
    assert (
        {"order.stream", "order.file"} <= {one.id for one in found.failed} if kind == "shuffled" else not found.failed
    )


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, capsys):
    """Where the temporary files of two long traces find no room, the command says where and what to do, with status 4."""
    path = str(tmp_path / "t.jsonl")
    formats.save(training_trace(), path)
    monkeypatch.setattr(partitions, "MOST", 50)
    monkeypatch.setattr(records.os, "pwrite", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    assert main(["check", path, "--golden", path]) == 4
    said = capsys.readouterr().err
    assert "cannot be written: No space left on device; two long traces need" in said
    assert "Traceback" not in said
