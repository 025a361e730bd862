"""A run as what one pass over its trace leaves: figures, the distributions reports show, and whether it is sound."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.figures import Beside, Figures, histograms
from harness.soundness import Soundness, SoundnessTally
from tracekit import formats
from tracekit.histogram import Histogram
from tracekit.metrics import Stream
from tracekit.trace import Header, Mark, Trace, Trailer


@dataclass(frozen=True)
class Run:
    """What is judged of a trace; its ops are not kept.

    Args:
        ops: How many ops the trace has, of any kind.
        figures: What criteria are decided on.
        histograms: What reports show, by name; latency and gap in ns.
        soundness: What is counted to know whether the trace can be judged.
        header: Where it comes from.
        trailer: How much there is.
        warnings: What a reader should be told.
    """

    ops: int
    figures: Figures
    histograms: Mapping[str, Histogram]
    soundness: Soundness
    header: Header | None
    trailer: Trailer | None
    warnings: Sequence[str]

    def __len__(self) -> int:
        return self.ops

    @classmethod
    def of(cls, trace: Trace) -> Run:
        """The run of a trace that is in memory."""
        reading = _Reading(trace.marks)
        reading.update(trace.sorted())
        return reading.run()

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, time_unit: str = "ns", skip_bad: bool = False) -> Run:
        """The run of a trace file, in one pass (arguments and errors as of `tracekit.formats.load`)."""
        return formats.fold(path, _Reading, time_unit=time_unit, skip_bad=skip_bad).run()


class _Reading:
    """What a trace is folded into."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._stream = Stream(marks, [Beside(), SoundnessTally()])
        self._last = Trace.of([])
        self._ops = 0

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._last = piece
        self._ops += len(piece)
        self._stream.update(piece)

    def run(self) -> Run:
        """The run."""
        metrics = self._stream.result()
        beside, sound = self._stream.others
        assert isinstance(beside, Beside)
        assert isinstance(sound, SoundnessTally)
        last = self._last
        figures = Figures.summed(metrics, beside, last.header)
        return Run(self._ops, figures, histograms(metrics), sound.result(), last.header, last.trailer, last.warnings)
