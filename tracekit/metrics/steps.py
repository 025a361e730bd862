"""Training steps: what each reads, how long the consumer waits for it, and whether storage was kept busy meanwhile."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.groups import Groups
from tracekit.metrics.keys import changes, grouped
from tracekit.metrics.queue_depth import Intervals, Sweep
from tracekit.metrics.schema import metric
from tracekit.metrics.view import Ints, View
from tracekit.trace import NULL, Mark, Mask

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
    table: list[StepRow] = metric("the steps one by one, the first 4096")


class StepsTally:
    """The steps of a trace that comes in pieces.

    Memory: the marks, a row for each step, and the distinct samples of each (`tracekit.metrics.groups`).

    Args:
        marks: All marks of the trace: where an op's step is not known, the time says it.
    """

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = _Marks.of(marks)
        marked = self._marks
        self._computes = Intervals(marked.compute_begin, marked.compute_begin + marked.compute)
        # A batch is waited for from the step's begin until its compute begins.
        self._waits = Intervals(marked.begin, np.maximum(marked.compute_begin, marked.begin))
        self._swept = False
        self._numbered = _Served()
        # Whether ops carry step numbers is known at the end; while none does, they are assigned by time too.
        self._timed: _Served | None = _Served() if self._marks.by_time else None
        self._epochs = self._any_step = False

    def update(self, view: View) -> None:
        """Take in the next piece."""
        step, epoch = view.col("step"), view.col("epoch")
        if not len(step):
            return
        self._epochs |= bool((epoch != NULL).any())
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
        marks = self._marks
        several = len({step.pid for step in marks.steps}) > 1
        if self._any_step:
            with_epoch = self._epochs and all(mark.epoch is not None for mark in marks.steps)
            groups = self._numbered.groups("step", with_epoch=with_epoch, shared=several)
        elif self._timed is not None and self._timed.has_been_fed:
            groups = self._timed.groups("time", with_epoch=False, shared=several)
        else:
            nothing = np.zeros(0, np.int64)
            groups = _Groups(None, False, nothing, nothing, None, {}, several)
        depths = self._computes.lowest().tolist() if self._swept else [None] * len(marks)
        rows = marks.rows(groups, depths) if len(marks) else groups.rows()
        return _steps(marks, groups, rows, self._waits.idle() if self._swept else None)


def _steps(marks: _Marks, groups: _Groups, rows: list[StepRow], idle: Ints | None) -> Steps:
    judged = [row for row, first in zip(rows, marks.first, strict=False) if row.wait_us is not None and not first]
    busy = [row.min_qd > 0 for row in judged if row.min_qd is not None]
    starved = sum(bool(row.starved) for row in judged)
    known = len(judged) > 0
    wait, spent = marks.wait[~marks.first & marks.judged], marks.length[~marks.first & marks.judged]
    total = int(spent.sum())
    return Steps(
        count=len(rows) or None,
        attribution=groups.attribution,
        ops_per_step_hist=Histogram.of(groups.ops),
        bytes_per_step_hist=Histogram.of(groups.bytes),
        samples_per_step_hist=Histogram.of(groups.samples) if groups.samples is not None else Histogram(),
        wait_us_hist=Histogram.of(wait),
        compute_us_hist=Histogram.of(marks.compute[~marks.first & marks.judged]),
        excluded=int(marks.first.sum()) if len(marks) else None,
        judged=len(judged) if len(marks) else None,
        stall_share=float(wait.sum() / total) if total else None,
        starved_steps=starved if known else None,
        starved_share=starved / len(judged) if known else None,
        busy_compute_share=sum(busy) / len(busy) if busy else None,
        hungry_idle_share=None if idle is None or not total else float(idle[~marks.first & marks.judged].sum() / total),
        table=rows,
    )


@dataclass(frozen=True)
class _Marks:
    """Step marks as columns, each with the compute mark of the same step; times are ns."""

    steps: list[Mark]
    begin: Ints
    length: Ints
    compute_begin: Ints
    compute: Ints
    first: Mask

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> _Marks:
        steps = sorted((mark for mark in marks if _is_span(mark, "step")), key=lambda mark: mark.t)
        computes: dict[tuple[int | None, int | None, int | None], list[Mark]] = {}
        for mark in sorted((mark for mark in marks if _is_span(mark, "compute")), key=lambda mark: -mark.t):
            computes.setdefault((mark.pid, mark.epoch, mark.step), []).append(mark)
        begin, compute = [], []
        for step in steps:
            twins = computes.get((step.pid, step.epoch, step.step))
            twin = twins.pop() if twins else None
            begin.append(NULL if twin is None else twin.t)
            compute.append(NULL if twin is None or twin.t_end is None else twin.t_end - twin.t)
        seen: set[int | None] = set()
        first = [step.pid not in seen and not seen.add(step.pid) for step in steps]  # type: ignore[func-returns-value]
        return cls(
            steps,
            begin=np.array([step.t for step in steps], np.int64),
            length=np.array([(step.t_end or 0) - step.t for step in steps], np.int64),
            compute_begin=np.array(begin, np.int64),
            compute=np.array(compute, np.int64),
            first=np.array(first, np.bool_),
        )

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def judged(self) -> Mask:
        """Steps whose wait is known."""
        return self.compute >= 0

    @property
    def wait(self) -> Ints:
        """Step minus compute, where both are known."""
        wait: Ints = np.maximum(self.length - self.compute, 0)
        return wait

    @property
    def by_time(self) -> bool:
        """Whether ops can be assigned to steps by time: one process trains, and every step has a number of its own."""
        numbers = {step.step for step in self.steps}
        several = len({step.pid for step in self.steps}) > 1
        return bool(self.steps) and not several and None not in numbers and len(numbers) == len(self)

    def step_at(self, moments: Ints) -> Ints:
        """The number of the step during which each moment lies, NULL outside of steps."""
        position = np.searchsorted(self.begin, moments, side="right") - 1
        inside = (position >= 0) & (moments < (self.begin + self.length)[position])
        return np.where(inside, self.numbers[position], NULL)

    @cached_property
    def numbers(self) -> Ints:
        """The steps' numbers; NULL where one has none."""
        return np.array([NULL if step.step is None else step.step for step in self.steps], np.int64)

    def rows(self, groups: _Groups, depths: Sequence[int | None]) -> list[StepRow]:
        """One row per step mark."""
        wait, compute, judged = self.wait.tolist(), self.compute.tolist(), self.judged.tolist()
        return [
            _row(step, groups.of_step(step), (wait[i], compute[i]) if judged[i] else None, depths[i])
            for i, step in enumerate(self.steps)
        ]


