"""A log-linear histogram of non-negative integers: mergeable, compact, with errors that can be stated.

Every octave has 128 buckets of equal width, so a bucket is never wider than 1/128 of its values; below 256 every integer
has a bucket of its own. All histograms share these edges: adding two is adding their counts, in any order, without loss,
and the distance between two distributions can be bracketed (`Histogram.distance`).

The layout is HdrHistogram's (Tene) with 7 bits; t-digests and KLL sketches were rejected: their results depend on the
order of input or on chance, and neither bounds the error of a tail quantile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

SUB_BITS = 7
_HALF = 1 << SUB_BITS
_EXACT = 2 * _HALF
_EXACT_DOUBLES = 1 << 53
_DOUBLE_BUCKET = (1023 + SUB_BITS - 1) * _HALF
LAYOUT = f"log2-linear-{_HALF}"
# The largest difference between a quantile and the value it stands for, as a share of that value.
QUANTILE_ERROR = 1 / _EXACT

Counts = NDArray[np.int64]


def bucket_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket numbers of non-negative integers."""
    # A double is its exponent and then its mantissa: the first seven bits of that, behind the exponent, are the number of
    # the bucket but for a constant. Twenty times as fast as frexp and a shift by a different width for each value.
    if len(values) and int(values.max()) >= _EXACT_DOUBLES:
        # Else the conversion might round up into the next octave.
        values = np.where(values >= _EXACT_DOUBLES, values & ~np.int64(1023), values)
    buckets: Counts = (values.astype(np.float64).view(np.int64) >> (52 - SUB_BITS)) - _DOUBLE_BUCKET
    return np.where(values < _HALF, values, buckets)


