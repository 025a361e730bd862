"""NPY and NPZ, as `numpy.load` reads them."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from tracekit.workload.readers.buffered import Buffered
from tracekit.workload.shape import Request

# Of C's files, into which numpy reads an array.
_STDIO = 4096
# numpy reads arrays of archives in pieces of that many bytes; zipfile asks for so many at least.
_PIECE, _LEAST = 1 << 18, 4096
_END, _LOCATOR = 22, 20
Facts = list[list[int]]


def look_npy(place: str, size: int) -> Facts | None:
    """Where the array begins; None where that is not how NPY files begin."""
    del size
    with open(place, "rb") as file:
        begin = file.read(12)
    if len(begin) < 12 or begin[:6] != b"\x93NUMPY":
        return None
    long = begin[6] > 1
    return [[(12 if long else 10) + int.from_bytes(begin[8:12] if long else begin[8:10], "little")]]


def npy(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The whole file, whichever sample is asked for: the header by Python's file, the array by C's.

    C's file is opened at the header's end, and so reads the header again to be at a place between two blocks.
    """
    del number, samples
    python = Buffered(size)
    python.read(6)
    found = [*python.requests, (0, facts[0][0]), (0, _STDIO)]
    whole = max(0, size - _STDIO) // _STDIO * _STDIO
    if whole:
        found.append((_STDIO, whole))
    if _STDIO + whole < size:
        found.append((_STDIO + whole, _STDIO))
    return found


class _Noted(io.FileIO):
    """A file that notes how many bytes it is asked for."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.asked: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(-1 if size is None else size)
        return super().read(size)


def look_npz(place: str, size: int) -> Facts | None:
    """Of an archive's array `x`: where its entry and its bytes begin, where they end before the directory, and where that is.

    What is compressed is read from end to end: how many bytes zipfile asks for at a time depends on what came of the last ones.
    """
    try:
        with _Noted(place) as file, zipfile.ZipFile(file) as archive:
            entry = archive.getinfo("x.npy")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return None
            file.seek(entry.header_offset + 26)
            named, extra = struct.unpack("<HH", file.read(4))
            with archive.open(entry) as member:
                file.asked.clear()
                length = 10 + int.from_bytes(member.read(10)[8:], "little")
                stored = entry.compress_type == zipfile.ZIP_STORED
                for count in () if stored else _array(length, entry.file_size):
                    member.read(count)
            asked = [] if stored else file.asked
            begin, end = entry.header_offset + 30 + named + extra, archive.start_dir
    except (zipfile.BadZipFile, zlib.error, KeyError):
        return None
    return [[entry.header_offset, named, begin, length, end - begin - entry.compress_size, size - end], asked]


def npz(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The archive's directory at its end, and the array of all samples, in pieces."""
    del number, samples
    (entry, named, begin, header, between, directory), asked = facts
    file = Buffered(size)
    file.read(6)
    file.seek(-_END, from_end=True)
    file.read_all()
    file.seek(-_END - _LOCATOR, from_end=True)
    file.read(_LOCATOR)
    file.seek(size - directory)
    file.read(directory - _END)
    file.seek(entry)
    for count in (30, named, begin - entry - 30 - named):
        file.read(count)
    end = size - directory - between
    if asked:
        # Of another archive than was looked into the last reads are others.
        for count in (*asked, size):
            file.seek(begin)
            begin += file.read(min(count, end - begin))
        return file.requests
    member = _Member(file, begin, end - begin)
    for count in (8, 2, *_array(header, end - begin)):
        member.read(count)
    return file.requests


def _array(header: int, size: int) -> Iterator[int]:
    """What numpy reads of an array's file after magic, version and length of the header: the rest of that, and the array in pieces."""
    yield header - 10
    for at in range(header, size, _PIECE):
        yield min(_PIECE, size - at)


class _Member:
    """A stored entry of an archive, as `zipfile.ZipExtFile` reads it: a block at least, and what was too much is kept.

    Args:
        file: The archive.
        begin: Where the entry's bytes begin.
        size: How many there are.
    """

    def __init__(self, file: Buffered, begin: int, size: int) -> None:
        self._file, self._at, self._rest, self._kept = file, begin, size, 0

    def read(self, count: int) -> None:
        """Ask for bytes."""
        given = min(count, self._kept)
        self._kept, count = self._kept - given, count - given
        while count > 0 and self._rest > 0:
            self._file.seek(self._at)
            got = self._file.read(min(max(count, _LEAST), self._rest))
            if not got:
                break
            self._at, self._rest = self._at + got, self._rest - got
            self._kept, count = max(0, got - count), max(0, count - got)
