"""The warm-up of a run: which ops and marks are left out of its figures, told in one pass and left out in the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tracekit.trace import NULL, Mark, Mask, Trace

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
        marked: The epoch whose marks are left out; None where no marks are.
    """

    kind: str
    epoch: int | None = None
    step: int | None = None
    until: int | None = None
    marked: int | None = None

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
        marks = [mark for mark in piece.marks if not self.has(mark)]
        trailer = None if piece.trailer is None else replace(piece.trailer, ops=kept + len(left))
        return Trace(left.columns, left.tables, marks, piece.header, trailer, piece.warnings)

    def has(self, mark: Mark) -> bool:
        """Whether a mark is part of it."""
        return self.marked is not None and mark.epoch == self.marked

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
        self._marks: list[Mark] = []

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._marks += piece.marks
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
        epoch = int(keys[0][known].min())
        first = epoch, int(keys[1][known & (keys[0] == epoch)].min())
        if self._first is None or first < self._first:
            self._first, self._warm = first, 0
        if first == self._first:
            self._warm += int((known & (keys[0] == first[0]) & (keys[1] == first[1])).sum())

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
        marked = min((mark.epoch for mark in self._marks if mark.epoch is not None), default=None)
        return Warmup(self._kind, epoch, marked=marked)

    def _by_time(self) -> Warmup | None:
        """Ops without numbers go by time: what was issued before the first step had ended."""
        ends = [mark.t_end for mark in self._marks if mark.mark == "step" and mark.t_end is not None]
        if not ends or self._latest < min(ends):
            return None
        return Warmup(self._kind, until=min(ends))
