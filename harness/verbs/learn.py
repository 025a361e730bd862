"""`harness learn`: learn from runs of one job how much they differ, and what can be decided with them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import console, progress

if TYPE_CHECKING:
    from harness.golden import Golden
    from harness.learn import Learned

_DESCRIPTION = """\
Learn from runs of one job, recorded with different seeds. Every run must pass against the others, or all that
do not are named and nothing is written. What matters (tolerance) and what can be seen (noise) are kept apart;
where the noise makes a tolerance impossible it says so. Refuses fewer than five runs and warns below ten. The
directory can be checked against at once; `harness bless` makes it a golden.
"""
_EPILOG = """\
examples:
  harness learn run*.jsonl -o my-job                          learn
  harness check tonight.jsonl --golden my-job                 and use it
  harness bless my-job --reason "first golden"                or make it a golden with a history
  harness learn new*.jsonl --add my-job -o candidate          more runs beside those it holds
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `learn` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("runs", nargs="+", metavar="TRACE", help="traces of the job, with different seeds")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="directory for envelope.json and profile.yaml"
    )
    parser.add_argument(
        "--add",
        metavar="NAME|DIR",
        help="learn from these runs and from those that a golden holds (their traces are not needed), with its profile",
    )
    parser.add_argument("--title", default="", help="what it models, for a profile.yaml that is not there yet")
    parser.add_argument("--regime", choices=("compute_bound", "io_bound", "mixed"), default="", help="likewise")
    parser.add_argument(
        "--host", choices=("dedicated", "shared"), default="", help="likewise: the kind of host of the runs"
    )
    parser.add_argument(
        "--json", action="store_true", help="what was learned, as JSON (docs/reference/learn.schema.json)"
    )
    parser.add_argument("--force", action="store_true", help="replace what was learned there before")


def run(args: argparse.Namespace) -> int:
    """Learn, write, show."""
    from harness import golden, learn

    directory = Path(args.output)
    learn.check_directory(directory, force=args.force)
    before = golden.load(args.add) if args.add else None
    profile = _profile(directory, before, args)
    source = str(directory / golden.PROFILE)
    with progress.during("fitting bands"):
        learned = learn.learn(learn.read(args.runs, profile, source), profile, source, before)
    for warning in learned.warnings:
        console.warn(warning)
    words = {"title": args.title, "regime": args.regime, "host": args.host}
    learn.write(learned, directory, **words, force=args.force, like=None if before is None else before.directory)
    if args.json:
        import json

        console.show(json.dumps(learned.to_json(), indent=1, sort_keys=True, ensure_ascii=False))
    else:
        runs = len(learned.envelope.runs)
        console.show(f"{directory}: {runs} runs, each passes against the others\n{_table(learned)}")
    into = f"{shlex.quote(args.add)} " if args.add and not _same(args.add, directory) else ""
    console.say(f"next: harness bless {into}{shlex.quote(args.output)} --reason TEXT")
    return 0


def _same(added: str, directory: Path) -> bool:
    return Path(added).resolve() == directory.resolve()


def _profile(directory: Path, before: Golden | None, args: argparse.Namespace) -> Mapping[str, object]:
    """The profile as it stands, or as it will be written."""
    from harness import golden

    if (directory / golden.PROFILE).exists():
        return golden.load(str(directory)).profile
    if before is not None:
        return before.profile
    return {"regime": args.regime or "mixed", "host": args.host or "shared"}


def _table(learned: Learned) -> str:
    from harness.criteria import REPEAT_CRITERIA

    rows = [
        (
            lesson.klass,
            name,
            f"{lesson.tolerance:g}",
            "–" if lesson.noise is None else f"{lesson.noise:.2g}",
            "–" if lesson.detects is None else _detected(lesson.detects, REPEAT_CRITERIA[name].kind),
            "–" if lesson.needs is None else str(lesson.needs),
            lesson.gate,
        )
        for name, lesson in learned.lessons.items()
    ]
    header = ("class", "criterion", "tolerance", "noise (sd)", "one run detects", "runs to pass", "counts")
    return console.table(rows, header, right=(2, 3, 4, 5))


def _detected(effect: float, kind: str) -> str:
    return f"+{100 * effect:.3g} %" if kind == "ratio" else f"{effect:.2g}"
