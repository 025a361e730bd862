"""Large objects in parts: several on their way at once, and gone on with where an earlier run was cut off.

A part is known by its number, size and MD5: S3 keeps that as the part's ETag, and on Azure it stands in the name of the block. What
an earlier run began is taken up where its first part is what this one begins with; parts that are there and are what they are to be
are not sent again. The object appears when all of its parts are there, or not at all; what fails leaves its parts to the next run.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from tracekit.storage.failures import may_pass
from tracekit.storage.keys import StoreError

T = TypeVar("T")
PART_BYTES = 8 << 20
# Stores take ten thousand parts: of large objects later ones are larger, always in the same way.
_GROWS_EVERY = 1000
_AT_ONCE = 4
# Nobody measures an upload: what may pass is asked for again, after a pause that doubles.
_ATTEMPTS, _PAUSE_S, _LONGEST_S = 5, 0.2, 60.0
_THERE = (409, 412)


@dataclass(frozen=True)
class Part:
    """A part of an object: its bytes, and their MD5 in hexadecimal."""

    size: int
    digest: str


class Upload(Protocol):
    """An upload that was begun; every failure is a `StoreError`. `parts` are those that are there, by number from 1."""

    parts: Mapping[int, Part]

    def send(self, number: int, body: bytes, part: Part) -> None:
        """Send a part; several threads may."""

    def finish(self, parts: Sequence[Part], *, create: bool) -> None:
        """Make the object of these parts; with `create` it must not exist yet."""

    def drop(self) -> None:
        """Give up what was sent."""


class Uploads(Protocol):
    """What a store knows of uploads to one container."""

    def begin(self, name: str) -> Upload:
        """A new one."""

    def begun(self, name: str) -> Iterable[Upload]:
        """Those that were begun for this object and not finished, by whomever."""


class Whole(Protocol):
    """Makes an object by one request."""

    def write(self, name: str, body: bytes | memoryview, *, create: bool = False) -> None:
        """Make it."""


def write(client: Whole, uploads: Callable[[], Uploads], name: str, pieces: Iterable[Any], *, create: bool) -> None:
    """Make an object of pieces: by one request where they fit into a part, else by an upload.

    Args:
        client: Makes the small ones.
        uploads: Gives what makes the large ones.
        name: The object's key.
        pieces: Its bytes; the same for the same object, so that an upload can be gone on with.
        create: Whether it must not exist yet.

    Raises:
        StoreError: What the store said; 409 or 412 where the object was there already.
    """
    bodies = bodies_of(pieces)
    first = next(bodies, b"")
    second = next(bodies, None)
    if second is None:
        insist(partial(client.write, name, first, create=create))
        return
    upload = _taken_up(uploads(), name, first)
    parts = _sent(upload, chain((first, second), bodies))
    try:
        insist(partial(upload.finish, parts, create=create))
    except StoreError as error:
        if error.errno in _THERE:
            upload.drop()
        raise


def bodies_of(pieces: Iterable[Any]) -> Iterator[bytes]:
    """Pieces as the bodies of parts: all but the last are as large as parts of their number are."""
    held, number = bytearray(), 1
    for piece in pieces:
        left = memoryview(piece).cast("B")
        while left:
            room = _size_of(number) - len(held)
            held += left[:room]
            left = left[room:]
            if len(held) == _size_of(number):
                yield bytes(held)
                held, number = bytearray(), number + 1
    if held:
        yield bytes(held)


def insist(request: Callable[[], T], stop: threading.Event | None = None) -> T:
    """What a request returns, made again a few times where its failure may pass.

    Raises:
        StoreError: Of the last attempt, or of one whose failure stays.
    """
    stop = stop or threading.Event()
    for attempt in range(1, _ATTEMPTS):
        try:
            return request()
        except StoreError as error:  # noqa: PERF203 -- beside a request it costs nothing
            pause = min(max(_PAUSE_S * 2**attempt, error.retry_after_s or 0.0), _LONGEST_S)
            if not may_pass(error.number) or stop.wait(pause):
                raise
    return request()


def _size_of(number: int) -> int:
    return PART_BYTES << ((number - 1) // _GROWS_EVERY)


def _part(body: bytes) -> Part:
    return Part(len(body), hashlib.md5(body, usedforsecurity=False).hexdigest())


def _taken_up(uploads: Uploads, name: str, first: bytes) -> Upload:
    """The upload of an earlier run of ours that is furthest, or a new one. Others of ours are given up."""
    part = _part(first)
    ours = [upload for upload in uploads.begun(name) if upload.parts.get(1) == part]
    ours.sort(key=lambda upload: len(upload.parts))
    for upload in ours[:-1]:
        upload.drop()
    return ours[-1] if ours else insist(partial(uploads.begin, name))


def _sent(upload: Upload, bodies: Iterable[bytes]) -> list[Part]:
    """Send what is missing, a few parts at once; all parts."""
    parts: list[Part] = []
    under_way: deque[Future[None]] = deque()
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE, "parts") as pool:
        try:
            for number, body in enumerate(bodies, 1):
                parts.append(_part(body))
                if upload.parts.get(number) == parts[-1]:
                    continue
                if len(under_way) == _AT_ONCE:
                    under_way.popleft().result()
                under_way.append(pool.submit(insist, partial(upload.send, number, body, parts[-1]), stop))
            for future in under_way:
                future.result()
        except BaseException:
            # Those that are on their way go on: the next run has less to send.
            stop.set()
            raise
    return parts
