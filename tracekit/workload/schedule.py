"""The checkpoints of a run: after which steps or epochs they are written, a rank's part in them, and reading them back at the end.

When they are due follows DLIO (dlio_benchmark/main.py): with `steps_between_checkpoints` after every so many steps of an epoch, else
after `checkpoint_after_epoch` and every `epochs_between_checkpoints` from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import tracekit
from tracekit.workload.checkpoint import NOBODY, Moved, Told, load, save, total_bytes
from tracekit.workload.job import Checkpoint, Job

# (epoch, step of the epoch), both from 1: what a checkpoint is named by.
Place = tuple[int, int]


def places(checkpoint: Checkpoint, epochs: int, steps: int, total: int | None = None) -> list[Place]:
    """When checkpoints are written, in order.

    Args:
        checkpoint: Says how often; `num_checkpoints_write` from 0 is the most there are.
        epochs: Passes over the data.
        steps: Steps of a pass that every rank has.
        total: Steps in all; None for no such limit.
    """
    found: list[Place] = []
    left = epochs * steps if total is None else min(total, epochs * steps)
    for epoch in range(1, epochs + 1):
        here = min(steps, left)
        left -= here
        if here and checkpoint.every_steps is not None:
            found += [(epoch, step) for step in range(checkpoint.every_steps, here + 1, checkpoint.every_steps)]
        elif here and _ends_with_one(checkpoint, epoch):
            found.append((epoch, here))
    most = int(checkpoint.settings.get("num_checkpoints_write", -1))
    return found if most < 0 else found[:most]


def _ends_with_one(checkpoint: Checkpoint, epoch: int) -> bool:
    since = epoch - checkpoint.first_epoch
    # Without a distance there is one, after the first epoch that may have one.
    return since == 0 or bool(since > 0 and checkpoint.every_epochs and since % checkpoint.every_epochs == 0)


def places_of(job: Job, samples: int, ranks: int, max_steps: int | None = None) -> list[Place]:
    """When a job writes checkpoints.

    Args:
        job: The job; without checkpoints there are none.
        samples: Its training samples, of all ranks.
        ranks: How many share them.
        max_steps: The most steps of a rank.
    """
    if job.checkpoint is None:
        return []
    if job.train is None:
        return [(1, number + 1) for number in range(counts(job.checkpoint)[0])]
    steps, total = steps_of(job, samples, ranks, max_steps)
    return places(job.checkpoint, job.train.epochs, steps, total)


def steps_of(job: Job, samples: int, ranks: int, max_steps: int | None = None) -> tuple[int, int]:
    """Steps of a pass that every rank has, and of all passes (arguments as of `places_of`; the job trains)."""
    assert job.train is not None
    share, batch = samples // ranks, job.train.batch_size
    steps = share // batch if job.loader.drop_last else -(-share // batch)
    if job.train.steps_per_epoch is not None:
        steps = min(steps, job.train.steps_per_epoch)
    limits = [limit for limit in (max_steps, job.train.total_steps) if limit is not None]
    return steps, min([job.train.epochs * steps, *limits])


def counts(checkpoint: Checkpoint) -> tuple[int, int]:
    """How many checkpoints a job without training writes and reads: one where nothing is said, and no more than are written."""
    told, back = (int(checkpoint.settings.get(f"num_checkpoints_{what}", -1)) for what in ("write", "read"))
    writes = told if told >= 0 else 1
    return writes, min(back, writes) if back >= 0 else writes


def bytes_of(job: Job, ranks: int) -> int:
    """What a job without training writes and reads, by all ranks."""
    assert job.checkpoint is not None
    return sum(counts(job.checkpoint)) * total_bytes(job.checkpoint, ranks)


class Saver:
    """A rank's part in the checkpoints of a run.

    Args:
        checkpoint: What is written, where.
        rank: Whose part.
        ranks: How many there are.
        due: When, the same for all ranks.
        meet: Waits for all ranks.
        moved: Takes what was written and read.
        per_host: Ranks of a host, for `recovery_rank_shift`; 0 for all of them.
        told: Hears how far it is.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        rank: int,
        ranks: int,
        due: Sequence[Place],
        meet: Callable[[], None],
        moved: list[Moved],
        per_host: int = 0,
        told: Told = NOBODY,
    ) -> None:
        self.moved = moved
        self._checkpoint, self._rank, self._ranks = checkpoint, rank, ranks
        self._due, self._meet, self._told = list(due), meet, told
        self._shift = (per_host or ranks) if checkpoint.settings.get("recovery_rank_shift") else 0
        self._by_steps = checkpoint.every_steps is not None

    def after_step(self, epoch: int, step: int) -> None:
        """Write one where it is due after a step (errors: CannotRunError)."""
        if self._by_steps and (epoch, step) in self._due:
            self._save(epoch, step)

    def after_epoch(self, epoch: int) -> None:
        """Write one where it is due after an epoch (errors: CannotRunError)."""
        if not self._by_steps:
            for place in self._due:
                if place[0] == epoch:
                    self._save(*place)

    def recover(self) -> None:
        """Read the last `num_checkpoints_read` back, as a job does that goes on somewhere else.

        Raises:
            CannotRunError: If one cannot be read.
            InputError: If it is not what was written.
        """
        count = int(self._checkpoint.settings.get("num_checkpoints_read", -1))
        self._load(self._due[-count:] if count > 0 else [])

    def alone(self) -> None:
        """Write all of them and read them back, as a job does that does nothing else (errors: as of `recover`)."""
        for number, place in enumerate(self._due):
            self._pause(number)
            self._save(*place)
        self._load(self._due[: counts(self._checkpoint)[1]])

    def _load(self, wanted: Sequence[Place]) -> None:
        if wanted:
            self._meet()  # nobody reads what another is still writing
        whose = (self._rank + self._shift) % self._ranks
        for number, (epoch, step) in enumerate(wanted):
            self._pause(number)
            self.moved.append(load(self._checkpoint, whose, step, epoch=epoch, ranks=self._ranks, told=self._told))
            self._sync()

    def _save(self, epoch: int, step: int) -> None:
        with tracekit.checkpoint(step):
            self.moved.append(save(self._checkpoint, self._rank, step, epoch=epoch, ranks=self._ranks, told=self._told))
        self._sync()

    def _pause(self, number: int) -> None:
        if number:
            time.sleep(max(0, self._checkpoint.settings.get("time_between_checkpoints") or 0))

    def _sync(self) -> None:
        if self._checkpoint.settings.get("rank_sync"):
            self._meet()
