"""By which requests files are read: shapes are tried until one predicts what was recorded, request by request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.workload.distil.found import EXACT, HIGH, LOW, MEDIUM, Found
from tracekit.workload.distil.visits import Request, Visits
from tracekit.workload.shape import Shape

# So many visits are compared: that is exact enough, and quick.
_LOOKED_AT = 240
_PERIODS = range(2, 17)
_BUFFERS = (4096, 8192, 65536, 131072)
# Below, sizes are drawn rather than predicted.
_PREDICTS = 0.5
_QUANTILES = 33


@dataclass(frozen=True)
class Fit:
    """A shape and how well it fits.

    Args:
        settings: Of the `Shape`.
        share: The share of the visits whose requests it predicts, all of them.
        visits: How many were compared.
    """

    settings: dict[str, Any]
    share: float
    visits: int

    def found(self) -> dict[str, Found]:
        """The settings with how sure they are."""
        level = EXACT if self.share == 1 else HIGH if self.share >= 0.9 else MEDIUM if self.share >= _PREDICTS else LOW
        how = f"predicts all requests of {self.share:.0%} of the visits" if self.share >= _PREDICTS else "drawn: no rule predicts the requests"  # fmt: skip
        off = "" if self.share == 1 else "single requests may differ, the distribution is kept"
        return {name: Found(value, level, how, self.visits, off) for name, value in self.settings.items()}


def fit(visits: Visits, unit: str) -> Fit:
    """The shape that predicts most of the sequential visits.

    Args:
        visits: Of the data set.
        unit: `file` or `stream`, as in `Shape`.
    """
    sequential = visits.at(visits.sequential)
    chosen = np.unique(np.linspace(0, len(sequential) - 1, min(len(sequential), _LOOKED_AT)).astype(int))
    seen = [(sequential.size(visit), sequential.requests(visit)) for visit in chosen.tolist()]
    best = Fit({}, -1.0, len(seen))
    for settings in _candidates(seen):
        share = _share(Shape(unit, **settings), seen)
        if share > best.share:
            best = Fit(settings, share, len(seen))
        if share == 1:
            break
    return best if best.share >= _PREDICTS else _drawn(seen)


def _share(shape: Shape, seen: Sequence[tuple[int, list[Request]]]) -> float:
    return sum(shape.requests(size) == requests for size, requests in seen) / max(len(seen), 1)


def _candidates(seen: Sequence[tuple[int, list[Request]]]) -> Iterator[dict[str, Any]]:
    """Settings to be tried, the simplest first."""
    for settings in _sizes(seen):
        for ending in ("known", "retry", "again", "short"):
            yield settings | {"ending": ending}
        for buffer in _BUFFERS:
            yield settings | {"ending": "buffered", "buffer": buffer}


def _sizes(seen: Sequence[tuple[int, list[Request]]]) -> Iterator[dict[str, Any]]:
    few = max((len(requests) for _, requests in seen), default=0) <= 2
    wholes, others = list(_wholes(seen)), [*_constant(seen), *_cycles(seen)]
    yield from [*wholes, *others] if few else [*others, *wholes]


def _constant(seen: Sequence[tuple[int, list[Request]]]) -> Iterator[dict[str, Any]]:
    """One size after up to three others."""
    for count in range(4):
        head = _head(seen, count)
        steady = _usual(requests[count][1] for _, requests in seen if len(requests) > count + 1)
        if steady is None:
            steady = _usual(requests[count][1] for _, requests in seen if len(requests) > count)
        if head is not None and steady:
            yield {"smallest": steady, "largest": steady} | ({"head": list(head)} if head else {})


def _cycles(seen: Sequence[tuple[int, list[Request]]]) -> Iterator[dict[str, Any]]:
    """Sizes that follow each other again and again."""
    longest = max((requests for _, requests in seen), key=len, default=[])
    lengths = [length for _, length in longest][:-2]
    for period in _PERIODS:
        if len(lengths) >= 2 * period and all(a == b for a, b in zip(lengths, lengths[period:], strict=False)):
            yield {"cycle": lengths[:period]}


def _wholes(seen: Sequence[tuple[int, list[Request]]]) -> Iterator[dict[str, Any]]:
    """All that is left in one request, perhaps with some bytes beyond."""
    for count in range(3):
        head = _head(seen, count)
        beyond = _usual(
            requests[count][1] - (size - requests[count][0]) for size, requests in seen if len(requests) > count
        )
        if head is not None and beyond is not None and beyond >= 0:
            yield {"whole": True, "beyond": beyond} | ({"head": list(head)} if head else {})


def _head(seen: Sequence[tuple[int, list[Request]]], count: int) -> tuple[int, ...] | None:
    found = [_usual(requests[place][1] for _, requests in seen if len(requests) > place) for place in range(count)]
    return None if None in found else tuple(size for size in found if size is not None)


def _usual(values: Iterator[int]) -> int | None:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def _drawn(seen: Sequence[tuple[int, list[Request]]]) -> Fit:
    """Sizes as they are distributed, where nothing predicts them."""
    lengths = np.array([length for size, requests in seen for offset, length in requests if offset < size], np.int64)
    ends = [offset + length > size for size, requests in seen for offset, length in requests[-1:]]
    beyond = bool(ends) and float(np.mean(ends)) > 0.5
    settings: dict[str, Any] = {"smallest": int(lengths.min()), "largest": int(lengths.max())}
    settings["ending"] = "short" if beyond else "known"
    spread = np.abs(np.quantile(lengths, np.linspace(0, 1, 21)) - np.linspace(lengths.min(), lengths.max(), 21))
    if float(spread.max()) > 0.1 * max(settings["largest"] - settings["smallest"], 1):
        settings["sizes"] = np.quantile(lengths, np.linspace(0, 1, _QUANTILES)).round().astype(int).tolist()
    return Fit(settings, 0.0, len(seen))
