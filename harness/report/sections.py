"""The sections of pictures: run to run, distributions, over time, and the cells of a cache matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import cellbars, distributions, overtime, rows, runtorun
from harness.report.markup import Markup, joined, tag
from harness.report.shell import Section, across, button, figure, figures, numbers, table, tools
from harness.report.timeline import Timeline
from harness.verdict import FactTable, Finding, Histogram, Outcome, Verdict
from tracekit.units import counted, format_ns

# Runs that are drawn over time; all of them count.
DRAWN_RUNS = 4
_RUN_CLASSES = ("candidate", "run1", "run2", "run3")
_STYLES = {
    Outcome.PASS: "good",
    Outcome.FAIL: "bad",
    Outcome.ERROR: "bad",
    Outcome.INCONCLUSIVE: "open",
    Outcome.NA: "shown",
}


def style(outcome: Outcome) -> str:
    """The class of an outcome."""
    return _STYLES[outcome]


def badge(finding: Finding, text: str = "") -> Markup:
    """An outcome as a word on its colour."""
    return tag(
        "span", text or finding.outcome.value, class_=f"badge {style(finding.outcome) if finding.gates else 'shown'}"
    )


def facts(shown: FactTable, verdict: Verdict) -> Section:
    """A table beside the criteria; that of a matrix with pictures of its cells."""
    title = shown.title.capitalize()
    copy = tools(button("Copy table", data_copy="table", aria_label=f"Copy table: {title}"))
    pictures = _cells(verdict) if shown.title == "cells" else joined()
    return Section(title, joined(copy, across(table(shown.header, shown.rows), title), pictures))


def _cells(verdict: Verdict) -> Markup:
    times, pages = cellbars.service(verdict.candidates), cellbars.resident(verdict.candidates)
    drawn = []
    if times is not None:
        about = "Where the cells do not differ, the cache made no difference, or was not what it was meant to be."
        drawn.append(figure("Mean time of a read", times, about=about))
    if pages is not None:
        key = overtime.legend([("before", "before"), ("after", "after")])
        drawn.append(figure("Share of the files' pages in memory", key, pages, about="Before the replay and after it."))
    return figures(drawn) if drawn else joined()


def runs(verdict: Verdict, sides: Sequence[str]) -> Iterator[Section]:
    """Every run's figure against the band."""
    strips = runtorun.strips(verdict.findings, verdict.runs)
    if not strips:
        return
    told = tag(
        "p",
        f"Each dot is one run, against the mean of the {sides[0]} runs. The band is what is accepted. PASS needs the whole 95 % "
        "interval (the bar) inside it, FAIL a wider interval all outside; in between nothing is decided.",
    )
    key = overtime.legend([(f"{sides[0]} runs", "dot golden"), (f"{sides[1]} runs", "dot candidate")])
    plain = [strip for strip in strips if strip.is_plain]
    seen = tag("div", *(_strip(strip, sides) for strip in strips if not strip.is_plain), class_="strips")
    folded = joined()
    if plain:
        said = f"{counted(len(plain), 'criterion', 'criteria')} in which no run differs from another"
        within = tag("div", *(_strip(strip, sides) for strip in plain), class_="strips")
        folded = tag("details", tag("summary", said), within)
    yield Section("Run to run", joined(told, key, seen, folded))


def _strip(strip: runtorun.Strip, sides: Sequence[str]) -> Markup:
    name = tag("p", tag("code", strip.finding.id), badge(strip.finding, rows.word(strip.finding)))
    return tag("div", name, runtorun.draw(strip, sides), class_="strip")


