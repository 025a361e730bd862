"""Service times of many keys at once (files, workers), kept as counts so that pieces of a trace can be added up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Times in ns from 1 to 2^42 (73 minutes) in 16 buckets an octave: what a single-precision number keeps in its first bits.
_OCTAVES = 42
_FINEST = 4
_MANTISSA = 23
_BIAS = 127
# Counts kept; beyond it two buckets become one, until an octave is one, and then there are too many keys to keep any.
_MOST_CELLS = 1 << 24
_ROWS = 256


class KeyedTimes:
    """A log-linear histogram for every key, coarser the more keys there are; a bucket is an octave at the least.

    `tracekit.histogram` has finer buckets; for each of many thousand files they would take too much memory.
    """

    def __init__(self, most: int = _MOST_CELLS) -> None:
        self._most = most
        # Buckets in an octave, as a power of two; below zero: given up.
        self._bits = _FINEST
        self._counts = np.zeros((0, _OCTAVES << _FINEST), np.int64)

    @property
    def error(self) -> float | None:
        """The largest difference between a quantile and the value it stands for, as a share of it; None: no quantiles."""
        return None if self._bits < 0 else 1 / (2 << self._bits)

    def grow(self, keys: int) -> None:
        """Make room for so many keys."""
        while self._bits >= 0 and keys * (_OCTAVES << self._bits) > self._most:
            self._bits -= 1
            if self._bits < 0:
                self._counts = np.zeros((0, _OCTAVES), np.int64)
                return
            self._counts = self._counts.reshape(len(self._counts), _OCTAVES << self._bits, 2).sum(axis=2)
        if keys > len(self._counts) and self._bits >= 0:
            more = np.zeros((keys - len(self._counts), self._counts.shape[1]), np.int64)
            # Zeros that nobody touches take no time; to copy them would.
            self._counts = np.concatenate([self._counts, more]) if len(self._counts) else more

    def add(self, keys: Ints, times: Ints) -> None:
        """Count times (ns, not negative) of keys for which there is room."""
        if self._bits < 0:
            return
        width = self._counts.shape[1]
        if _core is None:
            np.add.at(self._counts.reshape(-1), keys * width + self._bucket(times), 1)
            return
        keys, times = np.ascontiguousarray(keys, np.int64), np.ascontiguousarray(times, np.int64)
        places = keys.ctypes.data, times.ctypes.data, self._bits, width, self._counts.ctypes.data
        _core.keyed_times(len(keys), *places)

    def quantiles(self, keys: NDArray[np.intp], *levels: float) -> list[list[float | None]]:
        """For each level, the quantile of each of these keys in ns; None where a key has no times."""
        chosen = np.ascontiguousarray(keys, np.int64)
        ops = np.concatenate([self._counts[part].sum(axis=1) for part in _parts(chosen)]) if len(chosen) else chosen
        middles, there = self._middles(), ops > 0
        out: list[list[float | None]] = []
        for level in levels:
            values = middles[self._reached(chosen, np.maximum(np.ceil(level * ops), 1).astype(np.int64))]
            found: list[float | None] = values.tolist()
            for place in np.flatnonzero(~there).tolist():
                found[place] = None
            out.append(found)
        return out

    def _reached(self, keys: Ints, ranks: Ints) -> Ints:
        """The bucket of each key at which as many times are counted as its rank says."""
        width = self._counts.shape[1]
        if _core is None:
            parts = zip(_parts(keys), _parts(ranks), strict=True)
            below = [(np.cumsum(self._counts[part], axis=1) < rank[:, None]).sum(axis=1) for part, rank in parts]
            return np.concatenate(below).clip(max=width - 1) if below else keys
        found = np.empty(len(keys), np.int64)
        arrays = (self._counts, keys, ranks, found)
        _core.keyed_ranks(len(keys), width, *(array.ctypes.data for array in arrays))
        return found

    def joined(self, groups: Ints, count: int) -> KeyedTimes:
        """The times of `count` groups of keys: `groups` says for each key which one it belongs to."""
        out = KeyedTimes(self._most)
        out._bits = self._bits
        out._counts = np.zeros((count if self._bits >= 0 else 0, self._counts.shape[1]), np.int64)
        np.add.at(out._counts, groups[: len(self._counts)], self._counts)
        return out

    def _bucket(self, times: Ints) -> Ints:
        bits = np.maximum(times, 1).astype(np.float32).view(np.int32) >> (_MANTISSA - self._bits)
        bucket = bits - (_BIAS << self._bits)
        return np.asarray(np.minimum(bucket, (_OCTAVES << self._bits) - 1), np.int64)

    def _middles(self) -> Floats:
        parts = 1 << max(self._bits, 0)
        number = np.arange(_OCTAVES * parts)
        low = 2.0 ** (number // parts) * (1 + number % parts / parts)
        middles: Floats = low * (1 + 1 / (2 * (parts + number % parts)))
        return middles


def _parts(values: Ints) -> list[Ints]:
    """The values in parts: rows of all keys at once are as large as the counts themselves."""
    return [values[start : start + _ROWS] for start in range(0, len(values), _ROWS)]
