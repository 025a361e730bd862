"""The memory that batches are read into: how much may be held, and arrays that are used again once nobody looks at them."""

from __future__ import annotations

import mmap
import sys

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
# Smaller ones come from the C library at no cost worth keeping them for.
_SMALLEST = 64 << 10


def _references(arrays: list[Bytes]) -> list[int]:
    """How often each array of a list is referred to, as seen from here: the interpreter's own references are counted with it."""
    return [sys.getrefcount(array) for array in arrays]


# What an array that nothing but a list refers to counts; it differs between versions of Python.
_IDLE = _references([np.empty(1, np.uint8)])[0]


class Arenas:
    """Arrays for batches. Not for several threads at once: the loader's lock is held around it.

    A consumer may keep what it was handed; such an array is left to it. The others are used again: memory that is touched for
    the first time costs more than reading a cached file into it.

    Args:
        keep_bytes: The most that idle arrays and those in use hold together.
        aligned: Whether every array begins at a page, as O_DIRECT wants it.
    """

    def __init__(self, keep_bytes: int, *, aligned: bool = False) -> None:
        self._smallest = 0 if aligned else _SMALLEST
        self._keep = keep_bytes
        self._arrays: list[Bytes] = []

    def take(self, size: int, held: int = 0) -> Bytes:
        """An array of at least `size` bytes, while others of `held` bytes are in use."""
        if size < self._smallest:
            return np.empty(max(size, 1), np.uint8)
        for index, count in enumerate(_references(self._arrays)):
            if count == _IDLE and size <= len(self._arrays[index]) <= 2 * size:
                return self._arrays.pop(index)
        self._forget(size + held)
        return pages(size)

    def give(self, array: Bytes, held: int = 0) -> None:
        """The loader is done with an array, and others of `held` bytes are in use; whether the consumer is done shows later."""
        if len(array) >= self._smallest:
            self._arrays.append(array)
            self._forget(held)

    def _forget(self, room: int) -> None:
        idle = sum(len(array) for array in self._arrays)
        while self._arrays and idle + room > self._keep:
            idle -= len(self._arrays.pop(0))


def pages(size: int) -> Bytes:
    """An array of whole pages that begins at one, as O_DIRECT wants it; given back to the system when it goes."""
    whole = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    return np.frombuffer(mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
