"""Darshan logs with DXT: every POSIX read and write of a job, with offset, length, start and end.

Read through the `darshan` package, which needs its log whole in memory, in a process of its own (`darshan_log`). Opens, closes and
stdio are counters in such a log, not ops, and are not imported. DXT names no thread: a rank's segments form one stream.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from tracekit.errors import CannotRunError, InputError
from tracekit.formats import darshan_log
from tracekit.formats.foreign import MAX_NS, Columns, Foreign, uri_of
from tracekit.trace import NULL, IntArray, Mask

_NS = 1_000_000_000
# So many become columns at a time.
_BATCH = 1 << 16
_SEGMENT = np.dtype([("offset", "=i8"), ("size", "=i8"), ("start", "=f8"), ("end", "=f8")])


class Darshan(Foreign):
    """A `.darshan` log."""

    NAME: ClassVar[str] = "darshan"
    TOOL: ClassVar[str] = "Darshan"

    def begin(self) -> None:
        """The log is read once for both passes."""
        if not hasattr(self, "_log"):
            self._log = _Log(_records(self.path))

    def facts(self) -> dict[str, Any]:
        """The command, the version of the library and the hosts."""
        job, hosts = self._log.job, sorted({str(record["host"]) for record in self._log.records})
        return {
            "version": job["version"],
            "command": job["command"].split(),
            "host": {"name": ", ".join(hosts)} if hosts else {},
        }

    def batches(self) -> Iterator[Columns]:
        """The segments, file by file and rank by rank, of each its reads first."""
        log, origin = self._log, int(self._log.job["start"])
        words = self.table("op").encode(("write", "read"))
        layer = self.table("layer").code(log.job["module"][4:].lower())
        uris = self.table("uri").encode([uri_of(record["name"]) for record in log.records])
        ranks = np.array([record["rank"] if 0 <= record["rank"] < 2**31 else NULL for record in log.records], np.int32)
        for start in range(0, len(log.order), _BATCH):
            chosen = log.order[start : start + _BATCH]
            segments, groups = log.segments[chosen], log.group[chosen]
            (begin, good), (done, ends) = (_times(origin, segments[name]) for name in ("start", "end"))
            good &= ends & (done >= begin) & (segments["offset"] >= 0) & (segments["size"] >= 0)
            if not bool(good.all()):
                self.leave_out("segments without usable times or offset", int((~good).sum()))
            columns = {
                "uri": uris[groups // 2], "offset": segments["offset"], "len": segments["size"], "t_submit": begin,
                "op": words[groups % 2], "t_complete": done, "ret": segments["size"], "rank": ranks[groups // 2],
                "layer": np.full(len(chosen), layer, np.int32),
            }  # fmt: skip
            yield {name: array[good] for name, array in columns.items()}


class _Log:
    """What `darshan_log` wrote: of each record what it is about, and all segments with the group each is in."""

    def __init__(self, data: bytes) -> None:
        line, place = _line(data, 0)
        self.job: dict[str, Any] = json.loads(line)
        self.records: list[dict[str, Any]] = []
        parts, counts = [np.zeros(0, _SEGMENT)], list[int]()
        while place < len(data):
            line, place = _line(data, place)
            self.records.append(json.loads(line))
            # A record's writes, then its reads.
            counts += [self.records[-1]["write"], self.records[-1]["read"]]
            parts.append(np.frombuffer(data, _SEGMENT, sum(counts[-2:]), place))
            place += len(parts[-1]) * darshan_log.SEGMENT_BYTES
        self.segments = np.concatenate(parts)
        self.group: IntArray = np.repeat(np.arange(len(counts)), counts)
        self.order = np.argsort(self.group ^ 1, kind="stable")


def _line(data: bytes, place: int) -> tuple[bytes, int]:
    end = data.index(b"\n", place)
    return data[place:end], end + 1


def _times(origin: int, seconds: Any) -> tuple[IntArray, Mask]:
    """Nanoseconds since 1970, and which of them are times."""
    good: Mask = np.abs(seconds) <= min(MAX_NS - origin, MAX_NS) / _NS - 1
    times = origin + np.rint(np.where(good, seconds, 0) * _NS).astype(np.int64)
    return times, good & (times >= 0)


def _records(path: str) -> bytes:
    """What `darshan_log` makes of a log."""
    with tempfile.TemporaryDirectory(prefix="tracekit-darshan-") as empty, tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "records")
        done = subprocess.run(
            [sys.executable, darshan_log.__file__, os.path.abspath(path), out],
            cwd=empty, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        try:
            with open(out, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            data = b""
    _check(path, done.returncode, data)
    return data


def _check(path: str, status: int, data: bytes) -> None:
    if status == darshan_log.MISSING:
        raise CannotRunError(
            "reading Darshan logs needs the package darshan",
            "pip install 'tracekit-io[darshan]', or pip install darshan",
        )
    if status or not data:
        why = data.decode() if status == darshan_log.REFUSED else f"the darshan package {_ended(status)}"
        raise InputError(f"{path} cannot be read as a Darshan log ({why})", "is it whole, and not empty?")
    if json.loads(_line(data, 0)[0])["module"] is None:
        raise InputError(
            f"{path} has no DXT records, only counters",
            "trace with DXT: DARSHAN_MOD_ENABLE=DXT_POSIX (and raise DARSHAN_MODMEM)",
        )


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
