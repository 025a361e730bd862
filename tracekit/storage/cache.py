"""The page cache: how much of a file is in it, and how to empty or fill it.

Residency comes from cachestat(2) (Linux 6.5), else from mincore(2) over a mapping of the file. Dropping is per file and
needs no privilege: fsync(2) first, because dirty pages cannot be dropped, then posix_fadvise(POSIX_FADV_DONTNEED). The
kernel may keep pages that somebody has mapped or locked, so what stayed is always measured, never assumed.
"""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from tracekit.storage import extents

_CACHESTAT = 451  # the same number on every architecture (include/uapi/asm-generic/unistd.h)
_DROP_CACHES = "/proc/sys/vm/drop_caches"
_FILL_BYTES = 1 << 20


class _Range(ctypes.Structure):
    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


@dataclass(frozen=True)
class Residency:
    """Pages of some files, and how many of them are in the page cache."""

    pages: int = 0
    resident: int = 0

    def __add__(self, other: Residency) -> Residency:
        return Residency(self.pages + other.pages, self.resident + other.resident)

    @property
    def share(self) -> float:
        """Resident pages of all pages; 0 where there are none."""
        return self.resident / self.pages if self.pages else 0.0


def residency(paths: Iterable[str]) -> Residency | None:
    """How much of these files is in the page cache; None where the system does not tell. Unreadable files count nothing."""
    total = Residency()
    for path in paths:
        with suppress(OSError):
            one = of_file(path)
            if one is None:
                return None
            total += one
    return total


def drop(path: str) -> None:
    """Ask the kernel to forget a file's pages.

    Raises:
        OSError: If the file cannot be opened or flushed.
    """
    with opened(path) as file:
        with suppress(OSError):  # EROFS, EINVAL: nothing can be dirty there
            os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(path: str) -> int:
    """Read a file to its end, so that its pages are in the cache; the number of bytes.

    Raises:
        OSError: If the file cannot be read.
    """
    data = bytearray(_FILL_BYTES)
    total = 0
    with opened(path) as file:
        while count := file.readinto(data):
            total += count
    return total


def drop_everything() -> str:
    """Drop the page cache of the whole machine; an empty string, or a sentence why it was not done."""
    try:
        os.sync()
        with open(_DROP_CACHES, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as error:
        return f"the machine's page cache was not dropped: {_DROP_CACHES}: {error.strerror}"
    return ""


def opened(path: str) -> io.FileIO:
    """A file opened for looking at its pages.

    Raises:
        OSError: If it cannot be opened.
    """
    # O_NONBLOCK keeps a FIFO in a data directory from holding us.
    return io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")


def of_file(path: str) -> Residency | None:
    """How much of one file is in the page cache; None where the system does not tell.

    Raises:
        OSError: If the file cannot be opened.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        pages = -(-size // mmap.PAGESIZE)
        cached = cached_pages(file.fileno())
        if cached is None:
            vector = incore(file.fileno(), 0, pages)
            cached = None if vector is None else sum(byte & 1 for byte in vector)
        return None if cached is None else Residency(pages, min(cached, pages))


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def cached_pages(fd: int, offset: int = 0, length: int = 0) -> int | None:
    """Pages of a range of an open file in the cache by cachestat(2), length 0 meaning up to the end; None without it."""
    span, result = _Range(offset, length), _CacheStat()
    if _libc().syscall(_CACHESTAT, fd, ctypes.byref(span), ctypes.byref(result), 0) != 0:
        return None
    return int(result.cached)


def incore(fd: int, offset: int, pages: int) -> bytes | None:
    """One byte per page of an open file from `offset` on, its lowest bit set where the page is in the cache; by mincore(2).

    None where the system does not tell: to one who neither owns the file nor may write to it, mincore shows every page as
    resident (Linux 5.2).
    """
    if pages == 0:
        return b""
    if not _may_know(fd):
        return None
    call = _libc().mmap
    call.restype = ctypes.c_void_p
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    size = pages * mmap.PAGESIZE
    address = call(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        return None
    try:
        vector = ctypes.create_string_buffer(pages)
        if _libc().mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector) != 0:
            return None
        return vector.raw
    finally:
        _libc().munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def _may_know(fd: int) -> bool:
    user = os.geteuid()
    return user == 0 or os.fstat(fd).st_uid == user or os.access(f"/proc/self/fd/{fd}", os.W_OK, effective_ids=True)


def holes(path: str) -> int:
    """Bytes of a file that were never written; 0 where the file system does not tell.

    Reading what was never written costs no device access: a stand-in file with holes makes a cold or direct replay look
    forty times too fast. The file system's extents (FIEMAP) also show ranges that were reserved and not written, which
    lseek(2) takes for data once zeros of them are in the page cache; SEEK_HOLE is for file systems without extents.
    """
    with opened(path) as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        written = extents.written(fd, size)
        return _holes_by_seeking(fd, size) if written is None else size - written


def _holes_by_seeking(fd: int, size: int) -> int:
    position = missing = 0
    try:
        while position < size:
            hole = os.lseek(fd, position, os.SEEK_HOLE)
            position = _next_data(fd, hole, size)
            missing += position - hole
    except OSError:
        return 0
    return missing


def _next_data(fd: int, hole: int, size: int) -> int:
    if hole >= size:
        return hole
    try:
        return os.lseek(fd, hole, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole up to the end
            return size
        raise
