"""`tracekit run` as one of several ranks that a launcher started: rank 0 finds the work, deals it out, and reports for all.

Each rank has its plan carried out by a process of its own, under the recorder where that is asked for; what that process waits for goes
over its line to this one, and from here to rank 0.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tracekit import console, formats
from tracekit.errors import EXIT_CANNOT_RUN, EXIT_PASS, CannotRunError, TracekitError, UsageError
from tracekit.formats import several
from tracekit.replay import clocks
from tracekit.replay.clocks import Offset
from tracekit.replay.ranks import LostError, Ranks, StoppedError
from tracekit.replay.wire import mpi_wire
from tracekit.units import counted, format_ns
from tracekit.verbs import run as verb
from tracekit.verbs import run_driving, run_progress, run_scratch
from tracekit.workload.rendezvous import GO, HERE, LEFT, Line

if TYPE_CHECKING:
    from tracekit.trace import Trace
    from tracekit.workload.drive import Plan, Result
    from tracekit.workload.standing import Standing

_HOST, _PLAN, _RESULT, _TRACE, _PIECE, _FINISHED, _GONE = "host", "plan", "result", "trace", "piece", "finished", "gone"
_PIECE_BYTES = 4 << 20
# Ops that are held while the traces of ranks become one.
_OPS_AT_ONCE = 65_536
_PART = "rank{:06d}.jsonl.zst"


def run_ranks(args: argparse.Namespace, size: int) -> int:
    """This rank's part; the exit code, which is rank 0's for all of them.

    Args:
        args: The command line.
        size: How many ranks there are.
    """
    wire = mpi_wire(size)
    # Not every launcher says it in a way that others know.
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(wire.rank), str(size)
    with Ranks(wire, patience_s=args.rank_timeout) as ranks:
        try:
            return _follow(ranks, args) if ranks.rank else _lead(ranks, args)
        except LostError as error:
            # MPI would wait for the lost rank when this one ends in order.
            console.complain("tracekit", f"{error} [{error.slug}]")
            ranks.abort(EXIT_CANNOT_RUN)
            return EXIT_CANNOT_RUN


@dataclass
class Clock:
    """A rank's wall clock against rank 0's: before the run, when its recording takes its origin, and after it.

    Args:
        host: Where the rank runs.
        first: Before.
        last: After.
    """

    host: str
    first: Offset
    last: Offset

    @classmethod
    def of(cls, ranks: Ranks, rank: int, host: str, *, same: bool) -> Clock:
        """Measured now, with a rank that answers (errors: LostError); ranks of the same machine read the same clock."""
        now = clocks.measure(ranks, rank, same_machine=same, now=time.time_ns)
        return cls(host, now, now)

    @property
    def drift_ns(self) -> int:
        """How far it went apart during the run; 0 where the measurements say no more than their errors."""
        apart = self.last.ns - self.first.ns
        return apart if abs(apart) > self.first.error_ns + self.last.error_ns else 0

    @property
    def error_ns(self) -> int:
        """The most that times may be off by."""
        return self.first.error_ns + abs(self.drift_ns)

    def facts(self) -> dict[str, Any]:
        """What the header of the trace says of it."""
        return {
            "host": self.host,
            "offset_ns": self.first.ns,
            "error_ns": self.first.error_ns,
            "drift_ns": self.drift_ns,
        }


# -- rank 0 -----------------------------------------------------------------------------------------------------------


def _lead(ranks: Ranks, args: argparse.Namespace) -> int:
    leader = _Leader(ranks, args)
    try:
        leader.meet_hosts()
        return verb.perform(args, ranks.size, leader.drive)
    except BaseException as error:
        if leader.lost and isinstance(error, TracekitError):
            # Said here: all are ended before it could be said elsewhere.
            console.complain("tracekit", f"{error} [{error.slug}]")
            return error.exit_code
        ranks.stop_all()
        raise
    finally:
        leader.dismiss()


class _Leader:
    """Rank 0's view of a run.

    Args:
        ranks: All of them.
        args: The command line.
    """

    def __init__(self, ranks: Ranks, args: argparse.Namespace) -> None:
        self.ranks, self.args = ranks, args
        self.lost: set[int] = set()
        self.results: dict[int, Result] = {}
        self.clocks: dict[int, Clock] = {}

    def meet_hosts(self) -> None:
        """Hear where everybody is (errors: LostError; UsageError where that does not go with the command line)."""
        if self.args.ranks != 1:
            raise UsageError(
                f"the launcher started {self.ranks.size} ranks, and --ranks says how many", "leave --ranks out"
            )
        met = {rank: self.ranks.take(rank, _HOST)[1] for rank in self.ranks.others}
        hosts = [socket.gethostname(), *(host for host, _ in met.values())]
        each = Counter(hosts)
        if len(each) > 1 and self.args.data is None and self.args.dlio_config is None:
            raise UsageError(f"{len(each)} hosts share one data set", "say where it is, for all of them, with --data")
        if not self.args.ranks_per_host and len(each) > 1 and len(set(each.values())) == 1:
            self.args.ranks_per_host = each[hosts[0]]
        if self.args.trace_record is not None:
            here = clocks.boot()
            self.clocks = {
                rank: Clock.of(self.ranks, rank, host, same=boot == here) for rank, (host, boot) in met.items()
            }

    def drive(self, args: argparse.Namespace, plans: Sequence[Plan], scratch: str) -> Sequence[Result]:
        """Have plans carried out, each by its rank; a lost rank is a result, too."""
        self.results = {}
        for plan in plans[1:]:
            self.ranks.post(plan.rank, _PLAN, msgspec.json.encode(plan))
        with _trace_parts(args.trace_record) as (folder, trace):
            with (
                _line() as (ours, theirs),
                run_progress.shown(plans[0], lambda: self._standing(plans[0]), [plans[0].result]),
            ):
                beside = threading.Thread(target=self._confer, args=(ours,), daemon=True)
                beside.start()
                self.results[0] = _carried_out(
                    args, plans[0], scratch, theirs, trace and os.path.join(trace, _PART.format(0)), still=args.quiet
                )
            beside.join()
            if folder is not None and trace is not None:
                self._gather(args.trace_record, trace)
        return [self.results[plan.rank] for plan in plans]

    def _standing(self, own: Plan) -> Standing:
        """How far all are together, by what the others said with their last sign of life."""
        from tracekit.workload.standing import Standing

        told = (Standing(*state) for state in self.ranks.states.values() if state)
        return sum(told, run_progress.of([own]))

    def _confer(self, line: Line) -> None:
        """Let all go on whenever all that still run are there, until none does."""
        running, own, failed = set(self.ranks.others) - self.lost, True, False
        while running or own:
            own = own and line.heard() == HERE
            there = [rank for rank in sorted(running) if self._is_there(rank)]
            failed = failed or any(self.results[rank].error for rank in running.difference(there))
            running = set(there)
            failed = failed or (not own and bool(self.results[0].error if 0 in self.results else False))
            word = LEFT if failed else GO
            for rank in there:
                self.ranks.post(rank, word)
            if own:
                line.say(word)
        line.close()

    def _is_there(self, rank: int) -> bool:
        from tracekit.workload.drive import Result
        from tracekit.workload.run import lost

        try:
            kind, body = self.ranks.take(rank, HERE, _RESULT)
        except LostError as error:
            self.lost.add(rank)
            self.results[rank] = replace(lost(rank, "was lost"), error=str(error))
            return False
        if kind == _RESULT:
            self.results[rank] = msgspec.json.decode(body, type=Result)
        return kind == HERE

    def _gather(self, output: str, folder: str) -> None:
        """Make one trace of the ranks' (errors: TracekitError)."""
        for rank in self.ranks.others:
            with suppress(LostError):
                self._fetch(rank, os.path.join(folder, _PART.format(rank)))
        if not os.listdir(folder):
            raise CannotRunError("no rank made a trace", "see the messages above")
        ranks = sorted(os.listdir(folder))
        sources = [partial(self._pieces, os.path.join(folder, name)) for name in ranks]
        with formats.writing(output, force=self.args.force) as writer:
            done = writer.pieces(several.chunks(sources, _OPS_AT_ONCE))
        console.say(f"recorded {counted(done.ops, 'op')} of {counted(len(ranks), 'rank')} in {output}" + self._said())

    def _pieces(self, path: str, ops: int) -> Iterator[Trace]:
        """A rank's trace on the clock of rank 0, with what is known of all clocks in its header."""
        rank = int(os.path.basename(path).removeprefix("rank").partition(".")[0])
        facts = {str(rank): clock.facts() for rank, clock in self.clocks.items()}
        for piece in formats.chunks(path, ops=ops):
            if piece.header is not None and rank in self.clocks:
                t0 = piece.header.clock["t0_unix_ns"] - self.clocks[rank].first.ns
                piece.header = replace(piece.header, clock={**piece.header.clock, "t0_unix_ns": t0})
            if piece.header is not None:
                piece.header = replace(piece.header, clock={**piece.header.clock, "ranks": facts})
            yield piece

    def _said(self) -> str:
        """How well the times of several machines go together; nothing where there is one."""
        error = max((clock.error_ns for clock in self.clocks.values()), default=0)
        return f"; the clocks of its hosts are brought together to within {format_ns(error)}" if error else ""

    def _fetch(self, rank: int, path: str) -> None:
        if rank in self.lost:
            return
        self.ranks.post(rank, _TRACE)
        clock = self.clocks[rank]
        clock.last = clocks.measure(self.ranks, rank, same_machine=clock.first == Offset(), now=time.time_ns)
        with open(path, "wb") as file:
            while piece := self.ranks.take(rank, _PIECE)[1]:
                file.write(piece)
                self.ranks.post(rank, _PIECE)
        if not os.path.getsize(path):
            os.unlink(path)

    def dismiss(self) -> None:
        """Let the others go; where one is lost all are ended, for MPI would wait for it."""
        self.ranks.tell_all(_FINISHED)
        self.ranks.flush()
        if self.lost:
            self.ranks.hurry()
            for rank in set(self.ranks.others) - self.lost:
                with suppress(LostError):
                    self.ranks.take(rank, _GONE)
            self.ranks.abort(EXIT_CANNOT_RUN)


