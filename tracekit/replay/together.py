"""One run by several ranks: each replays its streams from a common start, rank 0 makes one trace and one statement of it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tracekit.errors import TracekitError, UsageError
from tracekit.replay import clocks
from tracekit.replay.account import Account
from tracekit.replay.clocks import Offset
from tracekit.replay.compile import compile_pieces
from tracekit.replay.conductors import Follower, Leader, is_plain
from tracekit.replay.engines import State
from tracekit.replay.handover import FailedError, pulled, pushed
from tracekit.replay.intake import Intake
from tracekit.replay.options import Options
from tracekit.replay.plan import resolve_pace
from tracekit.replay.preflight import PreflightError, raise_for
from tracekit.replay.ranks import LostError, Ranks, StoppedError
from tracekit.replay.rows import IDENTITIES
from tracekit.replay.session import Finished, Listener, Silent, perform
from tracekit.replay.share import Division, divide
from tracekit.replay.summary import Summary
from tracekit.trace import NULL, Header, Trace


@dataclass
class Part:
    """What a rank has to say of its share.

    Args:
        rank: Which one.
        host: Where it ran.
        machine: What ranks that share cores have in common.
        planned_ops: How many ops its share has.
        streams: How many streams.
        start_ns: When it was to start and when it did, on its own clock.
        offset: Its clock against rank 0's, before the run; None where that was not found out.
        drift_ns: By how much that had changed after the run.
        account: How it ran; None where there was nothing to do, or the rank is lost.
        summary: What came of its ops; complete when all of `pieces` were taken.
        header: Its trace's header.
        residency: Its trailer's.
        pieces: What it did, in its own time and the order of it; to be taken once.
        lost: Why nothing is known of it, or not all; empty when all is well.
        warnings: What its user should know.
    """

    rank: int
    host: str = ""
    machine: tuple[Any, ...] = ()
    planned_ops: int = 0
    streams: int = 0
    start_ns: tuple[int, int] = (0, 0)
    offset: Offset | None = None
    drift_ns: int = 0
    account: Account | None = None
    summary: Summary | None = None
    header: Header | None = None
    residency: dict[str, Any] = field(default_factory=dict)
    pieces: Iterator[Trace] | None = None
    lost: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """The whole of the run, as every rank works it out for itself.

    Args:
        source_ops: How many ops the trace has.
        ops: How many of them will be issued.
        options: What to do; its pace is decided.
        division: Who issues which.
        delays_ns: By rank: how long after the common start its first op is due.
        ranked: Whether the recording says of which rank an op is.
        depth: How many ops were in flight in the recording, where that is known.
        read: Reads the trace, piece by piece.
    """

    source_ops: int
    ops: int
    options: Options
    division: Division
    delays_ns: list[int]
    ranked: bool
    depth: dict[str, float] | None
    read: Callable[[], Iterable[Trace]]

    def planned(self, rank: int) -> int:
        """How many ops a rank is to issue."""
        return self.division.loads[rank].ops

    def share(self, rank: int) -> Iterator[Trace]:
        """The pieces of the trace with the ops of a rank; what the trace says of itself is in them as in those of the file."""
        for piece in self.read():
            mine = piece.select(self.division.mask(piece, rank))
            mine.trailer = piece.trailer  # the recorded state of the page cache is in it
            yield mine


def plan_job(read: Callable[[], Iterable[Trace]], options: Options, size: int, folder: str | None = None) -> Job:
    """Divide a run: the trace is read once for that, in bounded memory.

    Args:
        read: Reads the trace, piece by piece, as `tracekit.formats.chunks`.
        options: What was asked for.
        size: How many ranks there are.
        folder: Where the working files of the division are made; they are of no use afterwards.

    Raises:
        UsageError: If an option holds only within one process.
        TracekitError: If the trace and the options alone show that there is nothing to replay.
    """
    if options.loop > 1:
        raise UsageError("--loop holds within one process, and there are several ranks", "replay the trace once")
    if options.order == "global":
        raise UsageError("--order global holds within one process, and there are several ranks", "use --order stream")
    intake = Intake(options)
    program = compile_pieces(map(intake.take, read()), folder)
    raise_for(intake.problems_with(len(program)))
    options = dataclasses.replace(options, pace=resolve_pace(program, options.pace)[0])
    division = divide(program, size)
    firsts = [load.first - program.origin if load.ops else 0 for load in division.loads]
    delays = [0 if options.pace == "asap" else round(first / options.speed) for first in firsts]
    ranked = bool((program.who[:, IDENTITIES.index("rank")] != NULL).any())
    job = Job(intake.source_ops, len(program), options, division, delays, ranked, program.depth, read)
    program.rows.close()
    return job


# -- one rank's part ---------------------------------------------------------------------------------------------------


def follow(ranks: Ranks, make_job: Callable[[], Job], **rest: Any) -> None:
    """Replay another rank's share, hand it to rank 0, and wait until it says that all is finished.

    Args:
        ranks: All of them.
        make_job: The run, as this rank sees it.
        rest: More of `session.replay`'s arguments.

    Raises:
        LostError: If rank 0 is lost; nobody then writes the trace.
    """
    listener = _Quiet(ranks)
    try:
        try:
            job = make_job()
            conductor = Follower(ranks, job.delays_ns[ranks.rank])
            part = _replayed(ranks, job, conductor, listener, **rest)
            part.warnings = listener.warnings
            _hand_over(ranks, part)
        except LostError:
            raise
        except TracekitError as error:
            problems = error.problems if isinstance(error, PreflightError) else [error]
            ranks.post(0, "failed", [_sendable(problem) for problem in problems])
        ranks.take(0, "finished")
    except StoppedError:
        return


class _Quiet(Silent):
    """A listener that keeps for rank 0 what it hears."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Keep the sentence."""
        self.warnings.append(text)

    def running(self, state: State, total: int) -> None:  # noqa: ARG002 -- rank 0 knows the total
        """Goes with the next sign of life."""
        self._ranks.state = state


