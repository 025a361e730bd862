"""Reading what the core's spool left behind (tracekit/_native/spool.h): heads of processes, their lines, chunks of threads.

Records are turned into the same slots that the Python engine writes, so that everything behind this knows one kind.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from struct import Struct, error
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.record import rawnet, spool, touched
from tracekit.record.codes import distinct
from tracekit.record.files import IGNORED, Filter, flag_bits
from tracekit.record.looks import Identity, Looks, Seen
from tracekit.record.parts import NO_OPS, SLOT, Ops, Source

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
_IDENTITY = Struct("<QQQII")

# The kinds of record, by number; the name of an op is the trace's.
_OPS = {
    1: "read", 2: "write", 3: "open", 4: "close", 5: "stat", 6: "list", 7: "mmap", 8: "delete", 9: "rename",
    10: "truncate", 11: "fsync", 12: "fadvise", 13: "readahead", 14: "mkdir", 15: "rmdir", 16: "read", 17: "write",
    28: "touch",
}  # fmt: skip
_OPEN, _LIST, _MMAP, _FADVISE, _SPLICE_READ, _TOUCH = 3, 6, 7, 12, 16, 28
_FILE, _CWD, _THREAD, _CONTEXT, _EXEC, _LEFT, _PAGES, _REAP = 32, 33, 34, 35, 36, 40, 41, 44
_KNOWN = (*_OPS, _FILE, _CWD, _THREAD, _CONTEXT, _EXEC, _LEFT, _PAGES, _REAP)
_WIDE = 64
_FILE_SHIFT = 7
_BY_NAME = (3, 5, 8, 9, 10, 14, 15)  # with a text, where the record has no file (an open has both)
_RANGED = (1, 2, 7, 12, 13, 16, 17, _TOUCH)  # with a true offset and length; the rest are about a whole file
_CODES = np.zeros(64, np.uint8)
for _kind, _name in _OPS.items():
    _CODES[_kind] = spool.CODE[_name]
# What a chunk with wrong bytes in it makes of reading it.
_DAMAGED = (OSError, ValueError, IndexError, OverflowError, error)
UNNAMED = 0xFFFFFFFF  # a file whose name was lost


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


class Clock:
    """Ticks of the time stamp counter as CLOCK_MONOTONIC ns, between moments at which both were read.

    Args:
        anchors: (ns, ticks) pairs, at least two at different times; anchors less than a second apart add noise and are
            left out, but the first and the last always count.
    """

    def __init__(self, anchors: list[tuple[int, int]]) -> None:
        ordered = sorted({anchor for anchor in anchors if anchor[1]}, key=lambda anchor: anchor[1])
        kept = ordered[:1]
        for anchor in ordered[1:-1]:
            if anchor[0] - kept[-1][0] >= 1_000_000_000 and ordered[-1][0] - anchor[0] >= 1_000_000_000:
                kept.append(anchor)
        kept += ordered[1:][-1:]
        self._set(kept)
        # Those that were left out are what the rest can be held against.
        self.checks = len(ordered) - len(kept)
        self.error_ns = self._error(ordered) if self.usable else 0

    def _set(self, kept: list[tuple[int, int]]) -> None:
        self._ns = np.array([anchor[0] for anchor in kept], np.int64)
        self._ticks = np.array([anchor[1] for anchor in kept], np.int64)

    def _error(self, anchors: list[tuple[int, int]]) -> int:
        """By how much, at most, the counter as it is read here differs from CLOCK_MONOTONIC where both were read."""
        ns = np.array([anchor[0] for anchor in anchors], np.int64)
        return int(np.abs(self.ns(np.array([anchor[1] for anchor in anchors], np.uint64)) - ns).max())

    def facts(self) -> dict[str, Any]:
        """What a header says of it: the counter's frequency, and how well it was seen to follow CLOCK_MONOTONIC."""
        pace = (self._ticks[-1] - self._ticks[0]) / max(int(self._ns[-1] - self._ns[0]), 1)
        known = {"error_ns": self.error_ns} if self.checks else {}
        return {"tsc_hz": round(pace * 1e9), "checks": self.checks, **known}

    @property
    def usable(self) -> bool:
        """Whether there are two moments to go between."""
        return len(self._ticks) >= 2

    def span_ns(self, ticks: int) -> int:
        """How long that many ticks are, ns; 0 where that is not known."""
        passed = int(self._ticks[-1] - self._ticks[0]) if self.usable else 0
        return int(ticks * (int(self._ns[-1] - self._ns[0]) / passed)) if passed else 0

    def ns(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """CLOCK_MONOTONIC ns of each; what lies outside goes on at the pace of the nearest stretch."""
        values = ticks.astype(np.int64)
        stretch = np.clip(np.searchsorted(self._ticks, values, side="right") - 1, 0, len(self._ticks) - 2)
        pace = np.diff(self._ns) / np.diff(self._ticks)
        passed = (values - self._ticks[stretch]) * pace[stretch]
        result: NDArray[np.int64] = self._ns[stretch] + np.rint(passed).astype(np.int64)
        return result


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


def sources(native: Native, paths: list[Path], clock: Clock | None, chosen: Filter) -> list[Source]:
    """Where a process's ops are; of those read, only ops on files that `chosen` wants are given, the rest is counted.

    All chunks are looked through for names first: a file may be named in one thread's chunk and read in another's.

    Args:
        native: From `heads`; what is counted is added to it.
        paths: Its chunks.
        clock: None where records carry nanoseconds.
        chosen: Which files are recorded.
    """
    reader = _Reader(native, clock, chosen)
    found = [reader.source(path) for path in paths]
    for file, seen in reader.looks.seen.items():
        number = reader.path_of.get(file, 0)
        if number:
            native.pages[number] = min(native.pages.get(number, seen), seen, key=lambda one: one.time)
    return [source for source in found if source is not None]


@dataclass
class _Chunk:
    data: bytes
    records: NDArray[np.void]
    kinds: NDArray[np.int64]
    files: NDArray[np.int64]
    tid: int
    context: tuple[int, int, int, int, int]
    ignored_read: int
    # Path numbers of the records that carry a name.
    numbers: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Chunk | None:
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
        return cls(data, records, what & 63, what >> _FILE_SHIFT, tid, context, ignored)

    def text(self, index: int) -> bytes:
        place = int(self.records["offset"][index])
        return self.data[place >> 32 : (place >> 32) + (place & 0xFFFFFFFF)]

    def indices(self, *kinds: int) -> NDArray[np.intp]:
        return np.flatnonzero(np.isin(self.kinds, kinds))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


class _Reader:
    """Makes slots of one process's chunks; file numbers of the core become numbers of paths."""

    def __init__(self, native: Native, clock: Clock | None, chosen: Filter) -> None:
        self.native = native
        self.clock = clock
        self.chosen = chosen
        self.numbers: dict[str, int] = {}
        # By the core's file number.
        self.path_of: dict[int, int] = {}
        self.flags_of: dict[int, int] = {}
        self.mode_of: dict[int, int] = {}
        self.looks = Looks()

    def source(self, path: Path) -> Source | None:
        """Take in what a chunk says about names; its ops are read later."""
        try:
            chunk = _Chunk.read(path)
            if chunk is None:
                return None
            self.names_of(chunk)  # also of one without records: it may have counted what was left out
            if not len(chunk.records):
                return None
        except _DAMAGED:
            self.native.damaged.append(path.name)
            return None
        begins = int(self._ns(chunk.records["t"].min(keepdims=True))[0])
        return Source(begins, partial(self._ops, path, chunk.numbers))

    def _ops(self, path: Path, numbers: dict[int, int]) -> Ops:
        try:
            chunk = _Chunk.read(path)
            if chunk is not None:
                chunk.numbers = numbers
                return self.ops_of(chunk)
        except _DAMAGED:
            self.native.damaged.append(path.name)
        return NO_OPS

    # -- names ------------------------------------------------------------------------------------------------------

    def names_of(self, chunk: _Chunk) -> None:
        """Take in what a chunk says about names; a file may be named in one thread's chunk and read in another's."""
        self.native.ignored_read += chunk.ignored_read
        self.native.unknown_records += len(chunk.kinds) - len(chunk.indices(*_KNOWN))
        directory = b""
        ret, length = chunk.records["ret"], chunk.records["len"]
        reaped = chunk.records[chunk.indices(_REAP)]
        reaps = zip(self._ns(reaped["t"]).tolist(), reaped["ret"].tolist(), reaped["offset"].tolist(), strict=True)
        self.native.reaps += reaps
        for index in chunk.indices(*_BY_NAME, _FILE, _CWD, _EXEC, _PAGES).tolist():
            kind, file = int(chunk.kinds[index]), int(chunk.files[index])
            if kind == _CWD:
                directory = chunk.text(index)
            elif kind == _FILE:
                self._identify(file, chunk.text(index), int(length[index]))
            elif kind == _PAGES:
                time = int(self._ns(chunk.records["t"][index : index + 1])[0])
                self.looks.add(file, time, chunk.text(index), int(ret[index]))
            elif kind == _EXEC:
                if not length[index]:
                    words = [os.fsdecode(word) for word in chunk.text(index).split(b"\0")[:-1]]
                    time = int(self._ns(chunk.records["t"][index : index + 1])[0])
                    self.native.execs.append((time, int(ret[index]), words))
            elif kind == _OPEN or not file:
                number = chunk.numbers[index] = self._number(_absolute(directory, chunk.text(index)))
                if file:
                    self.path_of[file] = number
                    self.flags_of[file] = int(length[index])

    def _identify(self, file: int, text: bytes, flags: int) -> None:
        device, inode, size, mode, name_bytes = _IDENTITY.unpack_from(text)
        self.mode_of[file] = mode
        if name_bytes:
            self.path_of[file] = self._number(os.fsdecode(text[_IDENTITY.size :]).removesuffix(" (deleted)"))
            self.flags_of[file] = flags & ~(os.O_CREAT | os.O_TRUNC)
        number = self.path_of.get(file, 0)
        if number:
            self.native.identities.setdefault(number, Identity(device, inode, size, mode))

    def _number(self, path: str) -> int:
        number = self.numbers.get(path)
        if number is None:
            number = len(self.native.paths) + 1 if self.chosen.wants(path) else IGNORED
            self.numbers[path] = number
            if number:
                self.native.paths[number] = path
        return number

    # -- slots ------------------------------------------------------------------------------------------------------

    def ops_of(self, chunk: _Chunk) -> Ops:
        """The slots of a chunk's ops on recorded files, with their contexts and threads."""
        is_op = np.isin(chunk.kinds, list(_OPS))
        paths = self._paths(chunk)
        reads = (chunk.kinds == 1) & (paths == IGNORED)
        self.native.ignored_read += int(np.maximum(chunk.records["ret"][reads], 0).sum())
        splices = (chunk.kinds == _SPLICE_READ) & (paths != IGNORED)
        self.native.uncounted_read += int(np.maximum(chunk.records["ret"][splices], 0).sum())
        kept = is_op & (paths != IGNORED)
        slots = self._slots(chunk, kept, paths)
        for reason in chunk.records["ret"][(chunk.kinds == _LEFT) & (paths != IGNORED)].tolist():
            self.native.left_maps[reason] = self.native.left_maps.get(reason, 0) + 1
        return Ops(slots, _contexts(chunk)[kept], _tids(chunk)[kept])

    def _paths(self, chunk: _Chunk) -> NDArray[np.int64]:
        """The path number of every record; 0 where the op is not recorded."""
        files, back = distinct(chunk.files)
        table = np.array([self._path_of(int(file)) for file in files], np.int64)
        paths: NDArray[np.int64] = table[back] if len(table) else np.zeros(0, np.int64)
        for index, number in chunk.numbers.items():
            if chunk.kinds[index] != _OPEN or not chunk.files[index]:
                paths[index] = number
        directories = np.array([stat.S_ISDIR(self._mode_of(int(file))) for file in files], bool)
        if directories.any():
            paths[directories[back] & (chunk.kinds != _LIST)] = 0
        return paths

    def _mode_of(self, file: int) -> int:
        mode = self.mode_of.get(file, 0)
        return stat.S_IFDIR if not mode and self.flags_of.get(file, 0) & os.O_DIRECTORY else mode

    def _path_of(self, file: int) -> int:
        if file == 0:
            return 0
        mode = self._mode_of(file)
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return 0
        return self.path_of.get(file, UNNAMED)

    def _slots(self, chunk: _Chunk, kept: NDArray[np.bool_], paths: NDArray[np.int64]) -> NDArray[np.void]:
        records, kinds = chunk.records[kept], chunk.kinds[kept]
        slots = np.zeros(len(records), SLOT)
        ranged = np.isin(kinds, _RANGED)
        size = records["len"].astype(np.int64)
        size = np.where(records["what"] & _WIDE, size << 12, size)
        ret = records["ret"].astype(np.int64)
        slots["t0"] = self._ns(records["t"])
        slots["t1"] = self._ns(records["t"] + _duration(records["dur"]))
        slots["offset"] = np.where(ranged, np.maximum(records["offset"], -1), 0)
        slots["len"] = np.where(ranged, size, 0)
        slots["ret"] = np.where(np.isin(kinds, (_MMAP, _TOUCH)), np.where(ret < 0, 0, size), np.maximum(ret, 0))
        # Of a hint to the page cache it is which one.
        slots["ret"][~np.isin(kinds, (1, 2, _FADVISE, _MMAP, 16, 17, _TOUCH))] = 0
        slots["err"] = np.maximum(-ret, 0)
        slots["file"] = paths[kept]
        slots["op"] = _CODES[kinds]
        slots["flags"] = self._flags(chunk.files[kept], records, kinds) | spool.VALID
        return slots

    def _flags(self, files: Any, records: Any, kinds: Any) -> NDArray[np.uint8]:
        """What the file was opened with; creation belongs to the open alone."""
        numbers, back = distinct(files)
        lasting = spool.FLAGS["direct"] | spool.FLAGS["o_append"] | spool.FLAGS["o_sync"]
        table = np.array([flag_bits(self.flags_of.get(int(n), 0), spool.FLAGS) & lasting for n in numbers], np.uint8)
        bits = table[back] if len(table) else np.zeros(0, np.uint8)
        opens = np.flatnonzero(kinds == _OPEN)
        given, places = distinct(records["len"][opens])
        whole = np.array([flag_bits(int(flags), spool.FLAGS) for flags in given], np.uint8)
        if len(opens):
            bits[opens] = whole[places]
        bits[kinds == _TOUCH] = spool.BRACKET
        return bits

    def _ns(self, ticks: NDArray[np.uint64]) -> NDArray[np.int64]:
        return self.clock.ns(ticks) if self.clock is not None else ticks.astype(np.int64)


def _absolute(directory: bytes, name: bytes) -> str:
    if not name.startswith(b"/"):
        name = directory.rstrip(b"/") + b"/" + name
    text = os.fsdecode(name)
    return os.path.realpath(text) if "/../" in text or text.endswith("/..") else text


def _duration(packed: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """32 bits of the core: 29 bits shifted left by 5 times the upper 3."""
    mantissa = (packed & np.uint32(0x1FFFFFFF)).astype(np.uint64)
    result: NDArray[np.uint64] = mantissa << ((packed >> np.uint32(29)).astype(np.uint64) * np.uint64(5))
    return result


def _contexts(chunk: _Chunk) -> NDArray[np.int64]:
    """(worker, epoch, step, sample, run) in force at every record."""
    changes = chunk.indices(_CONTEXT)
    records = chunk.records[changes]
    table = np.empty((len(changes) + 1, 5), np.int64)
    table[0] = chunk.context
    table[1:, 0] = records["dur"].astype(np.int32)
    table[1:, 1] = records["ret"]
    table[1:, 2] = records["len"].astype(np.int32)
    table[1:, 3] = records["offset"]
    table[1:, 4] = chunk.files[changes]
    places = np.searchsorted(changes, np.arange(len(chunk.records)), side="right")
    result: NDArray[np.int64] = table[places]
    touches = chunk.indices(_TOUCH)
    # Where the context changed more often than anybody looked, it is not known for which sample a page was touched.
    result[touches[chunk.records["ret"][touches] == 1], 2:] = (-1, -1, 0)
    return result


def _tids(chunk: _Chunk) -> NDArray[np.int32]:
    changes = chunk.indices(_THREAD)
    table = np.array([chunk.tid, *chunk.records["ret"][changes]], np.int32)
    result: NDArray[np.int32] = table[np.searchsorted(changes, np.arange(len(chunk.records)), side="right")]
    return result
