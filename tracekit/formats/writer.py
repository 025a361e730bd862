"""Writing a trace piece by piece: what every format's writer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tracekit.trace import Header, Mark, Trace, Trailer


class Writer(ABC):
    """Takes a trace in pieces: the header at most once and first, the trailer at most once and last.

    Marks may come at any time between the two. Pieces share their string tables, which may have grown from one piece to
    the next (as those of `tracekit.formats.chunks` have), or bring tables of their own. What a format has no place for is
    counted in `dropped`, by name, so that it can be said.
    """

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}

    def header(self, header: Header) -> None:
        """Write where the trace comes from."""
        self.drop("the header", int(header != Header()))

    def marks(self, marks: Sequence[Mark]) -> None:
        """Write some of the program's own structure."""
        self.drop("marks", len(marks))

    @abstractmethod
    def ops(self, piece: Trace) -> None:
        """Write the ops of a piece; its header, marks and trailer are not looked at."""

    def trailer(self, trailer: Trailer) -> None:
        """Write how much there was."""
        self.drop("the trailer", int(trailer != Trailer()))

    def whole(self, trace: Trace) -> None:
        """Write a trace that is in memory."""
        if trace.header is not None:
            self.header(trace.header)
        self.marks(trace.marks)
        self.ops(trace)
        if trace.trailer is not None:
            self.trailer(trace.trailer)

    def drop(self, what: str, count: int = 1) -> None:
        """Count something that the format cannot say."""
        if count:
            self.dropped[what] = self.dropped.get(what, 0) + count
