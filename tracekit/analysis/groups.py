"""What files, prefixes and workers had to do: sums and service times for each, added up piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.times import KeyedTimes
from tracekit.metrics import schema
from tracekit.metrics.schema import metric

Ints = NDArray[np.int64]
_SUMS = ("ops", "read_ops", "read_bytes", "written_bytes", "busy_ns", "timed", "followed", "sequential")
_HIGHEST = ("extent", "slowest_ns")


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
        self, names: Sequence[str], files: Sequence[int] | None = None, sizes: Sequence[int | None] | None = None
    ) -> list[Group]:
        """The groups that have ops, the one with the most bytes first; `files` and `sizes` only where they are of files."""
        nothing: list[float | None] = [None] * len(self)
        median, high = self.times.quantiles(0.5, 0.99) if self.times.error else (nothing, nothing)
        values = {name: array.tolist() for name, array in self.columns.items()}
        groups = []
        for i, name in enumerate(names[: len(self)]):
            if not values["ops"][i]:
                continue
            size = None if sizes is None else sizes[i]
            reach = None if files is None else values["extent"][i]
            followed = values["followed"][i]
            groups.append(
                Group(
                    name=name,
                    files=None if files is None else files[i],
                    ops=values["ops"][i],
                    read_bytes=values["read_bytes"][i],
                    written_bytes=values["written_bytes"][i],
                    extent_bytes=reach,
                    size_bytes=size,
                    amplification=_ratio(values["read_bytes"][i], size or reach),
                    sequential=_ratio(values["sequential"][i], followed),
                    busy_us=values["busy_ns"][i] / 1000,
                    p50_us=_us(median[i], values["slowest_ns"][i]),
                    p99_us=_us(high[i], values["slowest_ns"][i]),
                    max_us=values["slowest_ns"][i] / 1000 if values["timed"][i] else None,
                )
            )
        return sorted(groups, key=lambda one: (-(one.read_bytes + one.written_bytes), one.name))


def _ratio(value: int, of: int | None) -> float | None:
    return value / of if of else None


def _us(value: float | None, most: int) -> float | None:
    # The middle of a bucket may lie above all that is in it.
    return None if value is None else min(value, most) / 1000
