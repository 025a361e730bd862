"""fio's I/O log, versions 2 and 3 (fio(1), `read_iolog` and `write_iolog`): in and out.

A line is `FILE ACTION [OFFSET LENGTH]`, in version 3 with a time before it, in microseconds since the log's beginning. Version 2
has no times but those of `wait` lines, of microseconds each. A log is one job: it says no thread and no completion.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np

from tracekit.errors import InputError, UnknownNameError
from tracekit.formats.cells import mapped
from tracekit.formats.foreign import MAX_NS, Columns, Foreign, uri_of
from tracekit.formats.foreign_lines import line_blocks, numbered
from tracekit.formats.line_table import LineTable
from tracekit.formats.scanner import TEXT, WHOLE, Cell, Lines, Scanner
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import NULL, IntArray, Mask, Trace, Trailer
from tracekit.units import TIME_UNITS_NS
from tracekit.uri import local_path

_VERSION = re.compile(rb"fio version (\d+) iolog\s*$")
_TIME = r"^\s*(?P<time>\d+)\s+"
_ACTION = r"(?P<name>\S+)\s+(?P<action>\S+)(?:\s+(?P<first>\d+))?(?:\s+(?P<second>\d+))?(?:\s+(?P<rest>\S.*?))?\s*$"
# What fio calls the ops, those with a range first; then what is no op of a file.
_OPS = {
    "read": "read", "write": "write", "trim": "trim", "sync": "fsync", "datasync": "fdatasync", "open": "open", "close": "close",
}  # fmt: skip
_RANGED = ("read", "write", "trim")
_ACTIONS = (*_OPS, "add", "wait")
_PLACES = {word.encode(): place for place, word in enumerate(_ACTIONS)}
_WAIT = _ACTIONS.index("wait")
_SECOND = "a second log begins here: several jobs of fio wrote into this file, and fio wants a write_iolog for each"
_OPENS = "opens and closes but one of each for every file"
# Sums of waits in microseconds stay below it, exact as doubles and in nanoseconds.
_LONGEST_US = 2.0**52


class _Actions(NamedTuple):
    """Lines of a log: what was done, as places in `_ACTIONS`, and its numbers, NULL where there are none."""

    uri: IntArray
    action: IntArray
    first: IntArray
    second: IntArray
    time: IntArray | None


def _ranged(action: IntArray) -> Mask:
    return np.asarray((action >= 0) & (action < len(_RANGED)))


def _good(actions: _Actions, times: IntArray) -> Mask:
    """Which are actions, with the numbers that these need."""
    action, first, second = actions.action, actions.first, actions.second
    good = (action != NULL) & (times != NULL) & ((action != _WAIT) | (first >= 0))
    return np.asarray(good & (~_ranged(action) | ((first >= 0) & (second >= 0))))


class FioLog(Foreign):
    """A log that fio wrote, or that it can read."""

    NAME: ClassVar[str] = "fio"
    TOOL: ClassVar[str] = "fio"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(rb"fio version \d")
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """The version is not known before the first line."""
        self._version = 0
        self._waited = 0.0
        unit = self.options.get("time-unit", "us")
        if unit not in TIME_UNITS_NS:
            raise UnknownNameError("time unit", unit, TIME_UNITS_NS)
        self._unit = TIME_UNITS_NS[unit]

    def facts(self) -> dict[str, Any]:
        """The version of the log."""
        return {"version": f"iolog {self._version}"}

    def batches(self) -> Iterator[Columns]:
        """The actions on files, in the order of the log."""
        scanner: Scanner | None = None
        for number, text in line_blocks(self):
            actions = text if scanner else self._behind_version(number, text)
            scanner = scanner or self._new_scanner()
            for lines in scanner.lines(number, actions):
                yield self._plain(lines) or self._found(lines)
        if self._version == 2 and not self._waited:
            self.told.warnings.append(
                f"{self.path}: version 2 of fio's log has no times, and this one no waits: every op is at 0"
            )

    def _behind_version(self, number: int, text: bytes) -> bytes:
        """The block with its first line taken, which leaves it blank: the others keep their numbers."""
        _, first = next(numbered(number, text), (number, b""))
        match = _VERSION.match(first)
        if match is None or match[1] not in (b"2", b"3"):
            raise InputError(
                f"{self.path}:1: the line is not `fio version 2 iolog` or `fio version 3 iolog`",
                "is it a log that fio wrote with write_iolog?",
            )
        self._version = int(match[1])
        return text.replace(first, b"", 1)

    def _new_scanner(self) -> Scanner:
        words = [
            Cell("uri", TEXT, meaning=lambda name: self.table("uri").code(uri_of(os.fsdecode(name)))),
            Cell("action", TEXT, meaning=lambda word: _PLACES.get(word, NULL)),
            Cell("first", WHOLE),
            Cell("second", WHOLE),
        ]
        return Scanner(words if self._version == 2 else [Cell("time", WHOLE), *words], least=self._version)

    def _plain(self, lines: Lines) -> Columns | None:
        """The columns of lines that the core read; None where it read none, or one of them is to be refused."""
        if not lines.rows:
            return None
        waited, column = self._waited, lines.column
        time = column("time") if self._version == 3 else None
        actions = _Actions(column("uri"), column("action"), column("first"), column("second"), time)
        times = self._times(actions)
        good = _good(actions, times)
        if bool(good.all()):
            return self._columns(actions, times, good)
        self._waited = waited
        return None

    def _found(self, lines: Lines) -> Columns:
        """The columns of any lines; those that are no action are refused."""
        table = LineTable(lines.text, (_TIME if self._version == 3 else r"^\s*") + _ACTION)
        codes, names = table.coded("name")
        uris = self.table("uri").encode([uri_of(os.fsdecode(name)) for name in names])[codes]
        codes, words = table.coded("action")
        action = mapped(codes, [_PLACES.get(word, NULL) for word in words])
        time = table.numbers("time") if self._version == 3 else None
        actions = _Actions(uris, action, table.numbers("first"), table.numbers("second"), time)
        times = self._times(actions)
        good = _good(actions, times) & ~(_ranged(action) & table.present("rest"))
        for index in sorted([*table.strange(), *np.flatnonzero(table.matched)[~good].tolist()]):
            self._refuse(lines.number + index, table.line(index))
        return self._columns(actions, times, good)

    def _times(self, actions: _Actions) -> IntArray:
        """When each action was begun, in ns; NULL where that is no time."""
        if actions.time is not None:
            usable = (actions.time >= 0) & (actions.time < MAX_NS // self._unit)
            return np.where(usable, actions.time * self._unit, NULL)
        waits = np.where(actions.action == _WAIT, np.maximum(actions.first, 0), 0)
        waited = np.minimum(self._waited + np.cumsum(waits, dtype=np.float64), _LONGEST_US)
        self._waited = float(waited[-1]) if len(waited) else self._waited
        return waited.astype(np.int64) * 1000

    def _columns(self, actions: _Actions, times: IntArray, good: Mask) -> Columns:
        """The ops among actions that are good."""
        ranged, ops = _ranged(actions.action), [*self.table("op").encode(list(_OPS.values())), NULL, NULL]
        columns = {
            "uri": actions.uri.astype(np.int32, copy=False), "offset": np.where(ranged, actions.first, 0),
            "len": np.where(ranged, actions.second, 0), "t_submit": times, "op": mapped(actions.action, ops).astype(np.int32),
        }  # fmt: skip
        chosen = good & (actions.action < len(_OPS))
        return columns if bool(chosen.all()) else {name: column[chosen] for name, column in columns.items()}

    def _refuse(self, number: int, line: bytes) -> None:
        shown = b" ".join(line.split())
        if _VERSION.search(line):
            # fio(1): "Specify a separate file for each job, otherwise the iologs will be interspersed".
            self.reject(number, _SECOND)
        elif self._version == 3 and not re.match(rb"\d+( |$)", shown):
            self.reject(number, f"{shown[:40]!r} does not begin with a time")
        else:
            self.reject(number, f"the line is no action of fio's log: {shown[:60]!r}")


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[Writer]:
    """A writer of fio's log, version 3."""
    with replacing(path, force=force) as file:
        yield _LogWriter(file)


