"""Text of strace to columns by the native core: value for value and sentence for sentence what `strace` gives line by line.

A property test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from tracekit.formats import strace_words as words
from tracekit.formats.foreign import Columns
from tracekit.formats.foreign_lines import line_blocks
from tracekit.trace import NULL, IntArray

if TYPE_CHECKING:
    from tracekit.formats.strace import Strace

_ROWS = 1 << 16
_MORE_TEXT = 2
# The core's bits, in the words of strace.
_FLAGS = ("O_DIRECT", "O_APPEND", "O_CREAT", "O_TRUNC", "O_SYNC")
_FLAG_WORDS = [
    words.flag_words(tuple(flag for bit, flag in enumerate(_FLAGS) if bits >> bit & 1))
    for bits in range(1 << len(_FLAGS))
]


class QuickStrace:
    """One pass over a file.

    Args:
        core: The module `tracekit._core`.
        source: Whose file it is, and who counts what is bad or left out.
    """

    def __init__(self, core: ModuleType, source: Strace) -> None:
        self._core, self._source = core, source
        self._reader = core.strace()
        names, self._ops = core.strace_layout()
        self._arrays: dict[str, IntArray] = {name: np.empty(_ROWS, np.int64) for name in names}
        self._places = np.array([array.ctypes.data for array in self._arrays.values()], np.uint64)
        # By the core's codes, and what -1 stands for behind them.
        self._uris, self._errors = np.array([NULL], np.int32), np.array([NULL], np.int32)

    def batches(self) -> Iterator[Columns]:
        """The calls on files, in the order in which they ended."""
        rest = b""
        for _, block in line_blocks(self._source):
            text = rest + block
            position = yield from self._columns(text, whole=False)
            rest = text[position:]
        yield from self._columns(rest, whole=True)
        for what, count in self._core.strace_finish(self._reader):
            self._source.leave_out(what.decode("ascii", "replace"), count)

    def _columns(self, text: bytes, *, whole: bool) -> Generator[Columns, None, int]:
        """Those in a text, and where what could be read of it ends."""
        source, position = self._source, 0
        address = np.frombuffer(text, np.uint8).ctypes.data if text else 0
        while position < len(text):
            position, rows, why = self._core.strace_run(
                self._reader, address, len(text), position, self._places.ctypes.data, _ROWS, whole, not source.skip_bad
            )
            if rows:
                yield self._translated({name: array[:rows] for name, array in self._arrays.items()})
            self._tell_bad()
            if why == _MORE_TEXT:
                break
        return position

    def _tell_bad(self) -> None:
        count, line, kind, text = self._core.strace_bad(self._reader)
        if count:
            self._source.explain(line, kind, text)
            self._source.told.bad += count - 1

    def _translated(self, found: dict[str, IntArray]) -> Columns:
        source = self._source
        names = [source.named(name) for name in self._core.strace_new_strings(self._reader, False)]
        errors = [error.decode("ascii", "replace") for error in self._core.strace_new_strings(self._reader, True)]
        self._uris = _longer(self._uris, source.table("uri").encode(names) if names else None)
        self._errors = _longer(self._errors, source.table("err").encode(errors) if errors else None)
        return {
            **{name: found[name].copy() for name in ("offset", "len", "t_submit", "t_complete", "ret")},
            **{name: source.fitting(name, found[name]) for name in ("pid", "tid")},
            "uri": self._uris[found["uri"]], "err": self._errors[found["err"]],
            "op": self._coded("op", found["op"], self._ops), "flags": self._coded("flags", found["flags"], _FLAG_WORDS),
            "layer": np.full(len(found["uri"]), source.table("layer").code("strace"), np.int32),
        }  # fmt: skip

    def _coded(self, name: str, numbers: IntArray, texts: list[str] | list[str | None]) -> IntArray:
        """Numbers of texts as codes of a table; it takes only what is there."""
        there, at = np.unique(numbers, return_inverse=True)
        return np.asarray(self._source.table(name).encode([texts[number] for number in there])[at])


def _longer(codes: IntArray, more: IntArray | None) -> IntArray:
    return codes if more is None else np.concatenate([codes[:-1], more, codes[-1:]])
