"""What the core noted in chunks, as ops: records become the slots that the Python engine writes, and all behind this knows one kind."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from struct import Struct, error
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.record import spool
from tracekit.record.chunkfile import Chunk, Native
from tracekit.record.codes import distinct
from tracekit.record.files import IGNORED, Filter, flag_bits
from tracekit.record.looks import Identity, Looks
from tracekit.record.parts import NO_OPS, SLOT, Ops, Source
from tracekit.record.ticks import Clock

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
_BY_NAME = (3, 5, 8, 9, 10, 14, 15)  # with a text, where the record has no file (an open has both)
_RANGED = (1, 2, 7, 12, 13, 16, 17, _TOUCH)  # with a true offset and length; the rest are about a whole file
_CODES = np.zeros(64, np.uint8)
for _kind, _name in _OPS.items():
    _CODES[_kind] = spool.CODE[_name]
# What a chunk with wrong bytes in it makes of reading it.
_DAMAGED = (OSError, ValueError, IndexError, OverflowError, error)
UNNAMED = 0xFFFFFFFF  # a file whose name was lost


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
            chunk = Chunk.read(path)
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
            chunk = Chunk.read(path)
            if chunk is not None:
                chunk.numbers = numbers
                return self.ops_of(chunk)
        except _DAMAGED:
            self.native.damaged.append(path.name)
        return NO_OPS

    # -- names ------------------------------------------------------------------------------------------------------

    def names_of(self, chunk: Chunk) -> None:
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

    def ops_of(self, chunk: Chunk) -> Ops:
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

    def _paths(self, chunk: Chunk) -> NDArray[np.int64]:
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

    def _slots(self, chunk: Chunk, kept: NDArray[np.bool_], paths: NDArray[np.int64]) -> NDArray[np.void]:
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


def _contexts(chunk: Chunk) -> NDArray[np.int64]:
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


def _tids(chunk: Chunk) -> NDArray[np.int32]:
    changes = chunk.indices(_THREAD)
    table = np.array([chunk.tid, *chunk.records["ret"][changes]], np.int32)
    result: NDArray[np.int32] = table[np.searchsorted(changes, np.arange(len(chunk.records)), side="right")]
    return result
