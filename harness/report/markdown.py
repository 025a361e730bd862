"""The verdict as Markdown for the page of a CI job, and as the annotations that GitHub Actions shows beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from harness.report import rows
from harness.report.rows import Row, Table
from harness.verdict import FactTable, Outcome, Verdict
from tracekit.errors import UsageError

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
_SIGNS = {
    Outcome.PASS: "✅",
    Outcome.FAIL: "❌",
    Outcome.ERROR: "❌",
    Outcome.INCONCLUSIVE: "⚠️",
    Outcome.NA: "➖",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render(verdict: Verdict) -> str:
    """The verdict as GitHub-flavoured Markdown: the answer and its reasons first, every criterion below in a fold."""
    tabulated = rows.tabulate(verdict)
    findings = [row.finding for row in tabulated.rows]
    wrong = [
        f"- {_SIGNS[finding.outcome]} `{finding.id}` {_escaped(rows.reason(finding))}"
        for finding in rows.decisive(findings, Outcome.ERROR, Outcome.FAIL, Outcome.INCONCLUSIVE)
    ]
    blocks = [
        f"### {_SIGNS[verdict.outcome]} {verdict.outcome.value}: {_escaped(rows.heading(verdict))}",
        _escaped(rows.counts(verdict)),
        "\n".join(wrong),
        *(_facts(facts) for facts in verdict.tables),
        _fold(f"{len(findings)} criteria", _table(tabulated, rows.sides(verdict.mode))),
        "\n".join(f"- {_escaped(note)}" for note in verdict.notes),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def workflow_commands(verdict: Verdict) -> list[str]:
    """One `::error` line per failure and one `::warning` line per criterion that is open, as GitHub Actions reads them."""
    kinds = {Outcome.ERROR: "error", Outcome.FAIL: "error", Outcome.INCONCLUSIVE: "warning"}
    return [
        f"::{kinds[finding.outcome]} title={_property(f'{finding.outcome.value} {finding.id}')}::{_command(rows.reason(finding))}"
        for finding in rows.decisive(verdict.findings, *kinds)
    ]


def check_job_page() -> None:
    """Fail now if `to_job_page` would have no page to write to.

    Raises:
        UsageError: If it runs outside of a GitHub Actions step.
    """
    if not os.environ.get(SUMMARY_VARIABLE):
        raise UsageError(f"{SUMMARY_VARIABLE} is not set, so there is no job page to write to", "use --markdown FILE")


def to_job_page(verdict: Verdict) -> None:
    """Append the verdict to the page of the GitHub Actions job (errors as of `check_job_page`)."""
    check_job_page()
    # Other steps write to the same page: it is appended to, never replaced.
    with open(os.environ[SUMMARY_VARIABLE], "a", encoding="utf-8") as page:
        page.write(render(verdict) + "\n")


def _table(tabulated: Table, sides: Sequence[str]) -> str:
    header = ("class", "criterion", *sides, "effect", "accepted", "verdict")
    lines = [_line(header), _line(["---", "---", "---:", "---:", "---", "---", "---"])]
    lines += [_line(_cells(row)) for row in tabulated.rows]
    footnotes = [f"[{number}] {_escaped(note)}  " for number, note in enumerate(tabulated.footnotes, 1)]
    return "\n\n".join(["\n".join(lines), *(["\n".join(footnotes)] if footnotes else [])])


def _facts(facts: FactTable) -> str:
    lines = [_line([_escaped(cell) for cell in row]) for row in (facts.header, *facts.rows)]
    return "\n".join([lines[0], _line(["---", *["---:"] * (len(facts.header) - 1)]), *lines[1:]])


def _cells(row: Row) -> Sequence[str]:
    sign = f"{_SIGNS[row.finding.outcome]} " if row.finding.gates else ""
    notes = "".join(f" [{number}]" for number in row.notes)
    plain = (row.golden, row.measured, row.effect, row.band, f"{sign}{row.outcome}{notes}")
    return (row.finding.klass, f"`{row.finding.id}`", *(_escaped(cell) for cell in plain))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _escaped(text: str) -> str:
    # A file name may hold anything; none of it may become markup, or end the line of a table.
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _command(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _command(text).replace(":", "%3A").replace(",", "%2C")
