"""The data ops of a trace, sorted and with everything derived that several metrics need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Mask, Trace

Ints = NDArray[np.int64]
DATA_KINDS = ("read", "write")


@dataclass(frozen=True)
class View:
    """One trace in order of submission, and its data ops (reads and writes) as columns.

    Object requests are counted once: where a trace has logical requests, their wire requests are left out here.
    """

    source: Trace
    trace: Trace
    data: NDArray[np.intp]
    wire: int

    @classmethod
    def of(cls, trace: Trace) -> View:
        """The view of a trace."""
        ordered = trace.sorted()
        wire = 0
        if "level" in ordered and bool(ordered.mask("level", "logical").any()):
            on_wire = ordered.mask("level", "wire")
            wire = int(on_wire.sum())
            ordered = ordered.select(~on_wire) if wire else ordered
        return cls(trace, ordered, np.flatnonzero(ordered.mask("op", *DATA_KINDS)), wire)

    def col(self, name: str) -> Ints:
        """A column of the data ops."""
        if name not in self.trace:
            return np.broadcast_to(np.int64(NULL), len(self.data))
        column = self.trace.columns[name].astype(np.int64, copy=False)
        return column if len(self.data) == len(column) else column[self.data]

    @cached_property
    def submit(self) -> Ints:
        """When each data op was issued, ns, ascending."""
        return self.col("t_submit")

    @cached_property
    def complete(self) -> Ints:
        """When each data op returned, ns; NULL where it is not known."""
        return self.col("t_complete")

    @cached_property
    def sizes(self) -> Ints:
        """How much each data op asked for, bytes."""
        return self.col("len")

    @cached_property
    def failed(self) -> Mask:
        """Which data ops ended in an error."""
        failed: Mask = self.col("err") != NULL
        return failed

    @cached_property
    def moved(self) -> Ints:
        """How much each data op moved, bytes: what it returned, else what it asked for, nothing where it failed."""
        returned = self.col("ret")
        known = returned != NULL
        if bool(known.all()):
            return returned
        return np.where(known, returned, np.where(self.failed, 0, self.sizes))

    @cached_property
    def reads(self) -> Mask:
        """Which data ops are reads."""
        return self.trace.mask("op", "read")[self.data]

    @cached_property
    def timed(self) -> Mask:
        """Which data ops have a service time that can be true: completed, and not before they began."""
        timed: Mask = (self.complete != NULL) & (self.complete >= self.submit)
        return timed

    @cached_property
    def streams(self) -> Ints | None:
        """A number for the stream (rank, pid, tid) of each data op; None where the trace has neither pid nor tid."""
        if "pid" not in self.trace and "tid" not in self.trace:
            return None
        return codes_of(self.col("rank"), self.col("pid"), self.col("tid"))


def codes_of(*columns: Ints) -> Ints:
    """Numbers from 0 for the distinct rows of columns of 32-bit values (NULL allowed), in their sorted order."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        if len(column) and not bool((column == column[0]).all()):
            _, codes = np.unique((codes << 32) + (column.astype(np.int64) + 1), return_inverse=True)
    return codes.reshape(-1)


def distinct(values: Ints) -> int:
    """How many different values there are."""
    return len(np.unique(values))
