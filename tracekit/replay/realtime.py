"""Real-time priority for a run by Python threads: theirs, and that of the threads that a client of a store has made.

All of them get it: a thread of normal priority that holds the interpreter lock, or hands a body on, would make the others
wait until it gets a core. New threads inherit it from those that make them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tracekit.cgroup import cores
from tracekit.replay import standstill
from tracekit.replay.standstill import Standstills

# That of the core's engine: who looks for standstills has one more.
_PRIORITY = 1
# What is left to others: above this share of all cores, over a second, the priority is given back.
_MOST_SHARE, _SPAN_NS = 0.85, 1_000_000_000


class Realtime:
    """SCHED_FIFO for every thread of this process, from entry to exit; `said` is what came of it.

    Meanwhile the core looks for standstills of the machine: `standstills` is None where it could not.

    Args:
        unwanted: Why it is not wanted; empty where it is.
    """

    def __init__(self, unwanted: str = "") -> None:
        self.said = f"normal: {unwanted}" if unwanted else "normal"
        self.standstills: Standstills | None = None
        self._wanted = not unwanted and sys.platform == "linux"
        # Ends the look for standstills; there as long as the priority is held.
        self._end_watch: Callable[[], Standstills | None] | None = None
        self._since = self._cpu = 0

    def __enter__(self) -> Realtime:
        if self._wanted:
            self._before = os.sched_getscheduler(0), os.sched_getparam(0)
            try:
                _all_threads(os.SCHED_FIFO, os.sched_param(_PRIORITY))
            except OSError as error:
                self.said = f"normal: real-time priority was refused ({error.strerror})"
            else:
                self.said, self._end_watch = "real-time", standstill.watch()
                self._since, self._cpu = time.monotonic_ns(), time.process_time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def watch(self) -> None:
        """Look now and then whether others still get their share of the cores; give the priority back where not."""
        now, cpu = time.monotonic_ns(), time.process_time_ns()
        if self._end_watch is None or now - self._since < _SPAN_NS:
            return
        if cpu - self._cpu > _MOST_SHARE * cores() * (now - self._since):
            self._give_back()
            self.said = "real-time, given back for using the cores too long"
        self._since, self._cpu = now, cpu

    def _give_back(self) -> None:
        if self._end_watch is not None:
            # First: without priority those who look would be kept waiting by others.
            self.standstills, self._end_watch = self._end_watch(), None
            with suppress(OSError):
                _all_threads(*self._before)


def _all_threads(policy: int, parameter: os.sched_param) -> None:
    """Set the policy of every thread of this process; the caller's first, so that a refusal changes nothing."""
    os.sched_setscheduler(threading.get_native_id(), policy, parameter)
    for name in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(name), policy, parameter)
