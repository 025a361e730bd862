"""Reads a Darshan log through the `darshan` package, in a process of its own: `python darshan_log.py LOG OUT`.

The package's C library ends the process on many damaged logs, and removes files by names that it takes from them: so it
is run apart, in an empty directory. OUT gets a line of JSON that says what the log says of the job, then for each record a line of
JSON and its segments as they lie in memory (`SEGMENT_BYTES` each: offset, length, start, end), writes first. It imports nothing
of tracekit, whose modules have names that others have too.

Importing the package takes longer than reading a log: pandas and NumPy come with it. So of the package only its declarations and
its library are loaded, by the places of their files; where that is not possible, the package does it all.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import resource
import struct
import sys
from collections.abc import Iterator
from typing import Any

# How it ends where the package said what is wrong; the sentence is in OUT. 2 is Python's own.
REFUSED = 3
MISSING = 4
SEGMENT_BYTES = 32
# MPI-IO goes down through POSIX: both would count every byte twice.
_MODULES = ("DXT_POSIX", "DXT_MPIIO")
_STRUCTS = ("darshan_mod_info", "darshan_job", "darshan_base_record", "darshan_name_record", "dxt_file_record")
_FUNCTIONS = ("open", "get_job", "get_exe", "get_modules", "get_record", "get_name_records")
_EXE_BYTES = 4096
# What a log can make of a few megabytes is bounded: two GiB of segments are 67 million.
_MOST_BYTES = 2 << 30
_MEMORY_BYTES = 4 << 30

Record = tuple[int, int, str, int, int, bytes]


def main(path: str, out: str) -> int:
    """Write the records of a log; how it went is the exit status."""
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != here]
    with open(out, "wb") as file:
        found = importlib.util.find_spec("darshan")
        if found is None or found.origin is None:
            return MISSING
        try:
            library = _Library.of(os.path.dirname(found.origin))
        except Exception:
            library = None
        try:
            if library:
                # Not with the whole package, whose libraries reserve memory for each processor.
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
            _write(_Quick(library, path) if library else _Whole(path), file)
        except Exception as error:
            file.seek(0)
            file.truncate()
            file.write(" ".join(str(error).encode("ascii", "replace").decode().split())[:200].encode())
            return REFUSED
    return 0


def _write(log: Any, file: Any) -> None:
    module = next((name for name in _MODULES if name in log.modules), None)
    first = {"module": module, "start": log.start, "version": log.version, "command": log.command}
    file.write(json.dumps(first).encode() + b"\n")
    if module is None:
        return
    names, room = log.names(), _MOST_BYTES
    for number, rank, host, writes, reads, segments in log.records(module):
        room -= len(segments)
        if room < 0:
            raise ValueError(f"it has more than {_MOST_BYTES // SEGMENT_BYTES:,} segments")
        # A record without a name was left out when the log was made; the package does not give it either.
        if number in names:
            about = {"name": names[number], "rank": rank, "host": host, "write": writes, "read": reads}
            file.write(json.dumps(about).encode() + b"\n" + segments)


class _Library:
    """The package's C library, with its own declarations of what is called."""

    def __init__(self, ffi: Any, functions: Any) -> None:
        self.ffi, self.functions = ffi, functions

    @classmethod
    def of(cls, folder: str) -> _Library:
        """Of the package in a folder; raises whatever is not as it was when this was written."""
        import cffi

        header = _loaded(folder, "backend/api_def_c.py").load_darshan_header()
        parts = [re.search(rf"^struct {name}\s*\{{.*?^\}};", header, re.MULTILINE | re.DOTALL) for name in _STRUCTS]
        calls = [re.search(rf"^[^\n;]*\bdarshan_log_{name}\([^;]*;", header, re.MULTILINE) for name in _FUNCTIONS]
        texts = [part.group() for part in (*parts, *calls) if part is not None]
        if len(texts) < len(_STRUCTS) + len(_FUNCTIONS):
            raise LookupError("a declaration is missing")
        ffi = cffi.FFI()
        ffi.cdef("typedef uint64_t darshan_record_id;\nvoid darshan_free(void *);\n" + "\n".join(texts))
        functions = _loaded(folder, "discover_darshan.py").find_utils(ffi, None)
        for name in _FUNCTIONS:
            getattr(functions, f"darshan_log_{name}")
        return cls(ffi, functions)


