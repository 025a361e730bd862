"""Pictures of distributions: cumulative shares with the largest gap marked, and the percentile spectrum of service times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.markup import Markup, joined, tag
from harness.report.svg import TOP, Frame, picture
from harness.stats import Floats
from harness.verdict import Histogram
from tracekit.units import format_bytes, format_ns

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
_SPOKEN = {"p50", "p99"}
# The percentile spectrum ends where fewer than so many ops would lie above.
SPECTRUM_ENDS = 1e-5
# Nearer than that the curves lie on each other, and a mark would cover them.
SHOWN_DISTANCE = 0.005


@dataclass(frozen=True)
class Kind:
    """How a distribution is shown.

    Args:
        title: What stands above.
        label: What stands below.
        text: Its values as people read them.
        base: The base of its logarithmic axis; 0 is linear.
        up: The band of the golden's curve upwards and downwards, as a share: that of the KS criterion that gates.
        aside: The band to the right and left, as a ratio: that of the criterion on its median.
        about: What to look for where bands are drawn.
        look: What to look for where there are none.
        share: Of what the curve is the share.
    """

    title: str
    label: str
    text: Callable[[float], str]
    base: float
    up: float = 0.0
    aside: float = 0.0
    about: str = ""
    look: str = ""
    share: str = "share of ops"


def _ns(value: float) -> str:
    return format_ns(value)


def _bytes(value: float) -> str:
    return format_bytes(value).removesuffix(" B") if value < 1024 else format_bytes(value)


def _ops(value: float) -> str:
    return f"{value:g}"


KINDS = {
    "size": Kind(
        "Request sizes", "bytes asked for", _bytes, 2.0, up=0.05,
        about="The shaded band is what size.ks accepts before it forgives 1 % of each size.",
        look="A step is a size that many requests have.",
    ),
    "latency": Kind(
        "Service times", "time from submission to completion", _ns, 10.0, aside=0.25,
        about="The shaded band is ±25 %, the tolerance of latency.p50. It depends on the machine and its page cache.",
        look="They depend on the machine and its page cache.",
    ),
    "gap": Kind(
        "Time between arrivals", "time from one submission to the next", _ns, 10.0,
        about="Bursts are the steep part on the left. No criterion is decided on this curve.",
        look="Bursts are the steep part on the left.",
    ),
    "qd": Kind(
        "Queue depth", "ops in flight", _ops, 0.0,
        about="How long how many ops were in flight. It depends on how fast the storage answers.",
        look="How long how many ops were in flight. It depends on how fast the storage answers.",
        share="share of time",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """Both sides' cumulative shares at the upper edges of common bins."""

    low: Floats
    high: Floats
    golden: Floats
    candidate: Floats

    @classmethod
    def of(cls, histogram: Histogram) -> Curves:
        """The curves of a histogram."""
        low, high = np.asarray(histogram.lo, float), np.asarray(histogram.hi, float)
        return cls(low, high, np.cumsum(histogram.golden), np.cumsum(histogram.candidate))

    def quantile(self, cumulative: Floats, q: float) -> float:
        """The middle of the bin in which a quantile lies."""
        at = min(int(np.searchsorted(cumulative, q - 1e-12)), len(self.low) - 1)
        return float((self.low[at] + self.high[at] - 1) / 2)

    def tail(self, cumulative: Floats) -> list[tuple[float, float]]:
        """(1 / share of ops above, value) of a side, up to its largest value: beyond that there is no op to speak of."""
        last = int(np.argmax(cumulative > 1 - 1e-9))
        rarest = max(SPECTRUM_ENDS, 1 - float(cumulative[last - 1]) if last else 1.0)
        shares = [10 ** (-power / 20) for power in range(1 - int(20 * np.log10(SPECTRUM_ENDS)))]
        points = [(1 / share, self.quantile(cumulative, 1 - share)) for share in shares if share > rarest]
        points.append((1 / rarest, self.quantile(cumulative, 1 - rarest / 2)))
        return [(inverse, max(1.0, value)) for inverse, value in points]

    def gap(self) -> tuple[int, float]:
        """The bin at whose upper edge the curves are furthest apart, and how far."""
        apart = np.abs(self.golden - self.candidate)
        at = int(apart.argmax())
        return at, float(apart[at])

    def steps(self, cumulative: Floats) -> list[tuple[float, float]]:
        """A side's curve as points: each bin rises between its edges."""
        below = np.concatenate([[0.0], cumulative[:-1]])
        x = np.column_stack([self.low, np.maximum(self.low, self.high - 1)]).ravel()
        y = np.column_stack([below, cumulative]).ravel()
        # A curve begins at its first value and ends at its last, not at the other side's.
        used = (y > 0) & (np.concatenate([[True], y[:-1] < 1 - 1e-12]))
        first = int(np.argmax(used)) if bool(used.any()) else 0
        used[max(0, first - 1)] = True
        return list(zip(x[used].tolist(), y[used].tolist(), strict=True))


def is_drawn(histogram: Histogram) -> bool:
    """Whether both sides have anything of it."""
    return sum(histogram.golden) > 0 and sum(histogram.candidate) > 0


