"""`harness show`: what a golden models, where it comes from, and its figures."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from harness.golden import Golden


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


def _about(loaded: Golden) -> list[str]:
    told = [
        f"{key}: {_flat(loaded.profile[key])}"
        for key in ("models", "dataset", "reads", "loader", "regime")
        if key in loaded.profile
    ]
    provenance = loaded.provenance or {}
    origin = [
        f"{key}: {_commands(provenance[key]) if key == 'commands' else _flat(provenance[key])}"
        for key in ("producers", "commands", "frameworks", "host")
        if provenance.get(key)
    ]
    return ["\n".join(lines) for lines in (told, origin) if lines]


def _commands(commands: Sequence[str]) -> str:
    first = commands[0]
    return first if len(commands) == 1 else f"{first} (and {len(commands) - 1} more that differ from it)"


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(_named(str(key), item) for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return str(value).strip()


def _named(key: str, value: object) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{key.removesuffix('_bytes')} {format_bytes(value)}"
    return f"{key} {_flat(value)}"


def _figures(loaded: Golden) -> str:
    from harness.criterion import REPEAT, format_band
    from harness.findings import format_value

    assert loaded.envelope is not None
    rows = []
    for criterion in loaded.standard().criteria(REPEAT):
        values = [value for value in loaded.envelope.values(criterion.id) if value is not None]
        if not values:
            continue
        spread = _relative_spread(values) if criterion.kind == "ratio" else _plain_spread(values)
        cells = [
            format_value(value, criterion.unit) for value in (min(values), math.fsum(values) / len(values), max(values))
        ]
        rows.append(
            (criterion.klass, criterion.id, *cells, spread, format_band(criterion.kind, criterion.band, criterion.unit))
        )
    header = ("class", "criterion", "least", "mean", "most", "spread (sd)", "band")
    return f"{len(loaded.envelope.runs)} runs\n{console.table(rows, header, right=(2, 3, 4, 5))}"


def _relative_spread(values: Sequence[float]) -> str:
    from harness.stats import spread

    return f"{100 * spread([math.log(value) for value in values]):.2g} %" if min(values) > 0 else "–"


def _plain_spread(values: Sequence[float]) -> str:
    from harness.stats import spread

    return f"{spread(values):.2g}"
