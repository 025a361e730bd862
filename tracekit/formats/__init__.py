"""Trace files: one module per format, chosen by suffix.

`.jsonl` and `.jsonl.zst` are the trace format itself (docs/trace.md). `-` is standard input or output, as `.jsonl`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from tracekit.errors import InputError, UsageError
from tracekit.formats import jsonl
from tracekit.formats.writer import Writer
from tracekit.output import check_output
from tracekit.trace import Trace
from tracekit.units import TIME_UNITS_NS

_BY_SUFFIX: dict[str, ModuleType] = {".jsonl": jsonl, ".jsonl.zst": jsonl}


def load(path: str | os.PathLike[str], *, time_unit: str = "ns", skip_bad: bool = False) -> Trace:
    """Read a whole trace file into columns.

    Args:
        path: The file, or `-` for standard input.
        time_unit: The unit of the times of a file that has no header: ns, us, ms or s.
        skip_bad: Keep the good lines of a damaged file; the trace's warnings say how many were left out.

    Raises:
        InputError: If the file is missing, unreadable, empty or of no known format.
        TraceFormatError: If a line breaks the format (and `skip_bad` is false), with file:line and key.
    """
    return jsonl.load(_readable(path), time_unit=_time_unit(time_unit), skip_bad=skip_bad)


def chunks(
    path: str | os.PathLike[str], *, ops: int = 65_536, time_unit: str = "ns", skip_bad: bool = False
) -> Iterator[Trace]:
    """Read a trace file piece by piece in bounded memory: traces of at most about `ops` ops that share their tables.

    The header comes with every piece; marks come with the piece in which they stood; only the last piece has the trailer.
    Arguments and errors are those of `load`.
    """
    return jsonl.chunks(_readable(path), ops=ops, time_unit=_time_unit(time_unit), skip_bad=skip_bad)


def save(trace: Trace, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Write a trace; the suffix says how. The file appears under its name only when it is complete.

    Raises:
        UsageError: If the suffix is of no known format.
        OutputExistsError: If the file exists and `force` is false.
    """
    check_save(path, force=force)
    jsonl.save(trace, path)


def writing(path: str | os.PathLike[str], *, force: bool = True) -> AbstractContextManager[Writer]:
    """Write a trace piece by piece in bounded memory; the suffix says how (errors as for `save`).

    The file appears under its name when the block ends well; when it raises, nothing is left.
    """
    check_save(path, force=force)
    return jsonl.writing(path, force=force)


def check_save(path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Fail now if `save` would fail later for the name or the place (errors as there)."""
    if os.fspath(path) == "-":
        return
    _module_for(path)
    check_output(path, force=force)


def _module_for(path: str | os.PathLike[str]) -> ModuleType:
    name = Path(path).name
    for suffix, module in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return module
    raise UsageError(
        f"the name {os.fspath(path)!r} does not say which format to write", f"end it in {' or '.join(_BY_SUFFIX)}"
    )


def _readable(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if text == "-":
        return text
    try:
        with open(text, "rb") as file:
            if not file.read(1):
                raise InputError(f"{text} is empty", "a trace has at least one op line; was the recording cut short?")
    except FileNotFoundError:
        raise InputError(f"there is no trace {text}", "check the name, or make one with tracekit record") from None
    except OSError as error:
        way_out = "check its permissions" if isinstance(error, PermissionError) else "name a trace file"
        raise InputError(f"{text} cannot be read: {error.strerror}", way_out) from None
    return text


def _time_unit(unit: str) -> int:
    if unit not in TIME_UNITS_NS:
        raise UsageError(f"{unit!r} is not a time unit", f"use one of {', '.join(sorted(TIME_UNITS_NS))}")
    return TIME_UNITS_NS[unit]
