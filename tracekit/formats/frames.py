"""Compressed output: zstd in frames of a third of a mebibyte, some mebibytes at a time compressed by a thread of their own.

Frames one after the other are a zstd file like any other (RFC 8878). Lines of ops are mostly digits that repeat nowhere:
the quick levels lose more by the short matches they find in them than they win, so it is worth looking longer. What does repeat,
repeats nearby, where a place is said in fewer bits: these frames are 7 % smaller than frames of 4 MiB, and written no slower.
Smaller ones than 256 KiB are compressed in another way, and come out larger.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LEVEL = 8
FRAME_BYTES = 320 << 10
_BATCH = 12  # frames
_MOST_THREADS = 4


class FrameSink:
    """A sink whose bytes go compressed to an open file, in order; use it as a context.

    Args:
        file: Where the frames go.
        level: zstd's; higher is smaller and slower.
    """

    def __init__(self, file: IO[bytes], level: int = LEVEL) -> None:
        import pyarrow as pa

        self._file = file
        self._codec: pa.Codec = pa.Codec("zstd", level)
        self._threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(self._threads)
        self._frames: deque[Future[bytes]] = deque()
        self._waiting: list[bytes] = []
        self._size = 0

    def __enter__(self) -> FrameSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes, /) -> int:
        """Take bytes; at most a few batches of frames wait in memory."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _BATCH * FRAME_BYTES:
            self._hand_over()
            while len(self._frames) > self._threads:
                self._file.write(self._frames.popleft().result())
        return len(data)

    def _hand_over(self) -> None:
        data = b"".join(self._waiting)
        self._waiting, self._size = [], 0
        self._frames.append(self._pool.submit(self._compressed, data))

    def _compressed(self, data: bytes) -> bytes:
        view = memoryview(data)
        parts = range(0, max(len(data), 1), FRAME_BYTES)
        return b"".join(self._codec.compress(view[at : at + FRAME_BYTES], asbytes=True) for at in parts)

    def _finish(self) -> None:
        self._hand_over()
        while self._frames:
            self._file.write(self._frames.popleft().result())
