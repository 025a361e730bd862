"""Which bytes of a file have been written, as its file system keeps them: extents, by ioctl(2) FS_IOC_FIEMAP."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from struct import Struct

# linux/fs.h and linux/fiemap.h. The ioctl's number has the size of the head in it, and is the same everywhere but on
# architectures with other ioctl encodings, where it fails and SEEK_HOLE does the job.
_FIEMAP = 0xC020660B
_HEAD = Struct("=QQIIII")
_EXTENT = Struct("=QQQQQIIII")
_COUNT = 256
_SYNC, _LAST, _UNWRITTEN = 1, 1, 0x800


def written(fd: int, size: int) -> int | None:
    """Bytes below `size` that were written; None where the file system does not tell."""
    total = 0
    try:
        for logical, length, flags in _extents(fd):
            if not flags & _UNWRITTEN and logical < size:
                total += min(logical + length, size) - logical
    except OSError:
        return None
    return total


def _extents(fd: int) -> Iterator[tuple[int, int, int]]:
    """(offset, bytes, flags) of every extent, what is still in memory written out first."""
    position = 0
    while True:
        request = bytearray(_HEAD.size + _COUNT * _EXTENT.size)
        _HEAD.pack_into(request, 0, position, (1 << 64) - 1 - position, _SYNC, 0, _COUNT, 0)
        fcntl.ioctl(fd, _FIEMAP, request)
        count = _HEAD.unpack_from(request)[3]
        flags = _LAST
        for index in range(count):
            logical, _, length, _, _, flags, *_ = _EXTENT.unpack_from(request, _HEAD.size + index * _EXTENT.size)
            yield logical, length, flags
            position = logical + length
        if flags & _LAST:
            return
