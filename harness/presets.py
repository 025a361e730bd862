"""The bands that others have published, applied to the letter and shown beside ours; they never count.

A preset's outcome is what its rule says of the means of the runs, without intervals: that is how such rules are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import stats
from harness.figures import Figures, Table
from harness.verdict import Finding, Outcome
from tracekit.errors import UnknownNameError

PRESET = "preset"
# DLIO PR 344: reads below this are left out, and a burst ends with a gap of that many median gaps.
LEAST_READ, BURST_GAP = 512, 10


@dataclass(frozen=True)
class Rule:
    """One published band.

    Args:
        id: Its name.
        title: What it asks, in a few words.
        kind: How the effect is read (see `Criterion.kind`).
        band: The effects it accepts.
        unit: The unit of both values.
        measure: Reference and measured value from the reference and the runs; None where they do not tell.
    """

    id: str
    title: str
    kind: str
    band: tuple[float | None, float | None]
    unit: str
    measure: Callable[[Figures, Sequence[Figures]], tuple[float | None, float] | None]

    def finding(self, preset: str, reference: Figures, runs: Sequence[Figures]) -> Finding:
        """What the rule says; it does not gate."""
        measured = self.measure(reference, runs)
        name = f"{preset}:{self.id}"
        if measured is None:
            return Finding(
                name, PRESET, self.title, Outcome.NA, gates=False, unit=self.unit, band=self.band, effect_kind=self.kind,
                reason="golden or trace does not tell",
            )  # fmt: skip
        golden, value = measured
        effect = (
            value if golden is None or self.kind in {"distance", "value"} else value / golden if golden else math.inf
        )
        lower, upper = self.band
        inside = (lower is None or effect >= lower) and (upper is None or effect <= upper)
        return Finding(
            name, PRESET, self.title, Outcome.PASS if inside else Outcome.FAIL, gates=False, unit=self.unit, golden=golden,
            measured=value, effect=effect, band=self.band, effect_kind=self.kind,
        )  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """Published bands that belong together, and where they are published."""

    source: str
    rules: Sequence[Rule]


def _scalar(name: str) -> Callable[[Figures, Sequence[Figures]], tuple[float, float] | None]:
    def measure(reference: Figures, runs: Sequence[Figures]) -> tuple[float, float] | None:
        mine, theirs = reference.scalars.get(name), _mean(run.scalars.get(name) for run in runs)
        return None if mine is None or theirs is None else (mine, theirs)

    return measure


def _value(name: str) -> Callable[[Figures, Sequence[Figures]], tuple[float | None, float] | None]:
    def measure(reference: Figures, runs: Sequence[Figures]) -> tuple[float | None, float] | None:
        theirs = _mean(run.scalars.get(name) for run in runs)
        return None if theirs is None else (reference.scalars.get(name), theirs)

    return measure


def _utilisation(reference: Figures, runs: Sequence[Figures]) -> tuple[float | None, float] | None:
    stall = _mean(run.scalars.get("stall.share") for run in runs)
    own = reference.scalars.get("stall.share")
    return None if stall is None else (None if own is None else 1 - own, 1 - stall)


def _replicable(reference: Figures, runs: Sequence[Figures]) -> tuple[float | None, float] | None:
    """How far the run that is farthest from the mean throughput of all is from it."""
    del reference
    known = [value for run in runs if (value := run.scalars.get("throughput")) is not None]
    if len(known) < len(runs) or len(known) < 2:
        return None
    mean = math.fsum(known) / len(known)
    return None, max(abs(value - mean) for value in known) / mean if mean else math.inf


def _distance(table: Callable[[Figures], Table | None]) -> Callable[..., tuple[None, float] | None]:
    def measure(reference: Figures, runs: Sequence[Figures]) -> tuple[None, float] | None:
        mine, theirs = table(reference), [table(run) for run in runs]
        known = [each for each in theirs if each is not None and len(each)]
        if mine is None or not len(mine) or len(known) < len(runs):
            return None
        found = [stats.ks_distance(mine.values, mine.counts, each.values, each.counts) for each in known]
        return None, math.fsum(found) / len(found)

    return measure


def _read_sizes(figures: Figures) -> Table | None:
    large = figures.sizes.values >= LEAST_READ
    return Table(figures.sizes.values[large], figures.sizes.counts[large])


def _burst_gaps(figures: Figures) -> Table | None:
    gaps = figures.tables.get("gap")
    if gaps is None or not len(gaps):
        return None
    middle = gaps.values[np.searchsorted(np.cumsum(gaps.counts), (len(gaps) + 1) // 2)]
    between = gaps.values > BURST_GAP * middle
    return Table(gaps.values[between], gaps.counts[between])


def _mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(found) else None


def _within(name: str, title: str, share: float, unit: str) -> Rule:
    return Rule(name, title, "ratio", (1 - share, 1 + share), unit, _scalar(name))


PRESETS: Mapping[str, Preset] = {
    "seed": Preset(
        "the bands that this project was begun with: sizes ±20 %, bytes per step ±10 %, p95 and p99 ±25 %, throughput ±15 %, queue depth "
        "above 0 during compute in 95 % of the steps",
        (
            _within("size.mean", "mean request size", 0.20, "bytes"),
            _within("size.median", "median request size", 0.20, "bytes"),
            _within("step.bytes", "bytes per step", 0.10, "bytes"),
            _within("latency.p95", "service time, p95", 0.25, "ns"),
            _within("latency.p99", "service time, p99", 0.25, "ns"),
            _within("throughput", "throughput", 0.15, "B/s"),
            Rule("depth.fed", "queue never empty during compute", "value", (0.95, None), "share", _value("depth.fed")),
        ),
    ),
    "mlperf-storage": Preset(
        "MLPerf Storage rules (github.com/mlcommons/storage, Rules.md and Submission_guidelines.md): accelerator utilisation at least 90 % "
        "(unet3d, resnet50; 85 % retinanet, 70 % cosmoflow and dlrm), first step left out, runs within 5 % of each other",
        (
            Rule("utilisation-90", "accelerator busy (unet3d, resnet50)", "value", (0.90, None), "share", _utilisation),
            Rule("utilisation-85", "accelerator busy (retinanet)", "value", (0.85, None), "share", _utilisation),
            Rule("utilisation-70", "accelerator busy (cosmoflow, dlrm)", "value", (0.70, None), "share", _utilisation),
            Rule(
                "replicable",
                "throughput of each run against their mean",
                "distance",
                (None, 0.05),
                "share",
                _replicable,
            ),
        ),
    ),
    "dlio-pr344": Preset(
        "DLIO benchmark, pull request 344 (github.com/argonne-lcf/dlio_benchmark/pull/344), auto_config/compare.py: throughput 0.8 to 1.2, "
        "KS distance of the sizes of requests from 512 bytes below 0.1, of the gaps between bursts below 0.15",
        (
            _within("throughput", "throughput", 0.20, "B/s"),
            Rule("size-ks", "request sizes (KS distance)", "distance", (None, 0.10), "share", _distance(_read_sizes)),
            Rule(
                "burst-gap-ks",
                "gaps between bursts (KS distance)",
                "distance",
                (None, 0.15),
                "share",
                _distance(_burst_gaps),
            ),
        ),
    ),
}


def check_names(names: Iterable[str]) -> None:
    """Fail where a preset does not exist.

    Raises:
        UnknownNameError: The nearest is proposed.
    """
    for name in names:
        if name not in PRESETS:
            raise UnknownNameError("preset", name, PRESETS)


def findings(names: Sequence[str], reference: Figures, runs: Sequence[Figures]) -> list[Finding]:
    """What the rules of these presets say."""
    return [rule.finding(name, reference, runs) for name in names for rule in PRESETS[name].rules]


def notes(names: Sequence[str], found: Sequence[Finding]) -> Iterator[str]:
    """How many of each preset's bands are met, and where they come from."""
    for name in names:
        own = [finding for finding in found if finding.id.startswith(f"{name}:")]
        met = sum(finding.outcome is Outcome.PASS for finding in own)
        missed = sum(finding.outcome is Outcome.FAIL for finding in own)
        yield f"preset {name}, shown and never counted: {met} bands met, {missed} missed. Source: {PRESETS[name].source}"
