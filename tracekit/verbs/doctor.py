"""`tracekit doctor`: what works on this machine, and why the rest does not."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.errors import EXIT_PASS

if TYPE_CHECKING:
    from tracekit.doctor import Check

_DESCRIPTION = """\
Look at this machine and say what tracekit can use here: the native core, clock and timers, io_uring, O_DIRECT, cache
control, memory, frameworks. With a URI, look at the file system it is on, or ask the store. Each line that is not ok says why
and what to do. Nothing is changed.
"""
_EPILOG = """\
examples:
  tracekit doctor                          this machine, and the current directory's file system
  tracekit doctor file:///data/imagenet
  tracekit doctor direct:///data           the same for reads past the page cache
  tracekit doctor s3://bucket/imagenet     does the store answer, by which client
  tracekit doctor /data --json

exit codes: 0 everything was looked at, whatever was found; 2 nothing is at the URI; 4 it cannot be read
"""
_STYLES = {"ok": "good", "limited": "warn", "missing": "bad"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "uri",
        metavar="URI",
        nargs="?",
        default="",
        help="a file, directory, object or bucket to look at (default: here)",
    )
    parser.add_argument("--json", action="store_true", help="the checks as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run every check and show the findings; exit 0.

    Raises:
        TracekitError: If the URI is unusable.
    """
    from tracekit import __version__, doctor

    checks = doctor.examine(args.uri)
    if args.json:
        findings = {
            "doctor": 1,
            "tracekit": __version__,
            "uri": args.uri,
            "checks": [asdict(check) for check in checks],
        }
        console.show(json.dumps(findings, indent=1, ensure_ascii=False))
    else:
        console.show(_text(checks))
        console.say("next: tracekit record -o train.jsonl -- python train.py")
    return EXIT_PASS


def _text(checks: list[Check]) -> str:
    rows = [(check.name, console.paint(check.outcome, _STYLES[check.outcome]), check.finding) for check in checks]
    lines = [console.table(rows, ("check", "outcome", "finding"))]
    advice = [check for check in checks if check.way_out]
    if advice:
        lines += ["", "what to do:", *(f"  {check.name}: {check.way_out}" for check in advice)]
    return "\n".join(lines)
