"""What a run says about itself: stages, utilisation, rates, where it was made, and what MLPerf Storage would object to.

Accelerator utilisation (AU) is MLPerf Storage's: the time that steps compute by the time that steps take, waiting included; the
first steps of an epoch are left out, as the rules have it. Rates are in MB/s (10^6 bytes) and MiB/s (2^20 bytes), each by its own name.
"""

from __future__ import annotations

import csv
import hashlib
import io
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

import tracekit
from tracekit.errors import EXIT_PASS
from tracekit.machine import host_class, host_facts
from tracekit.workload.checkpoint import Moved, sums
from tracekit.workload.drive import EVALUATE, TRAIN, Plan, Result, Row
from tracekit.workload.job import Checkpoint

# 1: the first published layout.
REPORT_VERSION = 1
WRITTEN, READ = "checkpoint", "recovery"
STAGES = ("io_s", "decode_s", "wait_s", "compute_s")
_EXPLAINED = (
    "AU = seconds of compute / seconds of steps (waiting for data and compute), the first {start} and last {end} steps of each epoch "
    "left out; mean over epochs and ranks, as MLPerf Storage defines it"
)
CSV_COLUMNS = ("rank", "phase", "epoch", "step", *STAGES, "samples", "bytes")


def report(plans: Sequence[Plan], results: Sequence[Result], paths: Sequence[str] = ()) -> dict[str, Any]:
    """The report of a run.

    Args:
        plans: What each rank was to do.
        results: What came of it.
        paths: Local folders of the data, for the file system in the provenance.
    """
    job = plans[0].job
    start, end = job.exclude_start_steps, job.exclude_end_steps
    rows = [row for result in results for row in result.rows if row.phase == TRAIN]
    shares = [share for result in results for share in epochs_au(result.rows, start, end)]
    au = float(np.mean(shares)) if shares else None
    seconds = max((result.seconds for result in results), default=0.0)
    target = job.au_target
    ended = failures(results)
    return {
        "run": REPORT_VERSION,
        "job": job.name,
        "framework": job.framework,
        "ranks": len(results),
        "completed": not ended,
        "errors": [result.error for result in ended],
        "exit_code": ended[0].exit_code if ended else EXIT_PASS,
        "epochs": 1 + max((row.epoch for row in rows), default=-1),
        "steps": len(rows),
        "au": au,
        "au_explained": _EXPLAINED.format(start=start, end=end),
        "au_target": target,
        "au_met": None if target is None or au is None else au >= target,
        **rates(rows, seconds),
        "stages": {name: _quantiles([getattr(row, name) for row in rows]) for name in STAGES},
        "evaluation": {"steps": sum(row.phase == EVALUATE for result in results for row in result.rows)},
        "checkpoints": None if job.checkpoint is None else checkpoints(job.checkpoint, results),
        "provenance": provenance(plans[0], paths),
    }


def failures(results: Sequence[Result]) -> list[Result]:
    """Ranks that ended early; those that did so by themselves first, and after them who waited for them."""
    return sorted((result for result in results if result.error), key=lambda result: result.left)


def checkpoints(asked: Checkpoint, results: Sequence[Result]) -> dict[str, Any]:
    """What was written of checkpoints during the run and read back at its end: sums, and each by itself.

    A checkpoint takes as long as its slowest rank; seconds and rates are those of the checkpoints alone.
    """
    by_kind = {
        name: [one for result in results for one in result.moved if one.what == name] for name in ("write", "read")
    }
    return {
        "uri": asked.uri,
        **{name: sums(moved) for name, moved in by_kind.items()},
        "each": [
            {"what": name, "epoch": place[0], "step": place[1], **_alone(moved, place)}
            for name, moved in by_kind.items()
            for place in sorted({one.place for one in moved})
        ],
    }


def _alone(moved: Sequence[Moved], place: tuple[int, int]) -> dict[str, Any]:
    whole = sums([one for one in moved if one.place == place])
    return {name: whole[name] for name in ("bytes", "files", "seconds", "mb_per_s")}


def epochs_au(rows: Sequence[Row], start: int, end: int) -> list[float]:
    """The utilisation of each epoch of one rank; epochs without steps that count have none."""
    found = []
    for epoch in sorted({row.epoch for row in rows}):
        steps = [row for row in rows if row.epoch == epoch and row.phase == TRAIN]
        counted = steps[start : max(start, len(steps) - end)]
        whole = sum(row.wait_s + row.compute_s for row in counted)
        if whole > 0:
            found.append(sum(row.compute_s for row in counted) / whole)
    return found


