"""Rows of several columns by number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def numbered(*columns: NDArray[np.signedinteger]) -> Ints:
    """A number for each row, from 0 in the order of their values; rows of the same values have the same.

    NumPy's own, over an axis, compares rows as bytes: ten times as slow.
    """
    number = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, code = np.unique(column, return_inverse=True)
        # Numbered anew after each column, so that no product of counts grows beyond what fits.
        _, number = np.unique(number * max(len(values), 1) + code.reshape(-1), return_inverse=True)
        number = number.reshape(-1)
    return number.astype(np.int64)
