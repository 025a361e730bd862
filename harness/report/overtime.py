"""Pictures over time: arrivals, queue depth, what the consumer did, and where in the data the ops went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.report.markup import Markup, tag
from harness.report.svg import BOTTOM, TOP, Frame, picture
from harness.report.timeline import Dots, Timeline
from harness.stats import Floats
from tracekit.units import counted, format_ns

# More streams than that share colours.
COLOURS = 6
_STRIP = 80.0
# From there on a figure has digits enough without decimals.
_WHOLE = 1_000
_QUARTERS = (0, 0.25, 0.5, 0.75, 1)
_AXIS = "time since the first op"


def arrivals(timelines: Sequence[Timeline], classes: Sequence[str]) -> Markup:
    """Ops a second over time."""
    rates = [_rates(timeline) for timeline in timelines]
    return _curves("Ops issued a second, over time", "ops/s", timelines, rates, classes)


def depth(timelines: Sequence[Timeline], classes: Sequence[str]) -> Markup | None:
    """Mean queue depth over time; None where no side tells."""
    told = [(*pair, pair[0].depth) for pair in zip(timelines, classes, strict=True) if pair[0].depth is not None]
    if not told:
        return None
    drawn, names, depths = zip(*told, strict=True)
    return _curves("Mean number of ops in flight, over time", "ops in flight", drawn, depths, names)


def arrival_table(timelines: Sequence[Timeline]) -> list[tuple[str, str, str]]:
    """Mean and largest rate of each run, ops a second."""
    return [_told(timeline.name, _rates(timeline)) for timeline in timelines]


def depth_table(timelines: Sequence[Timeline]) -> list[tuple[str, str, str]]:
    """Mean and largest mean of a window of each run that tells, ops."""
    return [_told(timeline.name, timeline.depth) for timeline in timelines if timeline.depth is not None]


def _rates(timeline: Timeline) -> Floats:
    return np.asarray(timeline.arrivals * (1e9 / timeline.width_ns), float)


def _told(name: str, values: Floats) -> tuple[str, str, str]:
    mean, most = (
        f"{value:,.4g}" if value < _WHOLE else f"{value:,.0f}" for value in (float(values.mean()), float(values.max()))
    )
    return name, mean, most


def consumer(timeline: Timeline, longest_ns: int) -> Markup | None:
    """A strip: when the consumer computed, and when it waited for data; None without marks."""
    if timeline.compute is None or timeline.waiting is None:
        return None
    frame = Frame.of((0.0, float(longest_ns)), (0.0, 1.0), height=_STRIP + BOTTOM)
    said = fed(timeline)
    axes = frame.axes(_time, _percent, _AXIS, "share of time", y_ticks=(0, 1))
    return picture(said, axes, *_bars(frame, timeline), height=_STRIP + BOTTOM)


def fed(timeline: Timeline) -> str:
    """How much of its steps the consumer computed and waited, in words."""
    sums = [0.0 if shares is None else float(shares.sum()) for shares in (timeline.compute, timeline.waiting)]
    computes, waits = (100 * value / (sum(sums) or 1.0) for value in sums)
    return f"{timeline.name}: computing {computes:.1f} % and waiting for data {waits:.1f} % of its steps"


def places(timeline: Timeline, longest_ns: int) -> Markup:
    """Where each op went, over the whole run: one colour per stream."""
    frame = Frame.of((0.0, float(max(1, longest_ns))), (0.0, 1.0))
    drawn = [frame.dots(points, name) for name, points in _by_stream(timeline.dots)]
    what = (
        f"{counted(timeline.ops, 'op')} in {counted(timeline.files, 'file')} by {counted(timeline.streams, 'stream')}"
    )
    return picture(f"{timeline.name}: position in the data over time, {what}", _place_axes(frame), *drawn)


def head(timeline: Timeline) -> Markup:
    """Where in its file each of the first ops begins; ops of a stream that stay in a file are joined: in order they rise."""
    first = timeline.head
    count = len(first.times)
    frame = Frame.of((1.0, float(max(2, count))), (0.0, 1.0))
    drawn: list[Markup] = []
    for stream in sorted(set(first.streams.tolist())):
        name = f"stream{stream % COLOURS}"
        drawn += [frame.line(points, f"thin {name}") for points in _runs(first, stream) if len(points) > 1]
        mine = np.flatnonzero(first.streams == stream)
        drawn.append(frame.dots(list(zip((mine + 1).tolist(), first.within[mine].tolist(), strict=True)), name))
    said = f"{timeline.name}: position in their files of its first {count} ops, by stream"
    axes = frame.axes(
        lambda value: f"{value:g}", _percent, "number of the op", "position in its file", y_ticks=_QUARTERS
    )
    return picture(said, axes, *drawn)


def _runs(dots: Dots, stream: int) -> Iterator[list[tuple[float, float]]]:
    """A stream's ops, cut where it goes to another file."""
    mine = np.flatnonzero(dots.streams == stream)
    for run in np.split(mine, np.flatnonzero(np.diff(dots.files[mine])) + 1):
        yield list(zip((run + 1).tolist(), dots.within[run].tolist(), strict=True))


