"""What it takes to decide with a golden: runs against the noise between runs, ops against the noise within one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness import stats
from harness.bootstrap import PERCENTILES, design_effect
from harness.criterion import FAIL_CONFIDENCE, PASS_CONFIDENCE, Criterion
from harness.noise import POWER, Lesson, lesson, log_tolerance
from harness.standard import Standard
from tracekit.histogram import Histogram

# 1: the first published layout of what `--json` prints.
POWER_VERSION = 1
# How many golden runs to try where those there are do not do.
GOLDEN_RUNS = (10, 15, 20, 30, 50, 100)
MOST_OPS = 10**9


@dataclass(frozen=True)
class Power:
    """What a criterion takes.

    Args:
        criterion: The criterion, with the golden's tolerance.
        lesson: Its noise, and what follows for one run.
        detects_three: The smallest effect (of ratios, as a share) that three runs fail for in nine of ten cases.
        golden_runs: With how many golden runs (and 30 runs) it could be decided, where it cannot with those there are; None
            where not even 100 would do, or nothing more is needed.
        ops: How many ops a run must hold; None where no number would do. Of percentiles, so many that the 95 % interval from
            within a run fits into the band: independent ops times the design effect.
        design_effect: How many ops of a golden run say as much as one independent op, the median over its runs; None where it is
            not asked or its runs do not tell: then 12 to 240 is what real loaders have.
    """

    criterion: Criterion
    lesson: Lesson
    detects_three: float | None
    golden_runs: int | None
    ops: int | None
    design_effect: float | None = None

    def to_json(self) -> dict[str, Any]:
        """It as JSON."""
        return self.lesson.to_json() | {
            "id": self.criterion.id,
            "detects_three": None if self.detects_three is None else float(f"{self.detects_three:.10g}"),
            "golden_runs": self.golden_runs,
            "ops": self.ops,
            "design_effect": None if self.design_effect is None else float(f"{self.design_effect:.10g}"),
        }


def power(standard: Standard, criteria: Iterable[Criterion]) -> list[Power]:
    """What each criterion takes with a golden; a pure function."""
    return [_power(standard, criterion) for criterion in criteria]


def to_json(standard: Standard, found: Iterable[Power]) -> dict[str, Any]:
    """What it takes, as one JSON object (docs/reference/power.schema.json)."""
    return {
        "power": POWER_VERSION,
        "golden": standard.name,
        "runs": len(standard.envelope.runs),
        "criteria": [each.to_json() for each in found],
    }


def _power(standard: Standard, criterion: Criterion) -> Power:
    learned = lesson(criterion, standard.noise)
    runs = len(standard.envelope.runs)
    effect = _design_effect(criterion, standard)
    ops = _ops(criterion, standard, effect or 1.0)
    if learned.noise is None:
        return Power(criterion, learned, None, None, ops, effect)
    tolerance = math.log1p(criterion.tolerance) if criterion.kind == "ratio" else criterion.tolerance
    beyond = tolerance + stats.smallest_failed(learned.noise, runs, 3, FAIL_CONFIDENCE, POWER)
    three = math.expm1(min(beyond, 700.0)) if criterion.kind == "ratio" else beyond
    return Power(
        criterion, learned, three, _golden_runs(criterion, learned, standard.noise.usual(criterion)), ops, effect
    )


def _design_effect(criterion: Criterion, standard: Standard) -> float | None:
    if criterion.id not in PERCENTILES:
        return None
    blocks = [run.blocks["latency"] for run in standard.envelope.runs if "latency" in run.blocks]
    effects = [effect for each in blocks if (effect := design_effect(each, PERCENTILES[criterion.id])) is not None]
    return statistics.median(effects) if effects else None


def _golden_runs(criterion: Criterion, learned: Lesson, usual: float) -> int | None:
    if learned.needs is not None or learned.noise is None:
        return None
    allowed = log_tolerance(criterion, usual)
    return next(
        (runs for runs in GOLDEN_RUNS if stats.runs_needed(learned.noise, runs, allowed, PASS_CONFIDENCE, POWER)), None
    )


def _ops(criterion: Criterion, standard: Standard, effect: float) -> int | None:
    least = max(criterion.minimum, standard.contract.min_ops)
    if criterion.id not in PERCENTILES:
        return least
    found = ops_needed(standard.envelope.histograms["latency"], PERCENTILES[criterion.id], criterion.tolerance)
    return None if found is None else max(least, math.ceil(found * effect))


def ops_needed(histogram: Histogram, q: float, tolerance: float) -> int | None:
    """How many independent ops put the 95 % interval of a quantile within ±`tolerance` of it; None where no number does.

    The interval is the binomial one of order statistics. At the edge between two modes (cache hits and misses) a quantile has no
    neighbourhood, and no number of ops helps.
    """
    low, high = 1, MOST_OPS
    if not histogram or not _fits(histogram, q, tolerance, high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(histogram, q, tolerance, middle) else (middle + 1, high)
    return low


def _fits(histogram: Histogram, q: float, tolerance: float, ops: int) -> bool:
    reach = 1.96 * math.sqrt(q * (1 - q) / ops)
    if not 0 < q - reach < q + reach < 1:
        return False
    below, at, above = histogram.quantiles(q - reach, q, q + reach)
    if below is None or at is None or above is None:
        return False
    return below >= at * (1 - tolerance) and above <= at * (1 + tolerance)
