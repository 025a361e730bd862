"""A trace compiled: its ops on disk in the order of time, and its streams.

Pieces of a trace come in as they are read and are put down as rows of one size; nothing that is kept in memory grows with
the number of ops. What a thread is shows only at the end (a trace may name its processes late), so a row says who issued it
by number, and the numbers are made into streams afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracekit.replay.core import Native, native_core
from tracekit.replay.kinds import kinds_of
from tracekit.replay.ordering import in_order, is_sorted
from tracekit.replay.records import BLOCK, Block, Records
from tracekit.replay.rows import IDENTITIES, KEPT, ROW
from tracekit.replay.survey import Survey, Threads, Uses
from tracekit.trace import COLUMNS, NULL, IntArray, StringTable, Trace
from tracekit.units import counted

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """The ops of one recorded thread, in order.

    `first` to `first + count - 1` is where they lie when streams lie one behind the other. `after` is the stream whose end
    this one's start waits for in a closed loop (None: it starts with the run), `lead` the pause before its first op, ns.
    `largest` is the most bytes one op asks for, `touched` the most one really moves.
    """

    index: int
    identity: dict[str, int]
    first: int
    count: int
    largest: int = 0
    touched: int = 0
    after: int | None = None
    lead: int = 0

    @property
    def label(self) -> str:
        """Who it is, for messages."""
        return " ".join(f"{name} {value}" for name, value in self.identity.items()) or "the only stream"


@dataclass
class Program:
    """A compiled trace.

    `origin` is the first t_submit, `period` what one repetition takes; both ns. `names` are the columns of the trace,
    `depth` is how many of its ops were in flight (None where they do not say when they completed), `mapped` counts
    mappings and their bytes, `held` the files that recorded opens hold at most, `without_offset` the reads that do not say where.
    """

    rows: Records
    tables: dict[str, StringTable]
    names: frozenset[str]
    who: NDArray[np.int32]
    stream_of: NDArray[np.int32]
    grouping: str
    uses: Uses
    streams: list[Stream] = field(default_factory=list)
    kinds: frozenset[int] = frozenset()
    origin: int = 0
    period: int = 0
    overlaps: int = 0
    depth: dict[str, float] | None = None
    mapped: tuple[int, int] = (0, 0)
    held: int = 0
    without_offset: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def uris(self) -> list[str]:
        """The names of the files, by their codes."""
        return self.tables["uri"].strings if "uri" in self.tables else []

    @property
    def has_service_times(self) -> bool:
        """Whether every op says when it completed."""
        return self.depth is not None

    def streams_of(self, block: Block) -> NDArray[np.int32]:
        """The stream of each row."""
        return np.asarray(self.stream_of[block["who"]], np.int32)

    def columns_of(self, block: Block) -> dict[str, IntArray]:
        """Rows as columns of a trace, those that the trace has."""
        columns: dict[str, IntArray] = {name: block[name] for name in KEPT if name in self.names}
        for place, name in enumerate(IDENTITIES):
            if name in self.names:
                columns[name] = self.who[block["who"], place]
        return {
            name: np.ascontiguousarray(columns[name], column.dtype)
            for name, column in COLUMNS.items()
            if name in columns
        }

    @cached_property
    def trace(self) -> Trace:
        """All ops as a trace in memory, in the order of time: for short ones."""
        columns = self.columns_of(self.rows.read(0, len(self)))
        return Trace(columns, {name: table for name, table in self.tables.items() if name in columns})


def compile_trace(trace: Trace, folder: str | None = None) -> Program:
    """Compile a trace that is in memory (see `compile_pieces`)."""
    return compile_pieces([trace], folder)


def compile_pieces(pieces: Iterable[Trace], folder: str | None = None) -> Program:
    """Bring a trace into the order of time and split it into streams.

    A stream is one thread: ops with the same (rank, pid, tid), in order of t_submit. Without them it is one loader worker,
    and without workers there is a single stream.

    Args:
        pieces: The trace, as from `tracekit.formats.chunks`: pieces share their tables.
        folder: Where the working files are made.
    """
    rows, core = Records(ROW, folder, "rows"), native_core()
    compiler = People() if core is None else core
    names: set[str] = set()
    tables: dict[str, StringTable] = {}
    sorted_so_far, last = True, 0
    for piece in pieces:
        names.update(piece.columns)
        tables.update(piece.tables)
        for part in _cut(piece):
            block = compiler.rows(part)
            sorted_so_far = sorted_so_far and is_sorted(block, "t_submit") and int(block["t_submit"][0]) >= last
            last = int(block["t_submit"][-1])
            rows.append(block)
    if not sorted_so_far:
        rows = _sorted(rows, folder)
    return _surveyed(rows, compiler.people(), names, tables, core)


def _cut(piece: Trace) -> Iterator[Trace]:
    """A piece that is a whole trace in blocks, so that what is made of it on the way is small."""
    for first in range(0, len(piece), BLOCK):
        yield Trace({name: array[first : first + BLOCK] for name, array in piece.columns.items()}, piece.tables)


def _sorted(rows: Records, folder: str | None) -> Records:
    again = Records(ROW, folder, "rows in order")
    for block in in_order(rows, "t_submit"):
        again.append(block)
    rows.close()
    return again


class People:
    """Makes rows of columns; each combination of pid, tid, worker and rank that issues ops has a number there."""

    def __init__(self) -> None:
        self._codes: dict[tuple[int, ...], int] = {}

    def rows(self, piece: Trace) -> Block:
        """The rows of a piece."""
        block = np.zeros(len(piece), ROW)
        for name in KEPT:
            block[name] = piece.col(name)
        block["who"] = self.codes(piece)
        block["kind"] = kinds_of(piece)
        block["failed"] = piece.col("err") != NULL
        return block

    def codes(self, piece: Trace) -> NDArray[np.int32]:
        """The numbers of a piece's ops."""
        place = np.zeros(len(piece), np.int64)
        for name in IDENTITIES:
            if name in piece:
                values, inverse = np.unique(piece.col(name), return_inverse=True)
                # Small numbers for what is there: the combinations of a block fit an integer however large the values are.
                place = place * len(values) + inverse.reshape(-1)
        _, first, place = np.unique(place, return_index=True, return_inverse=True)
        tuples = zip(*(piece.col(name)[first].tolist() for name in IDENTITIES), strict=True)
        table = np.array([self._codes.setdefault(one, len(self._codes)) for one in tuples], np.int32)
        return np.asarray(table[place.reshape(-1)], np.int32)

    def people(self) -> NDArray[np.int32]:
        """The combinations, one per number."""
        return np.array(list(self._codes), np.int32).reshape(-1, len(IDENTITIES))


