"""Which files there are: how many, in which folders, how large, and how many samples are in each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tracekit.uri import path_of
from tracekit.workload.distil.found import EXACT, HIGH, MEDIUM, UNKNOWN, Found
from tracekit.workload.distil.items import Items

Ints = NDArray[np.int64]
# So many sizes are listed one by one; of more, quantiles.
_LISTED, _QUANTILES = 1024, 257
# Parts of a shard, where nobody knows its samples: enough that reading goes on little by little.
_PARTS = 12


def files(uris: Sequence[str], sizes: Ints, unit: str, samples: int) -> dict[str, Found]:
    """The settings of `Recipe.of` for files that are read.

    Args:
        uris: Their names, in order.
        sizes: Of files; of records where those are read by themselves, in order of file and offset.
        unit: As in `Shape`.
        samples: In each file.
    """
    pattern, folders = _named(uris)
    found = {
        "count": Found(len(uris), EXACT, "files that were read", len(uris), "files that nobody read are not in a recording"),
        "pattern": Found(pattern, HIGH, "as many folders, and the usual suffix", len(uris), "other names in the same order"),
    }  # fmt: skip
    if folders:
        found["folders"] = Found(folders, EXACT, "folders of these files", len(uris))
    if samples > 1:
        found["samples"] = _samples(samples, unit)
    found["sizes"] = _sizes(sizes, len(uris) * samples if unit == "record" else len(uris), unit)
    if unit == "record":
        found["sizes_of"] = Found("samples", EXACT, "records are read by themselves")
    return found


def _named(uris: Sequence[str]) -> tuple[str, int]:
    """A pattern of names, and how many folders; deeper trees become folders one deep."""
    paths = [path_of(uri) for uri in uris]
    suffix = Counter(os.path.splitext(path)[1] for path in paths).most_common(1)[0][0]
    suffix = suffix.replace("{", "").replace("}", "")
    folders = len({os.path.dirname(path) for path in paths})
    if folders < 2:
        return f"file_{{:06d}}{suffix}", 0
    return f"folder_{{:04d}}/file_{{:06d}}{suffix}", folders


def _samples(samples: int, unit: str) -> Found:
    if unit == "record":
        return Found(samples, HIGH, "different records read, by the number of files", 0, "records that nobody read are not in a recording")  # fmt: skip
    return Found(samples, UNKNOWN, "shards are read in blocks, samples in them are not seen; a stand-in that keeps bytes and steps")  # fmt: skip


def _sizes(sizes: Ints, count: int, unit: str) -> Found:
    what = "records" if unit == "record" else "files"
    if len(np.unique(sizes)) == 1:
        return Found(int(sizes[0]), EXACT, f"all {what} have this size, as far as they were read", len(sizes))
    if len(sizes) == count <= _LISTED:
        return Found(sizes.tolist(), EXACT, f"sizes of {what} one by one, as far as they were read", len(sizes))
    quantiles = np.quantile(sizes, np.linspace(0, 1, _QUANTILES)).round().astype(np.int64)
    return Found(quantiles.tolist(), HIGH, f"quantiles of the sizes of {what}, evenly spaced", len(sizes), f"at most 1/{_QUANTILES - 1} of them lie on the other side of a size")  # fmt: skip


def parts(shards: int, steps: int) -> tuple[int, int]:
    """Stand-ins for samples of a shard and of a batch: a pass over so many shards then has so many steps."""
    ratio = Fraction(shards, max(steps, 1)).limit_denominator(256)
    times = max(1, round(_PARTS / ratio.denominator), round(1 / max(ratio.numerator, 1)))
    return ratio.denominator * times, max(ratio.numerator, 1) * times


def sizes_of_records(items: Items) -> Ints:
    """The size of each different record, in order of file and offset."""
    _, firsts = np.unique(items.place, return_index=True)
    return items.size[firsts]


def rounding(sizes: Ints) -> Found:
    """What sizes of files are rounded up to."""
    block = 65536
    if len(sizes) > 1 and not bool((sizes % block).any()):
        return Found(block, MEDIUM, "all files end at a multiple of it", len(sizes))
    return Found(1, MEDIUM, "no rounding is seen", len(sizes))
