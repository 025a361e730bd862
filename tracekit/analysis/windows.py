"""Counts over equal windows of time, of a trace whose length is not known before its end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_FIRST_BITS = 10
_MOST = 256


class Windows:
    """How many ops begin in each window since the first one; when there are too many windows, two become one."""

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)
        self._origin: int | None = None
        self._bits = _FIRST_BITS

    @property
    def width_ns(self) -> int:
        """How long a window is: a power of two, so that windows can be joined."""
        return 1 << self._bits

    def add(self, times: Ints) -> None:
        """Count the ops that begin at these times, in ns, ascending."""
        if not len(times):
            return
        if self._origin is None:
            self._origin = int(times[0])
        while int(times.max() - self._origin) >> self._bits >= _MOST:
            self._bits += 1
            counts = np.concatenate([self.counts, np.zeros(len(self.counts) % 2, np.int64)])
            self.counts = counts.reshape(-1, 2).sum(axis=1)
        counts = np.bincount(self.number(times), minlength=len(self.counts))
        counts[: len(self.counts)] += self.counts
        self.counts = counts

    def number(self, times: Ints) -> Ints:
        """Which window each time falls into."""
        numbers: Ints = np.maximum(times - (self._origin or 0), 0) >> self._bits
        return numbers

    def name(self, number: int) -> str:
        """The window as seconds since the first op."""
        width = self.width_ns / 1e9
        return f"{number * width:.4g}–{(number + 1) * width:.4g} s"
