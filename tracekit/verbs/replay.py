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
from tracekit.units import counted, parse_bytes
from tracekit.verbs import replay_text
from tracekit.verbs.replay_parts import parts_of, recover_parts

if TYPE_CHECKING:
    from tracekit.replay.options import Options
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
    _add_pacing(parser)
    _add_cache(parser)
    _add_data(parser)
    _add_reading(parser)
    _add_ranks(parser)
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


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes (also on several hosts, under mpirun or srun)")
    group.add_argument(
        "--processes",
        default="1",
        metavar="N|auto",
        help="divide the streams over N processes of this machine; auto takes as many as the requests for objects keep busy "
        "(default: 1)",
    )
    group.add_argument(
        "--rank-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="a rank that is silent for so long is lost (default: 30)",
    )


def _add_pacing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cadence")
    group.add_argument(
        "--pace",
        default="recorded",
        metavar="auto|recorded|think|asap",
        help="recorded: each op at its recorded time, however long others take (default); think: each stream waits for its "
        "op and then its recorded think time; asap: no waiting; auto: think where the trace can support it",
    )
    group.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="2 halves the times of the schedule, or the think times"
    )
    group.add_argument("--loop", type=int, default=1, metavar="N", help="replay the trace N times, one after the other")
    group.add_argument("--max-inflight", type=int, metavar="N", help="most ops outstanding at once")
    group.add_argument(
        "--max-inflight-bytes", metavar="SIZE", help="most bytes outstanding at once; a larger op goes alone"
    )
    group.add_argument(
        "--engine",
        default="auto",
        metavar="auto|native|uring|threads",
        help="who issues the ops (default: auto, which says what it takes and why)",
    )
    group.add_argument(
        "--order",
        default="stream",
        metavar="stream|global",
        help="order kept within each stream (default), or across all of them",
    )
    group.add_argument(
        "--no-realtime", action="store_true", help="do not ask for real-time priority while a schedule is kept"
    )
    group.add_argument(
        "--max-errors",
        metavar="N|P%",
        help="stop after more than N failed ops, or P %% of those planned (default: never)",
    )


def _add_cache(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page cache")
    group.add_argument(
        "--cache",
        default="default",
        metavar="default|random|sequential|direct",
        help="what the kernel is told about our reads; direct goes past the page cache with O_DIRECT",
    )
    group.add_argument(
        "--cache-start",
        default="as-is",
        metavar="as-is|cold|warm|recorded",
        help="what is done to the trace's files before the run: nothing, drop their pages, read them in, or make resident "
        "exactly the pages that were when it was recorded; verified page by page",
    )
    group.add_argument(
        "--drop-cache", action="store_true", help="start cold, and drop the whole machine's page cache too"
    )
    group.add_argument(
        "--direct-align",
        default="round",
        metavar="round|error",
        help="misaligned direct ops read the aligned range around them, or are refused",
    )
    group.add_argument(
        "--direct-fallback", action="store_true", help="read through the page cache where O_DIRECT is refused (counted)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="the data under FROM (a path or URI prefix) is under TO; may be repeated, the longest prefix is used",
    )
    group.add_argument(
        "--prepare", metavar="random|zero", help="make missing files, of real blocks; existing files are never touched"
    )
    group.add_argument(
        "--writes",
        default="scratch",
        metavar="scratch|skip",
        help="writes and deletes go to a scratch directory that is removed afterwards (default), or are left out",
    )
    group.add_argument(
        "--scratch",
        metavar="DIR|URI",
        help="where the scratch directory is made (default: beside the output); s3://bucket/prefix takes the writes of objects",
    )
    group.add_argument(
        "--client",
        default="auto",
        metavar="auto|obstore|sdk",
        help="who makes requests for objects: obstore, and of ranges over plain HTTP the core (auto); sdk is boto3 and azure-storage-blob",
    )
    group.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="a request for an object that takes longer has failed",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="make a request that was throttled, or failed in the server or the connection, again at most N times, counted in the "
        "trace (default: 0)",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the trace")
    group.add_argument(
        "--select", metavar="EXPR", help="replay only these ops: op=read,uri=*.npy,step=3..9,t=0s..5s,len>=4KiB"
    )
    group.add_argument(
        "--null-offset",
        default="refuse",
        metavar="refuse|zero|sequential",
        help="what a read without recorded offset becomes",
    )
    group.add_argument("--skip-unknown", action="store_true", help="leave out ops of a kind nobody knows")
    group.add_argument(
        "--time-unit",
        default="ns",
        metavar="UNIT",
        help="unit of times in a trace without header: ns (default), us, ms, s",
    )
    group.add_argument("--skip-bad", action="store_true", help="leave out lines that are damaged")


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


def options_of(args: argparse.Namespace) -> Options:
    """The replay's options, checked."""
    from tracekit.replay.options import Options, parse_max_errors, parse_remap

    return Options(
        pace=args.pace,
        speed=args.speed,
        max_inflight=args.max_inflight,
        max_inflight_bytes=parse_bytes(args.max_inflight_bytes) if args.max_inflight_bytes else None,
        cache=args.cache,
        cache_start=args.cache_start,
        drop_cache=args.drop_cache,
        remap=tuple(parse_remap(text) for text in args.remap),
        prepare=args.prepare,
        writes=args.writes,
        scratch=args.scratch,
        client=args.client,
        timeout_s=args.timeout,
        engine=args.engine,
        order=args.order,
        realtime=not args.no_realtime,
        select=args.select,
        loop=args.loop,
        null_offset=args.null_offset,
        direct_align=args.direct_align,
        direct_fallback=args.direct_fallback,
        retries=args.retries,
        **(parse_max_errors(args.max_errors) if args.max_errors else {}),
        skip_unknown=args.skip_unknown,
    )


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
