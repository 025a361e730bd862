"""Which format makes which files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracekit.errors import UnknownNameError
from tracekit.workload.datagen import arrays, hdf5, images, records, shards, tables
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan
from tracekit.workload.job import DataSet

Pieces = Iterator[Any]


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        suffix: What names of its files end in; as DLIO has it.
        make: The content of a file, in pieces.
        beside: Files beside it, by name as a pattern of `name` and `basename`: they are made first, so that a file that is there
            is whole with all that belongs to it.
        extra: How much larger than the samples its files are: (per file, per sample, factor), in bytes.
        scratch: Whether each file is made in the directory for temporary files first.
    """

    suffix: str
    make: Callable[[Plan, Content], Pieces]
    beside: Mapping[str, Callable[[Plan], Pieces]] = field(default_factory=dict)
    extra: tuple[int, int, float] = (0, 0, 1.0)
    scratch: bool = False


_INDEX = {"{name}.off.idx": records.offsets, "{name}.sz.idx": records.lengths}
FORMATS = {
    "npy": Format("npy", arrays.npy, extra=(128, 0, 1.0)),
    "npz": Format("npz", arrays.npz, extra=(700, 8, 1.0)),
    "hdf5": Format("hdf5", hdf5.hdf5, extra=(8192, 16, 1.0), scratch=True),
    "tfrecord": Format("tfrecord", records.tfrecord, {"index/{name}.idx": records.dali_index}, (0, 96, 1.0)),
    "csv": Format("csv", tables.csv, extra=(0, 0, 4.0)),
    "jpeg": Format("jpeg", images.jpeg),
    "png": Format("png", images.png),
    "indexed_binary": Format("indexed_binary", records.indexed, _INDEX, (0, 16, 1.0)),
    "mmap_indexed_binary": Format("mmap_indexed_binary", records.indexed, _INDEX, (0, 16, 1.0)),
    "parquet": Format("parquet", tables.parquet, extra=(65536, 16, 1.02)),
    "webdataset": Format("tar", shards.webdataset, extra=(10240, 2048, 1.0)),
}
_PACKED = {"csv": {"gzip": "csv.gz", "bz2": "csv.bz2", "zip": "csv.zip", "xz": "csv.xz"}}


def format_of(data: DataSet) -> Format:
    """The format of a data set.

    Raises:
        UnknownNameError: If there is no such format.
    """
    found = FORMATS.get(data.format)
    if found is None:
        raise UnknownNameError("format", data.format, FORMATS)
    return found


def suffix_of(data: DataSet) -> str:
    """What the names of a data set's files end in."""
    return _PACKED.get(data.format, {}).get(data.compression, format_of(data).suffix)
