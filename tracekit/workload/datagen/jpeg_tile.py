"""Noise as JPEG, encoded once: of each copy of it the bits that say how large a coefficient is are drawn anew.

In a baseline scan (ITU T.81, F.1.2) a coefficient is a Huffman code for its size in bits, and then those bits: whichever they are,
the scan stays valid, and any of them is noise of the same kind. A tile of noise is encoded by Pillow and looked through once for
such bits of AC coefficients; a file is that tile over and over, each a restart interval of its own (E.1.4), with other bits each
time. No two files and no two intervals are alike, nothing in them compresses better than noise that was encoded as a whole, and
it costs what copying costs, where encoding costs fifty times as much.

The differences of DC coefficients are left as they were encoded: sums of other ones might go out of range. A byte keeps at least one
bit that is 0, because 0xFF begins a marker.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.datagen.content import Content, mixed

Bytes = NDArray[np.uint8]
# Blocks of eight by eight pixels: enough that a repeated pattern of codes is rare, few enough that looking through takes no time.
TILE_BLOCKS = 512
TILE_SIDES = (32, 16)
# Restart markers are numbered modulo eight.
_GROUP = 48
_MOST_BLOCKS = 8191
_SHIFTS = 1 << 17
_DHT, _SOF0, _SOS, _DRI = 0xC4, 0xC0, 0xDA, 0xDD
_ALL = 0xFF


@dataclass(frozen=True)
class Tile:
    """A restart interval of noise, and which of its bits may be any.

    Args:
        head: What stands before the scan, up to the start-of-scan segment.
        scan_head: That segment.
        data: The interval's bytes, stuffed.
        free: Its free bits.
        ends: Where each block ends, in bits.
    """

    head: bytes
    scan_head: bytes
    data: Bytes
    free: Bytes
    ends: list[int]

    def length(self, blocks: int) -> int:
        """The bytes of an image of so many blocks."""
        tiles, rest = divmod(blocks, TILE_BLOCKS)
        beside = len(self.head) + len(self.scan_head) + 6 + 2  # restart interval, end of image
        scan = tiles * (len(self.data) + 2) + len(self._start(rest)) - (2 if not rest else 0)
        return beside + scan

    def shape(self, size: int) -> tuple[int, int] | None:
        """Width and height, in blocks, of the largest image of no more than `size` bytes: about a square, its width a power of two.

        None where not one block fits, or it would be too large for a JPEG file.
        """
        most = max(1, (size - len(self.head) - len(self.scan_head)) * TILE_BLOCKS // (len(self.data) + 2))
        width = 1 << max(0, (most.bit_length() - 1) // 2)
        height = most // width + 2
        while height > 0 and self.length(width * height) > size:
            height -= 1
        return (width, height) if 0 < height <= _MOST_BLOCKS and width <= _MOST_BLOCKS else None

    def pieces(self, content: Content, key: int, width: int, height: int) -> Iterator[bytes | memoryview]:
        """An image of so many blocks, without its first marker."""
        tiles, rest = divmod(width * height, TILE_BLOCKS)
        yield _sized(self.head[2:], width * 8, height * 8)
        yield struct.pack(">BBHH", _ALL, _DRI, 4, TILE_BLOCKS) + self.scan_head
        data, free = self._group
        for number, start in enumerate(range(0, tiles, _GROUP)):
            count = min(_GROUP, tiles - start)
            last = start + count == tiles and not rest
            yield _drawn(data, free, count * (len(self.data) + 2) - 2 * last, content, key + number)
        if rest:
            end = self._start(rest)
            whole = max(len(end) - 2, 0)  # its end is filled up, and is as it is
            yield _drawn(self.data, self.free, whole, content, key + -(-tiles // _GROUP))
            yield end[whole:]
        yield b"\xff\xd9"

    @cached_property
    def _group(self) -> tuple[Bytes, Bytes]:
        """As many tiles as are made at once, with their restart markers, and the free bits."""
        data, free = (np.zeros((_GROUP, len(self.data) + 2), np.uint8) for _ in range(2))
        data[:, :-2], free[:, :-2] = self.data, self.free
        data[:, -2], data[:, -1] = _ALL, 0xD0 + np.arange(_GROUP) % 8
        return data.reshape(-1), free.reshape(-1)

    def _start(self, blocks: int) -> bytes:
        """The first blocks of the tile, the last byte filled up with ones; nothing of none."""
        if not blocks:
            return b""
        at, bits = divmod(self.ends[blocks - 1], 8)
        start = self.data[:at].tobytes()
        if bits:
            last = int(self.data[at]) | _ALL >> bits
            start += bytes([last])
        return start + b"\0" if start[-1] == _ALL else start


def _drawn(data: Bytes, free: Bytes, count: int, content: Content, key: int) -> memoryview:
    """The first bytes, their free bits drawn anew."""
    # Blocks of content differ by a word that repeats: begun elsewhere each time, they have nothing in common.
    shift = mixed(key) % _SHIFTS
    drawn = content.part(key, shift, shift + count)
    drawn &= free[:count]
    drawn ^= data[:count]
    return drawn.data


def tile_of(image: bytes) -> Tile:
    """The tile that a baseline JPEG of one component is, of as many blocks as a tile has; it has no restart intervals.

    Raises:
        ValueError: If it is another kind of JPEG.
    """
    tables: dict[int, list[tuple[int, int]]] = {}
    at = 2
    while image[at + 1] != _SOS:
        kind, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4], "big")
        if kind == _DHT:
            tables |= _tables(image[at + 4 : at + 2 + length])
        elif 0xC1 <= kind <= 0xCF or kind == _DRI or (kind == _SOF0 and image[at + 9] != 1):
            raise ValueError(f"segment {kind:x} is not of a grey baseline image")
        at += 2 + length
    begin = at + 2 + int.from_bytes(image[at + 2 : at + 4], "big")
    data = np.frombuffer(image[begin:-2], np.uint8).copy()
    free, ends = _free_bits(data, tables[0x00], tables[0x10])
    return Tile(image[:at], image[at:begin], data, free, ends)


def _tables(segment: bytes) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Huffman tables by class and number: for each possible 16 bits ahead the length of the code there and its symbol."""
    at = 0
    while at < len(segment):
        number, counts = segment[at], segment[at + 1 : at + 17]
        symbols = iter(segment[at + 17 : at + 17 + sum(counts)])
        ahead = [
            (length, symbol)
            for length, count in enumerate(counts, 1)
            for symbol in (next(symbols) for _ in range(count))
            for _ in range(1 << (16 - length))
        ]
        yield number, ahead + [(0, 0)] * ((1 << 16) - len(ahead))
        at += 17 + sum(counts)


