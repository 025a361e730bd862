"""What a trace wants of its files, its threads and this machine: found in one pass over its ops in the order of time.

Each noun adds up blocks of rows (`tracekit.replay.compile.ROW`) and holds a few numbers per file or per stream.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tracekit.histogram import bucket_low, bucket_of
from tracekit.replay.flow import Depth
from tracekit.replay.kinds import CHANGES, Kind
from tracekit.replay.records import Block
from tracekit.storage.base import MAX_READ_BYTES
from tracekit.trace import NULL

Int64s = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
# Buckets of a histogram up to 2^63; TK_GAPS in tracekit/_native/compile.h.
BUCKETS = 7552
# So many gaps between ops are kept one by one.
_EXACT = 65_536


def ends_of(block: Block) -> Int64s:
    """When each op ended: its t_complete, or its t_submit where that is not known."""
    return np.asarray(np.maximum(block["t_submit"], block["t_complete"]), np.int64)


def previous(stream: NDArray[np.int32], values: Int64s, before: Int64s) -> tuple[Int64s, NDArray[np.intp]]:
    """For each op the value of the op ahead of it in its stream, and the order that puts streams together.

    `before` has the last value of each stream, and is brought up to date.
    """
    order = np.argsort(stream, kind="stable")
    together, sorted_values = stream[order], values[order]
    first = np.append(True, together[1:] != together[:-1])
    ahead = np.empty_like(values)
    ahead[order] = np.where(first, before[together], np.append(0, sorted_values[:-1]))
    last = np.append(first[1:], True)
    before[together[last]] = sorted_values[last]
    return ahead, order


def end_of(offset: Int64s, size: Int64s) -> Int64s:
    """Where that many bytes end; the largest number where that is more than one can say."""
    return np.asarray(np.where(offset > NEVER - size, NEVER, offset + size), np.int64)


class Uses:
    """What the ops want of each file; arrays with one element per URI.

    `extent` is how long it must be for the recorded ops to do what they did: up to the last byte that was moved. Where the
    recording has `ret`, a read past the end is no demand. Where it has not, all that was asked for is demanded, because
    nobody can tell. `written` is where writes end, and `appended` what writes without offset add, all files together.
    """

    def __init__(self, files: int) -> None:
        self.first_change, self.first_use = np.full(files, NEVER, np.int64), np.full(files, NEVER, np.int64)
        self.extent, self.written = np.zeros(files, np.int64), np.zeros(files, np.int64)
        self.used, self.listed = np.zeros(files, np.bool_), np.zeros(files, np.bool_)
        self.appended = 0

    def add(self, first: int, block: Block) -> None:
        """Count ops, the first of which is op number `first`."""
        kinds, uris, good = block["kind"], block["uri"], block["failed"] == 0
        rows = np.arange(first, first + len(block))
        changing = np.isin(kinds, CHANGES)
        looking = np.isin(kinds, (Kind.READ, Kind.MMAP)) & good
        np.minimum.at(self.first_change, uris[changing], rows[changing])
        np.minimum.at(self.first_use, uris[looking], rows[looking])
        self.used[uris[good & ~changing]] = True
        self.listed[uris[kinds == Kind.LIST]] = True
        self._extend(block, looking & (block["offset"] != NULL))
        self._write(block[kinds == Kind.WRITE])

    def _extend(self, block: Block, moving: NDArray[np.bool_]) -> None:
        rets = np.where(block["kind"] == Kind.READ, block["ret"], NULL)
        moved = np.where(rets == NULL, block["len"], rets)
        last = np.where(moved > 0, end_of(block["offset"], np.maximum(moved, 0)), 0)
        np.maximum.at(self.extent, block["uri"][moving], last[moving])

    def _write(self, writes: Block) -> None:
        append = writes["offset"] == NULL
        np.maximum.at(self.written, writes["uri"], np.where(append, 0, end_of(writes["offset"], writes["len"])))
        self.appended = min(self.appended + sum(writes["len"][append].tolist()), NEVER)


class Threads:
    """The streams; arrays with one element per stream, which grow as streams appear.

    `largest` is the most bytes one op of the stream asks for, `touched` the most that one really moves: a request far
    beyond the end of a file occupies nothing.
    """

    _START: ClassVar[dict[str, int]] = {
        "count": 0,
        "start": NEVER,
        "end": 0,
        "largest": 0,
        "touched": 0,
        "last_end": 0,
        "who": NULL,
    }

    def __init__(self) -> None:
        self.overlaps = 0
        self.columns: dict[str, Int64s] = {name: np.zeros(0, np.int64) for name in self._START}

    def __len__(self) -> int:
        return len(self.columns["count"])

    def __getitem__(self, name: str) -> Int64s:
        return self.columns[name]

    def add(self, stream: NDArray[np.int32], block: Block) -> None:
        """Count ops of these streams."""
        of, submits, ends = self.columns, block["t_submit"], ends_of(block)
        ahead, order = previous(stream, ends, of["last_end"])
        # Nothing is ahead of a stream's first op: 0 is no later than any time.
        self.overlaps += int((submits < ahead).sum())
        of["count"] += np.bincount(stream, minlength=len(self))
        np.minimum.at(of["start"], stream, submits)
        np.maximum.at(of["end"], stream, ends)
        moving = np.isin(block["kind"], (Kind.READ, Kind.WRITE))
        moved = np.where(block["ret"] >= 0, block["ret"], block["len"])
        np.maximum.at(of["largest"], stream[moving], np.minimum(block["len"], MAX_READ_BYTES)[moving])
        np.maximum.at(of["touched"], stream[moving], moved[moving])
        self._introduce(stream[order], block["who"][order])

    def _introduce(self, stream: NDArray[np.int32], who: NDArray[np.int32]) -> None:
        """A stream's identity is that of its first op."""
        first = np.append(True, stream[1:] != stream[:-1])
        new = first & (self.columns["who"][stream] == NULL)
        self.columns["who"][stream[new]] = who[new]

    def make_room(self, count: int) -> None:
        """Have columns for so many streams."""
        if count > len(self):
            for name, value in self._START.items():
                more = np.full(count - len(self.columns[name]), value, np.int64)
                self.columns[name] = np.append(self.columns[name], more)


