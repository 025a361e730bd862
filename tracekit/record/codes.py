"""Which whole numbers stand in a column, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 1 << 16


def distinct(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """What `np.unique(values, return_inverse=True)` gives, for numbers from 0 on, without sorting where they are small."""
    largest = int(values.max()) if len(values) else 0
    if largest > max(4 * len(values), _SMALL):
        kinds, places = np.unique(values, return_inverse=True)
        return kinds, places.reshape(-1)
    kinds = np.flatnonzero(np.bincount(values))
    lookup = np.zeros(largest + 1, np.intp)
    lookup[kinds] = np.arange(len(kinds))
    return kinds, lookup[values]
