"""What strace wrote of programs that are no Python, as parts of the run: one for each program a process was.

Below such a program may be an interpreter that records itself: its calls are left out here, from the `execve` that made it
to the next. Calls on what is no file, or on files that are not recorded, are counted as the native engine counts them.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.formats.foreign import Row
from tracekit.formats.strace import KERNEL_COPIES, READS, Strace
from tracekit.formats.strace_lines import Call
from tracekit.formats.strace_words import strings, unescaped
from tracekit.record import spool
from tracekit.record.files import Filter
from tracekit.record.lines import NOWHERE
from tracekit.record.parts import SLOT, Ops, Part, Source

_STORED = np.dtype([("slot", SLOT), ("tid", "<i4")])
_PIECE = 1 << 15
_ARGUMENTS = re.compile(rb"\[(.*)\]", re.DOTALL)


@dataclass
class Image:
    """A program in a process, from `begin` (CLOCK_MONOTONIC ns) to the next one's; `argv` as strace shows it.

    `recorded`: it records itself, and so do its forked children.
    """

    pid: int
    begin: int
    argv: list[str]
    above: list[int]
    recorded: bool = False
    parent: Image | None = None
    part: Part | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


Images = dict[int, list[Image]]


class _Survey(Strace):
    """The first pass: which program each process was when."""

    def __init__(self, path: str, epoch: int) -> None:
        self.epoch = epoch
        self.images: Images = {}
        super().__init__(path, skip_bad=True)
        root = int(Path(path).name.partition("-")[0])
        self.images[root] = [Image(root, -1, [], [], recorded=True)]

    def called(self, call: Call) -> Iterator[Row]:
        """No rows, but the program that an execve began."""
        yield from ()
        if call.name in (b"execve", b"execveat") and call.ret == 0:
            before = self._now(call.pid)
            words = [os.fsdecode(unescaped(word)) for word in _words(call.args)]
            self._becomes(Image(before.pid, call.when - self.epoch, words, before.above))

    def born(self, parent: int, child: int, when: int) -> None:
        """A process was forked: until it executes something it is what its parent was."""
        above = self._now(parent)
        self._becomes(Image(child, when - self.epoch, above.argv, [parent, *above.above], parent=above))

    def _becomes(self, image: Image) -> None:
        self.images.setdefault(image.pid, []).append(image)

    def _now(self, pid: int) -> Image:
        return self.images.setdefault(pid, [Image(pid, -1, [], [])])[-1]


def _words(args: bytes) -> list[bytes]:
    found = _ARGUMENTS.search(args)
    return strings(found[1]) if found else strings(args)[:1]


class _Calls(Strace):
    """The second pass: rows with paths in the place of URIs, and bytes that are no row."""

    def __init__(self, path: str, images: Images, epoch: int, chosen: Filter) -> None:
        self.images, self.epoch, self.chosen = images, epoch, chosen
        self.begins = {pid: [image.begin for image in of_pid] for pid, of_pid in images.items()}
        super().__init__(path, skip_bad=True)

    def image(self, pid: int, time: int) -> Image | None:
        """What a process was at a time."""
        place = bisect_right(self.begins.get(pid, ()), time)
        return self.images[pid][place - 1] if place else None

    def called(self, call: Call) -> Iterator[Row]:
        """The rows of a call, kept for the program that made it."""
        rows = list(super().called(call))
        image = self.image(call.pid, call.when - self.epoch)
        if image is None or image.part is None:
            return
        kept = [row for row in rows if self.chosen.wants(row[0])]
        reads = call.name in READS or call.name in KERNEL_COPIES
        moved = max(call.ret or 0, 0) if reads else 0
        seen = any(row[4] == "read" for row in kept)
        if call.name == b"splice":  # the kernel does not count it
            image.part.uncounted_bytes += moved if seen else 0
        elif not seen:
            image.part.ignored_bytes += moved
        for row in kept:
            image.rows.append(self._slot(row, image))
            yield row

    def _slot(self, row: Row, image: Image) -> tuple[Any, ...]:
        path, offset, size, start, op, end, ret, error, _, tid, _, flags = row
        assert image.part is not None
        number = image.numbers.setdefault(path, len(image.numbers) + 1)
        image.part.paths[number] = path
        start -= self.epoch
        slot = (
            start, start if end is None else end - self.epoch, -1 if offset is None else offset, size or 0, ret,
            number, getattr(errno, error or "", 0), spool.CODE[op], _bits(flags) | spool.VALID,
        )  # fmt: skip
        return slot, tid

    @staticmethod
    def named(path: bytes) -> str:
        """The path itself."""
        return os.fsdecode(path)


def _bits(flags: str | None) -> int:
    return sum(spool.FLAGS[word] for word in flags.split(",") if word in spool.FLAGS) if flags else 0


def straced(directory: Path, others: Sequence[Part], chosen: Filter, epoch: int) -> list[Part]:
    """The parts of all programs that strace followed in a run.

    What is recorded goes through a file without a name, so that memory does not grow with it.

    Args:
        directory: The run's parts directory.
        others: The parts of processes that recorded themselves.
        chosen: Which files are recorded.
        epoch: CLOCK_REALTIME less CLOCK_MONOTONIC, ns.
    """
    paths = sorted(directory.glob("*-*.strace"))
    if not paths:
        return []
    births: dict[int, list[int]] = {}
    for part in others:
        births.setdefault(part.pid, []).append(part.born)
    spill = _Spill()
    return [part for path in paths for part in _parts(path, births, chosen, epoch, spill)]


def _parts(
    path: Path, births: Mapping[int, Sequence[int]], chosen: Filter, epoch: int, spill: _Spill
) -> Iterator[Part]:
    survey = _Survey(str(path), epoch)
    for _ in survey.rows():
        pass
    images = _settled(survey.images, births)
    for image in images:
        if not image.recorded:
            image.part = _part(image)
    calls = _Calls(str(path), survey.images, epoch, chosen)
    for count, _ in enumerate(calls.rows(), 1):
        if count % _PIECE == 0:
            _store(images, spill)
    _store(images, spill)
    if calls.told.bad:
        first = next((image.part for image in images if image.part is not None), None)
        if first is not None:
            first.problems.append(f"{calls.told.bad} lines of strace were not understood: {calls.told.first_bad}")
    yield from (image.part for image in images if image.part is not None)


def _settled(programs: Images, births: Mapping[int, Sequence[int]]) -> list[Image]:
    """All programs in order of time, with those that record themselves marked: they were born between begin and end."""
    for images in programs.values():
        ends = [*(image.begin for image in images[1:]), 1 << 62]
        for image, end in zip(images, ends, strict=True):
            image.recorded |= any(image.begin <= birth < end for birth in births.get(image.pid, ()))
    everyone = sorted((image for images in programs.values() for image in images), key=lambda image: image.begin)
    for image in everyone:
        image.recorded |= image.parent is not None and image.parent.recorded
    return everyone


def _part(image: Image) -> Part:
    part = Part(f"{image.pid}-{max(image.begin, 0):x}", layer="strace")
    part.about = {
        "process": image.pid, "ppid": image.above[0] if image.above else None, "argv": image.argv, "above": image.above,
    }  # fmt: skip
    return part


def _store(images: Sequence[Image], spill: _Spill) -> None:
    for image in images:
        if image.part is None or not image.rows:
            continue
        stored = np.array(image.rows, _STORED)
        image.rows.clear()
        begins = int(stored["slot"]["t0"].min())
        image.part.sources.append(Source(begins, partial(spill.load, spill.add(stored), len(stored))))


class _Spill:
    """A file without a name, for ops between the passes; it goes when the last source of it does."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the next line
        weakref.finalize(self, self._file.close)

    def add(self, stored: NDArray[np.void]) -> int:
        """Where they now stand."""
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(stored.tobytes())
        return place

    def load(self, place: int, count: int) -> Ops:
        """The ops that stand there."""
        self._file.seek(place)
        stored = np.frombuffer(self._file.read(count * _STORED.itemsize), _STORED)
        contexts = np.tile(np.array(NOWHERE, np.int64), (count, 1))
        return Ops(np.ascontiguousarray(stored["slot"]), contexts, np.ascontiguousarray(stored["tid"]))
