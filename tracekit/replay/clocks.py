"""What the clocks of the ranks have to do with one another: offsets from rank 0's CLOCK_MONOTONIC, with their errors.

A question and its answer cross the wire: the other's reading was taken somewhere between our two, so half of the way's time
bounds the error (Cristian's method). The quickest of many ways counts. Ranks on one machine read the same clock; where the
measurement agrees with that, the offset is 0 and certain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracekit.replay.ranks import Ranks

ROUNDS = 60
_ASK, _ANSWER, _ENOUGH = "what time is it", "it is", "thank you"


@dataclass(frozen=True)
class Offset:
    """A rank's clock less rank 0's, and the most that may be wrong with that; ns."""

    ns: int = 0
    error_ns: int = 0


def boot() -> str:
    """What tells whether two processes run on the same kernel; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def measure(
    ranks: Ranks, rank: int, *, same_machine: bool = False, now: Callable[[], int] = time.monotonic_ns
) -> Offset:
    """Rank 0 asks a rank that is answering (see `answer`).

    Raises:
        LostError: If it does not.
    """
    best: Offset | None = None
    for _ in range(ROUNDS):
        asked = now()
        ranks.post(rank, _ASK)
        _, told = ranks.take(rank, _ANSWER, look_s=0)
        heard = now()
        # The time on the wire, both ways; what the other took between hearing and answering is in it.
        error = (heard - asked + 1) // 2
        if best is None or error < best.error_ns:
            best = Offset(told - (asked + heard) // 2, error)
    ranks.post(rank, _ENOUGH)
    assert best is not None
    return Offset() if same_machine and abs(best.ns) <= best.error_ns else best


def answer(ranks: Ranks, *, now: Callable[[], int] = time.monotonic_ns) -> None:
    """Another rank answers rank 0's questions until it has enough."""
    kind, _ = ranks.take(0, _ASK, _ENOUGH)
    while kind == _ASK:
        ranks.post(0, _ANSWER, now())
        kind, _ = ranks.take(0, _ASK, _ENOUGH, look_s=0)