class _LogWriter(Writer):
    """Writes lines that fio's read_iolog takes. Threads, completions, steps and ops that fio has no word for are not in it."""

    _BACK: ClassVar[dict[str, str]] = {op: word for word, op in _OPS.items()}

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._file.write(b"fio version 3 iolog\n")
        self._open: set[str] = set()
        self._origin: int | None = None
        self._last = 0

    def ops(self, piece: Trace) -> None:
        """Write the ops that read, write or flush; a file is added and opened before its first."""
        times = piece.col("t_submit")
        if not len(piece):
            return
        if self._origin is None:
            self._origin = int(times.min())
        words = [self._BACK.get(op) for op in piece.strings("op")]
        names = [self._name(uri) for uri in piece.uris]
        moved = np.where(piece.col("ret") == NULL, piece.col("len"), piece.col("ret"))
        columns = (piece.col("uri"), piece.col("op"), piece.col("offset"), moved, times)
        for uri, op, offset, size, time in zip(*(column.tolist() for column in columns), strict=True):
            word, name = words[op], names[uri]
            if word is None:
                self.leave_out(f"{piece.strings('op')[op]} ops")
                continue
            if word in ("open", "close"):
                self.leave_out(_OPENS)
                continue
            if name is None or (word in _RANGED and (offset == NULL or size <= 0)):
                self.leave_out(_why_not(piece.uris[uri], name, offset))
                continue
            self._line(time, name, f"{word} {offset} {size}" if word in _RANGED else f"{word} 0 0")

    def _line(self, time: int, name: str, action: str) -> None:
        # fio waits from one line to the next; a time that went back would make it wait for ever.
        self._last = max(self._last, (time - (self._origin or 0)) // 1000)
        if name not in self._open:
            self._open.add(name)
            self._write(f"{self._last} {name} add\n{self._last} {name} open\n")
        self._write(f"{self._last} {name} {action}\n")

    def _write(self, text: str) -> None:
        self._file.write(os.fsencode(text))

    @staticmethod
    def _name(uri: str) -> str | None:
        name = _path(uri)
        return None if name is None or any(letter.isspace() for letter in name) else name

    def trailer(self, trailer: Trailer) -> None:
        """Close every file, as fio wants it."""
        super().trailer(trailer)
        for name in sorted(self._open):
            self._write(f"{self._last} {name} close\n")


def _path(uri: str) -> str | None:
    try:
        return local_path(uri)
    except InputError:
        return None


def _why_not(uri: str, name: str | None, offset: int) -> str:
    if name is None:
        return "ops on what is no local file" if _path(uri) is None else "ops on files with a space in their name"
    return "ops without offset" if offset == NULL else "ops that moved nothing"
