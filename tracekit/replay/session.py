"""A replay from beginning to end: plan, check, prepare, set the cache, run, measure, state."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tracekit import __version__
from tracekit.errors import CannotRunError
from tracekit.formats.writer import Writer
from tracekit.machine import host_facts
from tracekit.replay import engines, leftover, prepare, scratch, start_state
from tracekit.replay.account import Account
from tracekit.replay.clock import noise_floor
from tracekit.replay.disturbance import Disturbance, Moment
from tracekit.replay.engines import Choice, Control, Outcome, State
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, data_roots, make_plan
from tracekit.replay.preflight import examine, raise_for
from tracekit.replay.result import Output, joined, pieces_of
from tracekit.replay.statement import statement
from tracekit.replay.summary import Summary
from tracekit.replay.wakefulness import processors_awake
from tracekit.runid import run_id
from tracekit.storage import Storage
from tracekit.storage.connections import Connections
from tracekit.trace import Header, Mark, Trace, Trailer


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
    """What came of it: header and trailer of the trace of what was done, with the run's statement, and what is behind it.

    `whole` is the trace itself where it was wanted in memory.
    """

    header: Header
    trailer: Trailer
    plan: Plan
    outcome: Outcome
    account: Account
    summary: Summary
    whole: Trace | None = None

    @property
    def run(self) -> dict[str, Any]:
        """The run's statement about itself (`tracekit.replay.verdict`)."""
        return dict(self.trailer.run)

    @property
    def trace(self) -> Trace:
        """The trace of what was done, of a replay that kept it in memory."""
        assert self.whole is not None, "this replay wrote its trace piece by piece"
        return self.whole


def replay(
    source: Trace | Iterable[Trace],
    options: Options | None = None,
    *,
    source_name: str = "",
    scratch_base: str | None = None,
    listener: Listener | None = None,
    choice: Choice | None = None,
    storage_of: Callable[[str], Storage] | None = None,
    conductor: Conductor | None = None,
    output: str | None = None,
) -> Replay:
    """Replay a trace, and keep the trace of what was done in memory (see `perform`, which does not)."""
    finished = perform(
        source, options, source_name=source_name, scratch_base=scratch_base, listener=listener, choice=choice,
        storage_of=storage_of, conductor=conductor, output=output,
    )  # fmt: skip
    pieces = Kept()
    done = finished.write(pieces)
    finished.close()
    whole = joined(pieces.kept)
    whole.header, whole.trailer = done.header, done.trailer
    return dataclasses.replace(done, whole=whole)


def perform(
    source: Trace | Iterable[Trace],
    options: Options | None = None,
    *,
    source_name: str = "",
    scratch_base: str | None = None,
    listener: Listener | None = None,
    choice: Choice | None = None,
    storage_of: Callable[[str], Storage] | None = None,
    conductor: Conductor | None = None,
    folder: str | None = None,
    output: str | None = None,
) -> Finished:
    """Replay a trace; neither it nor what was done is ever in memory as a whole.

    Args:
        source: The trace, or its pieces as from `tracekit.formats.chunks`.
        options: What to do; the defaults are those of the command.
        source_name: The trace's file, for the header.
        scratch_base: Where the scratch directory for writes goes when the options name none; default the system's own.
        listener: Who hears of warnings and progress.
        choice: The engine; default is what `engines.choose` finds.
        storage_of: The storage of a URI; the default goes by its scheme.
        conductor: Who says when, where several replays are one run.
        folder: A directory for the working files, about 170 bytes an op; they stay there, and are the caller's to remove.
            None is the system's own place for temporary files, where nothing is left.
        output: The file that will be written afterwards; it must be none of those that are read.

    Raises:
        PreflightError: If several things are known to fail; a single one is raised as it is (`InputError`,
            `UnknownSchemeError`, `CannotRunError`…). Nothing was issued then.
    """
    options = options or Options()
    listener, conductor = listener or Silent(), conductor or Alone()
    plan = make_plan(source, options, storage_of=storage_of, folder=folder)
    base = scratch.local_base(plan, scratch_base or tempfile.gettempdir())
    recorded = start_state.of_recording(plan.recorded_residency, plan)
    plan.problems += start_state.problems(plan, recorded)
    # What is asked before the run opens connections that the run uses.
    connections = Connections() if any(file.storage is not None and not file.local for file in plan.files) else None
    with conductor.turn():
        choice = _make_ready(plan, base, output, listener, choice)
    if connections is not None:
        connections.look()
    with _enough_descriptors(), scratch.made(plan, base):
        residency = start_state.set_state(plan, recorded, listener.warn)
        if folder is not None:
            leftover.describe(folder, plan, _header(plan, choice, source_name, 0))
        outcome, disturbance = _run(plan, choice, listener, conductor, connections)
        residency["after"] = start_state.measured(plan)
    return Finished(plan, outcome, choice, disturbance, residency, source_name)


