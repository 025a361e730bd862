"""Who reads what when a framework is imitated: every loader worker is a lane of items, read in order and only so far ahead.

Item    what is done for one sample: open, requests, close
Lane    the items of one worker, and how many of them each of its batches needs
deal    the lanes of a profile
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.dataset import Dataset
from tracekit.workload.job import Job
from tracekit.workload.order import order
from tracekit.workload.readers import Reader
from tracekit.workload.shape import Request, Shape

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Item:
    """What is done for one sample.

    Args:
        sample: Its number; -1 where requests serve no sample alone.
        file: The file.
        requests: What is asked of it.
        opens: Whether the file is opened before.
        closes: Whether it is closed afterwards.
        batch: The batch of the pass it is read for; -1 where nobody knows.
        samples: How many samples it makes: none where an index is read.
    """

    sample: int
    file: int
    requests: Sequence[Request]
    opens: bool
    closes: bool
    batch: int = -1
    samples: int = 1


@dataclass
class Lane:
    """One worker's items.

    Args:
        worker: Its number.
        items: In order.
        needs: How many of them must be there for each of its batches.
        allowed: How many it may have read until each of its batches is handed over.
    """

    worker: int
    items: list[Item] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)
    allowed: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Dealt:
    """The lanes of a pass, or of all of them.

    Args:
        lanes: One for each worker.
        batches: For each batch its epoch, and (lane, the lane's own number of it) of each lane it is made of.
        tagged: Whether items know the batch they serve.
    """

    lanes: list[Lane]
    batches: list[tuple[int, list[tuple[int, int]]]]
    tagged: bool


def passes(
    job: Job, shape: Shape, dataset: Dataset, reader: Reader | None = None, only: Sequence[int] = ()
) -> Iterator[Dealt]:
    """The lanes of each epoch, or once of all epochs together where workers go on from one to the next.

    Args:
        job: Batches, workers and seeds.
        shape: The framework's requests.
        dataset: What is read; files that are read beside it come last among its files.
        reader: By which requests each sample is read, where its format decides that.
        only: The epochs that are made, from 0; none for all of the job's.
    """
    assert job.train is not None
    epochs = only or range(job.train.epochs)
    for some in [list(epochs)] if shape.across else [[epoch] for epoch in epochs]:
        if shape.unit == "stream":
            yield _streams(job, shape, dataset, some)
        else:
            yield _samples(job, shape, dataset, some, reader)


def _samples(job: Job, shape: Shape, dataset: Dataset, epochs: Sequence[int], reader: Reader | None) -> Dealt:
    """Batches of samples that are read by themselves, dealt to the workers in turn."""
    assert job.train is not None
    workers, size = max(job.loader.num_workers, 1), job.loader.batch_size
    lanes = [Lane(worker) for worker in range(workers)]
    batches: list[tuple[int, list[tuple[int, int]]]] = []
    for epoch in epochs:
        indices = _order(job, len(dataset), epoch, shuffled=job.train.shuffle_samples)
        readers = [_Samples(shape, dataset, epoch, reader) for _ in lanes]
        for lane in lanes:
            lane.items += readers[lane.worker].indices(indices, len(batches) + lane.worker)
        for first in range(0, _whole(len(indices), size, drop=job.loader.drop_last), size):
            lane, number = lanes[len(batches) % workers], len(batches)
            for sample in indices[first : first + size]:
                lane.items.append(readers[lane.worker].item(int(sample), number))
            lane.needs.append(len(lane.items))
            batches.append((epoch, [(lane.worker, len(lane.needs) - 1)]))
    for lane in lanes:
        _allow(lane, job.loader.prefetch // workers, shape.read_buffer)
    return Dealt(lanes, batches, tagged=not shape.across)


def _order(job: Job, count: int, epoch: int, *, shuffled: bool) -> Ints:
    """The order of samples, or of shards."""
    assert job.train is not None
    options = job.loader.but(shuffle=shuffled and job.loader.index_mode == "none")
    return order(options, count, epoch if job.train.seed_changes else 0)


def _whole(count: int, size: int, *, drop: bool) -> int:
    return count // size * size if drop else count


class _Samples:
    """What one worker does for each sample.

    Args:
        shape: The framework's requests.
        dataset: What is read.
        epoch: The pass.
        reader: By which requests each sample is read; None where the shape says it.
    """

    def __init__(self, shape: Shape, dataset: Dataset, epoch: int, reader: Reader | None) -> None:
        self._shape, self._dataset, self._epoch, self._reader = shape, dataset, epoch, reader
        self._held = None if reader is None else reader.held
        self._last: Item | None = None

    def indices(self, samples: Ints, batch: int) -> list[Item]:
        """What comes before the first sample of all epochs, for workers live as long: the indices of all files that these samples are in."""
        reader, sizes = self._reader, self._dataset.sizes
        if reader is None or not reader.beside or self._epoch:
            return []
        first = len(self._dataset.places) - len(reader.beside)
        each = len(reader.beside) // first
        files = np.unique(self._dataset.file[samples])
        return [
            Item(-1, number, reader.index(int(sizes[number])), opens=True, closes=True, batch=batch, samples=0)
            for file in files
            for number in range(first + int(file) * each, first + (int(file) + 1) * each)
        ]

    def item(self, sample: int, batch: int) -> Item:
        """What is done for a sample of a batch."""
        file = int(self._dataset.file[sample])
        offset, length = int(self._dataset.offset[sample]), int(self._dataset.length[sample])
        if self._reader is not None:
            return self._of_format(self._reader, sample, file, batch)
        if self._shape.unit == "record":
            return Item(sample, file, ((offset, length),), opens=False, closes=False, batch=batch)
        seed = self._epoch * len(self._dataset) + sample
        requests = [(offset + at, size) for at, size in self._shape.requests(length, seed)]
        return Item(sample, file, requests, opens=True, closes=True, batch=batch)

    def _of_format(self, reader: Reader, sample: int, file: int, batch: int) -> Item:
        size = int(self._dataset.sizes[file])
        if self._held is None:
            asked = reader.requests(file, size, sample)
            return Item(sample, file, asked, opens=reader.opens, closes=reader.opens, batch=batch)
        lacking = reader.lacking(self._held, file, size, sample)
        if self._last is not None and self._last.file == file:
            # The file stays open: what closed it so far is not the last that reads it.
            self._last.closes, opens = False, False
        else:
            opens = True
        self._last = Item(sample, file, lacking, opens=opens, closes=True, batch=batch)
        return self._last


def _streams(job: Job, shape: Shape, dataset: Dataset, epochs: Sequence[int]) -> Dealt:
    """Shards dealt to the workers in turn and read from front to back; batches as samples pass by."""
    assert job.train is not None
    workers, size = max(job.loader.num_workers, 1), job.loader.batch_size
    lanes = [Lane(worker) for worker in range(workers)]
    first_of, counts = _samples_of(dataset)
    turns = [0] * len(epochs)
    for place, epoch in enumerate(epochs):
        shards = _order(job, len(dataset.places), epoch, shuffled=job.train.shuffle_files)
        for position, shard in enumerate(shards):
            lane = lanes[position % workers]
            lane.items += _stream(shape, dataset, int(shard), int(first_of[shard]), int(counts[shard]))
        turns[place] = sum(len(lane.items) for lane in lanes)
    ways = _Ways(size, job.train.shuffle_buffer, drop_last=job.loader.drop_last)
    batches = _together(lanes, ways, turns, epochs) if shape.together else _by_worker(lanes, ways, epochs[0])
    ahead = job.loader.prefetch if shape.together else job.loader.prefetch // workers
    for lane in lanes:
        _allow(lane, ahead, shape.read_buffer)
    if not shape.together:
        _tag(lanes, batches)
    return Dealt(lanes, batches, tagged=not shape.together)


def _samples_of(dataset: Dataset) -> tuple[Ints, Ints]:
    counts = np.bincount(dataset.file, minlength=len(dataset.places))
    return np.cumsum(counts) - counts, counts


def _stream(shape: Shape, dataset: Dataset, shard: int, first: int, count: int) -> list[Item]:
    """The samples of a shard, each with the requests that have to be made until its last byte is there."""
    requests = shape.requests(int(dataset.sizes[shard]), shard)
    items, done = [], 0
    for number in range(count):
        end = int(dataset.offset[first + number] + dataset.length[first + number])
        upto = done
        while upto < len(requests) and requests[upto][0] < end:
            upto += 1
        upto = len(requests) if number == count - 1 else upto
        items.append(Item(-1, shard, requests[done:upto], opens=number == 0, closes=number == count - 1))
        done = upto
    return items


@dataclass(frozen=True)
class _Ways:
    """How batches are made of samples that pass by."""

    size: int
    buffer: int
    drop_last: bool

    def batches(self, samples: int) -> int:
        """How many there are of so many samples."""
        return samples // self.size if self.drop_last else -(-samples // self.size)

    def needs(self, number: int, samples: int) -> int:
        """How many samples have to have passed for a batch: those of a full buffer, too."""
        return min(samples, self.buffer + self.size * (number + 1))


def _by_worker(lanes: list[Lane], ways: _Ways, epoch: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Each worker makes batches of its own samples; they are handed over in turn."""
    for lane in lanes:
        count = len(lane.items)
        lane.needs += [ways.needs(number, count) for number in range(ways.batches(count))]
    most = max(len(lane.needs) for lane in lanes)
    return [(epoch, [(lane.worker, number)]) for number in range(most) for lane in lanes if number < len(lane.needs)]


def _together(
    lanes: list[Lane], ways: _Ways, turns: Sequence[int], epochs: Sequence[int]
) -> list[tuple[int, list[tuple[int, int]]]]:
    """Batches of what all workers read, taken from them in turn."""
    total, found = turns[-1], []
    for number in range(ways.batches(total)):
        wanted = ways.needs(number, total)
        for lane in lanes:
            lane.needs.append(min(len(lane.items), -(-wanted // len(lanes))))
        first = min(number * ways.size, total - 1)
        epoch = epochs[int(np.searchsorted(turns, first, side="right"))]
        found.append((epoch, [(lane.worker, number) for lane in lanes]))
    return found


def _allow(lane: Lane, ahead: int, beyond: int) -> None:
    last = len(lane.items)
    for number in range(len(lane.needs)):
        upto = number + max(ahead, 1) - 1
        lane.allowed.append(last if upto >= len(lane.needs) - 1 else min(last, lane.needs[upto] + beyond))


def _tag(lanes: list[Lane], batches: Sequence[tuple[int, list[tuple[int, int]]]]) -> None:
    """Items serve the batch that first needs them; what follows the last one serves it, too."""
    numbers: list[list[int]] = [[] for _ in lanes]
    for number, (_, made_of) in enumerate(batches):
        numbers[made_of[0][0]].append(number)
    for lane, own in zip(lanes, numbers, strict=True):
        at = 0
        for number, need in zip(own, lane.needs, strict=True):
            while at < need:
                lane.items[at].batch = number
                at += 1
