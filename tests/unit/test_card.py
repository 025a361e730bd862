"""What notebooks show of a trace: well-formed, harmless whatever names say, and right."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tracekit import Header, Mark, Op, Trace, Trailer
from tracekit.testing import training_trace

VOID = {"rect"}


class Elements(HTMLParser):
    """The elements of a piece of HTML, and the text in them; elements that are not closed in order are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        """Note an element and that it is open."""
        self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        """Note an element."""
        self.found.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        """The innermost element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Note a text."""
        self.words.append(data)


def cells(trace):
    """The rows of the card's table."""
    return re.findall(r"<td>(.*?)</td><td>(.*?)</td>", trace._repr_html_())


def test_the_card_has_the_figures():
    """Counts, bytes, times, marks and the busiest files of a training run."""
    trace = training_trace(epochs=3)
    rows = dict(cells(trace))

    assert "Trace of 432 ops" in trace._repr_html_()
    assert (rows["read"], rows["files"], rows["complete"]) == ("432, 13.7 MiB", "48", "yes")
    assert rows["service time"] == "median 200 µs, 99 % within 200 µs"
    assert rows["293 KiB"].startswith("file:///data/")
    assert rows["marks"] == "step 36, compute 36"


EVIL = "<script>alert(1)</script>\"' onload=x \udcff"


@pytest.mark.parametrize(
    "trace",
    [
        training_trace(),
        Trace.of([]),
        Trace.of([Op("/a", None, 0, 5)]),
        Trace.of(
            [Op(EVIL, 0, 5, 0, EVIL, 9, 5, EVIL), Op(EVIL * 9, 0, 5, 1, ret=5)],
            marks=[Mark(EVIL, 0)], header=Header(EVIL, {"tool": EVIL}, {}, [EVIL]), trailer=Trailer(1),
        ),
    ],
    ids=["training", "empty", "nothing known", "names that are HTML"],
)  # fmt: skip
def test_the_card_is_well_formed_and_harmless(trace):
    """Elements close in order, none but the card's own appear, nothing is loaded, and it can be encoded."""
    text = trace._repr_html_()
    found = Elements(text)

    assert set(found.found) <= {"div", "style", "strong", "svg", "title", "rect", "table", "tr", "td"}
    assert {name for name, _ in found.attributes} <= {"class", "role", "aria-label", "width", "height", "x", "y"}
    assert not re.search(r"https?:|url\(|@import|src=", text.split("</style>")[0])
    assert len(text.encode()) < 12_000