def _loaded(folder: str, name: str) -> Any:
    """A module of the package, without the package."""
    loader = importlib.machinery.SourceFileLoader(os.path.basename(name)[:-3], os.path.join(folder, name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class _Quick:
    """A log by way of the library alone."""

    def __init__(self, library: _Library, path: str) -> None:
        self._ffi, self._call = library.ffi, library.functions
        self._log = self._call.darshan_log_open(os.fsencode(path))
        if self._log == self._ffi.NULL:
            raise ValueError("Failed to open file")
        job = self._ffi.new("struct darshan_job *")
        self._done(self._call.darshan_log_get_job(self._log, job))
        exe = self._ffi.new("char[]", _EXE_BYTES)
        self._done(self._call.darshan_log_get_exe(self._log, exe))
        about = dict(line.partition("=")[::2] for line in self._text(job.metadata).splitlines())
        self.start = int(job.start_time_sec) * 10**9 + int(job.start_time_nsec)
        self.version, self.command = about.get("lib_ver", ""), self._text(exe)
        self.modules = {self._text(one.name): int(one.idx) for one in self._array("darshan_mod_info", "modules")}

    def names(self) -> dict[int, str]:
        """The names of records by their numbers."""
        return {int(one.id): self._text(one.name) for one in self._array("darshan_name_record", "name_records")}

    def records(self, module: str) -> Iterator[Record]:
        """Number, rank, host, writes, reads, and their segments."""
        size = self._ffi.sizeof("struct dxt_file_record")
        while True:
            # A place of its own for each: into one that is not empty the library writes, however small it is.
            place = self._ffi.new("void **")
            if self._call.darshan_log_get_record(self._log, self.modules[module], place) < 1:
                return
            one = self._ffi.cast("struct dxt_file_record *", place[0])
            writes, reads = int(one.write_count), int(one.read_count)
            if writes < 0 or reads < 0:
                raise ValueError("a record has fewer than no segments")
            segments = self._ffi.buffer(self._ffi.cast("char *", place[0]) + size, (writes + reads) * SEGMENT_BYTES)
            yield int(one.base_rec.id), int(one.base_rec.rank), self._text(one.hostname), writes, reads, bytes(segments)
            self._call.darshan_free(place[0])

    def _array(self, struct_name: str, what: str) -> Any:
        """What the library gives as an array of so many structures."""
        array, count = self._ffi.new(f"struct {struct_name} **"), self._ffi.new("int *")
        getattr(self._call, f"darshan_log_get_{what}")(self._log, array, count)
        return [array[0][number] for number in range(count[0])]

    def _text(self, value: Any) -> str:
        return str(self._ffi.string(value).decode("utf-8"))

    def _done(self, status: int) -> None:
        if status < 0:
            raise ValueError("the log's header cannot be read")


class _Whole:
    """The same by way of the whole package."""

    def __init__(self, path: str) -> None:
        import darshan

        self._report = darshan.DarshanReport(path, read_all=False)
        job = self._report.metadata.get("job", {})
        self.start = int(job["start_time_sec"]) * 10**9 + int(job.get("start_time_nsec", 0))
        self.version = str(job.get("metadata", {}).get("lib_ver", ""))
        self.command = str(self._report.metadata.get("exe", ""))
        self.modules = self._report.modules

    def names(self) -> dict[int, str]:
        """The names of records by their numbers."""
        self._report.read_name_records()
        names: dict[int, str] = self._report.name_records
        return names

    def records(self, module: str) -> Iterator[Record]:
        """Number, rank, host, writes, reads, and their segments."""
        self._report.mod_read_all_dxt_records(module, dtype="dict")
        for record in self._report.records.get(module, ()):
            parts = [record["write_segments"], record["read_segments"]]
            packed = [
                struct.pack("=qqdd", part["offset"], part["length"], part["start_time"], part["end_time"])
                for segments in parts
                for part in segments
            ]
            yield record["id"], int(record["rank"]), str(record["hostname"]), *map(len, parts), b"".join(packed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
