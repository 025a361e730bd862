"""How to wait for a moment, and how to time one read: the native core, or its Python twin.

Both wait for absolute CLOCK_MONOTONIC times. Sleeping for gaps instead adds every overshoot to all that follows: replayers
that do so end 1 to 64 % late on the kind of machine this was measured on (docs/explanation/cadence.md).
"""

from __future__ import annotations

import ctypes
import errno
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from tracekit.storage.base import Buffer, Handle

if TYPE_CHECKING:
    from types import ModuleType

_PR_SET_TIMERSLACK = 29
# The last stretch before a deadline is slept without looking at the stop signal: waiting for that costs some 20 us of Python and a
# turn of the interpreter lock, which a stream with ops every few milliseconds is spared.
FINE_NS = 20_000_000


class Clock(Protocol):
    """Time as an engine sees it."""

    name: str

    def now(self) -> int:
        """CLOCK_MONOTONIC, in ns."""

    def sleep_until(self, deadline: int) -> int:
        """Sleep to an absolute time, never shorter; the time after waking, in ns."""

    def enter_thread(self) -> None:
        """Called once by each thread that will wait: asks the kernel for exact wake-ups where it can be asked."""

    def read(
        self, handle: Handle, buffer: Buffer, length: int, offset: int, deadline: int
    ) -> tuple[int, int, int, int]:
        """Wait to `deadline` (0: not at all), then read.

        Returns:
            (t_submit, t_complete, result, errno): ns on both sides of the system call, bytes or -1, and 0 or an errno.
        """


class PythonClock:
    """The twin: `time.sleep`, again until the time has come; timer slack through prctl(2) where there is one."""

    name = "python"

    def now(self) -> int:
        """CLOCK_MONOTONIC, in ns."""
        return time.monotonic_ns()

    def sleep_until(self, deadline: int) -> int:
        """Sleep until the deadline has passed (time.sleep may wake a little early by rounding)."""
        now = time.monotonic_ns()
        while now < deadline:
            time.sleep((deadline - now) / 1e9)
            now = time.monotonic_ns()
        return now

    def enter_thread(self) -> None:
        """Timer slack of 1 ns for the calling thread; without it a wake-up may be deferred by 50 us."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)

    def read(
        self, handle: Handle, buffer: Buffer, length: int, offset: int, deadline: int
    ) -> tuple[int, int, int, int]:
        """Wait and read; the times include waiting for the interpreter lock, which the native core's do not."""
        submitted = self.sleep_until(deadline) if deadline else time.monotonic_ns()
        try:
            result = handle.pread(buffer, length, offset)
        except OSError as error:
            return submitted, time.monotonic_ns(), -1, error.errno or errno.EIO
        return submitted, time.monotonic_ns(), result, 0


class CoreClock(PythonClock):
    """The native core: clock_nanosleep(2) without the interpreter lock, and the clock read beside the system call.

    Args:
        core: The module `tracekit._core`.
    """

    name = "core"

    def __init__(self, core: ModuleType) -> None:
        self._core = core
        # Bound once: a lookup less per op.
        self.now = core.now_ns  # type: ignore[method-assign]  # the same signature
        self.sleep_until = core.sleep_until  # type: ignore[method-assign]  # the same signature
        self._pread = core.timed_pread

    def enter_thread(self) -> None:
        """Timer slack of 1 ns for the calling thread; a kernel that refuses costs 50 us per wake-up, no more."""
        try:
            self._core.precise_timers()
        except OSError:
            return

    def read(
        self, handle: Handle, buffer: Buffer, length: int, offset: int, deadline: int
    ) -> tuple[int, int, int, int]:
        """Wait and read in one call that never takes the interpreter lock in between."""
        fd = handle.fileno()
        if fd < 0:
            return super().read(handle, buffer, length, offset, deadline)
        answer: tuple[int, int, int, int] = self._pread(fd, buffer.address, length, offset, deadline)
        return answer


def choose_clock() -> tuple[Clock, str]:
    """The best clock here, and why it was chosen."""
    try:
        from tracekit import _core
    except ImportError as error:
        return PythonClock(), f"the native core is not there ({error}), so Python waits and takes the times"
    return CoreClock(_core), "the native core waits and takes the times"


def wait(clock: Clock, deadline: int, stop: threading.Event) -> bool:
    """Wait to just before `deadline`, or until `stop` is set; whether it was set. The clock does the last stretch."""
    left = deadline - FINE_NS - clock.now()
    return stop.wait(left / 1e9) if left > 0 else stop.is_set()


def noise_floor(clock: Clock, *, sleeps: int = 40, length_ns: int = 1_000_000) -> list[int]:
    """How late this machine wakes us from plain sleeps right now: the overshoot of each, in ns, sorted."""
    clock.enter_thread()
    overshoots = []
    for _ in range(sleeps):
        deadline = clock.now() + length_ns
        overshoots.append(clock.sleep_until(deadline) - deadline)
    return sorted(overshoots)
