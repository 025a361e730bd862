"""Who issues the ops: one interface, chosen in one place, with the reason.

A native engine, an object engine and one for many hosts slot in here: they get the same plan, return the same outcome, and
nothing else in the replayer knows which of them ran.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError
from tracekit.replay.clock import Clock, choose_clock
from tracekit.replay.plan import Plan
from tracekit.replay.records import Block, Records
from tracekit.replay.standstill import Standstills
from tracekit.storage.local import LocalStorage
from tracekit.storage.objects import ObjectStorage

Int64s = NDArray[np.int64]

# More threads than this wait for the scheduler, not for the storage; streams then share them.
MAX_WORKERS = 1024
# The file of what was done, among a replay's working files.
RESULTS = "results"
# tk_result in tracekit/_native/engine.h: what became of an op. `row` is its place in the order of time, behind those of all
# repetitions before.
RESULT = np.dtype(
    [("row", "i8"), ("due", "i8"), ("free", "i8"), ("submit", "i8"), ("complete", "i8"), ("stall", "i8"), ("worker", "i8"),
     ("result", "i4"), ("error", "i4")]
)  # fmt: skip

# The same where a plan has requests for objects, which may move more than a system call: besides, when the answer began (`NULL`
# where none came) and how many requests it took.
_FAR = {"result": "i8", "error": "i4", "attempts": "i4", "first_byte": "i8"}
FAR_RESULT = np.dtype([*(field for field in RESULT.descr if field[0] not in _FAR), *_FAR.items()])


class Log:
    """What became of one stream's ops, in order: times in ns on the clock, bytes, errno.

    `due` is 0 where there was no schedule; `free` is when the stream had become able to issue the op; `stall` how long it
    waited at the in-flight gate; `queued` how long no worker was free for it. Requests for objects also have
    `first_byte` and `attempts`; elsewhere these are `NULL` and 0, and in a log without any they are empty.

    Args:
        records: Room for as many records (`RESULT`, or `FAR_RESULT` where any op is a request for an object) as there will be ops.
    """

    def __init__(self, records: Block) -> None:
        self.done = 0
        self.row: Int64s = records["row"]
        # One thread per stream: nobody ever waits for one.
        self.queued: Int64s = records["worker"]
        self.due, self.free, self.stall, self.submit, self.complete, self.ret, self.error = (
            records[name] for name in ("due", "free", "stall", "submit", "complete", "result", "error")
        )
        far = records.dtype == FAR_RESULT
        self.first_byte: Int64s = records["first_byte"] if far else np.zeros(0, np.int64)
        self.attempts: NDArray[np.int32] = records["attempts"] if far else np.zeros(0, np.int32)

    @property
    def far(self) -> bool:
        """Whether any of its ops is a request for an object."""
        return len(self.attempts) > 0

    @classmethod
    def of(cls, done: int, columns: Mapping[str, Int64s]) -> Log:
        """The log of a finished stream, by its columns."""
        log = cls(np.zeros(0, RESULT))
        log.done = done
        vars(log).update(columns)
        log.error = columns["error"].astype(np.int16)
        return log


@dataclass
class Outcome:
    """What an engine did.

    Args:
        logs: One per job of the plan, in its order; from an engine with `results`, all of them are read from there when
            one is asked for.
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
        threads: How many issued ops.
        priority: Their priority, and why it is that.
        results: What became of each op (`RESULT`), on disk, in any order; None where the logs have it.
        retried: Failed requests that were made again, by kind.
        connections: TCP connections to stores that were seen; None where there are no objects.
        standstills: When the machine stood still; None where nobody looked.
    """

    logs: Sequence[Log]
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
    priority: str = "normal"
    results: Records | None = None
    retried: Counter[str] = field(default_factory=Counter)
    connections: int | None = None
    standstills: Standstills | None = None


@dataclass
class State:
    """How far a run is: for progress, a few times a second. `lateness_ns` is that of the last ops, `moved` bytes so far.

    `lasts_ns` is what the schedule takes from begin to end, where there is one.
    """

    done: int
    in_flight: float
    lateness_ns: int
    moved: int = 0
    lasts_ns: int | None = None


class Control:
    """The way into a running engine: `stop` ends it, `report` hears how far it is.

    Args:
        report: Called from the thread that called `Engine.run`.
        start_at: The run's t0 is not before this moment on CLOCK_MONOTONIC, in ns.
    """

    def __init__(self, report: Callable[[State], None] = lambda _: None, *, start_at: int = 0) -> None:
        self.stop = threading.Event()
        self.report = report
        self.start_at = start_at


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


def choose(asked: str, plan: Plan) -> Choice:
    """The engine for a plan, and why.

    `auto` takes the native threads; the ring where everything is read with O_DIRECT, because there the device works while
    a ring waits, and not through the page cache, where each copy would hold up the next; and the Python threads where
    there is no native core or a place is no local file. With think times it keeps a thread for each stream where it can: what
    it takes to wake the thread whose read is done is a part of the program's service time, and a ring has that only once.

    Raises:
        CannotRunError: If the engine that was asked for cannot run here.
    """
    from tracekit.replay.threads import ThreadsEngine

    clock, why_clock = choose_clock()
    name, why = _named(asked, plan)
    if name == "threads":
        return Choice(ThreadsEngine(clock), clock, f"threads: {why}; {why_clock}")
    from tracekit import _core
    from tracekit.replay.native import NativeEngine

    return Choice(NativeEngine(_core, name), clock, f"{name}: {why}")


def takes_a_thread_a_stream(asked: str, plan: Plan) -> bool:
    """Whether the Python threads would issue a plan's ops: one for each stream, however many there are."""
    return (
        asked == "threads" or any(not isinstance(file.storage, LocalStorage) for file in plan.files) or bool(_no_core())
    )


