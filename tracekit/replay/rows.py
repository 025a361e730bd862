"""A row: what is kept of each op of a compiled trace. tk_row in tracekit/_native/compile.h."""

from __future__ import annotations

import numpy as np

# A value that is not known is NULL. `who` is a number of `tracekit.replay.compile.People`.
ROW = np.dtype(
    [("t_submit", "i8"), ("t_complete", "i8"), ("offset", "i8"), ("len", "i8"), ("ret", "i8"), ("sample_id", "i8"),
     ("uri", "i4"), ("who", "i4"), ("epoch", "i4"), ("step", "i4"), ("op", "i4"), ("kind", "u1"), ("failed", "u1"),
     ("unused", "u1", 2)]
)  # fmt: skip
# Columns of a trace that are fields of a row, and those that a number stands for.
KEPT = ("uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "epoch", "step", "sample_id")
IDENTITIES = ("pid", "tid", "worker", "rank")