def _is_span(mark: Mark, kind: str) -> bool:
    return mark.mark == kind and mark.t_end is not None and mark.t_end >= mark.t


def _row(
    step: Mark, served: tuple[int | None, int | None, int | None], times: tuple[int, int] | None, depth: int | None
) -> StepRow:
    wait, compute = times or (None, None)
    starved = None if wait is None or compute is None else wait > max(STARVED_NS, STARVED_SHARE * compute)
    return StepRow(
        step=step.step,
        epoch=step.epoch,
        pid=step.pid,
        t_us=step.t / 1000,
        ops=served[0],
        bytes=served[1],
        samples=served[2],
        wait_us=None if wait is None else wait / 1000,
        compute_us=None if compute is None else compute / 1000,
        min_qd=depth if times else None,
        starved=starved,
    )


@dataclass(frozen=True)
class _Groups:
    """Data ops added up by the step they serve."""

    attribution: str | None
    with_epoch: bool
    ops: Ints
    bytes: Ints
    samples: Ints | None
    keys: dict[tuple[int | None, int | None], int]
    shared: bool

    def of_step(self, step: Mark) -> tuple[int | None, int | None, int | None]:
        """Ops, bytes and samples of a step; None where several training processes share the numbers."""
        if self.attribution is None or self.shared or step.step is None:
            return None, None, None
        position = self.keys.get((step.epoch if self.with_epoch else None, step.step))
        if position is None:
            return 0, 0, None if self.samples is None else 0
        samples = None if self.samples is None else int(self.samples[position])
        return int(self.ops[position]), int(self.bytes[position]), samples

    def rows(self) -> list[StepRow]:
        """One row per step that ops name, for traces without marks."""
        steps = [Mark("step", 0, step=step, epoch=epoch) for epoch, step in self.keys]
        nothing = {"pid": None, "t_us": None, "wait_us": None, "compute_us": None, "min_qd": None, "starved": None}
        rows = []
        for mark in steps:
            ops, size, samples = self.of_step(mark)
            rows.append(StepRow(step=mark.step, epoch=mark.epoch, ops=ops, bytes=size, samples=samples, **nothing))
        return rows


