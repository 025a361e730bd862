"""Having the plans of a run carried out: by processes of this machine, recorded where that is asked for, as often as asked for."""

from __future__ import annotations

import argparse
import glob
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.verbs import run_progress

if TYPE_CHECKING:
    from tracekit.workload.dataset import Dataset
    from tracekit.workload.drive import Plan, Result
    from tracekit.workload.job import Job
    from tracekit.workload.readers import Reader
    from tracekit.workload.shape import Shape

    Driver = Callable[[argparse.Namespace, Sequence[Plan], str], Sequence[Result]]


@dataclass(frozen=True)
class Work:
    """What is to be run; the readers say by which requests samples are read, where their format decides that."""

    job: Job
    shape: Shape | None
    train: Dataset
    evaluate: Dataset | None = None
    reader: Reader | None = None
    evaluate_reader: Reader | None = None
    whole: bool = True


@dataclass(frozen=True)
class Ranks:
    """Who runs it: how many ranks, where their working files are, and what has plans carried out."""

    count: int
    scratch: str
    drive: Driver


def all_runs(args: argparse.Namespace, work: Work, ranks: Ranks) -> tuple[dict[str, Any], str]:
    """The report of the last run, with those before it beside it."""
    from tracekit.workload import report, run

    before: list[Any] = []
    for number in range(args.runs):
        dropped = args.drop_cache and drop(work.train)
        plans = _plans(args, work, ranks)
        results = ranks.drive(args, plans, ranks.scratch)
        told = report.report(plans, results, [folder] if (folder := run.folder(work.job.data.uri)) else [])
        told["runs"] = [
            *before,
            {"au": told["au"], "seconds": told["seconds"], "warm_up": args.runs > 1 and number == 0},
        ]
        before = told["runs"]
        told["cache"] = {"policy": plans[0].policy, "dropped": dropped}
    cold = dropped or plans[0].policy == "direct" or work.train.scheme == "direct"
    told["violations"] = report.violations(told, plans[0], runs=args.runs, cold=cold)
    return told, report.table(results)


def drop(dataset: Dataset) -> bool:
    """Take a data set out of the page cache; whether it is."""
    from tracekit.workload import run

    why_not = run.drop_cache(dataset)
    if why_not:
        console.warn(f"the cache was not dropped: {why_not}")
    return not why_not


def _plans(args: argparse.Namespace, work: Work, ranks: Ranks) -> list[Plan]:
    from tracekit.workload import run
    from tracekit.workload.drive import Listing, Plan

    uri, policy = work.job.data.uri, work.job.loader.page_cache_mode
    whole = Plan(
        work.job, Listing.of(uri, work.train), None if work.evaluate is None else Listing.of(uri, work.evaluate),
        work.shape, "direct" if work.train.scheme == "direct" else policy, args.max_steps, per_host=args.ranks_per_host,
        reader=work.reader, evaluate_reader=work.evaluate_reader, whole=work.whole,
    )  # fmt: skip
    run.check_checkpoints(whole, ranks.count)
    shifts = whole.job.checkpoint is not None and whole.job.checkpoint.settings.get("recovery_rank_shift")
    if shifts and not 0 < args.ranks_per_host < ranks.count:
        console.warn("recovery_rank_shift does nothing: all ranks are one host's; say --ranks-per-host")
    return run.plans(whole, ranks.count, ranks.scratch)


def driven(args: argparse.Namespace, plans: Sequence[Plan], scratch: str) -> Sequence[Result]:
    """Have plans carried out by processes of this machine."""
    from tracekit.workload import run

    with run_progress.shown(plans[0], lambda: run_progress.of(plans), [plan.result for plan in plans]):
        start(plans, run.command(plans, scratch), args.trace_record, force=args.force, shown=getattr(args, "words", ()))
    return run.results(plans)


def start(
    plans: Sequence[Plan], command: Sequence[str], trace: str | None, *, force: bool = False, shown: Sequence[str] = ()
) -> None:
    """Run the command that carries plans out: as it is, or under the recorder, which sees nothing but the ranks.

    Args:
        plans: What is carried out.
        command: By what.
        trace: The recording; None for none.
        force: Replace one that is there.
        shown: The command that a person typed, for the recording.
    """
    for plan in plans:
        for left in (plan.result, plan.standing):
            with suppress(FileNotFoundError):
                os.unlink(left)
    from tracekit.workload.rendezvous import ENDING

    if trace is None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            # What is inherited is meant to be: a rank may have a line to somebody else.
            with subprocess.Popen(command, close_fds=False) as ranks:
                _await(ranks, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    from tracekit.record.launch import Plan as Recording
    from tracekit.verbs.record import record_program
    from tracekit.workload import run

    job = plans[0].job
    uris = (job.data.uri, *([job.checkpoint.uri] if job.checkpoint else []))
    # A prefix of objects is listed by its own name.
    include = [
        f"{glob.escape(place)}/*" if (place := run.folder(uri)) else f"{glob.escape(uri.rstrip('/'))}*" for uri in uris
    ]
    record_program(Recording(command, trace, include, force=force, shown=shown, held_back=ENDING))


def _await(ranks: subprocess.Popen[bytes], mask: Iterable[int]) -> None:
    """Wait for ranks with these signals blocked; an interrupt ends them with what they have done, a second one at once."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        ranks.wait()
    except KeyboardInterrupt:
        ranks.send_signal(signal.SIGINT)
        try:
            ranks.wait()
        except KeyboardInterrupt:
            ranks.kill()
            raise
