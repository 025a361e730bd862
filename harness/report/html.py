"""The verdict as one HTML page that needs nothing else: answer first, then every criterion, then the pictures that explain it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.report import json, rows, sections
from harness.report.markup import Markup, joined, tag
from harness.report.rows import Row
from harness.report.shell import Section, across, button, page, table, tools
from harness.report.timeline import Timeline
from harness.verdict import FactTable, Finding, Histogram, Outcome, Verdict

_MATRIX = "matrix"


def render(verdict: Verdict, timelines: Sequence[Timeline] = (), *, of_golden: bool = False) -> str:
    """The text of the page: the same bytes for the same input.

    Args:
        verdict: The verdict.
        timelines: The traces over time, in order; at most `sections.DRAWN_RUNS` runs are drawn.
        of_golden: Whether the first of them is the reference's.
    """
    verb = _MATRIX if verdict.mode == _MATRIX else "check"
    drawn = [line for line in timelines if line.ops]
    title = f"{verdict.outcome.value}: {rows.heading(verdict)}"
    return page(verb, title, _answer(verdict), _judged(verdict, drawn, of_golden=of_golden), json.render(verdict))


def comparison(
    labels: Sequence[str],
    facts: FactTable,
    histograms: Sequence[Histogram],
    timelines: Sequence[Timeline],
    notes: Sequence[str],
    summary: str,
) -> str:
    """The page of two sides that are held against each other without a verdict.

    Args:
        labels: What the two sides are called.
        facts: The table of differences.
        histograms: Their distributions on common bins.
        timelines: The first trace of each side over time; none where a side has no ops to show.
        notes: What should be known about them.
        summary: The comparison as JSON.
    """
    drawn = [line for line in timelines if line.ops]
    named = [f"{letter}: {label}" for letter, label in zip("AB", labels, strict=True)]
    answer = joined(
        tag("h1", " against ".join(named)),
        tag(
            "p",
            "Differences without bands: neither side is the reference of the other, and there is no verdict. "
            'Where there is a ~, the interval holds "no difference".',
        ),
    )
    return page("compare", " and ".join(labels), answer, _compared(named, facts, histograms, drawn, notes), summary)


def _compared(
    named: Sequence[str],
    facts: FactTable,
    histograms: Sequence[Histogram],
    timelines: Sequence[Timeline],
    notes: Sequence[str],
) -> Iterator[Section]:
    shown = across(table(facts.header, facts.rows, class_="sortable compared"), facts.title)
    yield Section("Differences", joined(tools(*_copies()), shown))
    yield from sections.distributed(histograms, named, judged=False)
    yield from sections.over_time(timelines, named, of_golden=True)
    yield from _notes(notes)


def _judged(verdict: Verdict, timelines: Sequence[Timeline], *, of_golden: bool) -> Iterator[Section]:
    sides = rows.sides(verdict.mode)
    for facts in verdict.tables:
        yield sections.facts(facts, verdict)
    yield _criteria(verdict, sides)
    yield from sections.runs(verdict, sides)
    yield from sections.distributed(verdict.histograms, sides)
    yield from sections.over_time(timelines, sides, of_golden=of_golden)
    yield _about(verdict, sides)
    yield from _notes(verdict.notes)


def _copies() -> tuple[Markup, Markup]:
    return button("Copy table", data_copy="table"), button("Copy summary.json", data_copy="summary")


# -- the answer ------------------------------------------------------------------------------------------------------------


def _answer(verdict: Verdict) -> Markup:
    counting = rows.decisive(verdict.findings, Outcome.ERROR, Outcome.FAIL)
    counting += rows.decisive(verdict.findings, Outcome.INCONCLUSIVE)
    return joined(
        tag(
            "div",
            tag("div", verdict.outcome.value, class_="word"),
            tag("h1", rows.heading(verdict)),
            tag("div", rows.counts(verdict), class_="counts"),
            class_=f"verdict {sections.style(verdict.outcome)}",
        ),
        tag("ul", *map(_reason, counting), class_="reasons") if counting else tag("p", _quiet(verdict), class_="quiet"),
    )


def _reason(finding: Finding) -> Markup:
    where = tag("a", tag("code", finding.id), href=f"#{_address(finding)}")
    return tag("li", sections.badge(finding), " ", where, " ", tag("span", rows.reason(finding)))


def _address(finding: Finding) -> str:
    return f"criterion-{finding.id}"


def _quiet(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASS:
        return "Every criterion that counts and could be decided lies within its band."
    return "No criterion could be decided: nothing decided is never a pass."


# -- the table -------------------------------------------------------------------------------------------------------------


def _criteria(verdict: Verdict, sides: Sequence[str]) -> Section:
    tabulated = rows.tabulate(verdict)
    numbers = {2, 3, 4}
    names = ("class", "criterion", *sides, "effect", "accepted", "verdict")
    heads = [
        tag("th", name, scope="col", role="columnheader", class_="number" if index in numbers else None)
        for index, name in enumerate(names)
    ]
    only = button("Only what did not pass", id="filter", aria_pressed="false")
    # A criterion may speak of several traces; its address is where it does so first.
    first = {row.finding.id: row for row in reversed(tabulated.rows)}
    body = [_line(row, sides, has_address=first[row.finding.id] is row) for row in tabulated.rows]
    shown = tag(
        "table",
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        class_="criteria sortable",
        role="table",
        aria_label="Criteria",
    )
    notes = [tag("li", note, id=f"note{number}") for number, note in enumerate(tabulated.footnotes, 1)]
    return Section(
        "Criteria", joined(tools(only, *_copies()), shown, tag("ol", *notes, class_="notes") if notes else "")
    )


def _line(row: Row, sides: Sequence[str], *, has_address: bool) -> Markup:
    finding = row.finding
    notes = [tag("sup", tag("a", str(note), href=f"#note{note}", aria_label=f"note {note}")) for note in row.notes]
    is_fine = finding.outcome in {Outcome.PASS, Outcome.NA} or not finding.gates
    return tag(
        "tr",
        tag("td", finding.klass, role="cell", class_="class"),
        tag("td", tag("code", finding.id), tag("span", finding.title, class_="title"), role="cell", class_="what", data_copy=finding.id),
        _figure_cell(row.golden, finding.golden, sides[0]),
        _figure_cell(row.measured, finding.measured, sides[1]),
        _figure_cell(row.effect, finding.effect, "effect"),
        tag("td", row.band, role="cell", data_label="accepted" if row.band else None),
        tag("td", sections.badge(finding, row.outcome), *notes, role="cell", class_="outcome", data_copy=row.outcome),
        role="row",
        id=_address(finding) if has_address else None,
        tabindex="-1" if has_address else None,
        class_=_row_class(finding, is_fine=is_fine),
        data_ok="1" if is_fine else "0",
    )  # fmt: skip


def _row_class(finding: Finding, *, is_fine: bool) -> str | None:
    if not finding.gates:
        return "aside"
    return None if is_fine else sections.style(finding.outcome)


def _figure_cell(text: str, value: float | None, label: str) -> Markup:
    exact = None if value is None else f"{value:.10g}"
    return tag("td", text, role="cell", class_="number", data_value=exact, data_label=label)


# -- what it is about ------------------------------------------------------------------------------------------------------


def _about(verdict: Verdict, sides: Sequence[str]) -> Section:
    reference, name = ("recording", None) if verdict.mode == _MATRIX else sides
    described = [
        (reference, verdict.golden),
        # Several of a kind are told apart by their names.
        *((name or f"cell {candidate['name']}", candidate) for candidate in verdict.candidates),
    ]
    shown = [tag("div", tag("h3", title), _facts(facts), class_="side") for title, facts in described]
    return Section("What was compared", tag("div", *shown, class_="two"))


def _notes(notes: Sequence[str]) -> Iterator[Section]:
    if notes:
        yield Section("Notes", tag("ul", *(tag("li", note) for note in notes), class_="notes"))


def _facts(facts: Mapping[str, Any]) -> Markup:
    # Medians stand in the table of cells, with their units.
    told = [
        (name.replace("_", " "), value)
        for name, value in facts.items()
        if value not in {None, ""} and not name.startswith("median_")
    ]
    return tag("dl", *(joined(tag("dt", name), tag("dd", _fact(value))) for name, value in told))


def _fact(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
