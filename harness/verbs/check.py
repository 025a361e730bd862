"""`harness check`: hold traces against a golden or a recording."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import outputs
from tracekit import console, pipes, progress
from tracekit.errors import UsageError
from tracekit.output import check_output

if TYPE_CHECKING:
    from harness.report.timeline import Timeline
    from harness.verdict import Verdict

_DESCRIPTION = """\
Hold one or more traces against a golden (a name, or a directory made by `harness bless`), or a replay against the
recording it was made from. Every criterion is decided on its own; the verdict is the worst of those that gate.

Without a TRACE a run is made here: by the workload of the golden's profile, which needs no framework, or by the program
that the golden was recorded from.

exit status: 0 PASS, 1 FAIL, 2 the input is not valid, 3 INCONCLUSIVE, 4 workload or program cannot run here
"""
_EPILOG = """\
examples:
  harness check again.jsonl --golden train.jsonl                a replay against its recording
  harness check run.jsonl --golden torch-like                   a run against a golden that comes with tracekit
  harness check run1.jsonl run2.jsonl --golden my-job           several runs against a golden of your own
  harness check --golden torch-like                             drive that profile's workload here and judge it
  harness check --golden torch-like --drive recorded-program    the same with the program it was recorded from
  harness check run.jsonl --golden my-job --html report.html    a page with pictures, for people
  harness check run.jsonl --golden my-job --json summary.json   for other programs; --json - prints it
  harness check run.jsonl --golden my-job --junit io.xml        for a CI server, a testcase per criterion
  harness check --explain order.stream                          what a criterion means
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `check` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    _add_reference(parser)
    _add_trace(parser)
    _add_run_here(parser)
    parser.add_argument(
        "traces",
        nargs="*",
        metavar="TRACE",
        help="what is judged; several are runs of one job; none: a run is made and recorded here",
    )
    outputs.configure(parser)


def _add_reference(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it is held against")
    group.add_argument("--golden", metavar="NAME|DIR|TRACE", help="what it is held against")
    group.add_argument(
        "--mode",
        default="auto",
        metavar="auto|paired|repeat|profile",
        help="paired (op by op), repeat (the same job again), profile (another job of the same kind) or auto (default: paired "
        "against a trace, else repeat)",
    )
    group.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="NAME",
        help="show the bands published by others beside ours: seed, mlperf-storage or dlio-pr344; may be given several times",
    )
    group.add_argument(
        "--explain", metavar="CRITERION", help="say what a criterion measures, how it decides and why, and stop"
    )
    group.add_argument(
        "--inconclusive",
        choices=("fail", "ok"),
        default="",
        help="exit with 1 or 0 instead of 3 when nothing can be decided",
    )


def _add_trace(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the trace")
    group.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="where the data of a replay lies, when its header does not say; may be given several times",
    )
    group.add_argument(
        "--time-unit",
        default="ns",
        metavar="UNIT",
        help="unit of times in traces without a header: ns, us, ms, s (default: ns)",
    )
    group.add_argument("--skip-bad", action="store_true", help="leave out bad lines of a damaged trace, and count them")


