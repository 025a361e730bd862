"""What the core adds up over ops, held against the twins in NumPy."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import histogram
from tracekit.analysis import tail, times
from tracekit.analysis.tail import SizesByLatency
from tracekit.analysis.times import KeyedTimes
from tracekit.histogram import Histogram
from tracekit.metrics import following, held
from tracekit.metrics.following import FIRST, OTHER, SAME, Followers, Runs
from tracekit.metrics.groups import Groups
from tracekit.metrics.view import Places, View
from tracekit.trace import Op, Trace

small = st.integers(0, 4)
# (group, file, offset, bytes) of reads, in pieces
reads = st.lists(st.lists(st.tuples(small, small, small, st.integers(1, 3)), max_size=12), max_size=4)


@pytest.fixture(params=["core", "NumPy"])
def engine(request, monkeypatch):
    """Both ways."""
    if request.param == "NumPy":
        for module in (following, held, histogram):
            monkeypatch.setattr(module, "_core", None)
    elif following._core is None:
        pytest.skip("there is no core here")


def places_of(piece):
    """Groups, and places, of a piece."""
    group, uri, offset, size = np.array(piece, np.int64).reshape(-1, 4).T
    return group, Places(uri, offset, offset + size)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(30))
def test_what_comes_before_a_read_is_the_definition(seed):
    """Read by read, over pieces: the last of its group is looked up as it was then."""
    rng, last = random.Random(seed), {}
    followers = Followers()
    for _ in range(4):
        piece = [
            [rng.randrange(4), rng.randrange(3), rng.randrange(5), rng.randint(1, 3)] for _ in range(rng.randrange(9))
        ]
        expected = []
        for group, uri, offset, size in piece:
            before = last.get(group)
            expected.append((0, FIRST) if before is None else (offset - before[1], SAME if before[0] == uri else OTHER))
            last[group] = uri, offset + size
        found = followers.take(*places_of(piece))
        assert list(zip(found.gap.tolist(), found.before.tolist(), strict=True)) == expected


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(30))
def test_runs_are_the_definition(seed):
    """A run ends where a read does not go on; its length is known then, also when it began in an earlier piece."""
    rng, open_, ended, expected = random.Random(seed), {}, [], []
    runs = Runs()
    for _ in range(4):
        piece = [(rng.randrange(3), rng.random() < 0.6) for _ in range(rng.randrange(12))]
        for uri, goes_on in piece:
            if not goes_on and open_.get(uri):
                expected.append(open_.pop(uri))
            open_[uri] = open_.get(uri, 0) + 1
        uri = np.array([one for one, _ in piece], np.int64)
        ended += runs.take(uri, np.array([one for _, one in piece], np.bool_)).tolist()

    assert sorted(ended) == sorted(expected)
    assert sorted(runs.open.tolist()) == sorted(open_.values())


@given(pieces=reads)
def test_both_engines_follow_alike(pieces):
    """Whatever reads there are, the core and NumPy say the same of each."""
    if following._core is None:
        pytest.skip("there is no core here")
    core, twin = Followers(), Followers()
    for piece in pieces:
        group, places = places_of(piece)
        mine = core.take(group, places)
        theirs = following._sorted_followed(group, places, twin._uri.room(group), twin._end.room(group))
        assert np.array_equal(mine.gap, theirs.gap)
        assert np.array_equal(mine.before, theirs.before)


VALUES = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1)), max_size=40)


@given(values=VALUES)
def test_both_engines_count_into_the_same_buckets(values):
    """Counts, sum, smallest and largest are the same, to the last of 2^63 - 1."""
    array = np.array(values, np.int64)
    weighted = Histogram.of(array, np.ones(len(array), np.int64))

    assert Histogram.of(array) == weighted
    assert Histogram.of(array).total == sum(values)


@pytest.mark.parametrize("edge", [*(1 << bits for bits in range(63)), 2**63 - 1])
def test_buckets_meet_at_their_edges(edge):
    """Around every power of two a value is in the bucket that NumPy says."""
    for value in (edge - 1, edge, min(edge + 1, 2**63 - 1)):
        found = Histogram.of(np.array([value], np.int64))
        assert found._counts.tolist().index(1) == int(histogram.bucket_of(np.array([value], np.int64))[0])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("values", [[-1], [5, -3, 7], [2**62, -(2**63)]])
def test_values_below_zero_are_refused(values):
    """Either way, and nothing is counted."""
    counted = Histogram.of([1, 2])
    with pytest.raises(ValueError, match="from 0 to 2"):
        counted.add(np.array(values, np.int64))
    assert counted == Histogram.of([1, 2])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("most", [1, 2, 5, 100, 1 << 20])
@pytest.mark.parametrize("width", [(1, 0), (1, 1), (2, 2), (3, 0), (3, 3)])
def test_sums_by_key_are_those_of_a_dict(most, width):
    """Whatever memory holds, in whatever pieces they come: each key once, with its sums; a copy goes its own way."""
    rng, keys, values = random.Random(f"{most}{width}"), *width
    groups, expected = Groups(keys, most=most), {}
    for _ in range(6):
        rows = [
            [rng.randrange(-1, 4) for _ in range(keys)] + [rng.randrange(9) for _ in range(values)]
            for _ in range(rng.randrange(40))
        ]
        for row in rows:
            sums = expected.setdefault(tuple(row[:keys]), [0] * values)
            sums[:] = map(int.__add__, sums, row[keys:])
        columns = list(np.array(rows, np.int64).reshape(-1, keys + values).T)
        groups.add(columns[:keys], columns[keys:])
    twin = copy.deepcopy(groups)
    twin.add([np.full(1, 77)] * keys, [np.full(1, 1)] * values)

    def told(of):
        parts = [np.stack([*found, *sums], axis=1).tolist() for found, sums in of.rows()]
        assert all(part == sorted(part, key=lambda row: row[:keys]) for part in parts)
        return {tuple(row[:keys]): row[keys:] for part in parts for row in part}

    assert told(groups) == expected
    assert told(twin) == expected | {(77,) * keys: [1] * values}


def test_many_rows_find_their_places():
    """A hundred thousand keys in a table that grew ten times, each twice and then again in another order."""
    if held._core is None:
        pytest.skip("there is no core here")
    numbers = np.random.default_rng(1).permutation(100_000).astype(np.int64)
    table = held.Hashed(held._core, 2, 3, 1 << 20)
    for order in (numbers, numbers, np.sort(numbers)):
        assert list(table.add([order, order % 7, np.ones_like(order)])) == []
    first, second, count = table.rows()

    assert np.array_equal(first, numbers)
    assert np.array_equal(second, numbers % 7)
    assert (count == 3).all()


def test_the_door_refuses_what_no_table_can_be():
    """No keys, too many keys, fewer columns than keys."""
    if held._core is None:
        pytest.skip("there is no core here")
    for keys, width in ((0, 1), (5, 6), (2, 1), (2, 9)):
        with pytest.raises(ValueError, match="1 to 4 keys"):
            held._core.groups(keys, width)


def both(make):
    """What is made with the core, and what is made with NumPy."""
    if times._core is None:
        pytest.skip("there is no core here")
    with pytest.MonkeyPatch.context() as patch:
        mine = make()
        for module in (times, tail):
            patch.setattr(module, "_core", None)
        return mine, make()


TIMES = st.integers(0, 5000) | st.integers(0, 2**62) | st.integers(0, 62).map(lambda bits: (1 << bits) - 1)


@given(st.lists(st.tuples(st.integers(0, 5), TIMES), max_size=40), st.sampled_from([1 << 24, 1500, 400, 100]))
def test_both_engines_count_times_of_keys_alike(pairs, most):
    """However many buckets there is room for: the same counts, and the same quantiles of the keys asked for."""
    keys, values = np.array(pairs, np.int64).reshape(-1, 2).T

    def made():
        counted = KeyedTimes(most)
        counted.grow(6)
        counted.add(keys, values)
        counted.grow(7)
        chosen = np.array([4, 0, 6, 2], np.intp)
        return counted._counts.tolist(), counted.quantiles(chosen, 0.01, 0.5, 0.99, 1.0) if counted.error else None

    mine, theirs = both(made)
    assert mine == theirs


def test_quantiles_of_many_keys_are_those_of_each():
    """More keys than are looked at together, and none at all."""
    keys = np.arange(1000)

    def made():
        counted = KeyedTimes()
        counted.grow(1000)
        counted.add(keys, keys * 1000)
        return counted.quantiles(keys, 0.5)[0], counted.quantiles(keys[:0], 0.5)

    mine, theirs = both(made)
    assert mine == theirs
    assert mine[1] == [[]]
    assert mine[0][1:] == pytest.approx((keys[1:] * 1000).tolist(), rel=KeyedTimes().error)


@given(st.lists(st.tuples(TIMES, TIMES), max_size=40))
def test_both_engines_put_ops_into_the_same_cells(pairs):
    """Sizes and times in powers of two, to the largest there are; what has no size is left out."""
    trace = Trace.of([Op("f", 0, size, 0, t_complete=time) for size, time in pairs])

    def made():
        counted = SizesByLatency()
        counted.update(View.of(trace))
        return counted.table()

    mine, theirs = both(made)
    assert mine == theirs
    assert sum(map(sum, mine[2])) == sum(size > 0 for size, _ in pairs)
