"""The verdict as a table: outcome first, one row per criterion, reasons in words, footnotes below."""

from __future__ import annotations

from collections.abc import Sequence

from harness.criteria import CRITERIA
from harness.criterion import INTENT, PAIRED, REPEAT, format_band, format_effect
from harness.findings import format_value
from harness.verdict import Finding, Outcome, Verdict
from tracekit.console import paint, table

# What the two sides are called, by mode.
SIDES = {PAIRED: ("recording", "replay"), REPEAT: ("golden", "measured")}
_STYLES = {
    Outcome.PASS: "good",
    Outcome.FAIL: "bad",
    Outcome.ERROR: "bad",
    Outcome.INCONCLUSIVE: "warn",
    Outcome.NA: "dim",
}
_ORDER = {"validity": 0, "intent": 1, "overlap": 2, "environment": 3}


def render(verdict: Verdict) -> str:
    """The whole verdict as text; colour where the terminal shows it."""
    findings = sorted(verdict.findings, key=lambda finding: _ORDER[finding.klass])
    footnotes = _Footnotes()
    rows = [_row(finding, verdict.mode, footnotes) for finding in findings]
    blocks = [
        f"{paint(verdict.outcome.value, _STYLES[verdict.outcome])}  {_sides(verdict)}  ({_counts(verdict)})",
        table(rows, ("class", "criterion", *SIDES[verdict.mode], "effect", "band", "verdict"), right=(2, 3)),
        *_reasons(findings),
        *footnotes.lines(),
        "\n".join(f"note: {note}" for note in verdict.notes),
    ]
    return "\n\n".join(block for block in blocks if block)


def _sides(verdict: Verdict) -> str:
    names = ", ".join(str(side["name"]) for side in verdict.candidates)
    runs = verdict.golden.get("runs")
    return f"{names} against {verdict.golden['name']}{f' ({runs} runs)' if runs else ''}, mode {verdict.mode}"


def _counts(verdict: Verdict) -> str:
    return ", ".join(
        f"{count} {name.lower() if name != 'N/A' else name}" for name, count in verdict.counts().items() if count
    )


def _row(finding: Finding, mode: str, footnotes: _Footnotes) -> Sequence[str]:
    criterion = CRITERIA[mode].get(finding.id)
    band = format_band(criterion) if criterion else ""
    mark = "".join(f" [{footnotes.number(note)}]" for note in finding.notes)
    shown = finding.outcome.value if finding.gates else f"({finding.outcome.value.lower()})"
    colour = _STYLES[finding.outcome] if finding.gates else "dim"
    return (
        finding.klass,
        finding.id,
        format_value(finding.golden, finding.unit),
        _measured(finding),
        _effect(finding),
        band,
        paint(shown, colour) + mark,
    )


def _measured(finding: Finding) -> str:
    # The ceiling's reference is a depth, what is measured is a share of ops.
    return format_value(finding.measured, "share" if finding.id == "depth.ceiling" else finding.unit)


def _effect(finding: Finding) -> str:
    if finding.effect is None:
        return "–"
    text = format_effect(finding.effect_kind, finding.effect)
    if finding.interval is None:
        return text
    low, high = (f"{end:.3g}" for end in finding.interval)
    return f"{text} [{low}, {high}]"


def _reasons(findings: Sequence[Finding]) -> list[str]:
    """What is wrong, in words, the gating findings only; then what could not be said."""
    wrong = [
        _reason(finding) for finding in findings if finding.gates and finding.outcome in {Outcome.ERROR, Outcome.FAIL}
    ]
    open_ = [_reason(finding) for finding in findings if finding.gates and finding.outcome is Outcome.INCONCLUSIVE]
    silent = [
        f"  {finding.id}: {finding.reason}"
        for finding in findings
        if finding.outcome is Outcome.NA and finding.klass == INTENT
    ]
    blocks = ["\n".join(wrong), "\n".join(open_)]
    return [*blocks, "not judged:\n" + "\n".join(silent) if silent else ""]


def _reason(finding: Finding) -> str:
    settle = f" ({finding.settle})" if finding.settle else ""
    return f"{paint(finding.outcome.value, _STYLES[finding.outcome])}  {finding.id}: {finding.reason}{settle}"


class _Footnotes:
    """Notes by number, each said once."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def number(self, note: str) -> int:
        if note not in self._notes:
            self._notes.append(note)
        return self._notes.index(note) + 1

    def lines(self) -> list[str]:
        return ["\n".join(f"[{number}] {note}" for number, note in enumerate(self._notes, 1))] if self._notes else []
