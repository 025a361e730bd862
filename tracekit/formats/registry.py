"""The table of formats: which module reads and writes which suffix.

A module offers what comes naturally to it; what it lacks is derived from what it has:

    load(path, *, time_unit, skip_bad) -> Trace             or from chunks
    chunks(path, *, ops, time_unit, skip_bad) -> Iterator   or from load
    writing(path, *, force) -> a context with a Writer      or from save
    save(trace, path, *, force)                             or from writing

`time_unit` is in nanoseconds. A module with neither of a pair only writes, or only reads. Modules are imported when a
file of theirs is met.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tracekit.errors import UnknownNameError, UsageError
from tracekit.formats.writer import Collector, Writer
from tracekit.trace import Trace, concatenate


@dataclass(frozen=True)
class Format:
    """One row of the table: a format's name, the suffixes of its files, its module, and what it is for."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    meaning: str
    reads: bool = True
    writes: bool = True
    # Whether it can go to standard output and come from standard input.
    streams: bool = False

    def load(self, path: str, *, time_unit: int, skip_bad: bool) -> Trace:
        """A whole file (see `tracekit.formats.load`)."""
        module = self._module
        if hasattr(module, "load"):
            return module.load(path, time_unit=time_unit, skip_bad=skip_bad)  # type: ignore[no-any-return]
        return concatenate(list(module.chunks(path, ops=_PIECE, time_unit=time_unit, skip_bad=skip_bad)))

    def chunks(self, path: str, *, ops: int, time_unit: int, skip_bad: bool) -> Iterator[Trace]:
        """A file piece by piece (see `tracekit.formats.chunks`)."""
        module = self._module
        if hasattr(module, "chunks"):
            yield from module.chunks(path, ops=ops, time_unit=time_unit, skip_bad=skip_bad)
        else:
            yield from pieces_of(module.load(path, time_unit=time_unit, skip_bad=skip_bad), ops)

    def save(self, trace: Trace, path: str | os.PathLike[str], *, force: bool) -> None:
        """Write a whole trace (see `tracekit.formats.save`)."""
        module = self._module
        if hasattr(module, "save"):
            module.save(trace, path, force=force)
            return
        with module.writing(path, force=force) as writer:
            writer.whole(trace)

    def writing(self, path: str | os.PathLike[str], *, force: bool) -> AbstractContextManager[Writer]:
        """A writer piece by piece (see `tracekit.formats.writing`)."""
        module = self._module
        if hasattr(module, "writing"):
            return module.writing(path, force=force)  # type: ignore[no-any-return]
        return self._collected(path, force=force)

    @contextmanager
    def _collected(self, path: str | os.PathLike[str], *, force: bool) -> Iterator[Writer]:
        collector = Collector()
        yield collector
        self._module.save(collector.trace(), path, force=force)

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(self.module)


_PIECE = 1 << 18
FORMATS = (
    Format("jsonl", (".jsonl",), "tracekit.formats.jsonl", "the trace format itself: JSON Lines", streams=True),
    Format("jsonl.zst", (".jsonl.zst",), "tracekit.formats.jsonl_zst", "the same, compressed with zstd"),
    Format(
        "parquet", (".parquet",), "tracekit.formats.parquet", "the same columns as a table, for DuckDB, Polars, pandas"
    ),
)
_BY_NAME = {one.name: one for one in FORMATS}


def named(name: str) -> Format:
    """The format of this name.

    Raises:
        UnknownNameError: If there is none; the nearest are proposed.
    """
    if name not in _BY_NAME:
        raise UnknownNameError("format", name, _BY_NAME)
    return _BY_NAME[name]


def by_suffix(path: str | os.PathLike[str]) -> Format | None:
    """The format that a file's name ends in; of several, the longest suffix counts."""
    name = Path(path).name
    fitting = [(len(suffix), one) for one in FORMATS for suffix in one.suffixes if name.endswith(suffix)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def to_write(path: str | os.PathLike[str]) -> Format:
    """The format in which a file of this name is written.

    Raises:
        UsageError: If the name does not say one, or tracekit only reads it.
    """
    found = by_suffix(path)
    if found is None:
        raise UsageError(f"the name {os.fspath(path)!r} does not say which format to write", _suffixes())
    return writable(found)


def writable(form: Format) -> Format:
    """The format itself.

    Raises:
        UsageError: If tracekit only reads it.
    """
    if not form.writes:
        raise UsageError(f"{form.name} is only read, not written", _suffixes())
    return form


def readable(form: Format) -> Format:
    """The format itself.

    Raises:
        UsageError: If tracekit only writes it.
    """
    if not form.reads:
        raise UsageError(f"{form.name} is only written, not read", "name a trace in another format")
    return form


def _suffixes() -> str:
    suffixes = [suffix for one in FORMATS if one.writes for suffix in one.suffixes]
    return f"end its name in {', '.join(suffixes[:-1])} or {suffixes[-1]}"


def pieces_of(trace: Trace, ops: int) -> Iterator[Trace]:
    """A trace in pieces as `chunks` gives them: marks with the first, the trailer with the last."""
    for start in range(0, max(len(trace), 1), ops):
        piece = trace.select(slice(start, start + ops))
        piece.marks = trace.marks if start == 0 else []
        piece.trailer = trace.trailer if start + ops >= len(trace) else None
        yield piece
