"""The ops as an engine walks through them: one stream behind the other, on disk, with the time that the pace asks for."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError
from tracekit.replay.compile import Program, Stream
from tracekit.replay.core import PACES, Dealer, native_core
from tracekit.replay.kinds import Kind
from tracekit.replay.options import Options
from tracekit.replay.records import Block, Records
from tracekit.replay.survey import NEVER, end_of, ends_of, previous
from tracekit.storage.base import MAX_READ_BYTES
from tracekit.trace import NULL

# tk_op in tracekit/_native/engine.h.
OP = np.dtype(
    [("time", "i8"), ("offset", "i8"), ("length", "u4"), ("file", "i4"), ("order", "u4"), ("kind", "u1"), ("flags", "u1"),
     ("unused", "u1", 2)]
)  # fmt: skip
_EXPECTED = 1
_MOST = 2**32
Int64s = NDArray[np.int64]


class Ops:
    """The ops of a program on disk, stream by stream.

    `time` is when an op is due after the start of the run (recorded), or the think time before it (think), in ns and
    divided by the speed; 0 where nothing is waited for. Offsets that the trace does not have are made up here, as asked
    for, and written into the program's rows too.

    Args:
        program: The compiled trace.
        options: What was asked for.
        pace: recorded, think or asap.
        folder: Where the file is made.

    Raises:
        InputError: If there are more ops than a number of 32 bits can count.
    """

    def __init__(self, program: Program, options: Options, pace: str, folder: str | None) -> None:
        if len(program) >= _MOST:
            raise InputError(f"the trace has {len(program)} ops, and a replay has at most {_MOST - 1}", "use --select")
        self.records = Records(OP, folder)
        self.without_offset = 0
        self._program, self._options, self._pace = program, options, pace
        self._next = np.array([stream.first for stream in program.streams], np.int64)
        self._ended = np.zeros(len(program.streams), np.int64)
        self._leads = np.array([stream.lead for stream in program.streams], np.int64)
        offsets, dealer = _Offsets(program, options.null_offset), self._dealer()
        for first, block in program.rows.blocks():
            stream = program.streams_of(block)
            if program.without_offset or options.null_offset == "sequential":
                self.without_offset += offsets.complete(first, block, stream)
            if dealer is None:
                self._put(first, block, stream)
            else:
                dealer.put(first, block, stream)
        self.records.refresh()

    def asked(self, order: NDArray[np.intp]) -> Int64s:
        """How many bytes ops ask for in the trace, by their places in the order of time."""
        return np.asarray(self._program.rows.take(order)["len"])

    @property
    def speed(self) -> float:
        """What times were divided by."""
        return self._options.speed

    def _dealer(self) -> Dealer | None:
        core = native_core()
        if core is None:
            return None
        return Dealer(
            core.core, self._leads, self._next, origin=self._program.origin, speed=self._options.speed, pace=PACES[self._pace],
            fd=self.records.descriptor,
        )  # fmt: skip

    def _put(self, first: int, block: Block, stream: NDArray[np.int32]) -> None:
        think, order = self._think(stream, block)
        out = np.zeros(len(block), OP)
        if self._pace != "asap":
            out["time"] = (
                think if self._pace == "think" else scaled(block["t_submit"] - self._program.origin, self.speed)
            )
        out["offset"], out["length"] = block["offset"], np.minimum(block["len"], MAX_READ_BYTES)
        out["file"], out["kind"] = block["uri"], block["kind"]
        out["order"] = np.arange(first, first + len(block))
        out["flags"] = np.where(block["failed"] != 0, _EXPECTED, 0)
        self._deal(stream[order], out[order])

    def _think(self, stream: NDArray[np.int32], block: Block) -> tuple[Int64s, NDArray[np.intp]]:
        """The pause before each op: from the end of the op before to its submit, 0 where they overlapped."""
        # One more than the time, so that 0 is left for a stream that has not begun.
        ahead, order = previous(stream, ends_of(block) + 1, self._ended)
        pause = np.maximum(block["t_submit"] - (ahead - 1), 0)
        return scaled(np.where(ahead == 0, self._leads[stream], pause), self.speed), order

    def _deal(self, stream: NDArray[np.int32], ops: Block) -> None:
        """Put ops that lie together by stream behind those that their streams have so far."""
        cuts = [0, *(np.flatnonzero(np.diff(stream)) + 1).tolist(), len(stream)]
        for begin, end in pairwise(cuts):
            place = int(self._next[stream[begin]])
            self.records.write(place, ops[begin:end])
            self._next[stream[begin]] = place + end - begin


def scaled(times: Int64s, speed: float) -> Int64s:
    """Times at another speed."""
    return np.asarray(times if speed == 1 else np.round(times / speed), np.int64)


class _Offsets:
    """Gives reads without offset one, where the user says how."""

    def __init__(self, program: Program, policy: str) -> None:
        self._program, self._policy = program, policy
        self._cursors: dict[tuple[int, int], int] = {}

    def complete(self, first: int, block: Block, stream: NDArray[np.int32]) -> int:
        """Fill in a block's offsets, also in the program's rows; how many there are none for."""
        missing = (block["offset"] == NULL) & np.isin(block["kind"], (Kind.READ, Kind.MMAP))
        if self._policy == "refuse":
            return int(missing.sum())
        if self._policy == "zero":
            block["offset"][missing] = 0
        else:
            self._read_on(block, stream)
        if bool(missing.any()):
            self._program.rows.write(first, block)
        return 0

    def _read_on(self, block: Block, stream: NDArray[np.int32]) -> None:
        """Each read starts where the stream's read before on that file ended; an open starts at 0. Demands grow with it."""
        moved = np.where(block["ret"] == NULL, np.minimum(block["len"], MAX_READ_BYTES), block["ret"])
        offsets = block["offset"]
        rows = zip(stream.tolist(), block["uri"].tolist(), block["kind"].tolist(), moved.tolist(), strict=True)
        for index, (thread, file, kind, count) in enumerate(rows):
            if kind == Kind.OPEN:
                self._cursors[thread, file] = 0
            elif kind in (Kind.READ, Kind.MMAP):
                if offsets[index] == NULL:
                    offsets[index] = self._cursors.get((thread, file), 0)
                self._cursors[thread, file] = min(int(offsets[index]) + count, NEVER)
        reads = (block["kind"] == Kind.READ) & (moved > 0)
        np.maximum.at(self._program.uses.extent, block["uri"][reads], end_of(offsets[reads], moved[reads]))


