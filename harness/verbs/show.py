"""`harness show`: what a golden models, where it comes from, and its figures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from tracekit import console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `show` takes."""
    parser.description = (
        "Show what a golden models, where it comes from, its figures, and how much its own runs differ."
    )
    parser.epilog = "examples:\n  harness show torch-like\n  harness show my-job --json"
    parser.add_argument("golden", metavar="NAME|DIR", help="a golden of `harness list`, or the directory of your own")
    parser.add_argument("--json", action="store_true", help="the envelope as JSON")


def run(args: argparse.Namespace) -> int:
    """Show the golden."""
    import json

    from harness import golden

    loaded = golden.load(args.golden)
    standard = loaded.standard()
    if args.json:
        console.show(json.dumps(standard.envelope.to_json(), indent=1, sort_keys=True, ensure_ascii=False))
        return 0
    console.show(
        "\n\n".join(
            [
                f"{console.paint(loaded.label, 'bold')}: {loaded.profile.get('title', '')}",
                *_about(loaded),
                _figures(loaded),
            ]
        )
    )
    console.say(f"next: harness check TRACE --golden {args.golden}")
    return 0


def _about(loaded: object) -> list[str]:
    from harness.golden import Golden

    assert isinstance(loaded, Golden)
    told = [
        f"{key}: {_flat(loaded.profile[key])}"
        for key in ("models", "dataset", "reads", "loader", "regime")
        if key in loaded.profile
    ]
    provenance = loaded.provenance or {}
    origin = [
        f"{key}: {_flat(provenance[key])}"
        for key in ("producers", "commands", "frameworks", "host")
        if provenance.get(key)
    ]
    return ["\n".join(lines) for lines in (told, origin) if lines]


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return str(value).strip()


def _figures(loaded: object) -> str:
    from harness.criteria import REPEAT_CRITERIA
    from harness.criterion import format_band
    from harness.findings import format_value
    from harness.golden import Golden

    assert isinstance(loaded, Golden)
    assert loaded.envelope is not None
    rows = []
    for criterion in REPEAT_CRITERIA.values():
        values = [value for value in loaded.envelope.values(criterion.id) if value is not None]
        if not values:
            continue
        spread = _relative_spread(values) if criterion.kind == "ratio" else _plain_spread(values)
        cells = [
            format_value(value, criterion.unit) for value in (min(values), math.fsum(values) / len(values), max(values))
        ]
        rows.append((criterion.klass, criterion.id, *cells, spread, format_band(criterion)))
    header = ("class", "criterion", "least", "mean", "most", "spread (sd)", "band")
    return f"{len(loaded.envelope.runs)} runs\n{console.table(rows, header, right=(2, 3, 4, 5))}"


def _relative_spread(values: Sequence[float]) -> str:
    from harness.stats import spread

    return f"{100 * spread([math.log(value) for value in values]):.2g} %" if min(values) > 0 else "–"


def _plain_spread(values: Sequence[float]) -> str:
    from harness.stats import spread

    return f"{spread(values):.2g}"
