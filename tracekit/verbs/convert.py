"""`tracekit convert`: a trace from one format into another, piece by piece."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.errors import EXIT_PASS, UsageError
from tracekit.filetypes import TYPES

if TYPE_CHECKING:
    from tracekit.formats.writer import Written

_DESCRIPTION = """\
Write a trace in another format. The suffixes of the two names say which, or --from and --to. The trace passes through in
pieces, so it may be larger than memory. IN may be a directory or a glob in quotes: its traces are merged by time. Where OUT ends
in / (or with --every) it becomes a directory of Parquet files, one for each span of time; read, they are one trace again.
"""
_EXAMPLES = """\
examples:
  tracekit convert train.jsonl train.parquet            for DuckDB, Polars and pandas
  tracekit convert train.parquet train.jsonl.zst        and back
  tracekit convert 'host*/trace.parquet' all.parquet    many hosts in one
  tracekit convert train.jsonl train.parts/ --every 60s  in a directory, a Parquet file for each minute
  tracekit convert train.parquet - | head               as lines
  tracekit convert run.pfw.gz run.jsonl                 what dftracer recorded
  tracekit convert train.jsonl train.json               a timeline for ui.perfetto.dev
  tracekit convert warp.csv.zst w.jsonl --set bucket=b  what the file itself does not say
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    rows = [f"  {one.name:<12} {_ways(one.reads, one.writes):<16} {one.meaning}" for one in TYPES]
    parser.description = _DESCRIPTION
    names = [one.name for one in TYPES]
    said = [
        f"  {one.name:<12} {name:<16} {meaning}"
        for one in TYPES
        for name, meaning in {**one.reader_options, **one.writer_options}.items()
    ]
    parser.epilog = "\n".join(["formats:", *rows, "", "options of formats, with --set:", *said, "", _EXAMPLES])
    parser.add_argument("source", metavar="IN", help="trace; - is standard input")
    parser.add_argument("target", metavar="OUT", help="file to write; - is standard output, as lines")
    parser.add_argument(
        "--every",
        metavar="TIME",
        help="make OUT a directory of Parquet files, each with so much of the trace's time (such as 60s, which is what it "
        "is where OUT ends in /)",
    )
    parser.add_argument("--from", dest="source_format", metavar="F", choices=names, help="format of IN")
    parser.add_argument("--to", dest="target_format", metavar="F", choices=names, help="format of OUT")
    parser.add_argument(
        "--time-unit", default="ns", metavar="UNIT", help="unit of times in a file without header: ns, us, ms, s"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave bad lines out and say how many")
    parser.add_argument(
        "--set",
        dest="options",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of a format, see below",
    )
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
    reading, writing = _options(args.options)
    if args.every or args.target.endswith("/"):
        return _in_parts(args, reading, writing)
    pieces = formats.chunks(
        args.source, time_unit=args.time_unit, skip_bad=args.skip_bad, form=args.source_format, options=reading
    )
    with formats.writing(args.target, force=args.force, form=args.target_format, options=writing) as writer:
        done = writer.pieces(pieces)
    for text in done.warnings:
        console.warn(text)
    for what, count in writer.dropped.items():
        console.warn(f"{args.target} has no place for {what}" + (f" ({count:,})" if count > 1 else ""))
    _summarise(args.target, done)
    if done.ops and args.target != "-":
        _propose(args.target, args.target_format)
    return EXIT_PASS


def _in_parts(args: argparse.Namespace, reading: dict[str, str], writing: dict[str, str]) -> int:
    """Write a directory of parts; exit 0."""
    from tracekit import formats
    from tracekit.formats import parted
    from tracekit.units import counted, parse_ns

    if args.target_format not in (None, "parquet") or writing:
        raise UsageError("a directory of parts holds Parquet files", "leave --to and its options out, or name a file")
    if args.target == "-":
        raise UsageError("parts cannot go to standard output", "name a directory")
    every = parse_ns(args.every) if args.every else parted.EVERY_NS
    with parted.writing(args.target, every_ns=every, force=args.force) as begin:
        parts = formats.fold(
            args.source,
            begin,
            time_unit=args.time_unit,
            skip_bad=args.skip_bad,
            form=args.source_format,
            options=reading,
        )
        warnings = parts.finish()
    for text in warnings:
        console.warn(text)
    size = sum(os.path.getsize(os.path.join(args.target, name)) for name in os.listdir(args.target))
    _say(args.target, parts.ops, counted(parts.ops, "op"), size, f" in {counted(parts.count, 'part')}")
    _propose(args.target, "parquet")
    return EXIT_PASS


def _options(given: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Options for reading, and those for writing."""
    pairs = [text.partition("=") for text in given]
    for name, sign, _ in pairs:
        if not sign:
            raise UsageError(f"--set {name} has no value", "write it as --set NAME=VALUE")
    values = {name.strip(): value for name, _, value in pairs}
    for_writing = {name for one in TYPES for name in one.writer_options}
    writing = {name: values.pop(name) for name in for_writing & values.keys()}
    return values, writing


def _ways(reads: bool, writes: bool) -> str:  # noqa: FBT001  # two columns of a table
    return " and ".join(word for word, can in (("reads", reads), ("writes", writes)) if can)


def _summarise(target: str, done: Written) -> None:
    from tracekit.units import counted

    what = counted(done.of, "op") if done.ops == done.of else f"{done.ops:,} of {counted(done.of, 'op')}"
    if target == "-":
        console.say(f"wrote {what}")
        return
    _say(target, done.ops, what, os.path.getsize(target))


def _say(target: str, ops: int, what: str, size: int, how: str = "") -> None:
    from tracekit.units import format_bytes

    each = f", {size / ops:.1f} bytes an op" if ops else ""
    console.say(f"wrote {what} to {target}{how} ({format_bytes(size)}{each})")


def _propose(target: str, form: str | None) -> None:
    """What to do with it next."""
    from tracekit.formats import registry

    chosen = registry.to_write(target) if form is None else registry.named(form)
    console.say(
        f"next: tracekit stats {shlex.quote(target)}" if chosen.reads else f"next: open {target} in ui.perfetto.dev"
    )