def _free_bits(data: Bytes, dc: list[tuple[int, int]], ac: list[tuple[int, int]]) -> tuple[Bytes, list[int]]:
    """The free bits of a scan, and where each block ends; where a byte has to keep a 0 its bit in `data` becomes one."""
    # Without the zeros that are stuffed behind 0xFF.
    kept = np.ones(len(data), np.bool_)
    kept[1:] = data[:-1] != _ALL
    places = np.flatnonzero(kept)
    plain = data[places].tobytes() + b"\0\0\0"
    spans, ends = _spans(plain, dc, ac)
    bits = np.zeros(len(places) * 8 + 1, np.int8)
    np.add.at(bits, spans[:, 0], 1)
    np.add.at(bits, spans[:, 1], -1)
    free = np.zeros_like(data)
    free[places] = np.packbits(np.cumsum(bits)[:-1] > 0)
    free[data == _ALL] = 0
    full = (free | data) == _ALL
    # The lowest free bit of such a byte stays 0.
    lowest = free & (~free + np.uint8(1))
    mended = full & (free > 0)
    data[mended] &= ~lowest[mended]
    free[mended] &= ~lowest[mended]
    return free, [int(places[end // 8] if end % 8 else places[end // 8 - 1] + 1) * 8 + end % 8 for end in ends]


def _spans(plain: bytes, dc: list[tuple[int, int]], ac: list[tuple[int, int]]) -> tuple[NDArray[np.int64], list[int]]:
    """Where the bits of each AC coefficient begin and end, and where each block ends."""
    at, spans, ends = 0, list[tuple[int, int]](), list[int]()
    for _ in range(TILE_BLOCKS):
        length, size = dc[_ahead(plain, at)]
        at += length + size
        number = 1
        while number < 64:
            length, symbol = ac[_ahead(plain, at)]
            at += length
            if not symbol:
                break
            size = symbol & 15
            if size:
                spans.append((at, at + size))
                at += size
            number += (symbol >> 4) + 1
        ends.append(at)
    return np.array(spans, np.int64).reshape(-1, 2), ends


def _ahead(plain: bytes, at: int) -> int:
    """The next sixteen bits."""
    first = at >> 3
    return int.from_bytes(plain[first : first + 3], "big") >> (8 - (at & 7)) & 0xFFFF


def _sized(head: bytes, width: int, height: int) -> bytes:
    """The segments of an image with another size in the frame header."""
    at = 0
    while head[at + 1] != _SOF0:
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return head[: at + 5] + struct.pack(">HH", height, width) + head[at + 9 :]
