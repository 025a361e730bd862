"""Reading the parts a recorded process left behind (see `spool`), however it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracekit.record import spool
from tracekit.record.lines import NOWHERE
from tracekit.record.looks import Identity, Seen, seen_of

SLOT = np.dtype(
    [
        ("t0", "<i8"), ("t1", "<i8"), ("offset", "<i8"), ("len", "<i8"), ("ret", "<i8"),
        ("file", "<u4"), ("err", "<u2"), ("op", "u1"), ("flags", "u1"),
    ]
)  # fmt: skip
spool.layouts()
Slots = NDArray[np.void]
Line = dict[str, Any]


class Ops(NamedTuple):
    """Ops as they were noted: `contexts` has one row (worker, epoch, step, sample, run) per op, `tids` one thread."""

    slots: Slots
    contexts: NDArray[np.int64]
    tids: NDArray[np.int32]


NO_OPS = Ops(np.zeros(0, SLOT), np.zeros((0, 5), np.int64), np.zeros(0, np.int32))


@dataclass(frozen=True)
class Source:
    """The ops of one chunk, read when they are wanted; none of them begins before `begins` (CLOCK_MONOTONIC ns)."""

    begins: int
    read: Callable[[], Ops]


@dataclass
class Part:
    """What one process left: where its ops are, and its lines by kind.

    `ops` and `read_bytes` count what was read from its sources so far; `damaged` names chunks that could not be read.
    """

    token: str
    sources: list[Source] = field(default_factory=list)
    ops: int = 0
    read_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    lost: int = 0
    ignored_bytes: int = 0
    about: Line = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    uris: dict[int, str] = field(default_factory=dict)
    samples: dict[int, str] = field(default_factory=dict)
    marks: list[Line] = field(default_factory=list)
    stops: dict[int, int] = field(default_factory=dict)
    runs: list[Line] = field(default_factory=list)
    batches: list[Line] = field(default_factory=list)
    frameworks: dict[str, str] = field(default_factory=dict)
    launches: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    rank: int = -1
    # Of the native engine: reads the kernel does not count as such, what was read before the hooks were in, programs
    # started as (time, pid, words), and device, inode, size and mode by path number.
    layer: str = "python"
    uncounted_bytes: int = 0
    startup_bytes: int = 0
    execs: list[tuple[int, int, list[str]]] = field(default_factory=list)
    reaps: list[tuple[int, int, int]] = field(default_factory=list)
    identities: dict[int, Any] = field(default_factory=dict)
    # Of mapped files and rings, see `touched`; of raw system calls, see `rawnet`.
    touches: dict[str, Any] = field(default_factory=dict)
    look_ns: int = 0
    left_maps: dict[int, int] = field(default_factory=dict)
    rings: int = 0
    # What was in the page cache, by path number.
    pages: dict[int, Seen] = field(default_factory=dict)
    net: dict[str, int] = field(default_factory=dict)

    @property
    def seen_bytes(self) -> int:
        """Of the bytes the kernel counted as read by the process, those that are known: recorded, left out, or start-up."""
        return self.read_bytes + self.ignored_bytes - self.uncounted_bytes + self.startup_bytes

    @property
    def born(self) -> int:
        """When it began to be recorded, CLOCK_MONOTONIC ns."""
        return int(self.token.partition("-")[2] or "0", 16)

    @property
    def pid(self) -> int:
        """The process."""
        return int(self.token.partition("-")[0])


def read_parts(directory: str | os.PathLike[str]) -> list[Part]:
    """The parts of every process of a run, in order of their start.

    Torn slots and half-written lines are what a killed process leaves; they are passed over.
    """
    root = Path(directory)
    chunks: dict[str, list[Path]] = {}
    for path in root.glob("*-*.ops"):
        chunks.setdefault(path.name.split(".", 1)[0], []).append(path)
    tokens = {path.name.removesuffix(".jsonl") for path in root.glob("*.jsonl")} | set(chunks)
    return [_part(root, token, chunks.get(token, [])) for token in sorted(tokens, key=_started)]


def failures(directory: str | os.PathLike[str]) -> dict[int, str]:
    """Why a process could not be recorded at all, by pid."""
    return {int(path.name.partition("-")[0]): path.read_text() for path in Path(directory).glob("*-failed.txt")}


def _started(token: str) -> int:
    return int(token.partition("-")[2] or "0", 16)


def _part(root: Path, token: str, chunks: list[Path]) -> Part:
    try:
        lines = (root / f"{token}.jsonl").read_bytes()
    except FileNotFoundError:
        lines = b""
    part = spoken(token, lines)
    for path in sorted(chunks, key=_sequence):
        _add_source(part, path)
    return part


def spoken(token: str, lines: bytes) -> Part:
    """The part of a process that has said these lines; half-written ones are passed over."""
    part = Part(token)
    for line in _lines(lines):
        _take(part, line)
    return part


def _sequence(path: Path) -> tuple[int, int]:
    _, tid, number, _ = path.name.rsplit(".", 3)
    return int(tid), int(number)


def _add_source(part: Part, path: Path) -> None:
    chunk = _chunk(part, path)
    if chunk is None:
        return
    slots, _, lost, ignored_bytes = chunk
    part.lost += lost
    part.ignored_bytes += ignored_bytes
    times = slots["t0"][slots["op"] != spool.CODE["context"]]
    if len(times):
        part.sources.append(Source(int(times.min()), partial(_ops, part, path)))


def _ops(part: Part, path: Path) -> Ops:
    chunk = _chunk(part, path)
    if chunk is None:
        return NO_OPS
    slots, tid, _, _ = chunk
    is_op = slots["op"] != spool.CODE["context"]
    tids, contexts = _contexts(slots, is_op, tid)
    return Ops(slots[is_op], contexts, tids)


def _chunk(part: Part, path: Path) -> tuple[Slots, int, int, int] | None:
    """The valid slots of a chunk, its first thread, and its counters of lost ops and ignored bytes.

    None for one that its process never came to begin, and for a damaged one, which is noted.
    """
    try:
        data = path.read_bytes()
    except OSError:
        data = b"gone"
    if not any(data[: len(spool.MAGIC)]):
        return None
    if len(data) < spool.SLOT_BYTES or not data.startswith(spool.MAGIC):
        part.damaged.append(path.name)
        return None
    _, _, tid, _ = spool.HEADER.unpack_from(data)
    lost, ignored_bytes, _ = spool.COUNTERS.unpack_from(data, spool.COUNTERS_AT)
    slots: Slots = np.frombuffer(data, SLOT, len(data) // spool.SLOT_BYTES)[1:]
    return slots[slots["flags"] & spool.VALID != 0], tid, lost, ignored_bytes


def slots_of(path: Path) -> Slots:
    """The valid slots of a chunk that may still be written to; none of one that is not there, or not begun."""
    chunk = _chunk(Part(""), path)
    return np.zeros(0, SLOT) if chunk is None else chunk[0]


def _contexts(slots: Slots, is_op: NDArray[np.bool_], tid: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Thread and context of every op: those of the last change before it."""
    changes = np.flatnonzero(~is_op)
    table = np.empty((len(changes) + 1, 6), np.int64)
    table[0] = (*NOWHERE, tid)
    for column, name in enumerate(("t1", "offset", "len", "ret", "file", "t0")):
        table[1:, column] = slots[name][changes]
    rows: NDArray[np.int64] = table[np.searchsorted(changes, np.flatnonzero(is_op))]
    return rows[:, 5].astype(np.int32), rows[:, :5]


