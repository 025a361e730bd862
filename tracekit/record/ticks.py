"""The time stamp counter as a clock: what the core read of it, as CLOCK_MONOTONIC."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Clock:
    """Ticks of the time stamp counter as CLOCK_MONOTONIC ns, between moments at which both were read.

    Args:
        anchors: (ns, ticks) pairs, at least two at different times; anchors less than a second apart add noise and are
            left out, but the first and the last always count.
    """

    def __init__(self, anchors: list[tuple[int, int]]) -> None:
        ordered = sorted({anchor for anchor in anchors if anchor[1]}, key=lambda anchor: anchor[1])
        kept = ordered[:1]
        for anchor in ordered[1:-1]:
            if anchor[0] - kept[-1][0] >= 1_000_000_000 and ordered[-1][0] - anchor[0] >= 1_000_000_000:
                kept.append(anchor)
        kept += ordered[1:][-1:]
        self._set(kept)
        # Those that were left out are what the rest can be held against.
        self.checks = len(ordered) - len(kept)
        self.error_ns = self._error(ordered) if self.usable else 0

    def _set(self, kept: list[tuple[int, int]]) -> None:
        self._ns = np.array([anchor[0] for anchor in kept], np.int64)
        self._ticks = np.array([anchor[1] for anchor in kept], np.int64)

    def _error(self, anchors: list[tuple[int, int]]) -> int:
        """By how much, at most, the counter as it is read here differs from CLOCK_MONOTONIC where both were read."""
        ns = np.array([anchor[0] for anchor in anchors], np.int64)
        return int(np.abs(self.ns(np.array([anchor[1] for anchor in anchors], np.uint64)) - ns).max())

    def facts(self) -> dict[str, Any]:
        """What a header says of it: the counter's frequency, and how well it was seen to follow CLOCK_MONOTONIC."""
        pace = (self._ticks[-1] - self._ticks[0]) / max(int(self._ns[-1] - self._ns[0]), 1)
        known = {"error_ns": self.error_ns} if self.checks else {}
        return {"tsc_hz": round(pace * 1e9), "checks": self.checks, **known}

    @property
    def usable(self) -> bool:
        """Whether there are two moments to go between."""
        return len(self._ticks) >= 2

    def span_ns(self, ticks: int) -> int:
        """How long that many ticks are, ns; 0 where that is not known."""
        passed = int(self._ticks[-1] - self._ticks[0]) if self.usable else 0
        return int(ticks * (int(self._ns[-1] - self._ns[0]) / passed)) if passed else 0

    def ns(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """CLOCK_MONOTONIC ns of each; what lies outside goes on at the pace of the nearest stretch."""
        values = ticks.astype(np.int64)
        stretch = np.clip(np.searchsorted(self._ticks, values, side="right") - 1, 0, len(self._ticks) - 2)
        pace = np.diff(self._ns) / np.diff(self._ticks)
        passed = (values - self._ticks[stretch]) * pace[stretch]
        result: NDArray[np.int64] = self._ns[stretch] + np.rint(passed).astype(np.int64)
        return result
