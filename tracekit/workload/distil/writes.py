"""Checkpoints: what a job writes in bursts between its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.workload.distil.found import HIGH, MEDIUM, UNKNOWN, Found
from tracekit.workload.distil.observed import Observed

# Logs and progress files are smaller, checkpoints larger.
_LEAST_BYTES = 65536


@dataclass(frozen=True)
class Checkpoints:
    """What is known of the checkpoints of a recording.

    Args:
        number: How many were written.
        bytes: What each takes.
        files: Files of each.
        steps: Steps from one to the next.
    """

    number: Found
    bytes: Found
    files: Found
    steps: Found


def checkpoints(observed: Observed) -> Checkpoints | None:
    """The checkpoints; None where nothing is written that looks like one."""
    trace = observed.whole
    # What a job makes of its data before it reads it is no checkpoint.
    made = np.isin(trace.col("uri"), np.unique(observed.reads.col("uri")))
    written = trace.select(trace.mask("op", "write") & (trace.col("ret") > 0) & ~made)
    if not len(written) or not len(observed.steps):
        return None
    files, code = np.unique(written.col("uri"), return_inverse=True)
    code = code.reshape(-1)
    moved = np.bincount(code, written.col("ret").astype(float))
    begun = np.full(len(files), np.iinfo(np.int64).max)
    np.minimum.at(begun, code, written.col("t_submit"))
    large = moved >= _LEAST_BYTES
    if not bool(large.any()):
        return None
    # A checkpoint lies after so many steps.
    after = np.searchsorted(observed.steps.asked, begun[large], side="right")
    places, of_place, counts = np.unique(after, return_inverse=True, return_counts=True)
    sizes = np.bincount(of_place.reshape(-1), moved[large])
    number = len(places)
    between = np.diff(places)
    spread = f"from {sizes.min():,.0f} to {sizes.max():,.0f}" if number > 1 else ""
    return Checkpoints(
        Found(number, HIGH, "times that files of 64 KiB or more were written between steps", len(written)),
        Found(round(float(np.median(sizes))), HIGH, "bytes written each time", number, spread),
        Found(round(float(np.median(counts))), HIGH, "files written each time", number),
        Found(int(np.median(between)), HIGH if len(set(between.tolist())) == 1 else MEDIUM, "steps from one to the next", number)
        if number > 1
        else Found(int(places[0]), UNKNOWN, "there is one only; steps before it", 1),
    )  # fmt: skip
