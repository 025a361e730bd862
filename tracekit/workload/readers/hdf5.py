"""HDF5, as h5py reads one row of `records`: what the library looks at before, and the row or its chunks.

Where the library looks depends on how the file was written; so it is asked, by reading one file through a file object that notes what it is
asked for. That driver asks as the one for files does, but for rows smaller than the library's sieve buffer, which only the latter has.
"""

from __future__ import annotations

import io
import os
from typing import Any

from tracekit.workload.shape import Request

# The sieve buffer of data that is not in chunks (H5Pset_sieve_buf_size).
_SIEVE = 1 << 16
# Rows of one file in chunks that are asked for one by one; of a larger one they are taken in turn.
_MOST = 256
Facts = list[list[int]]


def look(place: str, size: int) -> Facts | None:
    """What is read for each row; of rows that lie one after the other what is read before, and where they lie.

    None where h5py is not there, or the file holds no `records`.
    """
    del size
    try:
        import h5py
    except ImportError:
        return None
    try:
        with _Noting(place) as noting, h5py.File(noting, "r") as file:
            records = file["records"]
            begin, rows = records.id.get_offset(), len(records)
            row = int(records.dtype.itemsize * _product(records.shape[1:]))
        if begin is not None:
            before = [part for request in _asked(place, 0) if request[0] < begin for part in request]
            return [before, [begin, row, begin + row * rows]]
        return [[part for request in _asked(place, number) for part in request] for number in range(min(rows, _MOST))]
    except (OSError, KeyError, TypeError, AttributeError):
        return None


def _product(extents: tuple[int, ...]) -> int:
    found = 1
    for extent in extents:
        found *= extent
    return found


def _asked(place: str, number: int) -> list[Request]:
    import h5py

    with _Noting(place) as noting:
        with h5py.File(noting, "r") as file:
            file["records"][number]
        return noting.asked


def hdf5(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """What the library looks at, and the row."""
    del size, samples
    if len(facts) == 2 and len(facts[1]) == 3:
        (before, (begin, row, end)) = facts
        at = begin + number * row
        length = min(_SIEVE, end - at) if row < _SIEVE else row
        return [*_pairs(before), (at, length)]
    return _pairs(facts[number % len(facts)])


def _pairs(flat: list[int]) -> list[Request]:
    return list(zip(flat[::2], flat[1::2], strict=True))


class _Noting(io.RawIOBase):
    """A file that notes what it is asked for."""

    def __init__(self, place: str) -> None:
        self._file = os.open(place, os.O_RDONLY)
        self._at, self._size = 0, os.fstat(self._file).st_size
        self.asked: list[Request] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = 0) -> int:
        self._at = to + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: Any) -> int:
        self.asked.append((self._at, len(into)))
        data = os.pread(self._file, len(into), self._at)
        into[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()
