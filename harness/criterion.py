"""A criterion: one question about two sides, what is accepted, and the way from an effect to a decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.verdict import Outcome

INTENT, OVERLAP, ENVIRONMENT, VALIDITY = "intent", "overlap", "environment", "validity"
PAIRED, REPEAT, PROFILE = "paired", "repeat", "profile"

# PASS asks for the 95 % interval inside the band. FAIL asks for the 99.9 % interval outside: with some twenty criteria a
# true repeat would otherwise be rejected by chance.
PASS_CONFIDENCE, FAIL_CONFIDENCE = 0.95, 0.999
# The last twentieth of a tolerance is too near to its edge to pass: what was counted is never exact to the last op, and a run
# exactly at the edge would pass every time.
EDGE = 0.05
# Fewer runs say too little about a machine: one of two equal runs is out of ±25 % of p99 half of the time.
ENVIRONMENT_RUNS = 3
MINIMUM_OPS = 10


@dataclass(frozen=True)
class Criterion:
    """One question, and how it is decided.

    Args:
        id: Its name in tables, JSON and `--explain`.
        klass: `intent`, `overlap` or `environment`.
        title: The question in a few words.
        statistic: What is measured, with its formula.
        kind: How the effect is taken: `ratio` (measured / reference), `difference` (measured − reference), `distance`
            (0 is equal) or `value` (the measured value itself).
        tolerance: The band: 1 ± tolerance, ± tolerance, at most tolerance; for `value` at least tolerance.
        unit: `bytes`, `ns`, `ops`, `share`, `B/s` or nothing.
        high: What it means when the effect is above the band; {measured}, {reference} and {effect} are filled in.
        low: What it means when the effect is below the band.
        why: Why this statistic and this tolerance.
        assumption: What must hold for the decision to be sound, beyond what its mode assumes anyway.
        gate: `always`, `same-host`, `compute-bound`, `io-bound` or `never`.
        direction: `both`, `upper` where too little is never wrong, `lower` where too much never is.
        minimum: The fewest ops (or pairs) it is decided from.
    """

    id: str
    klass: str
    title: str
    statistic: str
    kind: str
    tolerance: float
    unit: str
    high: str
    low: str = ""
    why: str = ""
    assumption: str = ""
    gate: str = "always"
    direction: str = "both"
    minimum: int = MINIMUM_OPS

    @property
    def band(self) -> tuple[float | None, float | None]:
        """The effects that are accepted."""
        if self.kind == "value":
            return self.tolerance, None
        if self.kind == "distance":
            return None, self.tolerance
        centre = 1.0 if self.kind == "ratio" else 0.0
        lower = None if self.direction == "upper" else centre - self.tolerance
        return lower, None if self.direction == "lower" else centre + self.tolerance

    def effect(self, reference: float | None, measured: float | None) -> float | None:
        """How far the two are apart in this criterion's terms; None where it is not defined."""
        if measured is None or (reference is None and self.kind in {"ratio", "difference"}):
            return None
        if self.kind in {"distance", "value"} or reference is None:
            return measured
        if self.kind == "difference":
            # Sums of shares differ in their last digits; that is no effect.
            return 0.0 if math.isclose(measured, reference, rel_tol=1e-12, abs_tol=1e-12) else measured - reference
        if reference == 0:
            return 1.0 if measured == 0 else math.inf
        return measured / reference

    def around(self, effect: float, half_width: float) -> tuple[float, float]:
        """The interval of that half width around an effect; of ratios, in the scale of logarithms."""
        if self.kind == "ratio":
            if effect <= 0 or math.isinf(effect):
                return effect, effect
            return effect * math.exp(-half_width), effect * math.exp(min(half_width, 700.0))
        return effect - half_width, effect + half_width

    def decide(self, effect: float, half_pass: float = 0.0, half_fail: float = 0.0) -> Outcome:
        """PASS when the whole interval lies inside the band, FAIL when all of it lies outside, else INCONCLUSIVE.

        Args:
            effect: The effect.
            half_pass: Half width of the interval that must lie inside to pass (see `around`).
            half_fail: Half width of the interval that must lie outside to fail.
        """
        if self._inside(self.around(effect, half_pass)):
            return Outcome.PASS
        return Outcome.FAIL if self._outside(self.around(effect, half_fail)) else Outcome.INCONCLUSIVE

    def sentence(self, effect: float, measured: str, reference: str) -> str:
        """The finding in plain words for an effect that is out of band."""
        upper = self.band[1]
        text = self.high if upper is not None and effect > upper else self.low or self.high
        return text.format(measured=measured, reference=reference, effect=format_effect(self.kind, effect))

    def _inside(self, interval: tuple[float, float]) -> bool:
        lower, upper = self.band
        edge = 1e-12 if self.kind == "value" else -EDGE * self.tolerance
        return (lower is None or interval[0] >= lower - edge) and (upper is None or interval[1] <= upper + edge)

    def _outside(self, interval: tuple[float, float]) -> bool:
        lower, upper = self.band
        return (lower is not None and interval[1] < lower) or (upper is not None and interval[0] > upper)


def table(*criteria: Criterion) -> Mapping[str, Criterion]:
    """Criteria by their ids, in this order."""
    return {criterion.id: criterion for criterion in criteria}


def format_effect(kind: str, effect: float) -> str:
    """An effect as people read it: ×1.26, +0.050, 0.012."""
    if kind == "ratio":
        return f"×{effect:.3g}"
    if effect == 0:
        return "0"
    return f"{effect:+.3g}" if kind == "difference" else f"{effect:.3g}"


def format_band(kind: str, band: tuple[float | None, float | None] | None, unit: str) -> str:
    """The accepted effects as people read them: ±10 %, ≤ 0.02, ≥ 0.95."""
    if band is None:
        return ""
    lower, upper = band
    if kind == "value":
        return f"≥ {lower:g}"
    if kind == "distance":
        return f"≤ {upper:g}"
    if kind == "ratio" and lower is not None and lower > 1:
        # So much more is asked for, not so much less allowed.
        return f"≥ ×{lower:g}"
    centre = 1.0 if kind == "ratio" else 0.0
    width = abs((upper if upper is not None else lower or 0.0) - centre)
    sign = "≤ +" if lower is None else "≥ −" if upper is None else "±"
    if kind == "ratio":
        return f"{sign}{100 * width:.6g} %"
    if unit == "share":
        return f"{sign}{100 * width:.6g} pp"
    return "equal" if width == 0.5 else f"{sign}{width:.6g}"
