"""The HTML report in a real browser: it runs under its own policy, reads well at every width, and answers to keyboard and axe."""

import http.server
import json
import shutil
import threading
from itertools import pairwise

import numpy as np
import pytest

from harness import cli, mutations
from harness.envelope import Envelope
from harness.paired import judge
from harness.repeat import judge as judge_repeat
from harness.report import html
from harness.report import json as json_report
from harness.report.timeline import Timeline
from harness.standard import Standard
from harness.verdict import FactTable, Finding, Outcome, Verdict
from tracekit import formats
from tracekit.testing import training_trace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# A browser on a busy machine is slow; that says nothing about a page.
PATIENCE_MS = 300_000
UNFOLD = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE_MS
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of every kind and outcome, each with its verdict (None where there is none)."""
    trace = training_trace(files=64, batch=16, wait_ns=1_000_000)
    bad, empty = mutations.shuffled(trace), mutations.with_columns(trace, {}, np.arange(0))
    short = mutations.with_columns(trace, {}, np.arange(9))
    runs = [training_trace(files=64, batch=16, seed=n, read_ns=200_000 + 9_000 * n) for n in range(5)]
    golden = Standard("job@1", Envelope.of(runs))
    made = {
        "paired": (judge(trace, bad, names=("train.jsonl", "shuffled.jsonl")), [trace, bad]),
        "pass": (judge(trace, trace, names=("train.jsonl", "again.jsonl")), [trace, trace]),
        "inconclusive": (judge(short, short, names=("short.jsonl", "again.jsonl")), [short, short]),
        "error": (judge(trace, empty, names=("train.jsonl", "empty.jsonl")), [trace, empty]),
        "repeat": (judge_repeat(golden, [trace, runs[0]], ["a.jsonl", "b.jsonl"]), [trace, runs[0]]),
        "matrix": (matrix(), []),
    }
    place = tmp_path_factory.mktemp("pages")
    for name, (verdict, traces) in made.items():
        names = [str(side["name"]) for side in (verdict.golden, *verdict.candidates)][-len(traces) :]
        lines = [Timeline.of(called, [trace]) for called, trace in zip(names, traces, strict=False)]
        text = html.render(verdict, lines, of_golden=name != "repeat")
        (place / f"{name}.html").write_text(text, encoding="utf-8")
    compare(trace, bad, place)
    return {name: (place / f"{name}.html", verdict) for name, (verdict, _) in made.items()} | {
        "compare": (place / "compare.html", None)
    }


def matrix():
    """A cache matrix of five cells whose every criterion passes."""
    found = [
        Finding(f"slower.{name}", "environment", f"{name} is slower", Outcome.PASS, effect=15.0, effect_kind="ratio")
        for name in ("cold", "direct")
    ]
    names = ("buffered", "cold", "random", "sequential", "direct")
    cells = [
        {"name": name, "ops": 260, "runs": 3, "median_mean_ns": 20_000.0 * place, "median_pages": 1_000.0, "median_before": 0.0, "median_after": 800.0}
        for place, name in enumerate(names, 1)
    ]  # fmt: skip
    table = FactTable("cells", ("cell", "runs", "read mean"), [(name, "3", "20 µs") for name in names])
    return Verdict("matrix", {"name": "train.jsonl", "ops": 260}, cells, found, tables=[table], notes=["a note"])


def compare(one, other, place):
    """The page of `harness compare --html`."""
    formats.save(one, str(place / "a.jsonl"))
    formats.save(other, str(place / "b.jsonl"))
    paths = [str(place / name) for name in ("a.jsonl", "b.jsonl", "compare.html")]
    assert cli.main(["compare", *paths[:2], "--html", paths[2]]) == 0


@pytest.fixture
def opened(browser, pages):
    """Opens a page without a network; afterwards nothing may have gone wrong and nothing may have been asked for."""
    contexts, wrong, asked = [], [], []

    def open_page(name="paired", width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name][0].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith("file:")] == []


ALL = [
    (name, width, scheme)
    for name in ("paired", "pass", "inconclusive", "error", "repeat", "matrix", "compare")
    for width in (320, 390, 768, 1280)
    for scheme in ("light", "dark")
]
# Every kind of page once, every outcome, each width and theme several times; the rest of them are looked at in the long run.
SOME = {
    ("paired", 390, "light"), ("paired", 1280, "dark"), ("pass", 1280, "light"), ("inconclusive", 390, "dark"), ("error", 320, "light"),
    ("repeat", 390, "dark"), ("repeat", 1280, "light"), ("matrix", 768, "dark"), ("compare", 390, "light"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [one if one in SOME else pytest.param(*one, marks=pytest.mark.long) for one in ALL]
)
def test_axe_finds_nothing(opened, name, width, scheme):
    """Contrast, names, roles, landmarks and order: no violation, with all folds open, whatever the page, theme and width."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core comes with it").Axe()
    page = opened(name, width, color_scheme=scheme)
    page.evaluate(UNFOLD)
    found = axe.run(page).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    # An engine that looked at nothing would find nothing.
    assert {"color-contrast", "button-name", "svg-img-alt", "heading-order"} <= {one["id"] for one in found["passes"]}
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_outcomes_are_what_their_pages_are_for(pages):
    """The pages above show each of the four outcomes."""
    words = {name: verdict.outcome.value for name, (_, verdict) in pages.items() if verdict is not None}
    assert words["paired"] == "FAIL"
    assert words["pass"] == words["matrix"] == "PASS"
    assert (words["inconclusive"], words["error"]) == ("INCONCLUSIVE", "ERROR")


