"""The verdict as a table: outcome first, one row per criterion, reasons in words, footnotes below."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report import rows
from harness.report.rows import Row
from harness.verdict import Finding, Outcome, Verdict
from tracekit.console import paint, table

_STYLES = {
    Outcome.PASS: "good",
    Outcome.FAIL: "bad",
    Outcome.ERROR: "bad",
    Outcome.INCONCLUSIVE: "warn",
    Outcome.NA: "dim",
}

_UNSATISFIED = {Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE}


def render(verdict: Verdict) -> str:
    """The whole verdict as text; colour where the terminal shows it."""
    tabulated = rows.tabulate(verdict)
    header = ("class", "criterion", *rows.sides(verdict.mode), "effect", "band", "verdict")
    blocks = [
        f"{paint(verdict.outcome.value, _STYLES[verdict.outcome])}  {rows.heading(verdict)}  ({rows.counts(verdict)})",
        *(table(facts.rows, facts.header, right=range(1, len(facts.header))) for facts in verdict.tables),
        table([_cells(row) for row in tabulated.rows], header, right=(2, 3)),
        *_reasons([row.finding for row in tabulated.rows]),
        "\n".join(f"[{number}] {note}" for number, note in enumerate(tabulated.footnotes, 1)),
        "\n".join(f"note: {note}" for note in verdict.notes),
    ]
    return "\n\n".join(block for block in blocks if block)


def unsatisfied(verdict: Verdict) -> str:
    """Only what counts and did not pass, as a test that failed shows it."""
    tabulated = rows.tabulate(verdict)
    chosen = [row for row in tabulated.rows if row.finding.gates and row.finding.outcome in _UNSATISFIED]
    header = ("criterion", *rows.sides(verdict.mode), "effect", "accepted", "verdict")
    cells = [(row.finding.id, row.golden, row.measured, row.effect, row.band, row.outcome) for row in chosen]
    blocks = [
        f"{verdict.outcome.value}: {rows.heading(verdict)} ({rows.counts(verdict)})",
        table(cells, header, right=(1, 2)) if cells else "",
        "\n".join(f"{row.finding.id}: {rows.reason(row.finding)}" for row in chosen),
        "\n".join(f"note: {note}" for note in verdict.notes),
    ]
    return "\n\n".join(block for block in blocks if block)


def _cells(row: Row) -> Sequence[str]:
    colour = _STYLES[row.finding.outcome] if row.finding.gates else "dim"
    mark = "".join(f" [{number}]" for number in row.notes)
    shown = paint(row.outcome, colour) + mark
    return (row.finding.klass, row.finding.id, row.golden, row.measured, row.effect, row.band, shown)


def _reasons(findings: Sequence[Finding]) -> list[str]:
    """What is wrong, in words, the gating findings only; then what could not be said."""
    wrong = [_reason(finding) for finding in rows.decisive(findings, Outcome.ERROR, Outcome.FAIL)]
    open_ = [_reason(finding) for finding in rows.decisive(findings, Outcome.INCONCLUSIVE)]
    silent = [f"  {finding.id}: {finding.reason}" for finding in rows.not_judged(findings)]
    blocks = ["\n".join(wrong), "\n".join(open_)]
    return [*blocks, "not judged:\n" + "\n".join(silent) if silent else ""]


def _reason(finding: Finding) -> str:
    return f"{paint(finding.outcome.value, _STYLES[finding.outcome])}  {finding.id}: {rows.reason(finding)}"
