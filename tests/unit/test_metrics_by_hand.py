"""The metrics, computed a second time from the definitions: with pandas, interval by interval, and without a sweep."""

import numpy as np
import pandas as pd
import pytest

from tracekit.metrics import Metrics
from tracekit.testing import training_trace
from tracekit.trace import Mark, Op, Trace


def chaotic(seed):
    """A trace of everything at once: overlaps, instants, errors, missing ends and results, several streams, steps and epochs."""
    chance = np.random.default_rng(seed)
    draw = lambda high: int(chance.integers(0, high))  # noqa: E731 -- a name for the die, used a dozen times
    ops = []
    for _ in range(300):
        at, kind = draw(5 * 10**7), chance.random()
        end = None if kind < 0.05 else at + draw(10**6) * int(kind > 0.1)
        ops.append(
            Op(
                f"file:///f{draw(8)}", draw(5) * 100, draw(3) * 100, at, op=str(chance.choice(["read", "read", "write", "open"])),
                t_complete=end, ret=None if chance.random() < 0.1 else draw(200), err="EIO" if chance.random() < 0.05 else None,
                pid=draw(3), tid=draw(3), step=draw(5), epoch=draw(2),
            )
        )  # fmt: skip
    marks = []
    for number in range(10):
        begin, length = draw(5 * 10**7), 10**6 + draw(9 * 10**6)
        where = {"step": number % 5, "epoch": number // 5, "pid": 9}
        marks += [Mark("step", begin, t_end=begin + length, **where)]
        marks += [Mark("compute", begin + draw(length), t_end=begin + length, **where)]
    return Trace.of(ops, marks=marks)


@pytest.fixture(params=["training", *range(6)])
def trace(request):
    """A training job, and six traces without rhyme or reason."""
    return (
        training_trace(files=48, batch=8, compute_ns=33_000_000)
        if request.param == "training"
        else chaotic(request.param)
    )


def data_ops(trace):
    """The reads and writes in order of time, with the bytes they moved."""
    frame = trace.to_pandas().sort_values("t_submit", kind="stable").reset_index(drop=True)
    for name in ("err", "ret", "step", "epoch"):
        if name not in frame:
            frame[name] = pd.NA
    frame = frame[frame.op.isin(["read", "write"])].reset_index(drop=True)
    asked = frame["len"].where(frame.err.isna(), 0)
    frame["moved"] = frame.ret.astype("Int64").fillna(asked).astype("int64")
    return frame


def timed(frame):
    """Submit, completion and size of those that completed."""
    done = frame[frame.t_complete.notna()]
    return tuple(done[name].astype("int64").to_numpy() for name in ("t_submit", "t_complete", "len"))


def test_depth_and_bytes_in_flight(trace):
    """The peaks are the largest counts over all moments at which an op begins; the mean is service time over time."""
    begin, end, size = timed(data_ops(trace))
    flying = [(begin <= at) & ((end > at) | ((begin == at) & (end == at))) for at in begin.tolist()]
    metrics = Metrics.of(trace)
    assert metrics.max_qd == max(int(mask.sum()) for mask in flying)
    assert metrics.peak_inflight == max(int(size[mask].sum()) for mask in flying)
    assert metrics.queue_depth.mean == pytest.approx((end - begin).sum() / (end.max() - begin.min()))


def test_the_busy_share_is_the_union_of_intervals(trace):
    """Time with an op in flight, by merging intervals."""
    begin, end, _ = timed(data_ops(trace))
    busy, last = 0, 0
    for at, until in sorted(zip(begin.tolist(), end.tolist(), strict=True)):
        busy, last = busy + max(0, until - max(at, last)), max(last, until)
    assert Metrics.of(trace).queue_depth.busy_share == pytest.approx(busy / (end.max() - begin.min()))


def test_quantiles_of_service_time_are_numpy_s(trace):
    """Within the histogram's stated error of numpy's quantile of the very times."""
    frame = data_ops(trace)
    begin, end, _ = timed(frame[frame.err.isna()])
    histogram = Metrics.of(trace).latency_us_hist
    for q in (0.5, 0.95, 0.99, 0.999):
        assert histogram.quantile(q) == pytest.approx(np.quantile(end - begin, q, method="inverted_cdf"), rel=1 / 256)
    assert (histogram.mean, histogram.maximum) == (pytest.approx((end - begin).mean()), (end - begin).max())


def test_sequentiality_and_reaccess(trace):
    """Each read against the one before it in its file, and in its stream; places against reads."""
    frame = data_ops(trace)
    reads = frame[(frame.op == "read") & (frame.moved > 0)].assign(end=lambda rows: rows.offset + rows.moved)
    reads["stream"] = reads.pid * 1000 + reads.tid
    before = reads.groupby("uri", observed=True).end.shift()
    order = Metrics.of(trace).order
    assert order.sequential_in_uri == pytest.approx((reads.offset == before)[before.notna()].mean())
    before = reads.groupby("stream")[["end"]].shift().end
    same = reads.uri.astype(str) == reads.assign(uri=reads.uri.astype(str)).groupby("stream").uri.shift()
    assert order.sequential_in_stream == pytest.approx(((reads.offset == before) & same)[before.notna()].mean())
    assert order.reaccess_share == pytest.approx(1 - len(reads[["uri", "offset"]].drop_duplicates()) / len(reads))


def test_arrivals_per_window(trace):
    """Dispersion and autocorrelation of plain counts per 10 ms."""
    submit = data_ops(trace).t_submit.astype("int64").to_numpy()
    counts = np.bincount((submit - submit.min()) // 10_000_000)
    arrivals, around = Metrics.of(trace).arrivals, counts - counts.mean()
    assert arrivals.per_10ms_dispersion == pytest.approx(counts.var() / counts.mean())
    assert arrivals.per_10ms_lag1 == pytest.approx((around[1:] * around[:-1]).sum() / (around**2).sum())


def test_steps_and_their_waits(trace):
    """Bytes and ops by group; waits as step minus compute, the first step left out."""
    frame, steps = data_ops(trace), Metrics.of(trace).steps
    groups = frame[frame.step.notna()].groupby(["epoch", "step"])
    assert steps.bytes_per_step_hist.mean == pytest.approx(groups.moved.sum().mean())
    assert steps.ops_per_step_hist.mean == pytest.approx(groups.size().mean())
    computes = {(mark.epoch, mark.step): mark.t_end - mark.t for mark in trace.marks if mark.mark == "compute"}
    later = sorted((mark for mark in trace.marks if mark.mark == "step"), key=lambda mark: mark.t)[1:]
    waits = [(mark.t_end - mark.t) - computes[mark.epoch, mark.step] for mark in later]
    assert steps.stall_share == pytest.approx(sum(waits) / sum(mark.t_end - mark.t for mark in later))
    starved = sum(
        wait > max(1e6, 0.05 * computes[mark.epoch, mark.step]) for wait, mark in zip(waits, later, strict=True)
    )
    assert steps.starved_steps == starved
