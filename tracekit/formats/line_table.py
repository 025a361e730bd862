"""What a pattern finds in many lines, as columns: Arrow looks for it, and no line becomes an object.

The patterns are RE2's, over bytes; each capture has a name. A line that they do not match is one to be told about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.arrow import values_of
from tracekit.formats.cells import coded, known
from tracekit.trace import NULL, IntArray, Mask

# So many digits fit every column; RE2 would count them a state each.
_DIGITS = 18


class LineTable:
    """The lines of a text, and what a pattern captures of each.

    Args:
        text: Whole lines, the last one perhaps without its end.
        pattern: What they look like, to the end of the line and with it.
    """

    def __init__(self, text: bytes, pattern: str) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self._text = text
        letters = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(letters == ord("\n")) + 1
        if text and not text.endswith(b"\n"):
            ends = np.append(ends, len(text))
        self._places = np.concatenate([[0], ends]).astype(np.int32)
        data = [None, pa.py_buffer(self._places), pa.py_buffer(text)]
        lines = pa.Array.from_buffers(pa.binary(), len(ends), data)
        # Millions of blank ones would have captures too.
        self._blank = _blank(letters, self._places)
        found = pc.extract_regex(lines if not self._blank.any() else lines.filter(_bits(~self._blank)), pattern)
        self.matched = np.zeros(len(ends), np.bool_)
        self.matched[~self._blank] = known(found)
        self._rows = found if not found.null_count else found.filter(found.is_valid())

    def line(self, index: int) -> bytes:
        """A line without its end."""
        return self._text[self._places[index] : self._places[index + 1]].rstrip(b"\r\n")

    def strange(self) -> list[int]:
        """The lines that the pattern does not match and that are not blank."""
        return [index for index in np.flatnonzero(~(self.matched | self._blank)).tolist() if self.line(index)]

    def present(self, name: str) -> Mask:
        """Of the lines that match, those that have this capture."""
        return self._lengths(name) > 0

    def numbers(self, name: str) -> IntArray:
        """A capture of digits, of each line that matches; NULL where there are none, or too many."""
        import pyarrow as pa

        found, lengths = self._column(name), self._lengths(name)
        usable = (lengths > 0) & (lengths <= _DIGITS)
        if not usable.all():
            found = found.filter(_bits(usable))
        values = np.full(len(usable), NULL, np.int64)
        values[usable] = values_of(found.cast(pa.string()).cast(pa.int64()))
        return values

    def fractions(self, name: str, digits: int) -> IntArray:
        """A capture of at most so many digits behind a decimal point, as a whole number of the last one's unit."""
        tens = 10 ** np.arange(digits, -1, -1)
        return np.asarray(self.numbers(name) * tens[self._lengths(name)])

    def coded(self, name: str) -> tuple[IntArray, list[bytes]]:
        """A capture of each line that matches as a code, and the distinct texts in order of appearance."""
        return coded(self._column(name))

    def _column(self, name: str) -> Any:
        return self._rows.field(name)

    def _lengths(self, name: str) -> IntArray:
        import pyarrow.compute as pc

        return values_of(pc.binary_length(self._column(name)))


def _blank(letters: NDArray[np.uint8], places: IntArray) -> Mask:
    """Which lines are their ends alone."""
    first = letters[places[:-1]]
    return np.asarray((first == ord("\n")) | ((first == ord("\r")) & (np.diff(places) == len("\r\n"))))


def _bits(mask: Mask) -> Any:
    """NumPy's truth values as Arrow's, by hand: to convert them, Arrow imports pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])
