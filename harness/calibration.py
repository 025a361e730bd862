"""Calibration: true repeats whose figures are moved by a known part of what a criterion tolerates.

Every run of a golden is moved in turn, and held against the others: the noise between runs is real, only the effect is made.
At half the tolerance nothing may fail; from the tolerance on nothing may pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from harness import repeat
from harness.alarms import Split, splits
from harness.criterion import ENVIRONMENT, REPEAT, Criterion
from harness.distances import DISTANCES, Distance
from harness.figures import Figures, Table
from harness.score import Tally
from harness.standard import Standard, Trial
from harness.verdict import Outcome
from tracekit import progress

LEVELS = (0.5, 1.0, 1.5, 2.0)
# The edge itself is inside the band: the least that is outside is meant.
BEYOND = 1 + 1e-6
FAR = 16


def calibrate(standard: Standard, splits_each: int, seed: int) -> dict[tuple[str, str], Tally]:
    """Outcomes by (criterion, level), over all splits and both directions; criteria that do not count here are left out."""
    found: dict[tuple[str, str], Tally] = {}
    chosen = splits(standard, splits_each, seed, several=1)
    for split in progress.each(chosen, f"{standard.name}: calibration", splits_each, "splits"):
        for level in LEVELS:
            for criterion, moved in _moved(split, level * BEYOND):
                outcome = _said(criterion, Trial(split.standard, [moved]))
                if outcome is not None:
                    found.setdefault((criterion.id, f"{level:g}"), Tally()).add(outcome)
    return found


def _said(criterion: Criterion, trial: Trial) -> Outcome | None:
    """What the criterion says, if it counts."""
    finding = repeat._finding(criterion, trial)  # all of them, a thousand times, would take minutes
    return finding.outcome if finding.gates and finding.outcome is not Outcome.NA else None


def _moved(split: Split, level: float) -> Iterator[tuple[Criterion, Figures]]:
    for criterion in split.standard.criteria(REPEAT):
        if criterion.klass == ENVIRONMENT:
            continue
        for factor in _directions(criterion):
            moved = moved_by(criterion, split.runs[0], factor * level * criterion.tolerance)
            if moved is not None:
                yield criterion, moved


def _directions(criterion: Criterion) -> tuple[int, ...]:
    if criterion.kind == "distance" or criterion.direction == "upper":
        return (1,)
    return (-1,) if criterion.direction == "lower" else (1, -1)


def moved_by(criterion: Criterion, run: Figures, effect: float) -> Figures | None:
    """The run with that effect on one criterion, all else as it was; None where it cannot be made."""
    if criterion.kind in {"ratio", "difference"}:
        value = run.scalars.get(criterion.id)
        if value is None or (criterion.kind == "ratio" and effect <= -1):
            return None
        changed = value * (1 + effect) if criterion.kind == "ratio" else value + effect
        return replace(run, scalars={**run.scalars, criterion.id: changed})
    if criterion.id == "ops.mix":
        return replace(run, kinds=_mixed(run.kinds, effect))
    if criterion.id in DISTANCES:
        return _with_table(run, DISTANCES[criterion.id], _larger if criterion.id.endswith("shift") else _far, effect)
    return None


def _with_table(
    run: Figures, distance: Distance, edit: Callable[[Table, float], Table], effect: float
) -> Figures | None:
    table = distance.of(run)
    # Counted in millionths, what is too little to be judged would look like enough.
    if table is None or len(table) < distance.least:
        return None
    edited = edit(table, effect)
    if distance.table == "sizes":
        return replace(run, sizes=edited)
    return replace(run, tables={**run.tables, distance.table: edited})


def _larger(table: Table, share: float) -> Table:
    """All values are larger by that share (of their logarithm)."""
    values, codes = np.unique(np.ceil(table.values * math.exp(share)).astype(np.int64), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, codes, table.counts)
    return Table(values, counts)


def _mixed(kinds: Mapping[str, int], share: float) -> dict[str, int]:
    """That share of all ops is of another kind, a write if need be; in millionths of an op, as shares are what counts."""
    fine = {kind: count * 1_000_000 for kind, count in kinds.items()}
    commonest = max(fine, key=lambda kind: fine[kind])
    other = "read" if commonest == "write" else "write"
    moving = min(fine[commonest], math.ceil(share * sum(fine.values())))
    return {**fine, commonest: fine[commonest] - moving, other: fine.get(other, 0) + moving}


def _far(table: Table, share: float) -> Table:
    """That share of the values lies far above all others."""
    fine = table.counts * 1_000_000
    taken = np.floor(fine * share).astype(np.int64)
    values = np.append(table.values, table.values[-1] * FAR + FAR)
    return Table(values, np.append(fine - taken, max(1, int(np.ceil(fine.sum() * share)))))