class Job:
    """One stream as the Python engine walks it: columns in memory, read from disk when they are first asked for.

    Args:
        ops: Those of all streams.
        stream: Which of them.
    """

    def __init__(self, ops: Ops, stream: Stream) -> None:
        self.stream = stream
        self._ops = ops

    def __len__(self) -> int:
        return self.stream.count

    @property
    def largest(self) -> int:
        """The most bytes one op moves."""
        return self.stream.largest

    @property
    def rows(self) -> NDArray[np.intp]:
        """The positions of its ops in the order of time."""
        return self._column("order", np.intp)

    @property
    def kinds(self) -> NDArray[np.int8]:
        """What each op does (`Kind`)."""
        return self._column("kind", np.int8)

    @property
    def files(self) -> NDArray[np.int32]:
        """The file of each op, by its position in the plan."""
        return self._column("file", np.int32)

    @property
    def offsets(self) -> Int64s:
        """Where each op reads or writes."""
        return self._column("offset", np.int64)

    @property
    def lengths(self) -> Int64s:
        """How many bytes; at most what one system call moves."""
        return self._column("length", np.int64)

    @property
    def asked(self) -> Int64s:
        """The same of requests for objects, which have no such bound."""
        lengths = self.lengths
        cut = np.flatnonzero(lengths == MAX_READ_BYTES)
        lengths[cut] = self._ops.asked(self.rows[cut])
        return lengths

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Whether each op failed in the recording."""
        return np.asarray(self._records["flags"] & _EXPECTED != 0)

    @property
    def times(self) -> Int64s:
        """The `time` of each op (`Ops`)."""
        return self._column("time", np.int64)

    @cached_property
    def _records(self) -> Block:
        return self._ops.records.read(self.stream.first, self.stream.count)

    def _column(self, name: str, kind: Any) -> NDArray[Any]:
        return np.ascontiguousarray(self._records[name], kind)