# -- the others -------------------------------------------------------------------------------------------------------


def _follow(ranks: Ranks, args: argparse.Namespace) -> int:
    ranks.post(0, _HOST, (socket.gethostname(), clocks.boot()))
    try:
        if args.trace_record is not None:
            clocks.answer(ranks, now=time.time_ns)
        with run_scratch.scratch() as scratch:
            trace = os.path.join(scratch, _PART.format(ranks.rank))
            while (order := ranks.take(0, _PLAN, _TRACE, _FINISHED))[0] != _FINISHED:
                if order[0] == _PLAN:
                    _serve(ranks, args, order[1], scratch, trace if args.trace_record else None)
                else:
                    _hand_over(ranks, trace)
    except StoppedError:
        pass  # rank 0 says why
    ranks.post(0, _GONE)
    ranks.flush()
    return EXIT_PASS


def _serve(ranks: Ranks, args: argparse.Namespace, body: bytes, scratch: str, trace: str | None) -> None:
    """Carry a plan out, and tell rank 0 what came of it."""
    from tracekit.workload.drive import Plan

    given = msgspec.json.decode(body, type=Plan)
    paths = [os.path.join(scratch, os.path.basename(path)) for path in (given.result, given.standing)]
    plan = replace(given, result=paths[0], standing=paths[1])
    if args.drop_cache:
        run_driving.drop(plan.train.dataset())
    with _line() as (ours, theirs), run_progress.meanwhile(lambda: _say(ranks, plan), [plan.result]):
        beside = threading.Thread(target=_pass_on, args=(ranks, ours), daemon=True)
        beside.start()
        result = _carried_out(args, plan, scratch, theirs, trace)
    beside.join()
    ranks.state = None
    ranks.post(0, _RESULT, msgspec.json.encode(result))