def test_two_sides_without_a_verdict_are_a_page_too(opened):
    """`harness compare --html`: pictures of both sides, and a table that sorts."""
    page = opened("compare", 390)
    page.get_by_role("columnheader", name="criterion").get_by_role("button").click()
    names = page.locator(".compared tbody td:first-child").all_inner_texts()
    assert names == sorted(names)
    assert len(names) > 10
    assert page.locator("figure svg").count() >= 8


@pytest.mark.parametrize("name", ["paired", "repeat", "matrix", "compare"])
def test_headings_and_pictures_speak_to_those_who_do_not_see_them(opened, name):
    """One heading of the first rank, no rank left out, every section in the list at the top, and figures in every picture's words."""
    page = opened(name)
    ranks = page.locator("h1, h2, h3").evaluate_all("(all) => all.map((one) => Number(one.tagName[1]))")
    assert ranks[0] == 1
    assert ranks.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(ranks))
    assert page.locator("nav a").all_inner_texts() == page.locator("h2").all_inner_texts()
    words = page.locator("figure svg").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
    assert words
    assert all(any(letter.isdigit() for letter in text) for text in words)


def test_a_reason_leads_to_its_criterion(opened):
    """The link of a reason brings the line of its criterion into the window; so do the links to the sections."""
    page = opened("paired")
    for link in (".reasons a >> nth=0", "nav a >> nth=-1"):
        page.locator(link).click()
        assert page.evaluate("location.hash.length") > 1
        place = "document.getElementById(decodeURIComponent(location.hash.slice(1))).getBoundingClientRect()"
        assert page.evaluate(f"{place}.bottom > 0 && {place}.top < innerHeight")


@pytest.mark.parametrize("width", [320, 390, 768, 1000])
def test_nothing_sticks_out_at_the_side(opened, width):
    """The page is never wider than the window, and text is at least nine pixels tall, pictures' too."""
    page = opened("repeat", width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    heights = page.evaluate(
        "[...document.querySelectorAll('svg text')].map((text) => text.getBoundingClientRect().height)"
    )
    assert min(height for height in heights if height) >= 9


def test_the_verdict_is_the_first_thing_seen(opened):
    """On a phone too, the word and the first reason are within the first screen."""
    page = opened("paired", 390)
    assert page.locator(".word").inner_text() == "FAIL"
    for what in (".word", "h1", ".reasons li >> nth=0"):
        box = page.locator(what).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] < 900


