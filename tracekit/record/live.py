"""What a recording holds so far, read from the parts while the program writes them: the core's chunks, or those of the Python engine.

A look reads only chunks that have grown, and of them counts only what is new: reads and writes of files that are recorded, their
bytes, and which files they were of. It is for people to look at: a read that is just being noted is counted at the next look,
and what only the merge can know (files named by what was opened in another program) is left out.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracekit.record import chunks, spool
from tracekit.record.chunkfile import Chunk, chunk_files
from tracekit.record.files import Filter
from tracekit.record.parts import Slots, slots_of, spoken

_READS, _WRITES = (1, 16), (2, 17)
_OPEN, _FILE, _CWD = 3, 32, 33


class Live(Protocol):
    """The sums of a run that goes on: reads and writes, their bytes, and the busiest files."""

    @property
    def sums(self) -> Sums:
        """What was seen up to the last look."""

    def look(self) -> None:
        """Take in what was noted since the last look."""


@dataclass
class Sums:
    """What was seen so far.

    Attributes:
        ops: Reads and writes.
        read, written: Bytes.
        by_file: Bytes by path.
    """

    ops: int = 0
    read: int = 0
    written: int = 0
    by_file: Counter[str] = field(default_factory=Counter)

    def add(
        self, files: NDArray[np.integer], moved: NDArray[np.int64], names: Mapping[int, str], field_name: str
    ) -> None:
        """Count ops of these files that moved so much; those of files without a name are not recorded."""
        of, place = np.unique(files, return_inverse=True)
        sizes = np.bincount(place, np.maximum(moved, 0), len(of)).astype(np.int64)
        for file, count, size in zip(of.tolist(), np.bincount(place, minlength=len(of)), sizes.tolist(), strict=True):
            if path := names.get(file, ""):
                self.ops += int(count)
                self.by_file[path] += size
                setattr(self, field_name, getattr(self, field_name) + size)

    def top(self, most: int = 2) -> list[tuple[str, float]]:
        """The names of the files that most bytes were of, without their folders, and their share."""
        whole = sum(self.by_file.values())
        return [(os.path.basename(path), size / whole) for path, size in self.by_file.most_common(most) if size]


def live(engine: str, parts: str, globs: Mapping[str, Sequence[str]]) -> Live:
    """Who looks at the parts of a run.

    Args:
        engine: Who records it.
        parts: The run's parts directory.
        globs: Its include and exclude globs.
    """
    return NativeLive(parts, globs) if engine == "native" else PythonLive(parts)


@dataclass
class NativeLive:
    """The sums of what the core notes.

    Args:
        parts: The run's parts directory.
        globs: Its include and exclude globs.
    """

    parts: str
    globs: Mapping[str, Sequence[str]]
    sums: Sums = field(default_factory=Sums)

    def __post_init__(self) -> None:
        own = [self.parts, os.path.dirname(os.path.abspath(__file__))]
        self._filter = Filter(self.globs.get("include", ()), self.globs.get("exclude", ()), own=own)
        # Of each chunk, how many of its records were counted; the full ones that need not be read again.
        self._counted: dict[Path, int] = {}
        self._full: set[Path] = set()
        # By process, the path of each of its files; empty for one that is not recorded.
        self._names: dict[tuple[int, int], dict[int, str]] = {}

    def look(self) -> None:
        """Take in what was noted since the last look."""
        for process, paths in chunk_files(Path(self.parts)).items():
            names = self._names.setdefault(process, {})
            fresh = [found for path in paths if path not in self._full and (found := self._fresh(path)) is not None]
            # All names first: a file may be named in one thread's chunk and read in another's.
            for chunk, begin in fresh:
                self._name(chunk, begin, names)
            for chunk, begin in fresh:
                self._count(chunk, begin, names)

    def _fresh(self, path: Path) -> tuple[Chunk, int] | None:
        """A chunk that has grown, and the number of its first record that was not counted."""
        try:
            chunk = Chunk.read(path)
        except chunks._DAMAGED:  # it may just be made; the merge says so if it stays like that
            return None
        if chunk is None:
            return None
        if chunk.full:
            self._full.add(path)
        begin, self._counted[path] = self._counted.get(path, 0), len(chunk.records)
        return (chunk, begin) if len(chunk.records) > begin else None

    def _name(self, chunk: Chunk, begin: int, names: dict[int, str]) -> None:
        before = [index for index in chunk.indices(_CWD).tolist() if index < begin]
        directory = chunk.text(before[-1]) if before else b""
        indices = chunk.indices(_OPEN, _FILE, _CWD)
        for index in indices[indices >= begin].tolist():
            kind, file = int(chunk.kinds[index]), int(chunk.files[index])
            if kind == _CWD:
                directory = chunk.text(index)
            elif file:
                text = chunk.text(index) if kind == _OPEN else chunk.text(index)[chunks._IDENTITY.size :]
                if text:
                    path = chunks._absolute(directory, text)
                    names[file] = path if self._filter.wants(path) else ""

    def _count(self, chunk: Chunk, begin: int, names: Mapping[int, str]) -> None:
        kinds, files, moved = chunk.kinds[begin:], chunk.files[begin:], chunk.records["ret"][begin:].astype(np.int64)
        for codes, field_name in ((_READS, "read"), (_WRITES, "written")):
            chosen = np.isin(kinds, codes)
            self.sums.add(files[chosen], moved[chosen], names, field_name)


@dataclass
class PythonLive:
    """The sums of what the Python engine notes, which passes over files that are not recorded.

    Args:
        parts: The run's parts directory.
    """

    parts: str
    sums: Sums = field(default_factory=Sums)

    def __post_init__(self) -> None:
        # Of each chunk, how many of its ops were counted; of each process, the size of its lines and the paths they name.
        self._counted: dict[Path, int] = {}
        self._said: dict[str, tuple[int, dict[int, str]]] = {}

    def look(self) -> None:
        """Take in what was noted since the last look."""
        for path in sorted(Path(self.parts).glob("*-*.ops")):
            slots = slots_of(path)
            begin, self._counted[path] = self._counted.get(path, 0), len(slots)
            if len(slots) > begin:
                self._count(slots[begin:], self._names(path.name.partition(".")[0]))

    def _names(self, token: str) -> dict[int, str]:
        lines = Path(self.parts, f"{token}.jsonl")
        size, names = self._said.get(token, (0, {}))
        now = lines.stat().st_size if lines.exists() else 0
        if now != size:
            names = spoken(token, lines.read_bytes()).paths
            self._said[token] = now, names
        return names

    def _count(self, slots: Slots, names: Mapping[int, str]) -> None:
        for kind, field_name in (("read", "read"), ("write", "written")):
            chosen = slots[slots["op"] == spool.CODE[kind]]
            self.sums.add(chosen["file"], chosen["ret"].astype(np.int64), names, field_name)
