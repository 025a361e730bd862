"""What is read for a batch: which samples are held, where each goes in memory, and by which requests."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.dataset import Dataset
from tracekit.workload.fetch import RANGE, Ranges, Rows
from tracekit.workload.options import DIRECT_BYTES

Ints = NDArray[np.int64]
# Samples begin where a cache line does.
_LINE = 64
# A task of less is not worth a second thread.
_TASK_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """Where the samples of a batch go.

    Args:
        starts: Where each begins in memory; -1 for one that is not held.
        bytes: How much memory that takes.
        requests: Offset, length, place in memory, sample's position in the batch, and least number of bytes of each request.
    """

    starts: Ints
    bytes: int
    requests: tuple[Ints, Ints, Ints, Ints, Ints]


def lay_out(dataset: Dataset, indices: Ints, limit: int, request: int, *, direct: bool, discard: bool) -> Layout:
    """Plan a batch.

    Args:
        dataset: Where it is from.
        indices: Its samples.
        limit: The most memory it may take; samples beyond are not held.
        request: The most that one request asks for.
        direct: Whether requests are rounded outwards to whole blocks.
        discard: Whether all requests go to the same place, and nothing is held.
    """
    offset, length = dataset.offset[indices], dataset.length[indices]
    first = offset // DIRECT_BYTES * DIRECT_BYTES if direct else offset
    span = -(-(offset + length - first) // DIRECT_BYTES) * DIRECT_BYTES if direct else length
    if discard:
        return Layout(
            np.full(len(indices), -1, np.int64), request, _requests(first, span, offset + length, None, request)
        )
    step = DIRECT_BYTES if direct else _LINE
    room = -(-span // step) * step
    # One that does not fit by itself takes no room from the others.
    taken = np.where(room <= limit, room, 0)
    ends = np.cumsum(taken)
    held = (room <= limit) & (ends <= limit)
    at = ends - taken
    size = int(ends[held][-1]) if bool(held.any()) else 0
    offsets, lengths, places, owner, wanted = _requests(
        first[held], span[held], (offset + length)[held], at[held], request
    )
    position = np.flatnonzero(held)[owner]
    return Layout(np.where(held, at + offset - first, -1), size, (offsets, lengths, places, position, wanted))


def _requests(first: Ints, span: Ints, end: Ints, at: Ints | None, request: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    counts = np.maximum(-(-span // request), 1)
    owner = np.repeat(np.arange(len(first)), counts)
    within = (np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)) * request
    offsets = first[owner] + within
    lengths = np.minimum(request, span[owner] - within)
    places = np.zeros(len(owner), np.int64) if at is None else at[owner] + within
    wanted = np.minimum(lengths, end[owner] - offsets)
    return offsets, lengths, places, owner, wanted


def ranges(dataset: Dataset, indices: Ints, layout: Layout, memory: NDArray[np.uint8]) -> Ranges:
    """The requests of a batch, with their places in `memory`."""
    offsets, lengths, places, owner, wanted = layout.requests
    rows = np.zeros(len(offsets), RANGE)
    rows["offset"], rows["length"] = offsets, lengths
    rows["address"] = places.astype(np.uint64) + np.uint64(memory.ctypes.data)
    samples = indices[owner]
    return Ranges(rows, dataset.file[samples], samples, memory, wanted)


def tasks(whole: Ranges, threads: int, *, split_samples: bool) -> list[slice]:
    """The requests of a batch, dealt to at most `threads` tasks of about the same number of bytes.

    Args:
        whole: All of them.
        threads: Who there is to do them.
        split_samples: Whether the requests of one sample may be done by several.
    """
    total = int(whole.rows["length"].sum())
    count = min(threads, max(1, total // _TASK_BYTES))
    if count == 1 or len(whole.rows) == 1:
        return [slice(0, len(whole.rows))]
    ends = np.cumsum(whole.rows["length"])
    cuts = np.searchsorted(ends, total * np.arange(1, count) / count, side="left") + 1
    if not split_samples:
        cuts = _between_samples(whole.samples, cuts)
    edges = np.unique(np.concatenate(([0], np.minimum(cuts, len(whole.rows)), [len(whole.rows)])))
    return [slice(int(low), int(high)) for low, high in itertools.pairwise(edges)]


def _between_samples(samples: Ints, cuts: Ints) -> Ints:
    changes = np.concatenate((np.flatnonzero(np.diff(samples)) + 1, [len(samples)]))
    return np.asarray(changes[np.searchsorted(changes, cuts, side="left").clip(max=len(changes) - 1)], np.int64)


def part(whole: Ranges, which: slice) -> Ranges:
    """Some of the requests; their rows are those of the whole."""
    rows: Rows = whole.rows[which]
    return Ranges(rows, whole.files[which], whole.samples[which], whole.memory, whole.wanted[which])
