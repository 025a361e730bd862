"""What came of a run's ops, added up piece by piece; two summaries of different ops add up too.

Nothing here grows with the length of the trace. Pieces come in the order of t_submit, so those of one stream are in their
own order, and one number per stream is carried from piece to piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import Histogram
from tracekit.replay import standstill
from tracekit.replay.engines import Outcome
from tracekit.replay.flow import Flow
from tracekit.replay.kinds import Kind
from tracekit.replay.result import Done
from tracekit.storage.failures import error_name, kind_of
from tracekit.trace import NULL

Int64s = NDArray[np.int64]


# Passing a gate that is open takes a microsecond or two.
STALLED_NS = 10_000
CAUSES = ("replayer", "cap_stall", "no_free_worker", "dependency")


def _causes() -> dict[str, Histogram]:
    return {cause: Histogram() for cause in CAUSES}


@dataclass
class Summary:
    """What came of the ops. `t0` is the run's start on the clock of its pieces.

    `held_up_ns` is the service time beyond the recorded one of all ops that held up the op behind them in their stream;
    `attempts` counts requests for objects, repeated ones too; `first_byte` is how long the answers to first requests took to begin.
    `stalled` counts ops that waited at the caps for more than `STALLED_NS`. `apart` is the lateness of ops whose wait no
    standstill of the machine (`standstills`, on the same clock) was a part of, and `touched` counts the others.
    """

    t0: int
    ops: int = 0
    moved_bytes: int = 0
    recorded_bytes: int = 0
    short_reads: int = 0
    stalled: int = 0
    held_up_ns: int = 0
    last_due: int = 0
    last_submit: int = 0
    last_complete: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    unexpected_errors: Counter[str] = field(default_factory=Counter)
    error_kinds: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    first_byte: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    recorded_service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    apart: Histogram = field(default_factory=Histogram)
    touched: int = 0
    standstills: Int64s = field(default_factory=standstill.none)
    causes: dict[str, Histogram] = field(default_factory=_causes)
    flow: Flow = field(default_factory=Flow)
    # What the last op of each stream took beyond the recorded time.
    _excess: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, outcome: Outcome) -> Summary:
        """Of a run whose ops are still to be added."""
        seen = outcome.standstills
        return cls(outcome.t0, standstills=standstill.none() if seen is None else seen.spans)

    def add(self, piece: Done) -> None:
        """Count a piece of the run. Within it ops may come stream by stream; no piece begins before the one ahead of it."""
        if not len(piece):
            return
        self.ops += len(piece)
        self._add_results(piece)
        self._add_times(piece)
        self._add_held_up(piece)
        order = np.argsort(piece.submit, kind="stable")
        due = piece.due - self.t0 if _has_schedule(piece) else None
        self.flow.add(due, piece.submit[order] - self.t0, piece.complete[order] - self.t0)

    def merge(self, other: Summary, *, later_ns: int = 0) -> None:
        """Count what another summary counted (a rank's): all but `flow`, which has to see all ops in the order of time.

        Args:
            other: The other's.
            later_ns: How much later than this one's its t0 is.
        """
        for name in (
            "ops",
            "moved_bytes",
            "recorded_bytes",
            "short_reads",
            "stalled",
            "held_up_ns",
            "attempts",
            "touched",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("last_due", "last_submit", "last_complete"):
            setattr(self, name, max(getattr(self, name), getattr(other, name) + later_ns))
        self.errors += other.errors
        self.unexpected_errors += other.unexpected_errors
        self.error_kinds += other.error_kinds
        for name in ("service", "recorded_service", "first_byte", "response", "lateness", "apart"):
            getattr(self, name).merge(getattr(other, name))
        for cause, histogram in other.causes.items():
            self.causes[cause].merge(histogram)

    def _add_results(self, piece: Done) -> None:
        then = piece.recorded
        moving = np.isin(then.kinds, (Kind.READ, Kind.WRITE))
        self.recorded_bytes += int(then.length[moving].sum())
        self.moved_bytes += int(piece.ret[piece.ret > 0].sum())
        self.errors += _counted(piece.error[piece.error != 0])
        self.error_kinds += _counted(piece.error[piece.error != 0], kind_of)
        self.attempts += int(piece.attempts.sum())
        self.unexpected_errors += _counted(piece.error[(piece.error != 0) & ~then.failed])
        # Where the recording has no results, less than was asked for.
        expected = np.where(then.ret == NULL, then.length, then.ret)
        read = (then.kinds == Kind.READ) & (piece.error == 0) & ~then.failed
        self.short_reads += int((read & (piece.ret < expected)).sum())

    def _add_times(self, piece: Done) -> None:
        self.service.add(piece.complete - piece.submit)
        # After a pause it would be the pause's time, not the store's.
        began = (piece.first_byte != NULL) & (piece.attempts == 1)
        if len(began):
            self.first_byte.add((piece.first_byte - piece.submit)[began])
        self.recorded_service.add(np.maximum(_recorded_service(piece), 0)[piece.recorded.t_complete != NULL])
        self.stalled += int((piece.stall > STALLED_NS).sum())
        self.last_submit = max(self.last_submit, int(piece.submit.max()) - self.t0)
        self.last_complete = max(self.last_complete, int(piece.complete.max()) - self.t0)
        if not _has_schedule(piece):
            return
        self.last_due = max(self.last_due, int(piece.due.max()) - self.t0)
        self.lateness.add(piece.lateness)
        touched = standstill.touched(self.standstills, piece.due, piece.submit)
        self.touched += int(touched.sum())
        self.apart.add(piece.lateness[~touched])
        # A stream's first think time starts with the run, so no deadline lies before t0.
        self.response.add(np.maximum(piece.complete - np.maximum(piece.due, self.t0), 0))
        values = (piece.own_lateness, piece.stall, piece.queued, piece.dependency)
        for cause, value in zip(CAUSES, values, strict=True):
            self.causes[cause].add(np.maximum(value, 0))

    def _add_held_up(self, piece: Done) -> None:
        """Add up what ops took beyond the recorded time where that held up the op behind them in their stream."""
        self._make_room(int(piece.stream.max()))
        excess = np.maximum(piece.complete - piece.submit - np.maximum(_recorded_service(piece), 0), 0)
        order = np.argsort(piece.stream, kind="stable")
        stream, excess, waited = piece.stream[order], excess[order], piece.dependency[order] > 0
        first = np.append(True, stream[1:] != stream[:-1])
        before = np.where(first, self._excess[stream], np.append(0, excess[:-1]))
        self.held_up_ns += int(before[waited].sum())
        last = np.append(first[1:], True)
        self._excess[stream[last]] = excess[last]

    def _make_room(self, stream: int) -> None:
        if stream >= len(self._excess):
            self._excess = np.append(self._excess, np.zeros(stream + 1 - len(self._excess), np.int64))


def _has_schedule(piece: Done) -> bool:
    return bool((piece.due > 0).any())


def _recorded_service(piece: Done) -> Int64s:
    """What each op took in the recording; 0 where that is not known."""
    then = piece.recorded
    return np.asarray(np.where(then.t_complete == NULL, 0, then.t_complete - then.t_submit), np.int64)


def _counted(numbers: NDArray[np.integer], name: Callable[[int], str] = error_name) -> Counter[str]:
    found: Counter[str] = Counter()
    for number, count in Counter(numbers.tolist()).items():
        found[name(int(number))] += count
    return found
