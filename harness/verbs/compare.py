"""`harness compare`: the differences of two traces or two sets of runs, without a verdict."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report.outputs import add_json
from tracekit import console, progress
from tracekit.errors import UsageError
from tracekit.output import check_output, write_text

if TYPE_CHECKING:
    from harness.compare import Difference
    from harness.envelope import Envelope

_DESCRIPTION = """\
Show how two traces, or two sets of runs, differ: the table of `harness check` without bands, each effect with its
95 % interval from the spread between runs, and never a verdict. Either side may be a golden.
"""
_EPILOG = """\
examples:
  harness compare monday.jsonl tuesday.jsonl
  harness compare old1.jsonl old2.jsonl old3.jsonl vs new1.jsonl new2.jsonl new3.jsonl
  harness compare torch-like vs run*.jsonl --json differences.json
  harness compare monday.jsonl tuesday.jsonl --html compared.html
"""
BETWEEN = "vs"
_HEADER = ("class", "criterion", "A", "B", "effect [95 %]", "")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `compare` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "sides",
        nargs="+",
        metavar="A… [vs] B…",
        help="two traces or goldens; or several runs of each, with the word vs between",
    )
    add_json(parser, "it as JSON")
    parser.add_argument("--html", metavar="FILE", help="write it as a page with pictures that needs no network")
    parser.add_argument("--time-unit", default="ns", metavar="UNIT", help="unit of times in traces without a header")
    parser.add_argument("--skip-bad", action="store_true", help="leave out bad lines of a damaged trace")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace) -> int:
    """Measure both sides and show how they differ."""
    import json

    from harness import compare

    names = _split(args.sides)
    for path in (args.json, args.html):
        if path and path != "-":
            check_output(path, force=args.force)
    with progress.during("measuring"):
        sides = [_envelope(side, args) for side in names]
        differences = compare.compare(*sides)
    notes = list(compare.remarks(*sides))
    data = compare.to_json(list(zip(names, sides, strict=True)), differences, notes)
    text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if args.json and args.json != "-":
        write_text(args.json, text, force=args.force)
        console.say(f"differences: {args.json}")
    if args.html:
        write_text(args.html, _page(names, sides, differences, notes, args, text), force=args.force)
        console.say(f"report: {args.html}")
    console.show(text.rstrip("\n") if args.json == "-" else _text(names, sides, differences, notes))
    console.say(f"next: {shlex.join(_next(*names))}")
    return 0


def _next(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """The verdict on what was only shown: one side against the other, or once several runs are a golden."""
    from harness.check import is_trace_file

    if len(b) == 1 and is_trace_file(a[0]):
        return ["harness", "check", *a, "--golden", *b]
    return ["harness", "check", *b, "--golden", *a] if len(a) == 1 else ["harness", "learn", *b, "-o", "golden"]


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    if words.count(BETWEEN) > 1:
        raise UsageError(f"the word {BETWEEN} stands there {words.count(BETWEEN)} times", "compare two sides at a time")
    if BETWEEN in words:
        at = words.index(BETWEEN)
        a, b = list(words[:at]), list(words[at + 1 :])
    else:
        a, b = list(words[:1]), list(words[1:])
        if len(b) > 1:
            raise UsageError(
                f"{len(words)} names, and nothing says which belong together", f"write {BETWEEN} between the two sides"
            )
    if not a or not b:
        raise UsageError("there is only one side", f"harness compare A… {BETWEEN} B…")
    return a, b


def _envelope(names: Sequence[str], args: argparse.Namespace) -> Envelope:
    from harness import golden, validity
    from harness.check import is_trace_file
    from harness.envelope import Envelope
    from harness.run import Run
    from harness.verdict import Outcome

    # What is no file and does not look like the name of one is meant to be a golden.
    if len(names) == 1 and not is_trace_file(names[0]) and (os.path.isdir(names[0]) or "." not in names[0]):
        return golden.load(names[0]).standard().envelope
    runs = []
    for name in names:
        run = Run.read(name, time_unit=args.time_unit, skip_bad=args.skip_bad)
        # Nothing is decided here, so what is wrong with a trace is said and the rest shown.
        for problem in validity.problems(run, name):
            if problem.outcome is Outcome.ERROR or problem.id == "valid.size":
                console.warn(problem.reason)
        runs.append(run)
    return Envelope.of(runs)


def _page(
    names: tuple[list[str], list[str]],
    sides: Sequence[Envelope],
    differences: Sequence[Difference],
    notes: Sequence[str],
    args: argparse.Namespace,
    summary: str,
) -> str:
    from harness.check import is_trace_file
    from harness.findings import distributions
    from harness.report import html
    from harness.report.timeline import Timeline
    from harness.verdict import FactTable
    from tracekit import formats

    firsts = [side[0] for side in names]
    lines = []
    # A golden has no ops to draw; then neither side is drawn over time.
    if all(not os.path.isdir(first) and is_trace_file(first) for first in firsts):
        pieces = [formats.chunks(first, time_unit=args.time_unit, skip_bad=args.skip_bad) for first in firsts]
        lines = [Timeline.of(os.path.basename(first), piece) for first, piece in zip(firsts, pieces, strict=True)]
    # Every column of a page needs a name.
    facts = FactTable("differences", (*_HEADER[1:-1], "~"), [_row(difference)[1:] for difference in differences])
    common = distributions(sides[0].histograms, sides[1].histograms)
    return html.comparison([_label(side) for side in names], facts, common, lines, notes, summary)


def _text(
    names: tuple[list[str], list[str]],
    sides: Sequence[Envelope],
    differences: Sequence[Difference],
    notes: Sequence[str],
) -> str:
    labels = [
        f"{_label(side)} ({len(envelope.runs)} {'run' if len(envelope.runs) == 1 else 'runs'})"
        for side, envelope in zip(names, sides, strict=True)
    ]
    rows = [_row(difference) for difference in differences]
    blocks = [
        f"A {labels[0]}\nB {labels[1]}",
        console.table(rows, _HEADER, right=(2, 3)),
        "~ the interval holds \"no difference\"; of distances A is how far A's own runs are from each other, B how far B's are from A's",
        "\n".join(f"note: {note}" for note in notes),
    ]
    return "\n\n".join(block for block in blocks if block)


def _label(names: Sequence[str]) -> str:
    first = os.path.basename(names[0])
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _row(difference: Difference) -> Sequence[str]:
    from harness.criterion import format_effect
    from harness.findings import format_value

    criterion = difference.criterion
    effect = format_effect(difference.kind, difference.effect)
    if difference.interval is not None:
        low, high = difference.interval
        effect = f"{effect} [{low:.3g}, {high:.3g}]"
    elif difference.within is not None:
        effect = f"{effect} {{{difference.within[0]:.3g}, {difference.within[1]:.3g}}}"
    mark = {None: "", True: "", False: "~"}[difference.visible]
    a, b = (format_value(value, criterion.unit) for value in (difference.a, difference.b))
    return criterion.klass, criterion.id, a, b, effect, mark
