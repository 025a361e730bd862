"""Run to run: every run's figure as a dot against the band, which shows why a criterion passes, fails or stays open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.markup import Markup, joined, tag
from harness.report.svg import RIGHT, WIDTH, Scale, picture
from harness.verdict import Finding, Outcome, RunByRun

_HEIGHT = 58.0
_GOLDEN_Y, _MEASURED_Y = 14.0, 30.0
_INDENT = 12.0
_FIRST = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1}


@dataclass(frozen=True)
class Strip:
    """A criterion's runs on the scale of its effect.

    Args:
        finding: The criterion's finding.
        golden: The effect of each golden run against their mean.
        measured: The effect of each run that is judged.
    """

    finding: Finding
    golden: Sequence[float]
    measured: Sequence[float]

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to see: it passes, and all runs are alike."""
        values = [*self.golden, *self.measured]
        return self.finding.outcome is Outcome.PASS and max(values) - min(values) < 1e-9


def strips(findings: Sequence[Finding], runs: Sequence[RunByRun]) -> list[Strip]:
    """What can be drawn: failures and open criteria first, those that do not count last."""
    by_name = {run.id: run for run in runs}
    made = [_strip(finding, by_name[finding.id]) for finding in findings if finding.id in by_name]
    known = [strip for strip in made if strip is not None]
    return sorted(known, key=lambda strip: (not strip.finding.gates, _FIRST.get(strip.finding.outcome, 2)))


def draw(strip: Strip, sides: Sequence[str]) -> Markup:
    """The dots of one criterion, its accepted band, and the interval it was decided on."""
    finding = strip.finding
    scale = _scale(strip)
    parts = [
        _band(scale, finding),
        *_dots(scale, strip.golden, _GOLDEN_Y, "golden"),
        *_dots(scale, strip.measured, _MEASURED_Y, "candidate"),
        *_ticks(scale, finding),
    ]
    if finding.interval is not None and all(math.isfinite(end) for end in finding.interval):
        low, high = (scale(end) for end in finding.interval)
        parts.append(tag("line", class_="interval", x1=low, x2=high, y1=_MEASURED_Y, y2=_MEASURED_Y))
    said = f"{finding.id}: {len(strip.golden)} {sides[0]} runs, {len(strip.measured)} {sides[1]}"
    return picture(said, *parts, height=_HEIGHT)


def _strip(finding: Finding, runs: RunByRun) -> Strip | None:
    golden = [value for value in runs.golden if value is not None]
    measured = [value for value in runs.measured if value is not None]
    if not golden or not measured or finding.effect_kind not in {"ratio", "difference"}:
        return None
    centre = finding.golden if finding.golden is not None else math.fsum(golden) / len(golden)
    sides = [[_effect(finding.effect_kind, value, centre) for value in side] for side in (golden, measured)]
    return Strip(finding, *sides) if all(math.isfinite(value) for side in sides for value in side) else None


def _effect(kind: str, value: float, centre: float) -> float:
    if kind == "difference":
        return value - centre
    return value / centre if centre else math.inf


def _scale(strip: Strip) -> Scale:
    band = [end for end in strip.finding.band or () if end is not None]
    ends = [*strip.golden, *strip.measured, *band, *(strip.finding.interval or ())]
    finite = [end for end in ends if math.isfinite(end)]
    low, high = min(finite), max(finite)
    # An interval of a hopeless criterion may be a thousand times the band; then its ends lie outside of the picture.
    if band and high - low > 12 * (max(band) - min(band) or 1.0):
        near = [*strip.golden, *strip.measured, *band]
        low, high = min(near), max(near)
    room = 0.08 * (high - low) or 0.1
    return Scale(low - room, high + room, _INDENT, WIDTH - RIGHT)


def _band(scale: Scale, finding: Finding) -> Markup:
    if finding.band is None:
        return joined()
    low, high = finding.band
    left = scale.start if low is None else scale(low)
    right = scale.end if high is None else scale(high)
    return tag("rect", class_="band", x=left, y=2, width=max(0.5, right - left), height=_MEASURED_Y + 8)


def _dots(scale: Scale, values: Sequence[float], y: float, class_: str) -> list[Markup]:
    return [tag("circle", class_=f"run {class_}", cx=scale(value), cy=y, r=4) for value in values]


def _ticks(scale: Scale, finding: Finding) -> list[Markup]:
    floor = _MEASURED_Y + 10
    drawn = [tag("line", class_="axis", x1=scale.start, x2=scale.end, y1=floor, y2=floor)]
    for value in scale.ticks(6):
        text = f"×{value:.3g}" if finding.effect_kind == "ratio" else f"{value:+.3g}" if value else "0"
        drawn.append(tag("line", class_="tick", x1=scale(value), x2=scale(value), y1=floor, y2=floor + 4))
        drawn.append(tag("text", text, x=scale(value), y=floor + 16, text_anchor="middle"))
    return drawn
