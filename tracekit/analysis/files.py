"""Which files, and which prefixes: bytes, requests, order and times of each, and how much more is read than is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.groups import Group, Sums
from tracekit.analysis.pieces import pieces
from tracekit.metrics.keys import sorted_order
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace, Trailer

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Amplification:
    """How much more is read than is there."""

    read_bytes: int = metric("bytes that reads moved", "bytes")
    there_bytes: int | None = metric(
        "size of the files that were read (how far they were read, where the trace does not know it)", "bytes"
    )
    ratio: float | None = metric("read_bytes / there_bytes: 1 is every byte once, less is only a part of them")
    sizes_known: bool = metric("whether there_bytes are recorded sizes of every file")


class Files:
    """What every file had to do, added up piece by piece; memory grows with the number of files."""

    def __init__(self) -> None:
        self.sums = Sums()
        self._end = np.zeros(0, np.int64)

    def update(self, view: View, names: int) -> None:
        """Count the data ops of the next piece in order of time; its codes of files are below `names`."""
        self.sums.grow(names)
        self._end = np.concatenate([self._end, np.full(max(0, names - len(self._end)), NULL)])
        uri, moved, reads, timed = view.col("uri"), view.moved, view.reads, view.timed
        self.sums.add("ops", uri)
        read_uri, read_moved = (uri, moved) if reads.all() else (uri[reads], moved[reads])
        self.sums.add("read_ops", read_uri)
        self.sums.add("read_bytes", read_uri, read_moved)
        if len(read_uri) < len(uri):
            self.sums.add("written_bytes", uri[~reads], moved[~reads])
        service = view.complete - view.submit
        timed_uri, service = (uri, service) if timed.all() else (uri[timed], service[timed])
        self.sums.took(timed_uri, service)
        self._place(view, uri, moved, reads)

    def _place(self, view: View, uri: Ints, moved: Ints, reads: NDArray[np.bool_]) -> None:
        offset = view.col("offset")
        placed = offset != NULL
        if not placed.all():
            uri, offset, moved, reads = uri[placed], offset[placed], moved[placed], reads[placed]
        end = offset + moved
        self.sums.highest("extent", uri, end)
        read = reads & (moved > 0)
        if not read.all():
            uri, offset, end = uri[read], offset[read], end[read]
        self._follow(uri, offset, end)

    def _follow(self, uri: Ints, offset: Ints, end: Ints) -> None:
        """Which reads start where the one of the same file before them ended, also that of an earlier piece."""
        if not len(uri):
            return
        order = sorted_order(uri)
        uri, offset, end = uri[order], offset[order], end[order]
        first = np.concatenate([[True], uri[1:] != uri[:-1]])
        before = np.concatenate([[NULL], end[:-1]])
        before[first] = self._end[uri[first]]
        known = before != NULL
        self.sums.add("followed", uri[known])
        self.sums.add("sequential", uri[known & (before == offset)])
        last = np.concatenate([uri[1:] != uri[:-1], [True]])
        self._end[uri[last]] = end[last]

    def groups(self, names: Sequence[str], sizes: dict[str, int]) -> list[Group]:
        """Every file that was read or written, the one with the most bytes first."""
        known = [sizes.get(name) for name in names[: len(self.sums)]] if sizes else None
        return self.sums.table(names, [1] * len(self.sums), known)

    def prefixes(self, names: Sequence[str], sizes: dict[str, int], prefix_of: Sequence[str]) -> list[Group]:
        """Files together by the prefix that `prefix_of` gives for each."""
        used = self.sums.columns["ops"] > 0
        codes = {name: number for number, name in enumerate(dict.fromkeys(prefix_of))}
        groups = np.array([codes[name] for name in prefix_of], np.int64)
        joined = self.sums.joined(groups, len(codes))
        files = np.bincount(groups[: len(used)][used], minlength=len(codes)).tolist()
        total: list[int | None] = [0] * len(codes)
        for number in np.flatnonzero(used).tolist():
            size, group = sizes.get(names[number]), int(groups[number])
            sum_ = total[group]
            total[group] = None if sum_ is None or size is None else sum_ + size
        return joined.table(list(codes), files, total)

    def amplification(self, names: Sequence[str], sizes: dict[str, int]) -> Amplification:
        """Bytes read over bytes there, of all files that were read."""
        read = np.flatnonzero(self.sums.columns["read_ops"]).tolist()
        known = [sizes.get(names[number]) for number in read]
        extent = self.sums.columns["extent"]
        there = sum(size or int(extent[number]) for number, size in zip(read, known, strict=True))
        total = int(self.sums.columns["read_bytes"].sum())
        return Amplification(
            total,
            there or None,
            total / there if there else None,
            bool(read) and all(size is not None for size in known),
        )


def by_file(trace: Trace) -> list[Group]:
    """Every file that was read or written, the one with the most bytes first."""
    return _counted(trace).groups(trace.uris, known_sizes(trace.trailer))


def by_prefix(trace: Trace, depth: int | None = None) -> list[Group]:
    """Files together by directory or object prefix, the one with the most bytes first.

    Args:
        trace: The trace.
        depth: How many parts of the path after the scheme count; None is the whole directory.
    """
    of_file = [prefix(uri, depth) for uri in trace.uris]
    return _counted(trace).prefixes(trace.uris, known_sizes(trace.trailer), of_file)


def _counted(trace: Trace) -> Files:
    files = Files()
    for view in pieces(trace):
        files.update(view, len(trace.uris))
    return files


def prefix(uri: str, depth: int | None) -> str:
    """The directory or object prefix of a URI, down to so many parts of its path; None is all of them."""
    scheme, sign, rest = uri.partition("://")
    if not sign:
        scheme, rest = "", uri
    parts = rest.split("/")[:-1]
    kept = parts if depth is None else parts[: depth + (not parts or parts[0] == "")]
    return f"{scheme}{sign}{'/'.join(kept)}/"


def few_prefixes(names: Sequence[str], most: int) -> list[str]:
    """The prefix of each name, as deep as there are no more than `most` of them."""
    chosen = [prefix(name, 1) for name in names]
    deepest = max((name.count("/") for name in names), default=0)
    for depth in range(2, deepest + 1):
        deeper = [prefix(name, depth) for name in names]
        if len(set(deeper)) > most:
            break
        chosen = deeper
    return chosen


def known_sizes(trailer: Trailer | None) -> dict[str, int]:
    """Sizes of files by URI, as far as a recorder noted them."""
    if trailer is None:
        return {}
    sizes: dict[str, int] = {}
    for table in (trailer.residency.get("files"), trailer.extra.get("files")):
        if isinstance(table, dict):
            sizes |= zip(table.get("uri") or (), table.get("size") or (), strict=False)
    return sizes
