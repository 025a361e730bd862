"""How much a golden's own runs differ: the noise that every decision about another run has to be made against.

Noise is what can be seen, tolerance is what matters; the two are never mixed. A distance is never below 0 between true repeats,
so its noise is the distance of each golden run from all the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness import stats
from harness.criterion import EDGE, FAIL_CONFIDENCE, PASS_CONFIDENCE, Criterion
from harness.distances import DISTANCES, Distance
from harness.envelope import Envelope
from harness.figures import Figures, Table

# The probability with which an effect fails to be called detectable, and equal runs pass to be called enough.
POWER = 0.9


@dataclass(frozen=True)
class Noise:
    """The noise of a golden.

    Args:
        envelope: Its runs.
    """

    envelope: Envelope
    _own: dict[str, list[float]] = field(default_factory=dict, compare=False, repr=False)

    def own(self, criterion: Criterion) -> list[float]:
        """What each run says about a criterion (of ratios, the logarithm), the others its reference; empty where one is silent."""
        if criterion.id not in self._own:
            self._own[criterion.id] = self._found(criterion)
        return self._own[criterion.id]

    def spread(self, criterion: Criterion) -> float:
        """The standard deviation between the runs, in the scale of `own`."""
        return stats.spread(self.own(criterion))

    def usual(self, criterion: Criterion) -> float:
        """How far the runs are from each other in a distance, which chance alone makes; 0 of what is no distance."""
        own = self.own(criterion) if criterion.id in DISTANCES else []
        return math.fsum(own) / len(own) if own else 0.0

    def _found(self, criterion: Criterion) -> list[float]:
        if criterion.id in DISTANCES:
            return self._distances(DISTANCES[criterion.id])
        if criterion.id == "ops.mix":
            return self._mixes()
        values = [scalar(run, criterion.id) for run in self.envelope.runs]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return []
        if criterion.kind != "ratio":
            return known
        return [math.log(value) for value in known] if min(known) > 0 else []

    def _distances(self, distance: Distance) -> list[float]:
        tables = [table for run in self.envelope.runs if (table := distance.of(run)) is not None]
        if len(tables) < max(2, len(self.envelope.runs)):
            return []
        total = sum(tables[1:], tables[0])
        return [distance.between(_less(total, table), table) for table in tables]

    def _mixes(self) -> list[float]:
        kinds = [shares(run.kinds) for run in self.envelope.runs]
        together = shares(self.envelope.pooled().kinds)
        return [stats.variation_distance(together, own) for own in kinds] if len(kinds) > 1 else []


def scalar(run: Figures, name: str) -> float | None:
    """A figure of a run by the id of its criterion; None where the run does not tell."""
    if name == "streams.per-worker":
        streams, workers = run.scalars.get("streams.peak"), run.scalars.get("streams.workers")
        return streams / workers if streams and workers else None
    return run.scalars.get(name)


def shares(kinds: Mapping[str, int], chosen: tuple[str, ...] | None = None) -> dict[str, float]:
    """The mix of kinds as shares of all of them, or of those chosen."""
    counted = {kind: count for kind, count in kinds.items() if chosen is None or kind in chosen}
    total = sum(counted.values())
    return {kind: count / total for kind, count in counted.items()} if total else {}


def _less(total: Table, part: Table) -> Table:
    counts = total.counts.copy()
    counts[np.searchsorted(total.values, part.values)] -= part.counts
    left = counts > 0
    return Table(total.values[left], counts[left])


@dataclass(frozen=True)
class Lesson:
    """What a golden's runs teach about one criterion; tolerance and noise stay apart.

    Args:
        klass: The criterion's class.
        tolerance: What matters: the effects that are accepted.
        noise: What can be seen: the standard deviation between runs; of ratios, of the logarithms. None where runs are silent.
        needs: How many runs it takes to pass when nothing differs; None where no number would do.
        detects: The smallest effect (of ratios, as a share) that one run fails for in nine of ten cases.
        gate: Whether it counts: its rule, or why it never can.
    """

    klass: str
    tolerance: float
    noise: float | None
    needs: int | None
    detects: float | None
    gate: str

    def to_json(self) -> dict[str, Any]:
        """The lesson as JSON, in ten digits."""
        return {
            "class": self.klass,
            "tolerance": self.tolerance,
            "noise": _short(self.noise),
            "needs": self.needs,
            "detects": _short(self.detects),
            "gate": self.gate,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Lesson:
        """The lesson of a JSON object; KeyError, TypeError or ValueError where it is none."""
        tolerance = float(data["tolerance"])
        if not 0 < tolerance < math.inf:
            raise ValueError("a tolerance is a number above 0")
        noise, needs, detects = data["noise"], data["needs"], data["detects"]
        return cls(
            str(data["class"]),
            tolerance,
            None if noise is None else float(noise),
            None if needs is None else int(needs),
            None if detects is None else float(detects),
            str(data["gate"]),
        )


SILENT, IMPOSSIBLE = "the runs do not tell", "impossible: the runs differ too much for this tolerance"


def lesson(criterion: Criterion, noise: Noise) -> Lesson:
    """What a golden's runs teach about a criterion."""
    runs = len(noise.envelope.runs)
    if not noise.own(criterion):
        return Lesson(criterion.klass, criterion.tolerance, None, None, None, SILENT)
    spread = noise.spread(criterion)
    needs = stats.runs_needed(spread, runs, log_tolerance(criterion, noise.usual(criterion)), PASS_CONFIDENCE, POWER)
    tolerance = math.log1p(criterion.tolerance) if criterion.kind == "ratio" else criterion.tolerance
    beyond = tolerance + stats.smallest_failed(spread, runs, 1, FAIL_CONFIDENCE, POWER)
    detects = math.expm1(min(beyond, 700.0)) if criterion.kind == "ratio" else beyond
    gate = IMPOSSIBLE if needs is None else criterion.gate
    return Lesson(criterion.klass, criterion.tolerance, spread, needs, detects, gate)


def log_tolerance(criterion: Criterion, usual: float = 0.0) -> float:
    """How far the effect may be from none and pass, in the scale that noise is taken in.

    Args:
        criterion: The criterion.
        usual: Of distances, that which chance makes (`beyond_chance`): so much more than it a distance may be.
    """
    inside = (1 - EDGE) * criterion.tolerance
    return math.log1p(inside) if criterion.kind == "ratio" else math.hypot(inside, usual) - usual


def beyond_chance(distance: float, usual: float) -> float:
    """The most that the distance of two jobs is, where their runs are so far apart and chance alone makes the usual one.

    Chance does not come on top of a real distance: runs that differ by 0.05 where chance makes 0.025 are 0.05 apart, or a little more. What
    is taken off may therefore be no more than squares allow; the plain difference let two of three pass at the edge of the band.
    """
    return math.sqrt(max(0.0, distance**2 - usual**2))


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.10g}")
