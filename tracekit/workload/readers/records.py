"""Records one after the other with an index beside them, as DLIO's reader of indexed binary files reads them."""

from __future__ import annotations

import os

import numpy as np

from tracekit.workload.readers.buffered import Buffered
from tracekit.workload.shape import Request

INDICES = (".off.idx", ".sz.idx")
_WORD = 8
Facts = list[list[int]]


def look(place: str, size: int) -> Facts | None:
    """Offsets and sizes of the records; nothing where all are of one size, None where no index is there."""
    found = []
    for suffix in INDICES:
        if not os.path.exists(place + suffix):
            return None
        found.append(np.fromfile(place + suffix, "<i8"))
    offsets, sizes = found
    if not len(offsets) or len(offsets) != len(sizes) or int((offsets + sizes).max()) > size:
        return None
    even = bool((sizes == sizes[0]).all()) and bool((np.diff(offsets) == sizes[0]).all())
    return [] if even else [offsets.tolist(), sizes.tolist()]


def record(facts: Facts, size: int, number: int, samples: int) -> tuple[int, int]:
    """Where a record is, and how long."""
    if facts:
        return facts[0][number], facts[1][number]
    return number * (size // samples), size // samples


def indexed(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The record, by way of the file's buffer."""
    begin, length = record(facts, size, number, samples)
    file = Buffered(size)
    file.seek(begin)
    file.readinto(length)
    return file.requests


def mapped(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The record: what its pages would be read for, were they looked at."""
    return [record(facts, size, number, samples)]


def index(size: int) -> list[Request]:
    """The whole of an index file."""
    file = Buffered(size)
    file.readinto(size // _WORD * _WORD)
    return file.requests
