"""What a verdict is written as for people and CI servers: HTML, JUnit XML, Markdown, annotations."""

import json
import re
from dataclasses import replace
from html import unescape
from importlib import resources
from itertools import combinations
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness import mutations
from harness.envelope import Envelope
from harness.paired import judge
from harness.repeat import judge as judge_repeat
from harness.report import cellbars, distributions, html, junit, markdown, outputs, rows, runtorun
from harness.report import json as json_report
from harness.report.distributions import Curves
from harness.report.markup import Markup, tag
from harness.report.svg import Frame, Scale, _thinned
from harness.report.timeline import Timeline
from harness.standard import Standard
from harness.verdict import FactTable, Finding, Histogram, Outcome, RunByRun, Verdict
from tracekit.errors import OutputExistsError, UsageError
from tracekit.testing import training_trace
from tracekit.trace import StringTable, Trace

NASTY = '<script>alert("1 & 2")</script>|`x`\x00'


@pytest.fixture(scope="module")
def trace():
    """A small job."""
    return training_trace(files=32, batch=8, wait_ns=1_000_000)


@pytest.fixture(scope="module")
def shuffled(trace):
    """The verdict on a shuffled replay of it."""
    return judge(trace, mutations.shuffled(trace), names=("train.jsonl", "shuffled.jsonl"))


@pytest.fixture(scope="module")
def repeated(trace):
    """The verdict on a run against a golden of five."""
    runs = [training_trace(files=32, batch=8, seed=seed, read_ns=200_000 + 9_000 * seed) for seed in range(5)]
    return judge_repeat(Standard("job@1", Envelope.of(runs)), [trace], ["run.jsonl"])


def finding(outcome, identifier="size.mean", **rest):
    """A finding that ended so."""
    return Finding(identifier, "intent", "a title", outcome, **rest)


def verdict(*findings, golden="golden", candidate="run"):
    """A verdict of these findings."""
    return Verdict("repeat", {"name": golden}, [{"name": candidate}], findings)


# -- JUnit -------------------------------------------------------------------------------------------------------------


def test_every_criterion_is_one_testcase(shuffled):
    """As many cases as findings, each with the class of its golden, and the totals agree with what is inside."""
    suites = ET.fromstring(junit.render(shuffled).encode())
    (suite,) = suites
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [row.finding.id for row in rows.tabulate(shuffled).rows]
    assert {case.get("classname") for case in cases} == {"train.jsonl.intent", "train.jsonl.environment"}
    for element in (suites, suite):
        assert element.get("tests") == str(len(shuffled.findings))
        assert element.get("failures") == str(len(shuffled.failed))
        assert element.get("failures") == str(len(suite.findall("testcase/failure")))
        assert element.get("skipped") == str(len(suite.findall("testcase/skipped")))


def test_what_is_not_decided_is_skipped_with_what_would_settle_it():
    """INCONCLUSIVE and N/A are skipped; --inconclusive fail turns the former red, as it does the exit status."""
    open_ = finding(Outcome.INCONCLUSIVE, reason="too close", settle="needs 7 runs, there is 1")
    given = verdict(open_, finding(Outcome.NA, "depth.cap", reason="no cap"), finding(Outcome.PASS, "ops.mix"))
    suite = ET.fromstring(junit.render(given).encode())[0]
    messages = [skipped.get("message") for skipped in suite.findall("testcase/skipped")]
    assert messages == ["too close (needs 7 runs, there is 1)", "no cap"]
    strict = ET.fromstring(junit.render(given, inconclusive="fail").encode())[0]
    assert [failure.get("type") for failure in strict.findall("testcase/failure")] == ["INCONCLUSIVE"]


def test_what_does_not_count_never_turns_a_build_red():
    """A report-only FAIL is skipped, and its footnote says why."""
    aside = finding(Outcome.FAIL, gates=False, reason="slower", notes=["shown only: another host"])
    suite = ET.fromstring(junit.render(verdict(aside)).encode())[0]
    assert suite.get("failures") == "0"
    assert suite.find("testcase/skipped").get("message") == "slower; shown only: another host"


