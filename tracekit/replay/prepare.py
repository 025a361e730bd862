"""Make missing data: files of the size they were recorded with, or at least as long as the trace reads, of real blocks.

Never sparse: reading a hole or a preallocated range costs no device access, and a replay of it measures memory. Random
filling by default, because devices and file systems may deduplicate or compress zeros. A file appears under its name only
when it is complete, so a run that was interrupted goes on where it was, and what it left half-written (temporary names of
a process that is gone) is removed. Existing files are never touched, unless an earlier run of ours made them (an extended
attribute says so) and they are too short now.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Event, Lock

import numpy as np

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.machine import in_memory
from tracekit.replay.plan import File, Plan
from tracekit.units import format_bytes

_MADE_BY_US = "user.tracekit.prepared"
_PART = ".tracekit-part."
_BLOCK = 1 << 20
# Each waits for an answer from far away.
_ASKING_THREADS = 16
# What a store answers where somebody else made the object meanwhile.
_THERE = (errno.EEXIST, 409, 412)
_THREADS = 4
_SPARE = 0.02
Report = Callable[[int], None]


def missing(plan: Plan) -> list[File]:
    """The files and directories that have to be there, are not, and can be made; or are ours and too short."""
    asked = [file for file in plan.files if file.error is None and file.needed]
    missing_far = _missing_objects([file for file in asked if not file.local])
    wanted = [file for file in asked if (_is_wanted(file) if file.local else file.uri in missing_far)]
    directories = {parent for file in wanted if file.local for parent in _parents(file.place)}
    for file in wanted:
        # Looked at as one name and holding others: a directory, whatever else the trace says of it.
        file.listed = file.listed or file.place in directories
    return wanted


def remarks(files: Sequence[File]) -> list[str]:
    """What the user should know about where the data would be made."""
    places = {_existing_parent(file.place) for file in files if not file.listed and file.local}
    memory = sorted(place for place in places if in_memory(place))
    text = "is a file system in memory: data made there is never read from a device"
    return [f"{memory[0]} {text}; --remap to a directory on the storage to be measured"] if memory else []


def check_space(files: Sequence[File]) -> list[TracekitError]:
    """A problem for each file system that cannot hold what would be made in it."""
    wanted: dict[int, int] = defaultdict(int)
    places: dict[int, str] = {}
    for file in filter(_is_local, files):
        parent = _existing_parent(file.place)
        device = os.stat(parent).st_dev
        wanted[device] += 0 if file.listed else file.wanted_size
        places[device] = parent
    problems: list[TracekitError] = []
    for device, size in wanted.items():
        state = os.statvfs(places[device])
        free = int(state.f_bavail * state.f_frsize * (1 - _SPARE))
        if size > free:
            problems.append(
                InputError(
                    f"preparing needs {format_bytes(size)} at {places[device]} and {format_bytes(free)} are free",
                    "free some space, or --remap to a larger file system",
                    slug="no-room",
                )
            )
    return problems


def prepare(files: Sequence[File], filling: str, report: Report = lambda _: None) -> int:
    """Make the files, several at a time.

    Args:
        files: What `missing` returned.
        filling: `random` or `zero`.
        report: Called with the number of bytes written so far.

    Returns:
        The number of bytes written.

    Raises:
        CannotRunError: If a file cannot be made.
    """
    _sweep({os.path.dirname(file.place) for file in files if not file.listed and file.local})
    progress = _Progress(report)
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = [pool.submit(_make, file, filling, progress) for file in files]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        except BaseException:
            progress.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        failed = next((error for job in done if (error := job.exception()) is not None), None)
        if failed is not None:
            progress.stop.set()
            pool.shutdown(cancel_futures=True)
            raise failed
    return progress.bytes


class _Progress:
    def __init__(self, report: Report) -> None:
        self.bytes = 0
        self.stop = Event()
        self._lock = Lock()
        self._report = report

    def add(self, count: int) -> None:
        if self.stop.is_set():
            raise InterruptedError
        with self._lock:
            self.bytes += count
            self._report(self.bytes)


def _is_local(file: File) -> bool:
    return file.local


def _is_wanted(file: File) -> bool:
    try:
        size = os.stat(file.place).st_size
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return file.read and size < file.wanted_size and _is_ours(file.place)


def _missing_objects(files: Sequence[File]) -> frozenset[str]:
    """The URIs where nothing stands; what a store refuses to say is preflight's to report, and it is asked no more."""
    if not files or _is_missing(files[0]) is None:
        return frozenset()
    with ThreadPoolExecutor(_ASKING_THREADS) as pool:
        answers = list(pool.map(_is_missing, files))
    return frozenset(file.uri for file, answer in zip(files, answers, strict=True) if answer)


