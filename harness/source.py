"""A trace to be read piece by piece, as often as it takes: a file, or one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tracekit import formats
from tracekit.formats.ordered import Kept
from tracekit.trace import Mark, Trace


class Sink(Protocol):
    """What takes in a trace piece by piece."""

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""


Filled = TypeVar("Filled", bound=Sink)


@dataclass(frozen=True)
class Source:
    """A trace and what to call it; either in memory or in a file.

    Args:
        name: What to call it in sentences.
        trace: The trace, where it is in memory.
        time_unit: Of a file, as of `tracekit.formats.load`.
        skip_bad: As there.
    """

    name: str
    trace: Trace | None = None
    time_unit: str = "ns"
    skip_bad: bool = False

    def pieces(self) -> Iterator[Trace]:
        """Its pieces as they stand in the file."""
        if self.trace is not None:
            return iter([self.trace])
        return formats.chunks(self.name, time_unit=self.time_unit, skip_bad=self.skip_bad)

    def fold(self, start: Callable[[Sequence[Mark]], Filled]) -> Filled:
        """Give its pieces in order of submission to a sink made of all its marks (`tracekit.formats.fold`)."""
        if self.trace is None:
            return formats.fold(self.name, start, time_unit=self.time_unit, skip_bad=self.skip_bad)
        sink = start(self.trace.marks)
        sink.update(self.trace.sorted())
        return sink

    def kept(self) -> Kept:
        """Its pieces in order of submission, as often as they are asked for: by way of a temporary file."""
        return Kept(self.pieces())
