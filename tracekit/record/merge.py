"""All parts of a run in order of time, piece by piece. It reads parts and changes nothing, any number of times."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.interleave import Chunk, interleave
from tracekit.joining import concatenate
from tracekit.record import spool
from tracekit.record.codes import distinct
from tracekit.record.files import Filter
from tracekit.record.gather import Gathered, gather
from tracekit.record.object_ops import chunks_of
from tracekit.record.parts import Ops, Part, Source
from tracekit.record.samples import sample_codes
from tracekit.trace import ALWAYS, COLUMNS, NULL, IntArray, Mark, StringTable, Trace
from tracekit.uri import file_uri

_Ints = NDArray[np.int64]


class Merge:
    """The ops and marks of every process of a run, in order of time.

    Args:
        directory: The run's parts directory.
        t0: CLOCK_MONOTONIC ns that becomes time zero.
        anchors: (CLOCK_MONOTONIC ns, time stamp counter) pairs from before and after the run, for the native engine.
        filters: The run's include and exclude globs, for the native engine.
        epoch: CLOCK_REALTIME less CLOCK_MONOTONIC, ns, for what strace wrote.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        t0: int,
        anchors: Sequence[Sequence[int]] = (),
        filters: Mapping[str, Any] | None = None,
        epoch: int = 0,
    ) -> None:
        self._gathered = gather(directory, anchors, filters or {}, epoch)
        self._directory = Path(directory)
        self._objects = _of_objects(filters or {})
        self._t0 = t0
        self.parts = self._gathered.parts
        self.tables = {name: StringTable() for name in ("uri", "op", "err", "flags", "layer", "level", "sample_id")}
        self.marks = sorted((mark for part in self.parts for mark in _marks(part, t0)), key=lambda mark: mark.t)
        self.clock = _clock_facts(self._gathered)

    def pieces(self, ops: int = 1 << 17) -> Iterator[Trace]:
        """Traces of about `ops` ops that share their tables; memory grows with the threads that run at once, no further."""
        batches = _Batches(self.parts)
        chunks = [
            Chunk(max(source.begins - self._t0, 0), partial(self._columns, part, source, batches))
            for part in self.parts
            for source in part.sources
        ]
        for part in self.parts:
            chunks += chunks_of(self._directory, part, self._objects, self._t0, self.tables, batches)
        for columns in interleave(chunks, ops):
            kept = {name: values for name, values in columns.items() if name in ALWAYS or bool((values != NULL).any())}
            used = {name: table for name, table in self.tables.items() if name in kept and len(table)}
            yield Trace(kept, used)

    def settle(self) -> None:
        """Take over what the parts left out or lost; call it after the last piece."""
        self._gathered.settle()

    def _columns(self, part: Part, source: Source, batches: _Batches) -> dict[str, IntArray]:
        ops = source.read()
        part.ops += len(ops.slots)
        part.read_bytes += int(ops.slots["ret"][ops.slots["op"] == spool.CODE["read"]].sum())
        return _columns(part, ops, self._t0, self.tables, batches)


def merge_parts(
    directory: str | os.PathLike[str],
    t0: int,
    anchors: Sequence[Sequence[int]] = (),
    filters: Mapping[str, Any] | None = None,
) -> tuple[Trace, list[Part]]:
    """A whole run in one Trace, and the parts it came from (arguments as for `Merge`)."""
    merge = Merge(directory, t0, anchors, filters)
    whole = concatenate(list(merge.pieces()))
    merge.settle()
    return Trace(whole.columns, whole.tables, merge.marks), merge.parts


def _of_objects(filters: Mapping[str, Any]) -> Filter:
    """Which objects are recorded, by URI. None of them is an interpreter's own file, so without globs all are."""
    return Filter(filters.get("include", ()) or ["*://*"], filters.get("exclude", ()))


def _clock_facts(gathered: Gathered) -> dict[str, Any]:
    """What a header says of the clock: with the time stamp counter, also how well it followed CLOCK_MONOTONIC."""
    facts: dict[str, Any] = {"source": "CLOCK_MONOTONIC", "resolution_ns": 1}
    if gathered.ticking is None:
        return facts
    return {**facts, "source": "TSC set by CLOCK_MONOTONIC", **gathered.ticking.facts()}


