"""What paired mode keeps of each op of a trace: rows by what the op does, in bounded memory, and who issued which ops in which order."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.partitions import Partitions
from tracekit.errors import TracekitError
from tracekit.metrics.arrivals import WINDOW_NS, Windows
from tracekit.metrics.groups import partition
from tracekit.metrics.keys import changes, sorted_order
from tracekit.metrics.levels import Levels
from tracekit.metrics.slots import Slots
from tracekit.trace import NULL, IntArray, StringTable, Trace
from tracekit.uri import file_uri, local_path

if TYPE_CHECKING:
    from harness.stats import Ints
    from tracekit.metrics.view import View

# `at` is the number of the op, `moved` what it read or wrote, bytes; uri, kind and stream are numbers.
ROW = np.dtype(
    [("t", "i8"), ("offset", "i8"), ("len", "i8"), ("moved", "i8"), ("at", "i8"), ("uri", "i4"), ("kind", "i4"),
     ("stream", "i4"), ("flags", "u4")]
)  # fmt: skip
KEY = ("uri", "kind", "offset", "len")
FAILED, NUMBERED = 1, 2
# So many ops of a recording are looked at together when their order is.
SLAB = 1 << 20
BURST_GRIDS = 5


@dataclass
class Names:
    """Numbers for uris and kinds of ops that two ledgers share."""

    uris: StringTable = field(default_factory=StringTable)
    kinds: StringTable = field(default_factory=StringTable)


def canonical(uri: str) -> str:
    """One spelling for one place: every local uri (path, file://, direct://) as the file:// uri of its path."""
    try:
        return file_uri(local_path(uri))
    except TracekitError:
        return uri


class Ledger:
    """The ops of a trace that comes in pieces, in order of time.

    Args:
        names: Numbers of uris and kinds.
        renamed: The name that a uri is known by.

    Attributes:
        rows: The ops (`ROW`), by a hash of what they do.
        count: How many there are.
        span: When the first and the last were submitted, ns; None without ops.
        edges: When every so-many-th was.
        files: How many ops each uri has.
        numbers: That of each stream (rank, pid, tid), in order of their first ops.
        has_streams: Whether any op tells its pid or tid.
    """

    def __init__(self, names: Names, renamed: Callable[[str], str] = canonical) -> None:
        self._names = names
        self._uris, self._kinds = _Codes(names.uris, renamed), _Codes(names.kinds, str)
        self._digests: dict[int, Any] = {}
        self.numbers: Mapping[tuple[int, int, int], int] = {}
        self.has_streams = False
        self._bursts = [Windows(shift) for shift in range(0, WINDOW_NS, WINDOW_NS // BURST_GRIDS)]
        self.rows = Partitions(ROW)
        self.count = 0
        self.span: tuple[int, int] | None = None
        self.edges: list[int] = []
        self.files = Slots()

    @classmethod
    def of(cls, trace: Trace, names: Names, renamed: Callable[[str], str] = canonical) -> Ledger:
        """The ledger of a trace that is in memory."""
        levels = Levels(cls(names, renamed))
        levels.update(trace.sorted())
        return levels.tally

    @property
    def duration(self) -> int:
        """From the first submission to the last, ns."""
        return 0 if self.span is None else self.span[1] - self.span[0]

    @property
    def uris(self) -> list[str]:
        """The names of the files that it has ops of."""
        return [self._names.uris.strings[number] for number in np.flatnonzero(self.files.values).tolist()]

    @property
    def burstiness(self) -> float:
        """Variance / mean of the arrivals per 10 ms, the mean over where the windows may begin.

        A burst that lies across the edge of a window counts half of what it would within: one grid of windows makes that a
        matter of chance.
        """
        return float(np.mean([windows.result()[1] or 0.0 for windows in self._bursts]))

    @property
    def sequences(self) -> dict[int, bytes]:
        """A digest of the ops of each stream, in their order; the streams in order of their first ops."""
        return {stream: digest.digest() for stream, digest in sorted(self._digests.items())}

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self.has_streams = self.has_streams or bool(view.told & {"pid", "tid"})
        if not len(view.trace):
            return
        rows = self._rows(view)
        times = np.ascontiguousarray(rows["t"])
        self.span = (int(times[0]) if self.span is None else self.span[0]), int(times[-1])
        self.edges += times[(rows["at"] % SLAB == 0) & (rows["at"] > 0)].tolist()
        self.count += len(rows)
        for windows in self._bursts:
            windows.update(times)
        keys = [rows[name].astype(np.int64) for name in KEY]
        self.files.add(keys[0][keys[0] != NULL])
        self._note_order(view.all_streams, keys)
        self.rows.put(rows, partition(keys))

    def _rows(self, view: View) -> Any:
        trace = view.trace
        rows = np.zeros(len(trace), ROW)
        rows["t"], rows["offset"], rows["len"] = (trace.col(name) for name in ("t_submit", "offset", "len"))
        rows["moved"][view.data] = view.moved
        rows["at"] = np.arange(self.count, self.count + len(rows))
        rows["uri"] = self._uris.of(trace.uris, trace.col("uri"))
        rows["kind"] = self._kinds.of(trace.strings("op"), trace.col("op"))
        rows["stream"] = view.all_streams
        rows["flags"] = np.where(trace.col("err") != NULL, FAILED, 0) + np.where(trace.col("step") != NULL, NUMBERED, 0)
        assert view.numbers is not None
        self.numbers = view.numbers.known
        return rows

    def _note_order(self, streams: Ints, keys: Sequence[Ints]) -> None:
        order = sorted_order(streams)
        together, table = streams[order], np.stack(keys, axis=1)[order]
        edges = [*np.flatnonzero(changes(together)).tolist(), len(together)]
        for begin, end in pairwise(edges):
            digest = self._digests.setdefault(int(together[begin]), hashlib.blake2b())
            digest.update(table[begin:end].reshape(-1))

    def __deepcopy__(self, memo: dict[int, Any]) -> Ledger:
        twin = copy.copy(self)
        # Both sides of a comparison share the names, whatever becomes of one of them.
        shared = memo | {id(self._names.uris): self._names.uris, id(self._names.kinds): self._names.kinds}
        for name in ("_uris", "_kinds", "_bursts", "rows", "edges", "files"):
            setattr(twin, name, copy.deepcopy(getattr(self, name), shared))
        twin._digests = {stream: digest.copy() for stream, digest in self._digests.items()}
        return twin


class _Codes:
    """The numbers that the strings of a trace's table have elsewhere; a table only grows."""

    def __init__(self, table: StringTable, renamed: Callable[[str], str]) -> None:
        self._table, self._renamed = table, renamed
        # The last is for what has no string: NULL is -1.
        self._known = np.array([NULL], np.int64)

    def of(self, strings: Sequence[str], codes: IntArray) -> Ints:
        """The numbers of codes of a table."""
        known = len(self._known) - 1
        if len(strings) > known:
            new = [self._table.code(self._renamed(name)) for name in strings[known:]]
            self._known = np.concatenate([self._known[:-1], np.array([*new, NULL], np.int64)])
        found: Ints = self._known[codes]
        return found
