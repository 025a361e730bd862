"""What is counted in a trace to know whether it can be judged at all (harness.validity says what follows from it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import sorted_order
from tracekit.metrics.levels import Levels
from tracekit.metrics.slots import Slots
from tracekit.trace import NULL, Trace

if TYPE_CHECKING:
    from harness.stats import Ints
    from tracekit.metrics.view import View


@dataclass(frozen=True)
class Soundness:
    """Counts of ops.

    Args:
        data_ops: Reads and writes.
        backwards: Ops that complete before they begin.
        timed: Reads and writes that have a service time.
        instant: Those of them that take no time.
        too_much: Reads and writes that succeeded and moved more than they asked for.
        short: Reads that came back short in the middle of their file.
        completed: Ops of any kind that have a completion.
        overlaps: Those of them that begin while their own thread is still in another; None where that means nothing.
    """

    data_ops: int
    backwards: int
    timed: int
    instant: int
    too_much: int
    short: int
    completed: int
    overlaps: int | None

    @classmethod
    def of(cls, trace: Trace) -> Soundness:
        """The counts of a trace that is in memory."""
        levels = Levels(SoundnessTally())
        levels.update(trace.sorted())
        return levels.tally.result()


class SoundnessTally:
    """The counts of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._data = self._backwards = self._timed = self._instant = self._too_much = 0
        self._ends = Slots()
        self._short = Groups(2)
        self._threads = _Threads()
        self._told: set[str] = set()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._told |= view.told
        submit, complete = view.trace.col("t_submit"), view.trace.col("t_complete")
        known = complete != NULL
        self._backwards += int((known & (complete < submit)).sum())
        self._data += len(view.data)
        self._timed += int(view.timed.sum())
        self._instant += int((view.timed & (view.complete == view.submit)).sum())
        self._add_bytes(view)
        if bool(known.any()) and view.numbers is not None:
            rows = (view.all_streams, submit, complete)
            self._threads.add(*(rows if bool(known.all()) else [column[known] for column in rows]))

    def _add_bytes(self, view: View) -> None:
        returned, asked, offset, uri = view.col("ret"), view.sizes, view.col("offset"), view.col("uri")
        self._too_much += int(((returned > asked) & ~view.failed).sum())
        known = (offset != NULL) & (returned > 0)
        if not bool(known.any()):
            return
        end = np.where(known, offset + returned, 0)
        np.maximum.at(self._ends.room(uri), uri, end)
        short = view.reads & known & (returned < asked)
        self._short.add([uri[short], end[short]], [np.ones(int(short.sum()), np.int64)])

    def result(self) -> Soundness:
        """What has come so far."""
        # What comes back short at the end of a file is how programs learn where it ends.
        short = sum(int(counts[end < self._ends.values[uri]].sum()) for (uri, end), (counts,) in self._short.rows())
        # Object requests run many at a time on one thread; a thread in a system call is in that call.
        one_at_a_time = bool(self._told & {"pid", "tid"}) and "level" not in self._told
        overlaps = self._threads.result() if one_at_a_time else None
        return Soundness(
            self._data, self._backwards, self._timed, self._instant, self._too_much, short, self._threads.ops, overlaps
        )


class _Threads:
    """How often an op begins while its own thread is still in the one before it."""

    def __init__(self) -> None:
        self.ops = 0
        self._ends = Slots(NULL)
        self._overlaps = 0
        # Ops submitted together go by their ends: those of the last moment wait for what comes with them.
        self._waiting = [np.zeros(0, np.int64)] * 3

    def add(self, stream: Ints, submit: Ints, complete: Ints) -> None:
        """Take in ops in order of time."""
        self.ops += len(submit)
        rows = [np.concatenate(pair) for pair in zip(self._waiting, (stream, submit, complete), strict=True)]
        place = int(np.searchsorted(rows[1], rows[1][-1], side="left"))
        self._waiting = [column[place:].copy() for column in rows]
        self._count(*(column[:place] for column in rows))

    def _count(self, stream: Ints, submit: Ints, complete: Ints) -> None:
        if not len(stream):
            return
        together = submit[1:] == submit[:-1]
        order = sorted_order(stream, submit, complete) if bool(together.any()) else sorted_order(stream)
        stream, submit, complete = stream[order], submit[order], complete[order]
        first = np.append(True, stream[1:] != stream[:-1])
        last = np.append(first[1:], True)
        before = np.empty_like(complete)
        before[1:] = complete[:-1]
        before[first] = self._ends.room(stream)[stream[first]]
        self._ends.values[stream[last]] = complete[last]
        self._overlaps += int(((before != NULL) & (submit < before)).sum())

    def result(self) -> int:
        """How many ops do."""
        self._count(*self._waiting)
        self._waiting = [np.zeros(0, np.int64)] * 3
        return self._overlaps
