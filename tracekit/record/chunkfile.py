"""The files of the core's spool (tracekit/_native/spool.h): heads of processes with their lines, chunks with their records."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.record import rawnet, touched
from tracekit.record.looks import Identity, Seen

# As in spool.h: where the head of a process stands in the file of its first chunk, and what it and lines behind it take.
_LAYOUT = 2
_FIRST_BYTES, _PAGE = 1 << 16, 4096
_RECORD = np.dtype([("t", "<u8"), ("offset", "<i8"), ("len", "<u4"), ("ret", "<i4"), ("dur", "<u4"), ("what", "<u4")])
_HEAD = Struct("<8sIIQqiiQQQQIIIII")
_HEAD_MAGIC = b"tkproc\0\0"
_CHUNK = Struct("<8sIIQiiiiQQqqIIII")
_HEADER_BYTES = 256
_CHUNK_MAGIC = b"tkops\0\0\0"
_REFUSED = Struct("<Q")
_COUNTERS = Struct("<QQQQ")
_COUNTERS_AT = 128
_FILE_SHIFT = 7


@dataclass
class Native:
    """One process as the core noted it. `execs` has (time, pid, words) of every program started.

    `confined`: it installed a seccomp filter, and was left alone from then on. `unknown_records` are of kinds that have no
    name here; they are no ops.
    """

    pid: int
    parent: int
    start: int
    start_ns: int
    clock: int
    lost: int
    ignored_read: int
    wrong_offsets: int
    uncounted_read: int = 0
    unknown_records: int = 0
    confined: bool = False
    damaged: list[str] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)
    pages: dict[int, Seen] = field(default_factory=dict)
    execs: list[tuple[int, int, list[str]]] = field(default_factory=list)
    # Of mapped files: what the process says about looking for touched pages, and maps left alone by reason (see `touched`).
    touches: dict[str, Any] = field(default_factory=dict)
    left_maps: dict[int, int] = field(default_factory=dict)
    rings: int = 0
    net: dict[str, int] = field(default_factory=dict)
    # (time, pid, bytes read as the kernel counted them or -1) of every child that was waited for.
    reaps: list[tuple[int, int, int]] = field(default_factory=list)
    # What Python said in this process, as it was written.
    lines: bytes = b""


def heads(directory: Path) -> list[Native]:
    """The processes of a run, in order of their start."""
    places = [(path, 0) for path in directory.glob("*.head")]
    places += [(path, _FIRST_BYTES) for path in directory.glob("*.*.0.ops")]
    found = [native for path, at in places if (native := _head(path, at)) is not None]
    return sorted(found, key=lambda native: (native.start_ns, native.pid))


def _head(path: Path, at: int) -> Native | None:
    """The head at this place of a file, with the lines behind it; None where there is none of this layout."""
    with open(path, "rb") as file:
        file.seek(at)
        data = file.read(_PAGE)
        if len(data) < _HEAD.size or not data.startswith(_HEAD_MAGIC):
            return None
        _, layout, clock, start, start_ns, pid, parent, lost, ignored, _, wrong, *rest = _HEAD.unpack_from(data)
        if layout != _LAYOUT:
            return None
        native = Native(pid, parent, start, start_ns, clock, lost, ignored, wrong, confined=bool(rest[-1]))
        native.touches, native.rings, native.net = touched.facts(data), touched.rings(data), rawnet.facts(data)
        native.lines = file.read()
    return native


def chunk_files(directory: Path) -> dict[tuple[int, int], list[Path]]:
    """Chunks by (pid, start) of their process, in order of their making."""
    found: dict[tuple[int, int], list[tuple[int, Path]]] = {}
    for path in directory.glob("*.*.*.ops"):
        pid, start, number, _ = path.name.split(".")
        if pid.isdigit() and start.isdigit():
            found.setdefault((int(pid), int(start)), []).append((int(number), path))
    return {key: [path for _, path in sorted(numbered)] for key, numbered in found.items()}


def anchors(chunks: dict[tuple[int, int], list[Path]]) -> list[tuple[int, int]]:
    """(ns, ticks) at the making of each chunk."""
    pairs = []
    for paths in chunks.values():
        for path in paths:
            with open(path, "rb") as file:
                header = file.read(_CHUNK.size)
            if len(header) == _CHUNK.size and header.startswith(_CHUNK_MAGIC):
                fields = _CHUNK.unpack(header)
                pairs.append((fields[10], fields[9]))
    return pairs


@dataclass
class Chunk:
    """What one thread (or several, one after another) noted: its records, and what they say in words.

    Args:
        data: The file, header and texts included.
        records: Those that were written to their end.
        kinds: The kind of each.
        files: The core's number of the file of each.
        tid: The thread that began it.
        context: (worker, epoch, step, sample, run) at its beginning.
        ignored_read: Bytes that were read of files that are not recorded.
        numbers: Path numbers of the records that carry a name.
        full: Nothing more will come: a record found no room.
    """

    data: bytes
    records: NDArray[np.void]
    kinds: NDArray[np.int64]
    files: NDArray[np.int64]
    tid: int
    context: tuple[int, int, int, int, int]
    ignored_read: int
    numbers: dict[int, int] = field(default_factory=dict)
    full: bool = False

    @classmethod
    def read(cls, path: Path) -> Chunk | None:
        """A chunk; None for one that its process never came to begin.

        Raises:
            ValueError: If it is none, or of another layout.
        """
        with open(path, "rb") as file:
            data = file.read(_HEADER_BYTES)
            if not any(data[:8]):
                return None
            if len(data) == _HEADER_BYTES:  # behind the first chunk stand the head and the lines
                size = min(_CHUNK.unpack_from(data)[8], os.fstat(file.fileno()).st_size)
                data += file.read(max(size - len(data), 0))
        if len(data) < _HEADER_BYTES or not data.startswith(_CHUNK_MAGIC):
            raise ValueError("it does not begin as a chunk")
        fields = _CHUNK.unpack_from(data)
        header_bytes, layout, tid = fields[2], fields[1], fields[5]
        if layout != _LAYOUT or header_bytes < _HEADER_BYTES:
            raise ValueError(f"it has layout {layout}")
        cursor, ignored, _, _ = _COUNTERS.unpack_from(data, _COUNTERS_AT)
        taken, texts = cursor & 0xFFFFFFFF, cursor >> 32
        # Behind the first reservation that found no room nothing stands; a process may have died before it said so.
        (refused,) = _REFUSED.unpack_from(data, _CHUNK.size)
        if refused:
            taken, texts = refused & 0xFFFFFFFF, refused >> 32
        elif header_bytes + taken * 32 + texts > len(data):
            taken -= 1
        records = np.frombuffer(data, _RECORD, min(taken, (len(data) - header_bytes) // 32), header_bytes)
        records = records[records["t"] != 0]
        what = records["what"].astype(np.int64)
        sample, step, epoch, worker, run = fields[11:16]
        context = (_signed(worker), _signed(epoch), _signed(step), sample, run)
        return cls(data, records, what & 63, what >> _FILE_SHIFT, tid, context, ignored, full=bool(refused))

    def text(self, index: int) -> bytes:
        """The words that a record points to."""
        place = int(self.records["offset"][index])
        return self.data[place >> 32 : (place >> 32) + (place & 0xFFFFFFFF)]

    def indices(self, *kinds: int) -> NDArray[np.intp]:
        """The places of all records of these kinds."""
        return np.flatnonzero(np.isin(self.kinds, kinds))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
