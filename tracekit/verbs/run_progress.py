"""What `tracekit run` says while its ranks are at it: steps, epoch, MB/s, utilisation so far; of checkpoints alone their bytes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracekit import progress

if TYPE_CHECKING:
    from tracekit.workload.drive import Plan
    from tracekit.workload.standing import Standing

# Often enough for a person, and seldom enough for the run.
_EVERY_S = 0.5


@contextmanager
def shown(plan: Plan, now: Callable[[], Standing], results: Sequence[str]) -> Iterator[None]:
    """While the body runs, say how far the run is.

    Args:
        plan: One rank's.
        now: How far all of them are together.
        results: The files that are there when the ranks of this machine are done; what follows is not theirs.
    """
    rate = Rate()
    with meanwhile(lambda: tell(plan, now(), rate), results):
        yield
    progress.tell(plan.job.name, 1, 1)


@contextmanager
def meanwhile(say: Callable[[], None], results: Sequence[str]) -> Iterator[None]:
    """While the body runs, call something now and then, until these files are there."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_EVERY_S) and not all(map(os.path.exists, results)):
            say()

    following = threading.Thread(target=follow, name="progress", daemon=True)
    following.start()
    try:
        yield
    finally:
        over.set()
        following.join()


def of(plans: Iterable[Plan]) -> Standing:
    """How far ranks of this machine are together."""
    from tracekit.workload import standing

    return sum((standing.read(plan.standing) for plan in plans), standing.Standing())


class Rate:
    """Bytes per second from the first that were seen: how long a start takes says nothing about the rest."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def at(self, now_s: float, size: int) -> float | None:
        """The rate so far; None before there is one.

        Args:
            now_s: The time.
            size: Bytes until then.
        """
        if self._first is None or not self._first[1]:
            self._first = (now_s, size)
        begun_s, before = self._first
        return (size - before) / (now_s - begun_s) if now_s > begun_s else None


def tell(plan: Plan, now: Standing, rate: Rate) -> None:
    """Say it once."""
    from tracekit.workload import schedule

    train = plan.job.train
    if train is None:
        progress.tell(plan.job.name, now.checkpoint_bytes, schedule.bytes_of(plan.job, plan.ranks), "B")
        return
    steps = plan.ranks * schedule.steps_of(plan.job, plan.train.samples, plan.ranks, plan.max_steps)[1]
    per_s = rate.at(time.monotonic(), now.bytes)
    notes = [
        f"epoch {now.epoch}/{train.epochs}" + (", evaluation" if now.evaluating else ""),
        "" if per_s is None else f"{per_s / 1e6:,.0f} MB/s",
        "" if now.utilisation is None else f"AU {now.utilisation:.0%}",
    ]
    progress.tell(plan.job.name, now.steps, steps, "steps", notes)
