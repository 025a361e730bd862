"""`tracekit stats`: what a trace does, the numbers that matter first."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from typing import TYPE_CHECKING

from tracekit import console, progress
from tracekit.errors import EXIT_PASS, UsageError

if TYPE_CHECKING:
    from tracekit.analysis.snapshot import Analysis
    from tracekit.metrics import Metrics
    from tracekit.trace import Trace

_DESCRIPTION = """\
Show what a trace does: how much is read, in which sizes and order, how long requests take, how many are in flight,
whether training steps waited for data, and what stands out: hot files, data read again, the page cache it would need, where
the slow requests are, pauses, bursts of writing. What the trace cannot say is shown as – (JSON: null), never as 0.
"""
_EPILOG = """\
examples:
  tracekit stats train.jsonl
  tracekit stats train.jsonl --json > metrics.json             every number; docs/metrics.md and docs/analysis.md explain them
  tracekit stats train.jsonl --csv train-csv                   scalars, histograms, steps, files … as CSV files
  tracekit stats other.jsonl --time-unit us                    a bare list of ops with times in microseconds
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "trace", metavar="TRACE", help="trace file, a directory of traces, or a glob in quotes; - is standard input"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="all metrics and the analysis as one JSON object")
    form.add_argument("--csv", metavar="DIR", help="the same as CSV files in a directory")
    form.add_argument("--markdown", action="store_true", help="the summary as a Markdown table")
    parser.add_argument(
        "--time-unit", default="ns", metavar="UNIT", help="unit of times in a file without header: ns, us, ms, s"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out and say how many")
    parser.add_argument("--force", action="store_true", help="let --csv replace files of the same names")


def run(args: argparse.Namespace) -> int:
    """Read the trace and show its metrics; exit 0.

    Raises:
        TracekitError: If the trace or an argument is wrong.
    """
    from tracekit import formats
    from tracekit.analysis.reading import Reading

    if args.force and not args.csv:
        raise UsageError("--force is for --csv", "leave it out, or name a directory with --csv")
    with progress.during("adding up"):
        read = formats.fold(args.trace, Reading, time_unit=args.time_unit, skip_bad=args.skip_bad)
        trace, metrics, analysis = read.last, read.metrics(), read.analysis()
    if args.csv or args.json:
        # Who reads tables or JSON hears here what the summary says itself.
        for text in trace.warnings:
            console.warn(text)
    if args.csv:
        _write_csv(metrics, analysis, args.csv, force=args.force)
    elif args.json:
        everything = metrics.to_json() | {"analysis": analysis.to_json()}
        console.show(json.dumps(everything, indent=1, ensure_ascii=False))
    else:
        _show(trace, metrics, analysis, args)
    return EXIT_PASS


def _write_csv(metrics: Metrics, analysis: Analysis, directory: str, *, force: bool) -> None:
    from tracekit.analysis import tables as of_analysis
    from tracekit.metrics import tables as of_metrics

    texts = of_metrics.texts(metrics) | of_analysis.texts(analysis)
    for name in of_metrics.write_texts(texts, directory, force=force):
        console.show(os.path.join(directory, name))
    console.say(f"next: column -s, -t {shlex.quote(os.path.join(directory, 'scalars.csv'))}")


def _show(trace: Trace, metrics: Metrics, analysis: Analysis, args: argparse.Namespace) -> None:
    from tracekit.verbs import stats_text

    report = stats_text.markdown if args.markdown else stats_text.text
    console.show(report(args.trace, trace, metrics, analysis))
    if metrics.data_ops:
        console.say(f"next: tracekit replay {shlex.quote(args.trace) if args.trace != '-' else 'TRACE'}")
