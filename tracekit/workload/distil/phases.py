"""Training and evaluation apart: steps that read a folder of their own, by the name that such folders have."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Mask
from tracekit.uri import path_of
from tracekit.workload.distil.found import EXACT, HIGH, UNKNOWN, Found
from tracekit.workload.distil.items import Items
from tracekit.workload.distil.observed import Observed

Ints = NDArray[np.int64]
_NAMES = ("val", "valid", "validation", "eval", "evaluation", "test", "dev")


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a job.

    Args:
        files: Files that it reads.
        batch_size: Files of a step, as far as that tells samples.
        steps: Steps of it in all.
        begins: When each evaluation begins.
        compute: Seconds of a step.
        folders: Where training files and its own are, below what both have in common.
    """

    files: Found
    batch_size: Found
    steps: Found
    begins: Ints
    compute: Found
    folders: Found


def apart(observed: Observed) -> tuple[Observed, Observed | None, Evaluation | None]:
    """The training alone, the evaluation alone, and what is known of it.

    None where no steps read a folder that is called like one.
    """
    own = observed.own
    step = own.col("step")
    of_evaluation = _in_evaluation(own.uris)[own.col("uri")]
    served = step != NULL
    if not bool((of_evaluation & served).any()) or not bool((~of_evaluation & served).any()):
        return observed, None, None
    numbers = np.unique(step[of_evaluation & served])
    if bool(np.isin(numbers, step[~of_evaluation & served]).any()):
        # Steps that read both are no evaluation.
        return observed, None, None
    evaluating = np.isin(observed.steps.number, numbers)
    everywhere = _in_evaluation(observed.reads.uris)[observed.reads.col("uri")]
    training = replace(
        observed, reads=observed.reads.select(~everywhere), own=own.select(~of_evaluation), steps=observed.steps.at(~evaluating)
    )  # fmt: skip
    alone = replace(
        observed, reads=observed.reads.select(everywhere), own=own.select(of_evaluation), steps=observed.steps.at(evaluating)
    )  # fmt: skip
    return training, alone, _evaluation(observed, of_evaluation, evaluating, _folders(training.uris, alone.uris))


def _folders(training: list[str], evaluation: list[str]) -> Found:
    """Where both are, below what they have in common; the usual names where one holds the other."""
    mine, theirs = (
        os.path.commonpath([os.path.dirname(path_of(uri)) for uri in uris]) for uris in (training, evaluation)
    )
    root = os.path.commonpath([mine, theirs])
    if root in (mine, theirs):
        return Found(["train", "valid"], UNKNOWN, "one lies within the other")
    return Found([os.path.relpath(one, root) for one in (mine, theirs)], EXACT, "folders of training and evaluation")


def cadence(evaluation: Evaluation, items: Items) -> tuple[Found, Found]:
    """After which epoch it first happens, from 1, and epochs from one to the next: by the passes of training that lie before each."""
    middles = np.sort([np.median(items.time[items.turn == turn]) for turn in range(items.turns)])
    epochs = np.searchsorted(middles, evaluation.begins)
    every = int(np.median(np.diff(epochs))) if len(epochs) > 1 else 1
    return (
        Found(max(1, int(epochs[0])), HIGH, "passes of training before the first evaluation", len(epochs)),
        Found(
            max(1, every), HIGH if len(epochs) > 1 else UNKNOWN, "passes of training between evaluations", len(epochs)
        ),
    )


def _in_evaluation(uris: list[str]) -> Mask:
    """Which files lie in a folder that is called like one for evaluation, below what all have in common."""
    folders = [os.path.dirname(path_of(uri)) for uri in uris] or ["/"]
    root = os.path.commonpath(folders)
    found = [bool({part.lower() for part in folder[len(root) :].split("/")} & set(_NAMES)) for folder in folders]
    return np.array([*found, False], np.bool_)


def _evaluation(observed: Observed, mine: Mask, evaluating: Mask, folders: Found) -> Evaluation:
    from tracekit.workload.distil.timing import compute

    own = observed.own.select(mine)
    pairs = np.unique(np.stack([own.col("step"), own.col("uri")], axis=1)[own.col("step") != NULL], axis=0)
    _, counts = np.unique(pairs[:, 0], return_counts=True)
    begins = np.flatnonzero(np.diff(np.append(False, evaluating).astype(int)) == 1)
    return Evaluation(
        Found(len(np.unique(own.col("uri"))), EXACT, "files read from the folder of evaluation", len(own)),
        Found(int(np.bincount(counts).argmax()), HIGH, "files of a step of evaluation", len(counts)),
        Found(int(evaluating.sum()), EXACT, "steps of evaluation"),
        observed.steps.asked[begins],
        compute(observed.steps.at(evaluating)),
        folders,
    )  # fmt: skip
