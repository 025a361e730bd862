"""Whether what is to be made fits where it is to go; asked before the first byte is written."""

from __future__ import annotations

import os
from pathlib import Path

from tracekit.errors import InputError
from tracekit.machine import in_memory
from tracekit.units import counted, format_bytes
from tracekit.uri import local_path, scheme_of
from tracekit.workload.job import DataSet

# What a file takes besides its content: a part of a block, an inode, its name.
_FILE_BYTES = 4096
_SPARE = 0.02
_MEMORY_SHARE = 0.5


def wanted_bytes(data: DataSet, files: int) -> int:
    """About how many bytes a number of files of the data set takes; rather too many. Compression is not counted on."""
    from tracekit.workload.datagen.registry import format_of  # who only asks for room needs no format

    per_file, per_sample, factor = format_of(data).extra
    if data.format == "csv":
        factor += 6 / data.samples_per_file  # its line of column numbers
    samples = files * data.samples_per_file
    return round(files * (per_file + _FILE_BYTES) + samples * (per_sample + data.record_bytes.mean * factor))


def check(uri: str, wanted: int, files: int, what: str = "the data set", option: str = "--data") -> list[str]:
    """Refuse what does not fit; what should be known besides is returned. Object stores are not asked: they do not tell.

    Args:
        uri: Where it goes.
        wanted: Bytes that it takes.
        files: How many files it has.
        what: What it is.
        option: By which option another place is named.

    Raises:
        InputError: If the file system has too little room or too few inodes, or is in memory and the data would fill that.
    """
    if not scheme_of(uri).local:
        return []
    place = _existing(os.path.abspath(local_path(uri)))
    state = os.statvfs(place)
    free = int(state.f_bavail * state.f_frsize * (1 - _SPARE))
    if wanted > free:
        raise InputError(
            f"{what} needs {format_bytes(wanted)} and {place} has {format_bytes(free)} free",
            f"name a larger file system with {option}, or make fewer or smaller files",
        )
    if state.f_files and files > state.f_favail:
        raise InputError(
            f"{what} has {counted(files, 'file')} and {place} has {counted(state.f_favail, 'inode')} left",
            f"name another file system with {option}, or put more samples into a file",
        )
    if not in_memory(place):
        return []
    available = _available_memory()
    if available is not None and wanted > available * _MEMORY_SHARE:
        raise InputError(
            f"{place} is in memory, {what} needs {format_bytes(wanted)} and {format_bytes(available)} of memory are available",
            f"name a directory on a device with {option}",
        )
    return [f"{place} is a file system in memory: what is made there is never read from a device"]


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    return path


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
