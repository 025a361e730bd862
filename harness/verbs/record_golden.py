"""`harness record-golden`: record a golden's program again and again, as its runs were made."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.errors import UsageError
from tracekit.output import make_directory
from tracekit.units import counted

if TYPE_CHECKING:
    from harness.golden import Golden

_DESCRIPTION = """\
Run the program of a golden with one seed after the other, and record each run: what `harness learn` makes a golden of.
The program makes its data set from a seed, so nothing has to be downloaded. Traces that are there already are kept.
"""
_EPILOG = """\
examples:
  harness record-golden torch-like --repeats 12 -o runs
  harness learn runs/*.jsonl -o candidate && harness bless torch-like candidate --reason "recorded again" --dry-run
  harness record-golden jax-like --python ~/jax/bin/python -o runs      the framework is in another environment
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `record-golden` takes."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "golden", metavar="NAME|DIR", help="the golden whose program is recorded; it need not be blessed"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where run001.jsonl and so on are written")
    parser.add_argument(
        "--repeats", type=int, default=12, metavar="N", help="how many runs there shall be (default: 12)"
    )
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="seed of the first run (default: 1)")
    parser.add_argument(
        "--specimen",
        action="store_true",
        help="keep the first run in the golden's folder, for `harness selftest` to edit",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter that runs the program (default: this one)",
    )
    parser.add_argument("--data", metavar="DIR", help="where the data set is made (default: a temporary directory)")


def run(args: argparse.Namespace) -> int:
    """Record the runs that are missing."""
    from harness import drive, golden

    if args.repeats < 1:
        raise UsageError(f"--repeats {args.repeats} is no number of runs", "record at least 5, better 10")
    loaded = golden.load(args.golden)
    drive.program_of(loaded, args.python)
    directory = Path(args.output)
    make_directory(directory, "name another directory with -o")
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        data = Path(args.data).absolute() if args.data else Path(scratch) / "data"
        made = [_record(loaded, args, data, seed) for seed in range(args.first_seed, args.first_seed + args.repeats)]
        if args.specimen:
            console.say(f"specimen: {_keep(loaded, directory / f'run{args.first_seed:03d}.jsonl')}")
    console.show(f"{counted(sum(made), 'run')} recorded, {len(made) - sum(made)} already there: {directory}/run*.jsonl")
    runs = f"{shlex.quote(str(directory))}/run*.jsonl"
    console.say(f"next: harness learn {runs} -o candidate")
    return 0


def _keep(loaded: Golden, first: Path) -> Path:
    from harness import specimen
    from tracekit import formats

    return specimen.write(loaded, formats.load(str(first)))


def _record(loaded: Golden, args: argparse.Namespace, data: Path, seed: int) -> bool:
    """Whether the run had to be recorded."""
    from harness import drive

    output = Path(args.output).absolute() / f"run{seed:03d}.jsonl"
    if output.exists():
        return False
    console.say(f"{loaded.name}, seed {seed}")
    drive.record_program(loaded, data, output, ["--seed", str(seed)], args.python)
    return True
