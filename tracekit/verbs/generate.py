"""`tracekit generate`: make the data set of a workload."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.errors import EXIT_PASS, UsageError

if TYPE_CHECKING:
    from tracekit.workload.datagen import Outlook
    from tracekit.workload.distribution import Distribution
    from tracekit.workload.job import DataSet

_DESCRIPTION = """\
Make the data set of a workload: NPY, NPZ, HDF5, TFRecord (with DALI's index), CSV, JPEG, PNG, indexed binary, Parquet or WebDataset
shards, with sizes drawn from its distribution and content that does not compress, on files, s3:// or az://. What is there already is
left as it is, so a run that was stopped goes on where it was; a file is there whole or not at all. Whether there is room is looked
at before the first byte. WORKLOAD is a DLIO file, or the name of a workload that comes with tracekit.
"""
_EPILOG = """\
examples:
  tracekit generate unet3d --dry-run                                       how much would be written, and where
  tracekit generate minimal --data data/minimal
  tracekit generate minimal --data data/minimal --verify                   read it all, and hold it against what was made
  tracekit generate unet3d --data s3://bucket/unet3d ++workload.dataset.num_files_train=16
  tracekit generate resnet50 --data data/r --sample-bytes 'lognormal(mean=110KiB,stdev=30KiB)'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    what = parser.add_argument_group("what is made")
    how = parser.add_argument_group("how")
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a DLIO workload file, or the name of one that comes with tracekit"
    )
    parser.add_argument(
        "overrides", metavar="++workload.KEY=VALUE", nargs="*", help="set, add (+) or remove (~) a value of the file"
    )
    what.add_argument("--data", metavar="URI", help="where to make it (default: where the workload says)")
    what.add_argument(
        "--sample-bytes", metavar="SIZE", help="a size, or uniform(min=…,max=…), normal(mean=…,stdev=…), lognormal(…) …"
    )
    what.add_argument(
        "--compress-ratio",
        type=float,
        default=1.0,
        metavar="X",
        help="how well content compresses (default 1: not at all)",
    )
    what.add_argument("--seed", type=int, default=0, metavar="N", help="of sizes and content (default 0)")
    how.add_argument(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="how many make files at once (default: as many as are worth it)",
    )
    how.add_argument("--force", action="store_true", help="make every file again, also where another data set is")
    how.add_argument(
        "--verify",
        action="store_true",
        help="make nothing: read every file that is there and hold every byte against what it was made as",
    )
    how.add_argument("--dry-run", action="store_true", help="only say what would be made")
    how.add_argument("--json", action="store_true", help="what was made as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Make what is missing of the data set; exit 0.

    Raises:
        TracekitError: If the workload is wrong, it does not fit, or it cannot be written.
    """
    from tracekit.workload.datagen import survey
    from tracekit.workload.datagen.content import MOST_RATIO

    if args.seed < 0 or args.processes < 0:
        raise UsageError("--seed and --processes count from 0", "write 0 or more")
    if not 1 <= args.compress_ratio <= MOST_RATIO:
        raise UsageError(
            f"--compress-ratio is {args.compress_ratio}", f"write 1 for noise, 2 for half of it, up to {MOST_RATIO}"
        )
    if args.verify and (args.force or args.dry_run):
        raise UsageError("--verify makes nothing", "leave out --force and --dry-run")
    data = _data(args)
    outlook = survey(data, args.seed, args.compress_ratio, force=args.force)
    if args.verify:
        return _verified(args, outlook)
    written = make(outlook, args.processes, dry_run=args.dry_run)
    _show(args, outlook, written)
    return EXIT_PASS


def make(outlook: Outlook, processes: int = 0, *, dry_run: bool = False) -> int:
    """Make what is missing, with its progress; the bytes written.

    Raises:
        CannotRunError: If a file cannot be made.
    """
    from tracekit.workload.datagen import generate

    for remark in outlook.remarks:
        console.warn(remark)
    if dry_run or not outlook.missing:
        return 0
    with console.Progress("generating", len(outlook.missing), "files") as progress:
        return generate(outlook, processes, lambda files, done: progress.update(files, _size(done)))


def _verified(args: argparse.Namespace, outlook: Outlook) -> int:
    from tracekit.units import counted
    from tracekit.workload.datagen import verify

    with console.Progress("verify", outlook.files, "files") as progress:
        size = verify(outlook, args.processes, lambda files, done: progress.update(files, _size(done)))
    data = outlook.data
    if args.json:
        facts = {"generate": 1, "uri": data.uri, "format": data.format, "files": outlook.files, "verified_bytes": size}
        console.show(json.dumps({**facts, "seed": outlook.seed}, ensure_ascii=False))
    else:
        console.show(
            f"{data.uri}: {counted(outlook.files, 'file')} of {data.format}, {_size(size)}, every byte as it was made"
        )
    _say_next(args, outlook)
    return EXIT_PASS


def _data(args: argparse.Namespace) -> DataSet:
    from tracekit.workload.dlio import load, shipped

    job, _ = load(shipped.path_of(args.workload), args.overrides, args.data)
    data = job.data
    return replace(data, record_bytes=_distribution(args.sample_bytes)) if args.sample_bytes else data


def _distribution(text: str) -> Distribution:
    """What `--sample-bytes` means: `128KiB`, or `lognormal(mean=1MiB,stdev=256KiB)`.

    Raises:
        TracekitError: If it is neither.
    """
    from tracekit.units import parse_bytes
    from tracekit.workload.distribution import Distribution

    kind, bracket, rest = text.partition("(")
    if not bracket:
        return Distribution.fixed(parse_bytes(text))
    words = [word.partition("=") for word in rest.removesuffix(")").split(",")]
    if not rest.endswith(")") or not all(equals for _, equals, _ in words):
        raise UsageError(f"{text!r} is not a distribution", "write it as lognormal(mean=1MiB,stdev=256KiB)")
    # A shape is a number, everything else a size.
    values = {
        name.strip(): float(parse_bytes(value)) if name.strip() != "shape" else _number(value)
        for name, _, value in words
    }
    return Distribution(kind.strip(), values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a number", "write one, as in 2.5") from None


def _size(count: int) -> str:
    from tracekit.units import format_bytes

    return format_bytes(count)


def _show(args: argparse.Namespace, outlook: Outlook, written: int) -> None:
    if args.json:
        console.show(json.dumps(_as_json(args, outlook, written), ensure_ascii=False))
    else:
        console.show(_text(args, outlook, written))
    if not args.dry_run:
        _say_next(args, outlook)


def _say_next(args: argparse.Namespace, outlook: Outlook) -> None:
    words = shlex.join((args.workload, *args.overrides))
    console.say(f"next: tracekit run {words} --data {shlex.quote(outlook.data.uri)}")


def _as_json(args: argparse.Namespace, outlook: Outlook, written: int) -> dict[str, Any]:
    return {
        "generate": 1, "uri": outlook.data.uri, "format": outlook.data.format, "files": outlook.files,
        "made": 0 if args.dry_run else len(outlook.missing), "missing": len(outlook.missing), "estimated_bytes": outlook.bytes,
        "bytes": written, "seed": outlook.seed,
    }  # fmt: skip


def _text(args: argparse.Namespace, outlook: Outlook, written: int) -> str:
    from tracekit.units import counted, format_count

    data = outlook.data
    there = outlook.files - len(outlook.missing)
    head = f"{data.uri}: {counted(outlook.files, 'file')} of {data.format}, {counted(data.samples_per_file, 'sample')} each"
    if args.dry_run:
        return f"{head}\n{format_count(len(outlook.missing))} would be made, about {_size(outlook.bytes)}; {format_count(there)} are there"
    return f"{head}\n{format_count(len(outlook.missing))} made, {_size(written)}; {format_count(there)} were there"
