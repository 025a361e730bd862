"""Everything the analysis can say about a trace, for `tracekit stats`: from a whole trace, or from its pieces as they come."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tracekit.analysis.bursts import Burst, Bursts
from tracekit.analysis.duty import Busy, Duty
from tracekit.analysis.files import Amplification, Files, known_sizes
from tracekit.analysis.groups import Group, Groups
from tracekit.analysis.keys import Threads
from tracekit.analysis.pieces import pieces as pieces_of
from tracekit.analysis.prefixes import Prefixes
from tracekit.analysis.reuse import Accesses, Reuse
from tracekit.analysis.tail import SizesByLatency, Slowest, Tail
from tracekit.analysis.workers import Balance, Workers
from tracekit.metrics import schema
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import Mark, Trace, Trailer

# 1: the first published schema. A key that is removed, renamed or means something else raises it; a new key does not.
ANALYSIS_VERSION = 1
FILES_LIMIT = 100
BURSTS_LIMIT = 1000
_PREFIXES = 20
_REUSE_ACCESSES = 1 << 18
_HIT_SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class SizeTable:
    """Ops by size and service time."""

    size_low_bytes: list[int] = metric("smallest size of each row, powers of two", "bytes")
    latency_low_us: list[int] = metric("smallest service time of each column: 0, then powers of two", "us")
    counts: list[list[int]] = metric("data ops, a row a size, a column a time", "ops")


@dataclass(frozen=True)
class FileTables:
    """Per file and per prefix."""

    count: int = metric("files read or written", "files")
    top: list[Group] = metric("files, the one with the most bytes first, at most 100 (files.csv has all)")
    prefixes: list[Group] = metric(
        "the same by directory or object prefix, as deep as there are no more than 20 of them"
    )
    top_share: float | None = metric("share of all bytes that the busiest 1 % of files (rounded up) take")
    time_error: float | None = metric(
        "p50_us and p99_us of files are off by less than this share; null: not known for any"
    )


@dataclass(frozen=True)
class Cache:
    """What page cache the job would need: an LRU cache that is empty at the start, by reuse distance."""

    block_bytes: int = metric("what the cache is thought to hold at once", "bytes")
    sampled: float = metric("share of blocks that was followed (SHARDS); 1 is all")
    working_set_bytes: int = metric("distinct bytes read, in whole blocks", "bytes")
    most_hits: float | None = metric(
        "share of block accesses that the largest cache serves: those that are not the first"
    )
    needed_bytes: dict[str, int | None] = metric(
        "smallest cache for 50, 90, 95 and 99 percent of those most hits; null without any", "bytes"
    )
    curve_bytes: list[int] = metric("cache sizes of the hit curve", "bytes")
    curve_hits: list[float] = metric("share of block accesses that each serves")

    @classmethod
    def of(cls, reuse: Reuse) -> Cache:
        """The figures of reuse distances."""
        sizes, shares = reuse.curve()
        most = reuse.hit_share(float("inf"))
        needed = {f"{100 * part:g}": reuse.needed_bytes(part * most) if most else None for part in _HIT_SHARES}
        return cls(reuse.block_bytes, reuse.rate, reuse.working_set_bytes, most, needed, sizes, shares)


@dataclass(frozen=True)
class Analysis:
    """What people ask of a trace beyond its metrics. What the trace cannot say is None (JSON null) or empty, never 0."""

    # Too many for the JSON; files.csv has them.
    all_files: Groups
    size_by_latency: SizeTable = metric("how long requests of each size took")
    files: FileTables = metric("which files, which prefixes")
    amplification: Amplification = metric("how much more is read than is there")
    workers: Workers = metric("how evenly the work was shared")
    cache: Cache = metric("reuse and the cache-hit curve")
    tail: Tail | None = metric("where the slow ops come from; null below 100 ops with a service time")
    duty: Duty = metric("when storage was busy")
    bursts: list[Burst] = metric(
        "bursts of writing of 1 MiB and more with no pause above half a second, the first 1000"
    )

    @classmethod
    def of(cls, trace: Trace) -> Analysis:
        """The analysis of a trace."""
        analyst = Analyst()
        for view in pieces_of(trace):
            analyst.update(view, len(trace.uris))
        return analyst.analysis(trace.uris, trace.marks, trace.trailer)

    @classmethod
    def of_pieces(cls, pieces: Iterable[Trace]) -> Analysis:
        """The analysis of a trace that comes in pieces in order of time and with common tables, as `formats.chunks` gives them."""
        analyst, marks, piece = Analyst(), list[Mark](), Trace.of([])
        for piece in pieces:
            analyst.update(View.of(piece), len(piece.uris))
            marks += piece.marks
        return analyst.analysis(piece.uris, marks, piece.trailer)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: `analysis` (schema version) first, then docs/reference/analysis.schema.json."""
        return {"analysis": ANALYSIS_VERSION, **schema.to_json(self)}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of `to_json`, as published in docs/reference/analysis.schema.json."""
        return schema.json_schema(
            cls,
            identifier="analysis.schema.json",
            title="Analysis of a trace",
            version_key="analysis",
            version=ANALYSIS_VERSION,
        )


class Analyst:
    """Looks at a trace piece by piece; memory grows with files and bursts, not with ops."""

    def __init__(self, block_bytes: int | None = None) -> None:
        threads = Threads()
        self._files, self._sizes, self._slowest = Files(), SizesByLatency(), Slowest(threads)
        self._accesses = Accesses(block_bytes, _REUSE_ACCESSES)
        self._balance, self._busy, self._bursts = Balance(threads), Busy(), Bursts()

    def update(self, view: View, names: int) -> None:
        """Take the next piece in order of time.

        Args:
            view: The piece; its codes of files are those of the pieces before.
            names: How many files have a code so far.
        """
        self._files.update(view, names)
        for part in (self._sizes, self._slowest, self._accesses, self._balance, self._busy, self._bursts):
            part.update(view)

    def analysis(self, uris: Sequence[str], marks: Sequence[Mark], trailer: Trailer | None) -> Analysis:
        """What there is to say, with the names of all files, all marks and the trailer."""
        sizes = known_sizes(trailer)
        groups = self._files.groups(uris, sizes)
        prefixes = self._files.prefixes(uris, sizes, Prefixes.few(uris, _PREFIXES))
        return Analysis(
            size_by_latency=SizeTable(*self._sizes.table()),
            files=FileTables(
                len(groups), groups[:FILES_LIMIT], list(prefixes), _top_share(groups), self._files.sums.times.error
            ),
            amplification=self._files.amplification(uris, sizes),
            workers=self._balance.workers(),
            cache=Cache.of(self._accesses.reuse()),
            tail=self._slowest.tail(uris),
            duty=self._busy.duty(marks),
            bursts=self._bursts.bursts(marks)[:BURSTS_LIMIT],
            all_files=groups,
        )


def _top_share(groups: Groups) -> float | None:
    """Of groups with the most bytes first."""
    moved = groups.moved
    total = int(moved.sum())
    return int(moved[: -(-len(moved) // 100)].sum()) / total if total else None
