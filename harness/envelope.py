"""The envelope: the figures of repeated runs of one job, and their distributions taken together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.figures import Figures, Table
from harness.run import Run
from tracekit.errors import InputError
from tracekit.histogram import Histogram, merged
from tracekit.trace import Trace

# 1: the first published layout.
ENVELOPE_VERSION = 1
REPORTED = ("gap", "latency", "qd", "size")


@dataclass(frozen=True)
class Envelope:
    """Runs of one job.

    Args:
        runs: The figures of each run.
        histograms: The distributions reports show, over all runs; latency and gap in ns.
    """

    runs: Sequence[Figures]
    histograms: Mapping[str, Histogram]

    @classmethod
    def of(cls, traces: Sequence[Trace | Run]) -> Envelope:
        """The envelope of these runs, in this order: a pure function."""
        runs = [trace if isinstance(trace, Run) else Run.of(trace) for trace in traces]
        together = {name: merged([run.histograms[name] for run in runs]) for name in REPORTED}
        return cls([run.figures for run in runs], together)

    def __add__(self, other: Envelope) -> Envelope:
        together = {name: self.histograms[name] + other.histograms[name] for name in REPORTED}
        return Envelope([*self.runs, *other.runs], together)

    @cached_property
    def sizes(self) -> Table:
        """The requested sizes of all runs."""
        return _together([run.sizes for run in self.runs])

    def table(self, name: str) -> Table | None:
        """A further distribution over all runs; None where one of them does not tell."""
        tables = [run.tables[name] for run in self.runs if name in run.tables]
        return _together(tables) if tables and len(tables) == len(self.runs) else None

    @property
    def host_class(self) -> str:
        """The class of host that all runs come from; empty where they differ or do not tell."""
        classes = {run.host_class for run in self.runs}
        return classes.pop() if len(classes) == 1 else ""

    def values(self, name: str) -> list[float | None]:
        """A scalar of every run."""
        return [run.scalars.get(name) for run in self.runs]

    def without(self, index: int) -> Envelope:
        """The envelope of all runs but one (its reported distributions stay those of all)."""
        return Envelope([run for position, run in enumerate(self.runs) if position != index], self.histograms)

    def pooled(self) -> Figures:
        """One run's worth of figures over all runs: means of scalars, sums of tables."""
        names = sorted({name for run in self.runs for name in run.scalars})
        scalars = {name: _mean(self.values(name)) for name in names}
        kinds: dict[str, int] = {}
        for run in self.runs:
            for kind, count in run.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        engines = {run.engine for run in self.runs}
        engine = engines.pop() if len(engines) == 1 else ""
        depths = _together([run.depths for run in self.runs])
        chance = _together([run.chance for run in self.runs])
        tables = {name: table for name in sorted(self.runs[0].tables) if (table := self.table(name)) is not None}
        return Figures(scalars, self.sizes, depths, chance, kinds, engine, self.host_class, tables)

    def to_json(self) -> dict[str, Any]:
        """The envelope as JSON."""
        return {
            "envelope": ENVELOPE_VERSION,
            "runs": [run.to_json() for run in self.runs],
            "histograms": {name: histogram.to_json() for name, histogram in sorted(self.histograms.items())},
        }

    @classmethod
    def from_json(cls, data: Any, source: str) -> Envelope:
        """The envelope of a JSON object.

        Args:
            data: The object.
            source: Where it comes from, for errors.

        Raises:
            InputError: If it is of another version, has no run, or is damaged.
        """
        version = data.get("envelope") if isinstance(data, Mapping) else None
        if version != ENVELOPE_VERSION:
            raise InputError(
                f"the envelope in {source} has version {version!r}, this harness reads version {ENVELOPE_VERSION}",
                "use the harness that wrote it, or bless the golden again",
            )
        try:
            runs = [Figures.from_json(run) for run in data["runs"]]
            counts = {name: Histogram.from_json(data["histograms"][name]) for name in REPORTED}
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(
                f"the envelope in {source} is damaged: {_cause(error)}", "bless the golden again"
            ) from None
        if not runs:
            raise InputError(f"the envelope in {source} holds no run", "bless the golden again")
        return cls(runs, counts)


def _cause(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _together(tables: Sequence[Table]) -> Table:
    total = Table.of({})
    for table in tables:
        total = total + table
    return total


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
