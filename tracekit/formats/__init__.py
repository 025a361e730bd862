"""Trace files: one module per format, chosen by suffix (the table is `tracekit.filetypes`).

`.jsonl` and `.jsonl.zst` are the trace format itself (docs/trace.md). `-` is standard input or output, as `.jsonl`; a pipe may stand
for a file that is read (see `pipes`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from tracekit import pipes
from tracekit.errors import InputError, UnknownNameError, UsageError
from tracekit.formats import ordered, parted, registry, several
from tracekit.formats.writer import Writer
from tracekit.joining import concatenate, merge
from tracekit.output import check_output
from tracekit.trace import COLUMNS, Mark, Trace
from tracekit.units import TIME_UNITS_NS

_PARQUET_MAGIC = b"PAR1"
_PART_OPS = 1 << 18


def load(
    path: str | os.PathLike[str],
    *,
    time_unit: str = "ns",
    skip_bad: bool = False,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
    columns: Collection[str] | None = None,
) -> Trace:
    """Read a whole trace into columns.

    Args:
        path: The file, or `-` for standard input. A directory or a glob is all traces in it, merged by time.
        time_unit: The unit of the times of a file that has no header: ns, us, ms or s.
        skip_bad: Keep the good lines of a damaged file; the trace's warnings say how many were left out.
        form: The name of the file's format, where neither its suffix nor its content says it.
        options: What another tool's file does not say itself; the names are the format's.
        columns: The columns that will be looked at, where that is not all of them: the others are null, and Parquet does not
            read them. `uri`, `len`, `t_submit` and `op` are always there.

    Raises:
        UsageError: If there is no such column.
        InputError: If the file is missing, unreadable, empty or of no known format.
        TraceFormatError: If a line breaks the format (and `skip_bad` is false), with file:line and key.
    """
    _check_columns(columns)
    unit, sources = _time_unit(time_unit), _sources(path, form)
    traces = []
    for files in sources:
        if len(files) > 1:
            parts = parted.chunks(files, ops=_PART_OPS, time_unit=unit, skip_bad=skip_bad, columns=columns)
            traces.append(concatenate(list(parts)))
        else:
            how = _format_of(files[0], form)
            traces.append(how.load(files[0], time_unit=unit, skip_bad=skip_bad, options=options, columns=columns))
    if len(traces) == 1:
        return traces[0]
    merged = merge(traces)
    merged.warnings = [*several.mixed([(trace.header, several.last_of(trace)) for trace in traces]), *merged.warnings]
    return merged


def chunks(
    path: str | os.PathLike[str],
    *,
    ops: int = 65_536,
    time_unit: str = "ns",
    skip_bad: bool = False,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
    columns: Collection[str] | None = None,
) -> Iterator[Trace]:
    """Read a trace file piece by piece in bounded memory: traces of at most about `ops` ops that share their tables.

    The header comes with every piece; marks come with the piece in which they stood; only the last piece has the trailer.
    Arguments and errors are those of `load`.
    """
    _check_columns(columns)
    unit = _time_unit(time_unit)
    readers = [
        partial(_parts, files, unit, columns, skip_bad=skip_bad)
        if len(files) > 1
        else partial(_pieces, files[0], _format_of(files[0], form), unit, options, columns, skip_bad=skip_bad)
        for files in _sources(path, form)
    ]
    return several.chunks(readers, ops) if len(readers) > 1 else readers[0](ops)


def fold(
    path: str | os.PathLike[str],
    start: Callable[[Sequence[Mark]], ordered.Filled],
    *,
    time_unit: str = "ns",
    skip_bad: bool = False,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
) -> ordered.Filled:
    """Read a trace once, in bounded memory: its pieces are given to a sink in order of submission, and the sink is returned.

    A file that is not in that order, or whose marks stand between its ops, is read a second time.

    Args:
        path: As of `load`, like the arguments below and the errors.
        start: Makes a sink, something with `update(piece)`, of all marks of the trace.
        time_unit: As of `load`.
        skip_bad: As of `load`.
        form: As of `load`.
        options: As of `load`.
    """

    def read(ops: int) -> Iterator[Trace]:
        return chunks(path, ops=ops, time_unit=time_unit, skip_bad=skip_bad, form=form, options=options)

    return ordered.fold(read, start, again=pipes.place(path) != pipes.STDIN)


def _pieces(
    path: str,
    form: registry.Format,
    unit: int,
    options: registry.Options,
    columns: registry.Wanted,
    ops: int,
    *,
    skip_bad: bool,
) -> Iterator[Trace]:
    return form.chunks(path, ops=ops, time_unit=unit, skip_bad=skip_bad, options=options, columns=columns)


def _parts(paths: Sequence[str], unit: int, columns: registry.Wanted, ops: int, *, skip_bad: bool) -> Iterator[Trace]:
    return parted.chunks(paths, ops=ops, time_unit=unit, skip_bad=skip_bad, columns=columns)


def _sources(path: str | os.PathLike[str], form: str | None) -> list[list[str]]:
    """The traces that a name means: the file of each, or its parts."""
    files = list(map(_readable, several.expand(os.fspath(path))))
    return parted.groups(files) if form in (None, "parquet") else [[file] for file in files]


def _check_columns(columns: Collection[str] | None) -> None:
    for name in columns or ():
        if name not in COLUMNS:
            raise UnknownNameError("column", name, COLUMNS)


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True, form: str | None = None) -> None:
    """Write a trace; the suffix (or `form`) says how. The file appears under its name only when it is complete.

    Raises:
        UsageError: If the suffix is of no known format.
        OutputExistsError: If the file exists and `force` is false.
    """
    check_save(path, force=force, form=form)
    _format_to_write(path, form).save(trace, path, force=force)


def writing(
    path: str | os.PathLike[str],
    *,
    force: bool = True,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
) -> AbstractContextManager[Writer]:
    """Write a trace piece by piece in bounded memory; the suffix (or `form`) says how (errors as for `save`).

    The file appears under its name when the block ends well; when it raises, nothing is left.
    """
    check_save(path, force=force, form=form)
    return _format_to_write(path, form).writing(path, force=force, options=options)


def check_save(path: str | os.PathLike[str], *, force: bool = True, form: str | None = None) -> None:
    """Fail now if `save` would fail later for the name or the place (errors as there)."""
    chosen = _format_to_write(path, form)
    if os.fspath(path) != "-":
        check_output(path, force=force)
    elif not chosen.streams:
        raise UsageError(f"{chosen.name} cannot go to standard output", "name a file, or write jsonl")


def _format_to_write(path: str | os.PathLike[str], form: str | None) -> registry.Format:
    if form is None and os.fspath(path) == "-":
        form = "jsonl"
    return registry.to_write(path) if form is None else registry.writable(registry.named(form))


def _format_of(path: str, form: str | None) -> registry.Format:
    """The format a file is read as: as named, by its suffix, by how it begins, else as lines."""
    if form is not None:
        chosen = registry.readable(registry.named(form))
        if path == "-" and not chosen.streams:
            raise UsageError(f"{form} cannot be read from standard input", "name a file")
        return chosen
    found = None if path == "-" else registry.by_suffix(path)
    if found is None and path != "-":
        with open(path, "rb") as file:
            found = registry.named("parquet") if file.read(4) == _PARQUET_MAGIC else registry.by_content(path)
    return registry.readable(found or registry.named("jsonl"))


def _readable(path: str | os.PathLike[str]) -> str:
    text = pipes.place(path)
    if text == pipes.STDIN:
        return text
    try:
        with open(text, "rb") as file:
            if not file.read(1):
                raise InputError(f"{text} is empty", "a trace has at least one op line; was the recording cut short?")
    except FileNotFoundError:
        raise no_trace(text) from None
    except OSError as error:
        way_out = "check its permissions" if isinstance(error, PermissionError) else "name a trace file"
        raise InputError(f"{text} cannot be read: {error.strerror}", way_out) from None
    return text


def no_trace(name: str) -> InputError:
    """The error that there is no trace of this name."""
    if "://" in name:
        return InputError(f"{name} is no file", "a trace is read from a file: name its path, or fetch it first")
    return InputError(f"there is no trace {name}", "check the name, or make one with tracekit record")


def _time_unit(unit: str) -> int:
    if unit not in TIME_UNITS_NS:
        raise UnknownNameError("time unit", unit, TIME_UNITS_NS)
    return TIME_UNITS_NS[unit]
