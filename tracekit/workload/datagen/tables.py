"""CSV and Parquet."""

from __future__ import annotations

import bz2
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracekit.workload.datagen.arrays import deflated
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan
from tracekit.workload.datagen.sink import Sink

# A byte as a number of three digits, so that every row is as long and none has to be formatted: 100 to 355.
_DIGITS = np.frombuffer(b"".join(b"%d," % (value + 100) for value in range(256)), np.uint8).reshape(256, 4)
_DTYPES = {"fp16": "float16", "bf16": "uint16", "fp32": "float32", "fp64": "float64", "bool": "uint8"}
_ROWS_BYTES = 64 << 20


def csv(plan: Plan, content: Content) -> Iterator[bytes]:
    """A row for each sample and a number for each of its bytes, below a line of column numbers; compressed where asked for."""
    rows = _rows(plan, content)
    match plan.data.compression:
        case "gzip":
            return _packed(rows, zlib.compressobj(min(plan.data.compression_level, 9), zlib.DEFLATED, 31))
        case "bz2":
            return _packed(rows, bz2.BZ2Compressor(min(max(plan.data.compression_level, 1), 9)))
        case "xz":
            return _packed(rows, lzma.LZMACompressor(preset=min(plan.data.compression_level, 9)))
        case "zip":
            return _zipped(rows, plan)
    return rows


def _rows(plan: Plan, content: Content) -> Iterator[bytes]:
    width = plan.one_size()
    yield ",".join(map(str, range(width))).encode() + b"\n"
    for number in range(plan.data.samples_per_file):
        row = _DIGITS[np.frombuffer(content.whole(plan.key + number, width), np.uint8)]
        row[-1, 3] = ord("\n")
        yield row.tobytes()


def _packed(rows: Iterator[bytes], packer: Any) -> Iterator[bytes]:
    for row in rows:
        yield packer.compress(row)
    yield packer.flush()


def _zipped(rows: Iterator[bytes], plan: Plan) -> Iterator[bytes]:
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(deflated(plan.basename.removesuffix(".zip"), plan), "w", force_zip64=True) as member:
            for row in rows:
                member.write(row)
                yield from map(bytes, sink.take())
    yield from map(bytes, sink.take())


def parquet(plan: Plan, content: Content) -> Iterator[memoryview]:
    """A Parquet file: the columns of `dataset.parquet`, or `data` (bytes) and `label`; a row for each sample."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = Sink()
    codec = plan.data.compression if plan.data.compression != "none" else "NONE"
    schema = pa.schema([(name, _arrow_type(kind, width)) for name, kind, width in columns(plan)])
    # Snappy and LZ4 have no levels.
    level = plan.data.compression_level if codec in ("gzip", "zstd") else None
    writer = pq.ParquetWriter(
        sink, schema, compression=codec, compression_level=level, use_dictionary=False, write_statistics=False
    )
    rows, left, at = _rows_at_once(plan), plan.data.samples_per_file, 0
    while left > 0:
        count = min(rows, left)
        writer.write_table(pa.table(_batch(plan, content, at, count), schema), row_group_size=count)
        yield from sink.take()
        left, at = left - count, at + count
    writer.close()
    yield from sink.take()


def columns(plan: Plan) -> list[tuple[str, str, int]]:
    """(name, element type, elements) of each column; `bytes` of the record's size where the workload has no columns."""
    given = plan.option("columns")
    if not given:
        return [("data", "bytes", plan.one_size()), ("label", "int64", 1)]
    return [(str(column["name"]), str(column.get("dtype", "float32")), int(column.get("size", 1))) for column in given]


def row_bytes(plan: Plan) -> int:
    """Bytes of a row, uncompressed."""
    return sum(_element(kind).itemsize * width for _, kind, width in columns(plan))


def _rows_at_once(plan: Plan) -> int:
    """A row group, or as many rows as memory is to hold."""
    return max(1, min(int(plan.option("row_group_size", 1024)), _ROWS_BYTES // max(1, row_bytes(plan))))


def _batch(plan: Plan, content: Content, at: int, count: int) -> list[Any]:
    import pyarrow as pa

    found = []
    for number, (_, kind, width) in enumerate(columns(plan)):
        size = _element(kind).itemsize * width * count
        values = content.whole(plan.key + at * 4096 + number, size)
        if kind == "bytes":
            found.append(pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, pa.py_buffer(values)]))
            continue
        flat = pa.Array.from_buffers(_arrow_type(kind, 1), count * width, [None, pa.py_buffer(values)])
        found.append(flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width))
    return found


def _element(kind: str) -> np.dtype[Any]:
    return np.dtype("uint8" if kind == "bytes" else _DTYPES.get(kind, kind))


def _arrow_type(kind: str, width: int) -> Any:
    import pyarrow as pa

    if kind == "bytes":
        return pa.binary(width)
    flat = pa.from_numpy_dtype(_element(kind))
    return flat if width == 1 else pa.list_(flat, width)
