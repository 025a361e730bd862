"""Whether what is stored is what was made: read from end to end, every byte held against what is made again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numpy as np

from tracekit.cgroup import cores
from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Access, Buffer, Handle, Storage
from tracekit.workload.datagen.content import BLOCK
from tracekit.workload.datagen.generate import Outlook, Report, Tally
from tracekit.workload.datagen.layout import Plan, plans
from tracekit.workload.datagen.maker import Maker
from tracekit.workload.datagen.registry import suffix_of

# Threads wait for a store; more of them than this make nothing quicker, since Python makes what they compare with.
_MOST = 8


def verify(outlook: Outlook, count: int = 0, report: Report = lambda *_: None) -> int:
    """Read every file of a data set and hold it against what `generate` makes.

    Args:
        outlook: What `survey` said of the place.
        count: How many are read at once; 0 is as many as are worth it.
        report: Called with the files and bytes read so far.

    Returns:
        The bytes read.

    Raises:
        InputError: If a file is missing, or a byte is not what it was made as.
        CannotRunError: If a file cannot be read.
    """
    if outlook.missing:
        raise InputError(
            f"{len(outlook.missing)} of {outlook.files} files are missing in {outlook.root}, the first is {outlook.missing[0].name}",
            "make them: tracekit generate without --verify",
        )
    tally, mine = Tally(report), local()

    def one(plan: Plan) -> None:
        if not hasattr(mine, "maker"):
            mine.maker, mine.buffer = Maker(outlook.data, outlook.seed, outlook.ratio), Buffer(BLOCK)
        tally.add(1, _file(mine.maker, plan, mine.buffer))

    with ThreadPoolExecutor(count or min(_MOST, 2 * math.ceil(cores()))) as pool:
        try:
            for _ in pool.map(one, plans(outlook.data, suffix_of(outlook.data), outlook.seed)):
                pass
        except BaseException:
            # What is under way ends; what waits is dropped.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tally.bytes


def _file(maker: Maker, plan: Plan, buffer: Buffer) -> int:
    return sum(_held(maker.storage, place, buffer, pieces) for place, pieces in maker.pieces(plan.split, plan.index))


def _held(storage: Storage, place: str, buffer: Buffer, pieces: Iterable[Any]) -> int:
    try:
        return held(storage, place, buffer, pieces, "remove it, and generate it again")
    except OSError as error:
        raise CannotRunError(
            f"{place} cannot be read: {error.strerror}", "check its permissions and the endpoint"
        ) from None


def held(storage: Storage, place: str, buffer: Buffer, wanted: Iterable[Any], way_out: str) -> int:
    """Read a place from end to end against what it should hold; its bytes.

    Args:
        storage: Reads it.
        place: Where.
        buffer: What is read into.
        wanted: Its bytes, in pieces.
        way_out: What to do where it does not hold them.

    Raises:
        InputError: If a byte is another, or there are more or fewer.
        OSError: If it cannot be read.
    """
    handle = storage.open(place, Access(policy="sequential"))
    at = 0
    try:
        for piece in wanted:
            view = memoryview(piece).cast("B")
            for start in range(0, len(view), buffer.size):
                part = view[start : start + buffer.size]
                there = _read(handle, buffer, len(part), at)
                if there != part:
                    first = at + _alike(there, part)
                    raise InputError(f"{place} does not hold at byte {first} what was written", way_out)
                at += len(part)
        if handle.size != at:
            raise InputError(f"{place} has {handle.size} bytes and {at} were written", way_out)
    finally:
        handle.close()
    return at


def _alike(one: memoryview, other: memoryview) -> int:
    """How many bytes they begin with in common."""
    length = min(len(one), len(other))
    others = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(others[0]) if others.size else length


def _read(handle: Handle, buffer: Buffer, length: int, at: int) -> memoryview:
    """Read until there are `length` bytes or no more; what there is. O_DIRECT takes whole blocks only, and gives less at the end alone."""
    first, span = handle.span(at, length)
    into = buffer if span <= buffer.size else Buffer(span)
    count = handle.pread(into, span, first)
    while 0 < count < span and not handle.direct:
        rest = Buffer(span - count)
        more = handle.pread(rest, span - count, first + count)
        if more <= 0:
            break
        into.view[count : count + more] = rest.view[:more]
        count += more
    skip = at - first
    return into.view[skip : skip + handle.delivered(at, length, max(count, 0))]
