"""`harness selftest`: how often the harness is wrong, measured."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.outputs import add_json
from tracekit import console
from tracekit.errors import EXIT_FAIL, UsageError

if TYPE_CHECKING:
    from harness.score import Tally
    from harness.selftest import Report, Subject

_DESCRIPTION = """\
Judge the harness itself: how often true repeats are not accepted (each golden's own runs against each other), what is said
of figures moved by 0.5, 1, 1.5 and 2 times a tolerance, which edits of a trace fail, in repeat and in paired mode, and by which
name, which are not seen, and whether each golden tells the others' runs. Rates come with their 95 % intervals.

exit status: 0 all targets are met, 1 one is not
"""
_EPILOG = """\
examples:
  harness selftest                                  all goldens, 300 true-repeat checks, the whole catalogue of edits
  harness selftest --golden torch-like --quick      some minutes less
  harness selftest --traces runs --json rates.json  runs/NAME/*.jsonl: more runs of each golden's job, judged and edited too
"""
QUICK_CHECKS, QUICK_MOVES = 100, 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `selftest` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--golden", action="append", metavar="NAME|DIR", help="only this one; may be given several times"
    )
    parser.add_argument(
        "--traces",
        metavar="DIR",
        help="recordings of the goldens' programs that they were not made of, a directory each (DIR/NAME)",
    )
    parser.add_argument(
        "--edited", type=int, default=1, metavar="N", help="how many of those traces are edited (default: 1)"
    )
    parser.add_argument("--checks", type=int, default=300, metavar="N", help="true-repeat checks in all (default: 300)")
    parser.add_argument("--quick", action="store_true", help="fewer checks, and edits at twice the tolerance only")
    parser.add_argument("--seed", type=int, default=0, help="of splits and edits")
    add_json(parser, "everything")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace) -> int:
    """Try everything and show it."""
    import json

    from harness import golden, selftest
    from tracekit.output import check_output, write_text

    if args.checks < 1 or args.edited < 0:
        raise UsageError("--checks and --edited are numbers of trials", "give at least 1 and 0")
    if args.json and args.json != "-":
        check_output(args.json, force=args.force)
    subjects = [_subject(name, args) for name in args.golden or golden.names()]
    quick = selftest.Plan(min(args.checks, QUICK_CHECKS), QUICK_MOVES, levels=(2.0,))
    plan = quick if args.quick else selftest.Plan(args.checks)
    report = selftest.run(subjects, plan, args.seed, console.say)
    text = json.dumps(report.to_json(), indent=1, sort_keys=True, ensure_ascii=False)
    if args.json and args.json != "-":
        write_text(args.json, text + "\n", force=args.force)
    console.show(text if args.json == "-" else "\n\n".join(_shown(report)))
    console.say(f"next: harness power {shlex.quote(subjects[0].name)}")
    return 0 if all(met for _, met in report.targets()) else EXIT_FAIL


def _subject(name: str, args: argparse.Namespace) -> Subject:
    from harness import golden, specimen
    from harness.figures import Figures
    from harness.selftest import Subject
    from tracekit import formats

    loaded = golden.load(name)
    folder = Path(args.traces) / loaded.name if args.traces else None
    traces = [formats.load(str(path)) for path in sorted(folder.glob("*.jsonl"))] if folder else []
    kept = specimen.load(loaded)
    specimens = [*([] if kept is None else [kept]), *traces[: args.edited]]
    if not specimens:
        console.warn(f"{loaded.name} has no trace to edit: give some with --traces, or record it with --specimen")
    return Subject(loaded.name, loaded.standard(), specimens, [Figures.of(trace) for trace in traces])


def _shown(report: Report) -> Iterator[str]:
    yield "goldens: " + ", ".join(f"{name} ({runs} runs)" for name, runs in report.subjects.items())
    yield _true_repeats(report)
    yield _table(
        "figures of a true repeat, moved by",
        {f"{level} × tolerance": tally for level, tally in report.levels().items()},
    )
    levels = sorted({cell.level for cell in report.group("dialled") if cell.level is not None})
    if levels:
        yield _table(
            "edited traces (FAIL: by the right name)",
            {f"{level:g} × tolerance": report.detected(level) for level in levels}
            | {
                f"further out, as it moves in steps (from {level:g})": steps
                for level in levels
                if (steps := report.detected(level, near=False)).trials
            },
        )
        yield _always(report)
    if report.others:
        yield _table("runs of the other goldens", _by_golden(report))
    yield _blind(report)
    yield "\n".join(f"{'met   ' if met else 'MISSED'}  {title}" for title, met in report.targets())


def _true_repeats(report: Report) -> str:
    from harness.score import together

    rows: dict[str, Tally] = {f"{name}, its own runs": tally for name, tally in report.repeats.items()}
    rows["all"] = together(report.repeats.values())
    rows |= {f"{name}, fresh runs": tally for name, tally in report.fresh.items()}
    if report.fresh:
        rows["all fresh runs"] = together(report.fresh.values())
    rows["environment, 3 runs at a time"] = together(report.environment.values())
    return _table("true repeats", rows)


def _by_golden(report: Report) -> dict[str, Tally]:
    from harness.score import Tally

    rows: dict[str, Tally] = {}
    for (mine, _theirs), tally in report.others.items():
        rows[f"against {mine}"] = rows.get(f"against {mine}", Tally()) + tally
    return rows


def _table(title: str, rows: Mapping[str, Tally]) -> str:
    from harness.verdict import Outcome

    shown = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)
    header = (title, "trials", *(outcome.value for outcome in shown), "failed most")
    lines = []
    for name, tally in rows.items():
        cells = [_share(tally, outcome) for outcome in shown]
        most = ", ".join(f"{criterion} {count}" for criterion, count in tally.named.most_common(3))
        lines.append((name, str(tally.trials), *cells, most))
    return console.table(lines, header, right=(1,))


def _share(tally: Tally, outcome: object) -> str:
    from harness.verdict import Outcome

    assert isinstance(outcome, Outcome)
    if not tally.trials:
        return "–"
    low, high = tally.interval(outcome)
    return f"{tally.outcomes[outcome]} = {100 * tally.share(outcome):.3g} % [{100 * low:.2g}, {100 * high:.3g}]"


def _always(report: Report) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    for cell in [*report.group("always"), *report.group("harmless")]:
        told = "+".join(cell.failed[:2]) if cell.named else cell.outcome.value
        rows.setdefault((cell.edit, cell.mode), []).append(f"{cell.golden}: {told}")
    lines = [(edit, mode, _common(told)) for (edit, mode), told in rows.items()]
    return console.table(lines, ("edit", "mode", "verdict"))


def _common(told: Sequence[str]) -> str:
    """One word where all goldens agree on an outcome, else who said what."""
    outcomes = {one.split(": ", 1)[1] for one in told}
    return outcomes.pop() if len(outcomes) == 1 else "; ".join(told)


def _blind(report: Report) -> str:
    spots = report.blind_spots()
    if not spots:
        return "blind spots: none was found"
    rows = [
        (spot["edit"], spot["mode"], f"{spot['not_failed']} of {spot['of']}", ", ".join(spot["goldens"]), spot["why"])
        for spot in spots
    ]
    return console.table(rows, ("blind spot", "mode", "not failed", "goldens", "why"))
