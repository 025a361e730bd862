"""HDF5 files, written by h5py beside their place and handed on from there: the format goes back and forth in its file."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracekit import claims
from tracekit.errors import CannotRunError
from tracekit.workload.datagen.arrays import element_type
from tracekit.workload.datagen.content import BLOCK, Content
from tracekit.workload.datagen.layout import Plan

_SCRATCH = "tracekit-hdf5-"


def hdf5(plan: Plan, content: Content) -> Iterator[bytes]:
    """An HDF5 file with `records` (a row for each sample) and `labels`; several data sets per record are `records_0` and on."""
    try:
        import h5py
    except ImportError:
        raise CannotRunError(
            "HDF5 files need h5py, which is not installed", "pip install 'tracekit-io[hdf5]', or pip install h5py"
        ) from None
    # A file without a name, which nobody would have to sweep up, is none that HDF5 opens.
    with claims.claimed(_SCRATCH, tempfile.gettempdir()) as folder:
        path = os.path.join(folder, "made.h5")
        with h5py.File(path, "w") as file:
            _fill(file, plan, content)
        with open(path, "rb") as made:
            while piece := made.read(BLOCK):
                yield piece


def sweep() -> None:
    """Remove what processes that were killed have left of files they were making."""
    claims.sweep(_SCRATCH, tempfile.gettempdir())


def _fill(file: Any, plan: Plan, content: Content) -> None:
    dtype, count = element_type(plan), plan.data.samples_per_file
    dims = tuple(plan.option("dims", ())) or (max(1, plan.one_size() // dtype.itemsize),)
    parts = int(plan.option("datasets_per_record", 1))
    for part in range(parts):
        name = "records" if parts == 1 else f"records_{part}"
        dataset = file.create_dataset(name, (count, *dims), dtype=dtype, **_storage(plan, dims))
        _rows(dataset, plan.key + (part << 20), dims, dtype, content)
    file.create_dataset("labels", data=np.zeros(count, np.int64))


def _rows(dataset: Any, key: int, dims: tuple[int, ...], dtype: np.dtype[Any], content: Content) -> None:
    row = dtype.itemsize * int(np.prod(dims, dtype=np.int64))
    step = max(1, BLOCK // row)
    for at in range(0, len(dataset), step):
        count = min(step, len(dataset) - at)
        values = np.frombuffer(content.whole(key + at, count * row), dtype).reshape(count, *dims)
        dataset[at : at + count] = values


def _storage(plan: Plan, dims: tuple[int, ...]) -> dict[str, Any]:
    """Chunks, filters and limits as h5py takes them."""
    found: dict[str, Any] = {}
    chunk = plan.option("chunk_dims")
    if not chunk and plan.option("chunk_size"):
        side = math.isqrt(int(plan.option("chunk_size")) - 1) + 1 if len(dims) > 1 else int(plan.option("chunk_size"))
        chunk = tuple(min(side, extent) for extent in dims)
    if chunk:
        whole = (chunk * len(dims))[: len(dims)] if len(chunk) < len(dims) else chunk
        found["chunks"] = (
            1,
            *(max(1, min(part, extent)) for part, extent in zip(whole[-len(dims) :], dims, strict=True)),
        )
    if plan.option("max_shape"):
        found["maxshape"] = (
            None,
            *(max(limit, extent) for limit, extent in zip(plan.option("max_shape"), dims, strict=False)),
        )
    if plan.data.compression in ("gzip", "lzf"):
        found["compression"] = plan.data.compression
        if plan.data.compression == "gzip":
            found["compression_opts"] = min(plan.data.compression_level, 9)
    return found
