"""JPEG files made of one tile of noise: valid to the last bit, of any size, and like noise that was encoded as a whole."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tracekit.workload.datagen import images, jpeg_tile
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.jpeg_tile import TILE_BLOCKS, tile_of

CONTENT = Content(7)


class Wanted:
    """What a plan says of one image."""

    def __init__(self, size, key=1000):
        self.size, self.key = size, key

    def one_size(self):
        """The bytes asked for."""
        return self.size


def made(size, key=1000, content=CONTENT):
    """The bytes of an image."""
    return b"".join(map(bytes, images.jpeg(Wanted(size, key), content)))


def segments(data):
    """The segments before the scan, by kind, and the scan with what follows."""
    at, found = 2, {}
    while True:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        found.setdefault(kind, []).append(data[at + 4 : at + 2 + length])
        at += 2 + length
        if kind == jpeg_tile._SOS:
            return found, data[at:]


def intervals(scan):
    """The restart intervals of a scan, and the markers between and behind them."""
    parts, markers, begin = [], [], 0
    for at in range(len(scan) - 1):
        if scan[at] == 0xFF and scan[at + 1] != 0:
            parts.append(scan[begin:at])
            markers.append(scan[at + 1])
            begin = at + 2
    assert begin == len(scan)
    return parts, markers


def coefficients(interval, tables, blocks):
    """Read a restart interval by the standard's rules (ITU T.81, F.2.2): how many bits it took, and the DC values of its blocks."""
    bits = "".join(f"{byte:08b}" for byte in interval.replace(b"\xff\0", b"\xff"))
    at, dc, values = 0, 0, []

    def symbol(table):
        nonlocal at
        for length in range(1, 17):
            found = table.get((length, bits[at : at + length]))
            if found is not None:
                at += length
                return found
        raise AssertionError("no code")

    def number(size):
        nonlocal at
        text, at = bits[at : at + size], at + size
        assert len(text) == size
        return (int(text, 2) if text[0] == "1" else int(text, 2) - (1 << size) + 1) if size else 0

    for _ in range(blocks):
        dc += number(symbol(tables[0x00]))
        values.append(dc)
        place = 1
        while place < 64:
            code = symbol(tables[0x10])
            if code == 0:
                break
            place += code >> 4
            assert place < 64
            if code & 15:
                assert code & 15 <= 10
                number(code & 15)
            place += 1
    assert len(bits) - at < 8
    assert set(bits[at:]) <= {"1"}
    return values


def huffman(parts):
    """The tables of DHT segments: symbols by length and bits."""
    tables = {}
    for part in parts:
        at = 0
        while at < len(part):
            number, counts = part[at], part[at + 1 : at + 17]
            symbols, code = iter(part[at + 17 : at + 17 + sum(counts)]), 0
            for length, count in enumerate(counts, 1):
                for _ in range(count):
                    tables.setdefault(number, {})[length, f"{code:0{length}b}"] = next(symbols)
                    code += 1
                code <<= 1
            at += 17 + sum(counts)
    return tables


