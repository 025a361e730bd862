"""The page around what is shown: its head and content policy, sections with a way to each, tables, figures, buttons."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import tracekit
from harness.report.markup import Markup, joined, tag

# Fewer sections than that are found without a list of them.
_LISTED = 3


@dataclass(frozen=True)
class Section:
    """A part of the page that has a heading, an address and a place in the list at the top."""

    title: str
    content: Markup

    @property
    def address(self) -> str:
        """The id of its heading."""
        return self.title.lower().replace(" ", "-")

    def markup(self) -> Markup:
        """The section as an element."""
        heading = tag("h2", self.title, id=self.address, tabindex="-1")
        return tag("section", heading, self.content, aria_labelledby=self.address)


def page(verb: str, title: str, answer: Markup, sections: Iterable[Section], data: str) -> str:
    """The whole page as text.

    Args:
        verb: The verb of harness that made it.
        title: What the browser calls it.
        answer: What is seen first.
        sections: What follows, in order.
        data: The summary, as JSON.
    """
    shown = list(sections)
    body = joined(
        tag("header", tag("span", f"harness {verb}", class_="brand"), button("Dark", id="theme")),
        tag("main", answer, _contents(shown), *(section.markup() for section in shown)),
        tag("footer", f"Made by harness, tracekit {tracekit.__version__}. This page asks nothing of any network."),
        tag("p", class_="said", id="said", role="status", aria_live="polite"),
        _data(data),
        tag("script", Markup(_asset("page.js"))),
    )
    return f"<!DOCTYPE html>\n{tag('html', _head(title), tag('body', body), lang='en')}\n"


def _contents(sections: Sequence[Section]) -> Markup:
    if len(sections) < _LISTED:
        return joined()
    links = [tag("li", tag("a", section.title, href=f"#{section.address}")) for section in sections]
    return tag("nav", tag("ul", *links), class_="contents", aria_label="On this page")


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


def button(text: str, **attributes: str) -> Markup:
    """A button; without JavaScript it could do nothing, so the script shows it."""
    return tag("button", text, type="button", hidden="", **attributes)


def tools(*buttons: Markup) -> Markup:
    """Buttons in a line."""
    return tag("div", *buttons, class_="tools")


def table(names: Sequence[str], lines: Sequence[Sequence[str]], class_: str | None = None) -> Markup:
    """A table whose first column names the lines; the others hold numbers."""
    heads = [tag("th", name, scope="col", class_="number" if index else None) for index, name in enumerate(names)]
    body = [
        tag("tr", *(tag("td", cell, class_="number" if index else None) for index, cell in enumerate(line)))
        for line in lines
    ]
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), class_=class_)


def across(shown: Markup, title: str) -> Markup:
    """What may be wider than the window: it is moved within its own area, with the keyboard too."""
    return tag("div", shown, class_="across", tabindex="0", role="region", aria_label=f"{title}: table")


def figure(title: str, *parts: str, about: str = "") -> Markup:
    """A picture with its title above and what to look for below."""
    caption = tag("figcaption", about) if about else ""
    return tag("figure", tag("h3", title), *parts, caption)


def figures(shown: Sequence[Markup]) -> Markup:
    """Pictures side by side where there is room."""
    return tag("div", *shown, class_="figures")


def numbers(title: str, names: Sequence[str], lines: Sequence[Sequence[str]]) -> Markup:
    """The figures of a picture, folded away."""
    copy = button("Copy table", data_copy="table", aria_label=f"Copy table: {title}")
    return tag("details", tag("summary", "Numbers"), table(names, lines), copy)