def _grouping(names: set[str]) -> tuple[list[str], str, list[str]]:
    if "pid" in names and "tid" in names:
        return ["rank", "pid", "tid"], "pid and tid", []
    if "worker" in names:
        note = "the trace has no pid and tid; its loader workers are taken for its streams"
        return ["rank", "worker"], "worker", [note]
    note = "the trace does not say which thread issued which op, so all ops form one stream and none overlaps another"
    return [], "none", [note]


def _surveyed(
    rows: Records, who: NDArray[np.int32], names: set[str], tables: dict[str, StringTable], core: Native | None
) -> Program:
    """The program of these rows: one pass over them."""
    by, grouping, notes = _grouping(names)
    groups: dict[tuple[int, ...], int] = {}
    keys = map(tuple, who[:, [IDENTITIES.index(name) for name in by]].tolist())
    group_of = np.array([groups.setdefault(key, len(groups)) for key in keys], np.int32)
    program = Program(rows, tables, frozenset(names), who, group_of, grouping, Uses(0), notes=notes)
    threads = _pass(program, len(groups), core).threads
    if program.overlaps:
        notes.append(
            f"{counted(program.overlaps, 'op')} began before the op ahead in the stream had ended (the write of a copy inside the kernel "
            "begins with its read); a stream is replayed one op at a time, so it waits there"
        )
    program.streams = _streams(threads, program)
    return program


class _Numbers:
    """Streams by the order in which they appear."""

    def __init__(self, groups: int) -> None:
        self.of = np.full(groups, NULL, np.int32)
        self._next = 0

    def numbered(self, groups: NDArray[np.int32]) -> NDArray[np.int32]:
        """The stream numbers of a block's groups."""
        if self._next < len(self.of):
            new, first = np.unique(groups, return_index=True)
            unknown = self.of[new] == NULL
            order = new[unknown][np.argsort(first[unknown], kind="stable")]
            self.of[order] = np.arange(self._next, self._next + len(order))
            self._next += len(order)
        return self.of[groups]


def _pass(program: Program, groups: int, core: Native | None) -> Survey:
    files = len(program.uris)
    survey = Survey(files) if core is None else core.survey(files)
    numbers = _Numbers(groups)
    for _, block in program.rows.blocks():
        survey.add(numbers.numbered(program.stream_of[block["who"]]), block)
    if len(program):
        program.origin = int(program.rows.read(0, 1)["t_submit"][0])
        # From the first submit to the last end, and one typical gap more.
        program.period = max(int(survey.threads["end"].max()) - program.origin + survey.gaps.median, 1)
    program.uses, program.kinds, program.depth = survey.uses, frozenset(survey.kinds), survey.depth
    program.mapped, program.held = (survey.mappings, survey.mapped), survey.held.most
    program.without_offset, program.overlaps = survey.without_offset, survey.threads.overlaps
    program.stream_of = numbers.of[program.stream_of]
    return survey


def _streams(threads: Threads, program: Program) -> list[Stream]:
    """The streams, each start tied to the end of the last stream that was over by then.

    Loader workers of a second epoch exist because the first epoch has ended. In a closed loop that end moves with the
    storage, and so must they.
    """
    starts, finishes, counts = threads["start"], threads["end"], threads["count"]
    order = np.argsort(finishes, kind="stable")
    before = np.searchsorted(finishes[order], starts, side="right") - 1
    firsts = np.cumsum(counts) - counts
    streams = []
    for index in range(len(threads)):
        after = int(order[before[index]]) if before[index] >= 0 else index
        anchor = None if after == index else after
        lead = int(starts[index]) - (int(starts[0]) if anchor is None else int(finishes[anchor]))
        streams.append(
            Stream(
                index, _identity(program, int(threads["who"][index])), int(firsts[index]), int(counts[index]),
                int(threads["largest"][index]), int(threads["touched"][index]), anchor, lead,
            )
        )  # fmt: skip
    return streams


def _identity(program: Program, who: int) -> dict[str, int]:
    values = zip(IDENTITIES, program.who[who].tolist(), strict=True)
    return {name: value for name, value in values if name in program.names and value != NULL}