def _named(asked: str, plan: Plan) -> tuple[str, str]:
    ordered = plan.options.order == "global"
    if asked == "threads" and not ordered:
        return asked, "asked for"
    problem = _core_problem(plan)
    if ordered and (problem or asked == "threads"):
        raise CannotRunError(
            "the threads engine keeps order within each stream only" + (f", and {problem}" if problem else ""),
            "leave out --order global, or use --engine native",
        )
    ring_problem = problem or _ring_problem()
    if asked != "auto":
        wrong = ring_problem if asked == "uring" else problem
        if wrong:
            raise CannotRunError(f"the {asked} engine cannot run: {wrong}", "use --engine auto")
        return asked, "asked for"
    if problem:
        return "threads", problem
    if not _is_direct(plan):
        return "native", "reads go through the page cache, where each is best copied by a thread of its own"
    if ring_problem:
        return "native", f"reads go past the page cache, but {ring_problem}"
    if plan.pace == "think" and len(plan.jobs) <= MAX_WORKERS:
        return "native", "with think times a thread of each stream waits for its reads, as the program's did"
    return "uring", "reads go past the page cache, and a ring waits for many at once"


def _no_core() -> str:
    """Why the core cannot be had; empty where it can."""
    try:
        from tracekit import _core  # noqa: F401 -- whether it loads is the question
    except ImportError as error:
        return f"the native core is not there ({error})"
    return ""


def _core_problem(plan: Plan) -> str:
    if missing := _no_core():
        return missing
    for file in plan.files:
        if isinstance(file.storage, ObjectStorage):
            return f"objects are asked for by threads, one a stream, through {file.storage.client_name(file.place)}"
    other = next((file.uri for file in plan.files if not isinstance(file.storage, LocalStorage)), "")
    return f"{other} is no local file" if other else ""


def _ring_problem() -> str:
    from tracekit import _core
    from tracekit.replay.native import probe

    ability = probe(_core)
    return "" if ability.usable else ability.reason


def _is_direct(plan: Plan) -> bool:
    reading = [file for file in plan.files if file.read]
    return bool(reading) and all(file.direct for file in reading)