def test_any_name_makes_well_formed_xml():
    """Markup, quotes and characters XML cannot hold come out as text."""
    given = verdict(finding(Outcome.ERROR, reason=NASTY), golden=NASTY, candidate=NASTY)
    suite = ET.fromstring(junit.render(given).encode())[0]
    assert suite.find("testcase/error").get("message") == NASTY.replace("\x00", "�")


# -- Markdown and annotations ------------------------------------------------------------------------------------------


def test_markdown_says_the_answer_first_and_every_criterion_below(shuffled):
    """Heading, failures as a list, and a table with one line per criterion."""
    text = markdown.render(shuffled)
    assert text.startswith("### ❌ FAIL: shuffled.jsonl against train.jsonl, mode paired\n")
    assert "\n- ❌ `order.stream` ops are reordered inside streams" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(shuffled.findings)
    assert {line.count(" | ") for line in lines} == {6}


def test_no_name_becomes_markup_in_markdown():
    """Pipes, backticks and tags are escaped, so a table stays a table."""
    text = markdown.render(verdict(finding(Outcome.FAIL, reason=NASTY), candidate=NASTY))
    assert "<script>" not in text
    assert r"\<script\>" in text
    assert r"\|\`x\`" in text


def test_annotations_are_one_line_each():
    """Errors and warnings as GitHub Actions reads them: line ends and separators are written as codes."""
    given = verdict(finding(Outcome.FAIL, "a:b,c", reason="50 %\nof it"), finding(Outcome.INCONCLUSIVE, reason="open"))
    assert markdown.workflow_commands(given) == [
        "::error title=FAIL a%3Ab%2Cc::50 %25%0Aof it",
        "::warning title=INCONCLUSIVE size.mean::open",
    ]
    assert markdown.workflow_commands(verdict(finding(Outcome.FAIL, gates=False))) == []


def test_the_page_of_a_job_is_appended_to(tmp_path, monkeypatch, shuffled):
    """What other steps wrote stays; without a page it is said before anything is judged."""
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    markdown.to_job_page(shuffled)
    assert page.read_text() == "before\n" + markdown.render(shuffled) + "\n"
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    with pytest.raises(UsageError, match="GITHUB_STEP_SUMMARY is not set"):
        outputs.Outputs(github=True).check()


# -- HTML --------------------------------------------------------------------------------------------------------------


def page_of(given, *timelines, **rest):
    """The page as text."""
    return html.render(given, timelines, **rest)


def test_the_same_input_gives_the_same_page(trace, shuffled):
    """No time of day, no order of a set."""
    line = Timeline.of("train.jsonl", [trace])
    assert page_of(shuffled, line) == page_of(shuffled, Timeline.of("train.jsonl", [trace]))


def test_the_page_asks_for_nothing(trace, shuffled):
    """No address of any network, no file, and a policy that allows none."""
    text = page_of(shuffled, Timeline.of("train.jsonl", [trace]), of_golden=True)
    assert not re.search(r"https?:|//[a-z]|\bsrc=|@import|url\(|<link|<iframe|<img", text)
    assert "default-src 'none'" in unescape(text)


def test_the_page_holds_every_figure_of_the_summary(repeated):
    """Every criterion has a row, with its outcome, and the summary inside is the one --json writes."""
    text = page_of(repeated)
    for row in rows.tabulate(repeated).rows:
        assert f"<code>{row.finding.id}</code>" in text
    (inside,) = re.findall(r'<script type="application/json" id="summary">(.*?)</script>', text, re.DOTALL)
    assert json.loads(inside) == json.loads(json_report.render(repeated))


def test_no_name_becomes_markup_on_the_page(trace):
    """A trace called like a script is shown, not run; also inside the data."""
    given = judge(trace, trace, names=("a", f"dir/{NASTY}"))
    text = page_of(given, Timeline.of(NASTY, [trace]))
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 2


