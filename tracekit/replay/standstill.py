"""Spans in which the machine itself stood still during a run.

The core keeps a thread of real-time priority on each core that sleeps four milliseconds at a time and notes when it was woken
late (tracekit/_native/standstill.c). What kept all of them waiting at the same time is no doing of the replay, nor of another
process: a virtual machine is held up like that while its host gives it memory or moves it, and the kernel counts only a part of
that as stolen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

# As in standstill.c.
LEAST_NS = 500_000


def none() -> Int64s:
    """No spans."""
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Standstills:
    """What all cores had in common.

    Args:
        cores: How many of them were looked at.
        spans: Begin and end of each standstill on CLOCK_MONOTONIC in ns, in order. The begin is when a thread should have been
            woken, so up to four milliseconds of each may be missing.
        of_one_core: The same of what one core or several were kept from: by the hypervisor, or by a part of the kernel that
            cannot be interrupted, whichever process it worked for. What waited for that core was late by it.
    """

    cores: int
    spans: Int64s = field(default_factory=none)
    of_one_core: Int64s = field(default_factory=none)

    @classmethod
    def of(cls, late: Iterable[Int64s]) -> Standstills:
        """From what each core's thread noted: begins and ends, in any order."""
        cores = [spans[np.argsort(spans[:, 0])] for spans in late]
        common = cores[0]
        for spans in cores[1:]:
            common = _both(common, spans)
        return cls(len(cores), common[common[:, 1] - common[:, 0] >= LEAST_NS], np.concatenate(cores))

    @property
    def lengths(self) -> Int64s:
        """Of each, in ns."""
        return np.asarray(self.spans[:, 1] - self.spans[:, 0], np.int64)

    def to_json(self) -> dict[str, float]:
        """How many there were, and how long."""
        lengths, one = self.lengths, self.of_one_core[:, 1] - self.of_one_core[:, 0]
        return {
            "cores": self.cores,
            "count": len(lengths),
            "total_ms": float(lengths.sum()) / 1e6,
            "longest_ms": float(lengths.max(initial=0)) / 1e6,
            "one_core_count": len(one),
            "one_core_longest_ms": float(one.max(initial=0)) / 1e6,
        }


def watch() -> Callable[[], Standstills | None]:
    """Look from now on; what comes back ends that and says what was seen: None where the core cannot look, or is not there."""
    try:
        from tracekit import _core
    except ImportError:
        return lambda: None
    watched = _core.standstill_watch()

    def end() -> Standstills | None:
        seen = _core.standstill_seen(watched)
        return Standstills.of(np.frombuffer(spans, np.int64).reshape(-1, 2) for spans in seen) if seen else None

    return end


def _both(one: Int64s, other: Int64s) -> Int64s:
    """Where spans of both overlap; neither has spans that overlap one another."""
    if not (len(one) and len(other)):
        return none()
    begin = np.maximum(one[:, None, 0], other[None, :, 0]).ravel()
    end = np.minimum(one[:, None, 1], other[None, :, 1]).ravel()
    return np.stack([begin, end], axis=1)[end > begin]


def touched(spans: Int64s, begin: Int64s, end: Int64s) -> NDArray[np.bool_]:
    """Which of the waits from `begin` to `end` a standstill was a part of."""
    if not len(spans):
        return np.zeros(len(begin), np.bool_)
    first = np.searchsorted(spans[:, 1], begin, side="right")
    found = spans[np.minimum(first, len(spans) - 1), 0] < end
    return np.asarray((first < len(spans)) & found, np.bool_)