class _Batches:
    """Which step and epoch a loader worker's batch served: its consumer says so in other parts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.steps: dict[tuple[str, int, int], dict[int, int]] = {}
        self.epochs: dict[tuple[str, int, int], int] = {}
        self.loaders: dict[int, tuple[str, int, int]] = {}
        for part in parts:
            for line in part.runs:
                key = (part.token, int(line["loader"]), int(line["run"]))
                self.epochs[key] = int(line["epoch"])
                for worker, pid in enumerate(line.get("workers", ())):
                    self.loaders[pid] = (part.token, int(line["loader"]), worker)
            for line in part.batches:
                key = (part.token, int(line["loader"]), int(line["run"]))
                self.steps.setdefault(key, {})[int(line["batch"])] = int(line["step"])

    def resolve(self, pid: int, contexts: _Ints) -> tuple[_Ints, _Ints, _Ints]:
        """(worker, epoch, step) of the ops of a process."""
        worker, epoch, step = contexts[:, 0].copy(), contexts[:, 1].copy(), contexts[:, 2].copy()
        loader = self.loaders.get(pid)
        if loader is not None:
            worker[worker == NULL] = loader[2]
        fetching = contexts[:, 4] > 0
        step[fetching] = NULL
        if loader is None or not fetching.any():
            return worker, epoch, step
        pairs, places = np.unique(contexts[fetching][:, (4, 2)], axis=0, return_inverse=True)
        keys = [((*loader[:2], int(run)), int(batch)) for run, batch in pairs]
        places = places.reshape(-1)  # numpy 2.0 gave it another shape
        step[fetching] = np.array([self.steps.get(key, {}).get(batch, NULL) for key, batch in keys], np.int64)[places]
        epochs = np.array([self.epochs.get(key, NULL) for key, _ in keys], np.int64)[places]
        epoch[fetching] = np.where(epoch[fetching] == NULL, epochs, epoch[fetching])
        return worker, epoch, step


def _columns(part: Part, ops: Ops, t0: int, tables: dict[str, StringTable], batches: _Batches) -> dict[str, IntArray]:
    slots = ops.slots
    count = len(slots)
    worker, epoch, step = batches.resolve(part.pid, ops.contexts)
    columns = {
        "uri": _coded(slots["file"], partial(_uri, part), tables["uri"]),
        "offset": slots["offset"],
        "len": slots["len"],
        "t_submit": np.maximum(slots["t0"] - t0, 0),
        "op": _coded(slots["op"], _op_name, tables["op"]),
        "t_complete": np.maximum(slots["t1"] - t0, 0),
        "ret": slots["ret"],
        "err": _coded(slots["err"], _errno_name, tables["err"]),
        "pid": np.full(count, part.pid),
        "tid": ops.tids,
        "rank": np.full(count, part.rank),
        "worker": worker,
        "epoch": epoch,
        "step": step,
        "sample_id": sample_codes(part, ops.contexts, tables["sample_id"]),
        "layer": np.full(count, tables["layer"].code(part.layer)),
        "flags": _coded(slots["flags"] & ~np.uint8(spool.VALID), _flag_names, tables["flags"]),
    }
    return {name: np.asarray(values, COLUMNS[name].dtype) for name, values in columns.items()}


def _coded(values: Any, name: Callable[[int], str | None], table: StringTable) -> _Ints:
    """The codes of numbers that have names; each number's name is asked for once."""
    kinds, places = distinct(values)
    codes = np.array([table.code(name(kind)) for kind in kinds.tolist()], np.int64)
    found: _Ints = codes[places]
    return found


def _uri(part: Part, number: int) -> str:
    uri = part.uris.get(number)
    if uri is None:
        path = part.paths.get(number)
        # The line that names a file comes before its first op; it is missing only where it could not be written.
        uri = part.uris[number] = file_uri(path) if path is not None else f"file:///unknown/{part.token}/{number}"
    return uri


def _op_name(code: int) -> str:
    return spool.OPS[code] if code < len(spool.OPS) else f"op{code}"


def _errno_name(number: int) -> str | None:
    return errno.errorcode.get(number, f"E{number}") if number else None


def _flag_names(bits: int) -> str | None:
    if bits & spool.BRACKET == spool.BRACKET:
        return "bracket"
    return ",".join(name for name, bit in spool.FLAGS.items() if bits & bit) or None


def _marks(part: Part, t0: int) -> list[Mark]:
    marks = []
    for line in part.marks:
        step, epoch = line.get("step"), line.get("epoch", NULL)
        start, end = line["t"], line.get("t_end")
        if end is None and step is not None:
            end = part.stops.get(step)
        span = (start - t0, None if end is None else end - t0, step, None if epoch == NULL else epoch, part.pid)
        marks.append(Mark(line["mark"], *span))
        if "ready" in line:
            marks.append(Mark("compute", line["ready"] - t0, *span[1:]))
    return marks
