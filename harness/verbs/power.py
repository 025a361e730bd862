"""`harness power`: how many runs and ops it takes to decide with a golden."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracekit import console, progress

if TYPE_CHECKING:
    from harness.power import Power

_DESCRIPTION = """\
Say for every criterion of a golden what it takes: how many runs pass when nothing differs, which effects one and three
runs fail for (each in nine of ten cases), and how many ops a run needs. It follows from the noise between the
golden's own runs; where no number of runs would do, it says how many golden runs would.
"""
_EPILOG = """\
examples:
  harness power --golden torch-like
  harness power --golden my-job --criterion latency.p99
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `power` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--golden", required=True, metavar="NAME|DIR", help="the golden, by name or directory")
    parser.add_argument("--criterion", metavar="ID", help="this one only")
    parser.add_argument("--json", action="store_true", help="as JSON (docs/reference/power.schema.json)")


def run(args: argparse.Namespace) -> int:
    """Show what it takes."""
    import json

    from harness import golden, power
    from harness.criteria import named
    from harness.criterion import REPEAT

    standard = golden.load(args.golden).standard()
    criteria = [standard.adjusted(named(args.criterion))] if args.criterion else standard.criteria(REPEAT)
    with progress.during("trying sizes"):
        found = power.power(standard, [criterion for criterion in criteria if criterion.id != "depth.ceiling"])
    if args.json:
        console.show(json.dumps(power.to_json(standard, found), indent=1, sort_keys=True, ensure_ascii=False))
        return 0
    header = (
        "class",
        "criterion",
        "tolerance",
        "noise (sd)",
        "runs to pass",
        "1 run fails",
        "3 runs fail",
        "golden runs",
        "ops",
    )
    rows = [_row(each) for each in found]
    runs = len(standard.envelope.runs)
    console.show(
        f"{standard.name} ({runs} {'run' if runs == 1 else 'runs'})\n{console.table(rows, header, right=tuple(range(2, 9)))}"
    )
    for each in found:
        if each.lesson.noise is not None and each.lesson.needs is None:
            console.say(f"{each.criterion.id}: {_hopeless(each)}")
    console.say(f"next: harness check TRACE --golden {shlex.quote(args.golden)}")
    return 0


def _row(each: Power) -> Sequence[str]:
    lesson, kind = each.lesson, each.criterion.kind
    silent = lesson.noise is None
    return (
        lesson.klass,
        each.criterion.id,
        f"{lesson.tolerance:g}",
        "–" if lesson.noise is None else f"{lesson.noise:.2g}",
        "–" if silent else str(lesson.needs or "none"),
        _effect(lesson.detects, kind),
        _effect(each.detects_three, kind),
        str(each.golden_runs) if each.golden_runs else "",
        ("none" if each.ops is None else str(each.ops))
        + ("" if each.design_effect is None else f" ({each.design_effect:.0f}×)"),
    )


def _effect(effect: float | None, kind: str) -> str:
    if effect is None:
        return "–"
    if kind != "ratio":
        return f"{effect:.2g}"
    return f"+{100 * effect:.3g} %" if effect < 10 else f"×{effect:.2g}"


def _hopeless(each: Power) -> str:
    if each.golden_runs:
        return f"its noise is too large for these golden runs; with {each.golden_runs} of them it could be decided"
    return "its noise is too large for any number of runs: a quieter host, another percentile, or a wider tolerance in profile.yaml"
