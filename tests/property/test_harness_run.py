"""A run read in pieces is the run of the whole trace: its figures, and what is counted about its soundness."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import overlaps
from harness.check import check
from harness.envelope import Envelope
from harness.overlaps import Overlaps
from harness.repeat import judge
from harness.run import Reading, Run
from harness.soundness import Soundness
from harness.standard import Standard
from tracekit import formats
from tracekit.formats import ordered
from tracekit.metrics.view import Streams, View
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace

OPS = st.builds(
    Op,
    uri=st.sampled_from("abc"),
    offset=st.one_of(st.none(), st.integers(0, 20)),
    len=st.integers(0, 9),
    t_submit=st.integers(0, 25),
    op=st.sampled_from(["read", "read", "write", "open"]),
    t_complete=st.one_of(st.none(), st.integers(0, 40)),
    ret=st.one_of(st.none(), st.integers(0, 12)),
    err=st.one_of(st.none(), st.none(), st.just("EIO")),
    pid=st.one_of(st.none(), st.integers(1, 2)),
    tid=st.integers(1, 3),
    level=st.sampled_from([None, None, None, "logical", "wire"]),
)


def _cut(trace, cuts):
    edges = [0, *sorted(min(cut, len(trace)) for cut in cuts), len(trace)]
    return [trace.select(slice(first, last)) for first, last in pairwise(edges)]


@settings(max_examples=60)
@given(st.lists(OPS, max_size=25), st.lists(st.integers(0, 25), max_size=5))
def test_a_run_does_not_depend_on_where_its_trace_is_cut(rows, cuts):
    """Figures, distributions and soundness of pieces are those of the whole."""
    trace = Trace.of(rows).sorted()
    reading = Reading(())
    for piece in _cut(trace, cuts):
        reading.update(piece)
    found, whole = reading.run(), Run.of(trace)

    assert json.dumps(found.figures.to_json()) == json.dumps(whole.figures.to_json())
    assert (found.histograms, found.soundness, len(found)) == (whole.histograms, whole.soundness, len(trace))


@given(st.lists(OPS.filter(lambda op: op.level is None), max_size=25))
def test_soundness_is_counted_op_by_op(rows):
    """Every count is that of a loop over the ops."""
    found = Soundness.of(Trace.of(rows))
    data = [op for op in rows if op.op in {"read", "write"}]
    ends, before, meet = {}, {}, 0
    known = [op for op in data if op.offset is not None and op.ret]
    for op in known:
        ends[op.uri] = max(ends.get(op.uri, 0), op.offset + op.ret)
    completed = sorted((op for op in rows if op.t_complete is not None), key=lambda op: (op.t_submit, op.t_complete))
    for op in completed:
        meet += op.t_submit < before.get((op.pid, op.tid), 0)
        before[op.pid, op.tid] = op.t_complete

    assert found.data_ops == len(data)
    assert found.backwards == sum(op.t_complete < op.t_submit for op in completed)
    assert found.too_much == sum(op.ret is not None and op.ret > op.len and not op.err for op in data)
    short = [op for op in known if op.op == "read" and op.ret < op.len and op.offset + op.ret < ends[op.uri]]
    assert found.short == len(short)
    assert found.completed == len(completed)
    assert found.overlaps == (meet if rows else None)


def _looked_at(trace, cuts=()):
    found, numbers = Overlaps(), Streams()
    for piece in _cut(trace, cuts):
        found.update(View.whole(piece, numbers))
    return found.depths(), found.chance()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=30))
def test_depths_are_counted_op_by_op(rows):
    """An op counts itself and all that began before and have not ended."""
    trace = Trace.of(Op("/a", 0, 1, begin, t_complete=begin + took, tid=tid) for begin, took, tid in rows).sorted()
    spans = [(begin, max(begin + took, begin + 1)) for begin, took, _ in rows]
    counted = {}
    for moment, _ in spans:
        depth = sum(begin <= moment < end for begin, end in spans)
        counted[depth] = counted.get(depth, 0) + 1

    depths, chance = _looked_at(trace)
    assert depths == counted
    assert sum(chance.values()) == overlaps.SHIFTS * len(rows)


@pytest.mark.parametrize("cuts", [(), (100, 101, 2000), tuple(range(0, 20_000, 377))])
def test_of_long_runs_every_nth_block_is_moved_by_chance(monkeypatch, cuts):
    """After the first blocks only every n-th is looked at, wherever the trace is cut, and shares stay what they are."""
    monkeypatch.setattr(overlaps, "BLOCK", 512)
    monkeypatch.setattr(overlaps, "FIRST_BLOCKS", 4)
    chance = np.random.default_rng(1)
    begin = np.cumsum(chance.integers(0, 1000, 20_000)).tolist()
    took = chance.integers(100, 2000, 20_000).tolist()
    spans = zip(begin, took, strict=True)
    trace = Trace.of(Op("/a", 0, 1, t, t_complete=t + d, pid=1, tid=i % 7) for i, (t, d) in enumerate(spans))
    _, found = _looked_at(trace, cuts)
    _, at_once = _looked_at(trace)
    monkeypatch.setattr(overlaps, "FIRST_BLOCKS", 1000)
    _, whole = _looked_at(trace)
    # Of 39 whole blocks and a piece those from 0 to 3, and 8, 16, 24 and 32.
    blocks = 8

    assert found == at_once
    assert sum(found.values()) == overlaps.SHIFTS * 512 * blocks
    assert sum(whole.values()) == overlaps.SHIFTS * 20_000
    assert _mean(found) == pytest.approx(_mean(whole), rel=0.1)


def _mean(counts):
    return sum(depth * count for depth, count in counts.items()) / sum(counts.values())


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_check_reads_traces_in_one_pass(tmp_path, monkeypatch, suffix):
    """Repeat mode never loads a trace whole, and says what it says of traces in memory."""
    traces = [training_trace(seed=seed) for seed in range(2)]
    names = [str(tmp_path / f"{seed}{suffix}") for seed in range(2)]
    for trace, name in zip(traces, names, strict=True):
        formats.save(trace, name)
    monkeypatch.setattr(ordered, "PIECE_OPS", 100)
    monkeypatch.setattr(formats, "load", None)
    verdict = check([names[1]], names[0], mode="repeat")
    standard = Standard(f"0{suffix}", Envelope.of(traces[:1]))

    assert verdict.findings == judge(standard, traces[1:], names[1:]).findings
    assert len(verdict.findings) > 10
