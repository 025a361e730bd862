"""TFRecord files of `tf.train.Example`, with DALI's index beside them; and files of records with offsets and sizes in two others."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from tracekit.workload.datagen.checksum import crc32c, masked
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan


def tfrecord(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    """A TFRecord file: each record an Example with the features `image` (bytes) and `size` (int64)."""
    pieces = _records(plan, content)
    return _gzip(pieces, plan.data.compression_level) if plan.data.compression == "gzip" else pieces


def dali_index(plan: Plan) -> Iterator[bytes]:
    """Where each record of a TFRecord file begins and how long it is, as `tfrecord2idx` writes it."""
    at = 0
    for sizes in plan.sizes():
        lines = []
        for size in sizes.tolist():
            length = 16 + len(_before(size)) + size
            lines.append(f"{at} {length}\n")
            at += length
        yield "".join(lines).encode()


def indexed(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    """Records one after the other, without anything between."""
    return (piece for key, size in _samples(plan) for piece in content.blocks(key, size))


def offsets(plan: Plan) -> Iterator[memoryview]:
    """Where each record begins, as 64-bit words."""
    at = 0
    for sizes in plan.sizes():
        ends = np.cumsum(sizes) + at
        yield (ends - sizes).astype("<i8").data.cast("B")
        at = int(ends[-1])


def lengths(plan: Plan) -> Iterator[memoryview]:
    """How long each record is, as 64-bit words."""
    for sizes in plan.sizes():
        yield sizes.astype("<i8").data.cast("B")


def _samples(plan: Plan) -> Iterator[tuple[int, int]]:
    """(key, size) of each sample."""
    key = plan.key
    for sizes in plan.sizes():
        for size in sizes.tolist():
            yield key, size
            key += 1


def _records(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    for key, size in _samples(plan):
        before = _before(size)
        length = struct.pack("<Q", len(before) + size)
        yield length + struct.pack("<I", masked(length)) + before
        crc = crc32c(before)
        for piece in content.blocks(key, size):
            crc = crc32c(piece, crc)
            yield piece
        yield struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _before(size: int) -> bytes:
    """An Example up to the bytes of its image, which come last: Example { Features { map entries size, image } }."""
    label = _field(1, b"size") + _field(2, _field(3, _field(1, _varint(size))))
    inner = _tag(1) + _varint(size)  # BytesList.value
    feature = _tag(1) + _varint(len(inner) + size) + inner  # Feature.bytes_list
    entry = _field(1, b"image") + _tag(2) + _varint(len(feature) + size) + feature
    features = _field(1, label) + _tag(1) + _varint(len(entry) + size) + entry
    return _tag(1) + _varint(len(features) + size) + features


def _field(number: int, data: bytes) -> bytes:
    return _tag(number) + _varint(len(data)) + data


def _tag(number: int) -> bytes:
    return bytes([number << 3 | 2])


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _gzip(pieces: Iterable[bytes | memoryview], level: int) -> Iterator[bytes]:
    packer = zlib.compressobj(min(level, 9), zlib.DEFLATED, 31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()
