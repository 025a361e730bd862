"""`tracekit replay`: issue a trace's ops again, with their cadence."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracekit import console, pipes
from tracekit.errors import EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_PASS, UsageError
from tracekit.units import counted
from tracekit.verbs import replay_text
from tracekit.verbs.replay_options import add_options, options_of
from tracekit.verbs.replay_parts import parts_of, recover_parts

if TYPE_CHECKING:
    from tracekit.replay.preflight import PreflightError
    from tracekit.trace import Header, Trailer

_EXAMPLE = """\
examples:
  tracekit replay train.jsonl                                  as recorded, on the same files
  tracekit replay train.jsonl --remap /data=/mnt/new           on other storage
  tracekit replay train.jsonl --remap /data=/mnt/new --prepare random --cache-start cold
                                                               with stand-in data, from a cold page cache
  tracekit replay train.jsonl --remap /data=s3://bucket/data   the same reads as ranged GETs of objects
  tracekit replay train.jsonl --pace think --speed 2           how the program would fare, computing twice as fast
  tracekit replay train.jsonl -o direct.jsonl --cache direct   past the page cache
  tracekit replay train.jsonl --json > run.json                what the run says about itself, for other programs
  mpirun -n 4 tracekit replay train.jsonl                      its streams divided over four processes or hosts

exit codes: 0 the load was delivered undisturbed (VALID), 3 it was not (the reasons are said), 2 bad input, 4 no permission,
130 interrupted (what was done is written)
"""
_SUFFIXES = (".jsonl.zst", ".jsonl")
# Ops of the trace that are looked at together.
PIECE = 8_192


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and options."""
    parser.description = "Issue a trace's ops again, with their cadence, and write a trace of what was done."
    parser.epilog = _EXAMPLE
    parser.add_argument("trace", metavar="TRACE", nargs="?", help="the trace to replay (- is standard input)")
    parser.add_argument(
        "-o", "--output", metavar="TRACE", help="where to write what was done (default: NAME.replay.jsonl)"
    )
    add_options(parser)
    parser.add_argument(
        "--recover", metavar="PARTS", help="make the trace of what a killed replay had done, from the parts it left"
    )
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument("--json", action="store_true", help="print the run's statement about itself as JSON")
    parser.add_argument(
        "--accept-degraded",
        action="store_true",
        help="exit with 0 also when others used the machine, as long as the load was delivered",
    )


def run(args: argparse.Namespace) -> int:
    """Replay; the exit code."""
    from tracekit.replay.wire import launched

    if args.recover:
        return recover_parts(args)
    if not args.trace:
        raise UsageError("there is no trace to replay", "name one: tracekit replay TRACE")
    if args.json and args.output == "-":
        raise UsageError("--json and -o - would both write to standard output", "name a file with -o")
    if args.rank_timeout <= 0:
        raise UsageError(f"--rank-timeout {args.rank_timeout} is no time", "give seconds, more than 0")
    size = launched()
    if size > 1:
        from tracekit.verbs.replay_ranks import run_ranks

        return run_ranks(args, size)
    if args.processes != "1":
        from tracekit.verbs.replay_processes import run_processes, wanted

        size = wanted(args)
        if size > 1:
            return run_processes(args, size)
    return _run_alone(args)


def _run_alone(args: argparse.Namespace) -> int:
    from tracekit import formats
    from tracekit.replay.preflight import PreflightError
    from tracekit.replay.session import perform

    output, options = output_name(args), options_of(args)
    formats.check_save(output, force=args.force)
    source = formats.chunks(args.trace, ops=PIECE, time_unit=args.time_unit, skip_bad=args.skip_bad)
    listener = replay_text.Terminal()
    with parts_of(output) as parts, terminable() as ending:
        try:
            finished = perform(
                source,
                options,
                source_name=absolute(args.trace),
                scratch_base=beside(output),
                listener=listener,
                folder=parts,
                output=None if output == "-" else output,
            )
        except PreflightError as error:
            complain_all(error)
            raise
        finally:
            listener.close()
        with formats.writing(output) as writer:
            done = finished.write(writer)
    tell(args, done.header, done.trailer, output)
    return exit_code(args, done.run, ending)


def complain_all(error: PreflightError) -> None:
    """Say each of several problems; the summary is the error's own."""
    for problem in error.problems:
        console.complain("tracekit", f"{problem} [{problem.slug}]")


def exit_code(args: argparse.Namespace, statement: dict[str, Any], ending: list[int]) -> int:
    """What the command ends with.

    Args:
        args: The command line.
        statement: The run's.
        ending: Signals that ended it.
    """
    if statement["interrupted"]:
        return 128 + ending[0] if ending else EXIT_INTERRUPTED
    return EXIT_PASS if _is_accepted(args, statement) else EXIT_INCONCLUSIVE


def _is_accepted(args: argparse.Namespace, statement: dict[str, Any]) -> bool:
    if statement["verdict"] == "DEGRADED":
        return bool(args.accept_degraded and statement["delivered"])
    return bool(statement["verdict"] == "VALID")


class terminable:  # noqa: N801 -- reads as a word: with terminable() as ending
    """SIGTERM ends the run as Ctrl-C does, and so does SIGHUP unless it is ignored (nohup); the list holds its number then.

    Args:
        also: Called with it too.
    """

    def __init__(self, also: Callable[[int], None] = lambda _: None) -> None:
        self._also = also

    def __enter__(self) -> list[int]:
        self._ending: list[int] = []
        heard = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]
        self._before = {one: signal.signal(one, self._end) for one in heard}
        return self._ending

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- the handler's signature
        self._ending.append(number)
        self._also(number)
        raise KeyboardInterrupt


def output_name(args: argparse.Namespace) -> str:
    """Where the output goes.

    Raises:
        UsageError: If that is the trace being replayed.
    """
    output = str(args.output) if args.output else _default_output(args.trace)
    if output != "-" and not pipes.once(args.trace) and os.path.realpath(output) == os.path.realpath(args.trace):
        raise UsageError(f"{output} is the trace being replayed", "name another file with -o")
    return output


def _default_output(trace: str) -> str:
    """`NAME.replay.jsonl` beside the trace; `replay.jsonl` here for one from a pipe."""
    if pipes.once(trace):
        return "replay.jsonl"
    for suffix in _SUFFIXES:
        if trace.endswith(suffix):
            return f"{trace.removesuffix(suffix)}.replay{suffix}"
    return str(Path(trace).with_suffix("")) + ".replay.jsonl"


def absolute(name: str) -> str:
    """The file's absolute name; standard input stays what it is."""
    return name if name == "-" else os.path.abspath(name)


def beside(output: str) -> str | None:
    """The directory the output is in; None for standard output."""
    return None if output == "-" else os.path.dirname(absolute(output))


def tell(args: argparse.Namespace, header: Header, trailer: Trailer, output: str) -> None:
    """Say what came of a run."""
    if args.json:
        console.show(json.dumps(dict(trailer.run), indent=2))
    for line in replay_text.summary(header, trailer):
        console.say(line)
    replay_text.tell_verdict(trailer.run)
    target = console.paint(output, "path", sys.stderr)
    console.say(f"wrote {target} ({counted(trailer.ops, 'op')})")
    if output != "-" and not pipes.once(args.trace):
        console.say(f"next: harness check {shlex.quote(output)} --golden {shlex.quote(args.trace)}")
