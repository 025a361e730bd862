"""A recording and what is held against it, each read once, piece by piece; neither is ever in memory as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.expected import read_expected
from harness.figures import Figures
from harness.ledger import Ledger, Names, canonical
from harness.pairing import Pairing
from harness.run import Reading, Run
from harness.source import Source
from tracekit.replay.remap import Remap
from tracekit.trace import Header

RATE_WINDOW_NS, RATE_WINDOWS = 100_000_000, 50


@dataclass(frozen=True)
class Side:
    """One of the two traces.

    Args:
        run: What one pass over it leaves; the figures are of the ops that are compared.
        ops: How many these are.
        steps: How many training steps are known by what they read.
        ledger: The ops.
    """

    run: Run
    ops: int
    steps: int
    ledger: Ledger

    @classmethod
    def of(cls, reading: Reading) -> Side:
        """The side that a trace was read into."""
        (ledger,) = reading.others
        assert isinstance(ledger, Ledger)
        return cls(reading.run(), reading.kept, reading.steps, ledger)


@dataclass(frozen=True)
class Comparison:
    """A recording and what is held against it, with everything that several criteria need.

    Args:
        recorded: What of the recording was to be replayed.
        replayed: What was.
        pairing: Which ops belong together.
        options: The options of the replay, by its own header.
        notes: How what was to be replayed differs from the recording.
    """

    recorded: Side
    replayed: Side
    pairing: Pairing
    options: Mapping[str, Any]
    notes: Sequence[str]

    @classmethod
    def of(cls, recorded: Source, replayed: Source, remap: Sequence[tuple[str, str]] = ()) -> Comparison:
        """Read both.

        Args:
            recorded: The recording.
            replayed: The replay, or any other trace held against it.
            remap: (FROM, TO) prefixes by which the replay's uris differ; the longest that fits is applied to the
                recording's. What the user says beats what the header says.
        """
        names, renamed = Names(), partial(_remapped, Remap(remap))
        theirs = Side.of(replayed.fold(lambda marks: Reading(marks, others=[Ledger(names)])))
        options = _options(theirs.run.header)
        if remap:
            options = {name: value for name, value in options.items() if name != "remap"}
        reading, notes = read_expected(recorded, options, replayed.name, theirs.ops, lambda: Ledger(names, renamed))
        mine = Side.of(reading)
        width = max(RATE_WINDOW_NS, mine.ledger.duration // RATE_WINDOWS)
        return cls(mine, theirs, Pairing(mine.ledger, theirs.ledger, width), options, notes)

    @property
    def figures(self) -> tuple[Figures, Figures]:
        """The figures of both."""
        return self.recorded.run.figures, self.replayed.run.figures

    @property
    def span_ns(self) -> tuple[int, int]:
        """From the first submission to the last, in both."""
        return self.recorded.ledger.duration, self.replayed.ledger.duration


def _options(header: Header | None) -> Mapping[str, Any]:
    producer = header.producer if header else {}
    options = producer.get("options")
    return options if producer.get("verb") == "replay" and isinstance(options, Mapping) else {}


def _remapped(remap: Remap, uri: str) -> str:
    new = remap.apply(uri)
    return canonical(uri if new is None else new)