def legend(sides: Sequence[tuple[str, str]]) -> Markup:
    """Which line, dot or surface is which: (name, classes) of each."""
    return tag("ul", *(tag("li", tag("span", class_=f"key {class_}"), name) for name, class_ in sides), class_="legend")


def _curves(
    said: str, unit: str, timelines: Sequence[Timeline], values: Sequence[Floats], classes: Sequence[str]
) -> Markup:
    longest = max(timeline.duration_ns for timeline in timelines)
    top = max(float(side.max(initial=0.0)) for side in values) or 1.0
    frame = Frame.of((0.0, float(longest)), (0.0, 1.05 * top))
    axes = frame.axes(_time, lambda value: f"{value:,.10g}", _AXIS, unit)
    drawn: list[Markup] = []
    for timeline, side, name in zip(timelines, values, classes, strict=True):
        steps = _steps(timeline, side)
        # Two lines of spikes would hide each other: what is held against is a surface, what is judged a line on it.
        if name == "golden":
            drawn.append(frame.area(steps, [(x, 0.0) for x, _ in (steps[0], steps[-1])], "surface"))
        drawn.append(frame.line(steps, f"fine {name}"))
    told = (_told(timeline.name, side) for timeline, side in zip(timelines, values, strict=True))
    spoken = "; ".join(f"{name}: mean {mean}, at most {most}" for name, mean, most in told)
    return picture(f"{said}: {spoken}", axes, *drawn)


def _steps(timeline: Timeline, values: Floats) -> list[tuple[float, float]]:
    """A line that is level within each window."""
    edges = np.arange(len(values) + 1) * timeline.width_ns
    x = np.column_stack([edges[:-1], edges[1:]]).ravel()
    return list(zip(x.tolist(), np.repeat(values, 2).tolist(), strict=True))


def _bars(frame: Frame, timeline: Timeline) -> Iterator[Markup]:
    assert timeline.compute is not None
    assert timeline.waiting is not None
    tall = _STRIP - TOP
    for index, (computes, waits) in enumerate(zip(timeline.compute.tolist(), timeline.waiting.tolist(), strict=True)):
        left, right = (frame.x(float((index + end) * timeline.width_ns)) for end in (0, 1))
        foot = _STRIP
        for name, share in (("computes", computes), ("waits", min(waits, 1.0 - computes))):
            if share > 0 and right > left:
                yield tag("rect", class_=name, x=left, y=foot - tall * share, width=right - left, height=tall * share)
                foot -= tall * share


def _place_axes(frame: Frame) -> Markup:
    return frame.axes(_time, _percent, _AXIS, "position in all data", y_ticks=_QUARTERS)


def _time(value: float) -> str:
    return format_ns(value) if value else "0"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _by_stream(dots: Dots) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The colour of each stream, and its ops."""
    for stream in sorted(set(dots.streams.tolist())):
        mine = dots.streams == stream
        yield f"stream{stream % COLOURS}", list(zip(dots.times[mine].tolist(), dots.places[mine].tolist(), strict=True))
