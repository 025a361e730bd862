"""Text of blkparse(1): what reached a block device, below the file system.

An op is a request from its issue to the device (D) to its completion (C); where the log has no issues, from its queueing (Q). Its
file is the device, `/dev/block/MAJOR:MINOR`; which file of the file system it served, and which thread wanted it, the block layer
does not know, so replaying it is replaying the device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tracekit.formats.cells import mapped
from tracekit.formats.foreign import MAX_NS, Columns, Foreign
from tracekit.formats.foreign_lines import line_blocks
from tracekit.formats.line_table import LineTable
from tracekit.formats.scanner import SECONDS, TEXT, WHOLE, Cell, Lines, Scanner
from tracekit.trace import NULL, IntArray, Mask
from tracekit.uri import file_uri

_EVENT = (
    r"^\s*(?P<device>\d+,\d+)\s+\d+\s+\d+\s+(?P<seconds>\d+)\.(?P<fraction>\d{1,9})\s+(?P<pid>\d+)\s+(?P<action>\w+)\s+(?P<kind>\w+)"
    r"(?:\s+(?P<sector>\d+)\s+\+\s+(?P<sectors>\d+))?"
)
_SECTOR = 512
# Beyond these, bytes and nanoseconds no longer fit.
_MOST_SECTORS, _MOST_SECONDS = MAX_NS // _SECTOR, MAX_NS // 10**9 - 1
# What ends the events; then come counts by processor and device.
_SUMMARY = re.compile(rb"(CPU|Total|Throughput|Events|Input file|Skips|\s+(Reads|Writes|Read|Write|IO|PC|Allocations))")
_QUEUED, _ISSUED, _DONE = 0, 1, 2
_ACTIONS = {b"Q": _QUEUED, b"D": _ISSUED, b"C": _DONE}
_DEVICE, _WORD = re.compile(rb"\d+,\d+"), re.compile(rb"\w+")
_OTHER = len(_ACTIONS)


class _Events(NamedTuple):
    """What happened to requests: a request is known by its device, the first letter of its kind, and its sectors."""

    device: IntArray
    letter: IntArray
    sector: IntArray
    sectors: IntArray
    action: IntArray
    when: IntArray
    pid: IntArray
    kind: IntArray

    def chosen(self, rows: Any) -> _Events:
        """Some of them."""
        return _Events(*(column[rows] for column in self))

    def after(self, others: _Events) -> _Events:
        """Others and then these."""
        return _Events(*map(np.concatenate, zip(others, self, strict=True)))


class Blkparse(Foreign):
    """A file of blkparse's default output."""

    NAME: ClassVar[str] = "blkparse"
    TOOL: ClassVar[str] = "blkparse"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(re.sub(r"\?P<\w+>", "", _EVENT).encode())
    EPOCH: ClassVar[bool] = False

    def begin(self) -> None:
        """No request is under way."""
        self._devices, self._kinds = dict[bytes, int](), dict[bytes, int]()
        self._under_way = _Events(*[np.zeros(0, np.int64)] * len(_Events._fields))
        self._scanner = Scanner(
            [
                Cell("device", TEXT, meaning=self._device), Cell(kind=WHOLE), Cell(kind=WHOLE), Cell("when", SECONDS, scale=10**9),
                Cell("pid", WHOLE), Cell("action", TEXT, meaning=_action), Cell("kind", TEXT, meaning=self._kind),
                Cell("sector", WHOLE), Cell("plus", TEXT, meaning=lambda word: 0 if word == b"+" else NULL), Cell("sectors", WHOLE),
            ], least=7, open_end=True,
        )  # fmt: skip

    def batches(self) -> Iterator[Columns]:
        """The requests, in the order in which they completed."""
        for number, text in line_blocks(self):
            events = self._under_way
            for lines in self._scanner.lines(number, text):
                events = self._usable(*(self._plain(lines) or self._found(lines))).after(events)
            yield self._requests(*self._paired(events))
        if under_way := len(self._under_way.when):
            self.leave_out("requests whose completion is not in the file", under_way)

    def _device(self, word: bytes) -> int:
        return self._devices.setdefault(word, len(self._devices)) if _DEVICE.fullmatch(word) else NULL

    def _kind(self, word: bytes) -> int:
        return self._kinds.setdefault(word, len(self._kinds)) if _WORD.fullmatch(word) else NULL

    def _plain(self, lines: Lines) -> tuple[_Events, Mask] | None:
        """The events of lines that the core read, and which are of sectors; None where it read none, or one is no event."""
        if not lines.rows:
            return None
        column, present = lines.column, lines.column("sector") != NULL
        named = (column("device") != NULL) & (column("action") != NULL) & (column("kind") != NULL)
        if not bool((named & (~present | (column("plus") != NULL))).all()):
            return None
        lines.columns["letter"] = np.array([word[0] for word in self._kinds], np.int64)[column("kind")]
        return _Events(*map(column, _Events._fields)), present

    def _found(self, lines: Lines) -> tuple[_Events, Mask]:
        """The events of any lines, and which are of sectors; those that are none are refused."""
        table = LineTable(lines.text, _EVENT)
        for index in table.strange():
            line = table.line(index)
            if not _SUMMARY.match(line):
                self.reject(lines.number + index, f"the line is no event of blkparse: {line[:40]!r}")
        codes, actions = table.coded("action")
        action = mapped(codes, [_ACTIONS.get(word, _OTHER) for word in actions])
        codes, kinds = table.coded("kind")
        kind = mapped(codes, [self._kind(word) for word in kinds])
        letter = mapped(codes, [word[0] for word in kinds])
        codes, devices = table.coded("device")
        device = mapped(codes, [self._device(word) for word in devices])
        sector, sectors, seconds = (table.numbers(name) for name in ("sector", "sectors", "seconds"))
        # What is beyond a clock is beyond it afterwards, too.
        when = np.minimum(seconds, _MOST_SECONDS + 1) * 10**9 + table.fractions("fraction", 9)
        return _Events(device, letter, sector, sectors, action, when, table.numbers("pid"), kind), table.present(
            "sector"
        )

    def _usable(self, events: _Events, present: Mask) -> _Events:
        """The beginnings and ends of requests among the events."""
        wanted = (events.action < _OTHER) & present
        usable = (events.sector <= _MOST_SECTORS) & (events.sectors <= _MOST_SECTORS)
        usable &= (events.sector >= 0) & (events.sectors >= 0) & (events.when < (_MOST_SECONDS + 1) * 10**9)
        if strange := int((wanted & ~usable).sum()):
            self.leave_out("events beyond any device", strange)
        return events.chosen(wanted & usable)

    def _paired(self, events: _Events) -> tuple[_Events, _Events]:
        """Beginnings of requests and their completions, in the order of these; of a request its first issue counts, else its first queueing."""
        order = np.lexsort((events.sectors, events.sector, events.letter, events.device))
        if not len(order):
            return events, events
        events, count = events.chosen(order), len(order)
        done = events.action == _DONE
        # From one completion of these sectors to the next.
        starts = np.concatenate([[True], done[:-1]])
        for key in (events.device, events.letter, events.sector, events.sectors):
            starts[1:] |= key[1:] != key[:-1]
        first = np.flatnonzero(starts)
        last = np.append(first[1:], count) - 1
        preferred = np.arange(count) + np.where(done, 2 * count, np.where(events.action == _QUEUED, count, 0))
        begun = np.minimum.reduceat(preferred, first)
        known, ended = begun < 2 * count, done[last]
        begun %= count
        if lost := int((ended & ~known).sum()):
            self.leave_out("completions whose beginning is not in the file", lost)
        self._under_way = events.chosen(begun[~ended])
        whole = known & ended
        by_end = np.argsort(order[last[whole]])
        return events.chosen(begun[whole][by_end]), events.chosen(last[whole][by_end])

    def _requests(self, begun: _Events, done: _Events) -> Columns:
        size = done.sectors * _SECTOR
        names = [file_uri("/dev/block/" + device.decode().replace(",", ":")) for device in self._devices]
        flags = ["direct,o_sync" if b"S" in kind else "direct" for kind in self._kinds]
        return {
            "uri": self.table("uri").encode(names)[done.device], "offset": done.sector * _SECTOR, "len": size,
            "t_submit": begun.when, "op": self.table("op").encode([_op(kind) for kind in self._kinds])[done.kind],
            "t_complete": done.when, "ret": size, "pid": self.fitting("pid", begun.pid),
            "layer": np.full(len(size), self.table("layer").code("block"), np.int32),
            "flags": self.table("flags").encode(flags)[done.kind],
        }  # fmt: skip


def _action(word: bytes) -> int:
    """What happened; NULL for what is no word."""
    return _ACTIONS.get(word, _OTHER) if _WORD.fullmatch(word) else NULL


def _op(kind: bytes) -> str:
    """The op of a request's RWBS letters (blkparse(1))."""
    if b"D" in kind:
        return "trim"
    if b"R" in kind:
        return "read"
    return "write" if b"W" in kind else "fsync"
