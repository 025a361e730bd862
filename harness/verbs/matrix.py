"""`harness matrix`: replay a recording in several cache scenarios and check that they differ the way they must."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import outputs
from tracekit import console
from tracekit.errors import OutputExistsError, UnknownNameError, UsageError
from tracekit.output import make_directory

if TYPE_CHECKING:
    from harness.cells import Refused, Scenario
    from tracekit.trace import Trace

    Runs = dict[str, list[tuple[Trace, int | None]]]

_DESCRIPTION = """\
Replay a recording in several cache scenarios (buffered, cold, random, sequential, direct) and check what must be equal, the
requests, and what must differ, and which way: a "cold" run whose pages were resident fails, and so does a direct run that is
as fast as the page cache. What was resident before and after each replay is the evidence. Where the storage is as fast as
memory, that is said, and the verdict is INCONCLUSIVE.

exit status: 0 PASS, 1 FAIL, 2 the input is not valid, 3 INCONCLUSIVE, 4 a replay cannot run here
"""
_EPILOG = """\
examples:
  harness matrix train.jsonl                                   all scenarios, three runs each, on the recorded files
  harness matrix train.jsonl --remap /data=/mnt/new --prepare random --html matrix.html
                                                               on other storage, with stand-in data
  harness matrix train.jsonl --only buffered,cold,direct --runs 5
  harness matrix train.jsonl --cell buffered=warm.jsonl --cell direct=direct.jsonl --cell cold=cold.jsonl
                                                               replays that are there already; nothing is run
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `matrix` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    cells = parser.add_argument_group("scenarios")
    replays = parser.add_argument_group("the replays")
    parser.add_argument("trace", metavar="TRACE", help="the recording")
    cells.add_argument("--only", metavar="CELLS", help="scenarios, separated by commas (default: all)")
    cells.add_argument(
        "--runs", type=int, default=3, metavar="N", help="replays of each scenario, in turn (default: 3)"
    )
    cells.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="CELL=TRACE",
        help="judge this replay as a run of a scenario; run none",
    )
    replays.add_argument("-o", "--output", metavar="DIR", help="keep the traces of the replays")
    replays.add_argument(
        "--pace", default="asap", metavar="PACE", help="pace of the replays (default: asap); see tracekit replay"
    )
    replays.add_argument("--remap", action="append", default=[], metavar="FROM=TO", help="where the data lies now")
    replays.add_argument("--prepare", metavar="FILLING", help="make missing files: random or zero")
    replays.add_argument("--select", metavar="EXPR", help="replay only these ops")
    cells.add_argument(
        "--inconclusive",
        choices=("fail", "ok"),
        default="",
        help="exit with 1 or 0 instead of 3 when nothing can be decided",
    )
    outputs.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Replay, judge, show, write, and return the exit code."""
    from tracekit import formats
    from tracekit.replay.options import Options

    wanted = outputs.Outputs.of(args)
    wanted.check()
    # Said here, before the first replay says it as that replay's own failure.
    Options(pace=args.pace, prepare=args.prepare)
    if args.runs < 1:
        raise UsageError(f"--runs {args.runs} is too small", "give 1 or more")
    recorded = formats.load(args.trace)
    if args.cell:
        return _judge(args, wanted, recorded, _given(args), {})
    if args.output:
        place = Path(args.output)
        _check_place(place, force=args.force)
        return _judge(args, wanted, recorded, *_replayed(args, place))
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        return _judge(args, wanted, recorded, *_replayed(args, Path(scratch)))


def _check_place(place: Path, *, force: bool) -> None:
    """Make the directory for the traces of the replays; those of an earlier matrix are replaced with `force` only."""
    from harness.cells import SCENARIOS

    make_directory(place, "name another directory with -o")
    taken = [path for name in SCENARIOS for path in sorted(place.glob(f"{name}.*.jsonl"))]
    if taken and not force:
        raise OutputExistsError(taken[0])


def _given(args: argparse.Namespace) -> Runs:
    from harness.cells import SCENARIOS
    from tracekit import formats

    runs: Runs = {}
    for word in args.cell:
        name, separator, path = word.partition("=")
        if not separator or not path:
            raise UsageError(f"--cell {word!r} is not CELL=TRACE", "write it as --cell cold=cold.jsonl")
        if name not in SCENARIOS:
            raise UnknownNameError("cell", name, SCENARIOS)
        runs.setdefault(name, []).append((formats.load(path), None))
    return runs


def _replayed(args: argparse.Namespace, place: Path) -> tuple[Runs, dict[str, Refused]]:
    from harness import cells
    from tracekit import formats

    chosen = _scenarios(args.only)
    runs: Runs = {}
    refused: dict[str, cells.Refused] = {}
    for scenario, number, done, device in cells.replayed(args.trace, chosen, args.runs, _words(args), place):
        if isinstance(done, cells.Refused):
            refused[scenario.name] = done
            console.say(f"{scenario.name}: not here: {done.why}")
            continue
        console.say(f"{scenario.name}: run {number} of {args.runs}")
        runs.setdefault(scenario.name, []).append((formats.load(done), device))
    return runs, refused


def _scenarios(only: str | None) -> list[Scenario]:
    from harness.cells import SCENARIOS

    names = [name.strip() for name in only.split(",")] if only else list(SCENARIOS)
    for name in names:
        if name not in SCENARIOS:
            raise UnknownNameError("cell", name, SCENARIOS)
    return [SCENARIOS[name] for name in names]


def _words(args: argparse.Namespace) -> Sequence[str]:
    words = ["--pace", args.pace, "--force"]
    for pair in args.remap:
        words += ["--remap", pair]
    for option in ("prepare", "select"):
        if getattr(args, option):
            words += [f"--{option}", getattr(args, option)]
    return words


def _judge(
    args: argparse.Namespace, wanted: outputs.Outputs, recorded: Trace, runs: Runs, refused: dict[str, Refused]
) -> int:
    from harness import divergence
    from harness.report import json, text
    from harness.verdict import exit_code

    verdict = divergence.judge(recorded, runs, refused, args.trace)
    wanted.write(verdict, lambda: ([], False))
    console.show(json.render(verdict).rstrip("\n") if args.json == "-" else text.render(verdict))
    for what, where in wanted.written():
        console.say(f"{what}: {where}")
    if not args.html:
        console.say(f"next: harness matrix {shlex.quote(args.trace)} --html matrix.html")
    return exit_code(verdict.outcome, inconclusive=args.inconclusive)