class _Served:
    """Ops, bytes and samples by the step they serve, of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._sums = Groups(2)
        self._samples = Groups(3, hashed=2)
        self.has_been_fed = False

    def add(self, view: View, step: Ints, epoch: Ints) -> None:
        """Take in ops and the step that each serves, NULL for none."""
        self.has_been_fed = True
        columns = [step, epoch, view.moved, view.col("sample_id")]
        served = step != NULL
        if not bool(served.all()):
            columns = [column[served] for column in columns]
        step, epoch, moved, sample = columns
        self._sums.add([step, epoch], [np.ones(len(step), np.int64), moved])
        named = sample != NULL
        if bool(named.any()):
            keys = [step, sample, epoch]
            self._samples.add(keys if bool(named.all()) else [key[named] for key in keys], [])

    def groups(self, attribution: str, *, with_epoch: bool, shared: bool) -> _Groups:
        """What each step was given."""
        parts = [(epoch, step, *sums, np.zeros_like(step)) for (step, epoch), sums in self._sums.rows()]
        counted = [self._distinct(*keys, with_epoch=with_epoch) for keys, _ in self._samples.rows()]
        if not parts:
            parts = [(np.zeros(0, np.int64),) * 5]
        epoch, step, ops, size, samples = (np.concatenate(column) for column in zip(*parts, *counted, strict=True))
        if not with_epoch:
            epoch = np.zeros_like(epoch)
        (epoch, step), (ops, size, samples) = grouped([epoch, step], [ops, size, samples])
        epochs = epoch.tolist() if with_epoch else [None] * len(step)
        keys = {pair: position for position, pair in enumerate(zip(epochs, step.tolist(), strict=True))}
        return _Groups(attribution, with_epoch, ops, size, samples if counted else None, keys, shared)

    def _distinct(self, step: Ints, sample: Ints, epoch: Ints, *, with_epoch: bool) -> tuple[Ints, ...]:
        """How many samples each step has, as rows to be added to its sums."""
        if not with_epoch:
            new = changes(step, sample)
            step, epoch = step[new], epoch[new]
        nothing = np.zeros_like(step)
        return epoch, step, nothing, nothing, np.ones(len(step), np.int64)


@dataclass(frozen=True)
class Samples:
    """Training samples: how much I/O each took (once per epoch where epochs are known)."""

    count: int | None = metric("distinct samples named by data ops", "samples")
    ops_per_sample_hist: Histogram = metric("data ops per sample and epoch", "ops")
    bytes_per_sample_hist: Histogram = metric("bytes moved per sample and epoch", "bytes")


class SamplesTally:
    """The samples of a trace that comes in pieces; memory: the distinct ones of each epoch (`tracekit.metrics.groups`)."""

    def __init__(self) -> None:
        self._sums = Groups(2, hashed=1)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        columns = [view.col("sample_id"), view.col("epoch"), view.moved]
        named = columns[0] != NULL
        if not bool(named.any()):
            return
        if not bool(named.all()):
            columns = [column[named] for column in columns]
        sample, epoch, moved = columns
        self._sums.add([sample, epoch], [np.ones(len(sample), np.int64), moved])

    def result(self) -> Samples:
        """What has come so far."""
        count, ops, size = 0, Histogram(), Histogram()
        for (sample, _), (number, moved) in self._sums.rows():
            count += int(changes(sample).sum())
            ops.add(number)
            size.add(moved)
        return Samples(count or None, ops, size)
