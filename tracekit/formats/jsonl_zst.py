"""The trace format compressed with zstd, under whatever name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tracekit.formats.frames import FrameSink
from tracekit.formats.jsonl import chunks, load
from tracekit.formats.line_writer import LineWriter
from tracekit.output import replacing

__all__ = ["chunks", "load", "writing"]


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[LineWriter]:
    """A writer of the file piece by piece (see `tracekit.formats.writing`)."""
    with replacing(path, force=force) as file, FrameSink(file) as sink:
        yield LineWriter(sink)
