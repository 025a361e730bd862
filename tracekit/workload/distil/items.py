"""What is read one by one: files, shards or records, each with the pass over the data and the step it is read for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.order import natural
from tracekit.trace import NULL, Mask, Trace
from tracekit.workload.distil.found import EXACT, HIGH, MEDIUM, Found
from tracekit.workload.distil.observed import Observed
from tracekit.workload.distil.rows import numbered
from tracekit.workload.distil.visits import Visits

Ints = NDArray[np.int64]
_MOST = 0.9


@dataclass(frozen=True)
class Items:
    """Items, in order of time.

    Args:
        place: Which item it is: its rank among all that are read, by name and offset.
        turn: The pass over the data, from 0.
        time: When its first read was issued.
        done: When its last read was complete.
        step: The step it serves; NULL where nobody knows.
        stream: Who read it.
        worker: The loader's worker; NULL where nobody knows.
        size: Its size in bytes.
    """

    place: Ints
    turn: Ints
    time: Ints
    done: Ints
    step: Ints
    stream: Ints
    worker: Ints
    size: Ints

    def __len__(self) -> int:
        return len(self.place)

    def at(self, chosen: Mask | NDArray[np.intp]) -> Items:
        """Some of them."""
        return Items(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def distinct(self) -> int:
        """How many different ones there are."""
        return len(np.unique(self.place))

    @property
    def turns(self) -> int:
        """How many passes."""
        return int(self.turn.max()) + 1 if len(self) else 0


def unit_of(observed: Observed, visits: Visits) -> Found:
    """Whether a sample is a file, one of many in a shard that is read through, or a record read by itself."""
    reads = observed.own
    sample = reads.col("sample_id")
    named = sample != NULL
    if named.mean() > _MOST:
        pairs = len(np.unique(numbered(reads.col("uri")[named], sample[named])))
        if pairs == len(np.unique(reads.col("uri")[named])):
            return Found("file", EXACT, "no file serves two samples", pairs)
        return Found("record", HIGH, "files serve several samples, each read by itself", pairs)
    through = float(visits.count[visits.sequential].sum()) / max(len(visits.reads), 1)
    if through < 1 - _MOST or len(visits.at(visits.sequential)) == 0:
        return Found("record", HIGH, "reads jump in files that stay open", len(visits.reads))
    step = visits.of("step")
    told = step != NULL
    if told.mean() > _MOST:
        several = float((visits.last("step") != step)[told].mean())
        _, counts = np.unique(step[told], return_counts=True)
        even = float((counts == np.bincount(counts).argmax()).mean())
        if several < 1 - _MOST and even > _MOST:
            return Found("file", HIGH, "every file is read within one step, and steps read as many files", len(visits))
        return Found("stream", HIGH, f"files are read through, {several:.0%} of them for several steps", len(visits))
    each = len(visits) / max(len(observed.steps), 1)
    if each >= 1.5:
        return Found("file", MEDIUM, f"{each:.1f} files are read through for each step", len(visits), "they may be shards of few samples")  # fmt: skip
    return Found("stream", HIGH, f"files are read through, {each:.2g} for each step", len(visits))


def index_bytes(reads: Trace) -> tuple[int, Mask]:
    """Bytes at a file's end that each process reads first, and which reads those are; 0 for none."""
    _, firsts = np.unique(numbered(reads.col("pid"), reads.col("uri")), return_index=True)
    mask = np.zeros(len(reads), np.bool_)
    end = reads.col("offset") + np.maximum(reads.col("ret"), 0)
    sizes = np.zeros(len(reads.uris) + 1, np.int64)
    np.maximum.at(sizes, reads.col("uri"), end)
    lengths, counts = np.unique(reads.col("len")[firsts], return_counts=True)
    usual = int(lengths[np.argmax(counts)])
    at_end = (end == sizes[reads.col("uri")]) & (reads.col("len") == usual) & (reads.col("offset") > 0)
    if at_end[firsts].mean() < _MOST:
        return 0, mask
    mask[firsts] = at_end[firsts]
    return usual, mask


