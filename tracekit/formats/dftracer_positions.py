"""Where reads and writes of dftracer began that do not say it: positions of files followed from call to call.

Every call changes what the next ones mean, so this is a loop over calls: the core's, or the one below where there is no core.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from tracekit.formats.descriptors import OpenFile
from tracekit.formats.dftracer_calls import Calls, Step
from tracekit.formats.dftracer_events import ABSENT
from tracekit.formats.native import native_core
from tracekit.trace import NULL, IntArray

# What no position is beyond, in a column.
_MOST = 2**63 - 1


class Positions:
    """The open files of a trace, by descriptor within a thread or a process, or by name within a thread."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int], tuple[int, OpenFile]] = {}

    def follow(self, calls: Calls, cells: Mapping[str, IntArray]) -> IntArray:
        """Where each call began: NULL where that is not known and of calls that only move a position, -2 beyond any number.

        Args:
            calls: The calls, in their order.
            cells: Their events' columns.
        """
        step, amount = calls.steps()
        return self._follow((step, cells["tid"], cells["pid"], calls.descriptors(), cells["path"], amount))

    def _follow(self, columns: tuple[IntArray, ...]) -> IntArray:
        found = np.full(len(columns[0]), NULL, np.int64)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for place, (step, tid, pid, fd, path, amount) in enumerate(rows):
            if step in (Step.OPEN, Step.OPEN_APPENDING):
                self._opened(tid, pid, fd, path, appending=step == Step.OPEN_APPENDING)
            elif step != Step.NONE:
                start = _moved(self._file(tid, pid, fd, path), step, amount)
                found[place] = NULL if start is None else start if start <= _MOST else NULL - 1
        return found

    def _opened(self, tid: int, pid: int, fd: int, path: int, *, appending: bool) -> None:
        entry = path, OpenFile(None, 0, appending)
        if fd == ABSENT:
            self._open["name", tid, path] = entry
        else:
            # Workers of one rank may all have its number for a process, with descriptors of their own.
            self._open["thread", tid, fd] = self._open["process", pid, fd] = entry

    def _file(self, tid: int, pid: int, fd: int, path: int) -> OpenFile:
        """The open file a call is about, one with no known position where its opening was not seen."""
        key = ("name", tid, path) if fd == ABSENT else ("thread", tid, fd)
        for one in (key, ("process", pid, fd)):
            known = self._open.get(one)
            if known is not None and known[0] == path:
                return known[1]
        file = OpenFile(None, None)
        self._open[key] = path, file
        return file


class QuickPositions(Positions):
    """The same, followed by the core.

    Args:
        core: The module `tracekit._core`.
    """

    def __init__(self, core: ModuleType) -> None:
        super().__init__()
        self._core = core
        self._files = core.positions()

    def _follow(self, columns: tuple[IntArray, ...]) -> IntArray:
        count = len(columns[0])
        table = np.empty((len(columns) + 1, count), np.int64)
        for row, column in zip(table, columns, strict=False):
            row[:] = column
        self._core.positions_follow(self._files, table.ctypes.data, count)
        return np.asarray(table[-1])


def positions_of() -> Positions:
    """The core's way where there is a core, else Python's."""
    core = native_core()
    return QuickPositions(core) if core else Positions()


def _moved(file: OpenFile, step: int, amount: int) -> int | None:
    """Move a file's position; where a read or a write began."""
    if step == Step.READ:
        return file.advanced(amount)
    if step == Step.WRITE:
        return file.written(amount)
    if step == Step.SET:
        file.position = None if amount == NULL else amount
    elif step == Step.SHIFT and file.position is not None:
        # Below 0 is no position.
        file.position = file.position + amount if file.position + amount >= 0 else None
    return None
