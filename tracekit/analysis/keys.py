"""Numbers from 0 for what ops belong to (a worker of a rank, a thread of a process), the same in every piece of a trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.view import View

Ints = NDArray[np.int64]


class Keys:
    """Pairs of 32-bit values (null allowed), numbered as they first appear."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []
        self._known = np.zeros(0, np.int64)
        self._codes = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.pairs)

    def codes(self, first: Ints, second: Ints) -> Ints:
        """The number of each pair; new ones are added."""
        packed = ((first + 1) << 32) | (second + 1)
        if len(packed) and bool((packed == packed[0]).all()):
            return np.broadcast_to(self.codes_of(packed[:1]), packed.shape)
        return self.codes_of(packed)

    def codes_of(self, packed: Ints) -> Ints:
        """The number of each packed pair."""
        if not len(self._known):
            self._learn(packed)
        if not len(packed):
            return packed
        place = np.searchsorted(self._known, packed)
        fresh = self._known[np.minimum(place, len(self._known) - 1)] != packed
        if fresh.any():
            self._learn(packed[fresh])
            place = np.searchsorted(self._known, packed)
        found: Ints = self._codes[place]
        return found

    def _learn(self, packed: Ints) -> None:
        values, first = np.unique(packed, return_index=True)
        new = values[np.argsort(first)]
        start = len(self.pairs)
        self.pairs += [((value >> 32) - 1, (value & 0xFFFFFFFF) - 1) for value in new.tolist()]
        known = np.concatenate([self._known, new])
        order = np.argsort(known)
        self._codes = np.concatenate([self._codes, np.arange(start, len(self.pairs))])[order]
        self._known = known[order]


class Threads(Keys):
    """The threads (pid, tid) of ops; what was found for a piece is kept while that piece is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[View, Ints] | None = None

    def of(self, view: View) -> Ints:
        """The number of the thread of each data op."""
        if self._last is None or self._last[0] is not view:
            self._last = view, self.codes(view.col("pid"), view.col("tid"))
        return self._last[1]
