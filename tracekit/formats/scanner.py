"""Lines of cells, such as a table's rows or a log's, read by the native core; lines that are odd in any way are left to Python.

Where there is no core all lines are. What comes out is the same, value for value and sentence for sentence; property tests hold
the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tracekit.formats.meanings import Meanings
from tracekit.formats.native import native_core
from tracekit.trace import NULL, IntArray

# Kinds of cells, as tracekit/_native/cells.h numbers them.
ANY, TEXT, WHOLE, NUMBER, SECONDS = range(5)
# So much is left to Python with a line that is odd, and twice as much whenever the next odd one comes soon.
_ASIDE_BYTES = 1 << 11


class Cell(NamedTuple):
    """One cell of every line.

    Args:
        name: What its column is called; empty when it is not wanted.
        kind: One of the above.
        needed: Whether a line without it is odd.
        scale: What numbers are multiplied with.
        meaning: Of a text its code or number, NULL for none; it is asked once for each.
    """

    name: str = ""
    kind: int = ANY
    needed: bool = False
    scale: int = 1
    meaning: Callable[[bytes], int] | None = None


@dataclass
class Lines:
    """Some lines of a block: those that the core read have columns.

    Args:
        number: That of the first.
        rows: How many lines the core read; 0 where they are left to Python.
        columns: By the names of cells, those that have any value; NULL where a cell is empty, and of texts what they mean.
    """

    number: int
    rows: int
    columns: dict[str, IntArray]
    _block: bytes
    _begin: int
    _end: int

    @property
    def text(self) -> bytes:
        """The lines themselves."""
        whole = self._begin == 0 and self._end == len(self._block)
        return self._block if whole else self._block[self._begin : self._end]

    def column(self, name: str) -> IntArray:
        """A column, NULL throughout where no line has a value."""
        return self.columns.get(name, np.broadcast_to(np.int64(NULL), self.rows))


class Scanner:
    """Reads lines of cells.

    Args:
        cells: What stands in a line, in order.
        between: The character between two cells; empty for any blanks.
        least: How many cells a line of words has at the least; those behind may be missing from the end on.
        open_end: Anything may follow, and the cells behind `least` are all there or not at all.
    """

    def __init__(self, cells: Sequence[Cell], *, between: str = "", least: int = 0, open_end: bool = False) -> None:
        self._cells = cells
        # The texts are told what they mean when they are new, before anybody asks.
        self._meanings = [Meanings(lambda _: NULL) for _ in cells]
        self._met = [0] * len(cells)
        self._core = native_core()
        if self._core:
            kinds = [(cell.kind, cell.needed, cell.scale) for cell in cells]
            self._reader = self._core.cells(kinds, ord(between or "\0"), least or len(cells), open_end)

    def lines(self, number: int, block: bytes) -> Iterator[Lines]:
        """The lines of a block: in turn those that could be read, and those around one that is odd."""
        if self._core is None:
            yield Lines(number, 0, {}, block, 0, len(block))
            return
        position, aside = 0, _ASIDE_BYTES
        while position < len(block):
            begin = position
            position, rows, passed, columns = self._scanned(self._core, block, begin)
            if rows:
                yield Lines(number, rows, columns, block, begin, position)
            number += passed
            if position < len(block):
                aside = _ASIDE_BYTES if position - begin > aside else 2 * aside
                begin, position = position, block.find(b"\n", position + aside) + 1 or len(block)
                yield Lines(number, 0, {}, block, begin, position)
                number += block.count(b"\n", begin, position)

    def _scanned(self, core: ModuleType, block: bytes, begin: int) -> tuple[int, int, int, dict[str, IntArray]]:
        letters = np.frombuffer(block, np.uint8)
        capacity = core.parser_lines(letters.ctypes.data + begin, len(block) - begin)
        columns = {cell.name: np.empty(capacity, np.int64) for cell in self._cells if cell.name}
        addresses = np.array([columns[cell.name].ctypes.data if cell.name else 0 for cell in self._cells], np.uint64)
        position, rows, passed, present = core.cells_scan(self._reader, block, begin, addresses.ctypes.data, capacity)
        found = {}
        for place in present:
            name, meaning = self._cells[place].name, self._cells[place].meaning
            column = columns[name][:rows]
            found[name] = self._meant(place, column, meaning, core) if meaning else column
        return position, rows, passed, found

    def _meant(self, place: int, codes: IntArray, meaning: Callable[[bytes], int], core: ModuleType) -> IntArray:
        if new := core.cells_texts(self._reader, place):
            met = self._met[place]
            self._met[place] += len(new)
            meanings = np.array([meaning(text) for text in new], np.int64)
            self._meanings[place].set(np.arange(met, met + len(new)), meanings)
        return self._meanings[place].of(codes)


def lines_of(scanner: Scanner | None, number: int, block: bytes) -> Iterator[Lines]:
    """The lines of a block as `scanner` gives them; where there is none, all at once and without columns."""
    return scanner.lines(number, block) if scanner else iter([Lines(number, 0, {}, block, 0, len(block))])
