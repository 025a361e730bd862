"""What must hold for all inputs: counting, pairing, distances, and the lattice of verdicts."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import mutations, stats
from harness.envelope import Envelope
from harness.figures import Table
from harness.paired import judge
from harness.report import json as json_report
from harness.verdict import SEVERITY, Outcome, worst
from tracekit.trace import Op, Trace

small = st.integers(0, 5)
orders = st.lists(st.tuples(st.integers(0, 2), small, small), max_size=40)
tables = st.dictionaries(st.integers(0, 3000), st.integers(1, 50), min_size=1, max_size=12).map(Table.of)
outcomes = st.lists(st.sampled_from(list(Outcome)))


@st.composite
def traces(draw, least=1, most=40):
    """Reads of three files by three threads, each thread one op at a time."""
    ops, clock = [], {}
    for _ in range(draw(st.integers(least, most))):
        thread = draw(st.integers(1, 3))
        begin = clock.get(thread, 0) + draw(st.integers(0, 3)) * 1_000_000
        clock[thread] = begin + draw(st.integers(1, 2_000_000))
        uri, place = draw(st.integers(0, 2)), draw(st.integers(0, 3))
        ops.append(Op(f"file:///d/{uri}", place * 10, 10, begin, t_complete=clock[thread], pid=1, tid=thread))
    return Trace.of(ops)


def columns(table):
    """Values and counts of a table."""
    return table.values, table.counts


@given(orders)
def test_inversions_agree_with_counting_every_pair(rows):
    """The merge sort counts what two loops count."""
    groups, reference, observed = (np.array([row[axis] for row in rows], np.int64) for axis in range(3))
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if rows[i][0] == rows[j][0]]
    wrong = sum((rows[i][1] - rows[j][1]) * (rows[i][2] - rows[j][2]) < 0 for i, j in pairs)
    assert stats.inversions(groups, reference, observed) == (wrong, len(pairs))


@given(st.permutations(range(30)))
def test_an_order_and_its_reverse_share_all_pairs(order):
    """Inversions of an order and of its reverse add up to all pairs."""
    groups, reference, observed = np.zeros(30, np.int64), np.arange(30), np.array(order)
    assert stats.inversions(groups, reference, observed)[0] + stats.inversions(groups, reference, -observed)[0] == 435


@given(tables, tables, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_distances_are_symmetric_bounded_and_zero_for_equals(one, other, tolerance):
    """D, D with tolerance and the unmatched share: from 0 to 1, the same both ways, 0 against itself."""
    for distance in (
        stats.ks_distance,
        lambda *tables: stats.ks_distance_within(*tables, tolerance),
        lambda *tables: stats.unmatched_share(*tables, tolerance),
    ):
        there, back = distance(*columns(one), *columns(other)), distance(*columns(other), *columns(one))
        assert there == pytest.approx(back, abs=1e-9)
        assert 0.0 <= there <= 1.0 + 1e-12
        assert distance(*columns(one), *columns(one)) == 0.0


@given(tables, tables)
def test_tolerance_only_forgives(one, other):
    """A distance with tolerance is at most the plain one, equal at tolerance 0; matching more finds no fewer pairs."""
    plain = stats.ks_distance(*columns(one), *columns(other))
    assert stats.ks_distance_within(*columns(one), *columns(other), 0.0) == pytest.approx(plain)
    assert stats.ks_distance_within(*columns(one), *columns(other), 0.2) <= plain + 1e-12
    unmatched = [stats.unmatched_share(*columns(one), *columns(other), tolerance) for tolerance in (0.0, 0.1, 0.3, 0.6)]
    assert all(fewer <= more + 1e-12 for more, fewer in itertools.pairwise(unmatched))


@given(
    st.dictionaries(st.integers(0, 60), st.integers(1, 3), min_size=1, max_size=5),
    st.dictionaries(st.integers(0, 60), st.integers(1, 3), min_size=1, max_size=5),
    st.sampled_from([0.1, 0.3, 0.5]),
)
def test_the_greedy_pairing_is_the_largest(one, other, tolerance):
    """The unmatched share is that of a maximum flow between the two tables, found by linear programming."""
    from scipy.optimize import linprog

    a, b = Table.of(one), Table.of(other)
    weights_a, weights_b = a.counts / len(a), b.counts / len(b)
    edges = [
        (i, j)
        for i, x in enumerate(a.values.tolist())
        for j, y in enumerate(b.values.tolist())
        if min(x, y) >= (1 - tolerance) * max(x, y)
    ]
    best = 0.0
    if edges:
        limits = [[float(edge[0] == i) for edge in edges] for i in range(len(weights_a))]
        limits += [[float(edge[1] == j) for edge in edges] for j in range(len(weights_b))]
        best = -linprog([-1.0] * len(edges), A_ub=limits, b_ub=[*weights_a, *weights_b]).fun
    assert stats.unmatched_share(*columns(a), *columns(b), tolerance) == pytest.approx(1 - best, abs=1e-7)


@settings(max_examples=40)
@given(traces(least=12, most=60))
def test_a_trace_passes_against_itself(trace):
    """From ten ops on, whatever they are."""
    verdict = judge(trace, trace, names=("a", "b"))
    assert verdict.outcome is Outcome.PASS, [(found.id, found.reason) for found in verdict.failed]


@settings(max_examples=40)
@given(traces(least=12, most=60), st.integers(1, 10**9))
def test_harmless_edits_pass(trace, delta):
    """Renumbered streams and a moved origin of time are the same replay."""
    for edited in (mutations.renumbered(trace), mutations.later(trace, delta)):
        assert judge(trace, edited, names=("a", "b")).outcome is Outcome.PASS


@settings(max_examples=30)
@given(traces(least=12, most=40), st.randoms())
def test_the_order_of_lines_does_not_matter(trace, chance):
    """A file whose lines are in another order is the same trace where times tell the ops apart."""
    ops = list(trace)
    unique = {(op.tid, op.t_submit): op for op in ops}
    ordered = sorted(unique.values(), key=lambda op: (op.t_submit, op.tid))
    apart = [Op(op.uri, op.offset, op.len, op.t_submit * 4 + (op.tid or 0), pid=1, tid=op.tid) for op in ordered]
    mixed = list(apart)
    chance.shuffle(mixed)
    one = judge(Trace.of(apart), Trace.of(apart), names=("a", "b"))
    other = judge(Trace.of(apart), Trace.of(mixed), names=("a", "b"))
    assert json_report.render(one) == json_report.render(other)


@given(outcomes, outcomes)
def test_verdicts_form_a_lattice(one, other):
    """The worst of two sets is the worse of their worst; order and repetition do not matter; PASS needs a PASS."""
    both = worst([*one, *other])
    assert both is worst([*other, *one, *one])
    decided = [outcome for outcome in (worst(one), worst(other)) if outcome is not Outcome.INCONCLUSIVE]
    if Outcome.INCONCLUSIVE not in {*one, *other} and decided:
        assert both is min(decided, key=SEVERITY.index)
    assert (both is Outcome.PASS) == (Outcome.PASS in {*one, *other} and {*one, *other} <= {Outcome.PASS, Outcome.NA})


@settings(max_examples=25)
@given(st.lists(traces(least=2, most=20), min_size=1, max_size=4))
def test_envelopes_survive_json(runs):
    """Any envelope, written and read, is the same envelope."""
    envelope = Envelope.of(runs)
    assert Envelope.from_json(json.loads(json.dumps(envelope.to_json())), "x").to_json() == envelope.to_json()


@given(tables, tables)
def test_tables_add_up(one, other):
    """The sum of two tables has both totals, ascending values, and does not depend on the order."""
    both = one + other
    assert len(both) == len(one) + len(other)
    assert bool((np.diff(both.values) > 0).all())
    assert both.to_json() == (other + one).to_json()
