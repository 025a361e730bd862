"""Pictures of a cache matrix: how long reads took in each cell, and how much of the data was in the page cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.markup import Markup, joined, tag
from harness.report.svg import RIGHT, WIDTH, Scale, picture
from tracekit.units import format_ns

_ROW = 34.0
_LEFT = 92.0
# Room for what is written behind the longest bar: a time, or two shares.
_BEHIND, _BEHIND_TWO = 74.0, 124.0


def service(cells: Sequence[Mapping[str, Any]]) -> Markup | None:
    """A bar for each cell's mean service time, from 0 on; None where no cell tells it."""
    times = [(str(cell["name"]), cell.get("median_mean_ns")) for cell in cells]
    known = [(name, float(time)) for name, time in times if time is not None]
    if not known:
        return None
    scale = Scale(0.0, max(time for _, time in known) or 1.0, _LEFT, WIDTH - RIGHT - _BEHIND)
    said = ", ".join(f"{name} {format_ns(time)}" for name, time in known)
    rows = [_row(index, name, scale, [(time, "measured")], format_ns(time)) for index, (name, time) in enumerate(known)]
    return picture(f"Mean time of a read, by cell: {said}", *rows, height=_ROW * len(known) + 4)


def resident(cells: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Two bars for each cell: the share of the files' pages in memory before and after; None where no cell tells it."""
    shares = [(str(cell["name"]), *_shares(cell)) for cell in cells]
    known = [(name, before, after) for name, before, after in shares if before is not None and after is not None]
    if not known:
        return None
    scale = Scale(0.0, 1.0, _LEFT, WIDTH - RIGHT - _BEHIND_TWO)
    told = [(name, before, after, f"{before:.0%} → {after:.0%}") for name, before, after in known]
    rows = [
        _row(index, name, scale, [(before, "before"), (after, "after")], text)
        for index, (name, before, after, text) in enumerate(told)
    ]
    said = ", ".join(f"{name} {text}" for name, _, _, text in told)
    return picture(f"Share of pages in memory before and after, by cell: {said}", *rows, height=_ROW * len(known) + 4)


def _shares(cell: Mapping[str, Any]) -> tuple[float | None, float | None]:
    pages = cell.get("median_pages")
    before, after = (cell.get(f"median_{when}") for when in ("before", "after"))
    return (
        before / pages if pages and before is not None else None,
        after / pages if pages and after is not None else None,
    )


def _row(index: int, name: str, scale: Scale, bars: Sequence[tuple[float, str]], text: str) -> Markup:
    top, tall = index * _ROW + 4, (_ROW - 10) / len(bars)
    drawn = [
        tag("rect", class_=f"bar {class_}", x=scale.start, y=top + place * tall, width=max(1.0, scale(value) - scale.start), height=tall - 1)
        for place, (value, class_) in enumerate(bars)
    ]  # fmt: skip
    longest = max(value for value, _ in bars)
    middle = top + (_ROW - 10) / 2 + 4
    return joined(
        tag("text", name, x=scale.start - 8, y=middle, text_anchor="end"),
        *drawn,
        tag("text", text, class_="value", x=scale(longest) + 8, y=middle),
    )