def _say(ranks: Ranks, plan: Plan) -> None:
    """How far this rank is, with its next sign of life."""
    ranks.state = list(vars(run_progress.of([plan])).values())


def _pass_on(ranks: Ranks, line: Line) -> None:
    """What is waited for on this rank is waited for at rank 0."""
    while line.heard() == HERE:
        ranks.post(0, HERE)
        try:
            line.say(ranks.take(0, GO, LEFT)[0])
        except (LostError, StoppedError):
            line.say(LEFT)
    line.close()


def _hand_over(ranks: Ranks, path: str) -> None:
    """The time here, and the trace of this rank, a piece at a time."""
    clocks.answer(ranks, now=time.time_ns)
    if os.path.exists(path):
        with open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                ranks.post(0, _PIECE, piece)
                ranks.take(0, _PIECE)
    ranks.post(0, _PIECE, b"")


# -- all of them ------------------------------------------------------------------------------------------------------


@contextmanager
def _line() -> Iterator[tuple[Line, int]]:
    """A line for a process that is started in the block: our end, and the descriptor of the other."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    try:
        yield Line(ours), theirs.fileno()
    finally:
        # Whoever listens hears that there is nothing more.
        theirs.close()


@contextmanager
def _trace_parts(output: str | None) -> Iterator[tuple[str | None, str | None]]:
    """A folder beside the output for the ranks' traces."""
    if output is None:
        yield None, None
        return
    beside = os.path.dirname(os.path.abspath(output))
    with tempfile.TemporaryDirectory(prefix=".tracekit-", suffix=".ranks", dir=beside) as folder:
        yield output, folder


def _carried_out(
    args: argparse.Namespace, plan: Plan, scratch: str, line: int, trace: str | None, *, still: bool = True
) -> Result:
    from tracekit.workload import run
    from tracekit.workload.drive import Result

    console.set_quiet(quiet=True, still=still)  # every rank would say the same
    try:
        run_driving.start(
            [plan], run.command([plan], scratch, line), trace, force=True, shown=getattr(args, "words", ())
        )
    except TracekitError as error:
        return Result(plan.rank, error=str(error), exit_code=error.exit_code)
    finally:
        console.set_quiet(quiet=args.quiet)
    return run.results([plan])[0]
