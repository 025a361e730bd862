"""`tracekit run`: drive a workload, say how it went, and record it where asked."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.errors import EXIT_FAIL, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_PASS, CannotRunError, InputError, UsageError
from tracekit.output import check_output, write_text
from tracekit.replay.wire import launched
from tracekit.verbs import run_scratch, run_text
from tracekit.verbs.run_driving import Ranks, all_runs, driven
from tracekit.verbs.run_work import found
from tracekit.workload.options import PAGE_CACHE_MODES

if TYPE_CHECKING:
    from tracekit.verbs.run_driving import Driver

_DESCRIPTION = """\
Drive a workload: read as a training job reads, compute as long as it computes, and say what each step waited for. WORKLOAD is a
profile (torch-like, tf-like, jax-like, imagenet-like, webdataset-like), custom (the loader with options of your own), a YAML file of
such options, a DLIO or MLPerf Storage workload file, or the name of one that comes with tracekit. After it, values of a DLIO file may
be set as on Hydra's command line.
"""
_EPILOG = """\
A profile makes its own data set where --data is empty. With -o the run is recorded as any program is: the trace goes through stats,
replay and harness check.

examples:
  tracekit run torch-like                                       its preset, in a temporary directory
  tracekit run torch-like --as recorded --data d -o run.jsonl   as recorded from PyTorch, and record it
  tracekit run custom --data d -O batch_size=64 -O reader_mode=range --compute 'gamma(2, 0.01)'
  tracekit run unet3d.yaml ++workload.reader.batch_size=2 --max-steps 20 --norms mlperf
  tracekit run jax-like --ranks 2 --format csv --output steps.csv
  mpirun -n 4 tracekit run unet3d.yaml --data /shared/unet3d    four ranks, on one host or several

exit codes: 0 done, 1 the norms that were asked for are not kept, 2 bad input, 4 something could not be read or run
"""
FORMATS = ("text", "json", "csv")
# What a run that was not recorded is proposed to be recorded into.
_RECORDING = "run.jsonl"
# What says nothing about the replay of a trace.
_NOT_REPLAYED = {
    "workload": "WORKLOAD", "profile": "--profile", "dlio_config": "--dlio-config", "form": "--as", "data": "--data", "option": "-O",
    "epochs": "--epochs", "max_epochs": "--max-epochs", "max_steps": "--max-steps", "compute": "--compute", "decode": "--decode",
    "seed": "--seed", "ranks": "--ranks", "checkpoint": "--checkpoint", "ranks_per_host": "--ranks-per-host", "output": "--output", "norms": "--norms", "runs": "--runs",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("workload", metavar="WORKLOAD", nargs="?", help="a profile, custom, or a file")
    parser.add_argument("overrides", metavar="++KEY=VALUE", nargs="*", help="values of a DLIO file")
    parser.add_argument("--profile", metavar="NAME", help="the same as WORKLOAD, for a profile")
    parser.add_argument("--dlio-config", metavar="FILE", help="the same as WORKLOAD, for a DLIO file")
    parser.add_argument("--as", dest="form", metavar="preset|recorded", help="a profile's values: the preset's (default), or as recorded from the framework")  # fmt: skip
    parser.add_argument(
        "--data", metavar="URI", help="where the data is, or is made: a path, or direct://, s3://, az://"
    )
    _add_job(parser)
    _add_recording(parser)
    _add_report(parser)


def _add_job(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is run")
    group.add_argument("-O", "--option", metavar="NAME=VALUE", action="append", default=[], help="an option of the loader; may be repeated")  # fmt: skip
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    group.add_argument("--max-epochs", type=int, metavar="N", help="at most so many of the epochs there are")
    group.add_argument("--max-steps", type=int, metavar="N", help="at most so many training steps of each rank")
    group.add_argument("--compute", metavar="SECONDS", help="how long a step computes: 0.02, normal(0.02, 0.002), gamma(2, 0.01)")  # fmt: skip
    group.add_argument("--decode", metavar="SECONDS", help="how long a worker takes with each sample, in the same way")
    group.add_argument("--seed", type=int, metavar="N", help="of orders and times (default: the workload's)")
    group.add_argument("--ranks", type=int, default=1, metavar="N", help="processes that share the data (default: 1)")
    group.add_argument(
        "--checkpoint", metavar="URI", help="where a DLIO file's checkpoints go (default: where it says)"
    )
    group.add_argument("--rank-timeout", type=float, default=30.0, metavar="SECONDS", help="under mpirun: how long a silent rank is waited for (default: 30)")  # fmt: skip
    group.add_argument("--ranks-per-host", type=int, default=0, metavar="N", help="by which recovery_rank_shift shifts (default: all are one host's)")  # fmt: skip
    group.add_argument("--cache-policy", choices=PAGE_CACHE_MODES, help="how files are read: as is, with advice, or past the page cache")  # fmt: skip
    group.add_argument("--drop-cache", action="store_true", help="take the data out of the page cache before")


def _add_recording(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("traces")
    group.add_argument("-o", "--trace-record", metavar="TRACE", help="record the run into this trace")
    group.add_argument("--trace-replay", metavar="TRACE", help="replay a trace instead, as tracekit replay does")
    group.add_argument("--force", action="store_true", help="replace outputs that exist")


def _add_report(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("report")
    form = group.add_mutually_exclusive_group()
    form.add_argument(
        "--format", choices=FORMATS, default="text", help="text (default), json (also --json), or csv: a line per step"
    )
    form.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    group.add_argument("--output", metavar="FILE", help="where the report goes (default: standard output)")
    group.add_argument("--norms", choices=("mlperf",), help="name what MLPerf Storage's rules would object to")
    group.add_argument("--runs", type=int, default=1, metavar="N", help="how many times (default: 1); with more, the first does not count")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run a workload, or replay a trace."""
    if args.trace_replay is not None:
        return _replay(args)
    from tracekit.verbs.replay import terminable

    size = launched()

    def said(number: int) -> None:
        # At once: a launcher kills soon after.
        if size == 1 or os.environ.get("RANK") == "0":
            why = ", which a launcher sends to all when one of its ranks has died" if size > 1 else ""
            console.complain("tracekit", f"ended by {signal.Signals(number).name}{why} [interrupted]")

    with terminable(said) as ending:
        try:
            if size > 1:
                from tracekit.verbs.run_ranks import run_ranks

                return run_ranks(args, size)
            return perform(args, args.ranks, driven)
        except KeyboardInterrupt:
            if not ending:
                raise
            return 128 + ending[0]


