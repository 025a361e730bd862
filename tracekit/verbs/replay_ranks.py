"""`tracekit replay` as one of several ranks that a launcher started."""

from __future__ import annotations

import argparse

from tracekit import console, formats
from tracekit.errors import EXIT_CANNOT_RUN, UsageError
from tracekit.replay.joint import joined
from tracekit.replay.options import Options
from tracekit.replay.preflight import PreflightError
from tracekit.replay.ranks import LostError, Ranks
from tracekit.replay.together import Job, Part, follow, lead, plan_job
from tracekit.replay.wire import mpi_wire
from tracekit.verbs import replay as verb
from tracekit.verbs.replay_text import Terminal


def run_ranks(args: argparse.Namespace, size: int) -> int:
    """Replay this rank's share of the streams; the exit code, which is rank 0's for all of them.

    Args:
        args: The command line.
        size: How many ranks the launcher started.
    """
    with Ranks(mpi_wire(size), patience_s=args.rank_timeout) as ranks, verb.terminable() as ending:
        try:
            if ranks.rank:
                follow(ranks, lambda: _job(args, size), **_rest(args))
                return 0
            return _lead(ranks, args, ending)
        except LostError as error:
            # MPI would wait for the lost rank when this one ends in order.
            console.complain("tracekit", f"{error} [{error.slug}]")
            ranks.abort(EXIT_CANNOT_RUN)
            return EXIT_CANNOT_RUN


def _rest(args: argparse.Namespace) -> dict[str, str | None]:
    output = verb.output_name(args)
    return {
        "source_name": verb.absolute(args.trace),
        "scratch_base": verb.beside(output),
        "output": None if output == "-" else output,
    }


def _job(args: argparse.Namespace, size: int) -> Job:
    options: Options = verb.options_of(args)
    if args.trace == "-":
        raise UsageError("several ranks cannot all read standard input", "name the trace's file")
    return plan_job(formats.load(args.trace, time_unit=args.time_unit, skip_bad=args.skip_bad), options, size)


def _lead(ranks: Ranks, args: argparse.Namespace, ending: list[int]) -> int:
    listener = Terminal()
    try:
        output = verb.output_name(args)
        formats.check_save(output, force=args.force)
        job = _job(args, ranks.size)
        parts = lead(ranks, job, listener, **_rest(args))
    except BaseException as error:
        ranks.stop_all()
        ranks.flush()
        if isinstance(error, PreflightError):
            verb.complain_all(error)
        raise
    finally:
        listener.close()
    code = _write(args, parts, job, output, ending)
    ranks.tell_all("finished")
    ranks.flush()
    if any(part.lost for part in parts):
        ranks.abort(code)
    return code


def _write(args: argparse.Namespace, parts: list[Part], job: Job, output: str, ending: list[int]) -> int:
    for part in parts:
        for text in dict.fromkeys(part.warnings):
            console.warn(f"rank {part.rank}: {text}")
    whole = joined(parts, job)
    assert whole.header is not None
    assert whole.trailer is not None
    with formats.writing(output) as writer:
        writer.header(whole.header)
        writer.ops(whole)
        writer.trailer(whole.trailer)
    verb.tell(args, whole.header, whole.trailer, output)
    return verb.exit_code(args, dict(whole.trailer.run), ending)