def rates(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Samples and bytes, and both by the second."""
    samples, moved = sum(row.samples for row in rows), sum(row.bytes for row in rows)
    by = {"samples_per_s": samples, "mb_per_s": moved / 1e6, "mib_per_s": moved / 2**20}
    return {
        "seconds": seconds, "samples": samples, "bytes": moved,
        **{name: value / seconds if seconds else None for name, value in by.items()},
    }  # fmt: skip


def _quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {"mean": None, "p50": None, "p95": None, "p99": None, "total": 0.0}
    p50, p95, p99 = np.percentile(np.asarray(seconds), [50, 95, 99]).tolist()
    return {"mean": float(np.mean(seconds)), "p50": p50, "p95": p95, "p99": p99, "total": float(np.sum(seconds))}


def provenance(plan: Plan, paths: Sequence[str]) -> dict[str, Any]:
    """Versions, machine, and a hash of the configuration: the same for the same job, wherever its data is."""
    job = msgspec.to_builtins(plan.job)
    job["data"].pop("uri", None)
    del job["generates"]
    (job["checkpoint"] or {}).pop("uri", None)
    told = [job, msgspec.to_builtins(plan.shape), plan.policy, plan.ranks, plan.max_steps]
    digest = hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:16]
    host = host_facts(paths)
    return {
        "tracekit": tracekit.__version__, "python": platform.python_version(), "numpy": np.__version__,
        "configuration": digest, "data": plan.train.uri, "seed": plan.job.loader.seed, "host": host,
        "host_class": host_class(host), "command": sys.argv,
    }  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """Every step of every rank as CSV, seconds and bytes, and after them what it wrote and read of checkpoints."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for result in results:
        steps: dict[tuple[str, int], int] = {}
        for row in result.rows:
            place = (row.phase, row.epoch)
            step = steps[place] = steps.get(place, -1) + 1
            values = {"rank": result.rank, "step": step, **asdict(row)}
            writer.writerow([_plain(values[name]) for name in CSV_COLUMNS])
        for moved in result.moved:
            writer.writerow([_plain(value) for value in _checkpoint_row(result.rank, moved)])
    return out.getvalue()


def _checkpoint_row(rank: int, moved: Moved) -> list[Any]:
    """A rank's part in a checkpoint in the columns of steps: it has the step and epoch that it follows, from 0."""
    phase = WRITTEN if moved.what == "write" else READ
    return [rank, phase, moved.epoch - 1, moved.checkpoint - 1, moved.seconds, 0.0, 0.0, 0.0, 0, moved.bytes]


def _plain(value: Any) -> Any:
    return f"{value:.9f}" if isinstance(value, float) else value


# -- MLPerf Storage's norms ---------------------------------------------------------------------------------------------

# The floors of the published rules, by model; others have 90 %.
AU_FLOORS = {"unet3d": 0.90, "resnet50": 0.90, "retinanet": 0.85, "cosmoflow": 0.70, "dlrm": 0.70}
LEAST_STEPS, RAM_TIMES, RUNS = 500, 5, 6
# Of checkpoints by themselves: how many, and how much is written so that none of it is read from memory.
CHECKPOINTS, WRITTEN_TIMES = 10, 3


def violations(told: Mapping[str, Any], plan: Plan, *, runs: int, cold: bool) -> list[str]:
    """What MLPerf Storage's rules would object to, one sentence each, with the numbers.

    Args:
        told: The report.
        plan: What was to be done.
        runs: How many runs there are in all.
        cold: Whether the page cache was dropped before, or passed by.
    """
    job = plan.job
    if job.train is None:
        return _of_checkpoints(told, plan)
    found = []
    # A file that asks for less does not lower what the rules ask of its model; the worst run that counts is judged.
    floor = AU_FLOORS.get(job.model) or job.au_target or 0.90
    shares = [one["au"] for one in told.get("runs", [told]) if not one.get("warm_up")]
    if None in shares or min(shares) < floor:
        share = "unknown" if None in shares else f"{min(shares):.1%}"
        found.append(f"au: {share}, at least {floor:.0%} is asked for")
    memory = told["provenance"]["host"].get("memory_bytes")
    size = sum(plan.train.sizes)
    if memory and size < RAM_TIMES * memory:
        found.append(
            f"data: {size / 1e9:.1f} GB, at least {RAM_TIMES} times the memory of {memory / 1e9:.1f} GB are asked for"
        )
    samples = len(plan.train.file) if plan.train.file is not None else len(plan.train.places)
    wanted = LEAST_STEPS * job.loader.batch_size * plan.ranks
    if samples < wanted:
        found.append(f"steps: {samples} samples, at least {wanted} for {LEAST_STEPS} steps of all ranks are asked for")
    if runs != RUNS:
        found.append(f"runs: {runs}, {RUNS} are asked for, of which the first does not count")
    if not cold:
        found.append("cache: it was neither dropped nor passed by; --drop-cache or --cache-policy direct does")
    if not told["completed"]:
        found.append("completed: the run ended early")
    return found


def _of_checkpoints(told: Mapping[str, Any], plan: Plan) -> list[str]:
    """The same for a job that only writes checkpoints and reads them back."""
    assert plan.job.checkpoint is not None
    found = []
    if not plan.job.checkpoint.settings.get("fsync"):
        found.append("fsync: off; checkpoint.fsync: True is asked for")
    for what in ("write", "read"):
        number = told["checkpoints"][what]["checkpoints"]
        if number != CHECKPOINTS:
            found.append(f"checkpoints: {number} for {what}, {CHECKPOINTS} are asked for")
    memory, written = told["provenance"]["host"].get("memory_bytes"), told["checkpoints"]["write"]["bytes"]
    if memory and written <= WRITTEN_TIMES * memory:
        found.append(
            f"cache: {written / 1e9:.1f} GB were written, more than {WRITTEN_TIMES} times the memory of {memory / 1e9:.1f} GB are "
            "asked for, or a cache that is dropped before reading"
        )
    if not told["completed"]:
        found.append("completed: the run ended early")
    return found
