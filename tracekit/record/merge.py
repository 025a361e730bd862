"""All parts of a run in one Trace, in order of time. Pure: it reads parts and gives a Trace, any number of times."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.record import spool
from tracekit.record.gather import gather
from tracekit.record.parts import Part
from tracekit.trace import COLUMNS, NULL, Header, Mark, StringTable, Trace, Trailer, encode_samples
from tracekit.uri import file_uri

_Ints = NDArray[np.int64]


def merge_parts(
    directory: str | os.PathLike[str], t0: int, anchors: Sequence[Sequence[int]] = (), filters: Any = None
) -> tuple[Trace, list[Part]]:
    """The ops and marks of every process of a run, and the parts they came from.

    Args:
        directory: The run's parts directory.
        t0: CLOCK_MONOTONIC ns that becomes time zero.
        anchors: (CLOCK_MONOTONIC ns, time stamp counter) pairs from before and after the run, for the native engine.
        filters: The run's include and exclude globs, for the native engine.
    """
    parts = gather(directory, anchors, filters or {})
    tables = {name: StringTable() for name in ("uri", "op", "err", "flags", "layer", "sample_id")}
    batches = _Batches(parts)
    columns: dict[str, list[Any]] = {}
    for part in parts:
        for name, values in _columns(part, t0, tables, batches).items():
            columns.setdefault(name, []).append(values)
    joined: dict[str, Any] = {
        name: np.concatenate(values).astype(COLUMNS[name].dtype) for name, values in columns.items()
    }
    if not joined:
        joined = {name: np.zeros(0, COLUMNS[name].dtype) for name in ("uri", "offset", "len", "t_submit", "op")}
    always = ("uri", "offset", "len", "t_submit", "op")
    kept = {name: values for name, values in joined.items() if name in always or bool((values != NULL).any())}
    used = {name: table for name, table in tables.items() if name in kept and len(table)}
    marks = sorted((mark for part in parts for mark in _marks(part, t0)), key=lambda mark: mark.t)
    return Trace(kept, used, marks).sorted(), parts


def describe(trace: Trace, header: Header, trailer: Trailer) -> Trace:
    """The trace with header and trailer."""
    return Trace(trace.columns, trace.tables, trace.marks, header, trailer, trace.warnings)


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


def _columns(part: Part, t0: int, tables: dict[str, StringTable], batches: _Batches) -> dict[str, Any]:
    slots = part.slots
    count = len(slots)
    worker, epoch, step = batches.resolve(part.pid, part.contexts)
    return {
        "uri": _coded(slots["file"], lambda number: _uri(part, number), tables["uri"]),
        "offset": slots["offset"],
        "len": slots["len"],
        "t_submit": np.maximum(slots["t0"] - t0, 0),
        "op": _coded(slots["op"], _op_name, tables["op"]),
        "t_complete": np.maximum(slots["t1"] - t0, 0),
        "ret": slots["ret"],
        "err": _coded(slots["err"], _errno_name, tables["err"]),
        "pid": np.full(count, part.pid),
        "tid": part.tids,
        "rank": np.full(count, part.rank),
        "worker": worker,
        "epoch": epoch,
        "step": step,
        "sample_id": _samples(part, tables["sample_id"]),
        "layer": np.full(count, tables["layer"].code(part.layer)),
        "flags": _coded(slots["flags"] & ~np.uint8(spool.VALID), _flag_names, tables["flags"]),
    }


def _coded(values: Any, name: Any, table: StringTable) -> _Ints:
    kinds, places = np.unique(values, return_inverse=True)
    codes = np.array([table.code(name(int(kind))) for kind in kinds], np.int64)
    result: _Ints = codes[places] if len(codes) else np.zeros(0, np.int64)
    return result


def _uri(part: Part, number: int) -> str:
    path = part.paths.get(number)
    # The line that names a file comes before its first op; it is missing only where it could not be written.
    return file_uri(path) if path is not None else f"file:///unknown/{part.token}/{number}"


def _op_name(code: int) -> str:
    return spool.OPS[code] if code < len(spool.OPS) else f"op{code}"


def _errno_name(number: int) -> str | None:
    return errno.errorcode.get(number, f"E{number}") if number else None


def _flag_names(bits: int) -> str | None:
    if bits & spool.BRACKET == spool.BRACKET:
        return "bracket"
    return ",".join(name for name, bit in spool.FLAGS.items() if bits & bit) or None


def _samples(part: Part, table: StringTable) -> _Ints:
    codes: _Ints = part.contexts[:, 3].copy()
    named = codes < NULL
    if named.any():
        kinds, places = np.unique(codes[named], return_inverse=True)
        names = [part.samples.get(int(code), str(code)) for code in kinds]
        codes[named] = encode_samples(names, table)[places]
    return codes


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
