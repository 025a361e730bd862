"""Text of blkparse(1): what reached a block device, below the file system.

An op is a request from its issue to the device (D) to its completion (C); where the log has no issues, from its queueing (Q). Its
file is the device, `/dev/block/MAJOR:MINOR`; which file of the file system it served, and which thread wanted it, the block layer
does not know, so replaying it is replaying the device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from tracekit.formats.foreign import Foreign, lines
from tracekit.uri import file_uri

_LINE = re.compile(
    rb"\s*(\d+),(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\.(\d{1,9})\s+(\d+)\s+(\w+)\s+(\w+)(?:\s+(\d+) \+ (\d+))?(.*)"
)
_SECTOR = 512
_BEGINS = {b"D": 1, b"Q": 0}
# What ends the events; then come counts by processor and device.
_SUMMARY = re.compile(rb"(CPU|Total|Throughput|Events|Input file|Skips|\s+(Reads|Writes|Read|Write|IO|PC|Allocations))")


class Blkparse(Foreign):
    """A file of blkparse's default output."""

    NAME: ClassVar[str] = "blkparse"
    TOOL: ClassVar[str] = "blkparse"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = _LINE
    FIELDS: ClassVar[tuple[str, ...]] = (
        "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "pid", "layer", "flags",
    )  # fmt: skip
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """No request is under way."""
        self._under_way: dict[Any, tuple[int, int, int]] = {}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The requests, in the order in which they completed."""
        for number, text in lines(self):
            match = _LINE.match(text)
            if match is not None:
                yield from self._event(match)
            elif not _SUMMARY.match(text):
                self.reject(number, f"the line is no event of blkparse: {text[:40]!r}")
        if self._under_way:
            self.leave_out("requests whose completion is not in the file", len(self._under_way))

    def _event(self, match: re.Match[bytes]) -> Iterator[tuple[Any, ...]]:
        major, minor, _, _, seconds, fraction, pid, action, kind, sector, sectors, _ = match.groups()
        if sector is None or action not in (b"D", b"Q", b"C"):
            return
        when = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))
        key = (major, minor, sector, sectors, kind[:1])
        if action in _BEGINS:
            known = self._under_way.get(key)
            if known is None or known[2] < _BEGINS[action]:
                self._under_way[key] = (when, int(pid), _BEGINS[action])
            return
        begun = self._under_way.pop(key, None)
        if begun is None:
            self.leave_out("completions whose beginning is not in the file")
            return
        size = int(sectors) * _SECTOR
        uri = file_uri(f"/dev/block/{major.decode()}:{minor.decode()}")
        flags = "direct,o_sync" if b"S" in kind else "direct"
        yield (uri, int(sector) * _SECTOR, size, begun[0], _op(kind), when, size, begun[1], "block", flags)


def _op(kind: bytes) -> str:
    """The op of a request's RWBS letters (blkparse(1))."""
    if b"D" in kind:
        return "trim"
    if b"R" in kind:
        return "read"
    return "write" if b"W" in kind else "fsync"
