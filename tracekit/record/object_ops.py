"""What recorded processes noted of their requests for objects, as columns: read piece by piece when their time comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracekit.interleave import Chunk
from tracekit.record.files import Filter
from tracekit.record.object_log import SUFFIX
from tracekit.record.parts import Part
from tracekit.record.samples import sample_codes
from tracekit.trace import COLUMNS, NULL, IntArray, StringTable

_PIECE_BYTES = 1 << 22
_CATEGORIES = ("uri", "op", "err", "layer", "level", "flags")


class Batches(Protocol):
    """Which step and epoch a loader worker's batch served (see `merge`)."""

    def resolve(
        self, pid: int, contexts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(worker, epoch, step) of the ops of a process."""


@dataclass(frozen=True)
class _Piece:
    """Whole lines of a file, and the earliest time in them."""

    path: Path
    start: int
    size: int
    begins: int


def chunks_of(
    directory: Path, part: Part, chosen: Filter | None, t0: int, tables: Mapping[str, StringTable], batches: Batches
) -> list[Chunk]:
    """The requests of one process as chunks of columns.

    Args:
        directory: The run's parts directory.
        part: The process; what is read is counted there.
        chosen: Which URIs are recorded; None is all of them.
        t0: CLOCK_MONOTONIC ns that becomes time zero.
        tables: The trace's string tables.
        batches: Gives ops their place in the training loop.
    """
    path = directory / f"{part.token}{SUFFIX}"
    pieces = _pieces(path) if path.exists() else iter(())
    read = partial(_columns, part=part, chosen=chosen, t0=t0, tables=tables, batches=batches)
    return [Chunk(max(piece.begins - t0, 0), partial(read, piece)) for piece in pieces]


def _pieces(path: Path) -> Iterator[_Piece]:
    with path.open("rb") as file:
        start = 0
        while lines := file.readlines(_PIECE_BYTES):
            times = [line["t0"] for line in map(_parsed, lines) if line is not None]
            size = sum(map(len, lines))
            if times:
                yield _Piece(path, start, size, min(times))
            start += size


def _parsed(text: bytes) -> dict[str, Any] | None:
    """A line; None for what a killed process left half-written."""
    try:
        line = json.loads(text) if text.strip() else None
    except ValueError:
        return None
    return line if isinstance(line, dict) and "t1" in line else None


def _columns(
    piece: _Piece, *, part: Part, chosen: Filter | None, t0: int, tables: Mapping[str, StringTable], batches: Batches
) -> dict[str, IntArray]:
    with piece.path.open("rb") as file:
        file.seek(piece.start)
        found = [line for text in file.read(piece.size).split(b"\n") if (line := _parsed(text)) is not None]
    lines = [line for line in found if chosen is None or chosen.wants(line["uri"])]
    part.ops += len(lines)
    contexts = np.array([line["at"] for line in lines] or np.zeros((0, 5)), np.int64)
    worker, epoch, step = batches.resolve(part.pid, contexts)
    columns: dict[str, Any] = {name: tables[name].encode([line.get(name) for line in lines]) for name in _CATEGORIES}
    for name in ("offset", "len", "ret", "tid", "attempts"):
        columns[name] = [NULL if line.get(name) is None else line[name] for line in lines]
    for name, key in (("t_submit", "t0"), ("t_complete", "t1"), ("t_first_byte", "tf")):
        times = np.array([line.get(key, NULL) for line in lines], np.int64)
        columns[name] = np.where(times == NULL, NULL, np.maximum(times - t0, 0))
    columns |= {
        "worker": worker,
        "epoch": epoch,
        "step": step,
        "sample_id": sample_codes(part, contexts, tables["sample_id"]),
    }
    columns |= {"pid": np.full(len(lines), part.pid), "rank": np.full(len(lines), part.rank)}
    return {name: np.asarray(values, COLUMNS[name].dtype) for name, values in columns.items()}
