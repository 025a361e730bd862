"""Which format is read by which requests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tracekit.errors import CannotRunError
from tracekit.workload.readers import arrays, hdf5, images, records, tables
from tracekit.workload.shape import Request

Facts = list[list[int]]
# What is made up by the reader itself: no file is opened for it.
SYNTHETIC = "synthetic"
# So many files are looked into for what differs from one to the next; others are taken for one of these. An archive may have to be
# read from end to end.
_MANY, _FEW = 4096, 16


@dataclass(frozen=True)
class Format:
    """How files of a format are read.

    Args:
        requests: The requests for a sample: by what was found in the file, its size, the sample's number in it, and how many it has.
        look: What is found in a file, by its place and size; None where it is not read as others of the format are.
        looks: How many files are looked into, where that differs from file to file.
        stats: How often a file is looked at before it is opened.
        beside: What the names of the files end in that are read before all others, beside each file.
        holds: Whether a worker keeps a file open and what it read of it, until it goes to another.
    """

    requests: Callable[[Facts, int, int, int], list[Request]]
    look: Callable[[str, int], Facts | None] = lambda *_: []
    looks: int = 1
    stats: int = 0
    beside: tuple[str, ...] = ()
    holds: bool = False


FORMATS = {
    "npy": Format(arrays.npy, arrays.look_npy),
    "npz": Format(arrays.npz, arrays.look_npz, looks=_FEW),
    "hdf5": Format(hdf5.hdf5, hdf5.look),
    "csv": Format(tables.csv, stats=1),
    "jpeg": Format(images.jpeg, images.look_jpeg, looks=_MANY),
    "png": Format(images.png, images.look_png, looks=_MANY),
    "indexed_binary": Format(records.indexed, records.look, looks=_MANY, beside=records.INDICES),
    "mmap_indexed_binary": Format(records.mapped, records.look, looks=_MANY),
    "parquet": Format(tables.parquet, tables.look_parquet, looks=_MANY, holds=True),
    SYNTHETIC: Format(lambda *_: []),
}


@dataclass(frozen=True)
class Reader:
    """How the samples of a data set are read.

    Args:
        format: The name of the format.
        samples: Samples in each file.
        facts: What was found in its files, in order; those of the first stand for all where there are no more.
        beside: Files that each worker reads before all others, as places and sizes.
    """

    format: str
    samples: int
    facts: list[Facts] = field(default_factory=list)
    beside: list[tuple[str, int]] = field(default_factory=list)

    @property
    def opens(self) -> bool:
        """Whether files are opened at all."""
        return self.format != SYNTHETIC

    @property
    def stats(self) -> int:
        """How often a file is looked at before it is opened."""
        return FORMATS[self.format].stats

    def requests(self, file: int, size: int, sample: int) -> Requests:
        """The requests for a sample, worked out when they are made.

        Args:
            file: The number of its file.
            size: The size of that.
            sample: Its number in the data set.
        """
        return Requests(
            FORMATS[self.format], self.facts[file % len(self.facts)], size, sample % self.samples, self.samples
        )

    @property
    def held(self) -> tables.Held | None:
        """What a worker holds at first; None where it holds nothing from sample to sample."""
        return tables.Held() if FORMATS[self.format].holds else None

    def lacking(self, held: tables.Held, file: int, size: int, sample: int) -> list[Request]:
        """The requests for a sample, without what the worker holds."""
        return held.lacking(self.facts[file % len(self.facts)], size, file, sample % self.samples)

    def index(self, size: int) -> list[Request]:
        """The requests for a file of `beside`."""
        return records.index(size)


@dataclass(frozen=True)
class Requests(Sequence[Request]):
    """Requests that are worked out each time they are asked for: of large files there are many."""

    format: Format
    facts: Facts
    size: int
    number: int
    samples: int

    def _all(self) -> list[Request]:
        return self.format.requests(self.facts, self.size, self.number, self.samples)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._all())

    def __getitem__(self, which: int) -> Request:  # type: ignore[override]  # nobody takes a part of them
        return self._all()[which]

    def __len__(self) -> int:
        return len(self._all())


def reader_of(name: str, samples: int, places: Sequence[str], sizes: Sequence[int] | np.ndarray) -> Reader | None:
    """How a data set of a format is read; None where that is not known.

    Args:
        name: The format's name.
        samples: Samples in each file.
        places: Its files, which are looked into: a little of each is read.
        sizes: Their sizes.

    Raises:
        CannotRunError: If one cannot be read.
    """
    known = FORMATS.get(name)
    if known is None or not places:
        return None
    facts, count = [], min(len(places), known.looks)
    for place, size in zip(places[:count], sizes[:count], strict=True):
        try:
            found = known.look(place, int(size))
        except OSError as error:
            raise CannotRunError(f"{place} cannot be read: {error.strerror}", "check that it may be read") from None
        if found is None:
            return None
        facts.append(found)
    beside = [(place + suffix, os.path.getsize(place + suffix)) for place in places for suffix in known.beside]
    return Reader(name, samples, facts, beside)
