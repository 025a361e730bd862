"""Writing a trace piece by piece: what every format's writer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracekit.joining import concatenate
from tracekit.trace import Header, Mark, Trace, Trailer


@dataclass(frozen=True)
class Written:
    """How many ops were written, of how many, and what a reader of their source should be told."""

    ops: int
    of: int
    warnings: Sequence[str]


class Writer(ABC):
    """Takes a trace in pieces: the header at most once and first, the trailer at most once and last.

    Marks may come at any time between the two. Pieces share their string tables, which may have grown from one piece to
    the next (as those of `tracekit.formats.chunks` have), or bring tables of their own. What a format has no place for is
    counted in `dropped`, by name, so that it can be said; `left_out` is how many whole ops that were.
    """

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}
        self.left_out = 0

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

    def pieces(self, pieces: Iterable[Trace]) -> Written:
        """Write a trace that comes in pieces, as from `tracekit.formats.chunks`; nothing of them is kept."""
        ops, piece = 0, None
        for number, piece in enumerate(pieces):
            if number == 0 and piece.header is not None:
                self.header(piece.header)
            self.marks(piece.marks)
            self.ops(piece)
            ops += len(piece)
        if piece is not None and piece.trailer is not None:
            self.trailer(piece.trailer)
        return Written(ops - self.left_out, ops, piece.warnings if piece is not None else [])

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

    def leave_out(self, what: str) -> None:
        """Count an op that the format cannot say at all."""
        self.drop(what)
        self.left_out += 1


class Collector(Writer):
    """Keeps the pieces, for formats that can only write a trace as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[Trace] = []
        self._marks: list[Mark] = []
        self._header: Header | None = None
        self._trailer: Trailer | None = None

    def header(self, header: Header) -> None:
        """Keep it."""
        self._header = header

    def marks(self, marks: Sequence[Mark]) -> None:
        """Keep them."""
        self._marks += marks

    def ops(self, piece: Trace) -> None:
        """Keep them."""
        self._pieces.append(piece)

    def trailer(self, trailer: Trailer) -> None:
        """Keep it."""
        self._trailer = trailer

    def trace(self) -> Trace:
        """The whole trace."""
        whole = concatenate(self._pieces)
        return Trace(whole.columns, whole.tables, self._marks, self._header, self._trailer)
