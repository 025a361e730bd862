"""`harness bless`: make what was learned a golden, or the next revision of one."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import console

if TYPE_CHECKING:
    from harness.bless import Blessing

_DESCRIPTION = """\
Make what `harness learn` wrote into a directory a golden, or its next revision: what changes is shown, and
the reason goes into CHANGES.md. Runs instead of the directory are learned from first. Never where CI is set.
"""
_EPILOG = """\
examples:
  harness learn run*.jsonl -o my-job
  harness bless my-job --reason "first golden"                        the directory itself becomes the golden
  harness learn new*.jsonl -o candidate
  harness bless my-job candidate --reason "files doubled" --dry-run   look first
  harness bless my-job candidate --reason "files doubled"
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `bless` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("golden", metavar="NAME|DIR", help="the golden, by name or directory")
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="DIR|RUN",
        help="what `harness learn` wrote (default: the golden's directory), or runs",
    )
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why the golden is made or changed")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, write nothing")


def run(args: argparse.Namespace) -> int:
    """Show the change, write the golden."""
    blessing = _prepared(args)
    for warning in blessing.warnings:
        console.warn(warning)
    runs = len(blessing.envelope.runs)
    console.show(
        f"{blessing.before.label} -> {blessing.before.name}@{blessing.revision}: {runs} runs, each passes against the others"
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


def _prepared(args: argparse.Namespace) -> Blessing:
    from harness import bless, golden

    if not args.runs:
        return bless.prepare_learned(args.golden, args.golden, args.reason)
    learned = Path(args.runs[0])
    if len(args.runs) == 1 and learned.is_dir() and (learned / golden.ENVELOPE).exists():
        return bless.prepare_learned(args.golden, args.runs[0], args.reason)
    return bless.prepare(args.golden, args.runs, args.reason)
