"""Order and locality: does a job read files through, in which order, and does it come back?"""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.following import Followed, Followers, Runs
from tracekit.metrics.groups import Groups
from tracekit.metrics.schema import metric
from tracekit.metrics.slots import Slots
from tracekit.metrics.view import Ints, Places, View

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
        "between files in order of their first read, or first write where nothing is read: distance in the order of their names, f9 before f10 or as sorted() has it, whichever jumps less",
        "files",
    )
    first_touch_randomness: float | None = metric(
        "(mean jump - 1) / ((files + 1) / 3 - 1): 0 where files are first read in order of names, about 1 in random order"
    )


class OrderTally:
    """The order of the data ops of a trace that comes in pieces.

    Memory: a few numbers per file and per stream, and the distinct places read (`tracekit.metrics.groups`).
    """

    def __init__(self) -> None:
        self._files = _Files()
        self._in_uri, self._in_stream = _Sequence(), _Sequence()
        self._runs, self._run_lengths = Runs(), Histogram()
        self._seeks, self._stream_seeks = Histogram(), Histogram()
        self._places = Groups(2)
        self._reads = 0
        self._told: set[str] = set()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._told |= view.told
        self._files.update(view)
        places = view.places
        if not len(places.uri):
            return
        self._reads += len(places.uri)
        followed = self._in_uri.take(places.uri, places)
        # A file's reads have one of the same file before them, or none.
        self._seeks.add(np.abs(followed.gap[followed.same]))
        self._run_lengths.add(self._runs.take(places.uri, followed.goes_on))
        self._places.add([places.uri, places.offset], [])
        if view.streams is not None:
            streams = view.streams if len(places.uri) == len(view.streams) else view.streams[view.placed]
            followed = self._in_stream.take(streams, places)
            self._stream_seeks.add(np.abs(followed.gap[followed.same]))

    def result(self) -> Order:
        """What has come so far."""
        jumps = self._files.jumps()
        return Order(
            sequential_in_uri=self._in_uri.share,
            sequential_in_stream=self._in_stream.share if self._told & {"pid", "tid"} else None,
            seek_in_uri_hist=self._seeks,
            seek_in_stream_hist=self._stream_seeks if self._told & {"pid", "tid"} else Histogram(),
            run_ops_hist=self._run_lengths + Histogram.of(self._runs.open),
            reaccess_share=self._reaccess(),
            top1_file_share=self._files.top_share(),
            first_touch_jump_hist=Histogram.of(jumps),
            first_touch_randomness=_randomness(jumps),
        )

    @property
    def files(self) -> int:
        """Distinct uris that were read or written."""
        return self._files.count

    def _reaccess(self) -> float | None:
        if not self._reads:
            return None
        return 1 - sum(len(keys[0]) for keys, _ in self._places.rows()) / self._reads


class _Sequence:
    """How often a read starts where the one before it in its group (a file, a stream) ended."""

    def __init__(self) -> None:
        self._followers = Followers()
        self._follow = self._all = 0

    @property
    def share(self) -> float | None:
        """The share of reads that do, of those that have one before; None where there is none."""
        return self._follow / self._all if self._all else None

    def take(self, group: Ints, places: Places) -> Followed:
        """Take in the next reads; what comes before each."""
        followed = self._followers.take(group, places)
        self._follow += int(np.count_nonzero(followed.goes_on))
        self._all += int(np.count_nonzero(followed.before))
        return followed


class _Files:
    """How often each file is read or written, and the order in which they are met.

    The order of reads is what a job shuffles; that it wrote its files one after another before says nothing of it.
    """

    def __init__(self) -> None:
        self._ops = Slots()
        self._read, self._written = _Met(), _Met()
        self._names: list[str] = []

    def update(self, view: View) -> None:
        """Take in the next piece."""
        uri = view.col("uri")
        if not len(uri):
            return
        self._names = view.trace.uris
        self._read.update(uri[view.reads])
        self._written.update(uri[~view.reads])
        self._ops.add(uri)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(np.count_nonzero(self._ops.values))

    @property
    def in_order(self) -> Ints:
        """The files in order of their first read, or of their first write where nothing is read."""
        return self._read.codes if len(self._read.codes) else self._written.codes

    def top_share(self) -> float | None:
        """The share of ops that go to the busiest 1 % of the files (rounded up)."""
        counts = np.sort(self._ops.values[self._ops.values > 0])[::-1]
        return float(counts[: -(-len(counts) // 100)].sum() / counts.sum()) if len(counts) else None

    def jumps(self) -> Ints:
        """Between files in that order: the distance in the order of their names.

        Programs sort names by their numbers or, with `sorted()`, plainly: of the two orders the one that jumps less is theirs.
        """
        if not len(self.in_order):
            return np.zeros(0, np.int64)
        names = [self._names[code] for code in self.in_order.tolist()]
        return min(_jumps([natural(name) for name in names]), _jumps(names), key=np.sum)


class _Met:
    """Files in the order in which they are met."""

    def __init__(self) -> None:
        self._seen = Slots()
        self._met: list[Ints] = []

    def update(self, uri: Ints) -> None:
        """Take in the next ops' files."""
        if not len(uri):
            return
        new = uri[self._seen.room(uri)[uri] == 0]
        if len(new):
            codes, first = np.unique(new, return_index=True)
            self._met.append(codes[np.argsort(first)])
            self._seen.add(new)

    @property
    def codes(self) -> Ints:
        """What has come so far."""
        return np.concatenate(self._met) if self._met else np.zeros(0, np.int64)


def _jumps(names: Sequence[str]) -> Ints:
    """From one name to the next: how far they are apart when all are sorted."""
    rank = np.empty(len(names), np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return np.abs(np.diff(rank))


def natural(name: str) -> str:
    """A name by which img_9 comes before img_10: with leading zeros, numbers in names compare as numbers."""
    return _DIGITS.sub(lambda number: number[0].zfill(20), name)


def _randomness(jumps: Ints) -> float | None:
    # The mean distance of two different ranks drawn at random from n is (n + 1) / 3.
    files = len(jumps) + 1
    if files < 3:
        return None
    return float((jumps.mean() - 1) / ((files + 1) / 3 - 1))
