"""Axes and lines as inline SVG: coordinates in a fixed box, colours by class, so that one page has them light, dark and printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.report.markup import Markup, joined, number, tag

# Small enough that its 12-unit text can be read where the whole is 360 pixels wide.
WIDTH, HEIGHT = 480.0, 282.0
# On a phone its text is half as large again, so there is room above (what the y axis is) and below (numbers, what the x axis is).
LEFT, RIGHT, TOP, BOTTOM = 60.0, 12.0, 30.0, 46.0
_TICKS = 5
# So few powers of ten on an axis do not tell what lies between them.
_FEW, _DECIMAL = 2, 10.0


@dataclass(frozen=True)
class Scale:
    """From values to coordinates.

    Args:
        low: The value at `start`.
        high: The value at `end`.
        start: The first coordinate.
        end: The last one.
        base: The base of a logarithmic scale; 0 is linear.
    """

    low: float
    high: float
    start: float
    end: float
    base: float = 0.0

    def __call__(self, value: float) -> float:
        """Where a value is; values beyond the ends are put there."""
        share = (self._place(value) - self._place(self.low)) / self._span()
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, most: int = _TICKS) -> list[float]:
        """Round values along the scale."""
        return self._powers(most) if self.base else self._rounds(most)

    def _place(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.base else value

    def _span(self) -> float:
        return (self._place(self.high) - self._place(self.low)) or 1.0

    def _powers(self, most: int) -> list[float]:
        powers = self._whole_powers(most)
        if len(powers) > _FEW or self.base != _DECIMAL:
            return powers
        # Within a decade or two the steps between powers are needed; within less than one, any round value.
        lowest = math.floor(math.log10(self.low))
        for nice in ((1, 2, 5), (1, 3)):
            steps = [10.0**power * step for power in range(lowest, lowest + 4) for step in nice]
            between = [step for step in steps if self.low * (1 - 1e-9) <= step <= self.high * (1 + 1e-9)]
            if 1 < len(between) <= most:
                return between
        return self._rounds(most) if self.high < 10 * self.low else powers

    def _whole_powers(self, most: int) -> list[float]:
        first = math.ceil(math.log(self.low, self.base) - 1e-9)
        last = math.floor(math.log(self.high, self.base) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / most))
        return [self.base**power for power in range(first, last + 1, step)]

    def _rounds(self, most: int) -> list[float]:
        rough = (self.high - self.low) / most or 1.0
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * nice for nice in (1, 2, 5, 10) if size * nice >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Frame:
    """The area of a picture that has an x and a y axis."""

    x: Scale
    y: Scale
    height: float = HEIGHT

    @classmethod
    def of(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        x_base: float = 0.0,
        y_base: float = 0.0,
        height: float = HEIGHT,
    ) -> Frame:
        """The frame whose axes have these ends."""
        across = Scale(*x, LEFT, WIDTH - RIGHT, x_base)
        return cls(across, Scale(*y, height - BOTTOM, TOP, y_base), height)

    def axes(
        self,
        x_text: Callable[[float], str],
        y_text: Callable[[float], str],
        x_label: str,
        y_label: str,
        *,
        x_ticks: Sequence[float] | None = None,
        y_ticks: Sequence[float] | None = None,
    ) -> Markup:
        """Grid, numbers, what the x axis is below, and what the y axis is above."""
        floor = self.height - BOTTOM
        drawn: list[Markup] = []
        for value in self.y.ticks() if y_ticks is None else y_ticks:
            at = self.y(value)
            drawn.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
            drawn.append(tag("text", y_text(value), x=LEFT - 6, y=at + 4, text_anchor="end"))
        for value in self.x.ticks() if x_ticks is None else x_ticks:
            at = self.x(value)
            drawn.append(tag("line", class_="tick", x1=at, x2=at, y1=floor, y2=floor + 4))
            # What would stick out at the right is moved in.
            place, anchor = (WIDTH, "end") if at > WIDTH - 28 else (at, "middle")
            drawn.append(tag("text", x_text(value), x=place, y=floor + 18, text_anchor=anchor))
        drawn.append(tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor))
        middle = (LEFT + WIDTH - RIGHT) / 2
        drawn.append(tag("text", x_label, class_="label", x=middle, y=floor + 38, text_anchor="middle"))
        drawn.append(tag("text", y_label, class_="label", x=0, y=TOP - 15))
        return joined(*drawn)

    def line(self, points: Sequence[tuple[float, float]], class_: str) -> Markup:
        """A line through points given in values; those that would lie on the same tenth of a pixel are left out."""
        return tag("path", class_=f"line {class_}", d=_path(self._placed(points)))

    def area(self, upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], class_: str) -> Markup:
        """What lies between two lines."""
        outline = _path([*self._placed(upper), *reversed(self._placed(lower))])
        return tag("path", class_=class_, d=f"{outline}Z" if outline else "")

    def dots(self, points: Sequence[tuple[float, float]], class_: str) -> Markup:
        """A dot at each point: one path, as thousands of circles would make the page slow."""
        places = dict.fromkeys(f"M{number(self.x(x))} {number(self.y(y))}h0" for x, y in points)
        return tag("path", class_=f"dots {class_}", d="".join(places))

    def _placed(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return _thinned([(self.x(x), self.y(y)) for x, y in points])


def picture(description: str, *parts: str, height: float = HEIGHT, width: float = WIDTH) -> Markup:
    """An SVG element with a description for those who do not see it."""
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=description)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without points in the middle of a straight stretch and without those nearer than a third of a pixel to the last one."""
    kept: list[tuple[float, float]] = []
    for index, (x, y) in enumerate(points):
        if kept and index < len(points) - 1 and abs(x - kept[-1][0]) + abs(y - kept[-1][1]) < 0.34:
            continue
        if len(kept) > 1 and (kept[-1][0] == kept[-2][0] == x or kept[-1][1] == kept[-2][1] == y):
            # Only where it goes on in the same direction: a peak must not be cut off.
            before = (kept[-1][0] - kept[-2][0]) + (kept[-1][1] - kept[-2][1])
            if before * ((x - kept[-1][0]) + (y - kept[-1][1])) >= 0:
                kept[-1] = (x, y)
                continue
        kept.append((x, y))
    return kept


def _path(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
