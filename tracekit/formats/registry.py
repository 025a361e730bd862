"""What reads and writes each format of the table (`tracekit.filetypes`).

A module offers what comes naturally to it; what it lacks is derived from what it has:

    load(path, *, time_unit, skip_bad) -> Trace             or from chunks
    chunks(path, *, ops, time_unit, skip_bad) -> Iterator   or from load
    writing(path, *, force) -> a context with a Writer      or from save
    save(trace, path, *, force)                             or from writing

`time_unit` is in nanoseconds. A module with neither of a pair only writes, or only reads. Another tool's format names its
importer (a `tracekit.formats.foreign.Foreign`) instead. Modules are imported when a file of theirs is met.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from tracekit.errors import UnknownNameError, UsageError, nearest
from tracekit.filetypes import TYPES, FileType
from tracekit.formats import imported, reading
from tracekit.formats.foreign import Foreign
from tracekit.formats.writer import Collector, Writer
from tracekit.joining import concatenate
from tracekit.trace import ALWAYS, NULL, Trace

Options = Mapping[str, str] | None
# The columns that are looked at; None is all.
Wanted = Collection[str] | None


class Format(FileType):
    """A row of the table with the code behind it."""

    def load(
        self, path: str, *, time_unit: int, skip_bad: bool, options: Options = None, columns: Wanted = None
    ) -> Trace:
        """A whole file (see `tracekit.formats.load`)."""
        if columns is not None and self.projects:
            self._check_options(options, self.reader_options)
            return self._module.load(path, time_unit=time_unit, skip_bad=skip_bad, columns=columns)  # type: ignore[no-any-return]
        return narrowed(self._load(path, time_unit, options, skip_bad=skip_bad), columns)

    def _load(self, path: str, time_unit: int, options: Options, *, skip_bad: bool) -> Trace:
        module = self._module
        self._check_options(options, self.reader_options)
        if self.importer:
            return imported.load(self._source(path, time_unit, options, skip_bad=skip_bad))
        if hasattr(module, "load"):
            return module.load(path, time_unit=time_unit, skip_bad=skip_bad)  # type: ignore[no-any-return]
        return concatenate(list(module.chunks(path, ops=_PIECE, time_unit=time_unit, skip_bad=skip_bad)))

    def chunks(
        self, path: str, *, ops: int, time_unit: int, skip_bad: bool, options: Options = None, columns: Wanted = None
    ) -> Iterator[Trace]:
        """A file piece by piece (see `tracekit.formats.chunks`)."""
        if columns is not None and self.projects:
            self._check_options(options, self.reader_options)
            yield from self._module.chunks(path, ops=ops, time_unit=time_unit, skip_bad=skip_bad, columns=columns)
            return
        for piece in self._chunks(path, ops, time_unit, options, skip_bad=skip_bad):
            yield narrowed(piece, columns)

    def _chunks(self, path: str, ops: int, time_unit: int, options: Options, *, skip_bad: bool) -> Iterator[Trace]:
        module = self._module
        self._check_options(options, self.reader_options)
        if self.importer:
            yield from imported.chunks(self._source(path, time_unit, options, skip_bad=skip_bad), ops=ops)
        elif hasattr(module, "chunks"):
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

    def writing(
        self, path: str | os.PathLike[str], *, force: bool, options: Options = None
    ) -> AbstractContextManager[Writer]:
        """A writer piece by piece (see `tracekit.formats.writing`)."""
        module = self._module
        self._check_options(options, self.writer_options)
        if hasattr(module, "writing"):
            return module.writing(path, force=force, **(options or {}))  # type: ignore[no-any-return]
        return self._collected(path, force=force)

    @contextmanager
    def _collected(self, path: str | os.PathLike[str], *, force: bool) -> Iterator[Writer]:
        collector = Collector()
        yield collector
        self._module.save(collector.trace(), path, force=force)

    def _check_options(self, given: Options, known: Mapping[str, str]) -> None:
        for name in given or {}:
            if name not in known:
                raise UnknownNameError(f"{self.name} option", name, known)

    def begins(self, start: bytes) -> bool:
        """Whether a file that begins with these bytes, decompressed, looks like one of this format."""
        if not self.importer:
            return False
        looks = self._importer.LOOKS
        return looks is not None and looks.match(start) is not None

    def _source(self, path: str, time_unit: int, options: Options, *, skip_bad: bool) -> Foreign:
        return self._importer(path, skip_bad=skip_bad, options=options, time_unit=time_unit)

    @property
    def _importer(self) -> type[Foreign]:
        return getattr(self._module, self.importer)  # type: ignore[no-any-return]

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(self.module)


_PIECE = 1 << 18
_START_BYTES = 1 << 12
FORMATS = tuple(Format(**vars(row)) for row in TYPES)
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


def by_content(path: str) -> Format | None:
    """The other tool's format that a file's first bytes look like; None where they look like none."""
    try:
        with reading.unpacked(path) as file:
            start = file.read(_START_BYTES)
    except reading.DAMAGED:
        return None
    return next((one for one in FORMATS if one.begins(start)), None)


def to_write(path: str | os.PathLike[str]) -> Format:
    """The format in which a file of this name is written.

    Raises:
        UsageError: If the name does not say one, or tracekit only reads it.
    """
    found = by_suffix(path)
    if found is None:
        way_out = _suffixes()
        if near := nearest(_suffix(path), [suffix for one in FORMATS if one.writes for suffix in one.suffixes]):
            way_out = f"did you mean {near}? Else {way_out}"
        raise UsageError(f"the name {os.fspath(path)!r} does not say which format to write", way_out)
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
        suffixes = ", ".join(form.suffixes)
        raise UsageError(f"{form.name} ({suffixes}) is only written, not read", "name a trace in another format")
    return form


def _suffix(path: str | os.PathLike[str]) -> str:
    name = os.path.basename(os.fspath(path))
    return name[name.find(".") :] if "." in name else ""


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


def narrowed(trace: Trace, columns: Wanted) -> Trace:
    """A trace with these columns; of the others those that every trace has stay: uri, len, t_submit and op as they are, offset null."""
    if columns is None:
        return trace
    kept = {name: array for name, array in trace.columns.items() if name in columns or name in ALWAYS}
    if "offset" not in columns:
        kept["offset"] = np.full(len(trace), NULL, np.int64)
    tables = {name: table for name, table in trace.tables.items() if name in kept}
    return Trace(kept, tables, trace.marks, trace.header, trace.trailer, trace.warnings)
