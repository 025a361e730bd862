"""What was done, piece by piece in the order of time: each op's recorded identity with the times and results of this run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.replay.compile import Program
from tracekit.replay.engines import FAR_RESULT, RESULT, Log, Outcome
from tracekit.replay.kinds import Kind
from tracekit.replay.ops import Job
from tracekit.replay.ordering import in_order
from tracekit.replay.plan import Plan
from tracekit.replay.records import Block, Records
from tracekit.storage.failures import error_name
from tracekit.trace import COLUMNS, NULL, IntArray, StringTable, Trace

Int64s = NDArray[np.int64]
_TIMES = ("due", "free", "stall", "submit", "complete", "ret", "queued")


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
    def of(cls, rows: Block) -> Recorded:
        """What these rows of a compiled trace say."""
        length, ret, submit, complete = (rows[name] for name in ("len", "ret", "t_submit", "t_complete"))
        return cls(rows["kind"].astype(np.int8), length, ret, rows["failed"] != 0, submit, complete)


@dataclass(frozen=True)
class Done:
    """Ops that were issued, in the order of `submit`: all of them, or a part of a run.

    `source` are the rows of the compiled trace, `recorded` is what the recording says of each. Times are ns on the run's
    clock; `due` is 0 where there was no schedule.
    """

    source: Block
    recorded: Recorded
    stream: NDArray[np.int32]
    due: Int64s
    free: Int64s
    stall: Int64s
    submit: Int64s
    complete: Int64s
    ret: Int64s
    queued: Int64s
    error: NDArray[np.int16]
    # Of requests for objects: when the answer began, how many requests it took. Empty where there are none.
    first_byte: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    attempts: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, program: Program, results: Block) -> Done:
        """The ops of these results (`RESULT`)."""
        source = program.rows.take(results["row"] % max(1, len(program)))
        names = {"ret": "result", "queued": "worker"}
        columns = {name: results[names.get(name, name)].astype(np.int64) for name in _TIMES}
        far = results if "attempts" in (results.dtype.names or ()) else np.zeros(0, FAR_RESULT)
        columns |= {name: far[name].astype(np.int64) for name in ("first_byte", "attempts")}
        return cls(
            source, Recorded.of(source), program.streams_of(source), error=results["error"].astype(np.int16), **columns
        )

    def __len__(self) -> int:
        return len(self.source)

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


def pieces_of(plan: Plan, outcome: Outcome) -> Iterator[Done]:
    """The ops that were issued, in the order of time, piece by piece."""
    results = _of_logs(plan, outcome.logs) if outcome.results is None else outcome.results
    for block in in_order(results, "submit"):
        yield Done.of(plan.program, block)


def collect(plan: Plan, outcome: Outcome) -> Done:
    """All of them in memory: for short runs."""
    parts = [*pieces_of(plan, outcome)] or [Done.of(plan.program, np.zeros(0, RESULT))]
    source = np.concatenate([part.source for part in parts])
    columns = (np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Done)[2:])
    return Done(source, Recorded.of(source), *columns)


def _of_logs(plan: Plan, logs: Sequence[Log]) -> Records:
    records = Records(FAR_RESULT if any(log.far for log in logs) else RESULT, plan.folder)
    for job, log in zip(plan.jobs, logs, strict=True):
        if log.done:
            records.append(results_of(plan, job, log, records.dtype, 0, log.done))
    return records


def results_of(plan: Plan, job: Job, log: Log, dtype: np.dtype[Any], first: int, end: int) -> Block:
    """What became of a stream's ops from one place in its log up to another, as records of `RESULT` or `FAR_RESULT`."""
    block, mine = np.zeros(end - first, dtype), slice(first, end)
    if dtype == FAR_RESULT:
        block["first_byte"] = log.first_byte[mine] if log.far else NULL
        block["attempts"] = log.attempts[mine] if log.far else 0
    turn, place = np.divmod(np.arange(first, end), len(job))
    block["row"] = turn * plan.count + job.rows[place]
    for name in ("due", "free", "stall", "submit", "complete", "error"):
        block[name] = getattr(log, name)[mine]
    block["result"], block["worker"] = log.ret[mine], log.queued[mine]
    return block


