"""Darshan logs with DXT: every POSIX read and write of a job, with offset, length, start and end.

Read through the `darshan` package, which needs its log whole in memory; Darshan bounds what a process may trace. Opens, closes and
stdio are counters in such a log, not ops, and are not imported. DXT names no thread: a rank's segments form one stream.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, ClassVar

from tracekit.errors import CannotRunError, InputError
from tracekit.formats.foreign import Foreign
from tracekit.uri import file_uri

_MODULES = ("DXT_POSIX", "DXT_MPIIO")
_NS = 1_000_000_000


class Darshan(Foreign):
    """A `.darshan` log."""

    NAME: ClassVar[str] = "darshan"
    TOOL: ClassVar[str] = "Darshan"
    FIELDS: ClassVar[tuple[str, ...]] = (
        "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "pid", "tid", "rank", "layer",
    )  # fmt: skip

    def begin(self) -> None:
        """The log is read once for both passes."""
        if not hasattr(self, "_report"):
            self._report = _report(self.path)

    def facts(self) -> dict[str, Any]:
        """The command, the version of the library and the hosts."""
        job = self._report.metadata.get("job", {})
        hosts = sorted({str(record["hostname"]) for _, record in self._records()})
        return {
            "version": str(job.get("metadata", {}).get("lib_ver", "")),
            "command": str(self._report.metadata.get("exe", "")).split(),
            "host": {"name": ", ".join(hosts)} if hosts else {},
        }

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The segments, file by file and rank by rank."""
        names = self._report.name_records
        start = self._report.metadata["job"]
        origin = int(start["start_time_sec"]) * _NS + int(start.get("start_time_nsec", 0))
        for module, record in self._records():
            name = str(names.get(record["id"], f"darshan:{record['id']}"))
            uri = file_uri(name) if name.startswith("/") else name
            rank = int(record["rank"])
            who = (None, None, rank if rank >= 0 else None, module[4:].lower())
            for op in ("read", "write"):
                for part in record[f"{op}_segments"]:
                    begin, end = origin + round(part["start_time"] * _NS), origin + round(part["end_time"] * _NS)
                    size = int(part["length"])
                    if begin < 0 or end < begin or part["offset"] < 0:
                        self.leave_out("segments without usable times or offset")
                        continue
                    yield (uri, int(part["offset"]), size, begin, op, end, size, *who)

    def _records(self) -> Iterator[tuple[str, Any]]:
        for module in _MODULES:
            for record in self._report.records.get(module, ()):
                yield module, record


def _report(path: str) -> Any:
    try:
        import darshan
    except ImportError:
        raise CannotRunError(
            "reading Darshan logs needs the package darshan",
            "pip install 'tracekit-io[darshan]', or pip install darshan",
        ) from None
    try:
        # It talks on standard output.
        with redirect_stdout(io.StringIO()):
            report = darshan.DarshanReport(path, read_all=False)
            # MPI-IO goes down through POSIX: both would count every byte twice.
            present = [module for module in _MODULES if module in report.modules][:1]
            for module in present:
                report.mod_read_all_dxt_records(module, dtype="dict")
            report.read_name_records()
    except Exception as error:
        raise InputError(f"{path} cannot be read as a Darshan log ({error})", "is it whole, and not empty?") from None
    if not present:
        raise InputError(
            f"{path} has no DXT records, only counters",
            "trace with DXT: DARSHAN_MOD_ENABLE=DXT_POSIX (and raise DARSHAN_MODMEM)",
        )
    return report
