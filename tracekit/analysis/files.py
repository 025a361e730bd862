"""Which files, and which prefixes: bytes, requests, order and times of each, and how much more is read than is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.analysis.groups import Groups, Sums
from tracekit.analysis.pieces import pieces
from tracekit.analysis.prefixes import Prefixes
from tracekit.metrics.following import Followers
from tracekit.metrics.schema import metric
from tracekit.metrics.view import Places, View
from tracekit.trace import NULL, Mask, Trace, Trailer

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
        self._followers = Followers()

    def update(self, view: View, names: int) -> None:
        """Count the data ops of the next piece in order of time; its codes of files are below `names`."""
        self.sums.grow(names)
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
        self._place(view, uri, moved)

    def _place(self, view: View, uri: Ints, moved: Ints) -> None:
        offset = view.col("offset")
        placed = offset != NULL
        if not placed.all():
            uri, offset, moved = uri[placed], offset[placed], moved[placed]
        self.sums.highest("extent", uri, offset + moved)
        self._follow(view.places)

    def _follow(self, places: Places) -> None:
        """Which reads start where the one of the same file before them ended, also that of an earlier piece."""
        if len(places.uri):
            followed = self._followers.take(places.uri, places)
            self.sums.add("followed", _chosen(places.uri, followed.same))
            self.sums.add("sequential", _chosen(places.uri, followed.goes_on))

    def groups(self, names: Sequence[str], sizes: Mapping[str, int]) -> Groups:
        """Every file that was read or written, the one with the most bytes first."""
        known = [sizes.get(name) for name in names[: len(self.sums)]] if sizes else None
        return self.sums.table(names, np.ones(len(self.sums), np.int64), known)

    def prefixes(self, names: Sequence[str], sizes: Mapping[str, int], prefixes: Prefixes) -> Groups:
        """Files together by their prefixes."""
        used = self.sums.columns["ops"] > 0
        count, group_of = len(prefixes.names), prefixes.of[: len(used)]
        joined = self.sums.joined(prefixes.of, count)
        files = np.bincount(group_of[used], minlength=count)
        total: list[int | None] = [0 if sizes else None] * count
        for number in np.flatnonzero(used).tolist() if sizes else ():
            size, group = sizes.get(names[number]), int(group_of[number])
            sum_ = total[group]
            total[group] = None if sum_ is None or size is None else sum_ + size
        return joined.table(prefixes.names, files, total)

    def amplification(self, names: Sequence[str], sizes: Mapping[str, int]) -> Amplification:
        """Bytes read over bytes there, of all files that were read."""
        read = np.flatnonzero(self.sums.columns["read_ops"])
        extent = self.sums.columns["extent"][read]
        known = [sizes.get(names[number]) for number in read.tolist()] if sizes else []
        there = sum(size or end for size, end in zip(known, extent.tolist(), strict=True)) if sizes else extent.sum()
        total = int(self.sums.columns["read_bytes"].sum())
        return Amplification(
            total,
            int(there) or None,
            total / int(there) if there else None,
            bool(known) and all(size is not None for size in known),
        )


def _chosen(values: Ints, chosen: Mask) -> Ints:
    return values if bool(chosen.all()) else values[chosen]


def by_file(trace: Trace) -> Groups:
    """Every file that was read or written, the one with the most bytes first."""
    return _counted(trace).groups(trace.uris, known_sizes(trace.trailer))


def by_prefix(trace: Trace, depth: int | None = None) -> Groups:
    """Files together by directory or object prefix, the one with the most bytes first.

    Args:
        trace: The trace.
        depth: How many parts of the path after the scheme count; None is the whole directory.
    """
    prefixes = Prefixes.directories(trace.uris).cut(depth)
    return _counted(trace).prefixes(trace.uris, known_sizes(trace.trailer), prefixes)


def _counted(trace: Trace) -> Files:
    files = Files()
    for view in pieces(trace):
        files.update(view, len(trace.uris))
    return files


def known_sizes(trailer: Trailer | None) -> dict[str, int]:
    """Sizes of files by URI, as far as a recorder noted them."""
    if trailer is None:
        return {}
    sizes: dict[str, int] = {}
    for table in (trailer.residency.get("files"), trailer.extra.get("files")):
        if isinstance(table, dict):
            sizes |= zip(table.get("uri") or (), table.get("size") or (), strict=False)
    return sizes