def _add_run_here(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a run that is made here")
    group.add_argument(
        "--data",
        metavar="DIR",
        help="where the run that is made here makes its data set (default: a temporary directory)",
    )
    group.add_argument("-o", "--output", metavar="TRACE", help="keep the trace of the run that is made here")
    group.add_argument(
        "--drive",
        metavar="workload|recorded-program",
        help="how that run is made: by the workload driver (default, for the goldens that come with tracekit), or by the program the "
        "golden was recorded from",
    )
    group.add_argument(
        "--python", metavar="PATH", help="the interpreter of the recorded program (default: this one); asks for it"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the run that is made here")


def run(args: argparse.Namespace) -> int:
    """Judge, show, write, and return the exit code."""
    if args.explain:
        console.show(_explained(args))
        return 0
    _check_arguments(args)
    if args.traces:
        return _judge(args, args.traces)
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        trace, how = _recorded_here(args, Path(scratch))
        return _judge(args, [trace], how)


def _explained(args: argparse.Namespace) -> str:
    """The criterion, what others have published for it, and what the golden named with --golden makes of it."""
    from harness.check import is_trace_file
    from harness.criteria import REPEAT_CRITERIA, explain
    from harness.criterion import format_band
    from harness.presets import PRESETS

    lines = [explain(args.explain)]
    for name, preset in PRESETS.items():
        rules = [rule for rule in preset.rules if rule.id == args.explain]
        lines += [
            f"  published   {name}: {format_band(rule.kind, rule.band, rule.unit)} (--preset {name})" for rule in rules
        ]
    if args.golden and args.explain in REPEAT_CRITERIA and not is_trace_file(args.golden):
        from harness import golden
        from harness.noise import lesson

        standard = golden.load(args.golden).standard()
        learned = lesson(standard.adjusted(REPEAT_CRITERIA[args.explain]), standard.noise)
        noise = "not known" if learned.noise is None else f"{learned.noise:.3g}"
        runs = "no number of runs passes" if learned.needs is None else f"runs to pass {learned.needs}"
        lines.append(
            f"  {standard.name}: tolerance {learned.tolerance:g}, noise {noise}, {runs}, counts: {learned.gate}"
        )
    return "\n".join(lines)


def _check_arguments(args: argparse.Namespace) -> None:
    from harness.check import MODES, choose_mode, is_trace_file
    from harness.presets import check_names
    from tracekit.errors import UnknownNameError

    if not args.golden:
        raise UsageError(
            "nothing to hold it against", "name a golden or a recording with --golden; `harness list` shows the goldens"
        )
    if args.mode not in MODES:
        raise UnknownNameError("mode", args.mode, MODES)
    check_names(args.preset)
    choose_mode(args.mode, args.golden, max(1, len(args.traces)))
    if [*args.traces, args.golden].count(pipes.STDIN) > 1:
        raise UsageError("standard input can be one trace only", "save the others in files, and name those")
    if not args.traces and (args.remap or is_trace_file(args.golden)):
        raise UsageError("there is no TRACE to judge", "name one; only a golden can be driven")
    _check_drive(args)
    if args.output:
        check_output(args.output, force=args.force)
    outputs.Outputs.of(args).check()


def _check_drive(args: argparse.Namespace) -> None:
    from harness.drive import DRIVES, PROGRAM, WORKLOAD
    from tracekit.errors import UnknownNameError

    if args.drive is None:
        return
    if args.drive not in DRIVES:
        raise UnknownNameError("way to drive", args.drive, DRIVES)
    if args.traces:
        raise UsageError("--drive makes a run, and there is a TRACE", "leave one of them out")
    if args.drive == WORKLOAD and args.python is not None:
        raise UsageError("--python runs the recorded program", f"leave it out, or use --drive {PROGRAM}")


def _recorded_here(args: argparse.Namespace, scratch: Path) -> tuple[str, str]:
    """The trace of a run that is made here, and how it was made."""
    from harness import drive, golden

    standard = golden.load(args.golden)
    standard.standard()
    output = Path(args.output) if args.output else scratch / f"{standard.name}.jsonl"
    data = Path(args.data).absolute() if args.data else scratch / "data"
    how = args.drive or (drive.PROGRAM if args.python is not None else drive.ways(standard))
    if how == drive.WORKLOAD:
        console.say(f"driving the workload {standard.name}, as recorded from the framework, and recording it")
        drive.record_workload(standard, data, output.absolute(), args.seed)
        return str(output), how
    python = args.python or sys.executable
    drive.program_of(standard, python)  # what is missing is said before anything is announced
    console.say(f"running the program of {standard.label} and recording it")
    drive.record_program(standard, data, output.absolute(), ["--seed", str(args.seed)], python)
    return str(output), how


def _as_driven(verdict: Verdict, args: argparse.Namespace, how: str) -> Verdict:
    """The verdict with how its run was made."""
    from harness.drive import WORKLOAD

    made = "the workload driver made this run" if how == WORKLOAD else "the program of the golden made this run"
    verdict = replace(verdict, notes=[f"{made} (--drive {how}, seed {args.seed})", *verdict.notes])
    if how == WORKLOAD and args.mode == "auto":
        reason = "a driven workload is another job of the same kind, not the framework's own"
        verdict = replace(verdict, mode_reason=reason)
    return verdict


def _judge(args: argparse.Namespace, traces: list[str], how: str = "") -> int:
    from harness import drive
    from harness.check import check
    from harness.criterion import PROFILE
    from harness.report import json, text
    from harness.verdict import exit_code
    from tracekit.replay.options import parse_remap

    remap = [parse_remap(pair) for pair in args.remap]
    wanted = outputs.Outputs.of(args)
    if wanted.html:
        # The page reads them again.
        for trace in [*traces, args.golden]:
            pipes.keep(trace)
    driven = how == drive.WORKLOAD and args.mode == "auto"
    with progress.during("judging"):
        verdict = check(
            traces,
            args.golden,
            mode=PROFILE if driven else args.mode,
            remap=remap,
            time_unit=args.time_unit,
            skip_bad=args.skip_bad,
            presets=args.preset,
        )
    verdict = _as_driven(verdict, args, how) if how else verdict
    # Files first: whoever reads the table may stop reading.
    wanted.write(verdict, lambda: _over_time(args, traces, verdict))
    console.show(json.render(verdict).rstrip("\n") if args.json == "-" else text.render(verdict))
    if args.github:
        _annotate(verdict)
    _say_next(args, verdict)
    return exit_code(verdict.outcome, inconclusive=args.inconclusive)


def _over_time(args: argparse.Namespace, traces: list[str], verdict: Verdict) -> tuple[Sequence[Timeline], bool]:
    from harness.report.timeline import of_check

    return of_check(verdict, args.golden, traces, time_unit=args.time_unit, skip_bad=args.skip_bad)


def _annotate(verdict: Verdict) -> None:
    from harness.report.markdown import workflow_commands

    for line in workflow_commands(verdict):
        console.show(line)


def _say_next(args: argparse.Namespace, verdict: Verdict) -> None:
    from harness import golden
    from harness.criterion import REPEAT

    failed = [finding.id for finding in verdict.failed]
    for what, where in outputs.Outputs.of(args).written():
        console.say(f"{what}: {where}")
    from_files = not any(map(pipes.once, [*args.traces, args.golden]))
    if args.mode == "auto" and verdict.mode == REPEAT and "bytes" in failed and args.golden in golden.names():
        # A job of the user's own is not the one that the golden was recorded from, which is what `repeat` asks.
        words = [*args.traces, "--golden", args.golden, "--mode", "profile"]
        console.say(
            "note: this asked whether it is the golden's own job; profile mode asks whether it is one of its kind"
        )
        console.say(f"next: harness check {shlex.join(words)}")
    elif failed:
        console.say(f"next: harness check --explain {failed[0]}")
    elif args.json and not pipes.once(args.golden):
        console.say(
            f"next: harness show {shlex.quote(args.golden)}"
            if not Path(args.golden).is_file()
            else f"next: tracekit stats {shlex.quote(args.golden)}"
        )
    elif from_files:
        words = [*args.traces, "--golden", args.golden, "--json", "summary.json"]
        console.say(f"next: harness check {shlex.join(words)}")
