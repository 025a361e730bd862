"""The common start of several ranks: one after the other makes its data, then all are ready, then all start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tracekit.errors import TracekitError
from tracekit.replay import clocks
from tracekit.replay.clocks import Offset
from tracekit.replay.preflight import PreflightError
from tracekit.replay.ranks import Ranks

# From when the start is agreed upon to the start: threads are made and files opened meanwhile.
LEAD_S = 0.3


class FailedRanksError(PreflightError):
    """Several ranks, or one of them, could not begin; the sentences name them."""


class Leader:
    """Rank 0's conductor: one rank after the other makes its data, then all are ready, then all start.

    Args:
        ranks: All of them.
        delay_ns: When this rank's own share begins.
    """

    def __init__(self, ranks: Ranks, delay_ns: int) -> None:
        self._ranks, self._delay = ranks, delay_ns
        self.offsets: dict[int, Offset] = {}
        self.machines: dict[int, str] = {}
        self.begins = self.agreed = 0

    def turn(self) -> nullcontext[None]:
        """Rank 0 is first."""
        return nullcontext()

    def start(self) -> int:
        """Let the others get ready, look at their clocks, tell them the time.

        Raises:
            FailedRanksError: If ranks cannot begin.
            LostError: If one does not answer.
        """
        failed = self._gather()
        if failed:
            raise FailedRanksError(failed)
        here = clocks.boot()
        for rank in self._ranks.others:
            same = bool(here) and self.machines[rank] == here
            self.offsets[rank] = clocks.measure(self._ranks, rank, same_machine=same)
        self.agreed = time.monotonic_ns() + round(LEAD_S * 1e9)
        for rank in self._ranks.others:
            self._ranks.post(rank, "start", self.agreed + self.offsets[rank].ns)
        self.begins = self.agreed + self._delay
        return self.begins

    def _gather(self) -> list[TracekitError]:
        failed: dict[int, list[TracekitError]] = {}
        for rank in self._ranks.others:
            self._ranks.post(rank, "turn")
            kind, body = self._ranks.take(rank, "turn over", "failed")
            if kind == "failed":
                failed[rank] = body
        for rank in self._ranks.others:
            if rank not in failed:
                kind, body = self._ranks.take(rank, "ready", "failed")
                if kind == "failed":
                    failed[rank] = body
                else:
                    self.machines[rank] = body
        return [_named(rank, error) for rank, errors in failed.items() for error in errors]


def _named(rank: int, error: TracekitError) -> TracekitError:
    return type(error)(f"rank {rank}: {error.cause}", error.way_out) if is_plain(error) else TracekitError(
        f"rank {rank}: {error}"
    )  # fmt: skip


def is_plain(error: TracekitError) -> bool:
    """Whether an error can be made again from its cause and its way out: some classes take other arguments."""
    return type(error).__init__ is TracekitError.__init__


class Follower:
    """The conductor of every other rank.

    Args:
        ranks: All of them.
        delay_ns: When this rank's own share begins.
    """

    def __init__(self, ranks: Ranks, delay_ns: int) -> None:
        self._ranks, self._delay = ranks, delay_ns
        self.begins = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the ranks before this one: files that they make are then there."""
        self._ranks.take(0, "turn")
        try:
            yield
        finally:
            self._ranks.post(0, "turn over")

    def start(self) -> int:
        """Say that all is ready, tell the time, and hear when to start."""
        self._ranks.post(0, "ready", clocks.boot())
        clocks.answer(self._ranks)
        _, agreed = self._ranks.take(0, "start")
        self.begins = int(agreed) + self._delay
        return self.begins
