"""Blocked histograms and what is taken from them, against plain computations: loops over the ops."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import bootstrap
from harness.blocks import MOST, Blocked, BlocksTally, together
from harness.figures import Figures
from harness.times import Times
from tracekit.histogram import Histogram, bucket_of
from tracekit.metrics.view import Streams, View
from tracekit.trace import Op, Trace

VALUES = st.lists(st.tuples(st.integers(0, 2**45), st.integers(0, 2**50)), max_size=40)
OPS = st.builds(
    Op,
    uri=st.sampled_from("abc"),
    offset=st.integers(0, 20),
    len=st.integers(0, 2**20),
    t_submit=st.integers(0, 3 * 10**8),
    op=st.sampled_from(["read", "read", "read", "write", "open"]),
    t_complete=st.one_of(st.none(), st.integers(0, 4 * 10**8)),
    epoch=st.one_of(st.none(), st.integers(0, 2)),
    ret=st.one_of(st.none(), st.integers(0, 2**20)),
)


def _blocked(pairs):
    return Blocked.of(*(np.array(side, np.int64) for side in zip(*pairs, strict=True))) if pairs else Blocked.empty()


def _cells(blocked):
    """(begin of the block, bucket) → count."""
    rows, columns = np.nonzero(blocked.counts)
    begins = (rows + blocked.first) << blocked.shift
    return Counter(
        {
            (begin, column): blocked.counts[row, column]
            for begin, row, column in zip(begins.tolist(), rows.tolist(), columns.tolist(), strict=True)
        }
    )


@given(VALUES)
def test_a_value_is_in_its_block_and_bucket(pairs):
    """A loop finds the same counts; the width is the least power of two with which there are no more than 64 blocks."""
    blocked = _blocked(pairs)
    wanted = Counter(
        (time >> blocked.shift << blocked.shift, int(bucket_of(np.array([value]))[0]) // 4) for time, value in pairs
    )

    assert _cells(blocked) == wanted
    assert len(blocked) <= MOST
    if blocked.shift:
        times = [time >> (blocked.shift - 1) for time, _ in pairs]
        assert max(times) - min(times) >= MOST


@given(VALUES, st.integers(0, 40), st.randoms(use_true_random=False))
def test_parts_add_up_to_the_whole_in_any_order(pairs, cut, chance):
    """Wherever values are parted, in whatever order they come: the sum is the histogram of all of them."""
    mixed = list(pairs)
    chance.shuffle(mixed)
    one, other = _blocked(mixed[:cut]), _blocked(mixed[cut:])
    whole = _blocked(pairs)

    for found in (one + other, other + one, Blocked.empty() + one + other):
        assert (found.shift, found.first) == (whole.shift, whole.first)
        assert _cells(found) == _cells(whole)


@given(VALUES)
def test_blocks_survive_being_written(pairs):
    """What JSON keeps is what there was."""
    blocked = _blocked(pairs)
    found = Blocked.from_json(blocked.to_json())

    assert (found.shift, found.first, len(found)) == (blocked.shift, blocked.first, len(blocked))
    assert _cells(found) == _cells(blocked)


@pytest.mark.parametrize(
    "data",
    [
        {"shift": 0, "first": 0, "rows": [[1]]},
        {"shift": 0, "first": -1, "rows": []},
        {"shift": 63, "first": 0, "rows": []},
        {"shift": 0, "first": 0, "rows": [[0.5, 1]]},
        {"shift": 0, "first": 0, "rows": [[10**9, 1]]},
        {"shift": 0, "first": 0, "rows": [[]] * 65},
        {"shift": 0, "first": 0, "rows": [[]] * 8},
        {"shift": 0, "first": 0, "rows": [["1", 1]]},
    ],
)
def test_damaged_blocks_are_refused(data):
    """Half a pair, what is no whole number, and more than there can be, are no blocks."""
    with pytest.raises((ValueError, TypeError)):
        Blocked.from_json(data)


def _views(trace, cuts):
    numbers = Streams()
    edges = [0, *sorted(min(cut, len(trace)) for cut in cuts), len(trace)]
    for first, last in pairwise(edges):
        yield View.whole(trace.select(slice(first, last)), numbers)


@settings(max_examples=60)
@given(st.lists(OPS, max_size=25), st.lists(st.integers(0, 25), max_size=4))
def test_what_is_blocked_are_gaps_service_times_and_sizes(rows, cuts):
    """A loop over reads and writes finds the same, wherever the trace is cut."""
    trace, tally = Trace.of(rows).sorted(), BlocksTally()
    for view in _views(trace, cuts):
        tally.update(view)
    ops = [op for op in trace if op.op in {"read", "write"}]
    wanted = {
        "size": [(op.t_submit, op.len) for op in ops],
        "latency": [(op.t_submit, op.t_complete - op.t_submit) for op in ops if _is_timed(op)],
        "gap": [(after.t_submit, after.t_submit - before.t_submit) for before, after in pairwise(ops)],
    }

    assert {name: _cells(found) for name, found in tally.result().items()} == {
        name: _cells(_blocked(pairs)) for name, pairs in wanted.items() if pairs
    }


def _is_timed(op):
    return op.t_complete is not None and op.t_complete >= op.t_submit


def _spans(ops):
    """Per file: an op of an older epoch than the file's latest counts as of the latest."""
    open_now, done = {}, []
    for op in ops:
        epoch = -1 if op.epoch is None else op.epoch
        end = op.t_complete if _is_timed(op) else op.t_submit
        if op.uri in open_now and epoch <= open_now[op.uri][0]:
            open_now[op.uri][2] = max(open_now[op.uri][2], end)
            continue
        if op.uri in open_now:
            done.append(open_now[op.uri])
        open_now[op.uri] = [epoch, op.t_submit, end]
    return sorted(last - first for _, first, last in [*done, *open_now.values()])


