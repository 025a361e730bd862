"""A run as what one pass over its trace leaves: figures, the distributions reports show, and whether it is sound."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.figures import Beside, Figures, histograms
from harness.soundness import Soundness, SoundnessTally
from harness.warmup import NONE, Warmup
from tracekit import formats
from tracekit.histogram import Histogram
from tracekit.metrics import Stream
from tracekit.metrics.levels import Levels
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
        warmup: What was left out of figures and histograms: `first-step`, `first-epoch` or `none`.
    """

    ops: int
    figures: Figures
    histograms: Mapping[str, Histogram]
    soundness: Soundness
    header: Header | None
    trailer: Trailer | None
    warnings: Sequence[str]
    warmup: str = NONE

    def __len__(self) -> int:
        return self.ops

    @classmethod
    def of(cls, trace: Trace, warmup: str = NONE) -> Run:
        """The run of a trace that is in memory, as of `read`."""
        reading = _Reading(trace.marks, None if warmup == NONE else Warmup.of(warmup, [trace]))
        reading.update(trace.sorted())
        return reading.run()

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], *, time_unit: str = "ns", skip_bad: bool = False, warmup: str = NONE
    ) -> Run:
        """The run of a trace file, in one pass, and one more to find its warm-up.

        Args:
            path: As of `tracekit.formats.load`, like the next two arguments and the errors.
            time_unit: As there.
            skip_bad: As there.
            warmup: What is left out of the figures, where it can be told; `Run.warmup` says whether it could.
        """
        found = None
        if warmup != NONE and os.fspath(path) == "-":
            # It can be read once only.
            return cls.of(formats.load(path, time_unit=time_unit, skip_bad=skip_bad), warmup)
        if warmup != NONE:
            found = Warmup.of(warmup, formats.chunks(path, time_unit=time_unit, skip_bad=skip_bad))
        start = partial(_Reading, warmup=found)
        return formats.fold(path, start, time_unit=time_unit, skip_bad=skip_bad).run()


class _Reading:
    """What a trace is folded into; whether it is sound is asked of all of it, its figures leave a warm-up out."""

    def __init__(self, marks: Sequence[Mark], warmup: Warmup | None = None) -> None:
        self._warmup = warmup
        kept = marks if warmup is None else [mark for mark in marks if not warmup.has(mark)]
        self._sound = Levels(SoundnessTally()) if warmup is not None else None
        self._stream = Stream(kept, [Beside()] if warmup is not None else [Beside(), SoundnessTally()])
        self._last = Trace.of([])
        self._ops = self._kept = 0

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._last = piece
        self._ops += len(piece)
        if self._warmup is not None and self._sound is not None:
            self._sound.update(piece)
            piece = self._warmup.without(piece, self._kept)
        self._kept += len(piece)
        self._stream.update(piece)

    def run(self) -> Run:
        """The run."""
        metrics = self._stream.result()
        beside, *others = self._stream.others
        sound = self._sound.tally if self._sound is not None else others[0]
        assert isinstance(beside, Beside)
        assert isinstance(sound, SoundnessTally)
        last = self._last
        figures = Figures.summed(metrics, beside, last.header)
        left_out = NONE if self._warmup is None else self._warmup.kind
        return Run(
            self._ops, figures, histograms(metrics), sound.result(), last.header, last.trailer, last.warnings, left_out
        )
