"""The files of a data set: their names, and the sizes of the samples in each. All of it follows from the job and a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.datagen.content import mixed
from tracekit.workload.job import DataSet

Sizes = NDArray[np.int64]
TRAIN, VALID = "train", "valid"
# Sizes are drawn and held for so many samples at a time.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Plan:
    """One file to be made.

    Args:
        data: The data set.
        split: `train` or `valid`.
        index: Its number within the split.
        suffix: What its name ends in.
        seed: Of sizes and content.
    """

    data: DataSet
    split: str
    index: int
    suffix: str
    seed: int

    @property
    def count(self) -> int:
        """Files of the split."""
        return self.data.files_train if self.split == TRAIN else self.data.files_eval

    @property
    def name(self) -> str:
        """Its name below the data set's place, as DLIO has it: `train/[folder/]prefix_number_of_count.suffix`."""
        folders = self.data.subfolders_train if self.split == TRAIN else self.data.subfolders_eval
        # DLIO deals files to folders from two on.
        folder = f"{self.index % folders:0{len(str(folders))}}/" if folders > 1 else ""
        top = f"{self.split}/" if self.data.split or self.data.files_eval else ""
        return f"{top}{folder}{self.basename}"

    @property
    def basename(self) -> str:
        """Its name without folders."""
        return f"{self.data.file_prefix}_{self.index:0{len(str(self.count))}}_of_{self.count}.{self.suffix}"

    @property
    def key(self) -> int:
        """A number for its content: every sample of every file has one of its own (`key + number of the sample`)."""
        return mixed(self.seed * 2 + (self.split == VALID) + (self.index << 8)) >> 24

    def sizes(self) -> Iterator[Sizes]:
        """The sizes of its samples, some at a time; whole numbers from 1 of which the mean is the distribution's."""
        wanted, total = self.data.record_bytes, self.data.samples_per_file
        counts = [min(_PIECE, total - start) for start in range(0, total, _PIECE)]
        if not wanted.varies and float(wanted.mean).is_integer():
            yield from (np.full(count, max(1, int(wanted.mean)), np.int64) for count in counts)
            return
        chance = np.random.default_rng((self.seed, self.split == VALID, self.index))
        for count in counts:
            # A fraction of a byte is a whole one as often as it says.
            drawn = np.floor(wanted.draw(chance, count) + chance.random(count))
            yield np.maximum(drawn, 1).astype(np.int64)

    def one_size(self) -> int:
        """The size of every sample, in formats where all of a file's are alike."""
        return int(next(self.sizes())[0])

    def option(self, name: str, default: Any = None) -> Any:
        """A setting that only its format knows."""
        return self.data.settings.get(name, default)


def plans(data: DataSet, suffix: str, seed: int) -> list[Plan]:
    """All files of a data set."""
    return [Plan(data, TRAIN, index, suffix, seed) for index in range(data.files_train)] + [
        Plan(data, VALID, index, suffix, seed) for index in range(data.files_eval)
    ]