def test_a_page_of_an_empty_trace_is_a_page(trace):
    """Nothing to draw is no reason to fail: the verdict is there."""
    given = judge(trace, replace_ops(trace, 0), names=("a", "b"))
    text = page_of(given, Timeline.of("b", [replace_ops(trace, 0)]))
    assert '<div class="word">ERROR</div>' in text


def replace_ops(trace, count):
    """The first ops of a trace."""
    return mutations.with_columns(trace, {}, np.arange(count))


@pytest.mark.parametrize("count", [1, 2, 11])
def test_tiny_traces_are_drawn(trace, count):
    """One op has no spread and no duration, and is still on the page."""
    tiny = replace_ops(trace, count)
    text = page_of(judge(tiny, tiny, names=("a", "b")), Timeline.of("b", [tiny]))
    assert "nan" not in text.lower().replace("nano", "")
    assert 'viewBox="0 0 480 282"' in text


# -- pieces of pictures ------------------------------------------------------------------------------------------------


def test_markup_escapes_what_is_not_markup():
    """Text and attribute values alike; what is markup already stays."""
    assert tag("p", "<b>", tag("i", "&"), class_='"') == '<p class="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert isinstance(tag("p"), Markup)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 7), (0.2, 0.9), (1_000, 64_000), (-0.3, 0.4), (5, 5.0001)])
def test_ticks_are_round_and_inside(low, high):
    """At most six, evenly spaced, none outside."""
    ticks = Scale(low, high, 0, 100).ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


@pytest.mark.parametrize(("low", "high", "base"), [(1, 1_000_000, 10), (512, 4_194_304, 2), (8192, 32_768, 2)])
def test_logarithmic_ticks_are_powers(low, high, base):
    """Powers of the base, none outside."""
    ticks = Scale(low, high, 0, 100, base).ticks()
    assert 1 <= len(ticks) <= 6
    for tick in ticks:
        assert low <= tick <= high
        assert np.isclose(np.log(tick) / np.log(base), round(np.log(tick) / np.log(base)))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (3, 20, [5, 10, 20]),
        (310, 390, [320, 340, 360, 380]),
        (40, 4_000, [100, 300, 1_000, 3_000]),
        (1, 100_000, [1, 100, 10_000]),
    ],
)
def test_an_axis_of_a_decade_or_two_has_ticks_between_its_powers(low, high, ticks):
    """Two numbers on a logarithmic axis do not tell what lies between them; from three powers on they do."""
    assert Scale(low, high, 0, 100, 10).ticks() == pytest.approx(ticks)


def test_thinning_keeps_peaks():
    """Of ten thousand points on a line what can be seen stays, the one that sticks out among it."""
    points = [(n / 100, 5.0) for n in range(10_000)]
    points[5_000] = (50.0, 90.0)
    kept = _thinned(points)
    assert len(kept) < 20
    assert (50.0, 90.0) in kept
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]


def test_a_frame_puts_values_where_they_belong():
    """The ends of the axes are the ends of the area; what lies beyond is put on the edge."""
    frame = Frame.of((0, 10), (0, 1))
    assert (frame.x(0), frame.x(10), frame.x(99)) == (60, 468, 468)
    assert (frame.y(0), frame.y(1)) == (236, 30)


def test_the_mark_is_at_the_largest_gap():
    """Half of the ops moved from the first bin to the last: the curves are 0.5 apart all the way between."""
    shares = Histogram("qd", "ops", [1, 2, 3], [2, 3, 4], [0.75, 0.0, 0.25], [0.25, 0.0, 0.75])
    curves = Curves.of(shares)
    assert curves.gap() == (0, 0.5)
    assert [curves.quantile(side, 0.5) for side in (curves.golden, curves.candidate)] == [1.0, 3.0]


