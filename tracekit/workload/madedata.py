"""The data sets that profiles make for themselves: files of noise with the sizes of the real ones, the same everywhere.

Nobody decodes them, so they are no JPEG and no TFRecord; where their samples begin is known by the recipe. Real data sets of real
formats are made by `tracekit generate`.
"""

from __future__ import annotations

import errno
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tracekit.errors import CannotRunError, InputError, UnknownNameError, UsageError
from tracekit.storage import Storage, storage_for
from tracekit.workload.dataset import Dataset
from tracekit.workload.distribution import Distribution

# A JPEG of coloured noise at quality 85 by its pixels, as the images of golden/imagenet-like have it (±2 KiB over 384 of them).
_BYTES_PER_PIXEL, _BYTES_BESIDE = 0.765, 1401
_SIDES = (120, 420)


@dataclass(frozen=True)
class Recipe:
    """A data set.

    Args:
        pattern: The names of its files; of two fields the first is the folder.
        files: How many there are.
        samples: Samples in each.
        smallest: The smallest sample, in bytes.
        largest: The largest.
        framing: Bytes that a sample takes besides.
        header: Bytes before the first.
        block: What a sample is rounded up to, with a block of its own before it; 0 for none (tar).
        end: What a file is rounded up to, in bytes.
        folders: Folders that the files are dealt to.
        chance: How sizes are drawn, as the program of the golden draws them: `uniform`, `bytes` (between the content of the
            samples before), `lognormal`, `images`; or as `listed`: `files` (each cut into samples) or `samples`.
        listed: Sizes one by one, or, where there are fewer than files or samples, evenly spaced quantiles of them.
    """

    pattern: str
    files: int
    samples: int = 1
    smallest: int = 65536
    largest: int = 65536
    framing: int = 0
    header: int = 0
    block: int = 0
    end: int = 1
    folders: int = 0
    chance: str = "uniform"
    listed: tuple[int, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Recipe:
        """Made of a mapping, as from YAML: `count`, `samples`, `pattern`, `folders`, `header`, `end`, and `sizes` of files or samples.

        Raises:
            UnknownNameError: If there is no such setting.
            UsageError: If a value is impossible.
        """
        for name in given:
            if name not in _SETTINGS:
                raise UnknownNameError("setting of files", str(name), _SETTINGS)
        values = {**_SETTINGS, **given}
        for name, least in (("count", 1), ("samples", 1), ("folders", 0), ("header", 0), ("end", 1)):
            if isinstance(values[name], bool) or not isinstance(values[name], int) or values[name] < least:
                raise UsageError(f"{name} of the files is {values[name]!r}", f"write a whole number, {least} or more")
        _check_pattern(values["pattern"], values["folders"])
        if values["sizes_of"] not in _LISTED:
            raise UnknownNameError("kind of sizes", str(values["sizes_of"]), _LISTED)
        sizes = values["sizes"] if isinstance(values["sizes"], list) else [values["sizes"]]
        if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in sizes):
            raise UsageError(f"sizes of the files are {values['sizes']!r}", "write bytes, or a list of them")
        return cls(
            values["pattern"], values["count"], values["samples"], min(sizes), max(sizes), header=values["header"],
            end=values["end"], folders=values["folders"], chance=values["sizes_of"], listed=tuple(sizes),
        )  # fmt: skip

    @property
    def prefix(self) -> str:
        """What names of files begin with."""
        return self.pattern.rpartition("/")[2].partition("{")[0]

    @property
    def mean(self) -> Distribution:
        """The size of a sample, as a distribution."""
        return Distribution("uniform", {"min": self.smallest, "max": self.largest})

    def names(self) -> list[str]:
        """The names of the files, below the data set's place."""
        each = -(-self.files // self.folders) if self.folders else 0
        return [self.pattern.format(*([number // each] if each else []), number) for number in range(self.files)]

    def sizes(self, file: int) -> list[int]:
        """The sizes of the samples of a file, in bytes."""
        return list(_DRAWS[self.chance](self, file))

    def extents(self, file: int) -> list[tuple[int, int]]:
        """(offset, length) of every sample of a file, with what it takes besides."""
        at, found = self.header, []
        for size in self.sizes(file):
            length = size + self.framing
            if self.block:
                # A tar member has a block of its own and whole blocks of content; its label is another with one block.
                length = self.block + -(-size // self.block) * self.block + 2 * self.block
            found.append((at, length))
            at += length
        return found

    def size(self, file: int) -> int:
        """The size of a file, in bytes."""
        last = self.extents(file)[-1]
        whole = sum(last) + (2 * self.block if self.block else 0)
        return -(-whole // self.end) * self.end


def _uniform(recipe: Recipe, file: int) -> Iterator[int]:
    chance = random.Random(file)  # noqa: S311 -- the golden's program draws like this
    return (chance.randint(recipe.smallest, recipe.largest) for _ in range(recipe.samples))


def _between_content(recipe: Recipe, file: int) -> Iterator[int]:
    chance = random.Random(file)  # noqa: S311 -- the golden's program draws like this
    for _ in range(recipe.samples):
        size = chance.randint(recipe.smallest, recipe.largest)
        chance.getrandbits(8 * size)
        yield size


def _lognormal(recipe: Recipe, file: int) -> Iterator[int]:
    chance = random.Random(20240)  # noqa: S311 -- the same
    for _ in range(file):
        chance.lognormvariate(0, 0.4)
    yield min(recipe.largest, max(recipe.smallest, round(chance.lognormvariate(math.log(120 * 1024), 0.4))))


def _images(_recipe: Recipe, file: int) -> Iterator[int]:
    height, width = np.random.default_rng(file).integers(*_SIDES, 2)
    yield round(_BYTES_PER_PIXEL * int(height) * int(width)) + _BYTES_BESIDE


def _of_files(recipe: Recipe, file: int) -> Iterator[int]:
    whole = _nth(recipe.listed, recipe.files, file)
    each = whole // recipe.samples
    yield from (each for _ in range(recipe.samples - 1))
    yield whole - each * (recipe.samples - 1)


def _of_samples(recipe: Recipe, file: int) -> Iterator[int]:
    first, count = file * recipe.samples, recipe.files * recipe.samples
    return (_nth(recipe.listed, count, number) for number in range(first, first + recipe.samples))


def _nth(listed: tuple[int, ...], count: int, place: int) -> int:
    """A size of a list that has all of them, or in the place of a quantile: each share of the sizes is there as often as it should."""
    if len(listed) == count:
        return listed[place]
    at = (int(_ranks(count)[place]) + 0.5) / count * (len(listed) - 1)
    return round(float(np.interp(at, range(len(listed)), listed)))


@lru_cache(maxsize=4)
def _ranks(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).permutation(count)


_DRAWS: dict[str, Callable[[Recipe, int], Iterator[int]]] = {
    "uniform": _uniform, "bytes": _between_content, "lognormal": _lognormal, "images": _images, "files": _of_files,
    "samples": _of_samples,
}  # fmt: skip
_LISTED = ("files", "samples")
_SETTINGS: Mapping[str, Any] = {
    "pattern": "file_{:06d}.bin", "count": 1, "samples": 1, "folders": 0, "header": 0, "end": 1, "sizes": 65536,
    "sizes_of": "files",
}  # fmt: skip


def _check_pattern(pattern: Any, folders: int) -> None:
    try:
        name = str(pattern).format(*([1] if folders else []), 1)
        other = str(pattern).format(*([1] if folders else []), 2)
    except (IndexError, KeyError, ValueError, AttributeError):
        name = other = ""
    if not isinstance(pattern, str) or name == other or name.startswith("/") or ".." in name.split("/"):
        example = "folder_{:03d}/file_{:06d}.bin" if folders else "file_{:06d}.bin"
        raise UsageError(f"pattern of the files is {pattern!r}", f"write names with their number, as in {example}")
    if len(name.split("/")) != (2 if folders else 1):
        raise UsageError(f"pattern of the files is {pattern!r}, with folders: {folders}", "one folder deep, or none")


def make(recipe: Recipe, uri: str) -> int:
    """Make what is missing of a data set; how many files that were.

    Args:
        recipe: What it is to be.
        uri: Where: a directory or prefix of any scheme.

    Raises:
        CannotRunError: If it cannot be written.
        InputError: If a file is there by name, and not by size: nothing is written then.
    """
    storage = storage_for(uri)
    root = storage.resolve(uri).rstrip("/")
    try:
        if storage.local:
            os.makedirs(root, exist_ok=True)
        there = dict(_there(storage, root))
        missing: list[tuple[int, str]] = []
        for number, name in enumerate(recipe.names()):
            size = there.get(f"{root}/{name}")
            if size is None:
                missing.append((number, name))
            elif size != recipe.size(number):
                # It may be somebody's: names like these are common, and ours are whole or not there.
                raise _other(f"{root}/{name}", size, recipe.size(number))
        for number, name in missing:
            if storage.local:
                os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
            storage.write(f"{root}/{name}", np.random.default_rng(number).bytes(recipe.size(number)))
    except OSError as error:
        raise CannotRunError(
            f"the data set {uri} cannot be made: {error.strerror}", "name another place with --data"
        ) from None
    return len(missing)


def _other(uri: str, size: int, wanted: int) -> InputError:
    return InputError(
        f"{uri} has {size} bytes, and this profile's own has {wanted}",
        "name an empty place with --data, or another data set",
    )


def _there(storage: Storage, root: str) -> Iterator[tuple[str, int]]:
    try:
        yield from storage.walk(root)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def dataset(recipe: Recipe, whole: Dataset) -> Dataset:
    """The samples of a data set that was made by a recipe; another's files are taken as one sample each.

    Raises:
        InputError: If files are those of the recipe by name, and not by size.
    """
    wanted = recipe.names()
    names = {name: number for number, name in enumerate(wanted)}
    numbers = [names.get("/".join(place.split("/")[-2 if recipe.folders else -1 :])) for place in whole.places]
    if recipe.samples == 1:
        return whole
    if None in numbers:
        return cut(whole, recipe.samples) if recipe.chance in _LISTED else whole
    file, offset, length = [], [], []
    for index, number in enumerate(numbers):
        assert number is not None
        if whole.sizes[index] != recipe.size(number):
            raise _other(whole.uri(index), int(whole.sizes[index]), recipe.size(number))
        for at, size in recipe.extents(number):
            file.append(index)
            offset.append(at)
            length.append(size)
    return Dataset(
        whole.storage, whole.places, whole.sizes, np.asarray(file, np.int64), np.asarray(offset, np.int64),
        np.asarray(length, np.int64), whole.scheme,
    )  # fmt: skip


def cut(files: Dataset, samples: int) -> Dataset:
    """Files of several samples as samples of one size: where each lies in its format is not looked at."""
    if samples == 1:
        return files
    file = np.repeat(np.arange(len(files.places)), samples)
    length = files.sizes[file] // samples
    offset = np.tile(np.arange(samples), len(files.places)) * length
    return Dataset(files.storage, files.places, files.sizes, file, offset, length, files.scheme)
