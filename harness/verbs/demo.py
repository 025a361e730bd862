"""`harness demo`: record a training loop, replay it, judge a good and a bad replay."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tracekit import console
from tracekit.errors import EXIT_FAIL

_DESCRIPTION = """\
Make a small image data set, record a PyTorch training loop that reads it, replay the trace, and judge the replay; then
judge a replay at twice the speed, which must fail.
"""
_EPILOG = """\
examples:
  harness demo
  harness demo --dir look-at-it --keep      the traces, and the images they read, stay in that directory

exit codes: 0 both came out as they should, 1 one did not, 2 the directory is not empty, 4 a package is missing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `demo` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--dir", metavar="DIR", help="where to work (default: a new temporary directory); must be empty"
    )
    parser.add_argument("--keep", action="store_true", help="keep the images too, not only traces and summaries")


def run(args: argparse.Namespace) -> int:
    """Perform the demonstration and say where everything is."""
    from harness import demo

    demo.check_packages()
    directory = Path(args.dir) if args.dir else Path(tempfile.mkdtemp(prefix="tracekit-demo-"))
    demo.check_directory(directory)
    console.show(f"working in {directory}")
    problems = demo.perform(directory, demo.steps())
    if not args.keep:
        shutil.rmtree(directory / "images", ignore_errors=True)
    console.show("")
    for problem in problems:
        console.complain("harness demo", problem)
    if not problems:
        console.show("the faithful replay passed, the one at twice the speed failed, as they should")
    console.show(f"traces: {directory}/*.jsonl\nsummaries: {directory}/*.summary.json")
    console.say(f"next: harness check {directory}/hasty.jsonl --golden {directory}/train.jsonl")
    return EXIT_FAIL if problems else 0
