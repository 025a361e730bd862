"""dftracer's `.pfw` and `.pfw.gz`: Chrome trace events, one a line, of POSIX and STDIO calls.

Four generations are read: names in every event (`fname`), names through a table of digests (`fhash`, with `FH` and `HH`
events), the same with phases that are numbers (2.2), and what the Python tracer of DLIO's auto-configuration writes (`filename`,
`size`). A `read` says no offset; it is
followed through open, lseek and read per descriptor, or per thread and file where no descriptor is given. Times are
microseconds.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from tracekit.formats.dftracer_calls import Calls, Trait, op_of, traits_of
from tracekit.formats.dftracer_events import ABSENT, UNUSABLE, reader_of
from tracekit.formats.dftracer_positions import positions_of
from tracekit.formats.foreign import Columns, Foreign, number_of, uri_of
from tracekit.formats.foreign_lines import line_blocks
from tracekit.formats.meanings import Meanings
from tracekit.trace import NULL, IntArray, Mask

_CALLS = ("POSIX", "STDIO")
_COMPUTES = ("TorchFramework.compute", "TFFramework.compute")
# What a span may be called that is a part of the program's structure.
_SPAN = re.compile(r"^(?:(?:Torch|TF)Framework\.compute|epoch_.*|batch)$|checkpoint[^.]*$", re.DOTALL)
_COUNTS = 2**31
_NAMES_FILE, _NAMES_HOST = 0, 1

Cells = dict[str, IntArray]


class Dftracer(Foreign):
    """A `.pfw` file."""

    NAME: ClassVar[str] = "dftracer"
    TOOL: ClassVar[str] = "dftracer"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(rb"\s*(?:\[\s*)?\{\"[^\n]*\"ph\"")

    def begin(self) -> None:
        """No name, no descriptor and no spans are known."""
        self._reader, self._positions = reader_of(self), positions_of()
        self._hosts: set[str] = set()
        # What is meant by the texts of the reader's tables, which grow.
        self._is_call = self._meaning("cat", lambda word: word in _CALLS)
        self._is_span = self._meaning("name", lambda word: bool(_SPAN.search(word)))
        self._kinds = self._meaning("name", lambda word: {"FH": _NAMES_FILE, "HH": _NAMES_HOST}.get(word, NULL))
        self._traits = self._meaning("name", traits_of)
        self._ops = self._meaning("name", lambda word: self.table("op").code(op_of(word)))
        self._layers = self._meaning("cat", lambda word: self.table("layer").code(word.lower()))
        self._uris = self._meaning("path", lambda word: self.table("uri").code(uri_of(word)))
        self._paths = self._meaning("fhash", lambda digest: self._reader.code("path", f"fhash:{digest}"))
        self._pids = self._meaning("pid", lambda word: NULL if (number := number_of(word)) is None else number)
        self._tids = self._meaning("tid", lambda word: NULL if (number := self.small("tid", word)) is None else number)
        self._met = self._meaning("hostname", self._meet)

    def _meaning(self, column: str, find: Any) -> Meanings:
        return Meanings(lambda code: int(find(self._reader.text(column, code))))

    def _meet(self, host: str) -> int:
        self._hosts.add(host)
        return 1

    def facts(self) -> dict[str, Any]:
        """The hosts that were named."""
        return {"host": {"name": ", ".join(sorted(self._hosts))}} if self._hosts else {}

    def batches(self) -> Iterator[Columns]:
        """The calls, in the order of the file."""
        for number, text in line_blocks(self):
            yield self._columns(self._reader.read(number, text))

    def _columns(self, events: Cells) -> Columns:
        self._met.of(events["hostname"])
        naming = events["naming"] != 0
        called = ~naming & (self._is_call.of(events["cat"]) == 1)
        self._note_spans(events, ~naming & ~called)
        traits = self._traits.of(events["name"])
        seeks = (traits & int(Trait.SEEK)) != 0
        events["path"] = path = self._paths_of(events, naming, called)
        chosen = called & (path != NULL) & ((traits & int(Trait.OP)) != 0)
        self._count_left_out(events, called & ~seeks & ~chosen)
        rows = np.flatnonzero(chosen | (called & seeks & (path != NULL)))
        cells = {name: column[rows] for name, column in events.items()}
        calls = Calls(cells, traits[rows])
        offset = calls.given_offsets()
        followed = calls.followed()
        offset[followed] = self._positions.follow(calls, cells)[followed]
        kept = chosen[rows]
        return self._ops_of({name: column[kept] for name, column in self._said(calls, cells, offset).items()})

    def _said(self, calls: Calls, cells: Cells, offset: IntArray) -> Cells:
        """What calls say, with codes of the reader's tables."""
        end = np.where(cells["dur"] > UNUSABLE, cells["ts"] + np.maximum(cells["dur"], 0), NULL)
        return {
            "uri": cells["path"], "offset": offset, "len": calls.sizes(), "t_submit": cells["ts"], "op": cells["name"],
            "t_complete": end, "ret": np.where(calls.moves, np.where(calls.answered, calls.moved, NULL), 0),
            "err": self._errors(calls), "pid": cells["pid"], "tid": cells["tid"], "epoch": _counts(cells["epoch"]),
            "step": _counts(cells["step"]), "sample_id": _counts(cells["image_idx"]), "layer": cells["cat"],
        }  # fmt: skip

    def _ops_of(self, said: Cells) -> Columns:
        """The same with codes of this file's tables, and numbers as wide as their columns."""
        meanings = {"uri": self._uris, "op": self._ops, "layer": self._layers, "pid": self._pids, "tid": self._tids}
        return {
            name: self.fitting(name, meanings[name].of(column) if name in meanings else column)
            for name, column in said.items()
        }

    def _errors(self, calls: Calls) -> IntArray:
        failed, numbers = calls.failures()
        found = np.full(len(failed), NULL, np.int64)
        if len(numbers):
            distinct, places = np.unique(numbers, return_inverse=True)
            found[failed] = self.table("err").encode([_error(number) for number in distinct.tolist()])[places]
        return found

    def _paths_of(self, events: Cells, naming: Mask, called: Mask) -> IntArray:
        """The path of each call: as it says, or as its digest was named before it."""
        path: IntArray = events["path"].copy()
        given, names = self._names(events, naming)
        rows = np.flatnonzero(called & (path == NULL) & (events["fhash"] != NULL))
        digests = events["fhash"][rows]
        found = np.full(len(rows), NULL, np.int64)
        if len(given):
            # By digest and then by row: the last one that stands before a call's place is its name.
            count = len(path)
            order = np.argsort(given * count + names)
            keys = (given * count + names)[order]
            before = np.searchsorted(keys, digests * count + rows) - 1
            known = (before >= 0) & (given[order][before] == digests)
            found[known] = events["label"][names[order][before[known]]]
        rest = found == NULL
        found[rest] = self._paths.of(digests[rest])
        self._paths.set(given, events["label"][names])
        path[rows] = found
        return path

    def _names(self, events: Cells, naming: Mask) -> tuple[IntArray, IntArray]:
        """The digests that get names among some events, and the rows where they do; hosts are noted."""
        rows = np.flatnonzero(naming)
        kind = self._kinds.of(events["name"][rows])
        for label in events["label"][rows[kind == _NAMES_HOST]].tolist():
            self._hosts.add(self._reader.text("label", label))
        rows = rows[(kind == _NAMES_FILE) & (events["value"][rows] != NULL)]
        return events["value"][rows], rows

    def _note_spans(self, events: Cells, spans: Mask) -> None:
        """Spans of the program that are a step, an epoch, a checkpoint or computing."""
        spans &= (events["dur"] > UNUSABLE) & (self._is_span.of(events["name"]) == 1)
        for row in np.flatnonzero(spans).tolist():
            self._note_span({name: int(column[row]) for name, column in events.items()})

    def _note_span(self, cells: dict[str, int]) -> None:
        name, category = (self._reader.text(column, cells[column]) for column in ("name", "cat"))
        step, epoch = (count if 0 <= (count := cells[key]) < _COUNTS else None for key in ("step", "epoch"))
        pid = None if cells["pid"] == NULL else number_of(self._reader.text("pid", cells["pid"]))
        start, end = cells["ts"], cells["ts"] + cells["dur"]
        if name in _COMPUTES:
            self.mark("compute", start, end, step=step, epoch=epoch, pid=pid)
        elif category == "APP" and name.startswith("epoch_"):
            self.mark("epoch", start, end, epoch=_epoch_of(name) if cells["epoch"] == ABSENT else epoch, pid=pid)
        elif category == "APP" and name == "batch":
            self.mark("step", start, end, step=step, epoch=epoch, pid=pid)
        elif category in ("APP", "ai_framework") and "checkpoint" in name.rsplit(".", 1)[-1]:
            self.mark("checkpoint", start, end, epoch=epoch, pid=pid)

    def _count_left_out(self, events: Cells, left: Mask) -> None:
        codes, first, counts = np.unique(events["name"][left], return_index=True, return_counts=True)
        for place in np.argsort(first).tolist():
            word = self._reader.text("name", int(codes[place]))
            self.leave_out(f"{word} without a file name" if op_of(word) else word, int(counts[place]))


def _counts(numbers: IntArray) -> IntArray:
    return np.where((numbers >= 0) & (numbers < _COUNTS), numbers, NULL)


def _epoch_of(name: str) -> int | None:
    number = number_of(name.removeprefix("epoch_"))
    return number if number is not None and 0 <= number < _COUNTS else None


def _error(number: int) -> str:
    return errno.errorcode.get(number, f"errno {number}") if number else "failed"
