"""JPEG and PNG, as Pillow reads them to the last pixel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from tracekit.workload.readers.buffered import Buffered
from tracekit.workload.shape import Request

# Pillow hands its decoders so much at a time (ImageFile.MAXBLOCK), and reads so much at most of a header (SAFEBLOCK).
_DECODED, _SAFE = 1 << 16, 1 << 20
_SCAN = 0xDA
_DATA = 0x49444154  # IDAT
_LAST = 0x49454E44  # IEND
# Of an image, parts that are looked at: more are a file that is none of these.
_MOST = 4096
Facts = list[list[int]]


def look_jpeg(place: str, size: int) -> Facts | None:
    """The lengths of the segments up to the scan; None where it is no JPEG."""
    del size
    with open(place, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return None
        found: list[int] = []
        for marker, length in _segments(file):
            found.append(length)
            if marker == _SCAN:
                return [found]
    return None


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    at = 2
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        length = int.from_bytes(head[2:], "big")
        yield head[1], length
        at += 2 + length


def jpeg(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The segments one by one, and then the whole file again from its first byte, by blocks of the decoder."""
    del number, samples
    file = Buffered(size)
    file.read(16)
    file.seek(0)
    file.read(3)
    for place, length in enumerate(facts[0]):
        # The first byte of the first marker was read with the magic.
        for count in (1,) if not place else (1, 1):
            file.read(count)
        file.read(2)
        _safe(file, length - 2)
    file.seek(0)
    left = size
    while left > 0:
        left -= file.read(_DECODED)
    return file.requests


def look_png(place: str, size: int) -> Facts | None:
    """The chunks: their names as numbers, and their lengths; None where it is no PNG."""
    names: list[int] = []
    lengths: list[int] = []
    with open(place, "rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return None
        at = 8
        while at + 8 <= size and len(names) < _MOST:
            file.seek(at)
            length, name = struct.unpack(">II", file.read(8))
            names.append(name)
            lengths.append(length)
            at += 12 + length
    return [names, lengths] if _DATA in names and _LAST in names else None


def png(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """Chunk by chunk, those of pixels by blocks of the decoder; the last check sum is not read."""
    del number, samples
    file, chunks = Buffered(size), list(zip(*facts, strict=True))
    file.read(16)
    file.seek(0)
    file.read(8)
    for place, (name, length) in enumerate(chunks):
        file.read(8)
        if name == _LAST:
            break
        if name == _DATA:
            if _DATA not in facts[0][:place]:
                # Where the pixels begin is gone to again before they are decoded.
                file.seek(file.at)
            for begin in range(0, length, _DECODED):
                file.read(min(_DECODED, length - begin))
        else:
            _safe(file, length)
        file.read(4)
    return file.requests


def _safe(file: Buffered, count: int) -> None:
    while count > 0:
        got = file.read(min(count, _SAFE))
        if not got:
            return
        count -= got
