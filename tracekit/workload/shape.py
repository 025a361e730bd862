"""The shape of a framework's I/O: by which requests a file is read, who reads what, and how far ahead.

A profile's shape comes in two forms: as the seed documents give it, and as recordings of the real framework have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.errors import UnknownNameError, UsageError

Request = tuple[int, int]
UNITS = ("file", "stream", "record")
ENDINGS = ("known", "short", "again", "retry", "buffered")
LOOKS = ("", "names", "list", "stat", "index")
_LISTS = ("cycle", "head", "sizes")
_LEAST = {"smallest": 1, "largest": 1, "buffer": 1, "threads": 1}
_LARGEST = 1 << 62


@dataclass(frozen=True)
class Shape:
    """How samples are read.

    Args:
        unit: `file`: a sample is a file, opened, read and closed for itself. `stream`: samples lie one after the other in
            shards that are read from front to back. `record`: they are read by themselves, at random places in open files.
        smallest: The smallest request for data, in bytes.
        largest: The largest; sizes between are drawn by seed.
        cycle: Sizes that follow each other again and again, in place of the above; empty for none.
        head: Sizes of the first requests of a file, where they differ (a look at the header); empty where they do not.
        sizes: Quantiles of the sizes, evenly spaced, where they are drawn and not evenly distributed; empty where they are.
        whole: Whether one request asks for all that is left, in place of the sizes above.
        beyond: Bytes that such a request asks for beyond the end (Python's `read()` asks for one).
        ending: How the end is met. `known`: nothing is asked for beyond it. `short`: the last request is as large as the others
            and comes short. `again`: after it another of the same size finds nothing. `retry`: after it what it lacked is asked
            for once more. `buffered`: the same in blocks of the buffer's size.
        buffer: The size of the buffer of a `buffered` ending.
        index: Bytes at a file's end that are read when it is opened; 0 for none.
        threads: Threads of each worker that read.
        together: Whether each batch is made of what all workers read, and not by one of them.
        across: Whether workers go on from epoch to epoch, and not anew for each.
        anew: Whether a loader is made for each epoch, whose only pass calls itself the first in a recording.
        shuffle_buffer: Samples that a worker holds to be shuffled before its first batch.
        read_buffer: Samples that a worker reads beyond its batches.
        stats: How often a worker looks at a file before it opens it.
        looks: What the main process does before: nothing, `names` (lists folders), `list` (and looks at every file), `stat` (looks
            at every file), or `index` (and reads every index).
    """

    unit: str
    smallest: int = 65536
    largest: int = 65536
    cycle: tuple[int, ...] = ()
    head: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    whole: bool = False
    beyond: int = 0
    ending: str = "known"
    buffer: int = 4096
    index: int = 0
    threads: int = 1
    together: bool = False
    across: bool = False
    anew: bool = False
    shuffle_buffer: int = 0
    read_buffer: int = 0
    stats: int = 0
    looks: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Shape:
        """Made of a mapping, as from YAML.

        Raises:
            UnknownNameError: If there is no such setting, unit, ending or look.
            UsageError: If a value is impossible.
        """
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise UnknownNameError("setting of a shape", str(name), cls.__dataclass_fields__)
        values = {"unit": "file", **given}
        for name, known in (("unit", UNITS), ("ending", ENDINGS), ("looks", LOOKS)):
            if name in values and values[name] not in known:
                raise UnknownNameError(f"{name} of a shape", str(values[name]), known)
        for name, value in values.items():
            if name in _LISTS:
                values[name] = _whole_numbers(name, value)
            elif isinstance(cls.__dataclass_fields__[name].default, bool):
                if not isinstance(value, bool):
                    raise UsageError(f"{name} of the shape is {value!r}", "write true or false")
            elif name not in {"unit", "ending", "looks"}:
                _whole_number(name, value, _LEAST.get(name, 0))
        made = cls(**values)
        if made.smallest > made.largest:
            raise UsageError(f"smallest is {made.smallest} and largest {made.largest}", "exchange them")
        return made

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
                if self.ending != "short":
                    yield at, next(sizes) if self.ending == "again" else self._again(wanted - got)
                return
        if self.ending != "known":
            yield size, next(sizes)

    def _again(self, lacking: int) -> int:
        if self.ending == "buffered":
            return max(self.buffer, lacking // self.buffer * self.buffer)
        return lacking

    def _sizes(self, seed: int, size: int) -> Iterator[int]:
        """Sizes as they would be asked for if the file had no end."""
        yield from self.head
        if self.whole:
            yield max(size - sum(self.head), 0) + self.beyond
            while True:
                yield max(self.beyond, 1)
        while self.cycle:
            yield from self.cycle
        if self.sizes:
            yield from self._quantiles(np.random.default_rng(seed))
        if self.smallest == self.largest:
            while True:
                yield self.largest
        yield from self._drawn(np.random.default_rng(seed), size)

    def _quantiles(self, chance: np.random.Generator) -> Iterator[int]:
        """Sizes between the quantiles, without end."""
        while True:
            yield max(
                1, round(float(np.interp(chance.random() * (len(self.sizes) - 1), range(len(self.sizes)), self.sizes)))
            )

    def _drawn(self, chance: np.random.Generator, left: int) -> Iterator[int]:
        """Sizes between smallest and largest, so that what is left in the end is one as well."""
        while left > self.largest:
            top = min(self.largest, left - self.smallest) if left - self.smallest >= self.smallest else left // 2
            size = int(chance.integers(min(self.smallest, top), top + 1))
            left -= size
            yield size
        while True:
            yield max(left, 1)


def _whole_number(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
        raise UsageError(f"{name} of the shape is {value!r}", f"write a whole number, {least} or more")


def _whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{name} of the shape is {value!r}", "write a list of sizes, as in [4096, 8192]")
    for size in value:
        _whole_number(name, size, 1)
    return tuple(value)
