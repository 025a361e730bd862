"""How far a rank is: a few numbers in a file that the rank and who started it both map, written after each step.

Reading them disturbs nobody: a sum that is a step old is as good as any.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracekit.workload.job import Job

if TYPE_CHECKING:
    from tracekit.workload.drive import Row

_LAYOUT = struct.Struct("=7q")


@dataclass
class Standing:
    """What was done so far, by one rank or several.

    Args:
        epoch: The pass that is under way, from 1.
        evaluating: Whether the last step was one of evaluation.
        steps: Training steps.
        bytes: What they read.
        busy_ns: The time of the steps that count for utilisation.
        compute_ns: What of it they computed.
        checkpoint_bytes: What was written of checkpoints and read back.
    """

    epoch: int = 0
    evaluating: int = 0
    steps: int = 0
    bytes: int = 0
    busy_ns: int = 0
    compute_ns: int = 0
    checkpoint_bytes: int = 0

    def __add__(self, other: Standing) -> Standing:
        """Of both: the epoch is that of whoever is behind."""
        begun = [one.epoch for one in (self, other) if one.epoch]
        return Standing(
            min(begun, default=0), max(self.evaluating, other.evaluating), self.steps + other.steps, self.bytes + other.bytes,
            self.busy_ns + other.busy_ns, self.compute_ns + other.compute_ns, self.checkpoint_bytes + other.checkpoint_bytes,
        )  # fmt: skip

    @property
    def utilisation(self) -> float | None:
        """The utilisation so far; None before a step counts."""
        return self.compute_ns / self.busy_ns if self.busy_ns else None


def read(path: str) -> Standing:
    """What a rank has written last; nothing where it has not begun."""
    try:
        with open(path, "rb") as file:
            return Standing(*_LAYOUT.unpack(file.read(_LAYOUT.size)))
    except (OSError, struct.error):
        return Standing()


class Board:
    """A rank's end.

    Args:
        path: The file; empty where nobody looks.
        job: Says which steps count for utilisation.
    """

    def __init__(self, path: str, job: Job) -> None:
        self.now = Standing()
        self._skipped = job.exclude_start_steps
        self._step = 0
        self._page: mmap.mmap | bytearray = bytearray(_LAYOUT.size)
        if path:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(file, _LAYOUT.size)
            self._page = mmap.mmap(file, _LAYOUT.size)
            os.close(file)

    def trained(self, row: Row) -> None:
        """A step of training was done."""
        now, epoch = self.now, row.epoch + 1
        self._step = 1 if epoch != now.epoch else self._step + 1
        now.epoch, now.evaluating = epoch, 0
        now.steps += 1
        now.bytes += row.bytes
        if self._step > self._skipped:
            now.busy_ns += round(1e9 * (row.wait_s + row.compute_s))
            now.compute_ns += round(1e9 * row.compute_s)
        self._write()

    def evaluated(self) -> None:
        """A step of evaluation was done."""
        if not self.now.evaluating:
            self.now.evaluating = 1
            self._write()

    def moved(self, _shards: int, size: int) -> None:
        """So much was written of checkpoints and read back, in all."""
        self.now.checkpoint_bytes = size
        self._write()

    def _write(self) -> None:
        _LAYOUT.pack_into(self._page, 0, *vars(self.now).values())
