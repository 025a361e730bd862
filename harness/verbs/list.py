"""`harness list`: the goldens there are."""

from __future__ import annotations

import argparse

from tracekit import console


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `list` takes."""
    parser.description = "List the goldens that come with tracekit. One of your own is named by its directory."
    parser.epilog = "example:\n  harness list"


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 -- every verb takes its arguments
    """Show name, revision, runs and title of each golden."""
    from harness import golden

    rows = []
    for name in golden.names():
        loaded = golden.load(name)
        runs = str(len(loaded.envelope.runs)) if loaded.envelope else "not blessed"
        rows.append((name, str(loaded.revision), runs, str(loaded.profile.get("title", ""))))
    console.show(console.table(rows, ("name", "revision", "runs", "models"), right=(1,)))
    console.say(f"next: harness show {rows[0][0] if rows else 'NAME'}")
    return 0
