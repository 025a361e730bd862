"""O_DIRECT: reads past the page cache, rounded outwards to what the file system demands.

The demanded alignment comes from statx(2) with STATX_DIOALIGN (Linux 6.1); where the kernel or the file system does not
tell, it is probed with single reads, from 512 bytes up. Nothing falls back to the page cache here: `open_direct` says
None and the caller decides.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from functools import lru_cache

from tracekit.storage.base import OpenFile

_AT_EMPTY_PATH = 0x1000
_STATX_DIOALIGN = 0x2000
# struct statx (uapi/linux/stat.h): stx_mask at 0, stx_dio_mem_align at 0x98, stx_dio_offset_align at 0x9c.
_STATX_BYTES, _MEM_ALIGN_AT, _OFFSET_ALIGN_AT = 256, 0x98, 0x9C
_PROBED = (512, 4096)


class DirectHandle(OpenFile):
    """A file opened with O_DIRECT; `pread` takes aligned ranges, and buffers are page-aligned.

    Args:
        fd: A descriptor opened with O_DIRECT.
        align: What offsets, lengths and addresses must be multiples of, in bytes.
    """

    direct = True
    fell_back = False

    def __init__(self, fd: int, align: int) -> None:
        super().__init__(fd)
        self.align = align

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The request rounded outwards: its start down, its end up."""
        return round_outwards(offset, length, self.align)

    def delivered(self, offset: int, length: int, result: int) -> int:
        """The part of the returned bytes that the request asked for."""
        return max(0, min(length, result - offset % self.align))


def round_outwards(offset: int, length: int, align: int) -> tuple[int, int]:
    """(offset, length) of the smallest range of multiples of `align` that covers the given one; empty stays empty."""
    first = offset // align * align
    if length == 0:
        return first, 0
    return first, -(-(offset + length) // align) * align - first


def open_direct(path: str) -> DirectHandle | None:
    """Open a file with O_DIRECT; None where its file system refuses.

    Raises:
        OSError: If the file cannot be opened for another reason.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    align = alignment(fd)
    if align is None:
        os.close(fd)
        return None
    return DirectHandle(fd, align)


def alignment(fd: int) -> int | None:
    """What O_DIRECT demands of offsets, lengths and memory on this descriptor, in bytes; None where it is refused."""
    told = _told(fd)
    if told is not None:
        memory, offset = told
        return max(memory, offset) or None
    for size in _PROBED:
        try:
            os.preadv(fd, [memoryview(_probe_page())[:size]], 0)
        except OSError:
            continue
        return size
    return None


def _told(fd: int) -> tuple[int, int] | None:
    """(memory, offset) alignment as statx tells, (0, 0) meaning refused; None where it does not tell."""
    result = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        call = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:  # C libraries before glibc 2.28 or musl 1.2.4
        return None
    if call(fd, b"", _AT_EMPTY_PATH, _STATX_DIOALIGN, result) != 0:
        return None
    if not _number(result.raw, 0) & _STATX_DIOALIGN:
        return None
    return _number(result.raw, _MEM_ALIGN_AT), _number(result.raw, _OFFSET_ALIGN_AT)


def _number(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], sys.byteorder)


@lru_cache(maxsize=1)
def _probe_page() -> mmap.mmap:
    return mmap.mmap(-1, mmap.PAGESIZE)
