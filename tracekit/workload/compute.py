"""Emulated compute: time that passes as it does on an accelerator, without the interpreter lock and without a core.

A step that sleeps a little too long is followed by one that sleeps less: what late timers cost does not add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tracekit.workload.distribution import Distribution

_AT_ONCE = 1024


class Pace:
    """Spends times of a distribution.

    Args:
        seconds: How long each is.
        chance: Where they come from.
        clock: The time, ns.
        sleep: Sleeps for seconds.
    """

    def __init__(
        self,
        seconds: Distribution,
        chance: np.random.Generator,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = seconds
        self._chance = chance
        self._clock = clock
        self._sleep = sleep
        self._drawn: list[float] = []
        self._debt_ns = 0

    def draw(self) -> float:
        """The next time, in seconds."""
        if not self._drawn:
            self._drawn = self._seconds.draw(self._chance, _AT_ONCE).tolist()[::-1]
        return self._drawn.pop()

    def spend(self) -> float:
        """Let the next time pass; how long it was meant to be, in seconds."""
        wanted = self.draw()
        if wanted <= 0:
            return 0.0
        begun = self._clock()
        left_ns = round(wanted * 1e9) - self._debt_ns
        if left_ns > 0:
            self._sleep(left_ns / 1e9)
        # Somebody else's long turn on the core is no debt to be worked off by computing nothing at all for a while.
        self._debt_ns = min(self._clock() - begun - left_ns, round(wanted * 1e9))
        return wanted
