"""NPY and NPZ: one array per file, the samples along its last axis, as DLIO's readers take them apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan
from tracekit.workload.datagen.sink import Sink

_DTYPES = {"bf16": "uint16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}


def npy(plan: Plan, content: Content) -> Iterator[memoryview]:
    """An NPY file: `record_dims`, or the record's length, by the number of samples."""
    dtype, shape = array_of(plan)
    yield memoryview(_header(dtype, shape))
    yield from content.blocks(plan.key, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))


def npz(plan: Plan, content: Content) -> Iterator[memoryview]:
    """An NPZ file with the samples as `x` and a label for each as `y`."""
    sink = Sink()
    method = zipfile.ZIP_DEFLATED if plan.data.compression == "zip" else zipfile.ZIP_STORED
    # The epoch of ZIP, so that the same data set is the same bytes.
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, pieces in (("x.npy", npy(plan, content)), ("y.npy", _labels(plan))):
            entry = deflated(name, plan) if method == zipfile.ZIP_DEFLATED else zipfile.ZipInfo(name)
            with archive.open(entry, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    yield from sink.take()
            yield from sink.take()
    yield from sink.take()


def deflated(name: str, plan: Plan) -> zipfile.ZipInfo:
    """A member of an archive that is compressed as the plan says."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # The archive's own level is not for entries that are made like this.
    setattr(entry, "_compresslevel", min(plan.data.compression_level, 9))  # noqa: B010 -- no public name before Python 3.13
    return entry


def array_of(plan: Plan) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Element type and shape of the array of a file."""
    dtype = element_type(plan)
    dims = tuple(plan.option("dims", ())) or (max(1, plan.one_size() // dtype.itemsize),)
    return dtype, (*dims, plan.data.samples_per_file)


def element_type(plan: Plan) -> np.dtype[Any]:
    """The element type of a record."""
    name = str(plan.option("element_type", "uint8"))
    return np.dtype(_DTYPES.get(name, name))


def _labels(plan: Plan) -> Iterator[memoryview]:
    labels = np.zeros(plan.data.samples_per_file, np.int64)
    yield memoryview(_header(labels.dtype, labels.shape))
    yield labels.data.cast("B")


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()
