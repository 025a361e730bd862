"""The trace format itself: JSON Lines, plain or zstd-compressed (docs/trace.md).

A block of lines is decoded by msgspec into typed rows and turned into columns at once, so no object per op outlives its
block. The rows' type leaves out what is not an op; a block that holds anything else, or fails, is looked at line by line
to sort out headers, marks and trailers and to name the line and key that are wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tracekit.errors import InputError
from tracekit.formats import reading
from tracekit.formats.line_writer import LineWriter
from tracekit.formats.native import native_core
from tracekit.formats.quick import QuickReader
from tracekit.formats.reader import LINE_LIMIT, Block, Columns, Reader, join_columns
from tracekit.output import replacing
from tracekit.trace import Trace

# Small enough that the rows of a block stay in the processor's cache while they become columns.
_BLOCK_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


def load(path: str, *, time_unit: int, skip_bad: bool) -> Trace:
    """Read a whole file (see `tracekit.formats.load`)."""
    (whole,) = chunks(path, ops=sys.maxsize, time_unit=time_unit, skip_bad=skip_bad)
    return whole


def chunks(path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:
    """Read a file piece by piece (see `tracekit.formats.chunks`)."""
    reader = _reader(path, time_unit, skip_bad=skip_bad)
    pending: list[Columns] = []
    waiting = 0
    with reading.unpacked(path) as file:
        for block in _blocks(file, path, reader):
            columns = reader.columns_of(block)
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
        core = native_core()
        if core:
            return QuickReader(core, path, skip_bad=skip_bad)
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


def _blocks(file: IO[bytes], path: str, reader: Reader) -> Iterator[Block]:
    """Blocks of whole lines, all in one buffer: what a block shows is there until the next is asked for."""
    number, kept, skipping, buffer = 1, 0, False, bytearray()
    while True:
        if len(buffer) < kept + _BLOCK_BYTES:
            # Never resized: somebody may still hold the block before.
            buffer = buffer + bytes(_BLOCK_BYTES + 2 * kept - len(buffer))
        view = memoryview(buffer)
        stop = kept + _read(file, path, reader, view[kept : kept + _BLOCK_BYTES], first=number == 1 and not kept)
        if stop == kept:
            break
        begin = len(_BOM) if number == 1 and not kept and buffer.startswith(_BOM, 0, stop) else 0
        end = buffer.rfind(b"\n", kept, stop) + 1
        if not end:
            begin = stop if skipping else begin
            buffer[: stop - begin] = view[begin:stop]
            kept = stop - begin
            if kept > LINE_LIMIT:
                reader.too_long(number)
                kept, skipping = 0, True
            continue
        if skipping:
            # What is left of the line that was too long counts as one blank line.
            begin, skipping = buffer.index(b"\n"), False
        lines = reader.lines_in(view[begin:end])
        yield Block(number, lines, view[begin:end], last=False)
        number += lines
        kept = stop - end
        buffer[:kept] = view[end:stop]
    if buffer[:kept].strip():
        yield Block(number, 1, view[:kept], last=True)


def _read(file: IO[bytes], path: str, reader: Reader, room: memoryview, *, first: bool) -> int:
    """Fill the room with what comes next; how many bytes there were."""
    try:
        # What is in pyarrow reads into memory too, but does not say so.
        return int(file.readinto(room))  # type: ignore[attr-defined]
    except reading.DAMAGED as error:
        if first:
            raise InputError(f"{path} cannot be decompressed ({error})", "name a whole trace file") from None
        reader.warnings.append(f"{path}: the compressed data is damaged or cut short; what came before it was read")
        return 0
