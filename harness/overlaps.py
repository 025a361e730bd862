"""How often ops of a run meet, and how often they would if its streams knew nothing of each other; piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tracekit.metrics.queue_depth import Sweep, Sweeper
from tracekit.metrics.slots import Slots

if TYPE_CHECKING:
    from harness.stats import Ints
    from tracekit.metrics.view import View

# How far streams are moved against each other: some ops, so that who waited for whom is undone, and far less than a batch, so
# that batches which take turns still do.
SHIFTS, SHIFT_SERVICES = 4, 10
# The median service time of the first ops says how far that is; of longer runs, every so-and-so-many-th block of ops is moved.
BLOCK, FIRST_BLOCKS, EVERY = 1 << 16, 16, 8
_DRAWN = 1024


class Overlaps:
    """The reads and writes of a run that comes in pieces, by the queue depth right after their submission."""

    def __init__(self) -> None:
        self._sweeper, self._depths = Sweeper(), Slots()
        self._chance = _Chance()
        self._told: set[str] = set()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._told |= view.told
        timed = view.timed
        if view.streams is None or not bool(timed.any()):
            return
        columns = [view.submit, view.complete, view.streams]
        if not bool(timed.all()):
            columns = [column[timed] for column in columns]
        submit, complete, streams = columns
        # An op that takes no time at its instant still counts itself.
        swept = self._sweeper.take(submit, np.maximum(complete, submit + 1), np.zeros_like(submit), int(submit[-1]))
        self._depths.add(swept.depth, swept.begun)
        self._chance.add(submit, complete, streams)

    def depths(self) -> dict[int, int]:
        """Ops by queue depth, themselves included; nothing without completions."""
        nothing = np.zeros(0, np.int64)
        rest = self._sweeper.take(nothing, nothing, nothing, None)
        self._depths.add(rest.depth, rest.begun)
        return _counts(self._depths)

    def chance(self) -> dict[int, int]:
        """The same over `SHIFTS` copies with moved streams; nothing where no op tells its stream."""
        return self._chance.depths() if self._told & {"pid", "tid"} else {}


class _Chance:
    """Ops of moved streams by queue depth."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Ints, Ints, Ints]] = []
        self._count = 0
        self._reach = 0
        self._depths = Slots()
        self._sweepers = [Sweeper() for _ in range(SHIFTS)]
        self._moves: list[Ints] = [np.zeros(0, np.int64) for _ in range(SHIFTS)]

    def add(self, submit: Ints, complete: Ints, streams: Ints) -> None:
        """Take in ops in order of time."""
        if self._reach:
            self._take(submit, complete, streams)
            return
        self._waiting.append((submit, complete, streams))
        if sum(len(one[0]) for one in self._waiting) >= FIRST_BLOCKS * BLOCK:
            self._begin()

    def _begin(self) -> None:
        """How far streams are moved is known now."""
        submit, complete, streams = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting = []
        first = slice(FIRST_BLOCKS * BLOCK)
        self._reach = max(1, round(SHIFT_SERVICES * float(np.median((complete - submit)[first]))))
        self._take(submit, complete, streams)

    def _take(self, submit: Ints, complete: Ints, streams: Ints) -> None:
        for part, ends in self._blocks(len(submit)):
            for number, sweeper in enumerate(self._sweepers):
                moves = self._moves_of(number, int(streams[part].max()) + 1)[streams[part]]
                begin, end = submit[part] + moves, np.maximum(complete, submit + 1)[part] + moves
                until = None if ends else int(submit[part][-1])
                self._note(sweeper.take(begin, end, np.zeros_like(begin), until))
            if ends:
                self._sweepers = [Sweeper() for _ in range(SHIFTS)]
        self._count += len(submit)

    def _blocks(self, count: int) -> Iterator[tuple[slice, bool]]:
        """Which of the next ops are looked at, and whether what follows them is not: the first ones, then every n-th block."""
        place, first = self._count, self._count
        while place < first + count:
            block = place // BLOCK
            stop = min((block + 1) * BLOCK, first + count)
            if block < FIRST_BLOCKS or block % EVERY == 0:
                at_end = stop == (block + 1) * BLOCK
                yield slice(place - first, stop - first), at_end and block >= FIRST_BLOCKS - 1
            place = stop

    def _moves_of(self, number: int, streams: int) -> Ints:
        moves = self._moves[number]
        while len(moves) < streams:
            # Numbered, not random: the same trace has the same figures.
            chance = np.random.default_rng([number, len(moves)])
            moves = self._moves[number] = np.append(moves, chance.integers(0, 2 * self._reach, _DRAWN))
        return moves

    def _note(self, swept: Sweep) -> None:
        self._depths.add(swept.depth, swept.begun)

    def depths(self) -> dict[int, int]:
        """Ops by queue depth."""
        if self._waiting:
            self._begin()
        nothing = np.zeros(0, np.int64)
        for sweeper in self._sweepers:
            self._note(sweeper.take(nothing, nothing, nothing, None))
        return _counts(self._depths)


class Lives:
    """From when to when each stream of a run that comes in pieces reads or writes."""

    def __init__(self) -> None:
        self._first, self._last = Slots(np.iinfo(np.int64).max), Slots(-1)
        self._told: set[str] = set()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._told |= view.told
        if view.streams is not None and len(view.streams):
            np.minimum.at(self._first.room(view.streams), view.streams, view.submit)
            np.maximum.at(self._last.room(view.streams), view.streams, view.submit)

    def most(self) -> float | None:
        """The largest number of streams that are between their first and their last data op at one time; None without streams."""
        met = self._last.values >= 0
        if not self._told & {"pid", "tid"} or not bool(met.any()):
            return None
        first, last = self._first.values[met], self._last.values[met]
        return float(Sweep.of(first, last + 1, np.zeros_like(first)).peak_depth)


class Meetings:
    """Both of a run that comes in pieces."""

    def __init__(self) -> None:
        self.overlaps, self.lives = Overlaps(), Lives()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self.overlaps.update(view)
        self.lives.update(view)


def _counts(slots: Slots) -> dict[int, int]:
    return {depth: count for depth, count in enumerate(slots.values.tolist()) if count}
