"""Order and locality: does a job read files through, in which order, and does it come back?"""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.schema import metric
from tracekit.metrics.view import Ints, View
from tracekit.trace import NULL, Mask

_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Order:
    """The access pattern of the reads that moved data (reads at the end of a file that return nothing are left out)."""

    sequential_in_uri: float | None = metric(
        "share of reads that start where the previous read of the same file, by any stream, ended; of reads that have one"
    )
    sequential_in_stream: float | None = metric(
        "share of reads that start in the file and at the place where the stream's previous read ended; of reads with one"
    )
    seek_in_uri_hist: Histogram = metric(
        "distance from the end of the previous read of the same file to the start of this one, absolute", "bytes"
    )
    seek_in_stream_hist: Histogram = metric(
        "the same by stream: distance from the end of the stream's previous read to the start of this one, where both are of one file",
        "bytes",
    )
    run_ops_hist: Histogram = metric("length of sequential runs within a file", "ops")
    reaccess_share: float | None = metric(
        "share of reads of a place (uri, offset) that had been read before: 1 - places / reads"
    )
    top1_file_share: float | None = metric(
        "share of reads and writes that go to the busiest 1 % of the files (rounded up)"
    )
    first_touch_jump_hist: Histogram = metric(
        "between files in order of their first access: distance in the natural order of their names", "files"
    )
    first_touch_randomness: float | None = metric(
        "(mean jump - 1) / ((files + 1) / 3 - 1): 0 where files are first read in order of names, about 1 in random order"
    )

    @classmethod
    def of(cls, view: View) -> Order:
        """The order of a trace's data ops."""
        chosen = view.reads & (view.moved > 0) & (view.col("offset") != NULL)
        uri, offset, end, streams = _places(view, chosen)
        by_uri = np.argsort(uri, kind="stable")
        follows, gap = _following(uri[by_uri], offset[by_uri], end[by_uri])
        in_stream = None if streams is None else _in_streams(uri, offset, end, streams)
        jumps = _first_touch_jumps(view)
        files = len(jumps) + 1 if len(view.data) else 0
        return cls(
            sequential_in_uri=_share(follows),
            sequential_in_stream=None if in_stream is None else _share(in_stream[0]),
            seek_in_uri_hist=Histogram.of(np.abs(gap)),
            seek_in_stream_hist=Histogram() if in_stream is None else Histogram.of(np.abs(in_stream[1])),
            run_ops_hist=_runs(uri[by_uri], follows),
            reaccess_share=_reaccess(uri[by_uri], offset[by_uri]),
            top1_file_share=_top_share(view.col("uri")),
            first_touch_jump_hist=Histogram.of(jumps),
            first_touch_randomness=_randomness(jumps, files),
        )


def _places(view: View, chosen: Mask) -> tuple[Ints, Ints, Ints, Ints | None]:
    offset = view.col("offset")[chosen]
    streams = view.streams
    return (
        view.col("uri")[chosen],
        offset,
        offset + view.moved[chosen],
        None if streams is None else streams[chosen],
    )


def _following(group: Ints, offset: Ints, end: Ints) -> tuple[Mask, Ints]:
    """For ops sorted by group: which of those with a predecessor in it start at its end, and how far off they are."""
    same = group[1:] == group[:-1]
    gap = (offset[1:] - end[:-1])[same]
    return gap == 0, gap


def _in_streams(uri: Ints, offset: Ints, end: Ints, streams: Ints) -> tuple[Mask, Ints]:
    """For reads with a predecessor in their stream: which continue it, and how far off those of the same file are."""
    order = np.argsort(streams, kind="stable")
    uri, offset, end, streams = uri[order], offset[order], end[order], streams[order]
    same = streams[1:] == streams[:-1]
    gap, one_file = (offset[1:] - end[:-1])[same], (uri[1:] == uri[:-1])[same]
    return one_file & (gap == 0), gap[one_file]


def _share(flags: Mask) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _runs(group: Ints, follows: Mask) -> Histogram:
    """Lengths of maximal runs of reads that each continue the one before, in ops sorted by file."""
    if not len(group):
        return Histogram()
    starts = np.ones(len(group), np.bool_)
    inner = np.flatnonzero(group[1:] == group[:-1]) + 1
    starts[inner[follows]] = False
    edges = np.append(np.flatnonzero(starts), len(group))
    return Histogram.of(np.diff(edges))


def _reaccess(uri: Ints, offset: Ints) -> float | None:
    if not len(uri):
        return None
    order = np.lexsort((offset, uri))
    uri, offset = uri[order], offset[order]
    places = 1 + int(((uri[1:] != uri[:-1]) | (offset[1:] != offset[:-1])).sum())
    return 1 - places / len(uri)


def _top_share(uri: Ints) -> float | None:
    if not len(uri):
        return None
    counts = np.bincount(uri)
    counts = np.sort(counts[counts > 0])[::-1]
    top = -(-len(counts) // 100)
    return float(counts[:top].sum() / counts.sum())


def _first_touch_jumps(view: View) -> Ints:
    uri = view.col("uri")
    if not len(uri):
        return np.zeros(0, np.int64)
    codes, first = np.unique(uri, return_index=True)
    names = view.trace.uris
    by_name = sorted(range(len(codes)), key=lambda position: _natural(names[codes[position]]))
    rank = np.empty(len(codes), np.int64)
    rank[by_name] = np.arange(len(codes))
    return np.abs(np.diff(rank[np.argsort(first)]))


def _natural(name: str) -> str:
    # img_9 before img_10: with leading zeros, numbers in names compare as numbers.
    return _DIGITS.sub(lambda number: number[0].zfill(20), name)


def _randomness(jumps: Ints, files: int) -> float | None:
    # The mean distance of two different ranks drawn at random from n is (n + 1) / 3.
    if files < 3:
        return None
    return float((jumps.mean() - 1) / ((files + 1) / 3 - 1))
