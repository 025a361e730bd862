"""Training steps: what each reads, how long the consumer waits for it, and whether storage was kept busy meanwhile."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import Histogram
from tracekit.metrics.keys import changes, codes_of, sorted_order
from tracekit.metrics.queue_depth import Intervals, Sweep
from tracekit.metrics.schema import metric
from tracekit.metrics.served import ByStep, Served
from tracekit.metrics.view import Ints, View
from tracekit.trace import NULL, Mark, Marks, Mask

STARVED_NS = 1_000_000
STARVED_SHARE = 0.05
# How many steps a JSON snapshot lists one by one; steps.csv has them all.
TABLE_LIMIT = 4096


@dataclass(frozen=True)
class StepRow:
    """One step."""

    step: int | None = metric("number of the step, as recorded")
    epoch: int | None = metric("its epoch")
    pid: int | None = metric("process that trains")
    t_us: float | None = metric("when its batch was asked for, since the trace's t0", "us")
    ops: int | None = metric("data ops that serve it", "ops")
    bytes: int | None = metric("bytes these moved", "bytes")
    samples: int | None = metric("distinct samples among them", "samples")
    wait_us: float | None = metric("time its batch was waited for: step minus compute", "us")
    compute_us: float | None = metric("time from the batch's arrival to the next request", "us")
    min_qd: int | None = metric("smallest queue depth during its compute", "ops")
    starved: bool | None = metric("wait > max(1 ms, 5 % of compute)")


@dataclass(frozen=True)
class Steps:
    """The training steps of a trace; everything about waiting leaves out the first step of each process (warm-up)."""

    count: int | None = metric("steps, by their marks, or by the numbers on ops where there are no marks", "steps")
    attribution: str | None = metric("how ops are assigned to steps: `step` (their own number) or `time` (when issued)")
    ops_per_step_hist: Histogram = metric("data ops per step", "ops")
    bytes_per_step_hist: Histogram = metric("bytes moved per step", "bytes")
    samples_per_step_hist: Histogram = metric("distinct samples per step", "samples")
    wait_us_hist: Histogram = metric("wait per step", "us")
    compute_us_hist: Histogram = metric("compute per step", "us")
    excluded: int | None = metric("first steps left out of what follows (warm-up), one per training process", "steps")
    judged: int | None = metric("steps with a compute mark that are not left out", "steps")
    stall_share: float | None = metric(
        "sum of waits / sum of step durations; accelerator utilisation is about 1 minus this"
    )
    starved_steps: int | None = metric("steps with wait > max(1 ms, 5 % of compute)", "steps")
    starved_share: float | None = metric("starved_steps / judged")
    busy_compute_share: float | None = metric(
        "share of judged steps whose queue depth never fell to 0 during compute; report only: a full prefetch queue with "
        "nothing in flight is success, not starvation"
    )
    hungry_idle_share: float | None = metric(
        "share of the judged steps' time in which their batch was waited for and no data op was in flight: nobody was "
        "fetching what was missing"
    )
    table: Sequence[StepRow] = metric("the steps one by one, the first 4096")


class StepTable(Sequence[StepRow]):
    """The steps as columns, each a row when it is looked at; times in ns, NULL where something is not known."""

    def __init__(self, columns: Mapping[str, Ints]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["step"])

    @overload
    def __getitem__(self, place: int) -> StepRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[StepRow]: ...
    def __getitem__(self, place: int | slice) -> StepRow | list[StepRow]:
        if isinstance(place, slice):
            return [self._row(number) for number in range(*place.indices(len(self)))]
        return self._row(range(len(self))[place])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compares with lists, which have none

    def _row(self, number: int) -> StepRow:
        values = {name: int(column[number]) for name, column in self._columns.items()}
        known: dict[str, Any] = {name: None if value == NULL else value for name, value in values.items()}
        times = {f"{name}_us": None if (value := known.pop(name)) is None else value / 1000 for name in _TIMES}
        starved = known.pop("starved")
        return StepRow(**known, **times, starved=None if starved is None else bool(starved))


_TIMES = ("t", "wait", "compute")


class StepsTally:
    """The steps of a trace that comes in pieces.

    Memory: some 200 bytes for each step, and the distinct samples of each (`tracekit.metrics.groups`).

    Args:
        marks: All marks of the trace: where an op's step is not known, the time says it.
    """

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = _Marked.of(Marks.of(marks))
        marked = self._marks
        self._computes = Intervals(marked.compute_begin, marked.compute_begin + marked.compute)
        # A batch is waited for from the step's begin until its compute begins.
        self._waits = Intervals(marked.steps.t, np.maximum(marked.compute_begin, marked.steps.t))
        self._swept = False
        self._numbered = Served()
        # Whether ops carry step numbers is known at the end; while none does, they are assigned by time too.
        self._timed: Served | None = Served() if self._marks.by_time else None
        self._epochs = self._any_step = False

    def update(self, view: View) -> None:
        """Take in the next piece."""
        step, epoch = view.col("step"), view.col("epoch")
        if not len(step):
            return
        self._epochs = self._epochs or bool((epoch != NULL).any())
        if bool((step != NULL).any()):
            self._any_step, self._timed = True, None
            self._numbered.add(view, step, epoch)
        elif self._timed is not None:
            self._timed.add(view, self._marks.step_at(view.submit), epoch)

    def sweep(self, piece: Sweep) -> None:
        """Take in the queue depth of the next piece."""
        self._swept = True
        self._computes.add(piece)
        self._waits.add(piece)

    def result(self) -> Steps:
        """What has come so far."""
        marked, groups = self._marks, None
        if self._any_step:
            with_epoch = self._epochs and bool((marked.steps.epoch != NULL).all())
            groups = self._numbered.groups("step", with_epoch=with_epoch)
        elif self._timed is not None and self._timed.has_been_fed:
            groups = self._timed.groups("time", with_epoch=False)
        depths = self._computes.lowest() if self._swept else None
        columns = marked.columns(groups, depths) if len(marked) else _unmarked(groups)
        return _steps(marked, groups, columns, self._waits.idle() if self._swept else None)


def _unmarked(groups: ByStep | None) -> dict[str, Ints]:
    """The steps that ops name, for traces without marks."""
    if groups is None:
        return dict.fromkeys(("step", "epoch", "min_qd", "starved", *_TIMES), np.zeros(0, np.int64))
    unknown = np.full(len(groups.step), NULL)
    return {
        "step": groups.step, "epoch": groups.epoch if groups.with_epoch else unknown, "pid": unknown,
        "ops": groups.ops, "bytes": groups.bytes, "samples": unknown if groups.samples is None else groups.samples,
        "min_qd": unknown, "starved": unknown, **dict.fromkeys(_TIMES, unknown),
    }  # fmt: skip


def _steps(marked: _Marked, groups: ByStep | None, columns: Mapping[str, Ints], idle: Ints | None) -> Steps:
    judged = marked.judged & ~marked.first
    known, starved = int(judged.sum()), 0
    depths = np.zeros(0, np.int64)
    if known:
        starved = int((columns["starved"][judged] == 1).sum())
        depths = columns["min_qd"][judged]
        depths = depths[depths != NULL]
    wait, spent = marked.wait[judged], marked.length[judged]
    total = int(spent.sum())
    nothing = np.zeros(0, np.int64)
    return Steps(
        count=len(columns["step"]) or None,
        attribution=None if groups is None else groups.attribution,
        ops_per_step_hist=Histogram.of(nothing if groups is None else groups.ops),
        bytes_per_step_hist=Histogram.of(nothing if groups is None else groups.bytes),
        samples_per_step_hist=Histogram.of(nothing if groups is None or groups.samples is None else groups.samples),
        wait_us_hist=Histogram.of(wait),
        compute_us_hist=Histogram.of(marked.compute[judged]),
        excluded=int(marked.first.sum()) if len(marked) else None,
        judged=known if len(marked) else None,
        stall_share=float(wait.sum() / total) if total else None,
        starved_steps=starved if known else None,
        starved_share=starved / known if known else None,
        busy_compute_share=float((depths > 0).sum() / len(depths)) if len(depths) else None,
        hungry_idle_share=None if idle is None or not total else float(idle[judged].sum() / total),
        table=StepTable(columns),
    )


@dataclass(frozen=True)
class _Marked:
    """Step marks in order of time, each with the compute mark of the same step; times are ns."""

    steps: Marks
    compute_begin: Ints
    compute: Ints
    first: Mask

    @classmethod
    def of(cls, marks: Marks) -> _Marked:
        steps, computes = marks.spans("step").sorted(), marks.spans("compute")
        # Of computes that begin together the last comes first.
        computes = computes.select(np.lexsort((-np.arange(len(computes)), computes.t)))
        begin, compute = np.full(len(steps), NULL), np.full(len(steps), NULL)
        mine, theirs = _twins(steps, computes)
        begin[mine] = computes.t[theirs]
        compute[mine] = computes.t_end[theirs] - computes.t[theirs]
        first = np.zeros(len(steps), np.bool_)
        first[np.unique(steps.pid, return_index=True)[1]] = True
        return cls(steps, begin, compute, first)

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def length(self) -> Ints:
        """How long each step takes."""
        length: Ints = self.steps.t_end - self.steps.t
        return length

    @cached_property
    def judged(self) -> Mask:
        """Steps whose wait is known."""
        judged: Mask = self.compute >= 0
        return judged

    @cached_property
    def wait(self) -> Ints:
        """Step minus compute, where both are known."""
        wait: Ints = np.maximum(self.length - self.compute, 0)
        return wait

    @property
    def several(self) -> bool:
        """Whether several processes train: then they share the numbers of steps."""
        return len(np.unique(self.steps.pid)) > 1

    @property
    def by_time(self) -> bool:
        """Whether ops can be assigned to steps by time: one process trains, and every step has a number of its own."""
        numbers = self.steps.step
        return bool(len(self)) and not self.several and NULL not in numbers and len(np.unique(numbers)) == len(self)

    def step_at(self, moments: Ints) -> Ints:
        """The number of the step during which each moment lies, NULL outside of steps."""
        position = np.searchsorted(self.steps.t, moments, side="right") - 1
        inside = (position >= 0) & (moments < self.steps.t_end[position])
        return np.where(inside, self.steps.step[position], NULL)

    def columns(self, groups: ByStep | None, depths: Ints | None) -> dict[str, Ints]:
        """The table's columns: a row for each step mark."""
        steps, judged = self.steps, self.judged
        unknown = np.full(len(self), NULL)
        shared = groups is None or self.several
        ops, size, samples = (unknown,) * 3 if shared or groups is None else groups.of_steps(steps)
        starved = self.wait > np.maximum(STARVED_NS, STARVED_SHARE * self.compute)
        return {
            "step": steps.step, "epoch": steps.epoch, "pid": steps.pid, "t": steps.t,
            "ops": ops, "bytes": size, "samples": samples,
            "wait": np.where(judged, self.wait, NULL), "compute": self.compute,
            "min_qd": unknown if depths is None else np.where(judged, depths, NULL),
            "starved": np.where(judged, starved, NULL),
        }  # fmt: skip


def _twins(steps: Marks, computes: Marks) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which steps have a compute mark of the same process, epoch and number, and which: the k-th has the k-th."""
    pairs = zip((steps.pid, steps.epoch, steps.step), (computes.pid, computes.epoch, computes.step), strict=True)
    codes = codes_of(*(np.concatenate(pair) for pair in pairs))
    order = sorted_order(codes)
    starts = np.flatnonzero(changes(codes[order]))
    # The mark's place among those of its kind with the same numbers.
    is_compute = order >= len(steps)
    before: Ints = np.cumsum(is_compute) - is_compute
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    computes_before: Ints = before - before[starts][group]
    place = np.where(is_compute, computes_before, np.arange(len(order)) - starts[group] - computes_before)
    keys = codes[order] * (len(order) + 1) + place
    mine, theirs = order[~is_compute], order[is_compute] - len(steps)
    _, of_step, of_compute = np.intersect1d(keys[~is_compute], keys[is_compute], True, True)  # unique, indices
    return mine[of_step], theirs[of_compute]
