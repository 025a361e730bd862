"""Darshan logs with DXT: every POSIX read and write of a job, with offset, length, start and end.

Read through the `darshan` package, which needs its log whole in memory, in a process of its own (`darshan_log`). Opens, closes and
stdio are counters in such a log, not ops, and are not imported. DXT names no thread: a rank's segments form one stream.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

from tracekit.errors import CannotRunError, InputError
from tracekit.formats import darshan_log
from tracekit.formats.foreign import MAX_NS, Foreign
from tracekit.uri import file_uri

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
        if not hasattr(self, "_job"):
            lines = _records(self.path)
            self._job: dict[str, Any] = json.loads(lines[0])
            self._records = lines[1:]

    def facts(self) -> dict[str, Any]:
        """The command, the version of the library and the hosts."""
        hosts = sorted({str(json.loads(line)["host"]) for line in self._records})
        return {
            "version": self._job["version"],
            "command": self._job["command"].split(),
            "host": {"name": ", ".join(hosts)} if hosts else {},
        }

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The segments, file by file and rank by rank."""
        origin, layer = int(self._job["start"]), self._job["module"][4:].lower()
        for record in map(json.loads, self._records):
            name, rank = record["name"], record["rank"]
            uri = file_uri(name) if name.startswith("/") else name
            who = (None, None, rank if 0 <= rank < 2**31 else None, layer)
            for op in ("read", "write"):
                for offset, size, start, end in record[op]:
                    begin, done = _time(origin, start), _time(origin, end)
                    if begin is None or done is None or done < begin or offset < 0 or size < 0:
                        self.leave_out("segments without usable times or offset")
                        continue
                    yield (uri, offset, size, begin, op, done, size, *who)


def _time(origin: int, seconds: float) -> int | None:
    """Nanoseconds since 1970; None for what is no time."""
    if not math.isfinite(seconds) or abs(seconds) > MAX_NS / _NS:
        return None
    time = origin + round(seconds * _NS)
    return time if 0 <= time < MAX_NS else None


def _records(path: str) -> list[bytes]:
    """The lines that `darshan_log` makes of a log."""
    with tempfile.TemporaryDirectory(prefix="tracekit-darshan-") as empty, tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "records")
        done = subprocess.run(
            [sys.executable, darshan_log.__file__, os.path.abspath(path), out],
            cwd=empty, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        try:
            with open(out, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
    _check(path, done.returncode, lines)
    return lines


def _check(path: str, status: int, lines: list[bytes]) -> None:
    if status == darshan_log.MISSING:
        raise CannotRunError(
            "reading Darshan logs needs the package darshan",
            "pip install 'tracekit-io[darshan]', or pip install darshan",
        )
    if status or not lines:
        why = (
            f"the darshan package {_ended(status)}"
            if status != darshan_log.REFUSED
            else lines[0].decode()
            if lines
            else ""
        )
        raise InputError(f"{path} cannot be read as a Darshan log ({why})", "is it whole, and not empty?")
    if json.loads(lines[0])["module"] is None:
        raise InputError(
            f"{path} has no DXT records, only counters",
            "trace with DXT: DARSHAN_MOD_ENABLE=DXT_POSIX (and raise DARSHAN_MODMEM)",
        )


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
