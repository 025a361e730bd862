"""What each training step was given: ops, bytes and samples by the step they serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import changes, grouped
from tracekit.metrics.view import Ints, View
from tracekit.trace import NULL, Marks, Mask


@dataclass(frozen=True)
class ByStep:
    """Data ops added up by the step they serve; rows in order of epoch and step, each once."""

    attribution: str
    with_epoch: bool
    epoch: Ints
    step: Ints
    ops: Ints
    bytes: Ints
    samples: Ints | None

    def of_steps(self, steps: Marks) -> tuple[Ints, Ints, Ints]:
        """Ops, bytes and samples of steps; NULL for a step without a number."""
        epoch = steps.epoch if self.with_epoch else np.zeros_like(steps.step)
        wanted, there = (_packed(*pair) for pair in ((epoch, steps.step), (self.epoch, self.step)))
        place = np.minimum(np.searchsorted(there, wanted), max(len(there) - 1, 0))
        found = (there[place] == wanted) if len(there) else np.zeros(len(steps), np.bool_)
        return tuple(_looked_up(column, place, found, steps.step) for column in (self.ops, self.bytes, self.samples))  # type: ignore[return-value]


def _packed(epoch: Ints, step: Ints) -> Ints:
    packed: Ints = (epoch << 32) + step
    return packed


def _looked_up(column: Ints | None, place: Ints, found: Mask, step: Ints) -> Ints:
    if column is None:
        return np.full(len(step), NULL)
    values = np.zeros(len(step), np.int64)
    values[found] = column[place[found]]
    return np.where(step == NULL, NULL, values)


class Served:
    """Ops, bytes and samples by the step they serve, of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._sums = Groups(2)
        self._samples = Groups(3, hashed=2)
        self.has_been_fed = False

    def add(self, view: View, step: Ints, epoch: Ints) -> None:
        """Take in ops and the step that each serves, NULL for none."""
        self.has_been_fed = True
        columns = [step, epoch, view.moved, view.col("sample_id")]
        served = step != NULL
        if not bool(served.all()):
            columns = [column[served] for column in columns]
        step, epoch, moved, sample = columns
        self._sums.add([step, epoch], [np.ones(len(step), np.int64), moved])
        named = sample != NULL
        if bool(named.any()):
            keys = [step, sample, epoch]
            self._samples.add(keys if bool(named.all()) else [key[named] for key in keys], [])

    def groups(self, attribution: str, *, with_epoch: bool) -> ByStep:
        """What each step was given."""
        found, named = Groups(2), False
        for (step, epoch), (ops, size) in self._sums.rows():
            found.add([epoch if with_epoch else np.zeros_like(epoch), step], [ops, size, np.zeros_like(ops)])
        for keys, _ in self._samples.rows():
            named = True
            epoch, step, samples = _distinct(*keys, with_epoch=with_epoch)
            found.add([epoch, step], [np.zeros_like(step), np.zeros_like(step), samples])
        parts = [[*keys, *sums] for keys, sums in found.rows()] or [[np.zeros(0, np.int64)] * 5]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        (epoch, step), (ops, size, samples) = grouped(columns[:2], columns[2:])
        return ByStep(attribution, with_epoch, epoch, step, ops, size, samples if named else None)


def _distinct(step: Ints, sample: Ints, epoch: Ints, *, with_epoch: bool) -> tuple[Ints, Ints, Ints]:
    """How many samples there are in runs of one step (and epoch), of distinct rows in order."""
    if not with_epoch:
        new = changes(step, sample)
        step, epoch = step[new], np.zeros_like(step[new])
    runs = np.flatnonzero(changes(step, epoch))
    return epoch[runs], step[runs], np.diff(np.append(runs, len(step)))