def _windows(ops, width, amount):
    """The amount of every window but the last, the empty ones among them."""
    if not ops:
        return []
    sums = defaultdict(int)
    for op in ops:
        sums[(op.t_submit - ops[0].t_submit) // width] += amount(op)
    last = max(sums)
    return sorted(sums[number] for number in range(last)) if last else [sums[0]]


def _moved(op):
    return op.len if op.ret is None else op.ret


def _correlation(pairs):
    left, right = ([int(number) for number in bucket_of(np.array(side, np.int64))] for side in zip(*pairs, strict=True))
    return statistics.correlation(left, right) if len(set(left)) > 1 and len(set(right)) > 1 else None


@settings(max_examples=100)
@given(st.lists(OPS, min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_times_are_those_of_a_loop(rows, cuts):
    """Correlations, spans of files, and loads per window: a plain loop finds the same, wherever the trace is cut."""
    trace, times = Trace.of(rows).sorted(), Times()
    for view in _views(trace, cuts):
        times.update(view)
    ops = [op for op in trace if op.op in {"read", "write"}]
    timed = [(op.len, op.t_complete - op.t_submit) for op in ops if _is_timed(op)]
    figures, loads = times.scalars(), times.histograms()

    spans = _spans([op for op in ops if op.op == "read"])
    middle = spans[math.ceil(len(spans) / 2) - 1] if spans else None
    assert figures["file.span"] == (None if middle is None else pytest.approx(middle, rel=1 / 256, abs=0.5))
    for name, width, amount in (("arrival.count", 10**7, lambda _: 1), ("arrival.bytes", 10**8, _moved)):
        assert loads[name] == Histogram.of(_windows(ops, width, amount))
    for name, pairs in (
        ("latency.size", timed),
        ("latency.lag1", [(one[1], next_[1]) for one, next_ in pairwise(timed)]),
    ):
        wanted = _correlation(pairs) if len(pairs) >= 10 else None
        assert figures[name] == (None if wanted is None else pytest.approx(wanted, abs=1e-9))


# -- resampling ------------------------------------------------------------------------------------------------------


def bursts(seed, count=20_000, length=1, sigma=1.0):
    """Service times around 100 µs at even times; `length` ops that follow each other share what makes them slow."""
    chance = np.random.default_rng(seed)
    shared = np.repeat(chance.normal(0, sigma, -(-count // length)), length)[:count]
    return Blocked.of(np.arange(count) * 100_000, (np.exp(shared) * 100_000).astype(np.int64))


def test_independent_ops_have_no_design_effect_and_bursts_have_that_of_their_length():
    """One op at a time counts once; of bursts of 50 alike about one in 50 does, and never less than a half of that or more than twice."""
    alone = [bootstrap.design_effect(bursts(seed), 0.5) for seed in range(10)]
    many = [bootstrap.design_effect(bursts(seed, length=50), 0.5) for seed in range(10)]

    assert 1 <= statistics.median(alone) < 1.5
    assert 25 < statistics.median(many) < 100


@pytest.mark.parametrize(("length", "least"), [(1, 88), (50, 80)])
def test_the_order_interval_holds_the_true_quantile(length, least):
    """Of a hundred runs the 95 % interval of p99 holds the truth in nearly all, in bursts as well: as published, above 80 %."""
    truth = 100_000 * math.exp(2.3263)
    held = 0
    for seed in range(100):
        run = bursts(seed, length=length)
        interval = bootstrap.order_interval(run, 0.99, bootstrap.effective_ops(run, 0.99), 0.95)
        held += interval is not None and interval[0] <= truth <= interval[1]

    assert held >= least


@pytest.mark.parametrize(("q", "least"), [(0.99, 368), (0.999, 3688), (0.5, 6)])
def test_so_few_ops_have_no_interval(q, least):
    """A 95 % interval exists from the published number of independent ops on, and not with one less."""
    run = bursts(0)

    assert bootstrap.order_interval(run, q, least - 1, 0.95) is None
    assert bootstrap.order_interval(run, q, least, 0.95) is not None


def test_resampled_ratios_hold_one_for_equal_runs_and_not_for_twice_as_slow_ones():
    """Twenty pairs of the same process: nearly all intervals hold 1. One twice as slow: none does, all hold 2 or nearly so."""
    held = twice = 0
    for seed in range(20):
        one, other = bursts(2 * seed, length=20), bursts(2 * seed + 1, length=20)
        low, high = bootstrap.ratio_interval(one, other, 0.5, 0.95)
        held += low <= 1 <= high
        slow = Blocked(other.shift, other.first, np.pad(other.counts, ((0, 0), (32, 0))))
        low, high = bootstrap.ratio_interval(one, slow, 0.5, 0.95)
        twice += low > 1 and low / 1.02 <= 2 <= high * 1.02

    assert held >= 16
    assert twice >= 16


def test_the_bound_on_the_ks_distance_is_above_the_truth_and_below_what_resampling_alone_makes():
    """Equal processes stay below what the plain percentile says; a shift of known distance is below the bound in nearly all cases."""
    truth = math.erf(0.25 / (2 * math.sqrt(2)))  # of two normal distributions a quarter of a deviation apart
    above = 0
    for seed in range(12):
        one, other = bursts(2 * seed), bursts(2 * seed + 1)
        equal = bootstrap.ks_most(one, other, 0.95)
        assert equal < 0.05
        times = np.arange(20_000) * 100_000
        chance = np.random.default_rng(1000 + seed)
        moved = Blocked.of(times, (np.exp(chance.normal(0.25, 1, 20_000)) * 100_000).astype(np.int64))
        # Buckets hide up to what one of them holds.
        above += bootstrap.ks_most(one, moved, 0.95) >= truth - 0.01

    assert above >= 10


def test_too_few_blocks_are_no_sample():
    """Seven blocks with ops in them give neither a design effect nor intervals; eight do."""
    for blocks, told in ((7, False), (8, True)):
        few = Blocked(0, 0, np.tile(np.array([[5, 3, 2]], np.int64), (blocks, 1)))
        assert (bootstrap.design_effect(few, 0.5) is not None) is told
        assert (bootstrap.ratio_interval(few, few, 0.5, 0.95) is not None) is told
        assert (bootstrap.ks_most(few, few, 0.95) is not None) is told


def test_values_that_are_all_alike_have_no_design_effect():
    """Where there is no variance, nothing can be said of how it comes."""
    assert bootstrap.design_effect(Blocked.of(np.arange(100) * 1000, np.full(100, 7)), 0.5) is None


def test_the_same_blocks_say_the_same():
    """The chance is numbered: resampling twice gives the same to the last bit."""
    one, other = bursts(1, length=20), bursts(2, length=20)

    assert bootstrap.ratio_interval(one, other, 0.99, 0.95) == bootstrap.ratio_interval(one, other, 0.99, 0.95)
    assert bootstrap.ks_most(one, other, 0.95) == bootstrap.ks_most(one, other, 0.95)


def test_runs_together_keep_their_blocks():
    """Blocks of several runs are resampled side by side, whatever their widths."""
    one, other = bursts(1, 1000), bursts(2, 3000)
    both = together([one, Blocked.empty(), other])

    assert len(both) == len(one) + len(other)
    assert int(both.counts.sum()) == 4000
    assert len(together([])) == 0


def test_memory_of_a_long_run_is_that_of_a_short_one():
    """A run of a day in a million pieces would leave what one of a second leaves: 64 blocks of so many buckets."""
    total = Blocked.empty()
    for hour in range(24):
        times = hour * 3_600_000_000_000 + np.arange(1000) * 3_600_000_000
        total = total + Blocked.of(times, np.full(1000, 2**40 + hour))

    assert len(total) <= MOST
    assert total.counts.nbytes < 2_000_000
    assert int(total.counts.sum()) == 24_000


def test_figures_keep_blocks_and_read_goldens_without_them():
    """Blocks survive being written with the figures; those of a golden from before there were any are none."""
    figures = Figures.of(Trace.of(Op("/a", 10 * i, 10, 1000 * i, t_complete=1000 * i + 500) for i in range(200)))
    data = figures.to_json()

    assert Figures.from_json(data).to_json() == data
    assert figures.blocks.keys() == {"gap", "latency", "size"}
    del data["blocks"]
    assert Figures.from_json(data).blocks == {}