class _Overall:
    """A listener that shows its own the state of all ranks."""

    def __init__(self, ranks: Ranks, job: Job, listener: Listener) -> None:
        self._ranks, self._job, self._listener = ranks, job, listener
        self.warn, self.preparing = listener.warn, listener.preparing

    def running(self, state: State, total: int) -> None:  # noqa: ARG002 -- that of this rank
        """Sums, and the worst lateness."""
        self._ranks.listen()
        states = [state, *(other for other in self._ranks.states.values() if other is not None)]
        overall = State(
            sum(one.done for one in states),
            sum(one.in_flight for one in states),
            max(one.lateness_ns for one in states),
            sum(one.moved for one in states),
            state.lasts_ns,
        )
        self._listener.running(overall, self._job.ops)


def _sendable(error: TracekitError) -> TracekitError:
    """The same, without what its class keeps besides: some of them take other arguments than a sentence."""
    return error if is_plain(error) else TracekitError(error.cause, error.way_out)


def _replayed(ranks: Ranks, job: Job, conductor: Leader | Follower, listener: Listener, **rest: Any) -> Part:
    """Replay this rank's share; with none, only keep the others company."""
    part = Part(ranks.rank, socket.gethostname(), _machine(), job.planned(ranks.rank))
    if not part.planned_ops:
        with conductor.turn():
            pass
        conductor.start()
        return part
    done = perform(job.share(ranks.rank), job.options, listener=listener, conductor=conductor, **rest)
    part.start_ns = (conductor.begins, done.outcome.t0)
    part.account, part.header, part.residency = done.account, done.header, dict(done.residency)
    part.streams, part.summary = part.account.streams, Summary.of(done.outcome)
    part.pieces = _pieces(done, part.summary)
    return part


def _pieces(done: Finished, summary: Summary) -> Iterator[Trace]:
    yield from done.pieces(summary)
    done.close()


def _machine() -> tuple[Any, ...]:
    return (clocks.boot() or socket.gethostname(), tuple(sorted(os.sched_getaffinity(0))))


def _hand_over(ranks: Ranks, part: Part) -> None:
    # Not before rank 0 asks: taking it in would disturb rank 0's own part of the run.
    ranks.take(0, "report")
    pieces, part.pieces = part.pieces, None
    ranks.post(0, "done", part)
    clocks.answer(ranks)
    if pieces is not None:
        pushed(ranks, pieces, lambda: part.summary)


# -- rank 0 ------------------------------------------------------------------------------------------------------------


def lead(ranks: Ranks, job: Job, listener: Listener, **rest: Any) -> list[Part]:
    """Replay rank 0's share, and gather what the others did; one part for each rank, in their order.

    A rank that is lost during the run, or failed, has a part that says so. Everybody still waits for "finished".

    Args:
        ranks: All of them.
        job: The run.
        listener: Who hears of progress.
        rest: More of `session.replay`'s arguments.

    Raises:
        TracekitError: If the run could not begin.
    """
    conductor = Leader(ranks, job.delays_ns[0])
    mine = _replayed(ranks, job, conductor, _Overall(ranks, job, listener), **rest)
    mine.offset = Offset()
    ranks.gathering = True
    if mine.account is not None and mine.account.interrupted:
        ranks.hurry()
    return [mine, *(_part_of(ranks, rank, job, conductor) for rank in ranks.others)]


def _part_of(ranks: Ranks, rank: int, job: Job, conductor: Leader) -> Part:
    try:
        return _received(ranks, rank, conductor)
    except LostError as error:
        why = error.cause
    except FailedError as error:
        why = f"rank {rank} failed: {error}"
    planned = job.planned(rank)
    return Part(
        rank, ranks.hosts.get(rank, ""), planned_ops=planned, lost=f"{why}; none of its {planned} ops is in the output"
    )


def _received(ranks: Ranks, rank: int, conductor: Leader) -> Part:
    ranks.post(rank, "report")
    kind, part = ranks.take(rank, "done", "failed")
    if kind == "failed":
        raise FailedError(part)
    assert isinstance(part, Part)
    part.offset = conductor.offsets[rank]
    later = clocks.measure(ranks, rank, same_machine=part.offset == Offset())
    part.drift_ns = later.ns - part.offset.ns
    if part.account is not None:
        part.pieces = _pieces_of(ranks, part)
    return part


def _pieces_of(ranks: Ranks, part: Part) -> Iterator[Trace]:
    """A rank's pieces as they are wanted; when it is lost on the way, its part says how much there is of it."""
    given = 0
    try:
        for piece in pulled(ranks, part.rank, lambda summary: setattr(part, "summary", summary)):
            given += len(piece)
            yield piece
    except LostError as error:
        why = error.cause
    except FailedError as error:
        why = f"rank {part.rank} failed: {error}"
    else:
        return
    part.summary = Summary(part.start_ns[1], ops=given)
    part.lost = f"{why}; {given} of its {part.planned_ops} ops are in the output"
