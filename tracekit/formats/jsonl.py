"""The trace format itself: JSON Lines, plain or zstd-compressed (docs/trace.md).

A block of lines is decoded by msgspec into typed rows and turned into columns at once, so no object per op outlives its
block. The rows' type leaves out what is not an op; a block that holds anything else, or fails, is looked at line by line
to sort out headers, marks and trailers and to name the line and key that are wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

from tracekit.errors import InputError
from tracekit.formats.line_writer import LineWriter
from tracekit.formats.quick import QuickReader
from tracekit.formats.reader import LINE_LIMIT, Columns, Reader, join_columns, lines_in
from tracekit.output import replacing
from tracekit.trace import Trace

# Small enough that the rows of a block stay in the processor's cache while they become columns.
_BLOCK_BYTES = 1 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def load(path: str, *, time_unit: int, skip_bad: bool) -> Trace:
    """Read a whole file (see `tracekit.formats.load`)."""
    (whole,) = chunks(path, ops=sys.maxsize, time_unit=time_unit, skip_bad=skip_bad)
    return whole


def chunks(path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    reader = _reader(path, time_unit, skip_bad=skip_bad)
    pending: list[Columns] = []
    waiting = 0
    with _source(path) as file:
        for number, block, last in _blocks(file, path, reader):
            columns = reader.columns_of(number, block, last=last)
            pending.append(columns)
            waiting += len(columns["uri"])
            if waiting > ops:
                joined = join_columns(pending)
                for start in range(0, waiting - ops, ops):
                    yield reader.piece(_cut(joined, slice(start, start + ops)))
                pending = [_cut(joined, slice((waiting - 1) // ops * ops, waiting))]
                waiting = len(pending[0]["uri"])
    yield reader.finish(join_columns(pending))


def _reader(path: str, time_unit: int, *, skip_bad: bool) -> Reader:
    """The native core's reader where there is a core and times are nanoseconds, else the Python reader."""
    if time_unit == 1:
        try:
            from tracekit import _core
        except ImportError:
            pass
        else:
            return QuickReader(_core, path, skip_bad=skip_bad)
    return Reader(path, time_unit, skip_bad=skip_bad)


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Write a trace; `-` is standard output."""
    with writing(path, force=force) as writer:
        writer.whole(trace)


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[LineWriter]:
    """A writer of the file piece by piece (see `tracekit.formats.writing`)."""
    name = os.fspath(path)
    if name == "-":
        yield LineWriter(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with replacing(name, force=force) as file:
        yield LineWriter(file)


def _cut(columns: Columns, part: slice) -> Columns:
    return {name: array[part] for name, array in columns.items()}


# -- bytes in ---------------------------------------------------------------------------------------------------------


def _source(path: str) -> AbstractContextManager[IO[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    if path.endswith(".zst") or _begins_as_zstd(path):
        return _zstd_source(path)
    return open(path, "rb")


def _begins_as_zstd(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == _ZSTD_MAGIC


def _zstd_source(path: str) -> AbstractContextManager[IO[bytes]]:
    import pyarrow as pa

    source: AbstractContextManager[IO[bytes]] = pa.CompressedInputStream(pa.OSFile(path), "zstd")
    return source


def _blocks(file: IO[bytes], path: str, reader: Reader) -> Iterator[tuple[int, bytes, bool]]:
    """Blocks of whole lines with the number of their first line, and whether it is the file's unfinished end."""
    number, rest, skipping = 1, b"", False
    while data := _read(file, path, reader, first=number == 1 and not rest):
        end = data.rfind(b"\n") + 1
        if not end:
            rest += b"" if skipping else data
            if len(rest) > LINE_LIMIT:
                reader.too_long(number)
                rest, skipping = b"", True
            continue
        block = b"".join((rest, memoryview(data)[:end]))
        if skipping:
            # What is left of the line that was too long counts as one blank line.
            block, skipping = data[data.index(b"\n") : end], False
        yield number, block, False
        number += lines_in(block)
        rest = data[end:]
    if rest.strip():
        yield number, rest, True


def _read(file: IO[bytes], path: str, reader: Reader, *, first: bool) -> bytes:
    try:
        data = file.read(_BLOCK_BYTES)
    except OSError as error:
        if first:
            raise InputError(f"{path} cannot be read as a zstd file ({error})", "name a trace file") from None
        reader.warnings.append(f"{path}: the compressed data is damaged or cut short; what came before it was read")
        return b""
    return data.removeprefix(b"\xef\xbb\xbf") if first else data
