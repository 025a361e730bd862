"""Numbers by code: what a trace of any length leaves about its files, kinds and depths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Slots:
    """One number per code from 0, as many as the largest code met asks for.

    Args:
        fill: What a code holds that was not met yet.
    """

    def __init__(self, fill: int = 0) -> None:
        self.fill = fill
        self.values: Ints = np.zeros(0, np.int64)

    def room(self, codes: Ints) -> Ints:
        """The numbers themselves, with room for these codes."""
        needed = int(codes.max()) + 1 if len(codes) else 0
        if needed > len(self.values):
            # By half more, so that codes which grow one by one are not copied each time.
            grown = np.full(max(needed, len(self.values) * 3 // 2), self.fill, np.int64)
            grown[: len(self.values)] = self.values
            self.values = grown
        return self.values

    def add(self, codes: Ints, amounts: Ints | None = None) -> None:
        """Add amounts (1 each where none are given) to the numbers of codes, which may repeat."""
        values = self.room(codes)
        if amounts is None:
            counts = np.bincount(codes)
            values[: len(counts)] += counts
        else:
            np.add.at(values, codes, amounts)

    def of(self, code: int) -> int:
        """The number of one code."""
        return int(self.values[code]) if code < len(self.values) else self.fill
