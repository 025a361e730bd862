"""Training and evaluation apart: steps that read a folder of their own, by the name that such folders have."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from tracekit.trace import NULL, Mask
from tracekit.uri import local_path
from tracekit.workload.distil.found import EXACT, HIGH, UNKNOWN, Found
from tracekit.workload.distil.observed import Observed

_NAMES = ("val", "valid", "validation", "eval", "evaluation", "test", "dev")


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a job.

    Args:
        files: Files that it reads.
        batch_size: Files of a step, as far as that tells samples.
        steps: Steps of it in all.
        first: The epoch after which it first happens, from 1.
        every: Epochs from one to the next.
        compute: Seconds of a step.
    """

    files: Found
    batch_size: Found
    steps: Found
    first: Found
    every: Found
    compute: Found


def apart(observed: Observed) -> tuple[Observed, Evaluation | None]:
    """The training alone, and what is known of the evaluation; None where no steps read a folder that is called like one."""
    own = observed.own
    step = own.col("step")
    of_evaluation = _in_evaluation(own.uris)[own.col("uri")]
    served = step != NULL
    if not bool((of_evaluation & served).any()) or not bool((~of_evaluation & served).any()):
        return observed, None
    numbers = np.unique(step[of_evaluation & served])
    if bool(np.isin(numbers, step[~of_evaluation & served]).any()):
        # Steps that read both are no evaluation.
        return observed, None
    evaluating = np.isin(observed.steps.number, numbers)
    everywhere = _in_evaluation(observed.reads.uris)[observed.reads.col("uri")]
    training = replace(
        observed, reads=observed.reads.select(~everywhere), own=own.select(~of_evaluation), steps=observed.steps.at(~evaluating)
    )  # fmt: skip
    return training, _evaluation(observed, of_evaluation, evaluating)


def _in_evaluation(uris: list[str]) -> Mask:
    """Which files lie in a folder that is called like one for evaluation, below what all have in common."""
    folders = [os.path.dirname(local_path(uri)) for uri in uris] or ["/"]
    root = os.path.commonpath(folders)
    found = [bool({part.lower() for part in folder[len(root) :].split("/")} & set(_NAMES)) for folder in folders]
    return np.array([*found, False], np.bool_)


def _evaluation(observed: Observed, mine: Mask, evaluating: Mask) -> Evaluation:
    from tracekit.workload.distil.timing import compute

    own = observed.own.select(mine)
    pairs = np.unique(np.stack([own.col("step"), own.col("uri")], axis=1)[own.col("step") != NULL], axis=0)
    _, counts = np.unique(pairs[:, 0], return_counts=True)
    begins = np.flatnonzero(np.diff(np.append(False, evaluating).astype(int)) == 1)
    # A pass of training ends where an evaluation begins; of those between two only their epochs tell how many they were.
    epochs = [len(np.unique(observed.steps.epoch[:begin][~evaluating[:begin]])) for begin in begins.tolist()]
    every = int(np.median(np.diff(epochs))) if len(epochs) > 1 else 1
    return Evaluation(
        Found(len(np.unique(own.col("uri"))), EXACT, "files read from the folder of evaluation", len(own)),
        Found(int(np.bincount(counts).argmax()), HIGH, "files of a step of evaluation", len(counts)),
        Found(int(evaluating.sum()), EXACT, "steps of evaluation"),
        Found(max(1, epochs[0]), HIGH, "epochs before the first evaluation", len(epochs)),
        Found(max(1, every), HIGH if len(epochs) > 1 else UNKNOWN, "epochs between evaluations", len(epochs)),
        compute(observed.steps.at(evaluating)),
    )  # fmt: skip
