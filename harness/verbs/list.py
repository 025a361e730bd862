"""`harness list`: the goldens there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tracekit import console

if TYPE_CHECKING:
    from harness.golden import Golden


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `list` takes."""
    parser.description = "List the goldens that come with tracekit. One of your own is named by its directory."
    parser.epilog = "example:\n  harness list"
    parser.add_argument("--json", action="store_true", help="as JSON, one object per golden")


def run(args: argparse.Namespace) -> int:
    """Show name, revision, runs and title of each golden."""
    from harness import golden

    goldens = [_described(golden.load(name)) for name in golden.names()]
    if args.json:
        import json

        console.show(json.dumps(goldens, indent=1, ensure_ascii=False))
        return 0
    rows = [
        (str(name), str(revision), str(runs) if runs else "not blessed", str(title))
        for name, revision, runs, title in map(dict.values, goldens)
    ]
    console.show(console.table(rows, ("name", "revision", "runs", "models"), right=(1,)))
    console.say(f"next: harness show {rows[0][0] if rows else 'NAME'}")
    return 0


def _described(loaded: Golden) -> dict[str, object]:
    runs = len(loaded.envelope.runs) if loaded.envelope else 0
    title = str(loaded.profile.get("title", ""))
    return {"name": loaded.name, "revision": loaded.revision, "runs": runs, "title": title}
