"""`tracekit replay` as one of several ranks that a launcher started."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

from tracekit import console, formats, pipes
from tracekit.errors import EXIT_CANNOT_RUN, EXIT_PASS, UsageError
from tracekit.replay.joint import write_joined
from tracekit.replay.options import Options
from tracekit.replay.preflight import PreflightError
from tracekit.replay.ranks import LostError, Ranks
from tracekit.replay.together import Job, Part, follow, lead, plan_job
from tracekit.replay.wire import Wire, mpi_wire
from tracekit.verbs import replay as verb
from tracekit.verbs.replay_options import options_of
from tracekit.verbs.replay_parts import parts_of
from tracekit.verbs.replay_text import Terminal


def run_ranks(
    args: argparse.Namespace, size: int, wire: Wire | None = None, signalled: Callable[[int], None] = lambda _: None
) -> int:
    """Replay this rank's share of the streams; the exit code, which is rank 0's for all of them.

    Args:
        args: The command line.
        size: How many ranks there are.
        wire: This rank's end, where the replay itself started them; default is MPI.
        signalled: Called with a signal that ends the run.
    """
    ours = wire is not None
    with Ranks(wire or mpi_wire(size), patience_s=args.rank_timeout) as ranks, verb.terminable(signalled) as ending:
        try:
            return _follow(ranks, args) if ranks.rank else _lead_or_stop(ranks, args, ending, ours=ours)
        except LostError as error:
            # MPI would wait for the lost rank when this one ends in order.
            console.complain("tracekit", f"{error} [{error.slug}]")
            ranks.abort(EXIT_CANNOT_RUN)
            return EXIT_CANNOT_RUN


def _rest(args: argparse.Namespace, folder: str | None) -> dict[str, str | None]:
    output = verb.output_name(args)
    return {
        "source_name": verb.absolute(args.trace),
        "scratch_base": verb.beside(output),
        "output": None if output == "-" else output,
        "folder": folder,
    }


def _job(args: argparse.Namespace, size: int, folder: str | None) -> Job:
    options: Options = options_of(args)
    if pipes.once(args.trace):
        raise UsageError("several ranks cannot all read a pipe", "name the trace's file")
    read = partial(formats.chunks, args.trace, ops=verb.PIECE, time_unit=args.time_unit, skip_bad=args.skip_bad)
    with tempfile.TemporaryDirectory(dir=folder) as division:
        return plan_job(read, options, size, division)


def _follow(ranks: Ranks, args: argparse.Namespace) -> int:
    # Another host may lack the directory of the output; the working files are then where temporary files are.
    output = verb.output_name(args)
    with parts_of(output) if os.path.isdir(verb.beside(output) or "") else nullcontext() as folder:
        follow(ranks, lambda: _job(args, ranks.size, folder), **_rest(args, folder))
    ranks.post(0, "gone")
    ranks.flush()
    return EXIT_PASS


def _lead_or_stop(ranks: Ranks, args: argparse.Namespace, ending: list[int], *, ours: bool) -> int:
    try:
        return _lead(ranks, args, ending, ours=ours)
    except BaseException:
        ranks.stop_all()
        ranks.flush()
        raise


def _lead(ranks: Ranks, args: argparse.Namespace, ending: list[int], *, ours: bool) -> int:
    output = verb.output_name(args)
    formats.check_save(output, force=args.force)
    with parts_of(output) as folder:
        parts, job = _led(ranks, args, folder)
        if ours:  # which process issued an op is nobody's concern
            job = replace(job, ranked=True)
        code = _write(args, parts, job, output, ending)
    ranks.tell_all("finished")
    ranks.flush()
    if any(part.lost for part in parts):
        _await_others(ranks, parts)
        ranks.abort(code)
    return code


def _led(ranks: Ranks, args: argparse.Namespace, folder: str | None) -> tuple[list[Part], Job]:
    listener = Terminal()
    try:
        job = _job(args, ranks.size, folder)
        return lead(ranks, job, listener, **_rest(args, folder)), job
    except PreflightError as error:
        verb.complain_all(error)
        raise
    finally:
        listener.close()


def _await_others(ranks: Ranks, parts: list[Part]) -> None:
    """Those that are not lost remove their working files before all are ended."""
    ranks.hurry()
    for part in parts[1:]:
        if not part.lost:
            with suppress(LostError):
                ranks.take(part.rank, "gone")


def _write(args: argparse.Namespace, parts: list[Part], job: Job, output: str, ending: list[int]) -> int:
    for part in parts:
        for text in dict.fromkeys(part.warnings):
            console.warn(f"rank {part.rank}: {text}")
    with formats.writing(output, force=args.force) as writer:
        header, trailer = write_joined(parts, job, writer)
    verb.tell(args, header, trailer, output)
    return verb.exit_code(args, dict(trailer.run), ending)
