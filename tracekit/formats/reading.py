"""Files that say how far they are read, whatever reads them: of a compressed one, how much of what is stored."""

from __future__ import annotations

import io
import os
import sys
from typing import IO, Any

from tracekit import progress


def opened(path: str) -> io.BufferedReader:
    """The file's bytes; `-` is standard input, which nobody knows the size of."""
    if path == "-":
        return io.BufferedReader(_Told(sys.stdin.buffer, path, None))
    file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed with what is made of it
    return io.BufferedReader(_Told(file, path, os.fstat(file.fileno()).st_size), _BUFFER_BYTES)


_BUFFER_BYTES = 1 << 17


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
