"""The in-flight gate."""

from __future__ import annotations

import threading
import time

from tracekit.replay.inflight import Admission, Gate, Ticket


def test_ops_enter_until_the_cap() -> None:
    """With a cap of two the third op waits."""
    rule = Admission(2, None)
    assert [rule.arrive(Ticket(1)) for _ in range(3)] == [True, True, False]


def test_a_large_op_is_not_overtaken() -> None:
    """A small op that would fit stays behind a large one that came first."""
    rule = Admission(None, 100)
    first, large, small = Ticket(60), Ticket(80), Ticket(1)
    assert rule.arrive(first)
    assert not rule.arrive(large)
    assert not rule.arrive(small)
    assert rule.leave(first) == [large, small]


def test_an_op_above_the_cap_goes_alone() -> None:
    """It enters when nothing is inside, and nothing joins it."""
    rule = Admission(None, 100)
    small, huge, after = Ticket(10), Ticket(1000), Ticket(10)
    assert rule.arrive(small)
    assert not rule.arrive(huge)
    assert rule.leave(small) == [huge]
    assert not rule.arrive(after)
    assert rule.leave(huge) == [after]


def test_an_op_without_bytes_passes_a_full_byte_cap_only_in_turn() -> None:
    """An open has no bytes and still waits behind those that came before."""
    rule = Admission(None, 10)
    inside, waiting, empty = Ticket(10), Ticket(10), Ticket(0)
    assert rule.arrive(inside)
    assert not rule.arrive(waiting)
    assert not rule.arrive(empty)
    assert rule.leave(inside) == [waiting, empty]


def test_peaks_are_kept() -> None:
    """The most that was ever inside is known afterwards."""
    rule = Admission(3, None)
    tickets = [Ticket(5), Ticket(7)]
    for ticket in tickets:
        rule.arrive(ticket)
    for ticket in tickets:
        rule.leave(ticket)
    assert (rule.peak_ops, rule.peak_bytes, rule.ops, rule.bytes) == (2, 12, 0, 0)


def test_closing_sends_waiters_away() -> None:
    """A thread that waits at a closing gate returns without a ticket, and nobody enters afterwards."""
    gate = Gate(1, None)
    inside = gate.enter(1)
    assert inside is not None
    results: list[object] = []
    waiter = threading.Thread(target=lambda: results.append(gate.enter(1)))
    waiter.start()
    while not gate.rule.queue:
        time.sleep(0.001)
    gate.close()
    waiter.join(5)
    assert results == [None]
    assert gate.enter(1) is None
    gate.leave(inside)
    assert gate.rule.ops == 0


def test_a_ticket_says_whether_it_waited() -> None:
    """An open gate is no waiting; a closed one is."""
    gate = Gate(1, None)
    first = gate.enter(1)
    assert first is not None
    assert not first.waited
    second: list[Ticket | None] = []
    waiter = threading.Thread(target=lambda: second.append(gate.enter(1)))
    waiter.start()
    while not gate.rule.queue:
        time.sleep(0.001)
    gate.leave(first)
    waiter.join(10)
    assert second[0] is not None
    assert second[0].waited
