"""How much of the time the storage was asked for anything: over the whole trace, and in each training step."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.pieces import pieces
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import Mark, Marks, Trace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Spans of I/O without a pause; beyond it, pauses that are too short to be seen are closed.
_MOST_SPANS = 1 << 20
_LEAST_PAUSE_NS = 1000
WINDOWS = 100
TABLE_LIMIT = 4096


@dataclass(frozen=True)
class StepDuty:
    """One training step."""

    step: int | None = metric("number of the step, as recorded")
    epoch: int | None = metric("its epoch")
    pid: int | None = metric("process that trains")
    t_us: float = metric("when its batch was asked for, since the trace's t0", "us")
    duration_us: float = metric("until the next one was", "us")
    busy_share: float | None = metric("share of it with at least one read or write in flight")


@dataclass(frozen=True)
class Duty:
    """When reads and writes were in flight."""

    busy_share: float | None = metric(
        "share of the time from the first op's issue to the last return with one in flight"
    )
    longest_pause_us: float | None = metric("longest time with none in flight", "us")
    longest_pause_t_us: float | None = metric("when that began, since the trace's t0", "us")
    pauses_below_ns: int = metric(
        "pauses up to this length count as busy: 0 unless the trace has more than a million", "ns"
    )
    window_s: float | None = metric("length of the windows of the timeline: a hundredth of that time", "s")
    timeline: list[float] = metric("busy share of each window")
    step_busy_p10: float | None = metric("busy share that a tenth of the steps do not reach; null without step marks")
    step_busy_p50: float | None = metric("median busy share of steps")
    step_busy_p90: float | None = metric("busy share that a tenth of the steps exceed")
    steps: list[StepDuty] = metric(
        "the steps one by one, the first 4096; whether each starved is in steps.table of the metrics"
    )


class Busy:
    """Spans of time with an op in flight, joined from piece to piece; at most about a million of them."""

    def __init__(self, most: int = _MOST_SPANS) -> None:
        self._most = most
        self._begins = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)
        # Pauses up to this length were closed.
        self._closed = 0

    def update(self, view: View) -> None:
        """Take the data ops of the next piece in order of time."""
        known = view.timed
        start, end = (view.submit, view.complete) if known.all() else (view.submit[known], view.complete[known])
        if not len(start):
            return
        # The last span may go on, and none before it: what comes begins later.
        start = np.concatenate([self._begins[-1:], start])
        end = np.concatenate([self._ends[-1:], end])
        begins, ends = _joined(start, end, self._closed)
        self._begins = np.concatenate([self._begins[:-1], begins])
        self._ends = np.concatenate([self._ends[:-1], ends])
        while len(self._begins) > self._most:
            self._closed = max(self._closed * 2, _LEAST_PAUSE_NS)
            self._begins, self._ends = _joined(self._begins, self._ends, self._closed)

    def shares(self, begins: Ints, ends: Ints) -> Floats:
        """The busy share of each of these spans of time; those that take no time have none (NaN)."""
        length = ends - begins
        busy = self._until(ends) - self._until(begins)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(length > 0, np.clip(busy / length, 0, 1), np.nan)

    def _until(self, times: NDArray[np.int64] | Floats) -> Floats:
        """Busy time up to each moment: whole spans before it, and the part of the one it falls into."""
        if not len(self._begins):
            return np.zeros(len(times))
        total = np.concatenate([[0], np.cumsum(self._ends - self._begins)])
        index = np.searchsorted(self._begins, times, side="right") - 1
        at = np.maximum(index, 0)
        inside = np.where(index >= 0, np.minimum(times, self._ends[at]) - self._begins[at], 0)
        busy: Floats = np.where(index >= 0, total[at] + inside, 0)
        return busy

    def timeline(self, windows: int) -> tuple[list[float], list[float]]:
        """The start of each of equal windows in seconds since the first op, and its busy share; empty without spans."""
        if not len(self._begins):
            return [], []
        first = int(self._begins[0])
        last = max(int(self._ends[-1]), first + 1)
        edges = np.linspace(first, last, windows + 1)
        shares = np.diff(self._until(edges)) / np.diff(edges)
        return ((edges[:-1] - first) / 1e9).tolist(), np.clip(shares, 0, 1).tolist()

    def duty(self, marks: Sequence[Mark] = ()) -> Duty:
        """The whole trace, and the steps that marks say there were."""
        if not len(self._begins):
            return Duty(None, None, None, 0, None, [], None, None, None, [])
        first, last = int(self._begins[0]), int(self._ends[-1])
        share = self.shares(np.array([first]), np.array([last]))[0]
        pauses = self._begins[1:] - self._ends[:-1]
        longest = int(pauses.argmax()) if len(pauses) else None
        steps = Marks.of(marks).spans("step")
        of_steps = self.shares(steps.t, steps.t_end)
        p10, p50, p90 = _quantiles(of_steps[~np.isnan(of_steps)])
        return Duty(
            busy_share=None if np.isnan(share) else float(share),
            longest_pause_us=None if longest is None else int(pauses[longest]) / 1000,
            longest_pause_t_us=None if longest is None else int(self._ends[longest]) / 1000,
            pauses_below_ns=self._closed,
            window_s=max(last - first, 1) / WINDOWS / 1e9,
            timeline=self.timeline(WINDOWS)[1],
            step_busy_p10=p10,
            step_busy_p50=p50,
            step_busy_p90=p90,
            steps=[
                _row(mark, share)
                for mark, share in zip(steps[:TABLE_LIMIT], of_steps[:TABLE_LIMIT].tolist(), strict=True)
            ],
        )


def duty_cycle(trace: Trace, windows: int = 100) -> tuple[list[float], list[float]]:
    """The share of each of equal windows of time in which at least one read or write was in flight.

    Returns:
        The start of each window in seconds since the first op, and its share; both empty where no op says when it completed.
    """
    busy = Busy()
    for view in pieces(trace):
        busy.update(view)
    return busy.timeline(windows)


def _joined(start: Ints, end: Ints, pause: int) -> tuple[Ints, Ints]:
    """Spans of ops in order of their start: a new one begins where all before have ended, longer than `pause` ago."""
    reach = np.maximum.accumulate(end)
    fresh = np.concatenate([[True], start[1:] - reach[:-1] > pause])
    last = np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(start) - 1]])
    return start[fresh], reach[last]


def _quantiles(shares: Floats) -> tuple[float | None, float | None, float | None]:
    if not len(shares):
        return None, None, None
    low, middle, high = np.quantile(shares, [0.1, 0.5, 0.9]).tolist()
    return low, middle, high


def _row(mark: Mark, share: float) -> StepDuty:
    length = ((mark.t_end or mark.t) - mark.t) / 1000
    return StepDuty(mark.step, mark.epoch, mark.pid, mark.t / 1000, length, None if share != share else share)  # noqa: PLR0124
