"""What stands in generated files: noise that no compressor makes smaller, or as much of it as a ratio leaves.

A block of random numbers is made once, and each block of content is that one with a number of its own laid over every eight bytes
(XOR): no two are alike, no compressor or deduplicating file system finds anything, and it costs a fiftieth of random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import UsageError

BLOCK = 1 << 20
_PAGE = 4096
MOST_RATIO = _PAGE
_MASK = (1 << 64) - 1


class Content:
    """A source of bytes; the same seed gives the same bytes.

    Args:
        seed: Of all of it.
        ratio: How well it compresses: 1 not at all, 2 to half. Of each 4 KiB the first part is zeros.

    Raises:
        UsageError: If the ratio is below 1.
    """

    def __init__(self, seed: int, ratio: float = 1.0) -> None:
        if not 1.0 <= ratio <= _PAGE:
            raise UsageError(f"a compression ratio of {ratio} is impossible", "write 1 for noise, 2 for half of it")
        self._base = np.random.Generator(np.random.SFC64(seed)).integers(0, _MASK, BLOCK // 8, np.uint64, endpoint=True)
        self._zeros = round(_PAGE * (1 - 1 / ratio))
        self._seed = seed

    @property
    def compressible(self) -> bool:
        """Whether it is less than noise."""
        return self._zeros > 0

    def blocks(self, key: int, size: int) -> Iterator[memoryview]:
        """`size` bytes in pieces of up to a MiB. A piece is good until the next one is asked for."""
        out = np.empty(min(BLOCK, -(-size // 8) * 8) // 8, np.uint64)
        for number, at in enumerate(range(0, size, BLOCK)):
            count = min(BLOCK, size - at)
            yield self._fill(out, (key << 24) + number, count)

    def part(self, key: int, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes from `start` to `end` of the first block, where content is noise."""
        first = start // 8
        words = self._base[first : -(-end // 8)] ^ self._word(key << 24)
        return words.view(np.uint8)[start - first * 8 : end - first * 8]

    def whole(self, key: int, size: int) -> memoryview:
        """The same in one piece."""
        if size <= BLOCK:
            return self._fill(np.empty(-(-size // 8), np.uint64), key << 24, size)
        found = bytearray(size)
        at = 0
        for piece in self.blocks(key, size):
            found[at : at + len(piece)] = piece
            at += len(piece)
        return memoryview(found)

    def _fill(self, out: np.ndarray[tuple[int], np.dtype[np.uint64]], number: int, count: int) -> memoryview:
        words = -(-count // 8)
        np.bitwise_xor(self._base[:words], self._word(number), out=out[:words])
        view = out.view(np.uint8)[:count]
        if self._zeros:
            whole = count // _PAGE * _PAGE
            view[:whole].reshape(-1, _PAGE)[:, : self._zeros] = 0
            view[whole : whole + min(self._zeros, round((count - whole) * self._zeros / _PAGE))] = 0
        return view.data

    def _word(self, number: int) -> np.uint64:
        word: np.uint64 = np.uint64(mixed(self._seed ^ number))
        return word


def mixed(number: int) -> int:
    """A number's bits well stirred, as a 64-bit word (splitmix64, Steele and others 2014)."""
    word = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)
