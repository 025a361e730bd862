"""Files that say how far they are read, whatever reads them: of a compressed one, how much of what is stored."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from tracekit import progress

# What reading raises where something compressed is damaged or cut short.
DAMAGED = (OSError, EOFError, zlib.error)
_MAGICS = {"zstd": b"\x28\xb5\x2f\xfd", "gzip": b"\x1f\x8b"}


def opened(path: str) -> io.BufferedReader:
    """The file's bytes; `-` is standard input, which nobody knows the size of."""
    if path == "-":
        return io.BufferedReader(_Told(sys.stdin.buffer, path, None))
    file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed with what is made of it
    return io.BufferedReader(_Told(file, path, os.fstat(file.fileno()).st_size), _BUFFER_BYTES)


_BUFFER_BYTES = 1 << 17


@contextmanager
def unpacked(path: str) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed where they are compressed (errors when they are read: `DAMAGED`); `-` is standard input."""
    with opened(path) as file:
        packing = packing_of(path, file.peek(4))
        if packing == "gzip":
            # Not by Arrow, for which zeros behind the last member, as tapes and block devices leave them, are damage.
            with gzip.open(file) as plain:
                yield plain  # type: ignore[misc]  # a GzipFile is a reader of bytes
        elif packing:
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(file), packing) as plain:
                yield plain
        else:
            yield file


def packing_of(path: str, start: bytes) -> str:
    """How a file is compressed, by its suffix and by how it begins: `zstd`, `gzip`, or empty where it is not."""
    if path.endswith(".zst"):
        return "zstd"
    return next((name for name, magic in _MAGICS.items() if start.startswith(magic)), "")


class _Told(io.RawIOBase):
    def __init__(self, file: IO[bytes], path: str, size: int | None) -> None:
        self._file = file
        self._label = f"reading {os.path.basename(path)}"
        self._size = size
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]  # files opened for bytes have it
        self._done += count
        progress.tell(self._label, self._done, self._size if count else self._done, "B")
        return count

    def close(self) -> None:
        if not self.closed and self._file is not sys.stdin.buffer:
            self._file.close()
        super().close()