def ranks_of(visits: Visits) -> Ints:
    """The rank of each visit, in the order of `of_visits`."""
    return visits.of("rank")[np.argsort(visits.of("t_submit"), kind="stable")]


def of_records(observed: Observed, left_out: Mask) -> Items:
    """Every read as an item."""
    reads = observed.own.select(~left_out)
    names = _name_ranks(reads)
    place = numbered(names[reads.col("uri")], reads.col("offset"))
    return _items(reads, np.arange(len(reads)), np.arange(len(reads)), place, reads.col("len"))


def of_visits(visits: Visits) -> Items:
    """Every visit as an item."""
    names = _name_ranks(visits.reads)
    used = np.unique(visits.of("uri"))
    ranks = np.argsort(np.argsort(names[used]))
    place = ranks[np.searchsorted(used, visits.of("uri"))]
    return _items(visits.reads, visits.first, visits.first + visits.count - 1, place, visits.sizes[visits.of("uri")])


def _items(reads: Trace, first: Ints, last: Ints, place: Ints, size: Ints) -> Items:
    stream = numbered(reads.col("pid"), reads.col("tid"))
    column = {name: reads.col(name)[first].astype(np.int64) for name in ("t_submit", "step", "epoch", "worker")}
    done = reads.col("t_complete")[last]
    order = np.argsort(column["t_submit"], kind="stable")
    turn = _turns(place[order], column["epoch"][order], column["step"][order])
    chosen = (place, None, column["t_submit"], done, column["step"], stream[first], column["worker"], size)
    values = [turn if values is None else np.asarray(values, np.int64)[order] for values in chosen]
    return Items(*values)


def _turns(place: Ints, epoch: Ints, step: Ints) -> Ints:
    """The pass of each item: its epoch where it says one, and how often the same was read before.

    A program that makes a loader for each epoch has every pass as that loader's first. Within an epoch the same may also be drawn
    twice: passes are told by the first being over before the second begins.
    """
    # By steps where they are known: of two ranks one may be a pass behind.
    when = step if bool((step != NULL).all()) else np.arange(len(place))
    order = np.lexsort((np.arange(len(place)), when, place, epoch))
    key = np.stack([epoch, place], axis=1)[order]
    begins = np.flatnonzero(np.append(True, (key[1:] != key[:-1]).any(axis=1)))
    before = np.empty(len(place), np.int64)
    before[order] = np.arange(len(place)) - np.repeat(begins, np.diff(np.append(begins, len(place))))
    if bool((step != NULL).all()) and not _follow_each_other(before, epoch, step):
        before[:] = 0
    return numbered(epoch, before)


def _follow_each_other(before: Ints, epoch: Ints, step: Ints) -> bool:
    """Whether what is read for the second time is read after everything was read once."""
    for number in np.unique(epoch).tolist():
        for again in range(1, int(before[epoch == number].max()) + 1):
            earlier, later = (step[(epoch == number) & (before == place)] for place in (again - 1, again))
            if len(later) < len(earlier) / 2 or later.min() < earlier.max():
                return False
    return True


def _name_ranks(reads: Trace) -> Ints:
    """The rank of each uri by name: by its numbers, or plainly as `sorted()` has it, whichever the reads jump less by."""
    names = reads.uris or [""]
    uri = reads.col("uri")[np.argsort(reads.col("t_submit"), kind="stable")]
    return min(
        (_ranks(names), _ranks(list(map(natural, names)))), key=lambda ranks: int(np.abs(np.diff(ranks[uri])).sum())
    )


def _ranks(names: Sequence[str]) -> Ints:
    ranks = np.empty(len(names), np.int64)
    ranks[np.argsort(np.array(names, object), kind="stable")] = np.arange(len(names))
    return ranks