def _lines(data: bytes) -> Iterator[Line]:
    for text in data.split(b"\n"):
        try:
            line = json.loads(text) if text.strip() else None
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _take(part: Part, line: Line) -> None:
    if "pages" in line:
        part.identities[line["pages"]] = Identity(line["device"], line["inode"], line["size"], line["mode"])
        if (seen := seen_of(line)) is not None:
            part.pages[line["pages"]] = seen
    elif "file" in line:
        part.paths[line["file"]] = line["path"]
    elif "mark" in line:
        part.marks.append(line)
        if "batch" in line:
            part.batches.append(line)
    elif "stop" in line:
        part.stops[line["stop"]] = line["t"]
    elif "batch" in line:
        part.batches.append(line)
    elif "loader" in line:
        part.runs.append(line)
    elif "sample" in line:
        part.samples[line["sample"]] = line["name"]
    elif "process" in line:
        part.about = line
        # From a program that is no Python, names come byte by byte.
        line["argv"] = [os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in line.get("argv", ())]
        part.rank = line["rank"]
    elif "framework" in line:
        part.frameworks[line["framework"]] = line["version"]
    elif "launch" in line:
        part.launches.append(line)
    elif "rank" in line:
        part.rank = line["rank"]
    elif "unseen" in line:
        part.unseen.append(line["unseen"])
    elif "problem" in line:
        part.problems.append(line["problem"])
