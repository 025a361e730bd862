"""Training steps: what each reads, how long the consumer waits for it, and whether storage was kept busy meanwhile."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.queue_depth import Sweep
from tracekit.metrics.schema import metric
from tracekit.metrics.view import Ints, View, codes_of
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

    @classmethod
    def of(cls, view: View, sweep: Sweep | None) -> Steps:
        """The steps of a trace; `sweep` is its queue depth, None where it has none."""
        marks = _Marks.of(view.trace.marks)
        groups = _Groups.of(view, marks)
        rows = marks.rows(groups, sweep) if len(marks) else groups.rows()
        return _steps(marks, groups, rows, sweep)


def _steps(marks: _Marks, groups: _Groups, rows: list[StepRow], sweep: Sweep | None) -> Steps:
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
        hungry_idle_share=_hungry_idle(marks, sweep),
        table=rows,
    )


def _hungry_idle(marks: _Marks, sweep: Sweep | None) -> float | None:
    chosen = ~marks.first & marks.judged
    total = int(marks.length[chosen].sum())
    if sweep is None or not total:
        return None
    # A batch is waited for from the step's begin until its compute begins.
    begin = marks.begin[chosen]
    return sweep.idle(begin, np.maximum(marks.compute_begin[chosen], begin)) / total


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
    def of(cls, marks: list[Mark]) -> _Marks:
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

    def rows(self, groups: _Groups, sweep: Sweep | None) -> list[StepRow]:
        """One row per step mark."""
        depth: list[int | None] = [None] * len(self)
        if sweep is not None:
            depth = list(sweep.lowest(self.compute_begin, self.compute_begin + self.compute).tolist())
        wait, compute, judged = self.wait.tolist(), self.compute.tolist(), self.judged.tolist()
        return [
            _row(step, groups.of_step(step), (wait[i], compute[i]) if judged[i] else None, depth[i])
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

    @classmethod
    def of(cls, view: View, marks: _Marks) -> _Groups:
        several = len({step.pid for step in marks.steps}) > 1
        step, attribution = _step_column(view, marks, several=several)
        if attribution is None:
            nothing = np.zeros(0, np.int64)
            return cls(None, False, nothing, nothing, None, {}, several)
        epochs = view.col("epoch")
        with_epoch = (
            attribution == "step"
            and bool((epochs != NULL).any())
            and all(mark.epoch is not None for mark in marks.steps)
        )
        served = step != NULL
        epoch = epochs[served] if with_epoch else np.zeros(int(served.sum()), np.int64)
        codes = codes_of(epoch, step[served])
        _, first = np.unique(codes, return_index=True)
        epochs_seen = epoch[first].tolist() if with_epoch else [None] * len(first)
        pairs = zip(epochs_seen, step[served][first].tolist(), strict=True)
        keys = {pair: position for position, pair in enumerate(pairs)}
        ops = np.bincount(codes)
        moved = _added(codes, view.moved[served], len(ops))
        return cls(attribution, with_epoch, ops, moved, _distinct(view, served, codes, len(ops)), keys, several)

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


def _step_column(view: View, marks: _Marks, *, several: bool) -> tuple[Ints, str | None]:
    step = view.col("step")
    if bool((step != NULL).any()):
        return step, "step"
    numbered = [mark.step for mark in marks.steps if mark.step is not None]
    if several or not len(view.data) or not numbered or len(set(numbered)) < len(marks):
        return step, None
    position = np.searchsorted(marks.begin, view.submit, side="right") - 1
    inside = (position >= 0) & (view.submit < (marks.begin + marks.length)[position])
    return np.where(inside, np.array(numbered, np.int64)[position], NULL), "time"


def _added(codes: Ints, values: Ints, size: int) -> Ints:
    total = np.zeros(size, np.int64)
    np.add.at(total, codes, values)
    return total


def _distinct(view: View, served: Mask, codes: Ints, size: int) -> Ints | None:
    samples = view.col("sample_id")[served]
    named = samples != NULL
    if not bool(named.any()):
        return None
    group, sample = codes[named], samples[named]
    order = np.lexsort((sample, group))
    group, sample = group[order], sample[order]
    new = np.ones(len(group), np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (sample[1:] != sample[:-1])
    return np.bincount(group[new], minlength=size)


@dataclass(frozen=True)
class Samples:
    """Training samples: how much I/O each took (once per epoch where epochs are known)."""

    count: int | None = metric("distinct samples named by data ops", "samples")
    ops_per_sample_hist: Histogram = metric("data ops per sample and epoch", "ops")
    bytes_per_sample_hist: Histogram = metric("bytes moved per sample and epoch", "bytes")

    @classmethod
    def of(cls, view: View) -> Samples:
        """The samples of a trace."""
        samples = view.col("sample_id")
        named = samples != NULL
        if not bool(named.any()):
            return cls(None, Histogram(), Histogram())
        chosen, epoch = samples[named], view.col("epoch")[named]
        order = np.lexsort((epoch, chosen))
        chosen, epoch, moved = chosen[order], epoch[order], view.moved[named][order]
        new = np.ones(len(chosen), np.bool_)
        new[1:] = (chosen[1:] != chosen[:-1]) | (epoch[1:] != epoch[:-1])
        starts = np.flatnonzero(new)
        count = 1 + int((chosen[1:] != chosen[:-1]).sum())
        sizes = np.diff(np.append(starts, len(chosen)))
        return cls(count, Histogram.of(sizes), Histogram.of(np.add.reduceat(moved, starts)))
