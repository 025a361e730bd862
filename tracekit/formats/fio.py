"""fio's I/O log, versions 2 and 3 (fio(1), `read_iolog` and `write_iolog`): in and out.

A line is `FILE ACTION [OFFSET LENGTH]`, in version 3 with a time before it, in microseconds since the log's beginning. Version 2
has no times but those of `wait` lines, of microseconds each. A log is one job: it says no thread and no completion.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar

import numpy as np

from tracekit.errors import InputError, UnknownNameError
from tracekit.formats.foreign import Foreign, lines, number_of
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import NULL, Trace, Trailer
from tracekit.units import TIME_UNITS_NS
from tracekit.uri import file_uri, local_path

_VERSION = re.compile(rb"fio version (\d+) iolog\s*$")
_ACTIONS = {
    b"read": "read", b"write": "write", b"trim": "trim", b"sync": "fsync", b"datasync": "fdatasync", b"open": "open",
    b"close": "close",
}  # fmt: skip
_RANGED = ("read", "write", "trim")


class FioLog(Foreign):
    """A log that fio wrote, or that it can read."""

    NAME: ClassVar[str] = "fio"
    TOOL: ClassVar[str] = "fio"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(rb"fio version \d")
    FIELDS: ClassVar[tuple[str, ...]] = ("uri", "offset", "len", "t_submit", "op")
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """The version is not known before the first line."""
        self._version = 0
        self._waited = 0
        unit = self.options.get("time-unit", "us")
        if unit not in TIME_UNITS_NS:
            raise UnknownNameError("time unit", unit, TIME_UNITS_NS)
        self._unit = TIME_UNITS_NS[unit]

    def facts(self) -> dict[str, Any]:
        """The version of the log."""
        return {"version": f"iolog {self._version}"}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The actions on files, in the order of the log."""
        for number, text in lines(self):
            if not self._version:
                self._take_version(text)
                continue
            row = self._row(number, text.split())
            if row is not None:
                yield row
        if self._version == 2 and not self._waited:
            self.told.warnings.append(
                f"{self.path}: version 2 of fio's log has no times, and this one no waits: every op is at 0"
            )

    def _take_version(self, text: bytes) -> None:
        match = _VERSION.match(text)
        if match is None or match[1] not in (b"2", b"3"):
            raise InputError(
                f"{self.path}:1: the line is not `fio version 2 iolog` or `fio version 3 iolog`",
                "is it a log that fio wrote with write_iolog?",
            )
        self._version = int(match[1])

    def _row(self, number: int, words: list[bytes]) -> tuple[Any, ...] | None:
        when = self._waited
        if self._version == 3:
            time = number_of(words[0] if words else b"", lambda text: int(text) * self._unit)
            if time is None or time < 0:
                self.reject(number, f"{b' '.join(words)[:40]!r} does not begin with a time")
                return None
            when, words = time, words[1:]
        if len(words) == 2 and words[1] == b"add":
            return None
        values = [-1 if (value := number_of(word)) is None else value for word in words[2:]]
        action = _ACTIONS.get(words[1]) if len(words) > 1 else None
        if len(words) > 1 and words[1] == b"wait" and values and values[0] >= 0:
            self._waited += values[0] * 1000
            return None
        ranged = action in _RANGED
        if action is None or (ranged and (len(values) != 2 or min(values) < 0)):
            self.reject(number, f"the line is no action of fio's log: {b' '.join(words)[:60]!r}")
            return None
        offset, size = values if ranged else (0, 0)
        name = os.fsdecode(words[0])
        return (file_uri(name) if name.startswith("/") else name, offset, size, when, action)


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[Writer]:
    """A writer of fio's log, version 3."""
    with replacing(path, force=force) as file:
        yield _LogWriter(file)


class _LogWriter(Writer):
    """Writes lines that fio's read_iolog takes. Threads, completions, steps and ops that fio has no word for are not in it."""

    _BACK: ClassVar[dict[str, str]] = {op: word.decode() for word, op in _ACTIONS.items()}

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
                self.drop(f"{piece.strings('op')[op]} ops")
                continue
            if word in ("open", "close"):
                continue  # every file is opened once, before its first op
            if name is None or (word in _RANGED and (offset == NULL or size <= 0)):
                self.drop(_why_not(name, offset))
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
        try:
            name = local_path(uri)
        except InputError:
            return None
        return None if any(letter.isspace() for letter in name) else name

    def trailer(self, trailer: Trailer) -> None:
        """Close every file, as fio wants it."""
        super().trailer(trailer)
        for name in sorted(self._open):
            self._write(f"{self._last} {name} close\n")


def _why_not(name: str | None, offset: int) -> str:
    if name is None:
        return "ops on what is no local file, or whose name has spaces"
    return "ops without offset" if offset == NULL else "ops that moved nothing"
