"""Reading lines with the native parser: plain ops become columns in C, any other line is the Python reader's.

What comes out is the same as the Python reader's, value for value and message for message; a property test and a fuzzer
hold the two against each other.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tracekit.formats.lines import OpLine
from tracekit.formats.reader import OP_KEYS, Block, Columns, Reader
from tracekit.trace import ALWAYS, COLUMNS, NULL, IntArray, encode_samples, name_code

# Columns that a trace has whether or not any op has a value there.
_ALWAYS = sum(1 << number for number, name in enumerate(OP_KEYS) if name in ALWAYS)
_TEXTS = [(number, name) for number, name in enumerate(OP_KEYS) if COLUMNS[name].category or name == "sample_id"]


class QuickReader(Reader):
    """A reader whose plain lines are read by the core.

    Args:
        core: The module `tracekit._core`.
        path: The file's name, for messages.
        skip_bad: Whether bad lines are counted instead of raised.
    """

    def __init__(self, core: ModuleType, path: str, *, skip_bad: bool) -> None:
        super().__init__(path, 1, skip_bad=skip_bad)
        self._core = core
        self._parser = core.parser()

    def lines_in(self, text: memoryview) -> int:
        """How many lines end in a text."""
        return int(self._core.parser_lines(_address(text), len(text)))

    def columns_of(self, block: Block) -> Columns:
        """The columns of a block; what is no op is kept aside."""
        text = memoryview(bytes(block.text) + b"\n") if block.last else block.text
        arrays = [np.empty(block.lines, COLUMNS[name].dtype) for name in OP_KEYS]
        addresses = np.array([array.ctypes.data for array in arrays], np.uint64)
        number, position, rows, present = block.number, 0, 0, _ALWAYS
        while True:
            position, end, filled, lines, present = self._core.parser_run(
                self._parser, _address(text), len(text), position, addresses.ctypes.data, rows, block.lines, present
            )
            self.ops += filled - rows
            number, rows = number + lines, filled
            self._learn()
            if position >= len(text):
                break
            row = self._unusual(number, bytes(text[position:end]), last=block.last)
            if row is not None:
                present |= self._put(arrays, rows, row, present)
                rows += 1
            position, number = end + 1, number + 1
        named = zip(OP_KEYS, arrays, strict=True)
        return {name: array[:rows] for bit, (name, array) in enumerate(named) if present & (1 << bit)}

    def _unusual(self, line: int, text: bytes, *, last: bool) -> OpLine | None:
        return self._row(line, text, last=last) if text.strip() else None

    def _learn(self) -> None:
        """Take over the strings that the core met for the first time."""
        for number, name in _TEXTS:
            for text in self._core.parser_new_strings(self._parser, number):
                self.tables[name].code(text)

    def _put(self, arrays: list[IntArray], at: int, row: OpLine, present: int) -> int:
        """Write a row that the core did not read; the columns that got their first value by it, as bits."""
        begun = 0
        for number, (name, array) in enumerate(zip(OP_KEYS, arrays, strict=True)):
            array[at] = code = self._code(number, name, getattr(row, name))
            if code != NULL and not present >> number & 1:
                # The rows so far have no value here, and nobody has said so yet.
                array[:at] = NULL
                begun |= 1 << number
        return begun

    def _code(self, number: int, name: str, value: Any) -> int:
        table = self.tables.get(name)
        if name == "op" and value is None:
            value = "read"
        if value is None:
            return NULL
        if table is None:
            return int(value)
        if name != "sample_id":
            return self._agreed(number, value, table.code(value))
        code = int(encode_samples([value], table)[0])
        if code < NULL:
            self._agreed(number, str(value), name_code(code))
        return code

    def _agreed(self, number: int, text: str, code: int) -> int:
        theirs = self._core.parser_intern(self._parser, number, text)
        assert theirs == code, f"the core has code {theirs} for {text!r}, the reader {code}"
        return code


def _address(text: memoryview) -> int:
    return int(np.frombuffer(text, np.uint8).ctypes.data)