def test_percentiles_end_where_no_op_is_left():
    """A hundred ops say nothing of p99.9: the line ends at the rarest op, at its value."""
    shares = Histogram("latency", "ns", list(range(100, 200)), list(range(101, 201)), [0.01] * 100, [0.01] * 100)
    curves = Curves.of(shares)
    line = curves.tail(curves.golden)
    assert line[0] == (1.0, 100.0)
    assert line[-1] == (pytest.approx(100), 199.0)
    assert [value for _, value in line] == sorted(value for _, value in line)


def test_percentiles_of_times_that_are_all_alike_are_a_level_line():
    """One value has every percentile: a line from end to end, not a point that nobody sees."""
    shares = Histogram("latency", "ns", [400_000], [400_001], [1.0], [1.0])
    drawn = distributions.spectrum(shares, ("a", "b"))
    lines = re.findall(r'class="line (golden|candidate)" d="M([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)"', drawn)
    assert [line[0] for line in lines] == ["golden", "candidate"]
    for _, left, top, right, low in lines:
        assert (float(left), float(right)) == (60, 468)
        assert top == low
    assert "p50 400 µs and 400 µs" in drawn


def test_every_distribution_of_a_verdict_can_be_drawn(shuffled):
    """There is a picture for each, and its numbers are those of the histogram."""
    for histogram in shuffled.histograms:
        assert distributions.is_drawn(histogram)
        assert "<svg" in distributions.ecdf(histogram, ("a", "b"))
        assert len(distributions.table(histogram)) == len(distributions.QUANTILES)


def test_run_to_run_shows_what_is_open_first():
    """Failures, then open criteria, then passes; what does not count last; distances have no runs to show."""
    names = ("pass", "open", "fail", "aside", "distance")
    outcomes = (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL, Outcome.FAIL, Outcome.FAIL)
    found = [
        finding(outcome, name, effect_kind="distance" if name == "distance" else "ratio", gates=name != "aside", golden=10)
        for name, outcome in zip(names, outcomes, strict=True)
    ]  # fmt: skip
    runs = [RunByRun(name, [9, 10, None, 11], [20]) for name in names]
    strips = runtorun.strips(found, runs)
    assert [strip.finding.id for strip in strips] == ["fail", "open", "pass", "aside"]
    assert strips[0].golden == [0.9, 1.0, 1.1]
    assert strips[0].measured == [2.0]


def test_run_to_run_keeps_every_dot_inside(repeated):
    """No run of the golden or of what is judged lies outside of its picture."""
    for strip in runtorun.strips(repeated.findings, repeated.runs):
        drawn = runtorun.draw(strip, ("golden", "measured"))
        places = [float(x) for x in re.findall(r'cx="([0-9.]+)"', drawn)]
        assert len(places) == len(strip.golden) + len(strip.measured)
        assert all(12 <= place <= 468 for place in places)


def test_many_runs_are_not_all_named_in_the_heading():
    """Six are, of twenty the first four and how many more there are; what was compared has all of them."""
    runs = [{"name": f"run{number}.jsonl"} for number in range(20)]
    given = Verdict("repeat", {"name": "job@1", "runs": 10}, runs, [finding(Outcome.PASS)])
    named = "run0.jsonl, run1.jsonl, run2.jsonl, run3.jsonl and 16 more runs against job@1 (10 runs), mode repeat"
    assert rows.heading(given) == named
    assert rows.heading(replace(given, candidates=runs[:6])).count("run") == 7
    assert "<dd>run19.jsonl</dd>" in page_of(given)


def test_a_criterion_that_speaks_twice_has_one_address():
    """Several traces may be wrong in the same way: each reason leads to the criterion, and no id is there twice."""
    errors = [finding(Outcome.ERROR, "valid.empty", reason=f"run{number} is empty") for number in range(2)]
    text = page_of(verdict(*errors, finding(Outcome.PASS)))
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert text.count('href="#criterion-valid.empty"') == 2
    targets = re.findall(r' href="#([^"]+)"', text)
    assert set(targets) <= set(ids)


