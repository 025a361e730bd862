"""Reading many ranges of files into memory: by the core in one call, or one by one through the storage seam.

Which of them is chosen in one place, `choose`, with the reason. The core is for files read through the page cache; its reads
pass by the recorder, so a process that is being recorded reads through the seam.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tracekit
from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Access, Handle, Window
from tracekit.workload.dataset import Dataset
from tracekit.workload.options import DIRECT_BYTES, DIRECT_DEPTH

# One range, as tk_range in _native/fetch.h has it. Memory is named by address.
RANGE = np.dtype(
    [("name", "<i8"), ("offset", "<i8"), ("length", "<i8"), ("address", "<u8"), ("submitted", "<i8"), ("completed", "<i8"), ("result", "<i8")]
)  # fmt: skip
Rows = NDArray[Any]
_ADVICE = {"default": -1, "random": os.POSIX_FADV_RANDOM, "sequential": os.POSIX_FADV_SEQUENTIAL, "direct": -2}


@dataclass(frozen=True)
class Ranges:
    """Ranges to be read, in order.

    Args:
        rows: A record of `RANGE` each.
        files: The data set's number of the file of each.
        samples: The data set's number of the sample of each.
        memory: What they are read to.
        wanted: The least that must come of each: less where a direct read is rounded outwards.
    """

    rows: Rows
    files: NDArray[np.int64]
    samples: NDArray[np.int64]
    memory: NDArray[np.uint8]
    wanted: NDArray[np.int64]


@dataclass(frozen=True)
class Fetcher:
    """How ranges are read.

    Args:
        name: `core` or `storage`.
        reason: Why not the core; empty where it is.
        fetch: Reads ranges and notes times and results in their rows; errors of single ranges are results below 0.
    """

    name: str
    reason: str
    fetch: Callable[[Ranges], None]


def choose(dataset: Dataset, policy: str, depth: int = DIRECT_DEPTH) -> Fetcher:
    """The way a data set is read under a cache policy, and why.

    Args:
        dataset: What is read.
        policy: `default`, `random`, `sequential` or `direct`.
        depth: How many direct reads of one call may be under way at once.
    """
    core = _core()
    reason = ""
    if not dataset.storage.local or any("://" in place for place in dataset.places[:1]):
        reason = "objects are read by their clients"
    elif tracekit.recording():
        reason = "the core's own reads are not recorded"
    elif core is None:
        reason = "the native core is not available"
    if reason:
        return Fetcher("storage", reason, lambda ranges: by_storage(dataset, policy, ranges))
    return Fetcher("core", "", lambda ranges: _by_core(core, dataset, policy, ranges, depth))


def _core() -> Any:
    try:
        from tracekit import _core
    except ImportError:
        return None
    return _core if _core.fetch_layout() == RANGE.itemsize else None


def _by_core(core: Any, dataset: Dataset, policy: str, ranges: Ranges, depth: int) -> None:
    rows = ranges.rows
    rows["name"] = dataset.name_at[ranges.files]
    core.fetch(dataset.names, rows.ctypes.data, len(rows), _ADVICE[policy], depth)


def by_storage(dataset: Dataset, policy: str, ranges: Ranges) -> None:
    """The twin of the core: ranges one by one, through the data set's storage."""
    # A column at a time: of single rows and their fields NumPy makes objects that cost as much as a request's own Python.
    columns = {name: ranges.rows[name] for name in RANGE.names or ()}
    starts = (columns["address"] - np.uint64(ranges.memory.ctypes.data)).tolist()
    lengths, offsets = columns["length"].tolist(), columns["offset"].tolist()
    files, memory = ranges.files.tolist(), ranges.memory.data
    handle: Handle | None = None
    opened, failed, sample, recorded = -1, 0, -1, tracekit.recording()
    marked: AbstractContextManager[Any] = nullcontext()
    for number, file in enumerate(files):
        if recorded and ranges.samples[number] != sample:
            sample = int(ranges.samples[number])
            marked = tracekit.sample(sample)
        with marked:
            if file != opened or handle is None:
                _close(handle)
                handle, failed = _open(dataset, file, policy)
                opened = file
            view = memory[starts[number] : starts[number] + lengths[number]]
            columns["submitted"][number] = time.monotonic_ns()
            columns["result"][number] = -failed if handle is None else _read(handle, view, offsets[number])
            columns["completed"][number] = time.monotonic_ns()
            if files[number + 1 : number + 2] != [file]:
                _close(handle)
                handle = None


def _open(dataset: Dataset, file: int, policy: str) -> tuple[Handle | None, int]:
    try:
        return dataset.storage.open(dataset.places[file], Access(policy)), 0
    except OSError as error:
        return None, error.errno or errno.EIO


def _close(handle: Handle | None) -> None:
    if handle is not None:
        handle.close()


def _read(handle: Handle, view: memoryview, offset: int) -> int:
    done = 0
    try:
        while done < len(view):
            got = handle.pread(Window(view[done:]), len(view) - done, offset + done)
            done += got
            # O_DIRECT ends a file with a read that is no multiple of the block; to go on from there is EINVAL.
            if got == 0 or (handle.direct and got % DIRECT_BYTES):
                break
    except OSError as error:
        return -(error.errno or errno.EIO)
    return done


def check(dataset: Dataset, ranges: Ranges) -> None:
    """Look at what came.

    Raises:
        CannotRunError: If a file could not be read, naming the first.
        InputError: If one is shorter than when it was listed.
    """
    short = np.flatnonzero(ranges.rows["result"] < ranges.wanted)
    if not len(short):
        return
    first = int(short[0])
    result, uri = int(ranges.rows["result"][first]), dataset.uri(int(ranges.files[first]))
    if result < 0:
        from tracekit.storage.failures import is_status
        from tracekit.storage.keys import StoreError

        error = StoreError(-result) if is_status(-result) else OSError(-result, os.strerror(-result))
        way_out = (
            "this file system refuses O_DIRECT" if -result == errno.EINVAL else "check that it is there and may be read"
        )
        raise CannotRunError(f"{uri} cannot be read: {error.strerror}", way_out)
    raise InputError(
        f"{uri} gave {result} of {int(ranges.wanted[first])} bytes at {int(ranges.rows['offset'][first])}: it is shorter than "
        "when it was listed",
        "make the data set anew with create_dataset",
    )
