"""Bring the pages of a file into a given state of residency, page by page, and see how far that went.

What the kernel does on its own is kept out: reads go through a descriptor of POSIX_FADV_RANDOM, so nothing is read ahead;
POSIX_FADV_WILLNEED starts the reads of many runs at once and is asked for a megabyte at a time, since it loads at most one
read-ahead window (some MiB) however much is named; and dirty pages, which cannot be dropped, are written out first. A
large folio that holds a page to keep and a page to drop is not dropped in part: then the whole file is dropped and read
again.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from tracekit.pages import Bitmap, runs
from tracekit.storage import cache

PAGE = mmap.PAGESIZE
_PIECE_PAGES = (1 << 20) // PAGE
_AHEAD_PIECES = 64
_WINDOW_PAGES = 1 << 18
_TRIES = 3


@dataclass(frozen=True)
class Agreement:
    """How two states of files agree: all pages, those that should be resident and are not, those that are and should not."""

    pages: int = 0
    missing: int = 0
    extra: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.pages + other.pages, self.missing + other.missing, self.extra + other.extra)

    @property
    def share(self) -> float:
        """Pages in the right state, of all."""
        return 1 - (self.missing + self.extra) / self.pages if self.pages else 1.0

    @classmethod
    def between(cls, wanted: Bitmap, found: Bitmap) -> Agreement:
        """Two bitmaps of one file."""
        return cls(len(wanted), int((wanted & ~found).sum()), int((found & ~wanted).sum()))


def look(path: str) -> Bitmap | None:
    """Which pages of a file are in the page cache; None where the system does not tell us.

    Raises:
        OSError: If the file cannot be opened.
    """
    with cache.opened(path) as file:
        return pages_of(file.fileno())


def pages_of(fd: int) -> Bitmap | None:
    """Which pages of an open file are in the page cache; None where the system does not tell us."""
    size = os.fstat(fd).st_size
    pages = -(-size // PAGE)
    whole = cache.cached_pages(fd)
    if whole is not None and whole in (0, pages):
        return np.full(pages, bool(whole))
    parts = []
    for first in range(0, pages, _WINDOW_PAGES):
        part = _window(fd, first, min(_WINDOW_PAGES, pages - first))
        if part is None:
            return None
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, np.bool_)


def _window(fd: int, first: int, count: int) -> Bitmap | None:
    resident = cache.cached_pages(fd, first * PAGE, count * PAGE)
    if resident is not None and resident in (0, count):
        return np.full(count, bool(resident))
    vector = cache.incore(fd, first * PAGE, count)
    return None if vector is None else np.asarray(np.frombuffer(vector, np.uint8) & 1, np.bool_)


def restore(path: str, wanted: Bitmap) -> Agreement | None:
    """Make exactly the wanted pages of a file resident.

    Args:
        path: The file.
        wanted: One element per page.

    Returns:
        What was reached; None where the system does not tell.

    Raises:
        OSError: If the file cannot be opened or read.
    """
    with cache.opened(path) as file:
        fd = file.fileno()
        with suppress(OSError):  # EROFS, EINVAL: nothing can be dirty there
            os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for attempt in range(_TRIES):
            found = pages_of(fd)
            if found is None or len(found) != len(wanted):
                return None
            if not bool((found ^ wanted).any()):
                break
            _drop(fd, [(0, 0)] if attempt else runs(found & ~wanted))
            found = pages_of(fd)
            if found is not None and len(found) == len(wanted):
                _load(fd, runs(wanted & ~found))
        found = pages_of(fd)
        return None if found is None or len(found) != len(wanted) else Agreement.between(wanted, found)


def _drop(fd: int, spans: Sequence[tuple[int, int]]) -> None:
    for first, count in spans:
        os.posix_fadvise(fd, first * PAGE, count * PAGE, os.POSIX_FADV_DONTNEED)


def _load(fd: int, spans: Sequence[tuple[int, int]]) -> None:
    """Read runs of pages, many under way at once."""
    data = memoryview(bytearray(_PIECE_PAGES * PAGE))
    pieces = list(_pieces(spans))
    for start in range(0, len(pieces), _AHEAD_PIECES):
        batch = pieces[start : start + _AHEAD_PIECES]
        for first, count in batch:
            os.posix_fadvise(fd, first * PAGE, count * PAGE, os.POSIX_FADV_WILLNEED)
        for first, count in batch:
            os.preadv(fd, [data[: count * PAGE]], first * PAGE)


def _pieces(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, count in spans:
        for at in range(first, first + count, _PIECE_PAGES):
            yield at, min(_PIECE_PAGES, first + count - at)
