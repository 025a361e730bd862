"""Make the data set of a job: what is missing of it, by several processes, each file whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from tracekit import itself
from tracekit.cgroup import cores
from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.storage import Storage, storage_for
from tracekit.storage.keys import way_out_of
from tracekit.workload.datagen import hdf5, manifest, room
from tracekit.workload.datagen.layout import TRAIN, VALID, Plan, plans
from tracekit.workload.datagen.maker import Maker, said
from tracekit.workload.datagen.registry import format_of, suffix_of
from tracekit.workload.job import DataSet

Report = Callable[[int, int], None]
# Below so many bytes a second process is not worth its start.
_WORTH_A_PROCESS = 64 << 20
# A process is told so much at a time: few files of many bytes, many of few.
_AT_ONCE_BYTES = 32 << 20
_AT_ONCE_FILES = 256
_MISSING = (errno.ENOENT, 404)
_PART = re.compile(r"\.[0-9a-f]{8}\.part$")


@dataclass(frozen=True)
class Outlook:
    """What is to be done.

    Args:
        data: The data set.
        root: Its place.
        missing: The files that are not there, in order.
        files: How many it has in all.
        bytes: About how many bytes are to be written.
        remarks: What should be known before.
        seed: Of sizes and content.
        ratio: How well content compresses.
    """

    data: DataSet
    root: str
    missing: list[Plan]
    files: int
    bytes: int
    remarks: list[str]
    seed: int
    ratio: float


def survey(data: DataSet, seed: int = 0, ratio: float = 1.0, *, force: bool = False) -> Outlook:
    """Look at the place of a data set; nothing is written.

    Args:
        data: The data set.
        seed: Of sizes and content.
        ratio: How well its content is to compress; 1 is not at all.
        force: Make every file again, whatever stands there.

    Raises:
        InputError: If another data set is there, or it does not fit.
        CannotRunError: If the place cannot be looked at.
        UnknownNameError: If there is no such format.
    """
    storage = storage_for(data.uri)
    root = storage.resolve(data.uri).rstrip("/")
    suffix, count = suffix_of(data), data.files_train + data.files_eval
    if not count:
        raise InputError("the data set has no files", "see dataset.num_files_train")
    there = set() if force else _there(storage, root)
    if not force:
        _refuse_another(storage, root, manifest.described(data, seed, ratio), has_files=bool(there))
    if not there:
        # Before half a million names are drawn up.
        room.check(data.uri, room.wanted_bytes(data, count), count)
    missing = [plan for plan in plans(data, suffix, seed) if f"{root}/{plan.name}" not in there]
    size = room.wanted_bytes(data, len(missing))
    remarks = room.check(data.uri, size, len(missing))
    if format_of(data).scratch:
        at_once = min(len(missing), math.ceil(cores()))
        room.check(tempfile.gettempdir(), room.wanted_bytes(data, at_once), at_once, "making its files", "TMPDIR")
    return Outlook(data, root, missing, count, size, remarks, seed, ratio)


def generate(outlook: Outlook, processes: int = 0, report: Report = lambda *_: None) -> int:
    """Make the files that are missing.

    Args:
        outlook: What `survey` said.
        processes: How many make them at once; 0 is as many as are worth it.
        report: Called with the files and bytes made so far.

    Returns:
        The bytes written.

    Raises:
        CannotRunError: If a file cannot be made.
    """
    data = outlook.data
    storage = storage_for(data.uri)
    _begin(storage, outlook)
    tally = Tally(report)
    count = processes or _worth(outlook)
    if count <= 1:
        maker = Maker(data, outlook.seed, outlook.ratio)
        for plan in outlook.missing:
            tally.add(1, maker.make(plan.split, plan.index))
    else:
        _by_processes(outlook, min(count, len(outlook.missing)), tally)
    return tally.bytes


def _worth(outlook: Outlook) -> int:
    return max(1, min(math.ceil(cores()), outlook.bytes // _WORTH_A_PROCESS, len(outlook.missing)))


def _there(storage: Storage, root: str) -> set[str]:
    try:
        return {place for place, _ in storage.walk(root)}
    except OSError as error:
        if error.errno in _MISSING:
            return set()
        raise CannotRunError(
            f"{root} cannot be listed: {error.strerror}",
            way_out_of(error, "check its permissions and the endpoint"),
        ) from None


def _refuse_another(storage: Storage, root: str, wanted: dict[str, object], *, has_files: bool) -> None:
    made = manifest.read(storage, root)
    if made is None:
        if has_files:
            raise InputError(
                f"{root} holds files, and nothing there says that tracekit made them",
                "name an empty place with --data, or pass --force to write among them",
            )
        return
    different = manifest.difference(made, wanted)
    if different:
        raise InputError(
            f"{root} holds another data set: {different}", "name another place with --data, or pass --force"
        )


def _begin(storage: Storage, outlook: Outlook) -> None:
    if format_of(outlook.data).scratch:
        hdf5.sweep()
    try:
        if storage.local:
            os.makedirs(outlook.root, exist_ok=True)
            _sweep(outlook)
        manifest.write(storage, outlook.root, manifest.described(outlook.data, outlook.seed, outlook.ratio))
    except OSError as error:
        raise CannotRunError(
            f"{outlook.root} cannot be written: {error.strerror}", way_out_of(error, "name another place with --data")
        ) from None


def _sweep(outlook: Outlook) -> None:
    """Remove what a process that was killed left half-written."""
    patterns = ("{name}", *format_of(outlook.data).beside)
    names = (pattern.format(name=plan.name) for plan in outlook.missing for pattern in patterns)
    for folder in {os.path.dirname(f"{outlook.root}/{name}") for name in names}:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if _PART.search(entry.name) and entry.name.startswith(outlook.data.file_prefix):
                    with suppress(FileNotFoundError):
                        os.unlink(entry.path)


class Tally:
    """Files and bytes that several threads are done with.

    Args:
        report: Called with both.
    """

    def __init__(self, report: Report) -> None:
        self.files = 0
        self.bytes = 0
        self._report = report
        self._lock = Lock()

    def add(self, files: int, written: int) -> None:
        """So many more."""
        with self._lock:
            self.files += files
            self.bytes += written
            self._report(self.files, self.bytes)


def _by_processes(outlook: Outlook, count: int, tally: Tally) -> None:
    errands = iter(_errands(outlook))
    lock = Lock()

    def next_errand() -> tuple[str, int, int] | None:
        with lock:
            return next(errands, None)

    workers = [_Worker(outlook) for _ in range(count)]
    try:
        with ThreadPoolExecutor(count) as pool:
            jobs = [pool.submit(worker.serve, next_errand, tally) for worker in workers]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                # Threads wait for answers: they end when those who give them do.
                for worker in workers:
                    worker.kill()
                raise
    finally:
        for worker in workers:
            worker.end()


def _errands(outlook: Outlook) -> Sequence[tuple[str, int, int]]:
    """(split, first, last) of stretches of files that are missing, each small enough to be shared out evenly."""
    per_file = max(1, outlook.bytes // max(1, len(outlook.missing)))
    most = max(1, min(_AT_ONCE_FILES, _AT_ONCE_BYTES // per_file))
    found: list[tuple[str, int, int]] = []
    for split in (TRAIN, VALID):
        for index in (plan.index for plan in outlook.missing if plan.split == split):
            if found and found[-1][0] == split and found[-1][2] == index and index - found[-1][1] < most:
                found[-1] = (split, found[-1][1], index + 1)
            else:
                found.append((split, index, index + 1))
    return found


class _Worker:
    """A process that makes what it is told."""

    def __init__(self, outlook: Outlook) -> None:
        command = itself.command("tracekit.workload.datagen.work")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell(said(outlook.data, outlook.seed, outlook.ratio))

    def serve(self, next_errand: Callable[[], tuple[str, int, int] | None], tally: Tally) -> None:
        """Pass errands on until there are none."""
        while (errand := next_errand()) is not None:
            split, first, last = errand
            self._tell(f"{split} {first} {last}")
            tally.add(last - first, self._answer())

    def kill(self) -> None:
        """Stop it now."""
        self._process.kill()

    def end(self) -> None:
        """Let it end, and give back what it is talked to by."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # what it says, or that it is gone, is read next
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line.isdigit():
            return int(line)
        raise _refusal(line)


def _refusal(line: str) -> TracekitError:
    try:
        said_so = json.loads(line)
        return CannotRunError(said_so["cause"], said_so["way_out"])
    except (ValueError, KeyError, TypeError):
        return CannotRunError("a process that makes files ended early", "run it again: what is whole is kept")
