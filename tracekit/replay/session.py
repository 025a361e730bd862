"""A replay from beginning to end: plan, check, prepare, set the cache, run, measure, state."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from tracekit import __version__
from tracekit.machine import host_facts
from tracekit.replay import engines, flow, prepare, scratch, start_state
from tracekit.replay.account import Account
from tracekit.replay.clock import noise_floor
from tracekit.replay.disturbance import Disturbance, Moment
from tracekit.replay.engines import Choice, Control, Outcome, State
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, data_roots, make_plan
from tracekit.replay.preflight import examine, raise_for
from tracekit.replay.result import Done, as_trace, collect
from tracekit.replay.statement import statement
from tracekit.replay.summary import Summary
from tracekit.storage import Storage, storage_for
from tracekit.trace import Header, Trace, Trailer


class Listener(Protocol):
    """Who hears how far a replay is. The library prints nothing itself."""

    def warn(self, text: str) -> None:
        """Something the user should know before the run."""

    def preparing(self, done: int, total: int) -> None:
        """Bytes of stand-in data written so far, of so many."""

    def running(self, state: State, total: int) -> None:
        """How far the run is, of so many ops."""


class Silent:
    """A listener for whom nothing matters."""

    def warn(self, text: str) -> None:
        """Ignored; the warnings are in the result's plan too."""

    def preparing(self, done: int, total: int) -> None:
        """Ignored."""

    def running(self, state: State, total: int) -> None:
        """Ignored."""


class Conductor(Protocol):
    """Who decides when a replay does what others must not do at the same time: several of them may be one run."""

    def turn(self) -> AbstractContextManager[None]:
        """The time in which missing data may be made."""

    def start(self) -> int:
        """All is ready: the moment of the start on CLOCK_MONOTONIC, in ns; 0 is at once."""


class Alone:
    """The conductor of a replay that is on its own."""

    def turn(self) -> AbstractContextManager[None]:
        """Now."""
        return nullcontext()

    def start(self) -> int:
        """At once."""
        return 0


@dataclass(frozen=True)
class Replay:
    """What came of it: the trace of what was done, with the run's statement in its trailer, and what is behind it."""

    trace: Trace
    plan: Plan
    outcome: Outcome
    account: Account
    summary: Summary

    @property
    def run(self) -> dict[str, Any]:
        """The run's statement about itself (`tracekit.replay.verdict`)."""
        assert self.trace.trailer is not None
        return dict(self.trace.trailer.run)


def replay(
    source: Trace,
    options: Options | None = None,
    *,
    source_name: str = "",
    scratch_base: str | None = None,
    listener: Listener | None = None,
    choice: Choice | None = None,
    storage_of: Callable[[str], Storage] = storage_for,
    conductor: Conductor | None = None,
) -> Replay:
    """Replay a trace.

    Args:
        source: The trace.
        options: What to do; the defaults are those of the command.
        source_name: The trace's file, for the header.
        scratch_base: Where the scratch directory for writes goes when the options name none; default the system's own.
        listener: Who hears of warnings and progress.
        choice: The engine; default is what `engines.choose` finds.
        storage_of: The storage of a URI.
        conductor: Who says when, where several replays are one run.

    Raises:
        PreflightError: If several things are known to fail; a single one is raised as it is (`InputError`,
            `UnknownSchemeError`, `CannotRunError`…). Nothing was issued then.
    """
    options = options or Options()
    listener, conductor = listener or Silent(), conductor or Alone()
    plan = make_plan(source, options, storage_of=storage_of)
    base = options.scratch or scratch_base or tempfile.gettempdir()
    recorded = start_state.of_recording(source.trailer.residency if source.trailer else {}, plan)
    plan.problems += start_state.problems(plan, recorded)
    with conductor.turn():
        _make_ready(plan, base, listener)
    choice = choice or engines.choose(options.engine, plan)
    with _enough_descriptors(), scratch.made(plan, base):
        residency = start_state.set_state(plan, recorded, listener.warn)
        outcome, disturbance = _run(plan, choice, listener, conductor)
        residency["after"] = start_state.measured(plan)
    done = collect(plan, outcome)
    account, summary = Account.of(plan, outcome, disturbance), Summary(outcome.t0)
    summary.add(done)
    run = statement(account, summary, recorded_depth(plan)).to_json()
    run["reasons"] += residency.get("notes", [])
    trace = _described(plan, outcome, done, choice, run, residency, source_name, len(source))
    return Replay(trace, plan, outcome, account, summary)


def _make_ready(plan: Plan, base: str, listener: Listener) -> None:
    """Find every problem, raise them all, and only then make missing data."""
    missing = prepare.missing(plan) if plan.options.prepare else []
    examine(plan, to_prepare=frozenset(file.uri for file in missing))
    plan.problems += prepare.check_space(missing)
    plan.problems += scratch.problems(plan, base)
    raise_for(plan.problems)
    for text in plan.warnings:
        listener.warn(text)
    if missing and plan.options.prepare:
        total = sum(file.extent for file in missing)
        prepare.prepare(missing, plan.options.prepare, lambda done: listener.preparing(done, total))


@contextmanager
def _enough_descriptors() -> Iterator[None]:
    """The soft limit on open files raised to the hard one, which preflight counted with; as before afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _run(plan: Plan, choice: Choice, listener: Listener, conductor: Conductor) -> tuple[Outcome, Disturbance]:
    # From before the calibration on: the longer the look at the machine, the finer what /proc/stat tells.
    start = Moment.now()
    noise = noise_floor(choice.clock)
    control = Control(lambda state: listener.running(state, plan.ops), start_at=conductor.start())
    outcome = choice.engine.run(plan, control)
    return outcome, Disturbance.between(start, Moment.now(), noise)


def recorded_depth(plan: Plan) -> dict[str, float] | None:
    """Ops in flight in the recording; None where it does not tell."""
    if not plan.program.has_service_times:
        return None
    submit, complete = (plan.trace.col(name).astype("int64") for name in ("t_submit", "t_complete"))
    return flow.depth(submit, complete)


def _described(
    plan: Plan,
    outcome: Outcome,
    done: Done,
    choice: Choice,
    run: dict[str, Any],
    residency: dict[str, Any],
    source_name: str,
    source_ops: int,
) -> Trace:
    """The output trace with header and trailer."""
    trace = as_trace(plan, outcome, done)
    chosen = {
        field.name: getattr(plan.options, field.name)
        for field in dataclasses.fields(Options)
        if getattr(plan.options, field.name) != field.default
    }
    trace.header = Header(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        producer={
            "tool": "tracekit",
            "version": __version__,
            "verb": "replay",
            "engine": choice.engine.name,
            "reason": choice.reason,
            "options": chosen
            | {
                "source": source_name,
                "source_ops": source_ops,
                "pace": plan.pace,
                "pace_reason": plan.pace_reason,
                "streams_by": plan.program.grouping,
            },
        },
        clock={
            "t0_unix_ns": outcome.t0_unix_ns,
            "source": "CLOCK_MONOTONIC",
            "resolution_ns": max(1, round(time.get_clock_info("monotonic").resolution * 1e9)),
        },
        command=[os.path.basename(sys.argv[0]), *sys.argv[1:]],
        host=host_facts(data_roots(plan)),
        filters={"select": plan.options.select} if plan.options.select else {},
    )
    moved = int(done.ret[done.ret > 0].sum())
    trace.trailer = Trailer(ops=len(trace), bytes=moved, residency=residency, run=run)
    return trace
