"""The rows of a verdict as people read them: what every rendering shows, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.criterion import INTENT, PAIRED, PROFILE, REPEAT, format_band, format_effect
from harness.findings import format_value
from harness.verdict import Finding, Outcome, Verdict

# What the two sides are called, by mode.
SIDES = {
    PAIRED: ("recording", "replay"),
    REPEAT: ("golden", "measured"),
    PROFILE: ("golden", "measured"),
    "matrix": ("buffered", "measured"),
}
# More candidates than that are not all named in a heading.
_NAMED = 6
OTHER_SIDES = ("reference", "measured")
_ORDER = {"validity": 0, "intent": 1, "overlap": 2, "environment": 3, "preset": 4}


@dataclass(frozen=True)
class Row:
    """One criterion, in words and figures with units.

    Args:
        finding: What it is a row of.
        golden: The reference's value.
        measured: The candidate's value.
        effect: The effect, with its interval where it was estimated.
        band: The effects that are accepted.
        outcome: The outcome, in parentheses where it does not count.
        notes: Numbers of the footnotes that belong to it.
    """

    finding: Finding
    golden: str
    measured: str
    effect: str
    band: str
    outcome: str
    notes: Sequence[int]


@dataclass(frozen=True)
class Table:
    """All rows of a verdict in the order of classes, and the footnotes they refer to (the first is number 1)."""

    rows: Sequence[Row]
    footnotes: Sequence[str]


def tabulate(verdict: Verdict) -> Table:
    """The rows of a verdict."""
    footnotes: list[str] = []
    findings = sorted(verdict.findings, key=lambda finding: _ORDER.get(finding.klass, len(_ORDER)))
    rows = [_row(finding, footnotes) for finding in findings]
    return Table(rows, footnotes)


def sides(mode: str) -> tuple[str, str]:
    """What reference and candidate are called."""
    return SIDES.get(mode, OTHER_SIDES)


def heading(verdict: Verdict) -> str:
    """What was held against what: `again.jsonl against train.jsonl, mode paired`."""
    names = _listed([str(side["name"]) for side in verdict.candidates])
    runs = verdict.golden.get("runs")
    return f"{names} against {verdict.golden['name']}{f' ({runs} runs)' if runs else ''}, mode {verdict.mode}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 2])} and {len(names) - _NAMED + 2} more runs"


def counts(verdict: Verdict) -> str:
    """`18 pass, 1 fail, 5 report-only`."""
    return ", ".join(
        f"{count} {name.lower() if name != 'N/A' else name}" for name, count in verdict.counts().items() if count
    )


def decisive(findings: Sequence[Finding], *outcomes: Outcome) -> list[Finding]:
    """The findings that count and ended so."""
    return [finding for finding in findings if finding.gates and finding.outcome in outcomes]


def not_judged(findings: Sequence[Finding]) -> list[Finding]:
    """What was asked of the storage and could not be compared."""
    return [finding for finding in findings if finding.outcome is Outcome.NA and finding.klass == INTENT]


def reason(finding: Finding) -> str:
    """Why it ended so, and what would settle it."""
    return f"{finding.reason} ({finding.settle})" if finding.settle else finding.reason


def word(finding: Finding) -> str:
    """Its verdict; what is only shown has words of its own, for it neither passes nor fails anything."""
    return finding.outcome.value if finding.gates else _SHOWN.get(finding.outcome, finding.outcome.value)


_SHOWN = {Outcome.PASS: "(alike)", Outcome.FAIL: "(differs)", Outcome.INCONCLUSIVE: "(open)"}


def _row(finding: Finding, footnotes: list[str]) -> Row:
    return Row(
        finding,
        format_value(finding.golden, finding.unit),
        # The ceiling's reference is a depth, what is measured is a share of ops.
        format_value(finding.measured, "share" if finding.id == "depth.ceiling" else finding.unit),
        _effect(finding),
        format_band(finding.effect_kind, finding.band, finding.unit),
        word(finding),
        [_number(note, footnotes) for note in finding.notes],
    )


def _number(note: str, footnotes: list[str]) -> int:
    if note not in footnotes:
        footnotes.append(note)
    return footnotes.index(note) + 1


def _effect(finding: Finding) -> str:
    if finding.effect is None:
        return "–"
    text = format_effect(finding.effect_kind, finding.effect)
    if finding.interval is None:
        return text
    low, high = (f"{end:.3g}" for end in finding.interval)
    return f"{text} [{low}, {high}]"
