"""JPEG and PNG files that decode, each exactly as long as its sample is to be."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np

from tracekit.errors import CannotRunError
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.jpeg_tile import TILE_SIDES, Tile, tile_of
from tracekit.workload.datagen.layout import Plan

_QUALITY = 75
# Of grey noise at that quality: 0.556 bytes per pixel and 623 besides (Pillow 12, libjpeg-turbo 3).
_JPEG_PIXELS_PER_BYTE = 1.7
_COMMENT = 65533
_START = b"\xff\xd8"
_CHUNK_BESIDE = 4 + 4 + 4
_PNG_BESIDE = 8 + 13 + 3 * _CHUNK_BESIDE
_ZLIB_BESIDE = 2 + 4
# The most bytes of a block that is not compressed (RFC 1951).
_STORED = 65535


def jpeg(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    """A grey image of noise; what its encoding leaves of the sample's size is comment segments (ITU T.81, B.2.4.5)."""
    size = plan.one_size()
    tile = None if content.compressible else _tile(content)
    shape = tile.shape(size) if tile else None
    if tile is None or shape is None:
        yield from _jpeg_encoded(content, plan.key, size)
        return
    yield _START
    yield from _comments(content, plan.key, size - tile.length(math.prod(shape)))
    yield from tile.pieces(content, plan.key + 1, *shape)


def _jpeg_encoded(content: Content, key: int, size: int) -> Iterator[bytes | memoryview]:
    """The same, all of it encoded: content that compresses, and images of less than a block."""
    side = max(8, math.isqrt(round(size * _JPEG_PIXELS_PER_BYTE)) // 8 * 8)
    body = _encoded(content, key, side, side)
    while len(body) > size and side > 8:
        side = max(8, side * 9 // 10 // 8 * 8)
        body = _encoded(content, key, side, side)
    yield _START
    yield from _comments(content, key + 1, size - len(body))
    yield body[2:]


# A process makes files of one content.
_tiles: WeakKeyDictionary[Content, Tile] = WeakKeyDictionary()


def _tile(content: Content) -> Tile:
    if content not in _tiles:
        width, height = TILE_SIDES
        _tiles[content] = tile_of(_encoded(content, 0, width * 8, height * 8))
    return _tiles[content]


def png(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    """A grey image of noise, its pixels stored; what is left of the sample's size is a private chunk."""
    size = plan.one_size()
    side = _png_side(size)
    rows = np.zeros((side, side + 1), np.uint8)  # the first byte of a row is its filter: none
    rows[:, 1:] = np.frombuffer(content.whole(plan.key, side * side), np.uint8).reshape(side, side)
    yield b"\x89PNG\r\n\x1a\n"
    yield from _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    yield from _chunk(b"IDAT", b"".join(_stored(rows.data.cast("B"))))
    left = size - _png_bytes(side)
    if left >= _CHUNK_BESIDE:
        yield from _chunk(b"tkPd", content.whole(plan.key + 1, left - _CHUNK_BESIDE))
    yield from _chunk(b"IEND", b"")


def _encoded(content: Content, key: int, width: int, height: int) -> bytes:
    try:
        from PIL import Image
    except ImportError:
        raise CannotRunError(
            "JPEG files need Pillow, which is not installed", "pip install 'tracekit-io[torch]', or pip install pillow"
        ) from None
    pixels = np.frombuffer(content.whole(key, width * height), np.uint8).reshape(height, width)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="JPEG", quality=_QUALITY)
    return out.getvalue()


def _comments(content: Content, key: int, left: int) -> Iterator[bytes]:
    """Comment segments of `left` bytes together; fewer than four bytes make none."""
    while left >= 4:
        take = min(left, _COMMENT + 4 - 2)
        if 0 < left - take < 4:
            take -= 4
        yield b"\xff\xfe" + struct.pack(">H", take - 2) + bytes(content.whole(key, take - 4))
        left -= take
        key += 1


def _png_side(size: int) -> int:
    """The largest square image whose stored pixels fit."""
    side = max(1, math.isqrt(max(1, size)))
    while side > 1 and _png_bytes(side) > size:
        side -= 1
    return side


def _png_bytes(side: int) -> int:
    raw = side * (side + 1)
    return _PNG_BESIDE + _ZLIB_BESIDE + raw + 5 * -(-raw // _STORED)


def _stored(data: memoryview) -> Iterator[bytes | memoryview]:
    """What zlib (RFC 1950) makes of bytes that it does not compress: at its level 0 it takes several times as long for the same."""
    yield b"\x78\x01"
    for at in range(0, len(data), _STORED):
        block = data[at : at + _STORED]
        yield struct.pack("<BHH", at + _STORED >= len(data), len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", zlib.adler32(data))


def _chunk(name: bytes, data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    yield struct.pack(">I4s", len(data), name)
    yield data
    yield struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