def test_a_comparison_shows_no_bands(shuffled):
    """Where nothing is judged the curves have no tolerance around them, nor a caption that speaks of one."""
    facts = FactTable("differences", ("criterion", "A", "B"), [("size.mean", "1 KiB", "2 KiB")])
    text = html.comparison(("a", "b"), facts, shuffled.histograms, [], [], "{}")
    assert 'class="band"' not in text
    assert "shaded" not in text
    assert 'class="band"' in page_of(shuffled)


def test_the_cells_of_a_matrix_are_drawn():
    """A bar a cell for the time, two for the pages in memory; a cell that does not tell is left out."""
    cells = [
        {"name": name, "median_mean_ns": time, "median_pages": 100.0, "median_before": before, "median_after": 80.0}
        for name, time, before in (("buffered", 20_000.0, 100.0), ("cold", 300_000.0, 0.0), ("direct", None, None))
    ]
    times, pages = cellbars.service(cells), cellbars.resident(cells)
    widths = [float(width) for width in re.findall(r' width="([0-9.]+)"', times)]
    assert widths == [pytest.approx(widths[1] / 15, abs=0.1), pytest.approx(302)]
    assert times.count("<rect") == 2
    assert pages.count("<rect") == 4
    assert "cold 0% → 80%" in pages
    assert cellbars.service([{"name": "cold"}]) is cellbars.resident([{"name": "cold"}]) is None


# What is seen by somebody who lacks one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1), in linear RGB.
EYES = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    """A colour of the style sheet in linear RGB."""
    shares = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(light):
    """Linear RGB in CIE L*a*b*, where distances are about as they are seen."""
    x, y, z = np.cbrt(np.clip(TO_XYZ @ np.clip(light, 0, 1) / [0.9505, 1, 1.089], 0.008856, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark by the system", "dark by choice"])
def test_colours_can_be_told_apart_by_every_eye(theme, eye):
    """Any two of the six colours of streams are 20 apart or more (2 is what one just notices), and 3:1 from their ground."""
    styles = resources.files("harness.report").joinpath("page.css").read_text()
    block = re.findall(r"color-scheme: (?:light|dark);\n(.*?)\}", styles, re.DOTALL)[theme]
    named = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
    colours = [named[f"s{number}"] for number in range(6)]
    assert colours[:2] == [named["golden"], named["candidate"]]
    seen = [lab(np.array(EYES[eye]) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 20
    luminance = [float(TO_XYZ[1] @ linear(colour)) + 0.05 for colour in [*colours, named["panel"]]]
    assert all(max(one / luminance[-1], luminance[-1] / one) >= 3 for one in luminance[:-1])


# -- outputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [40, pytest.param(400, marks=pytest.mark.long)], ids=["1 M ops", "10 M ops"])
def test_a_page_of_a_long_trace_stays_small(trace, number):
    """Pieces of 25,000 ops over 100,000 files, none of them kept: the page stays far below 2 MB."""
    count, files = 25_000, 100_000

    def pieces():
        uris = StringTable([f"/f{number}" for number in range(files)])
        for piece in range(number):
            place = np.arange(count) + piece * count
            columns = {
                "uri": (place * 7 % files).astype(np.int32), "offset": place * 4096, "len": np.full(count, 4096),
                "t_submit": place * 10_000, "t_complete": place * 10_000 + 5_000, "op": np.zeros(count, np.int32),
                "tid": (place % 64).astype(np.int32),
            }  # fmt: skip
            yield Trace(columns, {"uri": uris, "op": StringTable(["read"])})

    line = Timeline.of("long.jsonl", pieces())
    page = html.render(judge(trace, trace, names=("a", "b")), [line])
    assert line.ops == 25_000 * number
    assert len(page.encode()) < 1_000_000


def test_an_output_that_exists_is_known_before_anything_is_judged(tmp_path):
    """For each kind of file; --force replaces it."""
    for kind in ("html", "json", "junit", "markdown"):
        path = tmp_path / kind
        path.write_text("mine")
        with pytest.raises(OutputExistsError):
            replace(outputs.Outputs(), **{kind: str(path)}).check()
        replace(outputs.Outputs(), **{kind: str(path)}, force=True).check()