class Gaps:
    """The pauses between one op and the next, of whatever stream: the typical one is asked for.

    `counts` has them by the buckets of `tracekit.histogram`; the first ones are also kept one by one.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BUCKETS, np.int64)
        self._last: int | None = None
        self._values: list[Int64s] = []

    def add(self, submits: Int64s) -> None:
        """Count ops, in the order of time."""
        self.counts += np.bincount(bucket_of(self.keep(submits)), minlength=BUCKETS)

    def keep(self, submits: Int64s) -> Int64s:
        """The gaps between these ops; kept as they are in a short trace."""
        gaps = np.diff(submits) if self._last is None else np.diff(submits, prepend=np.int64(self._last))
        self._last = int(submits[-1])
        self._values.append(gaps)
        return gaps

    def is_short(self, ops: int) -> bool:
        """Whether a trace of so many ops has its gaps kept."""
        if ops > _EXACT:
            self._values.clear()
        return ops <= _EXACT

    @property
    def median(self) -> int:
        """Half of the gaps are no longer; in long traces the low end of its bucket, which is at most 0.8 % less."""
        if self._values:
            values = np.concatenate(self._values)
            return int(np.median(values)) if len(values) else 0
        total = int(self.counts.sum())
        middle = int(np.searchsorted(np.cumsum(self.counts), (total + 1) // 2))
        return int(bucket_low(np.array([middle]))[0]) if total else 0


class Held:
    """How many files recorded opens hold open at most."""

    def __init__(self) -> None:
        self.most = self._now = 0

    def add(self, kinds: NDArray[Any]) -> None:
        """Count ops, in the order of time."""
        steps = np.where(kinds == Kind.OPEN, 1, np.where(kinds == Kind.CLOSE, -1, 0))
        open_files = self._now + np.cumsum(steps)
        self.most = max(self.most, int(open_files.max()))
        self._now = int(open_files[-1])


class Survey:
    """All of it: counted block by block, in the order of time.

    `last_end` is when the last op ended, `mappings` and `mapped` count mappings and their bytes, `without_offset` the reads
    that do not say where.

    Args:
        files: How many URIs there are.
    """

    def __init__(self, files: int) -> None:
        self.uses, self.threads, self.gaps, self.held, self._depth = Uses(files), Threads(), Gaps(), Held(), Depth()
        self.kinds: set[int] = set()
        self.ops = self.mappings = self.mapped = self.without_offset = 0
        self._untimed = 0

    def add(self, stream: NDArray[np.int32], block: Block) -> None:
        """Count ops of these streams."""
        self.threads.make_room(int(stream.max()) + 1)
        self._count(stream, block)
        self.ops += len(block)

    @property
    def depth(self) -> dict[str, float] | None:
        """Ops in flight; None where not every op says when it completed."""
        return self._depth.to_json() if self.ops and not self._untimed else None

    def _count(self, stream: NDArray[np.int32], block: Block) -> None:
        kinds = block["kind"]
        self.threads.add(stream, block)
        self.uses.add(self.ops, block)
        self.held.add(kinds)
        self.gaps.add(block["t_submit"])
        self.gaps.is_short(self.ops + len(block))
        self.kinds.update(np.unique(kinds).tolist())
        maps = kinds == Kind.MMAP
        self.mappings += int(maps.sum())
        self.mapped = min(self.mapped + sum(block["len"][maps].tolist()), NEVER)
        self._untimed += int((block["t_complete"] == NULL).sum())
        if not self._untimed:
            self._depth.add(block["t_submit"], ends_of(block))
        self.without_offset += int((np.isin(kinds, (Kind.READ, Kind.MMAP)) & (block["offset"] == NULL)).sum())
