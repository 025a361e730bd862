"""The verdict as summary.json (docs/reference/summary.schema.json): the same bytes for the same input, no time of day."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.verdict import Finding, Verdict

# 1: the first published layout. A key that is removed, renamed or means something else raises it; a new key does not.
SUMMARY_VERSION = 1
# More digits than any figure is good for, and fewer than would show how a sum was rounded.
DIGITS = 10


def summary(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a JSON object."""
    return {
        "summary": SUMMARY_VERSION,
        "verdict": verdict.outcome.value,
        "mode": verdict.mode,
        "mode_reason": verdict.mode_reason,
        "golden": dict(verdict.golden),
        "candidates": [dict(candidate) for candidate in verdict.candidates],
        "counts": verdict.counts(),
        "criteria": [_criterion(finding) for finding in verdict.findings],
        "notes": list(verdict.notes),
    }


def render(verdict: Verdict) -> str:
    """The text of summary.json."""
    return json.dumps(summary(verdict), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _criterion(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "class": finding.klass,
        "title": finding.title,
        "verdict": finding.outcome.value,
        "gates": finding.gates,
        "unit": finding.unit,
        "golden": _number(finding.golden),
        "measured": _number(finding.measured),
        "effect": _number(finding.effect),
        "effect_kind": finding.effect_kind,
        "interval": None if finding.interval is None else [_number(end) for end in finding.interval],
        "band": None if finding.band is None else [_number(end) for end in finding.band],
        "reason": finding.reason,
        "settle": finding.settle,
        "notes": list(finding.notes),
        "diagnostics": {name: _number(value) for name, value in finding.diagnostics.items()},
    }


def _number(value: float | None) -> float | None:
    """The value in ten digits; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