def distributed(histograms: Sequence[Histogram], sides: Sequence[str], *, judged: bool = True) -> Iterator[Section]:
    """Both sides' distributions; with the bands where they are judged."""
    drawn = {histogram.name: histogram for histogram in histograms if distributions.is_drawn(histogram)}
    known = [drawn[name] for name in distributions.KINDS if name in drawn]
    if not known:
        return
    key = overtime.legend([(sides[0], "golden"), (sides[1], "candidate")])
    shown = []
    for histogram in known:
        kind = distributions.KINDS[histogram.name]
        told = numbers(kind.title, ("percentile", *sides), distributions.table(histogram))
        curve = distributions.ecdf(histogram, sides, banded=judged)
        shown.append(figure(kind.title, key, curve, told, about=kind.about if judged else kind.look))
    if "latency" in drawn:
        spectrum = distributions.spectrum(drawn["latency"], sides, banded=judged)
        about = "Each step to the right is a tenfold rarer op."
        shown.append(figure("Service times by percentile", key, spectrum, about=about))
    yield Section("Distributions", figures(shown))


def over_time(timelines: Sequence[Timeline], sides: Sequence[str], *, of_golden: bool) -> Iterator[Section]:
    """What happened when: rates of all runs in one picture, then each run's steps and places."""
    if not timelines:
        return
    shown = timelines[: DRAWN_RUNS + of_golden]
    said = []
    if not of_golden:
        said.append(
            f"A {sides[0]} keeps figures and distributions, no ops: only what was judged can be drawn over time."
        )
    if len(timelines) > len(shown):
        said.append(f"The first {len(shown)} of {len(timelines)} runs are drawn.")
    longest = max(timeline.duration_ns for timeline in shown)
    steps = [drawn for timeline in shown if (drawn := _consumer(timeline, longest)) is not None]
    ops = [_places(timeline, longest) for timeline in shown] + [_first_ops(timeline) for timeline in shown]
    groups = [figures(group) for group in (_rates(shown, of_golden=of_golden), steps, ops) if group]
    yield Section("Over time", joined(*(tag("p", text) for text in said), *groups))


def _rates(shown: Sequence[Timeline], *, of_golden: bool) -> list[Markup]:
    classes = [*(["golden"] if of_golden else []), *_RUN_CLASSES][: len(shown)]
    names = [("surface" if name == "golden" else name) for name in classes]
    key = overtime.legend([(timeline.name, name) for timeline, name in zip(shown, names, strict=True)])
    width = f"Windows of {format_ns(max(timeline.width_ns for timeline in shown))}."
    title = "Arrivals: ops issued a second"
    told = numbers(title, ("ops/s", "mean", "busiest window"), overtime.arrival_table(shown))
    drawn = [figure(title, key, overtime.arrivals(shown, classes), told, about=width)]
    depth = overtime.depth(shown, classes)
    if depth is not None:
        title = "Queue depth: ops in flight"
        told = numbers(title, ("ops in flight", "mean", "deepest window"), overtime.depth_table(shown))
        drawn.append(figure(title, key, depth, told, about=f"{width} Each shows its mean."))
    return drawn


def _consumer(timeline: Timeline, longest: int) -> Markup | None:
    strip = overtime.consumer(timeline, longest)
    if strip is None:
        return None
    key = overtime.legend([("computes", "computes"), ("waits for data", "waits")])
    about = f"{overtime.fed(timeline)}, by the program's own marks."
    return figure(f"Steps: {timeline.name}", key, strip, about=about)


def _places(timeline: Timeline, longest: int) -> Markup:
    every = timeline.dots.every
    thinned = f"every {every}th of" if every > 1 else "all"
    about = f"{_name(timeline)}; {thinned} {timeline.ops:,} ops are drawn. Reads in order are a line that rises, a shuffle is a cloud."
    return figure(f"Where the ops went: {timeline.name}", overtime.places(timeline, longest), about=about)


def _first_ops(timeline: Timeline) -> Markup:
    about = (
        f"Where in its file each of the first {len(timeline.head.times)} ops begins, joined while a stream stays in a file: "
        "a file read in order rises, ops out of order are scattered."
    )
    return figure(f"The first ops: {timeline.name}", overtime.head(timeline), about=about)


def _name(timeline: Timeline) -> str:
    shared = ", which share six colours" if timeline.streams > overtime.COLOURS else ""
    return f"{counted(timeline.files, 'file')} in order of their names, {counted(timeline.streams, 'stream')}{shared}"
