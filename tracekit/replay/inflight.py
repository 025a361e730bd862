"""The in-flight gate: caps on outstanding ops and bytes, first come first served.

Waiters hold tickets in order of arrival and only the first may enter, so a large op cannot be starved by small ones that
would still fit (waking all waiters and letting them race starved 1 MiB ops for up to a second in our measurements). An op
larger than the byte cap is admitted when nothing else is in flight, and then nothing joins it.
"""

from __future__ import annotations

import threading
from collections import deque


class Ticket:
    """One op's place in the queue; `waited` says that the gate was not open when it came."""

    __slots__ = ("admitted", "door", "size", "waited")

    def __init__(self, size: int) -> None:
        self.size = size
        self.admitted = False
        self.waited = False
        self.door = threading.Lock()


class Admission:
    """The rule without threads: who may enter, in which order.

    Args:
        max_ops: Most ops inside; None is no limit.
        max_bytes: Most bytes inside, but for an op that is larger by itself; None is no limit.
    """

    def __init__(self, max_ops: int | None, max_bytes: int | None) -> None:
        self.max_ops = max_ops
        self.max_bytes = max_bytes
        self.ops = 0
        self.bytes = 0
        self.peak_ops = 0
        self.peak_bytes = 0
        self.queue: deque[Ticket] = deque()

    def arrive(self, ticket: Ticket) -> bool:
        """Admit the op now, or queue it; whether it was admitted."""
        if self.queue or not self._fits(ticket.size):
            self.queue.append(ticket)
            return False
        self._enter(ticket)
        return True

    def leave(self, ticket: Ticket) -> list[Ticket]:
        """The op is done; the tickets that this admits, in order."""
        self.ops -= 1
        self.bytes -= ticket.size
        admitted = []
        while self.queue and self._fits(self.queue[0].size):
            first = self.queue.popleft()
            self._enter(first)
            admitted.append(first)
        return admitted

    def _fits(self, size: int) -> bool:
        if self.max_ops is not None and self.ops >= self.max_ops:
            return False
        return self.max_bytes is None or self.ops == 0 or self.bytes + size <= self.max_bytes

    def _enter(self, ticket: Ticket) -> None:
        ticket.admitted = True
        self.ops += 1
        self.bytes += ticket.size
        self.peak_ops = max(self.peak_ops, self.ops)
        self.peak_bytes = max(self.peak_bytes, self.bytes)


class Gate:
    """The rule with threads waiting at it.

    Args:
        max_ops: Most ops in flight; None is no limit.
        max_bytes: Most bytes in flight; None is no limit.
    """

    def __init__(self, max_ops: int | None, max_bytes: int | None) -> None:
        self.rule = Admission(max_ops, max_bytes)
        self._lock = threading.Lock()
        self._closed = False

    def enter(self, size: int) -> Ticket | None:
        """Wait for admission of an op of `size` bytes; None when the gate was closed meanwhile."""
        ticket = Ticket(size)
        with self._lock:
            if self._closed:
                return None
            ticket.door.acquire()
            ticket.waited = not self.rule.arrive(ticket)
            if not ticket.waited:
                return ticket
        ticket.door.acquire()
        return ticket if ticket.admitted else None

    def leave(self, ticket: Ticket) -> None:
        """The op is done."""
        with self._lock:
            for admitted in self.rule.leave(ticket):
                admitted.door.release()

    def close(self) -> None:
        """Send everybody away who still waits; nobody enters any more."""
        with self._lock:
            self._closed = True
            while self.rule.queue:
                self.rule.queue.popleft().door.release()
