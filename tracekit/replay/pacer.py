"""When the next op of a stream is due.

    recorded   open loop: start + the recorded time. When late, the op goes at once and the schedule stays as it is.
    think      closed loop: the completion of the op before + the recorded think time. An overshoot of our own is a debt
               that the next think times pay, so that late wake-ups do not add up.
    asap       now.

Every deadline is absolute. A pacer belongs to one stream and knows no clock: engines tell it times and ask it for times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

NOT_PACED = 0


class Pacer(Protocol):
    """The deadlines of one stream's ops."""

    def due(self, turn: int, index: int, free: int) -> int:
        """When op `index` of repetition `turn` is due, in the clock's ns; `NOT_PACED` means at once.

        Args:
            turn: The repetition, from 0.
            index: The op's position in the stream.
            free: When the stream became able to issue it: the completion of its op before, or its start.
        """

    def issued(self, due: int, ready: int) -> None:
        """Tell when the stream was ready to issue the op that was due at `due`; what came after that is not ours."""


class Recorded:
    """Open loop.

    Args:
        start: The run's t0 on the clock, in ns.
        schedule: Each op's time after t0, in ns, already divided by the speed.
        period: What one repetition takes, in ns.
    """

    def __init__(self, start: int, schedule: Sequence[int], period: int) -> None:
        self._start = start
        self._schedule = schedule
        self._period = period

    def due(self, turn: int, index: int, free: int) -> int:  # noqa: ARG002 -- an open loop does not look back
        """The recorded time after the start."""
        return self._start + turn * self._period + self._schedule[index]

    def issued(self, due: int, ready: int) -> None:
        """Lateness changes nothing."""


class Think:
    """Closed loop with debt.

    Args:
        think: The think time before each op, in ns, already divided by the speed.
    """

    def __init__(self, think: Sequence[int]) -> None:
        self._think = think
        self.debt = 0

    def due(self, turn: int, index: int, free: int) -> int:  # noqa: ARG002 -- every repetition thinks alike
        """The op's think time after `free`, less what is owed."""
        think = self._think[index]
        paid = min(self.debt, think)
        self.debt -= paid
        return free + think - paid

    def issued(self, due: int, ready: int) -> None:
        """Being ready late is owed."""
        if ready > due:
            self.debt += ready - due


class Asap:
    """No schedule."""

    def due(self, turn: int, index: int, free: int) -> int:  # noqa: ARG002 -- there is none
        """At once."""
        return NOT_PACED

    def issued(self, due: int, ready: int) -> None:
        """Nothing was promised."""