def _is_missing(file: File) -> bool | None:
    """Whether nothing stands there; None where the store refuses to say."""
    assert file.storage is not None
    try:
        file.storage.look(file.place)
    except TracekitError:
        return None
    except OSError as error:
        return error.errno == errno.ENOENT
    return False


def _is_ours(path: str) -> bool:
    try:
        return bool(os.getxattr(path, _MADE_BY_US))
    except OSError:
        return False


def _sweep(directories: Iterable[str]) -> None:
    """Remove what processes that are gone left half-written."""
    for directory in directories:
        with suppress(OSError):
            for name in os.listdir(directory):
                pid = name.removeprefix(_PART).partition(".")[0] if name.startswith(_PART) else ""
                if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                    os.unlink(os.path.join(directory, name))


def _make(file: File, filling: str, progress: _Progress) -> None:
    try:
        if not file.local:
            _make_object(file, filling, progress)
            return
        if file.listed:
            os.makedirs(file.place, exist_ok=True)
            return
        os.makedirs(os.path.dirname(file.place) or ".", exist_ok=True)
        _write(file.place, file.wanted_size, filling, progress)
    except InterruptedError:
        return
    except OSError as error:
        if error.errno in _THERE:
            return
        raise CannotRunError(f"{file.place} cannot be prepared: {error.strerror}", "choose another place") from None


def _make_object(file: File, filling: str, progress: _Progress) -> None:
    """An object of the size; a prefix that is listed comes with what is below it.

    A large one goes up in parts, so that memory holds a few of them. An upload that breaks off leaves no object, and is gone on
    with by the next run: the same object is always made of the same bytes.
    """
    if file.listed:
        return
    assert file.storage is not None
    file.storage.write(file.place, _blocks(file.place, file.wanted_size, filling, progress), create=True)


def _blocks(place: str, size: int, filling: str, progress: _Progress) -> Iterator[bytes]:
    seed = int.from_bytes(hashlib.blake2b(os.fsencode(place), digest_size=16).digest(), "little")
    # SFC64 makes about 2 GB/s a core; os.urandom a fifth of that.
    source, left = np.random.Generator(np.random.SFC64(seed)), size
    while left:
        count = min(left, _BLOCK)
        yield bytes(count) if filling == "zero" else source.bytes(count)
        left -= count
        progress.add(count)


def _write(path: str, size: int, filling: str, progress: _Progress) -> None:
    part = os.path.join(os.path.dirname(path), f"{_PART}{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _fill(fd, _blocks(path, size, filling, progress))
        with suppress(OSError):  # file systems without extended attributes: then the file counts as foreign later
            os.setxattr(fd, _MADE_BY_US, filling.encode())
        # Without fsync the blocks are not allocated yet (delayed allocation), and dirty pages cannot be dropped.
        os.fsync(fd)
        _publish(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise
    finally:
        os.close(fd)


def _publish(part: str, path: str) -> None:
    """Give a complete file its name. link(2) fails where somebody else made the file meanwhile; ours is replaced."""
    if _is_ours(path):
        os.replace(part, path)
        return
    try:
        os.link(part, path)
    finally:
        os.unlink(part)


def _fill(fd: int, blocks: Iterable[bytes]) -> None:
    for block in blocks:
        left = memoryview(block)
        while left:
            left = left[os.write(fd, left) :]


def _parents(path: str) -> list[str]:
    parents = []
    while (parent := os.path.dirname(path)) not in ("", path):
        parents.append(parent)
        path = parent
    return parents


def _existing_parent(path: str) -> str:
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent
