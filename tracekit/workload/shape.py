"""The shape of a framework's I/O: by which requests a file is read, who reads what, and how far ahead.

A profile's shape comes in two forms: as the seed documents give it, and as recordings of the real framework have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Request = tuple[int, int]
UNITS = ("file", "stream", "record")
ENDINGS = ("known", "retry", "buffered")


@dataclass(frozen=True)
class Shape:
    """How samples are read.

    Args:
        unit: `file`: a sample is a file, opened, read and closed for itself. `stream`: samples lie one after the other in
            shards that are read from front to back. `record`: they are read by themselves, at random places in open files.
        smallest: The smallest request for data, in bytes.
        largest: The largest; sizes between are drawn by seed.
        cycle: Sizes that follow each other again and again, in place of the above; empty for none.
        first: The first request of a file, where it differs (a look at the header); 0 where it does not.
        ending: How the end is met. `known`: nothing is asked for beyond it. `retry`: the last request is as large as the others
            and comes short, and what it lacked is asked for once more. `buffered`: the same in blocks of the buffer's size.
        buffer: The size of the buffer of a `buffered` ending.
        index: Bytes at a file's end that are read when it is opened; 0 for none.
        threads: Threads of each worker that read.
        together: Whether each batch is made of what all workers read, and not by one of them.
        across: Whether workers go on from epoch to epoch, and not anew for each.
        shuffle_buffer: Samples that a worker holds to be shuffled before its first batch.
        read_buffer: Samples that a worker reads beyond its batches.
        looks: What the main process does before: nothing, `stat` of every file, `list` and `stat`, or `stat` and a read of every
            `index`.
    """

    unit: str
    smallest: int = 65536
    largest: int = 65536
    cycle: tuple[int, ...] = ()
    first: int = 0
    ending: str = "known"
    buffer: int = 4096
    index: int = 0
    threads: int = 1
    together: bool = False
    across: bool = False
    shuffle_buffer: int = 0
    read_buffer: int = 0
    looks: str = ""

    def requests(self, size: int, seed: int = 0) -> list[Request]:
        """(offset, length) of every request for the data of a file.

        Args:
            size: Of the file, in bytes.
            seed: Draws the sizes where they vary.
        """
        return list(self._all(size, seed))

    def _all(self, size: int, seed: int) -> Iterator[Request]:
        at, sizes = 0, self._sizes(seed, size)
        while at < size:
            wanted = next(sizes)
            if self.ending == "known":
                wanted = min(wanted, size - at)
            got = min(wanted, size - at)
            yield at, wanted
            at += got
            if got < wanted:
                yield at, self._again(wanted - got)
                return
        if self.ending != "known":
            yield size, next(sizes)

    def _again(self, lacking: int) -> int:
        if self.ending == "buffered":
            return max(self.buffer, lacking // self.buffer * self.buffer)
        return lacking

    def _sizes(self, seed: int, size: int) -> Iterator[int]:
        """Sizes as they would be asked for if the file had no end."""
        if self.first:
            yield self.first
            # What the buffer holds already is not asked for again.
            yield self.largest - self.first
        while self.cycle:
            yield from self.cycle
        if self.smallest == self.largest:
            while True:
                yield self.largest
        yield from self._drawn(np.random.default_rng(seed), size)

    def _drawn(self, chance: np.random.Generator, left: int) -> Iterator[int]:
        """Sizes between smallest and largest, so that what is left in the end is one as well."""
        while left > self.largest:
            top = min(self.largest, left - self.smallest) if left - self.smallest >= self.smallest else left // 2
            size = int(chance.integers(min(self.smallest, top), top + 1))
            left -= size
            yield size
        while True:
            yield max(left, 1)