def perform(args: argparse.Namespace, ranks: int, drive: Driver) -> int:
    """Find the workload, run it and report; the exit code.

    Args:
        args: The command line.
        ranks: How many ranks there are.
        drive: Has plans carried out.

    Raises:
        TracekitError: If something is wrong with the workload or its data, or a rank ended early.
    """
    _check(args)
    with run_scratch.scratch() as scratch:
        work = found(args, scratch, ranks)
        if work is None:
            return EXIT_PASS
        told, table = all_runs(args, work, Ranks(ranks, scratch, drive))
    norms = None if args.norms is None else told["violations"]
    _show(args, told, table, norms)
    if told["exit_code"] == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if told["errors"]:
        # Ranks say with which status what they met ends a run.
        kind = InputError if told["exit_code"] == EXIT_INPUT else CannotRunError
        raise kind(told["errors"][0])
    return EXIT_FAIL if norms else EXIT_PASS


def _check(args: argparse.Namespace) -> None:
    for name, least in (
        ("epochs", 1),
        ("max_epochs", 1),
        ("max_steps", 1),
        ("runs", 1),
        ("ranks", 1),
        ("ranks_per_host", 0),
    ):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value}", f"write {least} or more")
    if args.output is not None:
        check_output(args.output, force=args.force)
    if args.trace_record is not None:
        if args.runs > 1:
            raise UsageError("-o records one run, and --runs asks for more", "leave one of them out")
        if args.output is not None and os.path.abspath(args.output) == os.path.abspath(args.trace_record):
            raise UsageError(f"trace and report are both to be {args.output}", "name another file for one of them")
        from tracekit import formats

        formats.check_save(args.trace_record, force=args.force)


def _replay(args: argparse.Namespace) -> int:
    """`--trace-replay`: the verb replay, with what of our options it knows."""
    from tracekit.verbs import replay

    idle = [name for name in _NOT_REPLAYED if getattr(args, name) not in (None, [], 0, 1)]
    if idle or args.format == "csv":
        raise UsageError(
            f"--trace-replay does nothing with {_NOT_REPLAYED[idle[0]] if idle else '--format csv'}", "leave it out"
        )
    words = [args.trace_replay]
    if args.trace_record is not None:
        words += ["-o", args.trace_record]
    if args.cache_policy is not None:
        words += ["--cache", args.cache_policy]
    words += ["--drop-cache"] * args.drop_cache + ["--force"] * args.force + ["--json"] * (args.format == "json")
    parser = argparse.ArgumentParser("tracekit replay")
    replay.configure(parser)
    return replay.run(parser.parse_args(words))


# -- reporting ----------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, told: dict[str, Any], table: str, norms: Sequence[str] | None) -> None:
    shown = {
        "text": lambda: run_text.text(told, norms) + "\n",
        "json": lambda: json.dumps(told, indent=1) + "\n",
        "csv": lambda: table,
    }[args.format]()
    if args.output is not None:
        write_text(args.output, shown, force=args.force)
        console.say(f"the report is in {args.output}")
    else:
        console.show(shown.rstrip("\n"))
    if following := _next(args, told):
        console.say(f"next: {following}")


def _next(args: argparse.Namespace, told: Mapping[str, Any]) -> str:
    """The command that goes on from here; empty where something has to be done first, or none of ours does."""
    if args.trace_record is not None:
        trace = shlex.quote(args.trace_record)
        return f"harness check {trace} --golden NAME --mode profile" if told["steps"] else f"tracekit stats {trace}"
    # Several runs are not recorded, a report that is there is not replaced, and what started ranks is not ours to repeat.
    if told["errors"] or args.runs > 1 or args.output is not None or launched() > 1:
        return ""
    return f"{shlex.join(args.words)} -o {_RECORDING}" if hasattr(args, "words") else ""