def ecdf(histogram: Histogram, sides: Sequence[str], *, banded: bool = True) -> Markup:
    """Cumulative shares of both sides, the band if there is to be one, and the largest gap between them."""
    kind, curves = KINDS[histogram.name], Curves.of(histogram)
    frame = Frame.of(_ends(curves, kind), (0.0, 1.0), x_base=kind.base)
    golden, candidate = curves.steps(curves.golden), curves.steps(curves.candidate)
    at, distance = curves.gap()
    said = f"{kind.title}, cumulative: {sides[0]} and {sides[1]} are at most {distance:.3g} apart"
    return picture(
        said,
        frame.axes(
            kind.text,
            lambda share: f"{100 * share:g} %",
            kind.label,
            kind.share,
            # Half an op is never in flight.
            x_ticks=None if kind.base else [value for value in frame.x.ticks() if value == round(value)],
            y_ticks=(0, 0.25, 0.5, 0.75, 1),
        ),
        _band(frame, golden, kind) if banded else "",
        frame.line(golden, "golden"),
        frame.line(candidate, "candidate"),
        _marker(frame, curves, at, distance, kind) if distance >= SHOWN_DISTANCE else "",
    )


def spectrum(histogram: Histogram, sides: Sequence[str], *, banded: bool = True) -> Markup:
    """Service times by percentile, each step to the right a tenfold rarer op."""
    kind, curves = KINDS[histogram.name], Curves.of(histogram)
    lines = [curves.tail(curves.golden), curves.tail(curves.candidate)]
    values = [value for line in lines for _, value in line]
    rarest = max(10.0, *(line[-1][0] for line in lines))
    # Where all ops take the same time, every percentile is that time.
    lines = [line if len(line) > 1 else [*line, (rarest, line[0][1])] for line in lines]
    # A single value still needs an axis around it.
    room = max(1.0, (10 * min(values) / max(values)) ** 0.5)
    frame = Frame.of((1.0, rarest), (min(values) / room, max(values) * room), x_base=10.0, y_base=10.0)
    ticks = [10.0**power for power in range(6) if 10.0**power <= rarest * 1.01]
    said = ", ".join(" and ".join([f"{row[0]} {row[1]}", row[2]]) for row in table(histogram) if row[0] in _SPOKEN)
    return picture(
        f"Service time by percentile, {sides[0]} and {sides[1]}: {said}",
        frame.axes(_percentile, kind.text, "percentile", "service time", x_ticks=ticks),
        _band(frame, lines[0], Kind("", "", kind.text, 10.0), aside_y=kind.aside) if banded else "",
        frame.line(lines[0], "golden"),
        frame.line(lines[1], "candidate"),
    )


def table(histogram: Histogram) -> list[tuple[str, str, str]]:
    """Percentiles of both sides, to be read and copied."""
    kind, curves = KINDS[histogram.name], Curves.of(histogram)
    return [
        (f"p{100 * q:g}", kind.text(curves.quantile(curves.golden, q)), kind.text(curves.quantile(curves.candidate, q)))
        for q in QUANTILES
    ]


def _percentile(inverse: float) -> str:
    return "min" if inverse < 1.5 else f"p{100 - 100 / inverse:.5g}"


def _ends(curves: Curves, kind: Kind) -> tuple[float, float]:
    low, high = float(curves.low[0]), float(curves.high[-1] - 1)
    if not kind.base:
        return 0.0, max(high, 1.0)
    low = max(1.0, low)
    # A single value still needs an axis around it.
    return (low / kind.base, max(high, low) * kind.base) if high < low * kind.base else (low, high)


def _band(frame: Frame, golden: Sequence[tuple[float, float]], kind: Kind, aside_y: float = 0.0) -> Markup:
    if kind.up:
        upper = [(x, min(1.0, y + kind.up)) for x, y in golden]
        return frame.area(upper, [(x, max(0.0, y - kind.up)) for x, y in golden], "band")
    if kind.aside:
        right = [(x * (1 + kind.aside), y) for x, y in golden]
        return frame.area([(x / (1 + kind.aside), y) for x, y in golden], right, "band")
    if aside_y:
        upper = [(x, y * (1 + aside_y)) for x, y in golden]
        return frame.area(upper, [(x, y / (1 + aside_y)) for x, y in golden], "band")
    return joined()


def _marker(frame: Frame, curves: Curves, at: int, distance: float, kind: Kind) -> Markup:
    """A line between the curves where they are furthest apart, with how far."""
    x = frame.x(float(curves.high[at] - 1))
    ends = sorted((frame.y(float(curves.golden[at])), frame.y(float(curves.candidate[at]))))
    to_left = x > (frame.x.start + frame.x.end) / 2
    text = f"D = {distance:.2g} at {kind.text(float(curves.high[at] - 1))}"
    where = x - 8 if to_left else x + 8
    height = min(max((ends[0] + ends[1]) / 2 + 4, TOP + 12), frame.y.start - 6)
    return joined(
        tag("line", class_="gap", x1=x, x2=x, y1=ends[0], y2=ends[1]),
        tag("text", text, class_="mark", x=where, y=height, text_anchor="end" if to_left else "start"),
    )
