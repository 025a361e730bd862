"""The verdict as one HTML page that needs nothing else: answer first, then every criterion, then the pictures that explain it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import tracekit
from harness.report import distributions, json, overtime, rows, runtorun
from harness.report.markup import Markup, joined, tag
from harness.report.rows import Row
from harness.report.timeline import Timeline
from harness.verdict import FactTable, Finding, Histogram, Outcome, Verdict
from tracekit.units import format_ns

# Runs that are drawn over time; all of them count.
DRAWN_RUNS = 4
_STYLES = {
    Outcome.PASS: "good",
    Outcome.FAIL: "bad",
    Outcome.ERROR: "bad",
    Outcome.INCONCLUSIVE: "open",
    Outcome.NA: "shown",
}
_RUN_CLASSES = ("candidate", "run1", "run2", "run3")


def render(verdict: Verdict, timelines: Sequence[Timeline] = (), *, of_golden: bool = False) -> str:
    """The text of the page: the same bytes for the same input.

    Args:
        verdict: The verdict.
        timelines: The traces over time, in order; at most `DRAWN_RUNS` runs are drawn.
        of_golden: Whether the first of them is the reference's.
    """
    verb = "matrix" if verdict.mode == "matrix" else "check"
    drawn = [line for line in timelines if line.ops]
    title = f"{verdict.outcome.value}: {rows.heading(verdict)}"
    return _page(verb, title, _main(verdict, drawn, of_golden=of_golden), json.render(verdict))


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
    return _page("compare", " and ".join(labels), _compared(labels, facts, histograms, drawn, notes), summary)


def _compared(
    labels: Sequence[str],
    facts: FactTable,
    histograms: Sequence[Histogram],
    timelines: Sequence[Timeline],
    notes: Sequence[str],
) -> Iterator[Markup]:
    named = [f"{letter}: {label}" for letter, label in zip("AB", labels, strict=True)]
    yield tag("h1", " against ".join(named))
    yield tag(
        "p",
        "Differences without bands: neither side is the reference of the other, and there is no verdict. "
        'Where there is a ~, the interval holds "no difference".',
    )
    yield tag(
        "div",
        _button("Copy table", data_copy="table"),
        _button("Copy summary.json", data_copy="summary"),
        class_="tools",
    )
    table = _table(facts.header, facts.rows, class_="sortable compared")
    yield tag("div", table, class_="across", tabindex="0", role="region", aria_label=facts.title)
    yield from _distributions(histograms, named)
    yield from _over_time(timelines, named, of_golden=True)
    if notes:
        yield tag("h2", "Notes")
        yield tag("ul", *(tag("li", note) for note in notes), class_="notes")


def _page(verb: str, title: str, main: Iterable[Markup], data: str) -> str:
    body = joined(
        tag("header", tag("span", f"harness {verb}", class_="brand"), _button("Dark", id="theme")),
        tag("main", *main),
        tag("footer", f"Made by harness, tracekit {tracekit.__version__}. This page asks nothing of any network."),
        tag("p", class_="said", id="said", role="status", aria_live="polite"),
        _data(data),
        tag("script", Markup(_asset("page.js"))),
    )
    return f"<!DOCTYPE html>\n{tag('html', _head(title), tag('body', body), lang='en')}\n"


def _head(title: str) -> Markup:
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    )


@cache
def _asset(name: str) -> str:
    return files("harness.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(summary: str) -> Markup:
    # Nothing in a script element is unescaped but its end, so what could be one is written in another way.
    return tag("script", Markup(summary.replace("<", "\\u003c")), type="application/json", id="summary")


def _button(text: str, **attributes: str) -> Markup:
    # Without JavaScript it could do nothing: it is shown by the script.
    return tag("button", text, type="button", hidden="", **attributes)


def _main(verdict: Verdict, timelines: Sequence[Timeline], *, of_golden: bool) -> Iterator[Markup]:
    sides = rows.sides(verdict.mode)
    yield _answer(verdict)
    for facts in verdict.tables:
        yield tag("h2", facts.title.capitalize())
        yield tag(
            "div",
            _table(facts.header, facts.rows),
            class_="across",
            tabindex="0",
            role="region",
            aria_label=facts.title,
        )
    yield from _criteria(verdict, sides)
    yield from _runs(verdict, sides)
    yield from _distributions(verdict.histograms, sides)
    yield from _over_time(timelines, sides, of_golden=of_golden)
    yield from _about(verdict, sides)


# -- the answer ------------------------------------------------------------------------------------------------------------


def _answer(verdict: Verdict) -> Markup:
    counting = rows.decisive(verdict.findings, Outcome.ERROR, Outcome.FAIL)
    counting += rows.decisive(verdict.findings, Outcome.INCONCLUSIVE)
    reasons = [
        tag("li", _badge(finding), " ", tag("code", finding.id), " ", rows.reason(finding)) for finding in counting
    ]
    return joined(
        tag(
            "div",
            tag("div", verdict.outcome.value, class_="word"),
            tag("h1", rows.heading(verdict)),
            tag("div", rows.counts(verdict), class_="counts"),
            class_=f"verdict {_STYLES[verdict.outcome]}",
        ),
        tag("ul", *reasons, class_="reasons") if reasons else tag("p", _quiet(verdict), class_="quiet"),
    )


def _quiet(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASS:
        return "Every criterion that counts and could be decided lies within its band."
    return "No criterion could be decided: nothing decided is never a pass."


def _badge(finding: Finding, text: str = "") -> Markup:
    style = _STYLES[finding.outcome] if finding.gates else "shown"
    return tag("span", text or finding.outcome.value, class_=f"badge {style}")


# -- the table -------------------------------------------------------------------------------------------------------------


def _criteria(verdict: Verdict, sides: Sequence[str]) -> Iterator[Markup]:
    tabulated = rows.tabulate(verdict)
    numbers = {2, 3, 4}
    names = ("class", "criterion", *sides, "effect", "accepted", "verdict")
    heads = [
        tag("th", name, scope="col", role="columnheader", class_="number" if index in numbers else None)
        for index, name in enumerate(names)
    ]
    yield tag("h2", "Criteria")
    yield tag(
        "div",
        _button("Only what did not pass", id="filter", aria_pressed="false"),
        _button("Copy table", data_copy="table"),
        _button("Copy summary.json", data_copy="summary"),
        class_="tools",
    )
    body = [_line(row, sides) for row in tabulated.rows]
    yield tag(
        "table",
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        class_="criteria sortable",
        role="table",
        aria_label="Criteria",
    )
    if tabulated.footnotes:
        notes = [tag("li", note, id=f"note{number}") for number, note in enumerate(tabulated.footnotes, 1)]
        yield tag("ol", *notes, class_="notes")


def _line(row: Row, sides: Sequence[str]) -> Markup:
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
        tag("td", _badge(finding, row.outcome), *notes, role="cell", class_="outcome", data_copy=row.outcome),
        role="row",
        class_=None if finding.gates else "aside",
        data_ok="1" if is_fine else "0",
    )  # fmt: skip


def _figure_cell(text: str, value: float | None, label: str) -> Markup:
    exact = None if value is None else f"{value:.10g}"
    return tag("td", text, role="cell", class_="number", data_value=exact, data_label=label)


# -- the pictures ----------------------------------------------------------------------------------------------------------


def _runs(verdict: Verdict, sides: Sequence[str]) -> Iterator[Markup]:
    strips = runtorun.strips(verdict.findings, verdict.runs)
    if not strips:
        return
    yield tag("h2", "Run to run")
    yield tag(
        "p",
        f"Each dot is one run, against the mean of the {sides[0]} runs. The band is what is accepted. PASS needs the whole 95 % "
        "interval (the bar) inside it, FAIL a wider interval all outside; in between nothing is decided.",
    )
    yield overtime.legend([(f"{sides[0]} runs", "golden"), (f"{sides[1]} runs", "candidate")])
    plain = [strip for strip in strips if strip.is_plain]
    yield tag("div", *(_strip(strip, sides) for strip in strips if not strip.is_plain), class_="strips")
    if plain:
        folded = tag("div", *(_strip(strip, sides) for strip in plain), class_="strips")
        said = f"{len(plain)} criteria in which no run differs from another"
        yield tag("details", tag("summary", said), folded)


def _strip(strip: runtorun.Strip, sides: Sequence[str]) -> Markup:
    name = tag("p", tag("code", strip.finding.id), _badge(strip.finding, _shown(strip.finding)))
    return tag("div", name, runtorun.draw(strip, sides), class_="strip")


def _shown(finding: Finding) -> str:
    return finding.outcome.value if finding.gates else f"({finding.outcome.value.lower()})"


def _distributions(histograms: Sequence[Histogram], sides: Sequence[str]) -> Iterator[Markup]:
    drawn = {histogram.name: histogram for histogram in histograms if distributions.is_drawn(histogram)}
    known = [drawn[name] for name in distributions.KINDS if name in drawn]
    if not known:
        return
    key = overtime.legend([(sides[0], "golden"), (sides[1], "candidate")])
    yield tag("h2", "Distributions")
    figures = []
    for histogram in known:
        kind = distributions.KINDS[histogram.name]
        numbers = _numbers(("percentile", *sides), distributions.table(histogram))
        figures.append(_figure(kind.title, key, distributions.ecdf(histogram, sides), numbers, about=kind.about))
    if "latency" in drawn:
        about = "Each step to the right is a tenfold rarer op."
        figures.append(
            _figure("Service times by percentile", key, distributions.spectrum(drawn["latency"], sides), about=about)
        )
    yield tag("div", *figures, class_="figures")


def _over_time(timelines: Sequence[Timeline], sides: Sequence[str], *, of_golden: bool) -> Iterator[Markup]:
    if not timelines:
        return
    shown = timelines[: DRAWN_RUNS + of_golden]
    classes = [*(["golden"] if of_golden else []), *_RUN_CLASSES][: len(shown)]
    key = overtime.legend([(timeline.name, name) for timeline, name in zip(shown, classes, strict=True)])
    longest = max(timeline.duration_ns for timeline in shown)
    width = f"Windows of {format_ns(max(timeline.width_ns for timeline in shown))}."
    yield tag("h2", "Over time")
    if not of_golden:
        yield tag(
            "p", f"A {sides[0]} keeps figures and distributions, no ops: only what was judged can be drawn over time."
        )
    if len(timelines) > len(shown):
        yield tag("p", f"The first {len(shown)} of {len(timelines)} runs are drawn.")
    figures = [_figure("Arrivals: ops issued a second", key, overtime.arrivals(shown, classes), about=width)]
    depth = overtime.depth(shown, classes)
    if depth is not None:
        figures.append(_figure("Queue depth: ops in flight", key, depth, about=f"{width} Each shows its mean."))
    figures += [figure for timeline in shown if (figure := _consumer(timeline, longest)) is not None]
    figures += [_places(timeline, longest) for timeline in shown]
    figures += [_first_ops(timeline) for timeline in shown]
    yield tag("div", *figures, class_="figures")


def _consumer(timeline: Timeline, longest: int) -> Markup | None:
    strip = overtime.consumer(timeline, longest)
    if strip is None:
        return None
    key = overtime.legend([("computes", "computes"), ("waits for data", "waits")])
    about = f"{overtime.fed(timeline)}, by the program's own marks."
    return _figure(f"Steps: {timeline.name}", key, strip, about=about)


def _places(timeline: Timeline, longest: int) -> Markup:
    every = timeline.dots.every
    thinned = f"every {every}th of" if every > 1 else "all"
    about = f"{_name(timeline)}; {thinned} {timeline.ops:,} ops are drawn. Reads in order are a line that rises, a shuffle is a cloud."
    return _figure(f"Where the ops went: {timeline.name}", overtime.places(timeline, longest), about=about)


def _first_ops(timeline: Timeline) -> Markup:
    about = (
        f"Where in its file each of the first {len(timeline.head.times)} ops begins, joined while a stream stays in a file: "
        "a file read in order rises, ops out of order are scattered."
    )
    return _figure(f"The first ops: {timeline.name}", overtime.head(timeline), about=about)


def _name(timeline: Timeline) -> str:
    streams = f"{timeline.streams} stream{'s' if timeline.streams != 1 else ''}"
    shared = ", which share six colours" if timeline.streams > overtime.COLOURS else ""
    return f"{timeline.files:,} file{'s' if timeline.files != 1 else ''} in order of their names, {streams}{shared}"


def _figure(title: str, *parts: str, about: str = "") -> Markup:
    caption = tag("figcaption", about) if about else ""
    return tag("figure", tag("h3", title), *parts, caption)


def _numbers(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Markup:
    return tag("details", tag("summary", "Numbers"), _table(names, lines))


def _table(names: Sequence[str], lines: Sequence[Sequence[str]], class_: str | None = None) -> Markup:
    heads = [tag("th", name, scope="col", class_="number" if index else None) for index, name in enumerate(names)]
    body = [
        tag("tr", *(tag("td", cell, class_="number" if index else None) for index, cell in enumerate(line)))
        for line in lines
    ]
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), class_=class_)


# -- what it is about ------------------------------------------------------------------------------------------------------


def _about(verdict: Verdict, sides: Sequence[str]) -> Iterator[Markup]:
    yield tag("h2", "What was compared")
    described = [(sides[0], verdict.golden), *((sides[1], candidate) for candidate in verdict.candidates)]
    yield tag("div", *(tag("div", tag("h3", name), _facts(facts)) for name, facts in described), class_="two")
    if verdict.notes:
        yield tag("h2", "Notes")
        yield tag("ul", *(tag("li", note) for note in verdict.notes), class_="notes")


def _facts(facts: Mapping[str, Any]) -> Markup:
    told = [(name.replace("_", " "), value) for name, value in facts.items() if value not in {None, ""}]
    return tag("dl", *(joined(tag("dt", name), tag("dd", _fact(value))) for name, value in told))


def _fact(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
