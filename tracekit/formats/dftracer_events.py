"""Lines of dftracer as columns: the core takes those that are plain, and any other is looked at by itself.

Where there is no core every line is; what comes out is the same, value for value (`tests/property/test_dftracer_columns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tracekit.columns import StringTable
from tracekit.formats.foreign import MAX_NS, number_of
from tracekit.formats.foreign_lines import numbered
from tracekit.formats.native import native_core
from tracekit.trace import NULL, IntArray

if TYPE_CHECKING:
    from tracekit.formats.foreign import Foreign

# Texts, as codes of a table: `value` has that of `fhash`, `label` (what an event that names something calls it) that of `path`.
TEXTS = ("name", "cat", "pid", "tid", "path", "fhash", "hostname", "value", "label")
_ARGUMENTS = (
    "ret", "size", "count", "nmemb", "offset", "whence", "fd", "flags", "length", "error", "epoch", "step", "image_idx",
)  # fmt: skip
COLUMNS = (*TEXTS, "naming", "ts", "dur", *_ARGUMENTS)
_SHARED = {"value": "fhash", "label": "path"}
# A number that an event does not have, and one that is there and is none.
ABSENT = -(2**63)
UNUSABLE = ABSENT + 1
# Events that name files and hosts: since 2.2 the phase is a number.
_NAMING = ("M", 4)


class _Event(msgspec.Struct):
    """A line; numbers come as numbers or as text, in one generation or the other."""

    name: str = ""
    cat: str = ""
    ph: int | str = ""
    pid: int | str | None = None
    tid: int | str | None = None
    ts: int | float | str | None = None
    dur: int | float | str | None = None
    args: dict[str, Any] = {}


class EventReader:
    """Reads lines one by one.

    Args:
        source: Told of lines that are no events.
    """

    def __init__(self, source: Foreign) -> None:
        self._source = source
        self._decoder = msgspec.json.Decoder(_Event)
        self._tables = {name: StringTable() for name in TEXTS if name not in _SHARED}

    def read(self, number: int, text: bytes) -> dict[str, IntArray]:
        """The events of some lines, as columns of equal length.

        Args:
            number: That of the first line.
            text: Whole lines, the last one perhaps without its end.

        Raises:
            TraceFormatError: If a line is bad and bad ones are not skipped.
        """
        rows = [row for place, line in numbered(number, text) if (row := self.row(place, line)) is not None]
        cells = np.array(rows, np.int64).reshape(len(rows), len(COLUMNS)).T
        return dict(zip(COLUMNS, cells, strict=True))

    def code(self, column: str, text: str) -> int:
        """The code of a text, adding it if it is new."""
        return self._tables[_SHARED.get(column, column)].code(text)

    def text(self, column: str, code: int) -> str:
        """The text that a code stands for."""
        return self._tables[_SHARED.get(column, column)].strings[code]

    def row(self, number: int, line: bytes) -> list[int] | None:
        """The cells of one line; None of one that is no event, which is told if it is bad."""
        plain = line.strip().removesuffix(b",")
        if len(plain) < 2 and plain in (b"[", b"]", b""):
            return None
        try:
            event = self._decoder.decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._source.reject(number, f"the line is no event of dftracer ({error})")
            return None
        start, took = _time(event.ts), _time(event.dur)
        naming = event.ph in _NAMING
        if not naming and (start < 0 or ABSENT + 1 < took < 0):
            self._source.reject(number, f"`ts` {event.ts!r} and `dur` {event.dur!r} are no times")
            return None
        texts = _texts(event, naming=naming)
        codes = [NULL if (text := texts[name]) is None else self.code(name, text) for name in TEXTS]
        return [*codes, int(naming), start, took, *_numbers(event.args)]


class QuickEventReader(EventReader):
    """Reads lines many at once, those that are not plain one by one.

    Args:
        core: The module `tracekit._core`.
        source: Told of lines that are no events.
    """

    def __init__(self, core: ModuleType, source: Foreign) -> None:
        super().__init__(source)
        self._core = core
        self._scanner = core.events()

    def read(self, number: int, text: bytes) -> dict[str, IntArray]:
        """The events of some lines, as columns of equal length."""
        text = text if text.endswith(b"\n") else text + b"\n"
        capacity, position, filled = text.count(b"\n"), 0, 0
        cells = np.empty((len(COLUMNS), capacity), np.int64)
        while True:
            position, filled, lines = self._core.events_read(
                self._scanner, text, position, cells.ctypes.data, filled, capacity
            )
            if position >= len(text):
                break
            number, end = number + lines, text.index(b"\n", position)
            row = self.row(number, text[position:end])
            if row is not None:
                cells[:, filled] = row
                filled += 1
            number, position = number + 1, end + 1
        return {name: column[:filled] for name, column in zip(COLUMNS, cells, strict=True)}

    def code(self, column: str, text: str) -> int:
        """The code of a text, adding it if it is new."""
        return int(self._core.events_code(self._scanner, TEXTS.index(column), text))

    def text(self, column: str, code: int) -> str:
        """The text that a code stands for."""
        strings = self._tables[_SHARED.get(column, column)].strings
        if code >= len(strings):
            strings += self._core.events_new_texts(self._scanner, TEXTS.index(column))
        return strings[code]


def reader_of(source: Foreign) -> EventReader:
    """The core's way where there is a core, else Python's."""
    core = native_core()
    return QuickEventReader(core, source) if core else EventReader(source)


def _texts(event: _Event, *, naming: bool) -> Mapping[str, str | None]:
    args = event.args
    name = None if naming else args.get("fname") or args.get("filename")
    host = None if naming else args.get("hostname")
    return {
        "name": event.name, "cat": event.cat, "pid": _text(event.pid), "tid": _text(event.tid),
        "path": str(name) if name else None, "fhash": _text(args.get("fhash")), "hostname": str(host) if host else None,
        "value": _text(args.get("value")) if naming else None, "label": str(args.get("name", "")) if naming else None,
    }  # fmt: skip


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _numbers(args: Mapping[str, Any]) -> list[int]:
    names = ("errno" if name == "error" else name for name in _ARGUMENTS)
    return [_usable(number_of(args[name])) if name in args else ABSENT for name in names]


def _usable(number: int | None) -> int:
    return UNUSABLE if number is None else number


def _time(value: Any) -> int:
    return ABSENT if value is None else _usable(number_of(value, _ns))


def _ns(value: Any) -> int:
    """Microseconds as nanoseconds; integers exactly, whatever their size."""
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        value = float(value)
    number = round(value * 1000) if isinstance(value, float) else int(value) * 1000
    if abs(number) >= MAX_NS:
        raise OverflowError
    return number
