"""What Python threads did, on disk about every second: a replay that is killed leaves a trace of it (`leftover`).

Written by the thread that watches the others, not by those that issue ops: a second's ops are a few calls of NumPy. A request
that is to be made again stands there as failed until its last attempt, and then as what that was.
"""

from __future__ import annotations

import time

import numpy as np

from tracekit.replay.engines import FAR_RESULT, RESULT, RESULTS, Log
from tracekit.replay.plan import Plan
from tracekit.replay.records import Block, Records
from tracekit.replay.result import results_of

_BETWEEN_NS = 1_000_000_000


class Journal:
    """The results of a run's logs as records among its working files; nothing without a folder for them.

    Args:
        plan: The plan.
        logs: One for each of its jobs; they grow.
    """

    def __init__(self, plan: Plan, logs: list[Log]) -> None:
        self._plan, self._logs = plan, logs
        # As `leftover.describe` has it: also where no op of the plan is a request.
        far = any(not file.local for file in plan.files if file.storage is not None)
        self._records = None if plan.folder is None else Records(FAR_RESULT if far else RESULT, plan.folder, RESULTS)
        self._kept = [0] * len(logs)
        self._written = time.monotonic_ns()
        # Where failed requests stand: what became of them may change. By log and place in it.
        self._failed: dict[tuple[int, int], tuple[int, int]] = {}

    def watch(self) -> None:
        """Write what is new, if the last time was a second ago."""
        if time.monotonic_ns() - self._written >= _BETWEEN_NS:
            self.write()

    def write(self) -> None:
        """Write what is new, and what has changed (errors: CannotRunError where the disk is full)."""
        if self._records is None:
            return
        for number in range(len(self._logs)):
            self._write(number, self._records)
        for (number, place), (position, attempts) in list(self._failed.items()):
            log = self._logs[number]
            if log.attempts[place] != attempts:
                self._records.write(position, self._results(number, place, place + 1, self._records))
                self._note(number, place, position)
        self._written = time.monotonic_ns()

    def _write(self, number: int, records: Records) -> None:
        log, first = self._logs[number], self._kept[number]
        # What is counted as done has its times and results already.
        end = log.done
        if end == first:
            return
        at = len(records)
        records.append(self._results(number, first, end, records))
        self._kept[number] = end
        if log.far:
            for place in (np.flatnonzero(log.error[first:end]) + first).tolist():
                self._note(number, place, at + place - first)

    def _results(self, number: int, first: int, end: int, records: Records) -> Block:
        return results_of(self._plan, self._plan.jobs[number], self._logs[number], records.dtype, first, end)

    def _note(self, number: int, place: int, position: int) -> None:
        log = self._logs[number]
        if log.error[place]:
            self._failed[number, place] = position, int(log.attempts[place])
        else:
            self._failed.pop((number, place), None)
