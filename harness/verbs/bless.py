"""`harness bless`: make a golden from runs, or a new revision of one."""

from __future__ import annotations

import argparse
import shlex

from tracekit import console, formats

_DESCRIPTION = """\
Make runs of one job the golden, or its next revision. Every run must pass against the others; what changes is shown,
the reason goes into CHANGES.md. Refuses fewer than five runs, and where CI is set.
"""
_EPILOG = """\
example, for a golden of your own:
  mkdir my-job
  echo 'title: nightly training of the small model' > my-job/profile.yaml
  harness bless my-job run*.jsonl --reason "first golden" --dry-run      look first
  harness bless my-job run*.jsonl --reason "first golden"
  harness check tonight.jsonl --golden my-job
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `bless` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("golden", metavar="NAME|DIR", help="the golden, or a directory with a profile.yaml")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="traces of the job, with different seeds")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why the golden is made or changed")
    parser.add_argument(
        "--dry-run", action="store_true", help="check the runs and show what would change, write nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Check the runs, show the change, write the golden."""
    from harness import bless

    runs = [(path, formats.load(path)) for path in args.runs]
    blessing = bless.prepare(args.golden, runs, args.reason)
    for warning in blessing.warnings:
        console.warn(warning)
    console.show(
        f"{blessing.before.label} -> {blessing.before.name}@{blessing.revision}: {len(runs)} runs, each passes against the others"
    )
    for change in blessing.changes() or ["no figure changes by more than 0.1 %"]:
        console.show(f"  {change}")
    if args.dry_run:
        console.say("nothing was written; leave out --dry-run to bless")
        return 0
    blessing.write()
    trace = "" if "program" in blessing.before.profile else "TRACE "
    console.say(f"next: harness check {trace}--golden {shlex.quote(args.golden)}")
    return 0
