"""Metrics and analysis of a trace in one pass over it, whatever format it comes in."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.analysis.snapshot import Analysis, Analyst
from tracekit.metrics import Metrics, Stream
from tracekit.metrics.view import View
from tracekit.trace import Mark, Trace


class Reading:
    """What `tracekit.formats.fold` gives a trace to.

    Args:
        marks: All marks of the trace.
    """

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks
        self._stream = Stream(marks, [_Looking()])
        self.last = Trace.of([])

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self.last = piece
        self._stream.update(piece)

    def metrics(self) -> Metrics:
        """The metrics."""
        return self._stream.result()

    def analysis(self) -> Analysis:
        """The analysis."""
        (looking,) = self._stream.others
        assert isinstance(looking, _Looking)
        return looking.analyst.analysis(looking.names, self._marks, self.last.trailer)


class _Looking:
    """The analyst as a tally."""

    def __init__(self) -> None:
        self.analyst = Analyst()
        self.names: list[str] = []

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self.names = view.trace.uris or self.names
        self.analyst.update(view, len(self.names))
