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
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from tracekit import console, formats
from tracekit.errors import EXIT_CANNOT_RUN, EXIT_PASS, CannotRunError, TracekitError, UsageError
from tracekit.replay.ranks import LostError, Ranks, StoppedError
from tracekit.replay.wire import mpi_wire
from tracekit.units import counted
from tracekit.verbs import run as verb
from tracekit.verbs import run_driving
from tracekit.workload.rendezvous import GO, HERE, LEFT, Line

if TYPE_CHECKING:
    from tracekit.workload.drive import Plan, Result

_HOST, _PLAN, _RESULT, _TRACE, _PIECE, _FINISHED, _GONE = "host", "plan", "result", "trace", "piece", "finished", "gone"
_PIECE_BYTES = 4 << 20
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

    def meet_hosts(self) -> None:
        """Hear where everybody is (errors: LostError; UsageError where that does not go with the command line)."""
        if self.args.ranks != 1:
            raise UsageError(
                f"the launcher started {self.ranks.size} ranks, and --ranks says how many", "leave --ranks out"
            )
        hosts = [socket.gethostname(), *(str(self.ranks.take(rank, _HOST)[1]) for rank in self.ranks.others)]
        each = Counter(hosts)
        if len(each) > 1 and self.args.data is None and self.args.dlio_config is None:
            raise UsageError(f"{len(each)} hosts share one data set", "say where it is, for all of them, with --data")
        if not self.args.ranks_per_host and len(each) > 1 and len(set(each.values())) == 1:
            self.args.ranks_per_host = each[hosts[0]]

    def drive(self, args: argparse.Namespace, plans: Sequence[Plan], scratch: str) -> Sequence[Result]:
        """Have plans carried out, each by its rank; a lost rank is a result, too."""
        self.results = {}
        for plan in plans[1:]:
            self.ranks.post(plan.rank, _PLAN, msgspec.json.encode(plan))
        with _trace_parts(args.trace_record) as (folder, trace):
            with _line() as (ours, theirs):
                beside = threading.Thread(target=self._confer, args=(ours,), daemon=True)
                beside.start()
                self.results[0] = _carried_out(
                    args, plans[0], scratch, theirs, trace and os.path.join(trace, _PART.format(0))
                )
            beside.join()
            if folder is not None and trace is not None:
                self._gather(args.trace_record, trace)
        return [self.results[plan.rank] for plan in plans]

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
        with formats.writing(output, force=self.args.force) as writer:
            done = writer.pieces(formats.chunks(folder))
        console.say(f"recorded {counted(done.ops, 'op')} of {counted(len(os.listdir(folder)), 'rank')} in {output}")

    def _fetch(self, rank: int, path: str) -> None:
        if rank in self.lost:
            return
        self.ranks.post(rank, _TRACE)
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
    ranks.post(0, _HOST, socket.gethostname())
    try:
        with tempfile.TemporaryDirectory(prefix="tracekit-run-") as scratch:
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
    plan = replace(given, result=os.path.join(scratch, os.path.basename(given.result)))
    if args.drop_cache:
        run_driving.drop(plan.train.dataset())
    with _line() as (ours, theirs):
        beside = threading.Thread(target=_pass_on, args=(ranks, ours), daemon=True)
        beside.start()
        result = _carried_out(args, plan, scratch, theirs, trace)
    beside.join()
    ranks.post(0, _RESULT, msgspec.json.encode(result))


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
    """The trace of this rank, a piece at a time."""
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


def _carried_out(args: argparse.Namespace, plan: Plan, scratch: str, line: int, trace: str | None) -> Result:
    from tracekit.workload import run
    from tracekit.workload.drive import Result

    console.set_quiet(quiet=True)  # every rank would say the same
    try:
        run_driving.start(
            [plan], run.command([plan], scratch, line), trace, force=True, shown=getattr(args, "words", ())
        )
    except TracekitError as error:
        return Result(plan.rank, error=str(error), exit_code=error.exit_code)
    finally:
        console.set_quiet(quiet=args.quiet)
    return run.results([plan])[0]
