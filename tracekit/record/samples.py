"""Sample ids of ops: integers as they are, names by code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracekit.record.parts import Part
from tracekit.trace import NULL, StringTable, encode_samples


def sample_codes(part: Part, contexts: NDArray[np.int64], table: StringTable) -> NDArray[np.int64]:
    """The codes of the samples in contexts (worker, epoch, step, sample, run); names go into the table."""
    codes: NDArray[np.int64] = contexts[:, 3].copy()
    named = codes < NULL
    if named.any():
        kinds, places = np.unique(codes[named], return_inverse=True)
        names = [part.samples.get(int(code), str(code)) for code in kinds]
        codes[named] = encode_samples(names, table)[places]
    return codes
