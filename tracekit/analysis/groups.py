"""What files, prefixes and workers had to do: sums and service times for each, added up piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.times import KeyedTimes
from tracekit.metrics import schema
from tracekit.metrics.schema import metric

Ints = NDArray[np.int64]
_SUMS = ("ops", "read_ops", "read_bytes", "written_bytes", "busy_ns", "timed", "followed", "sequential")
_HIGHEST = ("extent", "slowest_ns")
_PIECE = 4096


@dataclass(frozen=True)
class Group:
    """What one file, all files under one prefix, or one worker had to do."""

    name: str = metric("its name")
    files: int | None = metric("files in it that were read or written; null for workers", "files")
    ops: int = metric("reads and writes", "ops")
    read_bytes: int = metric("bytes that reads moved", "bytes")
    written_bytes: int = metric("bytes that writes moved", "bytes")
    extent_bytes: int | None = metric("how far reads and writes reached; null for workers", "bytes")
    size_bytes: int | None = metric("size of the files, where the trace knows that of every one", "bytes")
    amplification: float | None = metric(
        "read_bytes / size_bytes (extent_bytes where the size is not known): 1 is every byte once, less is only a part"
    )
    sequential: float | None = metric("share of its reads that start where the read of the same file before them ended")
    busy_us: float = metric("sum of service times", "us")
    p50_us: float | None = metric("median service time", "us")
    p99_us: float | None = metric("99th percentile of service times", "us")
    max_us: float | None = metric("longest service time, exact", "us")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return schema.to_json(self)


class Sums:
    """Sums by key; arrays grow with the keys."""

    def __init__(self) -> None:
        self.columns = {name: np.zeros(0, np.int64) for name in (*_SUMS, *_HIGHEST)}
        self.times = KeyedTimes()

    def __len__(self) -> int:
        return len(self.columns["ops"])

    def grow(self, count: int) -> None:
        """Make room for so many keys."""
        if count > len(self):
            more = np.zeros(count - len(self), np.int64)
            self.columns = {name: np.concatenate([array, more]) for name, array in self.columns.items()}
            self.times.grow(count)

    def add(self, name: str, keys: Ints, values: Ints | None = None) -> None:
        """Add values (1 where none are given) to a sum of their keys."""
        if values is None:
            self.columns[name] += np.bincount(keys, minlength=len(self))
        else:
            # Not np.bincount(weights=...), which adds in floats: bytes and ns are exact here.
            np.add.at(self.columns[name], keys, values)

    def highest(self, name: str, keys: Ints, values: Ints) -> None:
        """Keep the largest value of each key."""
        np.maximum.at(self.columns[name], keys, values)

    def took(self, keys: Ints, service: Ints) -> None:
        """Count service times in ns."""
        self.add("timed", keys)
        self.add("busy_ns", keys, service)
        self.highest("slowest_ns", keys, service)
        self.times.add(keys, service)

    def joined(self, groups: Ints, count: int) -> Sums:
        """The sums of groups of keys: `groups` says for each key which one it belongs to."""
        out = Sums()
        out.grow(count)
        for name, array in self.columns.items():
            together = np.maximum if name in _HIGHEST else np.add
            together.at(out.columns[name], groups[: len(array)], array)
        out.times = self.times.joined(groups, count)
        return out

    def table(
        self, names: Sequence[str], files: Ints | None = None, sizes: Sequence[int | None] | None = None
    ) -> Groups:
        """The groups that have ops, the one with the most bytes first; `files` and `sizes` only where they are of files."""
        used = np.flatnonzero(self.columns["ops"])
        moved = self.columns["read_bytes"][used] + self.columns["written_bytes"][used]
        # By names only where bytes do not tell: names of many files take long to compare.
        order = np.argsort(-moved, kind="stable")
        places = used[order].tolist()
        starts = np.flatnonzero(np.diff(moved[order], prepend=-1)).tolist()
        for first, last in itertools.pairwise([*starts, len(places)]):
            if last - first > 1:
                places[first:last] = sorted(places[first:last], key=names.__getitem__)
        return Groups(self, np.array(places, np.intp), names, files, sizes)


class Groups(Sequence[Group]):
    """Groups in an order, each made when it is looked at: of a million files a hundred are shown.

    Args:
        sums: What they had to do.
        places: Which keys of the sums, in which order.
        names: The name of each key.
        files: How many files each key is; None where they are no files.
        sizes: The size of each key's files; None within where it is not known.
    """

    def __init__(
        self,
        sums: Sums,
        places: NDArray[np.intp],
        names: Sequence[str],
        files: Ints | None,
        sizes: Sequence[int | None] | None,
    ) -> None:
        self._sums, self._places, self._names, self._files, self._sizes = sums, places, names, files, sizes

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Group: ...
    @overload
    def __getitem__(self, place: slice) -> list[Group]: ...
    def __getitem__(self, place: int | slice) -> Group | list[Group]:
        if isinstance(place, slice):
            return self._made(self._places[place])
        return self._made(self._places[range(len(self))[place]][None])[0]

    def __iter__(self) -> Iterator[Group]:
        for start in range(0, len(self), _PIECE):
            yield from self[start : start + _PIECE]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compares with lists, which have none

    @property
    def moved(self) -> Ints:
        """Bytes read and written by each."""
        columns = self._sums.columns
        moved: Ints = (columns["read_bytes"] + columns["written_bytes"])[self._places]
        return moved

    @property
    def busy_ns(self) -> Ints:
        """Sum of service times of each."""
        return self._sums.columns["busy_ns"][self._places]

    def columns(self) -> dict[str, list[Any]]:
        """The same as columns of plain values, by the names of a `Group`: what pandas, Polars and Arrow make tables of."""
        return self._columns(self._places)

    def _made(self, places: NDArray[np.intp]) -> list[Group]:
        return list(map(Group, *self._columns(places).values()))

    def _columns(self, places: NDArray[np.intp]) -> dict[str, list[Any]]:
        values = {name: column[places].tolist() for name, column in self._sums.columns.items()}
        nothing: list[Any] = [None] * len(places)
        times = self._sums.times
        median, high = times.quantiles(places, 0.5, 0.99) if times.error else (nothing, nothing)
        # The middle of a bucket may lie above all that is in it.
        median, high = (_least(level, values["slowest_ns"]) for level in (median, high))
        files = nothing if self._files is None else self._files[places].tolist()
        sizes = nothing if self._sizes is None else [self._sizes[place] for place in places.tolist()]
        reach = nothing if self._files is None else values["extent"]
        there = [size or end for size, end in zip(sizes, reach, strict=True)]
        return {
            "name": [self._names[place] for place in places.tolist()],
            "files": files,
            "ops": values["ops"],
            "read_bytes": values["read_bytes"],
            "written_bytes": values["written_bytes"],
            "extent_bytes": reach,
            "size_bytes": sizes,
            "amplification": _ratios(values["read_bytes"], there),
            "sequential": _ratios(values["sequential"], values["followed"]),
            "busy_us": [busy / 1000 for busy in values["busy_ns"]],
            "p50_us": median,
            "p99_us": high,
            "max_us": [
                most / 1000 if timed else None
                for most, timed in zip(values["slowest_ns"], values["timed"], strict=True)
            ],
        }


def _ratios(values: list[int], of: list[int | None]) -> list[float | None]:
    return [value / whole if whole else None for value, whole in zip(values, of, strict=True)]


def _least(times: list[float | None], most: list[int]) -> list[float | None]:
    return [None if time is None else min(time, end) / 1000 for time, end in zip(times, most, strict=True)]
