"""The threads engine: one Python thread per recorded stream.

The readable reference. A thread waits for its op's deadline, passes the in-flight gate, issues, notes, and goes on
(`walker`). With the native core the wait, the read and both clock readings are one call that does not hold the interpreter
lock.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tracekit.replay.clock import Clock
from tracekit.replay.engines import Control, Outcome, State
from tracekit.replay.journal import logs_of
from tracekit.replay.plan import Plan
from tracekit.replay.walker import Shared, Walker

# A thread that wakes up waits this long for the interpreter lock before it asks for it; the default is 5 ms.
_SWITCH_S = 0.0002
_REPORT_S = 0.1
_START_NS = 5_000_000
_START_NS_PER_THREAD = 100_000
_JOIN_S = 5.0


class ThreadsEngine:
    """One thread per stream.

    Args:
        clock: How to wait and how to time a read.
    """

    name = "threads"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(self, plan: Plan, control: Control) -> Outcome:
        """Run the plan (see `Engine.run`)."""
        shared = Shared(plan, self._clock, control)
        walkers = [Walker(shared, job, log) for job, log in zip(plan.jobs, logs_of(plan), strict=True)]
        shared.walkers = walkers
        with _quiet_interpreter(), shared.realtime:
            try:
                _start(walkers, shared)
                _watch(walkers, shared)
            except KeyboardInterrupt:
                shared.interrupted = True
                shared.end("the run was interrupted")
            except threading.BrokenBarrierError:
                pass  # a stream ended the run while this thread was still being woken for its beginning
            finally:
                shared.end("")
                _join(walkers)
                shared.deferred.close(_JOIN_S)
        return _outcome(shared, walkers)


def _start(walkers: list[Walker], shared: Shared) -> None:
    """Start every thread, let each open what it needs first, and only then say when time begins."""
    for walker in walkers:
        walker.start()
    shared.ready.wait()
    shared.t0 = max(shared.clock.now() + _START_NS + _START_NS_PER_THREAD * len(walkers), shared.control.start_at)
    shared.ready.wait()


def _watch(walkers: list[Walker], shared: Shared) -> None:
    """Wait for the end, of requests that are made again too, and report now and then."""
    busy_before, last = 0, shared.clock.now()
    for waiting in (*(partial(_joined, walker) for walker in walkers), partial(_settled, shared)):
        while waiting():
            now, busy = shared.clock.now(), sum(one.busy_ns for one in walkers)
            # Little's law: time spent in ops per time passed is the mean number of ops in flight.
            if now - last >= _REPORT_S * 1e9:
                depth = (busy - busy_before) / (now - last)
                late, moved = max(one.lateness for one in walkers), sum(one.moved_bytes for one in walkers)
                state = State(sum(one.log.done for one in walkers), depth, late, moved)
                shared.control.report(state)
                shared.realtime.watch()
                busy_before, last = busy, now


def _joined(walker: Walker) -> bool:
    """Whether a stream is still being replayed, a moment later."""
    walker.join(_REPORT_S)
    return walker.is_alive()


def _settled(shared: Shared) -> bool:
    """Whether a request is still to be made again, a moment later."""
    return shared.deferred.pending and not shared.stop.wait(_REPORT_S)


def _join(walkers: list[Walker]) -> None:
    """Give ops that are under way a little time; one that hangs in the system is left behind."""
    end = time.monotonic() + _JOIN_S
    for walker in walkers:
        if walker.ident is not None:
            walker.join(max(0.0, end - time.monotonic()))


def _outcome(shared: Shared, walkers: list[Walker]) -> Outcome:
    defect = next((walker.problem for walker in walkers if walker.problem is not None), None)
    if defect is not None:
        raise defect
    if not any(walker.is_alive() for walker in walkers):
        shared.opened.close()
    rule = shared.gate.rule if shared.gate is not None else None
    return Outcome(
        logs=[walker.log for walker in walkers],
        t0=shared.t0,
        t0_unix_ns=time.time_ns() - (time.monotonic_ns() - shared.t0),
        stopped=shared.stopped,
        interrupted=shared.interrupted,
        peak_ops=rule.peak_ops if rule else 0,
        peak_bytes=rule.peak_bytes if rule else 0,
        issued_bytes=sum(walker.issued_bytes for walker in walkers) + shared.retried.bytes,
        fell_back=set().union(*(walker.issuer.fell_back for walker in walkers)),
        went_direct=set().union(*(walker.issuer.went_direct for walker in walkers)),
        unmatched_closes=shared.opened.unmatched,
        threads=len(walkers),
        retried=shared.retried.kinds,
        priority=shared.realtime.said,
        standstills=shared.realtime.standstills,
    )


@contextmanager
def _quiet_interpreter() -> Iterator[None]:
    """Quick hand-over of the interpreter lock and no garbage collection in between; both as before afterwards."""
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_SWITCH_S)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()
