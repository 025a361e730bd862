"""A run as what one pass over its trace leaves: figures, the distributions reports show, and whether it is sound."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from harness.figures import Beside, Figures, histograms
from harness.soundness import Soundness, SoundnessTally
from harness.warmup import NONE, Warmup
from tracekit import formats, pipes
from tracekit.histogram import Histogram
from tracekit.metrics import Stream
from tracekit.metrics.levels import Levels, Tally
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
        reading = _begun(trace.marks, None if warmup == NONE else Warmup.of(warmup, [trace]))
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
        if warmup != NONE:
            pipes.keep(path)
            found = Warmup.of(warmup, formats.chunks(path, time_unit=time_unit, skip_bad=skip_bad))
        start = partial(_begun, warmup=found)
        return formats.fold(path, start, time_unit=time_unit, skip_bad=skip_bad).run()


class Part(Protocol):
    """What of a trace figures are of, piece by piece."""

    def without(self, piece: Trace, kept: int) -> Trace:
        """What counts of a piece.

        Args:
            piece: The piece, in order of submission.
            kept: How many ops of earlier pieces counted: the trailer counts what is left.
        """

    def marks(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        """The marks that count."""


class Reading:
    """What a trace is folded into; whether it is sound is asked of all of it, its figures may be of a part.

    Args:
        marks: All marks of the trace.
        part: What its figures are of; None is all of it.
        left_out: What to call the rest.
        others: What else is to see every op that counts.
    """

    def __init__(
        self, marks: Sequence[Mark], part: Part | None = None, left_out: str = NONE, others: Sequence[Tally] = ()
    ) -> None:
        self.part, self._left_out = part, left_out
        self._sound = Levels(SoundnessTally()) if part is not None else None
        self._stream = Stream(
            marks if part is None else part.marks(marks),
            [Beside(), *others] if part is not None else [Beside(), *others, SoundnessTally()],
        )
        self._last = Trace.of([])
        self.ops = self.kept = self.steps = 0

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._last = piece
        self.ops += len(piece)
        if self.part is not None and self._sound is not None:
            self._sound.update(piece)
            piece = self.part.without(piece, self.kept)
        self.count(piece)

    def count(self, piece: Trace) -> None:
        """Take in ops that only count in the figures."""
        self.kept += len(piece)
        self._stream.update(piece)

    @property
    def others(self) -> Sequence[Tally]:
        """The other tallies, which have seen what counts."""
        return self._stream.others[1:] if self._sound is not None else self._stream.others[1:-1]

    def run(self) -> Run:
        """The run."""
        metrics = self._stream.result()
        beside, *others = self._stream.others
        sound = self._sound.tally if self._sound is not None else others[-1]
        assert isinstance(beside, Beside)
        assert isinstance(sound, SoundnessTally)
        self.steps = metrics.steps.bytes_per_step_hist.count
        last = self._last
        figures = Figures.summed(metrics, beside, last.header)
        return Run(
            self.ops,
            figures,
            histograms(metrics),
            sound.result(),
            last.header,
            last.trailer,
            last.warnings,
            self._left_out,
        )


def _begun(marks: Sequence[Mark], warmup: Warmup | None) -> Reading:
    return Reading(marks) if warmup is None else Reading(marks, warmup, warmup.kind)
