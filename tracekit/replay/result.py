"""What was done, as a Trace: the recorded identity of each op with the times, results and errors of this run."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.replay.compile import Kind
from tracekit.replay.engines import Log, Outcome
from tracekit.replay.plan import Plan
from tracekit.trace import COLUMNS, NULL, IntArray, StringTable, Trace

Int64s = NDArray[np.int64]
_CARRIED = ("uri", "op", "pid", "tid", "rank", "worker", "epoch", "step", "sample_id")
_NOT_DONE = -(2**31)


@dataclass(frozen=True)
class Recorded:
    """What the recording says of some ops, one element per op: `NULL` where it does not say.

    `failed` are those that failed then; times are ns since the recording's t0.
    """

    kinds: NDArray[np.int8]
    length: Int64s
    ret: Int64s
    failed: NDArray[np.bool_]
    t_submit: Int64s
    t_complete: Int64s

    @classmethod
    def of(cls, plan: Plan, rows: NDArray[np.intp]) -> Recorded:
        """What it says of these rows of the plan's trace."""
        names = ("len", "ret", "err", "t_submit", "t_complete")
        length, ret, err, submit, complete = (plan.trace.col(name)[rows] for name in names)
        return cls(plan.program.kinds[rows], length, ret, err != NULL, submit, complete)


@dataclass(frozen=True)
class Done:
    """Ops that were issued, a stream's in the order of the stream: all of them, or a part of a run.

    `rows` are positions in the plan's trace, `recorded` is what the recording says of each. Times are ns on the run's clock;
    `due` is 0 where there was no schedule.
    """

    rows: NDArray[np.intp]
    recorded: Recorded
    stream: NDArray[np.int32]
    offsets: Int64s
    due: Int64s
    free: Int64s
    stall: Int64s
    submit: Int64s
    complete: Int64s
    ret: Int64s
    queued: Int64s
    error: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lateness(self) -> Int64s:
        """t_submit − t_due, 0 where nothing was due."""
        return np.asarray(np.where(self.due > 0, np.maximum(self.submit - self.due, 0), 0), np.int64)

    @property
    def own_lateness(self) -> Int64s:
        """The part of each op's lateness that arose while its stream was free and the gate open: the replayer's own."""
        ready = np.maximum(self.due, self.free)
        return np.asarray(
            np.where(self.due > 0, np.maximum(self.submit - ready - self.stall - self.queued, 0), 0), np.int64
        )

    @property
    def dependency(self) -> Int64s:
        """The part of each op's lateness for which the op before it in its stream was still running."""
        return np.asarray(np.where(self.due > 0, np.maximum(self.free - self.due, 0), 0), np.int64)


def collect(plan: Plan, outcome: Outcome) -> Done:
    """Put the streams' logs together."""
    parts = [_part(plan, index, log) for index, log in enumerate(outcome.logs)]
    rows, *columns = map(np.concatenate, zip(*parts, strict=True))
    return Done(rows, Recorded.of(plan, rows), *columns)


def _part(plan: Plan, index: int, log: Log) -> tuple[NDArray[Any], ...]:
    job, done = plan.jobs[index], log.done
    again = np.arange(done) % max(1, len(job))
    columns = (getattr(log, name)[:done] for name in Log.NAMES)
    return (
        job.stream.rows[again],
        np.full(done, index, np.int32),
        job.offsets[again],
        *columns,
        log.queued[:done],
        log.error[:done],
    )


def as_trace(plan: Plan, outcome: Outcome, done: Done) -> Trace:
    """The output trace, in order of t_submit, its times counted from the run's t0; header and trailer are the caller's."""
    source = plan.trace
    columns: dict[str, IntArray] = {
        name: source.columns[name][done.rows] for name in _CARRIED if name in source.columns
    }
    columns["offset"] = done.offsets
    columns["len"] = source.col("len")[done.rows]
    columns["t_submit"] = done.submit - outcome.t0
    columns["t_complete"] = done.complete - outcome.t0
    columns["ret"] = done.ret
    tables = {name: table for name, table in source.tables.items() if name in columns}
    if plan.pace != "asap":
        # A stream's first think time starts with the run, so no deadline lies before t0.
        columns["t_due"] = np.maximum(done.due - outcome.t0, 0)
    errors, names = _errors(done.error)
    if names:
        columns["err"], tables["err"] = errors, names
    flags, words = _flags(plan, outcome, done)
    if words:
        columns["flags"], tables["flags"] = flags, words
    ordered: dict[str, IntArray] = {
        name: columns[name].astype(column.dtype, copy=False) for name, column in COLUMNS.items() if name in columns
    }
    return Trace(ordered, tables).sorted()


def error_name(number: int) -> str:
    """The name of an errno."""
    return errno.errorcode.get(number, str(number))


def _errors(numbers: NDArray[np.int16]) -> tuple[IntArray, StringTable]:
    table = StringTable()
    codes = np.full(len(numbers), NULL, np.int32)
    for number in np.unique(numbers[numbers != 0]):
        codes[numbers == number] = table.code(error_name(int(number)))
    return codes, table


def _flags(plan: Plan, outcome: Outcome, done: Done) -> tuple[IntArray, StringTable]:
    table = StringTable()
    codes = np.full(len(done), NULL, np.int32)
    uris = plan.trace.col("uri")[done.rows]
    reads = plan.program.kinds[done.rows] == Kind.READ
    for word, files in (("direct", outcome.went_direct), ("direct_fallback", outcome.fell_back)):
        mine = reads & np.isin(uris, list(files))
        if bool(mine.any()):
            codes[mine] = table.code(word)
    return codes, table
