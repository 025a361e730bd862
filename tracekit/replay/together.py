"""One run by several ranks: each replays its streams from a common start, rank 0 makes one trace and one statement of it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracekit.errors import TracekitError, UsageError
from tracekit.replay import clocks
from tracekit.replay.account import Account
from tracekit.replay.clocks import Offset
from tracekit.replay.compile import compile_trace
from tracekit.replay.conductors import Follower, Leader, is_plain
from tracekit.replay.engines import State
from tracekit.replay.kinds import CHANGES, Kind, kinds_of
from tracekit.replay.options import Options
from tracekit.replay.plan import resolve_pace
from tracekit.replay.preflight import PreflightError
from tracekit.replay.ranks import LostError, Ranks, StoppedError
from tracekit.replay.session import Listener, Silent, replay
from tracekit.replay.share import divide
from tracekit.replay.summary import Summary
from tracekit.selection import select
from tracekit.trace import NULL, Header, Trace

# Ops of a message.
_PIECE = 100_000


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
        summary: What came of its ops.
        header: Its trace's header.
        residency: Its trailer's.
        trace: What it did, in its own time.
        lost: Why nothing is known of it; empty when all is well.
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
    trace: Trace | None = None
    lost: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Share:
    """What a rank is to replay. `delay_ns` is how long after the common start its own first op is due."""

    trace: Trace
    delay_ns: int


@dataclass(frozen=True)
class Job:
    """The whole of the run, as every rank works it out for itself.

    `trace` is what is left of the source; `divided_by` says how it was divided.
    """

    source_ops: int
    trace: Trace
    options: Options
    shares: list[Share]
    divided_by: str


def plan_job(source: Trace, options: Options, size: int) -> Job:
    """Divide a run.

    Raises:
        UsageError: If an option holds only within one process.
    """
    if options.loop > 1:
        raise UsageError("--loop holds within one process, and there are several ranks", "replay the trace once")
    if options.order == "global":
        raise UsageError("--order global holds within one process, and there are several ranks", "use --order stream")
    left = _issued(source, options)
    if options.pace == "auto" and len(left):
        options = dataclasses.replace(options, pace=resolve_pace(compile_trace(left), "auto")[0])
    rows, by = divide(left, size)
    traces = [left.select(mine) for mine in rows]
    for trace in traces:
        trace.trailer = source.trailer  # the recorded state of the page cache is in it
    firsts = [int(trace.col("t_submit").min()) if len(trace) else 0 for trace in traces]
    origin = min((first for first, trace in zip(firsts, traces, strict=True) if len(trace)), default=0)
    delays = [0 if options.pace == "asap" else round((first - origin) / options.speed) for first in firsts]
    shares = [Share(trace, max(0, delay)) for trace, delay in zip(traces, delays, strict=True)]
    return Job(len(source), left, options, shares, by)


def _issued(source: Trace, options: Options) -> Trace:
    """The ops that some rank will issue: a share of others only would be nothing to do."""
    keep = np.ones(len(source), np.bool_) if options.select is None else select(source, options.select)
    kinds = kinds_of(source)
    if options.skip_unknown:
        keep &= kinds != Kind.UNKNOWN
    changes = np.isin(kinds, CHANGES)
    keep &= ~(changes & ((options.writes == "skip") | (source.col("err") != NULL)))
    return source.select(keep)


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
            conductor = Follower(ranks, job.shares[ranks.rank].delay_ns)
            part = _replayed(ranks, job, conductor, listener, **rest)
        except LostError:
            raise
        except TracekitError as error:
            problems = error.problems if isinstance(error, PreflightError) else [error]
            ranks.post(0, "failed", [_sendable(problem) for problem in problems])
        else:
            part.warnings = listener.warnings
            _hand_over(ranks, part)
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
        )
        self._listener.running(overall, len(self._job.trace))


def _sendable(error: TracekitError) -> TracekitError:
    """The same, without what its class keeps besides: some of them take other arguments than a sentence."""
    return error if is_plain(error) else TracekitError(error.cause, error.way_out)


def _replayed(ranks: Ranks, job: Job, conductor: Leader | Follower, listener: Listener, **rest: Any) -> Part:
    """Replay this rank's share; with none, only keep the others company."""
    share = job.shares[ranks.rank]
    part = Part(ranks.rank, socket.gethostname(), _machine(), len(share.trace))
    if not len(share.trace) and len(job.trace):
        with conductor.turn():
            pass
        conductor.start()
        return part
    done = replay(share.trace, job.options, listener=listener, conductor=conductor, **rest)
    part.start_ns = (conductor.begins, done.outcome.t0)
    part.account, part.summary, part.streams = done.account, done.summary, done.account.streams
    part.header, part.trace = done.trace.header, done.trace
    assert done.trace.trailer is not None
    part.residency = dict(done.trace.trailer.residency)
    return part


def _machine() -> tuple[Any, ...]:
    return (clocks.boot() or socket.gethostname(), tuple(sorted(os.sched_getaffinity(0))))


def _hand_over(ranks: Ranks, part: Part) -> None:
    # Not before rank 0 asks: taking it in would disturb rank 0's own part of the run.
    ranks.take(0, "report")
    trace, part.trace = part.trace, None
    ranks.post(0, "done", part)
    clocks.answer(ranks)
    if trace is not None:
        for first in range(0, len(trace), _PIECE):
            ranks.post(0, "ops", trace.select(slice(first, first + _PIECE)))
    ranks.post(0, "end")
    ranks.flush()


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
    conductor = Leader(ranks, job.shares[0].delay_ns)
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
    except _FailedError as error:
        why = f"rank {rank} failed: {error}"
    share = job.shares[rank].trace
    lost = f"{why}; none of its {len(share)} ops is in the output"
    return Part(rank, ranks.hosts.get(rank, ""), planned_ops=len(share), lost=lost)


class _FailedError(Exception):
    """A rank failed in the middle of its run."""


def _received(ranks: Ranks, rank: int, conductor: Leader) -> Part:
    ranks.post(rank, "report")
    kind, part = ranks.take(rank, "done", "failed")
    if kind == "failed":
        raise _FailedError("; ".join(str(error) for error in part))
    assert isinstance(part, Part)
    part.offset = conductor.offsets[rank]
    later = clocks.measure(ranks, rank, same_machine=part.offset == Offset())
    part.drift_ns = later.ns - part.offset.ns
    pieces = []
    kind, piece = ranks.take(rank, "ops", "end")
    while kind == "ops":
        pieces.append(piece)
        kind, piece = ranks.take(rank, "ops", "end")
    part.trace = _whole(pieces)
    return part


def _whole(pieces: Sequence[Trace]) -> Trace | None:
    """The trace again; its pieces had the same tables."""
    if not pieces:
        return None
    names = list(pieces[0].columns)
    return Trace({name: np.concatenate([piece.columns[name] for piece in pieces]) for name in names}, pieces[0].tables)
