"""Metrics against brute force, and what must not change them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.joining import merge
from tracekit.metrics import Metrics
from tracekit.metrics.queue_depth import Sweep
from tracekit.trace import Mark, Op, Trace

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(0, 9)), max_size=14)

OPS = st.builds(
    lambda uri, offset, length, submit, took, ret, err, pid, step, sample, kind: Op(
        uri,
        offset,
        length,
        submit,
        op=kind,
        t_complete=None if took is None else submit + took,
        ret=None if err else min(ret, length),
        err=err,
        pid=pid,
        tid=pid,
        worker=pid,
        epoch=0,
        step=step,
        sample_id=sample,
    ),
    uri=st.sampled_from(["a", "b", "c10", "c9"]),
    offset=st.one_of(st.none(), st.integers(0, 5)),
    length=st.integers(0, 5),
    submit=st.integers(0, 10**9),
    took=st.one_of(st.none(), st.integers(-3, 10**6)),
    ret=st.integers(0, 5),
    err=st.one_of(st.none(), st.just("EIO")),
    pid=st.one_of(st.none(), st.integers(1, 3)),
    step=st.one_of(st.none(), st.integers(0, 4)),
    sample=st.one_of(st.none(), st.integers(0, 6), st.sampled_from(["x", "y"])),
    kind=st.sampled_from(["read", "read", "write", "open", "stat"]),
)
TRACES = st.lists(OPS, max_size=25)


def _sweep(spans):
    begin = np.array([span[0] for span in spans], np.int64)
    length = np.array([span[1] for span in spans], np.int64)
    return Sweep.of(begin, begin + length, np.array([span[2] for span in spans], np.int64))


def _in_flight(spans, moment):
    """Ops in flight in [moment, moment + 1), by definition."""
    return [size for begin, length, size in spans if begin <= moment < begin + length]


@given(SPANS)
def test_the_sweep_is_the_definition(spans):
    """Depth and bytes at every moment, peaks and mean are those counted op by op."""
    found = _sweep(spans)
    moments = range(60)
    counted = [_in_flight(spans, moment) for moment in moments]
    instants = [
        [size for begin, length, size in spans if begin == moment and length == 0] + _in_flight(spans, moment)
        for moment in moments
    ]

    assert found.at(np.arange(60)).tolist() == [len(sizes) for sizes in counted]
    assert found.peak_depth == max(len(sizes) for sizes in instants)
    assert found.peak_bytes == max(sum(sizes) for sizes in instants)
    if found.span_ns:
        assert found.mean() == pytest.approx(sum(length for _, length, _ in spans) / found.span_ns)


@given(SPANS, st.integers(0, 50), st.integers(0, 15))
def test_the_lowest_depth_is_the_definition(spans, begin, length):
    """The minimum over an interval is the minimum over its moments; of an empty one, the depth at its begin."""
    found = _sweep(spans).lowest(np.array([begin]), np.array([begin + length]))
    depths = [len(_in_flight(spans, moment)) for moment in range(begin, begin + max(length, 1))]

    assert found.tolist() == [min(depths)]


@given(TRACES)
def test_metrics_never_fail_and_are_json(rows):
    """Any trace has metrics, and they are plain JSON without NaN."""
    marks = [Mark("step", 0, 10**8, 0, 0, 9), Mark("compute", 5, 10**8, 0, 0, 9), Mark("step", 10**8, 10**9, 1, 0, 9)]
    for trace in (Trace.of(rows), Trace.of(rows, marks=marks)):
        text = json.dumps(Metrics.of(trace).to_json(), allow_nan=False)
        assert json.loads(text)["metrics"] == 1


@given(TRACES)
def test_sums_agree_with_the_ops(rows):
    """Counts and bytes by kind, size, worker and step add up to those of the ops themselves."""
    metrics = Metrics.of(Trace.of(rows))
    data = [op for op in rows if op.op in {"read", "write"}]
    moved = sum(op.ret if op.ret is not None else 0 if op.err else op.len for op in data)

    assert metrics.ops == len(rows) == sum(metrics.backend_counters.requests.values())
    assert metrics.data_ops == len(data) == sum(metrics.sizes.values()) == metrics.req_bytes_hist.count
    assert metrics.bytes == moved == metrics.backend_counters.bytes_read + metrics.backend_counters.bytes_written
    assert sum(part.ops for part in metrics.shares.by_worker.values()) == sum(op.worker is not None for op in data)
    assert metrics.steps.ops_per_step_hist.total == sum(op.step is not None for op in data)
    assert sum(metrics.backend_counters.errors.values()) == sum(op.err is not None for op in rows)
    assert metrics.files == len({op.uri for op in data})


@given(TRACES, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(rows, chance):
    """Ops with distinct times give the same metrics in any order of lines."""
    distinct = list({op.t_submit: op for op in rows}.values())
    shuffled = list(distinct)
    chance.shuffle(shuffled)

    assert Metrics.of(Trace.of(shuffled)).to_json() == Metrics.of(Trace.of(distinct)).to_json()


@given(TRACES, TRACES)
def test_histograms_of_a_merged_trace_are_the_sum(first, second):
    """Sizes and service times of a merged trace are the histograms of its parts added."""
    parts = [Trace.of(first), Trace.of(second)]
    whole, mine, theirs = Metrics.of(merge(parts)), Metrics.of(parts[0]), Metrics.of(parts[1])

    assert whole.req_bytes_hist == mine.req_bytes_hist + theirs.req_bytes_hist
    assert whole.latency_us_hist == mine.latency_us_hist + theirs.latency_us_hist
