"""Operation logs of object-store tools: s3dlio's op-log and MinIO warp's `--full` log, in and out.

Both are tables of tab-separated values, usually compressed with zstd, read by the names in their header: s3dlio's 13 columns,
warp's 12 of 2019, 13 until 2026 and 15 since. They say how many bytes a request moved, not where in the object: the offset of a
ranged GET is null. The times of s3dlio end with Z, those of warp have the offset of their time zone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar

import numpy as np

from tracekit.arrow import integers
from tracekit.errors import InputError, UsageError
from tracekit.formats import request_table
from tracekit.formats.foreign import Columns, Foreign
from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import NULL, Header, IntArray, Trace
from tracekit.uri import file_uri, local_path, utf8

_OPS = {
    "GET": "read", "GET_RANGE": "read", "PUT": "write", "HEAD": "stat", "STAT": "stat", "LIST": "list", "DELETE": "delete",
    "DELETE_BATCH": "delete", "DELETE_PREFIX": "delete", "PUTPART": "write", "MULTIPART": "write",
}  # fmt: skip
_MOVES = ("read", "write")
_WHOLE = ("GET", "PUT")
_KNOWN = (
    "idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte", "last_byte",
    "end", "duration_ns", "cat",
)  # fmt: skip
# Names are looked up for each block anew; so many are remembered.
_MOST_NAMES = 1 << 17


class OpLog(Foreign):
    """A log of requests of s3dlio or warp; which of the two shows in its endpoints."""

    NAME: ClassVar[str] = "oplog"
    TOOL: ClassVar[str] = "s3dlio or warp"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(rb"idx\tthread\top\t")

    def begin(self) -> None:
        """No name is known."""
        self._names: dict[tuple[str, str], int] = {}

    def batches(self) -> Iterator[Columns]:
        """The table, in its own order, which is that of completion."""
        import pyarrow as pa

        try:
            for batch in request_table.batches(self, _KNOWN):
                yield self._columns(batch)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{self.path} is no table of tab-separated values ({str(error).splitlines()[0][:120]})",
                f"is it a log of {self.TOOL}?",
            ) from None

    def _columns(self, batch: Any) -> Columns:
        start, first, end = (_times(batch, name) for name in ("start", "first_byte", "end"))
        moved, took = _numbers(batch, "bytes"), _numbers(batch, "duration_ns")
        end = np.where((end == NULL) & (start != NULL) & (took >= 0), start + took, end)
        # A trace that does not know its date is exported as one of 1970.
        good = (start >= 0) & (moved >= 0) & ((end == NULL) | (end >= start))
        self._count_bad(batch, good)
        kinds, words = _coded(batch, "op")
        ops = [_OPS.get(word.upper(), word.lower()) for word in words]
        moving = np.array([op in _MOVES for op in ops], np.bool_)[kinds]
        # A whole object begins at its beginning; a range begins nobody knows where.
        ranged = np.array(
            [op in _MOVES and word.upper() not in _WHOLE for word, op in zip(words, ops, strict=True)], np.bool_
        )
        errors, texts = _coded(batch, "error")
        columns = {
            "uri": self._uris(batch),
            "offset": np.where(ranged[kinds], NULL, 0),
            "len": np.where(moving, moved, 0),
            "t_submit": start,
            "op": self.table("op").encode(ops)[kinds],
            "t_complete": end,
            "ret": np.where(moving, moved, 0),
            "err": self.table("err").encode([_error(text) for text in texts])[errors],
            "t_first_byte": np.where(moving, first, NULL),
            "tid": self._threads(batch),
            "level": np.full(batch.num_rows, self.table("level").code("logical"), np.int32),
        }
        return {name: array[good] for name, array in columns.items()}

    def _count_bad(self, batch: Any, good: Any) -> None:
        for row in np.flatnonzero(~good)[: None if self.skip_bad else 1].tolist():
            values = {
                name: _shown(batch.column(name)[row])
                for name in ("start", "end", "bytes")
                if name in batch.schema.names
            }
            self.reject(self.told.ops + row + 2, f"the row has no usable times or bytes: {values}")

    def _threads(self, batch: Any) -> IntArray:
        codes, texts = _coded(batch, "thread")
        numbers = [self.small("tid", text or None) for text in texts]
        return np.array([NULL if number is None else number for number in numbers], np.int32)[codes]

    def _uris(self, batch: Any) -> IntArray:
        (ends, endpoints), (places, files) = (_coded(batch, name) for name in ("endpoint", "file"))
        if len(self._names) > _MOST_NAMES:
            self._names.clear()
        if len(endpoints) == 1:
            return self._codes_of((endpoints[0], file) for file in files)[places]
        pairs, codes = np.unique(ends * len(files) + places, return_inverse=True)
        return self._codes_of((endpoints[pair // len(files)], files[pair % len(files)]) for pair in pairs.tolist())[
            codes
        ]

    def _codes_of(self, keys: Iterable[tuple[str, str]]) -> IntArray:
        """The codes of URIs, by endpoint and file."""
        known, table, found = self._names, self.table("uri"), list[int]()
        for key in keys:
            code = known.get(key)
            if code is None:
                code = known[key] = table.code(self._uri(*key))
            found.append(code)
        return np.array(found, np.int32)

    def _uri(self, endpoint: str, file: str) -> str:
        scheme = endpoint.partition("://")[0]
        if scheme in ("file", "direct"):
            return file_uri(file, scheme) if file.startswith("/") else file
        if scheme in ("s3", "az", "gs"):
            if endpoint.endswith("/"):
                # As we write for sai3-bench, which puts the two together.
                return endpoint + file
            # s3dlio names the bucket in both columns.
            return f"{scheme}://{file}"
        bucket = self.options.get("bucket")
        return f"s3://{bucket}/{file.lstrip('/')}" if bucket else f"s3://{file.lstrip('/')}"


def _shown(cell: Any) -> str:
    """What stands in a cell, for a message."""
    import pyarrow as pa

    if isinstance(cell, pa.TimestampScalar):
        return f"{np.datetime64(cell.value, 'ns')}Z" if cell.is_valid else ""
    value = cell.as_py()
    return value.decode() if isinstance(value, bytes) else str(value)


def _coded(batch: Any, name: str) -> tuple[IntArray, list[str]]:
    """A column of text as codes, and the distinct texts in order of appearance."""
    import pyarrow as pa

    if name not in batch.schema.names or not batch.num_rows:
        return np.zeros(batch.num_rows, np.int64), [""]
    column = batch.column(name)
    if isinstance(column.type, pa.DictionaryType):
        return integers(column.indices).astype(np.int64), column.dictionary.to_pylist()
    coded = column.dictionary_encode()
    return integers(coded.indices).astype(np.int64), [value.decode() for value in coded.dictionary.to_pylist()]


def _numbers(batch: Any, name: str) -> IntArray:
    """A column of whole numbers; NULL for what is none."""
    import pyarrow as pa

    if name not in batch.schema.names:
        return np.full(batch.num_rows, NULL, np.int64)
    column = batch.column(name)
    if column.type == pa.int64():
        return integers(column)
    import pyarrow.compute as pc

    try:
        return np.asarray(pc.cast(column.cast(pa.string()), pa.int64()).fill_null(NULL).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.array([_number(value) for value in column.to_pylist()], np.int64)


def _number(value: bytes | None) -> int:
    try:
        number = int(value or b"")
    except ValueError:
        return NULL
    return number if 0 <= number < 2**62 else NULL


def _times(batch: Any, name: str) -> IntArray:
    """A column of RFC 3339 times as ns since 1970; NULL for what is none."""
    import pyarrow as pa

    if name not in batch.schema.names:
        return np.full(batch.num_rows, NULL, np.int64)
    if isinstance(batch.column(name).type, pa.TimestampType):
        return integers(batch.column(name).view(pa.int64()))
    import pyarrow.compute as pc

    texts = batch.column(name).cast(pa.string())
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    stamp = pa.timestamp("ns", "UTC")
    try:
        parsed = pc.cast(texts, stamp)
    except pa.ArrowInvalid:
        parsed = pa.array([_stamp(text) for text in texts.to_pylist()], stamp)
    return np.asarray(parsed.cast(pa.int64()).fill_null(NULL).to_numpy(zero_copy_only=False))


def _stamp(text: str | None) -> Any:
    import pyarrow as pa

    try:
        return None if text is None else pa.scalar(text).cast(pa.timestamp("ns", "UTC"))
    except pa.ArrowInvalid:
        return None


def _error(text: str) -> str | None:
    """The error of a request in one word where it has a status, else as it is, without line ends."""
    return " ".join(text.split())[:200] or None


# -- out --------------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "s3dlio": (*_KNOWN[:11], "end", "duration_ns"),
    # What sai3-bench replays: it takes endpoint and file together for the URI, and knows no HEAD.
    "sai3": (*_KNOWN[:11], "end", "duration_ns"),
    "warp13": (*_KNOWN[:11], "end", "duration_ns"),
    "warp15": _KNOWN,
}
_WARP = ("warp13", "warp15")
_WORDS = {"read": "GET", "write": "PUT", "stat": "HEAD", "list": "LIST", "delete": "DELETE"}


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True, layout: str = "s3dlio") -> Iterator[Writer]:
    """A writer of a log in one of the `LAYOUTS`, compressed where the name ends in .zst.

    Raises:
        UsageError: If there is no such layout.
    """
    import pyarrow as pa

    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout!r}", f"use one of {', '.join(LAYOUTS)}")
    with replacing(path, force=force) as file:
        if os.fspath(path).endswith(".zst"):
            with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as sink:
                yield _LogWriter(sink, layout)
        else:
            yield _LogWriter(file, layout)


class _LogWriter(Writer):
    """Writes rows that s3dlio's and warp's readers take. Where in an object a read began is not in them."""

    def __init__(self, sink: IO[bytes], layout: str) -> None:
        super().__init__()
        self._sink = sink
        self._layout = layout
        self._names = LAYOUTS[layout]
        self._index = 0
        self._t0 = 0
        self._sink.write("\t".join(self._names).encode() + b"\n")

    def header(self, header: Header) -> None:
        """The moment that times are counted from."""
        self._t0 = int(header.clock.get("t0_unix_ns") or 0)

    def ops(self, piece: Trace) -> None:
        """Write the requests among the ops; opens and closes are none."""
        words = [_WORDS.get(op) for op in piece.strings("op")]
        if self._layout != "s3dlio":
            words = ["STAT" if word == "HEAD" else word for word in words]
        places = [_place(uri, self._layout) for uri in piece.uris]
        names = ("uri", "op", "err", "tid", "offset", "len", "ret", "t_submit", "t_first_byte", "t_complete")
        errors = [*piece.strings("err"), ""]
        lines = []
        for uri, op, err, tid, offset, *numbers in zip(*(piece.col(name).tolist() for name in names), strict=True):
            word = words[op]
            if word is None:
                self.leave_out(f"{piece.strings('op')[op]} ops")
                continue
            if word == "GET" and offset:
                self.drop("offsets of reads")
            lines.append(self._row(word, places[uri], errors[err], max(tid, 0), *numbers))
        if lines:
            self._sink.write(("\n".join(lines) + "\n").encode())

    def _row(
        self,
        word: str,
        place: tuple[str, str],
        error: str,
        tid: int,
        size: int,
        ret: int,
        start: int,
        first: int,
        end: int,
    ) -> str:
        end = start if end == NULL else end
        if first == NULL:
            # As the tools themselves put it: a GET is timed to its end, a PUT has nothing to wait for.
            first = {"GET": end, "PUT": start}.get(word, NULL)
        moved = size if ret == NULL else ret
        values = {
            "idx": self._index, "thread": tid & 0xFFFF if self._layout in _WARP else tid, "op": word, "client_id": "",
            "n_objects": 1, "bytes": moved if word in ("GET", "PUT") else 0, "endpoint": place[0], "file": place[1],
            "error": _cell(error), "start": self._stamp(start), "first_byte": self._stamp(first),
            "last_byte": self._stamp(end), "end": self._stamp(end), "duration_ns": end - start, "cat": 0,
        }  # fmt: skip
        self._index += 1
        return "\t".join([str(values[name]) for name in self._names])

    def _stamp(self, time: int) -> str:
        if time == NULL:
            return ""
        total = self._t0 + time
        return f"{np.datetime64(total // 1_000_000_000, 's')}.{total % 1_000_000_000:09d}Z"


def _cell(text: str) -> str:
    """A text that neither ends its column nor its line."""
    return " ".join(utf8(text).split()) if any(mark in text for mark in "\t\r\n") else utf8(text)


def _place(uri: str, layout: str) -> tuple[str, str]:
    """Endpoint and file of a URI: s3dlio repeats the bucket in the file, warp and sai3-bench leave it out."""
    try:
        scheme, name = uri.partition("://")[0], local_path(uri)
    except InputError:
        scheme, _, name = _cell(uri).partition("://")
        bucket, _, key = name.partition("/")
        if layout == "s3dlio":
            return f"{scheme}://{bucket}", name
        return (f"{scheme}://{bucket}/", key) if layout == "sai3" else ("http://127.0.0.1:9000", key)
    scheme = scheme if scheme in ("file", "direct") else "file"
    return f"{scheme}://", _cell(name)
