"""What a check found: one outcome per criterion, and the worst of those that gate as the verdict.

Every criterion stands alone; there is no score in which a good figure could hide a bad one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tracekit.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_INPUT, EXIT_PASS


class Outcome(str, Enum):
    """The five things a criterion can say.

    `N/A` means that the trace or the golden does not hold what the criterion needs; `ERROR` that the trace is not valid.
    """

    PASS = "PASS"  # noqa: S105 -- a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NA = "N/A"
    ERROR = "ERROR"


# The worst first; N/A decides nothing.
SEVERITY = (Outcome.ERROR, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
EXIT_CODES = {
    Outcome.PASS: EXIT_PASS,
    Outcome.FAIL: EXIT_FAIL,
    Outcome.ERROR: EXIT_INPUT,
    Outcome.INCONCLUSIVE: EXIT_INCONCLUSIVE,
}


@dataclass(frozen=True)
class Finding:
    """What one criterion found.

    Args:
        id: The criterion's id.
        klass: `validity`, `intent`, `overlap` or `environment`.
        title: The criterion in a few words.
        outcome: What it says.
        gates: Whether it counts in the verdict; what does not is shown only.
        unit: Unit of `golden` and `measured`.
        golden: The reference's value; None where there is none.
        measured: The candidate's value; None where it cannot be known.
        effect: How far the two are apart, in the criterion's own terms.
        interval: Where the effect lies with 95 % confidence; None where the effect was measured, not estimated.
        band: The effects that are accepted, lower and upper end; None is open.
        effect_kind: How to read the effect: `ratio`, `difference`, `distance`, `count`, `value`.
        reason: The finding in plain words; empty for a plain pass.
        settle: What would settle an inconclusive finding.
        notes: Warnings that belong to this finding (too few ops, ties, report-only and why).
        diagnostics: Figures shown but never used, such as p-values.
    """

    id: str
    klass: str
    title: str
    outcome: Outcome
    gates: bool = True
    unit: str = ""
    golden: float | None = None
    measured: float | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    band: tuple[float | None, float | None] | None = None
    effect_kind: str = "value"
    reason: str = ""
    settle: str = ""
    notes: Sequence[str] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """A distribution of golden and candidate on common bins: `lo` ≤ value < `hi`, as shares of all."""

    name: str
    unit: str
    lo: Sequence[int]
    hi: Sequence[int]
    golden: Sequence[float]
    candidate: Sequence[float]


@dataclass(frozen=True)
class RunByRun:
    """A criterion's figure in each golden run and in each run that is judged; None where a run cannot tell."""

    id: str
    golden: Sequence[float | None]
    measured: Sequence[float | None]


@dataclass(frozen=True)
class FactTable:
    """Figures that belong beside the criteria, as people read them; the first column names the rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Verdict:
    """What a check found, whole: mode, both sides, every finding, and what should be said beside them.

    `golden` and `candidates` are JSON objects that describe the two sides (name, path, producer, ops…); `mode_reason` is why the
    mode was chosen.
    """

    mode: str
    golden: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]
    notes: Sequence[str] = ()
    histograms: Sequence[Histogram] = ()
    runs: Sequence[RunByRun] = ()
    tables: Sequence[FactTable] = ()
    mode_reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of the findings that gate; INCONCLUSIVE when none of them decided anything."""
        return worst(finding.outcome for finding in self.findings if finding.gates)

    @property
    def failed(self) -> list[Finding]:
        """The findings that made it fail."""
        return [finding for finding in self.findings if finding.gates and finding.outcome is Outcome.FAIL]

    def counts(self) -> dict[str, int]:
        """How many gating criteria ended how, and how many are shown only."""
        gating = [finding.outcome for finding in self.findings if finding.gates]
        counts = {outcome.value: gating.count(outcome) for outcome in Outcome}
        return counts | {"report-only": len(self.findings) - len(gating)}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst outcome: ERROR over FAIL over INCONCLUSIVE over PASS; of nothing, or of N/A alone, INCONCLUSIVE.

    Nothing decided is never a pass.
    """
    seen = set(outcomes)
    return next((outcome for outcome in SEVERITY if outcome in seen), Outcome.INCONCLUSIVE)


def exit_code(outcome: Outcome, *, inconclusive: str = "") -> int:
    """The exit code of a verdict: 0 PASS, 1 FAIL, 2 ERROR, 3 INCONCLUSIVE (or 1 or 0 for `fail` and `ok`)."""
    if outcome is Outcome.INCONCLUSIVE and inconclusive:
        return EXIT_PASS if inconclusive == "ok" else EXIT_FAIL
    return EXIT_CODES[outcome]
