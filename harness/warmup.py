"""The warm-up of a run: which ops and marks are left out of its figures, told in one pass and left out in the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tracekit.marks import Marks
from tracekit.trace import NULL, Mark, Mask, Trace

if TYPE_CHECKING:
    from harness.stats import Ints

NONE, FIRST_STEP, FIRST_EPOCH = "none", "first-step", "first-epoch"
WARMUPS = (NONE, FIRST_STEP, FIRST_EPOCH)


@dataclass(frozen=True)
class Warmup:
    """What is left out.

    Args:
        kind: `first-step` or `first-epoch`.
        epoch: The epoch left out, or that of the step.
        step: The step left out, where ops are numbered.
        until: Where they are not: what was issued before this time, ns.
        marked: The epoch whose marks are left out; None where none says its epoch.
        marked_until: Marks that do not say their epoch are left out when they begin before this time, ns.
    """

    kind: str
    epoch: int | None = None
    step: int | None = None
    until: int | None = None
    marked: int | None = None
    marked_until: int | None = None

    @classmethod
    def of(cls, kind: str, pieces: Iterable[Trace]) -> Warmup | None:
        """The warm-up of a trace that comes in pieces; None where it has none, or nothing else."""
        scout = _Scout(kind)
        for piece in pieces:
            scout.update(piece)
        return scout.result()

    def without(self, piece: Trace, kept: int) -> Trace:
        """A piece of the trace without it.

        Args:
            piece: The piece, in order of submission.
            kept: How many ops of earlier pieces were kept: the trailer counts what is left.
        """
        left = piece.select(~self._ops(piece))
        marks = self.marks(piece.marks)
        trailer = None if piece.trailer is None else replace(piece.trailer, ops=kept + len(left))
        return Trace(left.columns, left.tables, marks, piece.header, trailer, piece.warnings)

    def marks(self, marks: Sequence[Mark]) -> Marks:
        """The marks that are no part of it."""
        found = Marks.of(marks)
        early = np.zeros(len(found), np.bool_)
        if self.marked is not None:
            early |= found.epoch == self.marked
        if self.marked_until is not None:
            early |= (found.epoch == NULL) & (found.t < self.marked_until)
        return found.select(~early)

    def _ops(self, piece: Trace) -> Mask:
        if self.until is not None:
            early: Mask = piece.col("t_submit") < self.until
            return early
        of_epoch: Mask = piece.col("epoch") == self.epoch
        return of_epoch if self.step is None else of_epoch & (piece.col("step") == self.step)


class _Scout:
    """What is known of a warm-up so far."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._first: tuple[int, int] | None = None
        self._warm = self._ops = 0
        self._latest = -1
        self._marks: list[Sequence[Mark]] = []
        # When the first op of each epoch was issued, ns.
        self._begins: dict[int, int] = {}

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._marks.append(piece.marks)
        if not len(piece):
            return
        self._ops += len(piece)
        self._latest = max(self._latest, int(piece.col("t_submit").max()))
        epochs, steps = (np.asarray(piece.col(name), np.int64) for name in ("epoch", "step"))
        # An epoch is all of its steps.
        keys = (epochs, np.zeros_like(epochs)) if self._kind == FIRST_EPOCH else (epochs, steps)
        known = (keys[0] if self._kind == FIRST_EPOCH else steps) != NULL
        if not bool(known.any()):
            return
        self._note_begins(epochs, piece)
        epoch = int(keys[0][known].min())
        first = epoch, int(keys[1][known & (keys[0] == epoch)].min())
        if self._first is None or first < self._first:
            self._first, self._warm = first, 0
        if first == self._first:
            self._warm += int((known & (keys[0] == first[0]) & (keys[1] == first[1])).sum())

    def _note_begins(self, epochs: Ints, piece: Trace) -> None:
        times = piece.col("t_submit")
        for epoch in np.unique(epochs).tolist():
            begin = int(times[epochs == epoch].min())
            self._begins[epoch] = min(begin, self._begins.get(epoch, begin))

    def result(self) -> Warmup | None:
        """The warm-up."""
        if self._first is None:
            return None if self._kind == FIRST_EPOCH else self._by_time()
        if self._warm == self._ops:
            return None
        epoch, step = self._first
        if self._kind == FIRST_STEP:
            # Waiting leaves out the first step of each process by itself; with its mark gone the second would be left out as well.
            return Warmup(self._kind, epoch, step)
        marks = Marks.joined(self._marks)
        known = marks.epoch[marks.epoch != NULL]
        marked = int(known.min()) if len(known) else None
        return Warmup(self._kind, epoch, marked=marked, marked_until=self._end(marks.kind("epoch"), epoch, marked))

    def _end(self, epochs: Marks, epoch: int, marked: int | None) -> int | None:
        """When the first epoch was over: by its own mark, else when a later one began to read."""
        ends = (
            epochs.t_end[(epochs.epoch == marked) & (epochs.t_end != NULL)] if marked is not None else epochs.t_end[:0]
        )
        if len(ends):
            return int(ends.max())
        return min((begin for other, begin in self._begins.items() if other > epoch), default=None)

    def _by_time(self) -> Warmup | None:
        """Ops without numbers go by time: what was issued before the first step had ended."""
        steps = Marks.joined(self._marks).kind("step")
        ends = steps.t_end[steps.t_end != NULL]
        if not len(ends) or self._latest < ends.min():
            return None
        return Warmup(self._kind, until=int(ends.min()))
