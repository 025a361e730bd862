"""What a notebook shows of a trace: a small card of HTML that loads nothing, runs nothing and takes the page's own colours."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from tracekit.trace import NULL, Mask, Trace
from tracekit.units import counted, format_bytes, format_ns
from tracekit.uri import utf8

_BARS = 80
_BAR_HEIGHT = 28
_FILES = 5
_MOST_CHARACTERS = 100
# Text and lines in the page's own colour: right on light and on dark pages, whoever decides which it is.
_STYLE = (
    "<style>.tracekit-card{font-size:13px;line-height:1.5;color:inherit}"
    ".tracekit-card table{border-collapse:collapse;margin:4px 0;background:none}"
    ".tracekit-card td{text-align:left;vertical-align:top;padding:1px 12px 1px 0;border:0;background:none;color:inherit}"
    ".tracekit-card td:first-child{opacity:.65;white-space:nowrap}"
    ".tracekit-card svg{display:block;fill:currentColor;opacity:.55}</style>"
)


def html(trace: Trace) -> str:
    """The card of a trace."""
    rows = "".join(
        f"<tr><td>{escape(_shown(label))}</td><td>{escape(_shown(value))}</td></tr>" for label, value in _rows(trace)
    )
    title = f"Trace of {counted(len(trace), 'op')}"
    return (
        f'<div class="tracekit-card">{_STYLE}<strong>{escape(title)}</strong>{_bars(trace)}<table>{rows}</table></div>'
    )


def _shown(text: str) -> str:
    plain = utf8(text)
    return plain if len(plain) <= _MOST_CHARACTERS else plain[: _MOST_CHARACTERS - 1] + "…"


def _rows(trace: Trace) -> Iterator[tuple[str, str]]:
    header = trace.header
    if header is not None:
        yield (
            "made by",
            " ".join(str(header.producer[key]) for key in ("tool", "version", "verb") if header.producer.get(key)),
        )
        if header.command:
            yield "command", " ".join(header.command)
    yield "complete", "yes" if trace.is_complete else "not known: no trailer"
    if not len(trace):
        return
    yield "took", format_ns(_span(trace)[1])
    moved = _moved(trace)
    words = trace.strings("op")
    counts = np.bincount(np.maximum(trace.col("op"), 0), minlength=len(words))
    sums = np.bincount(np.maximum(trace.col("op"), 0), moved, len(words))
    for code in np.argsort(-counts).tolist():
        size = f", {format_bytes(sums[code])}" if words[code] in ("read", "write") else ""
        yield words[code], f"{counts[code]:,}{size}"
    yield from _times(trace)
    if trace.marks:
        yield "marks", ", ".join(f"{name} {count:,}" for name, count in _counts([mark.mark for mark in trace.marks]))
    yield from _files(trace, moved)


def _data(trace: Trace) -> Mask:
    return trace.mask("op", "read", "write")


def _moved(trace: Trace) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Bytes that each read or write moved, as the metrics have it; 0 for other ops."""
    ret = trace.col("ret")
    asked = np.where(trace.col("err") == NULL, trace.col("len"), 0)
    return np.where(_data(trace), np.where(ret == NULL, asked, ret), 0).astype(np.float64)


def _span(trace: Trace) -> tuple[int, int]:
    submit, complete = trace.col("t_submit"), trace.col("t_complete")
    first = int(submit.min())
    return first, max(int(submit.max()), int(complete.max())) - first


def _times(trace: Trace) -> Iterator[tuple[str, str]]:
    complete = trace.col("t_complete")
    service = (complete - trace.col("t_submit"))[_data(trace) & (complete != NULL)]
    if len(service):
        median, high = np.quantile(service, [0.5, 0.99])
        yield "service time", f"median {format_ns(float(median))}, 99 % within {format_ns(float(high))}"


def _files(trace: Trace, moved: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Iterator[tuple[str, str]]:
    used = np.unique(trace.col("uri"))
    yield "files", f"{len(used):,}"
    sums = np.bincount(np.maximum(trace.col("uri"), 0), moved, len(trace.uris))
    for code in np.argsort(-sums, kind="stable")[:_FILES].tolist():
        if sums[code]:
            yield format_bytes(sums[code]), trace.uris[code]


def _counts(names: list[str]) -> list[tuple[str, int]]:
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def _bars(trace: Trace) -> str:
    """Bytes moved over time, as bars."""
    if not len(trace):
        return ""
    first, span = _span(trace)
    window = np.minimum((trace.col("t_submit") - first) * _BARS // max(span, 1), _BARS - 1)
    sums = np.bincount(window, _moved(trace), _BARS)
    top = float(sums.max())
    if not top:
        return ""
    bars = "".join(
        f'<rect x="{place * 4}" y="{_BAR_HEIGHT - height:g}" width="3" height="{height:g}"/>'
        for place, size in enumerate(sums.tolist())
        if (height := round(_BAR_HEIGHT * size / top, 1))
    )
    about = f"bytes moved over {format_ns(span)}"
    return f'<svg role="img" aria-label="{escape(about)}" width="{_BARS * 4}" height="{_BAR_HEIGHT}"><title>{escape(about)}</title>{bars}</svg>'
