"""Reading ahead: the next piece of a trace is decoded in a thread while the one before it is added up.

Decoding is Arrow's and zstd's work, adding up is NumPy's: both let go of the interpreter's lock for most of it, so a second
core is of use. One piece at most is ahead: memory does not grow with the trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

Piece = TypeVar("Piece")

# A source that hangs (a network file system) must not hold a program that was interrupted.
_PATIENCE_S = 5.0


def ahead(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces, of which the next is made while one is looked at.

    What making them raises is raised here, after the pieces before it. When the consumer stops, no further piece is made.
    """
    maker = _Maker(pieces)
    thread = threading.Thread(target=maker.run, name="tracekit-ahead", daemon=True)
    thread.start()
    try:
        yield from maker.taken()
    finally:
        maker.stop()
        thread.join(_PATIENCE_S)


@dataclass(frozen=True)
class _End:
    """There are no more pieces; `error` says why, where that is not because all were made."""

    error: BaseException | None


class _Maker(Generic[Piece]):
    """Makes a piece whenever the one before it has been taken."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = pieces
        self._made: SimpleQueue[Piece | _End] = SimpleQueue()
        # A queue with a limit was rejected: a thread that waits to put something in cannot be told to stop.
        self._wanted = threading.Semaphore(1)
        self._stopped = False

    def run(self) -> None:
        """Make pieces: this is the thread."""
        error: BaseException | None = None
        try:
            self._make()
        except BaseException as problem:  # it is the consumer's
            error = problem
        self._made.put(_End(error))

    def _make(self) -> None:
        pieces = iter(self._pieces)
        while True:
            self._wanted.acquire()
            if self._stopped:
                return
            try:
                self._made.put(next(pieces))
            except StopIteration:
                return

    def taken(self) -> Iterator[Piece]:
        """The pieces, as they are made."""
        while not isinstance(piece := self._made.get(), _End):
            self._wanted.release()
            yield piece
        if piece.error is not None:
            raise piece.error

    def stop(self) -> None:
        """Let no further piece be made."""
        self._stopped = True
        self._wanted.release()