def bucket_low(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest value of each bucket."""
    shift = np.maximum(buckets // _HALF - 1, 0)
    low: Counts = (buckets - shift * _HALF) << shift
    return low


def bucket_width(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many integers share each bucket."""
    width: Counts = np.int64(1) << np.maximum(buckets // _HALF - 1, 0)
    return width


class Histogram:
    """Counts of non-negative integers (ns, bytes, depths) in log-linear buckets, with exact count, sum, min and max.

    An empty histogram has no mean, no quantile and no distance: they are None, never 0.
    """

    __slots__ = ("_counts", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._counts: Counts = np.zeros(0, np.int64)
        self.count = 0
        self.total = 0
        self.minimum: int | None = None
        self.maximum: int | None = None

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None) -> Histogram:
        """A histogram of these values (see `add`)."""
        histogram = cls()
        histogram.add(values, weights)
        return histogram

    def add(self, values: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Count values, each `weights` times (default once; values with weight 0 leave no trace).

        Raises:
            ValueError: If a value or weight is negative or no integer, or their lengths differ.
        """
        if weights is None and _is_plain(values):
            self._take(*_counted(values))
            return
        data = _integers(values, "values")
        if weights is None:
            self._take(data, np.bincount(bucket_of(data)), len(data), _exact_sum(data))
            return
        times = _integers(weights, "weights")
        if len(times) != len(data):
            raise ValueError(f"{len(data)} values have {len(times)} weights")
        data, times = data[times > 0], times[times > 0]
        counted = _weighted_counts(bucket_of(data), times)
        self._take(data, counted, _exact_sum(times), _exact_product_sum(data, times))

    def merge(self, other: Histogram) -> None:
        """Count everything the other histogram counted."""
        ends = [end for end in (other.minimum, other.maximum) if end is not None]
        self._take(np.array(ends, np.int64), other._counts, other.count, other.total)

    def __add__(self, other: Histogram) -> Histogram:
        result = Histogram()
        result.merge(self)
        result.merge(other)
        return result

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine = (self.count, self.total, self.minimum, self.maximum)
        theirs = (other.count, other.total, other.minimum, other.maximum)
        return mine == theirs and np.array_equal(self._counts, other._counts)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return self.count > 0

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, {self.minimum} to {self.maximum}>"

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def mean(self) -> float | None:
        """The exact mean (the sum is kept, not reconstructed from the buckets)."""
        return self.total / self.count if self.count else None

    def quantile(self, q: float) -> float | None:
        """The value at rank ⌈q·count⌉ (the inverse of the empirical distribution function), from 0 to 1.

        It is exact below 256, and elsewhere off by less than 1/256 of the value; never outside minimum and maximum.

        Raises:
            ValueError: If `q` is not from 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is from 0 to 1, not {q}")
        if self.minimum is None or self.maximum is None:
            return None
        # The decimal the caller wrote, not its nearest binary: 0.07 of 100 is rank 7, not 8.
        rank = max(1, math.ceil(Fraction(repr(float(q))) * self.count))
        if rank in {1, self.count}:
            return float(self.minimum if rank == 1 else self.maximum)
        bucket = np.atleast_1d(np.searchsorted(np.cumsum(self._counts), rank))
        middle = float(bucket_low(bucket)[0]) + (float(bucket_width(bucket)[0]) - 1) / 2
        return min(max(middle, float(self.minimum)), float(self.maximum))

    def quantiles(self, *levels: float) -> list[float | None]:
        """Several quantiles."""
        return [self.quantile(level) for level in levels]

    def share_below(self, value: int) -> float | None:
        """The share of values below `value`, which should be a bucket edge (else its bucket counts as above)."""
        if not self.count:
            return None
        below = self._counts[: int(bucket_of(np.array([value], np.int64))[0])]
        return float(below.sum() / self.count)

    def distance(self, other: Histogram) -> tuple[float, float] | None:
        """The Kolmogorov-Smirnov distance of the two distributions, as a bracket (at least, at most) that is guaranteed.

        At the shared edges both distribution functions are known exactly; between two edges of a bucket wider than one
        value each may rise at either end. None where one of the two is empty.
        """
        if not self.count or not other.count:
            return None
        size = max(len(self._counts), len(other._counts))
        mine, theirs = _distribution(self, size), _distribution(other, size)
        low = float(np.abs(mine - theirs).max())
        wide = slice(_EXACT, None)
        rise = np.maximum(mine[1:] - theirs[:-1], theirs[1:] - mine[:-1])[wide]
        return low, min(1.0, max(low, float(rise.max(initial=0.0))))

    def buckets(self) -> tuple[Counts, Counts, Counts]:
        """The occupied buckets: smallest value, largest value and count of each, in ascending order."""
        used = np.flatnonzero(self._counts)
        low = bucket_low(used)
        return low, low + (bucket_width(used) - 1), self._counts[used]

    # -- storing ------------------------------------------------------------------------------------------------

    def to_json(self, divisor: int = 1) -> dict[str, Any]:
        """A JSON object: layout, count, sum, min, max, and the occupied buckets by their smallest value.

        Args:
            divisor: Written values are divided by it (1000 writes ns as µs); `sum`, which a double could not always hold
                then, and counts are not.
        """
        low, _, counts = self.buckets()
        return {
            "layout": LAYOUT,
            "divisor": divisor,
            "count": self.count,
            "sum": self.total,
            "min": _scaled(self.minimum, divisor),
            "max": _scaled(self.maximum, divisor),
            "low": [_scaled(value, divisor) for value in low.tolist()],
            "counts": counts.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram a JSON object of `to_json` describes.

        Raises:
            ValueError: If it is of another layout or does not agree with itself.
        """
        if data.get("layout") != LAYOUT:
            raise ValueError(f"the histogram's layout is {data.get('layout')!r}, not {LAYOUT!r}")
        try:
            return _read(data)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"the histogram's JSON is damaged ({error!r})") from None

    def _take(self, seen: NDArray[np.int64], counts: Counts, count: int, total: int) -> None:
        if not count:
            return
        if len(counts) > len(self._counts):
            counts, self._counts = self._counts, counts.astype(np.int64)
        self._counts[: len(counts)] += counts
        self.count += count
        self.total += total
        low, high = int(seen.min()), int(seen.max())
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)


def _is_plain(values: ArrayLike) -> TypeGuard[Counts]:
    """Whether the core takes them as they are."""
    if _core is None:
        return False
    if not isinstance(values, np.ndarray):
        return False
    return values.dtype == np.int64 and values.ndim == 1 and len(values) > 0


def _counted(values: Counts) -> tuple[Counts, Counts, int, int]:
    """The smallest and the largest of some values, their counts by bucket, how many they are, and their sum."""
    data, counts = np.ascontiguousarray(values), np.zeros(_core.tally_buckets(), np.int64)
    low, high, upper, lower = _core.tally_histogram(len(data), data.ctypes.data, counts.ctypes.data)
    ends = np.array([low, high], np.int64)
    return ends, counts[: int(bucket_of(ends)[1]) + 1], len(data), (upper << 64) + lower


def _integers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    array = np.atleast_1d(np.asarray(values))
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"a histogram's {what} are integers in one dimension, not {array.dtype}")
    if bool((array < 0).any()) or int(array.max()) >= 2**63:
        raise ValueError(f"a histogram's {what} are from 0 to 2^63 - 1")
    return array.astype(np.int64, copy=False)


def _weighted_counts(buckets: NDArray[np.int64], weights: NDArray[np.int64]) -> Counts:
    # Not np.bincount(weights=...), which adds in floats: nanoseconds are exact here.
    counts = np.zeros(int(buckets.max()) + 1 if len(buckets) else 0, np.int64)
    np.add.at(counts, buckets, weights)
    return counts


def _exact_sum(values: NDArray[np.int64]) -> int:
    # In halves, so that many large values do not wrap around.
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def _exact_product_sum(values: NDArray[np.int64], weights: NDArray[np.int64]) -> int:
    if not len(values) or int(values.max()) * _exact_sum(weights) < 2**63:
        return int((values * weights).sum())
    return sum(value * weight for value, weight in zip(values.tolist(), weights.tolist(), strict=True))


def _distribution(histogram: Histogram, size: int) -> NDArray[np.float64]:
    function = np.zeros(size + 1)
    counts = np.cumsum(histogram._counts)
    function[1 : len(counts) + 1] = counts / histogram.count
    function[len(counts) + 1 :] = 1.0
    return function


def _scaled(value: int | None, divisor: int) -> int | float | None:
    if value is None or divisor == 1:
        return value
    return value / divisor if value % divisor else value // divisor


def _unscaled(value: float, divisor: int) -> int:
    return round(value * divisor)


def _read(data: Mapping[str, Any]) -> Histogram:
    divisor, count = int(data["divisor"]), data["count"]
    low = _integers([_unscaled(value, divisor) for value in data["low"]], "buckets")
    counts = _integers(data["counts"], "counts")
    ends = [_unscaled(data[key], divisor) for key in ("min", "max") if data[key] is not None]
    fits = len(low) == len(counts) and int(counts.sum()) == count and len(ends) == (2 if len(low) else 0)
    if not fits or bool((counts == 0).any()):
        raise ValueError("the histogram's buckets do not agree with its count")
    result = Histogram()
    result._take(np.array(ends, np.int64), _weighted_counts(bucket_of(low), counts), count, int(data["sum"]))
    return result


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """One histogram of everything that several counted."""
    result = Histogram()
    for histogram in histograms:
        result.merge(histogram)
    return result