@pytest.mark.parametrize("size", [380, 5000, 19_000, 40_000])
def test_every_interval_is_read_by_the_standard(size):
    """Restart markers count on, each interval has its blocks and ends in ones, and DC values stay in range."""
    found, scan = segments(made(size))
    parts, markers = intervals(scan)
    height, width = struct.unpack(">HH", found[jpeg_tile._SOF0][0][1:5])
    blocks = width * height // 64
    expected = [TILE_BLOCKS] * (blocks // TILE_BLOCKS) + [blocks % TILE_BLOCKS] * (blocks % TILE_BLOCKS > 0)

    assert markers == [0xD0 + number % 8 for number in range(len(expected) - 1)] + [0xD9]
    assert found[jpeg_tile._DRI] == [struct.pack(">H", TILE_BLOCKS)]
    tables = huffman(found[jpeg_tile._DHT])
    for part, count in zip(parts, expected, strict=True):
        values = coefficients(part, tables, count)
        assert len(values) == count
        assert max(map(abs, values)) < 1024


@settings(max_examples=60)
@given(st.integers(400, 120_000), st.integers(0, 2**40))
def test_any_size_is_met_and_decodes(size, key):
    """To the byte, but where fewer than four are left for a comment; Pillow reads the whole picture."""
    data = made(size, key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.open(io.BytesIO(data))
        image.load()

    assert size - 4 < len(data) <= size
    # Of what is asked for all but a row of blocks is picture.
    assert sum(map(len, segments(data)[0].get(0xFE, ()))) < 60 + 40 * image.width // 8


def test_all_lengths_of_a_tile_end_as_they_should():
    """A last interval of any number of blocks decodes, also where its last byte is 0xFF or full."""
    tile = images._tile(CONTENT)
    tables = huffman(segments(tile.head + tile.scan_head)[0][jpeg_tile._DHT])
    for blocks in range(1, TILE_BLOCKS, 29):
        start = tile._start(blocks)
        assert len(coefficients(start, tables, blocks)) == blocks
    starts = [tile._start(blocks) for blocks in range(1, TILE_BLOCKS)]
    assert all(start.count(b"\xff") == start.count(b"\xff\0") for start in starts)
    assert any(start.endswith(b"\xff\0") for start in starts)


def test_no_bits_make_a_marker():
    """Whatever is drawn, no byte becomes 0xFF: each keeps a bit that is 0, or stays as it is."""
    tile = images._tile(CONTENT)
    least = ~(tile.free | tile.data)
    fixed = tile.data == 0xFF

    assert (tile.free[fixed] == 0).all()
    assert (least[~fixed] != 0).all()
    assert 0.3 < np.unpackbits(tile.free).mean() < 0.6


def test_the_noise_is_that_of_noise_encoded():
    """Pixels have the mean and spread of noise that Pillow encodes, and no two files, and no two pages, are alike."""
    first, second = made(300_000, 1), made(300_000, 1000)
    pixels = [np.asarray(Image.open(io.BytesIO(data))) for data in (first, second)]
    noise = np.asarray(Image.open(io.BytesIO(images._encoded(CONTENT, 9, 512, 512))))

    for image in pixels:
        assert image.std() == pytest.approx(noise.std(), rel=0.05)
        assert image.mean() == pytest.approx(noise.mean(), rel=0.05)
    assert abs(np.corrcoef(pixels[0].ravel(), pixels[1].ravel())[0, 1]) < 0.5
    pages = {data[at : at + 16] for data in (first, second) for at in range(4096, 290_000)}
    # Sixteen bytes that stand in two places are codes without any free bit.
    assert len(pages) > 0.999 * 2 * (290_000 - 4096)


@pytest.mark.parametrize("size", [5000, 262_144, 1_500_000])
def test_it_does_not_compress(size):
    """A file alone less than 3 %, as far as a window over all of it finds the tile again; and two files together hardly more."""
    both = [made(size, key) for key in (1, 1000)]
    zstd = pa.Codec("zstd", 12)

    for data in both:
        assert len(zstd.compress(data)) > 0.97 * len(data)
    assert len(zstd.compress(b"".join(both))) > 0.96 * 2 * size


def test_content_that_compresses_is_encoded_as_a_whole():
    """Where data is to become smaller, so does the picture; it has no restart intervals."""
    found, _ = segments(made(100_000, content=Content(7, 2.0)))
    assert jpeg_tile._DRI not in found


def test_another_kind_of_jpeg_is_no_tile():
    """Colour, progressive, or with restart intervals: said, not taken apart."""
    noise = np.random.default_rng(1).integers(0, 256, (128, 256, 3), np.uint8)
    for how, picture in (
        ({}, noise),
        ({"progressive": True}, noise[:, :, 0]),
        ({"restart_marker_blocks": 8}, noise[:, :, 0]),
    ):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", **how)
        with pytest.raises(ValueError, match="is not of a grey baseline image"):
            tile_of(out.getvalue())


@pytest.mark.parametrize("size", [1, 200, 364])
def test_less_than_a_block_is_the_smallest_image(size):
    """What no image fits into is one block, as it always was."""
    data = made(size)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.size == (8, 8)
    assert len(data) > size
