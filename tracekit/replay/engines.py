"""Who issues the ops: one interface, chosen in one place, with the reason.

A native engine, an object engine and one for many hosts slot in here: they get the same plan, return the same outcome, and
nothing else in the replayer knows which of them ran.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracekit.replay.clock import Clock, choose_clock
from tracekit.replay.plan import Plan

Int64s = NDArray[np.int64]


class Log:
    """What became of one stream's ops, in order: times in ns on the clock, bytes, errno.

    `due` is 0 where there was no schedule; `free` is when the stream had become able to issue the op; `stall` how long it
    waited at the in-flight gate. 56 bytes an op.

    Args:
        count: How many ops there will be.
    """

    NAMES = ("due", "free", "stall", "submit", "complete", "ret")

    def __init__(self, count: int) -> None:
        self.done = 0
        self.due, self.free, self.stall, self.submit, self.complete, self.ret = (
            np.zeros(count, np.int64) for _ in self.NAMES
        )
        self.error = np.zeros(count, np.int16)


@dataclass
class Outcome:
    """What an engine did.

    Args:
        logs: One per job of the plan, in its order.
        t0: The run's start on the clock, in ns.
        t0_unix_ns: The same moment on the wall clock.
        stopped: Why the run ended early, as a sentence; empty when it did not.
        interrupted: Whether a person or a signal ended it.
        peak_ops: Most ops the in-flight gate let in at once; 0 without a gate.
        peak_bytes: The same in bytes.
        issued_bytes: Bytes asked of the system, after rounding.
        fell_back: Files that were to be read with O_DIRECT and were not, by their position in the plan.
        went_direct: Files that were.
        unmatched_closes: Recorded closes of something nobody had opened.
    """

    logs: list[Log]
    t0: int
    t0_unix_ns: int
    stopped: str = ""
    interrupted: bool = False
    peak_ops: int = 0
    peak_bytes: int = 0
    issued_bytes: int = 0
    fell_back: set[int] = field(default_factory=set)
    went_direct: set[int] = field(default_factory=set)
    unmatched_closes: int = 0
    threads: int = 0


@dataclass
class State:
    """How far a run is: for progress, a few times a second."""

    done: int
    in_flight: float
    lateness_ns: int


class Control:
    """The way into a running engine: `stop` ends it, `report` hears how far it is.

    Args:
        report: Called from the thread that called `Engine.run`.
    """

    def __init__(self, report: Callable[[State], None] = lambda _: None) -> None:
        self.stop = threading.Event()
        self.report = report


class Engine(Protocol):
    """Issues a plan's ops: order kept within each stream, deadlines by the pacer, caps by the gate."""

    name: str

    def run(self, plan: Plan, control: Control) -> Outcome:
        """Run the plan to its end or until it is stopped. Ctrl-C stops it; what was done by then is in the outcome."""


@dataclass(frozen=True)
class Choice:
    """An engine, the clock it uses, and why."""

    engine: Engine
    clock: Clock
    reason: str


def choose(asked: str) -> Choice:
    """The engine for a plan. There is one so far; `asked` is `auto` or its name."""
    from tracekit.replay.threads import ThreadsEngine

    clock, why_clock = choose_clock()
    why = "asked for" if asked == "threads" else "the only engine of this version"
    return Choice(ThreadsEngine(clock), clock, f"threads: {why}; {why_clock}")
