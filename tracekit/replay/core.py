"""The compiler's loops in C: the same rows, counts and ops as by NumPy, a few times as fast.

What is counted lies in the same arrays as the readable twin's (`tracekit.replay.survey`); a property test holds the two
against each other.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError
from tracekit.replay.kinds import kind_table
from tracekit.replay.records import Block
from tracekit.replay.rows import IDENTITIES, ROW
from tracekit.replay.survey import Survey
from tracekit.trace import COLUMNS, Trace

_WIDE = ("t_submit", "t_complete", "offset", "len", "ret", "sample_id")
_NARROW = ("uri", "epoch", "step", "op", "err")
PIECE = np.dtype([(name, "u8") for name in (*_WIDE, *_NARROW, *IDENTITIES, "kinds", "rows")] + [("count", "i8")])
_PER_STREAM = {
    "ops": "count", "start": "start", "end": "end", "largest": "largest", "touched": "touched", "last_end": "last_end",
    "who": "who",
}  # fmt: skip
_PER_FILE = ("first_change", "first_use", "extent", "written", "used", "listed")
_TOTALS = (
    "in_flight", "most_in_flight", "busy", "overlaps", "appended", "mappings", "mapped", "held", "most_held", "last", "kinds", "untimed", "without_offset"
)  # fmt: skip
SURVEY = np.dtype(
    [("rows", "u8"), ("streams", "u8"), ("count", "i8"), ("first", "i8"),
     *((name, "u8") for name in (*_PER_STREAM, *_PER_FILE, "gaps", "running")), *((name, "i8") for name in _TOTALS)]
)  # fmt: skip
DEAL = np.dtype(
    [("rows", "u8"), ("streams", "u8"), ("count", "i8"), ("first", "i8"), ("origin", "i8"), ("speed", "f8"), ("next", "u8"),
     ("ended", "u8"), ("leads", "u8"), ("stream_count", "i8"), ("pace", "i4"), ("fd", "i4")]
)  # fmt: skip
LAYOUTS = {"row": ROW, "piece": PIECE, "survey": SURVEY, "deal": DEAL}
PACES = {"recorded": 0, "think": 1, "asap": 2}


def native_core() -> Native | None:
    """The core, where there is one."""
    try:
        from tracekit import _core
    except ImportError:
        return None
    return Native(_core)


class Native:
    """One compilation by the core.

    Args:
        core: The module `tracekit._core`.
    """

    def __init__(self, core: ModuleType) -> None:
        self.core = core
        self._people = core.people()
        self._piece = np.zeros(1, PIECE)

    def rows(self, piece: Trace) -> Block:
        """The rows of a piece (`tracekit.replay.compile.People.rows`)."""
        block = np.empty(len(piece), ROW)
        # What is pointed to is kept here until the call is over.
        arrays: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(piece.columns[name], COLUMNS[name].dtype)
            for name in (*_WIDE, *_NARROW, *IDENTITIES)
            if name in piece
        }
        arrays |= {"kinds": kind_table(piece), "rows": block}
        for name in PIECE.names or ():
            self._piece[name] = address(arrays[name]) if name in arrays else 0
        self._piece["count"] = len(piece)
        self.core.compile_rows(self._people, address(self._piece))
        return block

    def people(self) -> NDArray[np.int32]:
        """The combinations that issue ops, one per number."""
        return np.frombuffer(self.core.people_known(self._people), np.int32).reshape(-1, len(IDENTITIES))

    def survey(self, files: int) -> Survey:
        """A survey that counts in the core."""
        return _Survey(self.core, files)


class _Survey(Survey):
    def __init__(self, core: ModuleType, files: int) -> None:
        super().__init__(files)
        self._core = core
        self._job = np.zeros(1, SURVEY)
        self._job["last"] = -1
        self._running = np.zeros(0, np.int64)

    @property
    def depth(self) -> dict[str, float] | None:
        """Ops in flight; None where not every op says when it completed."""
        if not self.ops or self._untimed:
            return None
        span = int(self.threads["end"].max() - self.threads["start"].min())
        return {
            "mean": round(int(self._job["busy"][0]) / span, 4) if span else 0.0,
            "max": int(self._job["most_in_flight"][0]),
        }

    def _count(self, stream: NDArray[np.int32], block: Block) -> None:
        job, stream = self._job, np.ascontiguousarray(stream, np.int32)
        job["rows"], job["streams"], job["count"], job["first"] = address(block), address(stream), len(block), self.ops
        for field, column in _PER_STREAM.items():
            job[field] = address(self.threads[column])
        for field in _PER_FILE:
            job[field] = address(getattr(self.uses, field))
        job["gaps"] = address(self.gaps.counts)
        in_flight = int(job["in_flight"][0])
        if in_flight + len(block) > len(self._running):
            self._running = np.append(self._running[:in_flight], np.zeros(in_flight + 2 * len(block), np.int64))
        job["running"] = address(self._running)
        self._core.compile_survey(address(job))
        if self.gaps.is_short(self.ops + len(block)):
            self.gaps.keep(block["t_submit"])
        self._take_over(job[0])

    def _take_over(self, found: np.void) -> None:
        self.threads.overlaps, self.uses.appended = int(found["overlaps"]), int(found["appended"])
        self.mappings, self.mapped, self.held.most = (
            int(found["mappings"]),
            int(found["mapped"]),
            int(found["most_held"]),
        )
        self.without_offset, self._untimed = int(found["without_offset"]), int(found["untimed"])
        self.kinds = {bit for bit in range(64) if int(found["kinds"]) >> bit & 1}


class Dealer:
    """Puts rows down as ops, stream by stream.

    Args:
        core: The module `tracekit._core`.
        leads: The pause before each stream's first op.
        next_place: By stream: where its next op goes.
        fixed: `origin`, `speed`, `pace` and `fd`.
    """

    def __init__(
        self, core: ModuleType, leads: NDArray[np.int64], next_place: NDArray[np.int64], **fixed: float
    ) -> None:
        self._core = core
        self._kept = leads, next_place, np.zeros(len(leads), np.int64)
        self._job = np.zeros(1, DEAL)
        for name, array in zip(("leads", "next", "ended"), self._kept, strict=True):
            self._job[name] = address(array)
        self._job["stream_count"] = len(leads)
        for name, value in fixed.items():
            self._job[name] = value

    def put(self, first: int, block: Block, stream: NDArray[np.int32]) -> None:
        """Put a block down, the first row of which is op number `first`.

        Raises:
            CannotRunError: If the disk is full.
        """
        stream = np.ascontiguousarray(stream, np.int32)
        job = self._job
        job["rows"], job["streams"], job["count"], job["first"] = address(block), address(stream), len(block), first
        try:
            self._core.compile_deal(address(job))
        except OSError as error:
            raise CannotRunError(f"the replay's working file cannot be written: {error.strerror}") from None


def address(array: NDArray[Any]) -> int:
    """Where an array lies."""
    return int(array.ctypes.data)
