"""`tracekit convert`: a trace from one format into another, piece by piece."""

from __future__ import annotations

import argparse
import os
import shlex

from tracekit import console
from tracekit.errors import EXIT_PASS, UsageError

_DESCRIPTION = """\
Write a trace in another format. The suffixes of the two names say which, or --from and --to. The trace passes through in
pieces, so it may be larger than memory. IN may be a directory or a glob in quotes: its traces are merged by time.
"""
_EXAMPLES = """\
examples:
  tracekit convert train.jsonl train.parquet            for DuckDB, Polars and pandas
  tracekit convert train.parquet train.jsonl.zst        and back
  tracekit convert 'host*/trace.parquet' all.parquet    many hosts in one
  tracekit convert train.parquet - | head               as lines
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    from tracekit.formats.registry import FORMATS

    rows = [f"  {one.name:<12} {_ways(one.reads, one.writes):<16} {one.meaning}" for one in FORMATS]
    parser.description = _DESCRIPTION
    parser.epilog = "formats:\n" + "\n".join(rows) + "\n\n" + _EXAMPLES
    names = [one.name for one in FORMATS]
    parser.add_argument("source", metavar="IN", help="trace; - is standard input")
    parser.add_argument("target", metavar="OUT", help="file to write; - is standard output, as lines")
    parser.add_argument("--from", dest="source_format", metavar="F", choices=names, help="format of IN")
    parser.add_argument("--to", dest="target_format", metavar="F", choices=names, help="format of OUT")
    parser.add_argument(
        "--time-unit", default="ns", metavar="UNIT", help="unit of times in a file without header: ns, us, ms, s"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out and say how many")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace) -> int:
    """Convert; exit 0.

    Raises:
        TracekitError: If the trace or an argument is wrong.
    """
    from tracekit import formats

    if (
        args.source != "-"
        and os.path.exists(args.target)
        and os.path.realpath(args.source) == os.path.realpath(args.target)
    ):
        raise UsageError(f"{args.source} would be written onto itself", "name another output")
    pieces = formats.chunks(args.source, time_unit=args.time_unit, skip_bad=args.skip_bad, form=args.source_format)
    with formats.writing(args.target, force=args.force, form=args.target_format) as writer:
        done = writer.pieces(pieces)
    for text in done.warnings:
        console.warn(text)
    for what, count in writer.dropped.items():
        console.warn(f"{args.target} has no place for {what}" + (f" ({count})" if count > 1 else ""))
    _summarise(args.target, done.ops)
    return EXIT_PASS


def _ways(reads: bool, writes: bool) -> str:  # noqa: FBT001  # two columns of a table
    return " and ".join(word for word, can in (("reads", reads), ("writes", writes)) if can)


def _summarise(target: str, ops: int) -> None:
    from tracekit.units import counted, format_bytes

    if target == "-":
        console.say(f"wrote {counted(ops, 'op')}")
        return
    size = os.path.getsize(target)
    each = f", {size / ops:.1f} bytes an op" if ops else ""
    console.say(f"wrote {counted(ops, 'op')} to {target} ({format_bytes(size)}{each})")
    console.say(f"next: tracekit stats {shlex.quote(target)}")
