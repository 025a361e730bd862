"""The differences of two sets of runs, with intervals, and no verdict: neither side is the reference of the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import bootstrap, stats
from harness.blocks import Blocked, together
from harness.criteria import REPEAT_CRITERIA
from harness.criterion import PASS_CONFIDENCE, Criterion
from harness.distances import DISTANCES, size_diagnostics
from harness.envelope import Envelope
from harness.noise import Noise, scalar, shares

COMPARE_VERSION = 1
# Distances of what is kept by blocks of time.
_BLOCKED = {"latency.shift": "latency", "arrival.gap": "gap"}
DIGITS = 10


@dataclass(frozen=True)
class Difference:
    """How two sides differ in what a criterion measures.

    Args:
        criterion: What is measured, and how an effect is read.
        a: The one side's mean (of ratios, the geometric mean); of distances, how far its own runs are from each other.
        b: The other side's; of distances, how far its runs are from the one side's.
        effect: b / a for ratios, b − a otherwise.
        interval: Where the effect lies with 95 % confidence; None where single runs do not tell how much runs differ.
        within: Of percentiles of two single runs, where the effect lies as far as their own blocks of time tell: for these two
            runs, not for the next two.
        diagnostics: Figures shown, never used.
    """

    criterion: Criterion
    a: float
    b: float
    effect: float
    interval: tuple[float, float] | None
    diagnostics: Mapping[str, float]
    within: tuple[float, float] | None = None

    @property
    def kind(self) -> str:
        """How the effect is read: `ratio` or `difference`."""
        return "ratio" if self.criterion.kind == "ratio" else "difference"

    @property
    def visible(self) -> bool | None:
        """Whether the interval leaves out "no difference"; None without an interval."""
        if self.interval is None:
            return None
        none = 1.0 if self.kind == "ratio" else 0.0
        return not self.interval[0] <= none <= self.interval[1]

    def to_json(self) -> dict[str, Any]:
        """The difference as JSON, in ten digits."""
        return {
            "id": self.criterion.id,
            "class": self.criterion.klass,
            "title": self.criterion.title,
            "unit": self.criterion.unit,
            "a": _short(self.a),
            "b": _short(self.b),
            "effect": _short(self.effect),
            "effect_kind": self.kind,
            "interval": None if self.interval is None else [_short(end) for end in self.interval],
            "within": None if self.within is None else [_short(end) for end in self.within],
            "visible": self.visible,
            "diagnostics": {name: _short(value) for name, value in self.diagnostics.items()},
        }


def compare(a: Envelope, b: Envelope) -> list[Difference]:
    """The differences of two sets of runs, in what both can tell; a pure function."""
    return [found for criterion in REPEAT_CRITERIA.values() if (found := _difference(criterion, a, b)) is not None]


def to_json(
    sides: Sequence[tuple[Sequence[str], Envelope]], differences: Sequence[Difference], notes: Sequence[str]
) -> dict[str, Any]:
    """Both sides and their differences as one JSON object."""
    named = [
        {"names": list(names), "runs": len(envelope.runs), "host_class": envelope.host_class}
        for names, envelope in sides
    ]
    return {
        "compare": COMPARE_VERSION,
        "a": named[0],
        "b": named[1],
        "criteria": [difference.to_json() for difference in differences],
        "notes": list(notes),
    }


def remarks(a: Envelope, b: Envelope) -> Iterator[str]:
    """What a reader of the differences should know about the two sides."""
    if len(a.runs) == len(b.runs) == 1:
        yield "a single run on each side: how much runs differ is not known, so there are no intervals; give several runs of each"
        if any(_within(name, a, b) for name in bootstrap.PERCENTILES):
            yield (
                "{…} is where a percentile's ratio lies by resampling the blocks of time of these two runs: two true repeats are apart by "
                "more than that in half of all cases"
            )
    elif 1 in {len(a.runs), len(b.runs)}:
        yield "one side is a single run: it is taken to vary as the runs of the other side do"
    if not a.host_class or a.host_class != b.host_class:
        yield "the two sides come from different classes of host, or do not tell: times and rates differ for that reason too"
    silent = [
        criterion.id for criterion in REPEAT_CRITERIA.values() if _known(criterion, a) is not _known(criterion, b)
    ]
    if silent:
        yield f"only one side tells: {', '.join(silent)}"


def _difference(criterion: Criterion, a: Envelope, b: Envelope) -> Difference | None:
    if criterion.id == "depth.ceiling" or not (_known(criterion, a) and _known(criterion, b)):
        return None
    if criterion.id in DISTANCES or criterion.id == "ops.mix":
        return _distance(criterion, a, b)
    values = [[scalar(run, criterion.id) or 0.0 for run in side.runs] for side in (a, b)]
    if criterion.kind != "ratio" or min(map(min, values)) <= 0:
        return _of_means(criterion, values[0], values[1])
    logs = [[math.log(value) for value in side] for side in values]
    mean_a, mean_b = (math.exp(_mean(side)) for side in logs)
    half = stats.welch_half_width(logs[0], logs[1], PASS_CONFIDENCE)
    ratio = mean_b / mean_a
    interval = None if half is None else (ratio * math.exp(-half), ratio * math.exp(min(half, 700.0)))
    return Difference(criterion, mean_a, mean_b, ratio, interval, {}, _within(criterion.id, a, b))


def _within(name: str, a: Envelope, b: Envelope) -> tuple[float, float] | None:
    if name not in bootstrap.PERCENTILES or not len(a.runs) == len(b.runs) == 1:
        return None
    sides = [side.runs[0].blocks.get("latency", Blocked.empty()) for side in (a, b)]
    return bootstrap.ratio_interval(sides[0], sides[1], bootstrap.PERCENTILES[name], PASS_CONFIDENCE)


def _of_means(criterion: Criterion, a: Sequence[float], b: Sequence[float]) -> Difference:
    mean_a, mean_b = _mean(a), _mean(b)
    if criterion.kind == "ratio":
        # Nothing against something has no logarithm: the ratio is 0 or without end, and no interval says more.
        effect = 1.0 if mean_a == mean_b else math.inf if mean_a == 0 else mean_b / mean_a
        return Difference(criterion, mean_a, mean_b, effect, None, {})
    half = stats.welch_half_width(a, b, PASS_CONFIDENCE)
    effect = mean_b - mean_a
    return Difference(criterion, mean_a, mean_b, effect, None if half is None else (effect - half, effect + half), {})


def _distance(criterion: Criterion, a: Envelope, b: Envelope) -> Difference | None:
    own = Noise(a).own(criterion)
    pooled = a.pooled()
    diagnostics: dict[str, float] = {}
    if criterion.id == "ops.mix":
        mix = shares(pooled.kinds)
        found = [stats.variation_distance(mix, shares(run.kinds)) for run in b.runs]
    else:
        distance = DISTANCES[criterion.id]
        reference, tables = distance.of(pooled), [distance.of(run) for run in b.runs]
        if reference is None:
            return None
        found = [distance.between(reference, table) for table in tables if table is not None]
        if criterion.id == "size.ks" and (whole := distance.of(b.pooled())) is not None:
            diagnostics = size_diagnostics(reference, whole)
        if criterion.id in _BLOCKED:
            diagnostics = _ks(_BLOCKED[criterion.id], a, b)
    between, usual = _mean(found), _mean(own) if own else 0.0
    half = stats.welch_half_width(own or [0.0], found, PASS_CONFIDENCE)
    effect = between - usual
    interval = None if half is None or not own else (effect - half, effect + half)
    return Difference(criterion, usual, between, effect, interval, diagnostics)


def _ks(name: str, a: Envelope, b: Envelope) -> dict[str, float]:
    """The KS distance of all runs together: its bracket, and the most it is by resampling blocks of time."""
    found = {}
    bracket = a.histograms[name].distance(b.histograms[name])
    if bracket is not None:
        found = {"d_low": bracket[0], "d_high": bracket[1]}
    sides = [together([run.blocks[name] for run in side.runs if name in run.blocks]) for side in (a, b)]
    most = bootstrap.ks_most(sides[0], sides[1], PASS_CONFIDENCE)
    return found if most is None else found | {"d_most": most}


def _known(criterion: Criterion, side: Envelope) -> bool:
    if criterion.id in {"ops.mix", "depth.ceiling"}:
        return True
    if criterion.id in DISTANCES:
        return all(DISTANCES[criterion.id].of(run) is not None for run in side.runs)
    return all(scalar(run, criterion.id) is not None for run in side.runs)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
