"""What an op does, as far as the replayer tells ops apart."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import Trace


class Kind(IntEnum):
    """One kind; the values are those of tk_kind in tracekit/_native/engine.h."""

    READ = 0
    OPEN = 1
    CLOSE = 2
    STAT = 3
    LIST = 4
    MMAP = 5
    FSYNC = 6
    WRITE = 7
    DELETE = 8
    UNKNOWN = 9


CHANGES = (Kind.FSYNC, Kind.WRITE, Kind.DELETE)
_NAMES = {kind.name.lower(): kind for kind in Kind if kind is not Kind.UNKNOWN} | {"fdatasync": Kind.FSYNC}


def kinds_of(trace: Trace) -> NDArray[np.int8]:
    """The `Kind` of each op; names nobody knows are UNKNOWN."""
    return np.asarray(kind_table(trace)[trace.col("op")], np.int8)


def kind_table(trace: Trace) -> NDArray[np.int8]:
    """The `Kind` of each name in the trace's table of ops."""
    return np.array([_NAMES.get(name, Kind.UNKNOWN) for name in trace.strings("op")] or [Kind.READ], np.int8)
