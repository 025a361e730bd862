"""Records in order of a time, in bounded memory: sorted runs in place, and a merge of them.

Runs of records are sorted where they lie. Records come nearly in order (a trace is written as it happens, results as ops
complete), so the merge reads a run only from the moment its first record may be next: most of the time one or two are open.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracekit.replay.records import BLOCK, Block, Records

# Records of a run; while it is sorted there are three copies of it in memory.
RUN = 16_384
# Records of all open runs together, and the fewest of one.
_OPEN, _LEAST = 16_384, 16


def is_sorted(block: Block, key: str) -> bool:
    """Whether a block is in order."""
    times = block[key]
    return bool((times[1:] >= times[:-1]).all())


def in_order(records: Records, key: str, *, run: int = RUN) -> Iterator[Block]:
    """All records in order of a column, blocks of at most `BLOCK`; equal ones keep their order.

    The records themselves are in another order afterwards.
    """
    waiting = _sorted_runs(records, key, run)
    waiting.sort(key=lambda one: (one.low, one.number), reverse=True)
    merge = _Merge(records, key)
    while waiting or merge.open:
        merge.take_in(waiting)
        ready = merge.ready()
        for first in range(0, len(ready), BLOCK):
            yield ready[first : first + BLOCK]


class _Run:
    """A sorted stretch of the records: what is left of it on disk, and the block of it that is in memory."""

    def __init__(self, number: int, first: int, end: int, low: int) -> None:
        self.number, self.next, self.end, self.low = number, first, end, low
        self.block: Block | None = None

    def fill(self, records: Records, key: str, count: int) -> None:
        self.block = records.read(self.next, min(count, self.end - self.next))
        self.next += len(self.block)
        self.times = self.block[key]

    @property
    def has_more(self) -> bool:
        return self.next < self.end


def _sorted_runs(records: Records, key: str, size: int) -> list[_Run]:
    runs = []
    for number, (first, block) in enumerate(records.blocks(size)):
        if not is_sorted(block, key):
            block = block[np.argsort(block[key], kind="stable")]  # noqa: PLW2901 -- the same records
            records.write(first, block)
        runs.append(_Run(number, first, first + len(block), int(block[key][0])))
    return runs


class _Merge:
    """The runs that are being read."""

    def __init__(self, records: Records, key: str) -> None:
        self._records, self._key = records, key
        self.open: list[_Run] = []

    def take_in(self, waiting: list[_Run]) -> None:
        """Open every run whose first record may be among the next ones; fill up what was used up."""
        self._fill()
        while waiting and (not self.open or waiting[-1].low <= self._limit()[0]):
            self.open.append(waiting.pop())
            self.open.sort(key=lambda one: one.number)
            self._fill()

    def _fill(self) -> None:
        for run in self.open:
            if run.block is None:
                run.fill(self._records, self._key, max(_LEAST, _OPEN // max(2, len(self.open))))

    def _limit(self) -> tuple[int, int]:
        """Up to where everything is known: the earliest end of a block behind which there is more, and the run it is of."""
        ends = [(int(run.times[-1]), run.number) for run in self.open if run.has_more]
        return min(ends, default=(np.iinfo(np.int64).max, np.iinfo(np.int64).max))

    def ready(self) -> Block:
        """The records that nothing unread can come before, in order."""
        limit, number = self._limit()
        parts = []
        for run in self.open:
            assert run.block is not None
            # Of equal times those of the runs before come first; what a run behind has of them waits.
            count = int(np.searchsorted(run.times, limit, "right" if run.number <= number else "left"))
            parts.append(run.block[:count])
            run.block, run.times = (
                (run.block[count:], run.times[count:]) if count < len(run.block) else (None, run.times)
            )
        self.open = [run for run in self.open if run.block is not None or run.has_more]
        joined = np.concatenate(parts)
        return joined[np.argsort(joined[self._key], kind="stable")]
