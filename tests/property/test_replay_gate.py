"""Properties of the in-flight gate: caps hold, order holds, everybody gets in."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.replay.inflight import Admission, Gate, Ticket

caps = st.tuples(st.none() | st.integers(1, 5), st.none() | st.integers(1, 100))
sizes = st.lists(st.integers(0, 150), min_size=1, max_size=60)


@given(caps=caps, sizes=sizes, choices=st.lists(st.integers(0, 10**6), min_size=200, max_size=200))
def test_caps_hold_and_the_order_is_that_of_arrival(
    caps: tuple[int | None, int | None], sizes: list[int], choices: list[int]
) -> None:
    """Under any interleaving of arrivals and departures neither cap is exceeded and nobody is overtaken or left behind."""
    max_ops, max_bytes = caps
    rule = Admission(max_ops, max_bytes)
    tickets = [Ticket(size) for size in sizes]
    waiting, inside, entered = list(tickets), [], []
    for choice in choices:
        if waiting and (choice % 2 or not inside):
            ticket = waiting.pop(0)
            admitted = [ticket] if rule.arrive(ticket) else []
        elif inside:
            admitted = rule.leave(inside.pop(choice % len(inside)))
        else:
            break
        inside += admitted
        entered += admitted
        assert max_ops is None or rule.ops <= max_ops
        assert max_bytes is None or rule.bytes <= max_bytes or rule.ops == 1
        assert rule.bytes == sum(ticket.size for ticket in inside)
        assert inside or not rule.queue
    while inside:
        admitted = rule.leave(inside.pop())
        inside += admitted
        entered += admitted
    assert entered == tickets[: len(entered)]
    assert not rule.queue


@settings(max_examples=15, deadline=None)
@given(
    max_ops=st.none() | st.integers(1, 3),
    max_bytes=st.none() | st.integers(1, 64),
    sizes=st.lists(st.integers(0, 100), min_size=4, max_size=24),
)
def test_threads_neither_exceed_the_caps_nor_starve(
    max_ops: int | None, max_bytes: int | None, sizes: list[int]
) -> None:
    """Real threads pass the gate again and again; the peaks keep the caps and every thread comes to its end."""
    gate = Gate(max_ops, max_bytes)
    lock, inside, violations = threading.Lock(), [], []

    def work(size: int) -> None:
        for _ in range(5):
            ticket = gate.enter(size)
            assert ticket is not None
            with lock:
                inside.append(size)
                too_many = max_ops is not None and len(inside) > max_ops
                too_much = max_bytes is not None and sum(inside) > max_bytes and len(inside) > 1
                if too_many or too_much:
                    violations.append(list(inside))
            with lock:
                inside.remove(size)
            gate.leave(ticket)

    threads = [threading.Thread(target=work, args=(size,), daemon=True) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert violations == []
    assert gate.rule.ops == gate.rule.bytes == 0
    assert max_ops is None or gate.rule.peak_ops <= max_ops
