"""`tracekit replay`: issue a trace's ops again, with their cadence."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.errors import EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_PASS, UsageError
from tracekit.units import counted, format_bytes, format_count, format_ns, format_rate, parse_bytes

if TYPE_CHECKING:
    from tracekit.replay.engines import State
    from tracekit.replay.options import Options
    from tracekit.replay.session import Replay

_EXAMPLE = """\
examples:
  tracekit replay train.jsonl                                  as recorded, on the same files
  tracekit replay train.jsonl --remap /data=/mnt/new           on other storage
  tracekit replay train.jsonl --remap /data=/mnt/new --prepare random --cache-start cold
                                                               with stand-in data, from a cold page cache
  tracekit replay train.jsonl --pace think --speed 2           how the program would fare, computing twice as fast
  tracekit replay train.jsonl -o direct.jsonl --cache direct   past the page cache
  tracekit replay train.jsonl --json > run.json                what the run says about itself, for other programs

exit codes: 0 the load was delivered undisturbed (VALID), 3 it was not (the reasons are said), 2 bad input, 4 no permission,
130 interrupted (what was done is written)
"""
_SUFFIXES = (".jsonl.zst", ".jsonl")
# Ops of the trace that are looked at together.
_PIECE = 8_192


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and options."""
    parser.description = "Issue a trace's ops again, with their cadence, and write a trace of what was done."
    parser.epilog = _EXAMPLE
    parser.add_argument("trace", metavar="TRACE", help="the trace to replay (- is standard input)")
    parser.add_argument(
        "-o", "--output", metavar="TRACE", help="where to write what was done (default: NAME.replay.jsonl)"
    )
    _add_pacing(parser)
    _add_cache(parser)
    _add_data(parser)
    _add_reading(parser)
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument("--json", action="store_true", help="print the run's statement about itself as JSON")
    parser.add_argument(
        "--accept-degraded",
        action="store_true",
        help="exit with 0 also when others used the machine, as long as the load was delivered",
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
    group.add_argument("--max-errors", type=int, metavar="N", help="stop after more than N failed ops (default: never)")


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
        "--scratch", metavar="DIR", help="where the scratch directory is made (default: beside the output)"
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
    from tracekit import formats
    from tracekit.replay.preflight import PreflightError
    from tracekit.replay.session import perform

    output = _output_name(args)
    options = _options(args)
    formats.check_save(output, force=args.force)
    if args.json and output == "-":
        raise UsageError("--json and -o - would both write to standard output", "name a file with -o")
    source = formats.chunks(args.trace, ops=_PIECE, time_unit=args.time_unit, skip_bad=args.skip_bad)
    beside = os.path.dirname(_absolute(output)) if output != "-" else None
    listener = _Terminal()
    with _terminable() as ending:
        try:
            finished = perform(
                source,
                options,
                source_name=_absolute(args.trace),
                scratch_base=beside,
                listener=listener,
                folder=beside,
                output=None if output == "-" else output,
            )
        except PreflightError as error:
            for problem in error.problems:
                console.complain("tracekit", f"{problem} [{problem.slug}]")
            raise
        finally:
            listener.close()
    with formats.writing(output) as writer:
        done = finished.write(writer)
    _tell(args, done, output)
    if done.outcome.interrupted:
        return 128 + ending[0] if ending else EXIT_INTERRUPTED
    return EXIT_PASS if _is_accepted(args, done.run) else EXIT_INCONCLUSIVE


def _is_accepted(args: argparse.Namespace, statement: dict[str, Any]) -> bool:
    if statement["verdict"] == "DEGRADED":
        return bool(args.accept_degraded and statement["delivered"])
    return bool(statement["verdict"] == "VALID")


class _terminable:  # noqa: N801 -- reads as a word: with _terminable() as ending
    """SIGTERM ends the run as Ctrl-C does; the list holds its number then."""

    def __enter__(self) -> list[int]:
        self._ending: list[int] = []
        self._before = signal.signal(signal.SIGTERM, self._end)
        return self._ending

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- the handler's signature
        self._ending.append(number)
        raise KeyboardInterrupt


class _Terminal:
    """Progress and warnings on the terminal."""

    def __init__(self) -> None:
        self._progress: console.Progress | None = None
        self._label = ""

    def warn(self, text: str) -> None:
        """Say it."""
        console.warn(text)

    def preparing(self, done: int, total: int) -> None:
        """Show how much stand-in data is written."""
        self._show("preparing", total, "B").update(done, f"{format_bytes(done)} of {format_bytes(total)}")

    def running(self, state: State, total: int) -> None:
        """Show how far the run is."""
        note = f"{state.in_flight:.1f} in flight · {format_ns(state.lateness_ns)} late"
        self._show("replaying", total, "ops").update(state.done, note)

    def close(self) -> None:
        """Clear the line."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress, self._label = None, ""

    def _show(self, label: str, total: int, unit: str) -> console.Progress:
        if self._progress is None or self._label != label:
            self.close()
            self._progress, self._label = console.Progress(label, total, unit), label
        return self._progress


def _options(args: argparse.Namespace) -> Options:
    from tracekit.replay.options import Options, parse_remap

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
        engine=args.engine,
        order=args.order,
        realtime=not args.no_realtime,
        select=args.select,
        loop=args.loop,
        null_offset=args.null_offset,
        direct_align=args.direct_align,
        direct_fallback=args.direct_fallback,
        max_errors=args.max_errors,
        skip_unknown=args.skip_unknown,
    )


def _output_name(args: argparse.Namespace) -> str:
    output = str(args.output) if args.output else _default_output(args.trace)
    if output != "-" and args.trace != "-" and os.path.realpath(output) == os.path.realpath(args.trace):
        raise UsageError(f"{output} is the trace being replayed", "name another file with -o")
    return output


def _default_output(trace: str) -> str:
    """`NAME.replay.jsonl` beside the trace; `replay.jsonl` here for one from standard input."""
    if trace == "-":
        return "replay.jsonl"
    for suffix in _SUFFIXES:
        if trace.endswith(suffix):
            return f"{trace.removesuffix(suffix)}.replay{suffix}"
    return str(Path(trace).with_suffix("")) + ".replay.jsonl"


def _absolute(name: str) -> str:
    return name if name == "-" else os.path.abspath(name)


# -- what the user is told --------------------------------------------------------------------------------------------


def _tell(args: argparse.Namespace, done: Replay, output: str) -> None:
    statement = done.run
    if args.json:
        console.show(json.dumps(statement, indent=2))
    for line in _summary(done, statement):
        console.say(line)
    _tell_verdict(statement)
    target = console.paint(output, "path", sys.stderr)
    console.say(f"wrote {target} ({counted(done.trailer.ops, 'op')})")
    if output != "-" and args.trace != "-":
        console.say(f"next: harness check {shlex.quote(output)} --golden {shlex.quote(args.trace)}")


def _summary(done: Replay, statement: dict[str, Any]) -> list[str]:
    moved, duration = statement["moved_bytes"], statement["duration_s"]
    rate = f", {format_rate(moved / duration)}" if duration > 0 else ""
    ops = f"{format_count(statement['ops'])} of {counted(done.plan.ops, 'op')} of {counted(statement['streams'], 'stream')}"
    lines = [
        f"replayed {ops}, {format_bytes(moved)} in {format_ns(duration * 1e9)}{rate}",
        f"pace      {done.plan.pace} ({done.plan.pace_reason}), speed {statement['speed']:g}",
        f"engine    {_engine(done)}",
    ]
    if statement["makespan_s"]:
        span = statement["makespan_s"]
        lines.append(
            f"makespan  {format_ns(span['achieved'] * 1e9)}, planned {format_ns(span['planned'] * 1e9)} "
            f"({100 * statement['makespan_error']:+.3f} %)"
        )
    if statement["lateness_us"]:
        late = statement["lateness_us"]
        lines.append(
            f"lateness  p50 {_us(late['p50'])}, p99 {_us(late['p99'])}, max {_us(late['max'])}"
            f" (a plain sleep here: p99 {_us(statement['noise_floor_us']['p99'])})"
        )
    return [*lines, _depth_line(statement), *_cache_lines(done, statement)]


def _engine(done: Replay) -> str:
    return str(done.header.producer["reason"])


def _depth_line(statement: dict[str, Any]) -> str:
    achieved, recorded = statement["queue_depth"]["achieved"], statement["queue_depth"]["recorded"]
    known = f"recorded {recorded['mean']:.2f}, at most {recorded['max']}" if recorded else "not recorded"
    return f"depth     {achieved['mean']:.2f} ops in flight on average, at most {achieved['max']} ({known})"


def _cache_lines(done: Replay, statement: dict[str, Any]) -> list[str]:
    residency = done.trailer.residency
    states = [residency.get(moment) for moment in ("before", "after")]
    shown = [
        f"{100 * state['resident'] / state['pages']:.0f} %" if state and state["pages"] else "unknown"
        for state in states
    ]
    lines = [f"cache     {shown[0]} of the files' pages resident before, {shown[1]} after{_verified(residency)}"]
    issued, recorded = statement["issued_bytes"], statement["recorded_bytes"]
    if done.outcome.went_direct:
        lines.append(f"direct    {format_bytes(issued)} issued for {format_bytes(recorded)} recorded")
    if statement["direct_fallback_files"]:
        lines.append(f"fallback  {statement['direct_fallback_files']} files were read through the page cache instead")
    return lines


def _verified(residency: Mapping[str, Any]) -> str:
    verified = residency.get("verified")
    if not verified or not verified["pages"]:
        return ""
    agreeing = 1 - (verified["missing"] + verified["extra"]) / verified["pages"]
    return f" ({residency['start']} start: {100 * agreeing:.3f} % of them as asked)"


def _tell_verdict(statement: dict[str, Any]) -> None:
    """The run's own verdict; one that is not VALID is said also when quiet, since the exit code needs its reason."""
    verdict, reasons = statement["verdict"], statement["reasons"]
    if verdict == "VALID":
        console.say(f"run       {console.paint(verdict, 'good', sys.stderr)}")
        for reason in reasons:
            console.say(f"          {reason}")
        return
    console.warn(f"the run is {verdict}: {'; '.join(reasons)}")
    if verdict == "TARGET LIMITED" and statement["pace"] == "recorded":
        console.say("to see how the program itself would fare on this storage, replay with --pace think")


def _us(value: float) -> str:
    return format_ns(value * 1e3)