class Output:
    """The output trace, piece by piece; the pieces share their tables.

    Args:
        program: The compiled trace.
        pace: recorded, think or asap.
        outcome: What the engine did.
        retries: How often a failed request was made again at most: with none an op is one request on the wire.
    """

    def __init__(self, program: Program, pace: str, outcome: Outcome, retries: int = 0) -> None:
        self._program, self._pace, self._outcome, self._retries = program, pace, outcome, retries
        kept = (*program.columns_of(program.rows.read(0, 0)),)
        self._tables = {name: table for name, table in program.tables.items() if name in kept}
        self._errors, self._flags = StringTable(), StringTable()
        self._layers, self._levels = StringTable(), StringTable()

    def piece(self, done: Done) -> Trace:
        """A piece of what was done, its times counted from the run's t0; header and trailer are the caller's."""
        t0 = self._outcome.t0
        columns = self._program.columns_of(done.source)
        columns |= {"t_submit": done.submit - t0, "t_complete": done.complete - t0, "ret": done.ret}
        if self._pace != "asap":
            # A stream's first think time starts with the run, so no deadline lies before t0.
            columns["t_due"] = np.maximum(done.due - t0, 0)
        columns |= self._of_requests(done)
        columns |= self._marked("err", self._errors, self._named_errors(done))
        columns |= self._marked("flags", self._flags, self._named_flags(done))
        ordered: dict[str, IntArray] = {
            name: columns[name].astype(column.dtype, copy=False) for name, column in COLUMNS.items() if name in columns
        }
        return Trace(ordered, self._tables)

    def _of_requests(self, done: Done) -> dict[str, IntArray]:
        """What is known of requests for objects besides."""
        if not len(done.attempts):
            return {}
        asked, began = done.attempts > 0, done.first_byte != NULL
        self._tables |= {"layer": self._layers, "level": self._levels}
        return {
            "t_first_byte": np.where(began, done.first_byte - self._outcome.t0, NULL),
            "attempts": np.where(asked, done.attempts, NULL),
            "level": np.where(asked, self._levels.code("logical" if self._retries else "wire"), NULL),
            "layer": np.where(asked, self._named_layers(done), NULL),
        }

    def _named_layers(self, done: Done) -> IntArray:
        schemes = [self._layers.code(uri.partition("://")[0]) for uri in self._program.uris]
        return np.asarray(np.array(schemes or [NULL], np.int32)[done.source["uri"]], np.int32)

    def _marked(self, name: str, table: StringTable, codes: IntArray) -> dict[str, IntArray]:
        """A column that is there from the moment it has a value."""
        if len(table):
            self._tables[name] = table
        return {name: codes} if len(table) else {}

    def _named_errors(self, done: Done) -> IntArray:
        codes = np.full(len(done), NULL, np.int32)
        for number in np.unique(done.error[done.error != 0]):
            codes[done.error == number] = self._errors.code(error_name(int(number)))
        return codes

    def _named_flags(self, done: Done) -> IntArray:
        codes = np.full(len(done), NULL, np.int32)
        reads = done.recorded.kinds == Kind.READ
        if len(done.attempts) and bool((reads & (done.attempts > 0)).any()):
            codes[reads & (done.attempts > 0)] = self._flags.code("range")
        for word, files in (("direct", self._outcome.went_direct), ("direct_fallback", self._outcome.fell_back)):
            mine = reads & np.isin(done.source["uri"], list(files)) if files else np.zeros(len(done), np.bool_)
            if bool(mine.any()):
                codes[mine] = self._flags.code(word)
        return codes


def as_trace(plan: Plan, outcome: Outcome, done: Done) -> Trace:
    """The whole output in one piece, in the order of time."""
    return Output(plan.program, plan.pace, outcome, plan.options.retries).piece(done).sorted()


def joined(pieces: Sequence[Trace]) -> Trace:
    """Pieces of one output as one trace."""
    if not pieces:
        return Trace.of([])
    names = [name for name in COLUMNS if any(name in piece for piece in pieces)]
    columns = {name: np.concatenate([piece.col(name) for piece in pieces]) for name in names}
    return Trace(columns, pieces[-1].tables)
