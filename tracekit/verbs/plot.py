"""`tracekit plot`: pictures of a trace."""

from __future__ import annotations

import argparse
import os
import shlex

from tracekit import console, progress
from tracekit.errors import EXIT_PASS
from tracekit.uri import utf8

_DESCRIPTION = """\
Draw a trace: request sizes, service times and when they were long, ops and bytes in flight, what was read when, who read it,
and how large a page cache would have to be. What the trace cannot say is said in its place.
"""
_EPILOG = """\
pictures:
  sizes     distribution of bytes asked for          depth    ops and bytes in flight over time
  latency   service time by percentile               duty     share of time with I/O in flight
  heat      service time over time                   access   file and offset over time: a shuffle is visible at a glance
  cache     what a page cache of any size serves     lanes    a bar for each op, a lane for each thread

examples:
  tracekit plot train.jsonl -o train.png             all of them
  tracekit plot train.jsonl -o access.svg --kind access --kind lanes
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "trace", metavar="TRACE", help="trace file, a directory of traces, or a glob in quotes; - is standard input"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="picture: .png, .svg or .pdf; default is the trace's name and .png"
    )
    parser.add_argument(
        "--kind", metavar="NAME", action="append", default=[], help="one picture of those below; may be repeated"
    )
    parser.add_argument(
        "--time-unit", default="ns", metavar="UNIT", help="unit of times in a file without header: ns, us, ms, s"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out and say how many")
    parser.add_argument("--force", action="store_true", help="replace a picture that exists")


def run(args: argparse.Namespace) -> int:
    """Draw; exit 0.

    Raises:
        TracekitError: If the trace or an argument is wrong.
    """
    from tracekit import formats
    from tracekit.analysis.plots import plot

    target = args.output or f"{'trace' if args.trace == '-' else os.path.basename(args.trace).split('.')[0]}.png"
    trace = formats.load(args.trace, time_unit=args.time_unit, skip_bad=args.skip_bad)
    title = "" if args.trace == "-" else utf8(os.path.basename(args.trace))
    with progress.during("drawing"):
        plot(trace, target, kinds=args.kind, title=title, force=args.force)
    for text in trace.warnings:
        console.warn(text)
    console.say(f"drew {target}; next: tracekit stats {shlex.quote(args.trace) if args.trace != '-' else 'TRACE'}")
    return EXIT_PASS
