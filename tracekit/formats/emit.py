"""Lines of ops by the native core: byte for byte what `line_writer.PythonLines` gives (a property test holds the two)."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracekit.trace import COLUMNS, StringTable, Trace
from tracekit.uri import utf8

_ROOM = 1 << 20


class QuickLines:
    """Op lines of pieces of a trace.

    Args:
        core: The module `tracekit._core`.
    """

    def __init__(self, core: ModuleType) -> None:
        self._core = core
        self._texts: dict[str, _Texts] = {}
        self._out = np.empty(_ROOM, np.uint8)

    def __call__(self, piece: Trace) -> Iterator[bytes]:
        """The lines, about a mebibyte at a time."""
        # These arrays live until the last line is out; the core sees addresses only.
        arrays = {name: np.ascontiguousarray(piece.columns[name], COLUMNS[name].dtype) for name in piece.columns}
        columns = np.array([arrays[name].ctypes.data if name in arrays else 0 for name in COLUMNS], np.uint64)
        tables = [self._table(piece, name).view() if name in piece.tables else None for name in COLUMNS]
        words = [
            (text.ctypes.data, starts.ctypes.data, len(starts) - 1) for text, starts in (t or _NONE for t in tables)
        ]
        texts = np.array(words, np.uint64)
        row = 0
        while row < len(piece):
            row, written = self._core.emit_lines(
                columns.ctypes.data, texts.ctypes.data, row, len(piece), self._out.ctypes.data, len(self._out)
            )
            if written:
                yield self._out[:written].tobytes()
            else:
                self._out = np.empty(2 * len(self._out), np.uint8)

    def _table(self, piece: Trace, name: str) -> _Texts:
        table = piece.tables[name]
        texts = self._texts.get(name)
        if texts is None or texts.table is not table:
            texts = self._texts[name] = _Texts(table)
        return texts


_View = tuple[NDArray[np.uint8], NDArray[np.int64]]
_NONE: _View = (np.zeros(1, np.uint8), np.zeros(1, np.int64))


class _Texts:
    """The strings of a table as they stand in lines; of a table that has grown, only what is new is looked at."""

    def __init__(self, table: StringTable) -> None:
        self.table = table
        self._encoder = msgspec.json.Encoder()
        self._view: _View = (np.zeros(0, np.uint8), np.zeros(1, np.int64))

    def view(self) -> _View:
        """The strings one after the other, and where each begins and the last ends."""
        text, starts = self._view
        known = len(starts) - 1
        if known < len(self.table):
            added = [self._encoder.encode(utf8(string)) for string in self.table.strings[known:]]
            ends = int(starts[-1]) + np.cumsum([len(one) for one in added])
            text = np.concatenate([text, np.frombuffer(b"".join(added), np.uint8)])
            self._view = text, np.concatenate([starts, ends])
        return self._view