@dataclass(frozen=True)
class Finished:
    """A run that is over. What was done lies on disk, in the order in which ops completed."""

    plan: Plan
    outcome: Outcome
    choice: Choice
    disturbance: Disturbance
    residency: dict[str, Any]
    source_name: str

    def close(self) -> None:
        """Give the working files' space back."""
        self.plan.close()
        if self.outcome.results is not None:
            self.outcome.results.close()

    @property
    def header(self) -> Header:
        """The header of the trace of what was done."""
        return _header(self.plan, self.choice, self.source_name, self.outcome.t0_unix_ns)

    @property
    def account(self) -> Account:
        """How the run went."""
        return Account.of(self.plan, self.outcome, self.disturbance)

    def pieces(self, summary: Summary) -> Iterator[Trace]:
        """The ops of the trace of what was done, in the order of time, added up on the way."""
        output = Output(self.plan.program, self.plan.pace, self.outcome, self.plan.options.retries)
        for done in pieces_of(self.plan, self.outcome):
            summary.add(done)
            yield output.piece(done)

    def write(self, writer: Writer) -> Replay:
        """Write the trace of what was done, and judge the run on the way."""
        header, summary, account = self.header, Summary.of(self.outcome), self.account
        writer.header(header)
        for piece in self.pieces(summary):
            writer.ops(piece)
        run = statement(account, summary, self.plan.program.depth).to_json()
        run["reasons"] += self.residency.get("notes", [])
        trailer = Trailer(ops=summary.ops, bytes=summary.moved_bytes, residency=self.residency, run=run)
        writer.trailer(trailer)
        return Replay(header, trailer, self.plan, self.outcome, account, summary)


class Kept(Writer):
    """Pieces kept in memory; header and trailer come with the replay."""

    def __init__(self) -> None:
        self.kept: list[Trace] = []

    def header(self, header: Header) -> None:
        """Not needed."""

    def marks(self, marks: Sequence[Mark]) -> None:
        """There are none."""

    def ops(self, piece: Trace) -> None:
        """Keep them."""
        self.kept.append(piece)

    def trailer(self, trailer: Trailer) -> None:
        """Not needed."""


def _make_ready(plan: Plan, base: str, output: str | None, listener: Listener, choice: Choice | None) -> Choice:
    """Find every problem, raise them all, and only then make missing data; the engine that will run."""
    missing = prepare.missing(plan) if plan.options.prepare else []
    examine(plan, to_prepare=frozenset(file.uri for file in missing), output=output)
    plan.problems += prepare.check_space(missing)
    plan.problems += scratch.problems(plan, base)
    choice = choice or _chosen(plan)
    raise_for(plan.problems)
    choice = choice or engines.choose(plan.options.engine, plan)
    for text in [*plan.warnings, *prepare.remarks(missing), *scratch.abandoned(base)]:
        listener.warn(text)
    if missing and plan.options.prepare:
        total = sum(file.wanted_size for file in missing if not file.listed)
        prepare.prepare(missing, plan.options.prepare, lambda done: listener.preparing(done, total))
    return choice


def _chosen(plan: Plan) -> Choice | None:
    """The engine; None where it is a problem like others, or a store may have said already what keeps it."""
    if not all(file.local for file in plan.files):
        return None
    try:
        return engines.choose(plan.options.engine, plan)
    except CannotRunError as error:
        plan.problems.append(error)
        return None


@contextmanager
def _enough_descriptors() -> Iterator[None]:
    """The soft limit on open files raised to the hard one, which preflight counted with; as before afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _run(
    plan: Plan, choice: Choice, listener: Listener, conductor: Conductor, connections: Connections | None
) -> tuple[Outcome, Disturbance]:
    lasts = plan.period * plan.options.loop if plan.pace == "recorded" else None

    def report(state: State) -> None:
        listener.running(replace(state, lasts_ns=lasts), plan.ops)
        if connections is not None:
            connections.watch()

    # From before the calibration on: the longer the look at the machine, the finer what /proc/stat tells.
    start = Moment.now()
    with processors_awake(wanted=plan.options.realtime and plan.pace != "asap") as idle:
        noise = noise_floor(choice.clock)
        start_at = conductor.start()
        if start_at:
            start = Moment.now()  # waiting for others was no part of the run
        control = Control(report, start_at=start_at)
        outcome = choice.engine.run(plan, control)
    if connections is not None:
        outcome.connections = connections.look()
    disturbance = Disturbance.between(start, Moment.now(), noise)
    return outcome, replace(disturbance, idle=idle, standstills=outcome.standstills)


def _header(plan: Plan, choice: Choice, source_name: str, t0_unix_ns: int) -> Header:
    chosen = {
        field.name: getattr(plan.options, field.name)
        for field in dataclasses.fields(Options)
        if getattr(plan.options, field.name) != field.default
    }
    return Header(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        producer={
            "tool": "tracekit",
            "version": __version__,
            "verb": "replay",
            "run": run_id(os.environ),
            "engine": choice.engine.name,
            "reason": choice.reason,
            "options": chosen
            | {
                "source": source_name,
                "source_ops": plan.source_ops,
                "pace": plan.pace,
                "pace_reason": plan.pace_reason,
                "streams_by": plan.program.grouping,
            },
        },
        clock={
            "t0_unix_ns": t0_unix_ns,
            "source": "CLOCK_MONOTONIC",
            "resolution_ns": max(1, round(time.get_clock_info("monotonic").resolution * 1e9)),
        },
        command=[os.path.basename(sys.argv[0]), *sys.argv[1:]],
        host=host_facts(data_roots(plan)),
        filters={"select": plan.options.select} if plan.options.select else {},
    )
