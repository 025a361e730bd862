"""The table of a request log as record batches: quickly where every cell is as it should be, else row by row with what is wrong.

Arrow converts cells while it parses, on all cores, and gives up at the first that it cannot convert. Then the file is read once
more as bytes, cell by cell, so that a bad row is named or counted; what was given already is not given again.
"""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tracekit.errors import InputError
from tracekit.formats.foreign import Foreign
from tracekit.formats.foreign_lines import blocks

_TEXTS = ("thread", "op", "endpoint", "file", "error")
_NUMBERS = ("bytes", "duration_ns")
_TIMES = ("start", "first_byte", "end")
_USED = (*_TEXTS, *_NUMBERS, *_TIMES)
_NEEDED = ("op", "bytes", "file", "start")
# Names are looked up for each block anew: large ones are quicker, until they no longer fit the caches.
_QUICK_BYTES = 1 << 23
_BLOCK_BYTES = 1 << 22
_START_BYTES = 1 << 12


def batches(source: Foreign, known: Sequence[str]) -> Iterator[Any]:
    """The rows of a log's table; of its columns those that are looked at.

    Args:
        source: The log; bad rows are counted there.
        known: The columns that such a table may have.

    Raises:
        InputError: If it is not such a table, or has a bad row and they are not skipped.
    """
    import pyarrow as pa

    given, warned = 0, len(source.told.warnings)
    stream = _Stream(source)
    used = _used(source, stream.start(), known)
    if used:
        try:
            for batch in _quick(stream, used):
                yield batch
                given += batch.num_rows
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            stream.stop()
            # What the first reading found at the end of a damaged file, the second will find again.
            del source.told.warnings[warned:]
            source.told.cut_short = False
        else:
            return
    for batch in _exact(source, used, known):
        skipped = min(given, batch.num_rows)
        given -= skipped
        if skipped < batch.num_rows:
            yield batch.slice(skipped)


def _quick(stream: _Stream, used: Sequence[str]) -> Iterator[Any]:
    """The rows with their cells converted; any row that is not as it should be ends it."""
    import pyarrow as pa
    from pyarrow import csv

    kinds = dict.fromkeys(_TEXTS, pa.dictionary(pa.int32(), pa.string()))
    kinds |= dict.fromkeys(_NUMBERS, pa.int64()) | dict.fromkeys(_TIMES, pa.timestamp("ns", "UTC"))
    yield from csv.open_csv(
        pa.PythonFile(stream.buffered, "r"),
        read_options=csv.ReadOptions(block_size=_QUICK_BYTES),
        parse_options=csv.ParseOptions(delimiter="\t", invalid_row_handler=_comment),
        convert_options=csv.ConvertOptions(
            column_types=kinds, check_utf8=False, strings_can_be_null=False, null_values=[""], include_columns=used
        ),
    )


def _comment(row: Any) -> str:
    # warp ends its log with the command line, as a comment.
    return "skip" if row.text.startswith("#") else "error"


def _exact(source: Foreign, used: Sequence[str], known: Sequence[str]) -> Iterator[Any]:
    """The rows with their cells as they stand there; those of a wrong number of columns are counted."""
    import pyarrow as pa
    from pyarrow import csv

    def wrong(row: Any) -> str:
        if _comment(row) == "error":
            source.told.bad += 1
            source.told.first_bad = (
                source.told.first_bad
                or f"{source.path}: a row of {row.actual_columns} columns instead of {row.expected_columns}"
            )
            if not source.skip_bad:
                return "error"
        return "skip"

    try:
        reader = csv.open_csv(
            pa.PythonFile(_Stream(source).buffered, "r"),
            read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter="\t", invalid_row_handler=wrong),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(known, pa.binary()),
                check_utf8=False,
                strings_can_be_null=False,
                include_columns=used,
            ),
        )
    except pa.ArrowKeyError:
        # A quote or a carriage return within it: it ends elsewhere than its line does.
        raise InputError(f"{source.path}:1: the header is damaged", f"is it a log of {source.TOOL}?") from None
    _check_once(source, reader.schema.names, known)
    yield from reader


def _used(source: Foreign, start: bytes, known: Sequence[str]) -> list[str]:
    """The columns that are looked at, of those that the file's first line names; none where it is too long to say."""
    first, end, _ = start.partition(b"\n")
    exact = first.rstrip(b"\r").decode("utf-8", "replace").split("\t")
    names = [name.strip() for name in exact]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InputError(
            f"{source.path}:1: the header has no column {', '.join(missing)}", f"is it a log of {source.TOOL}?"
        )
    _check_once(source, names, known)
    return [name for name in _USED if name in exact] if end and exact == names else []


def _check_once(source: Foreign, names: Sequence[str], known: Sequence[str]) -> None:
    twice = next((name for name in known if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"{source.path}:1: the header names the column {twice} more than once", f"is it a log of {source.TOOL}?"
        )


class _Stream(io.RawIOBase):
    """The file's bytes as a stream of UTF-8, which a thread of Arrow's reads."""

    def __init__(self, source: Foreign) -> None:
        self._parts = _utf8(blocks(source))
        self._rest = memoryview(b"")
        self._reading = threading.Lock()
        self._stopped = False
        self.buffered = io.BufferedReader(self, _BLOCK_BYTES)

    def start(self) -> bytes:
        """The first bytes, which are read again."""
        return self.buffered.peek(_START_BYTES)

    def stop(self) -> None:
        """From here on there is nothing more; whoever reads just now is waited for."""
        with self._reading:
            self._stopped = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._reading:
            if not self._rest and not self._stopped:
                self._rest = memoryview(next(self._parts, b""))
            count = 0 if self._stopped else min(len(buffer), len(self._rest))
            buffer[:count], self._rest = self._rest[:count], self._rest[count:]
            return count


def _utf8(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same with bytes that are no UTF-8 written as backslash escapes, as names in a trace are."""
    # The handler of bad rows gets their text, and would be broken by other bytes.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for part in parts:
        if part.isascii() and not decoder.getstate()[0]:
            yield part
        elif text := decoder.decode(part).encode():
            yield text
    if text := decoder.decode(b"", final=True).encode():
        yield text
