"""Requests made again: how often, after which pause, and by whom while their streams go on.

A client's own retries are off, so every request is counted. In an open loop the ops behind a failed one are due at their
times whatever becomes of it: it is handed to a thread that waits out the pause and asks again. In a closed loop the program
waited for it, and so does its stream.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tracekit.storage.failures import kind_of, may_pass

FIRST_NS, MOST_NS, MOST_ASKED_NS = 100_000_000, 5_000_000_000, 60_000_000_000
# Each waits for a server's answer; more of them would be one more load on a store that asks for less.
_THREADS = 32


@dataclass(frozen=True)
class Policy:
    """When a failed request is made again.

    Args:
        retries: How many times at most; 0 is never.
        first_ns: The longest pause before the second request; it doubles with each, to `most_ns`.
        most_ns: The longest pause of all.
    """

    retries: int = 0
    first_ns: int = FIRST_NS
    most_ns: int = MOST_NS

    def again(self, error: int, attempts: int) -> bool:
        """Whether a request that failed in this way is made again, after so many attempts."""
        return attempts <= self.retries and may_pass(error)

    def pause_ns(self, attempts: int, asked_ns: int = 0) -> int:
        """How long to wait before the next attempt: between half and all of the longest pause, so that streams part.

        Not less than the store asked for (`Retry-After`), up to a minute.
        """
        longest = min(self.first_ns << (attempts - 1), self.most_ns) if attempts < _SHIFT else self.most_ns
        own = int(longest * random.uniform(0.5, 1.0))  # noqa: S311 -- no secret
        return max(own, min(asked_ns, MOST_ASKED_NS))


_SHIFT = 32


@dataclass
class Tally:
    """Failed requests that were made again, by kind, and the bytes asked for once more; fed by several threads."""

    kinds: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, error: int, size: int) -> None:
        """One more, for so many bytes."""
        with self._lock:
            self.kinds[kind_of(error)] += 1
            self.bytes += size


class Deferred:
    """Calls to be made at their times, by threads that are there when they are needed.

    Args:
        stop: Set when nothing is to be done any more; what is waiting then is dropped.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._ready = threading.Condition()
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._busy = self._idle = 0
        self._over = False

    def later(self, when_ns: int, call: Callable[[], None]) -> None:
        """Make a call at a moment on CLOCK_MONOTONIC, or as soon after it as a thread is free."""
        with self._ready:
            heapq.heappush(self._waiting, (when_ns, next(self._numbers), call))
            if self._idle < len(self._waiting) and len(self._threads) < _THREADS:
                thread = threading.Thread(target=self._work, name="retries", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._ready.notify()

    @property
    def pending(self) -> bool:
        """Whether a call is waiting or being made."""
        with self._ready:
            return bool(self._waiting or self._busy) and not self._stop.is_set()

    def close(self, patience_s: float) -> None:
        """Drop what waits, and give calls that are being made a little time."""
        with self._ready:
            self._over = True
            self._waiting.clear()
            self._ready.notify_all()
        end = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            finally:
                with self._ready:
                    self._busy -= 1

    def _next(self) -> Callable[[], None] | None:
        with self._ready:
            self._idle += 1
            try:
                while not (self._over or self._stop.is_set()):
                    left = (self._waiting[0][0] - time.monotonic_ns()) / 1e9 if self._waiting else None
                    if left is not None and left <= 0:
                        self._busy += 1
                        return heapq.heappop(self._waiting)[2]
                    # Woken for what comes, and now and then to see whether the run was stopped.
                    self._ready.wait(_LOOK_S if left is None else min(left, _LOOK_S))
                return None
            finally:
                self._idle -= 1


_LOOK_S = 0.5