def test_tables_are_sorted_by_a_click_and_by_a_key(opened):
    """By number where there are numbers, those without one last; the direction is told to those who do not see it."""
    page = opened("repeat")
    head = page.get_by_role("columnheader", name="measured")
    head.get_by_role("button").click()

    def values():
        cells = page.locator(".criteria tbody tr td:nth-child(4)")
        return [
            None if cell is None else float(cell)
            for cell in cells.evaluate_all("(all) => all.map((one) => one.dataset.value ?? null)")
        ]

    known = [value for value in values() if value is not None]
    assert known == sorted(known)
    assert values()[: len(known)] == known
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert [value for value in values() if value is not None] == sorted(known, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert "sorted by measured, descending" in page.locator("#said").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_that_can_be_clicked_can_be_reached_by_keyboard(opened, width):
    """Tab goes through every button, fold and link once, in the order of the page, and shows where it is."""
    page = opened("repeat", width)
    page.evaluate(UNFOLD)
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, summary, a[href]')].filter((one) => one.checkVisibility()).length"
    )
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        place = "[...document.querySelectorAll('*')].indexOf(document.activeElement)"
        reached.add(page.evaluate(place))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert len(reached) == wanted
    assert min(reached) > 0


def test_the_theme_follows_the_system_until_it_is_chosen(opened):
    """Dark where the system is dark; the button turns it, and a visit later it is still so."""
    page = opened(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(13, 17, 23)"
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_only_what_did_not_pass(opened, pages):
    """The filter leaves the failures, and gives the rest back."""
    page = opened()
    rows = page.locator(".criteria tbody tr:visible")
    total = rows.count()
    page.get_by_role("button", name="Only what did not pass").click()
    assert rows.count() == len(pages["paired"][1].failed)
    page.get_by_role("button", name="Only what did not pass").click()
    assert rows.count() == total


def test_figures_can_be_copied(opened, pages, browser):
    """The summary comes out of the clipboard as the one --json writes, the table with a line per criterion."""
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    verdict = pages["paired"][1]
    page.get_by_role("button", name="Copy summary.json").click()
    page.locator("button[data-copied]").first.wait_for()
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == json.loads(json_report.render(verdict))
    page.get_by_role("button", name="Copy table").click()
    page.locator("button[data-copy=table][data-copied]").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(lines) == 1 + len(verdict.findings)
    assert {line.count("\t") for line in lines} == {6}
    page.evaluate(UNFOLD)
    copy = page.get_by_role("button", name="Copy table: Service times")
    copy.click()
    page.locator("details button[data-copied]").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "percentile\trecording\treplay"
    assert lines[4] == "p50\t200 µs\t200 µs"


def test_it_prints(opened):
    """On paper it is light whatever the screen was, buttons are gone, and every criterion is there."""
    page = opened(width=700, color_scheme="dark")
    page.emulate_media(media="print")
    # A sheet is as narrow as a tablet, but the table stays a table.
    assert page.evaluate("getComputedStyle(document.querySelector('.criteria tbody tr')).display") == "table-row"
    assert page.get_by_role("columnheader", name="accepted").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.get_by_role("button", name="Copy table").count() == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_page_says_everything_without_javascript(opened):
    """Table and pictures are there; what needs a script is not shown."""
    page = opened(java_script_enabled=False)
    assert page.locator(".criteria tbody tr").count() > 10
    assert page.locator("figure svg").count() >= 8
    assert page.locator("button:visible").count() == 0


def test_a_foreign_script_does_not_run(browser, pages, tmp_path):
    """The policy holds what the escaping would miss: a script that is not the page's own is refused, a request too."""
    text = pages["paired"][0].read_text(encoding="utf-8")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/x.png"
    foreign = f"<script>window.ran = true</script><img src='{address}'>"
    path = tmp_path / "foreign.html"
    path.write_text(text.replace("<main>", f"<main>{foreign}"), encoding="utf-8")
    page = browser.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(path.as_uri())
    server.shutdown()
    server.server_close()
    assert page.evaluate("window.ran") is None
    assert len([text for text in refused if "Content Security Policy" in text]) >= 2
    page.close()
