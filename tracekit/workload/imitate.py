"""Reading as a framework does: the lanes of a profile, each with threads of its own, and the batches as they become whole.

Threads stand for the framework's worker processes: their requests and their order are the same, and nothing of Python is between
two requests that the framework would not have there. Reads leave the interpreter lock while they are under way.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tracekit
from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Access, Buffer, Handle
from tracekit.storage.objects import ObjectHandle
from tracekit.units import format_bytes
from tracekit.workload.compute import Pace
from tracekit.workload.dataset import Dataset
from tracekit.workload.job import Job
from tracekit.workload.lanes import Dealt, Item, Lane, passes
from tracekit.workload.options import DIRECT_BYTES
from tracekit.workload.readers import Reader
from tracekit.workload.readers.registry import Requests
from tracekit.workload.shape import Shape

# Parts that one call takes (IOV_MAX), and the least that memory for requests is.
_MOST_VIEWS = 1024
_LEAST_BUFFER = 64 << 10


@dataclass(slots=True)
class Step:
    """One batch that is there.

    Args:
        epoch: The pass, from 0.
        samples: How many samples it has.
        bytes: Bytes read for it.
        io_s: Seconds its requests took, added up over threads.
        decode_s: Seconds its samples took to prepare.
    """

    epoch: int
    samples: int = 0
    bytes: int = 0
    io_s: float = 0.0
    decode_s: float = 0.0


def imitate(
    job: Job,
    shape: Shape,
    dataset: Dataset,
    policy: str = "default",
    reader: Reader | None = None,
    only: Sequence[int] = (),
) -> Generator[Step]:
    """Read a data set as a framework does; a step for each batch, when it is there.

    Args:
        job: Batches, workers, seeds and times.
        shape: The framework's requests.
        dataset: What is read.
        policy: The page cache: `default`, `random`, `sequential` or `direct`.
        reader: By which requests each sample is read, where its format decides that and not the shape.
        only: The epochs that are made, from 0; none for all of the job's.

    Raises:
        CannotRunError: If something cannot be read.
    """
    if reader is not None and reader.beside:
        dataset = dataset.beside(reader.beside)
    with ExitStack() as opened:
        try:
            _look(shape, dataset, opened)
        except OSError as error:
            raise CannotRunError(
                f"{error.filename or dataset.uri(0)} cannot be read: {error.strerror}",
                "check that it is there and may be read",
            ) from None
        for dealt in passes(job, shape, dataset, reader, only):
            yield from _Readers(job, shape, dataset, policy, dealt).steps_in_turn()


def _look(shape: Shape, dataset: Dataset, opened: ExitStack) -> None:
    """What the framework's main process looks at before it starts."""
    if shape.looks in {"list", "names"}:
        for folder in dict.fromkeys(place.rpartition("/")[0] for place in dataset.places):
            dataset.storage.list(folder)
    if shape.looks not in {"", "names"}:
        for place in dataset.places:
            dataset.storage.stat(place)
    if shape.looks == "index":
        buffer = Buffer(shape.index + 2 * DIRECT_BYTES)
        for file, size in enumerate(dataset.sizes.tolist()):
            handle = dataset.storage.open(dataset.places[file], Access())
            opened.callback(handle.close)
            _read(handle, max(0, size - shape.index), min(shape.index, size), buffer, dataset, file)


@dataclass
class _Progress:
    """How far a lane is. Guarded by the readers' lock."""

    taken: int = 0
    allowed: int = 0
    whole: int = 0
    done: list[bool] = field(default_factory=list)


class _Readers:
    """The threads of one pass."""

    def __init__(self, job: Job, shape: Shape, dataset: Dataset, policy: str, dealt: Dealt) -> None:
        assert job.train is not None
        self.shape, self.dataset, self.policy, self.dealt = shape, dataset, policy, dealt
        self.changed = threading.Condition()
        self.progress = [_Progress(done=[False] * len(lane.items)) for lane in dealt.lanes]
        self.steps = [Step(epoch) for epoch, _ in dealt.batches]
        epoch = dealt.batches[0][0] if dealt.tagged and dealt.batches else -1
        self.feed = tracekit.feed(min(epoch, 0) if shape.anew else epoch)
        self.decode = job.train.preprocess_seconds
        self.seed, self.batch_size = job.loader.seed, job.loader.batch_size
        self.largest = _largest(dealt.lanes, shape, dataset)
        self.share = job.loader.max_bytes_in_flight // max(1, len(dealt.lanes) * shape.threads)
        self.failed: BaseException | None = None
        self.closed = False

    def steps_in_turn(self) -> Generator[Step]:
        """The steps, each when its batch is there; the threads end with it."""
        threads = [
            threading.Thread(target=self._work, args=(lane, number), daemon=True)
            for lane, handles in [(lane, _Handles(self)) for lane in self.dealt.lanes]
            for number in [handles] * self.shape.threads
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(len(self.steps)):
                self.feed.ask()
                self._await(number)
                self.feed.give()
                self._go_on(number)
                yield self.steps[number]
        finally:
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            for thread in threads:
                thread.join()
            self.feed.end()

    def _await(self, number: int) -> None:
        made_of = self.dealt.batches[number][1]
        with self.changed:
            if number == 0:
                self._begin()
            self.changed.wait_for(lambda: self.failed is not None or self._is_there(made_of))
            if self.failed is not None:
                raise self.failed

    def _begin(self) -> None:
        """At the very first batch every worker begins."""
        for lane, progress in zip(self.dealt.lanes, self.progress, strict=True):
            progress.allowed = lane.allowed[0] if lane.allowed else 0
        self.changed.notify_all()

    def _go_on(self, number: int) -> None:
        """Who made a batch reads on when it is handed over: that is when a DataLoader hands its worker the next indices."""
        with self.changed:
            for lane, own in self.dealt.batches[number][1]:
                allowed = self.dealt.lanes[lane].allowed
                self.progress[lane].allowed = allowed[min(own + 1, len(allowed) - 1)]
            self.changed.notify_all()

    def _is_there(self, made_of: Sequence[tuple[int, int]]) -> bool:
        return all(self.progress[lane].whole >= self.dealt.lanes[lane].needs[own] for lane, own in made_of)

    # -- the workers ------------------------------------------------------------------------------------------------

    def _work(self, lane: Lane, handles: _Handles) -> None:
        # Times of a worker are its own, whoever else works.
        pace = Pace(self.decode, np.random.default_rng([self.seed, lane.worker]))
        try:
            buffer = _buffer(self.largest, self.share)
            while (number := self._take(lane)) is not None:
                self._item(lane, number, handles, buffer, pace)
        except BaseException as error:  # whatever it is, the consumer must not wait for ever
            with self.changed:
                self.failed = self.failed or error
                self.changed.notify_all()
        finally:
            handles.leave()

    def _take(self, lane: Lane) -> int | None:
        progress = self.progress[lane.worker]
        with self.changed:
            while not self.closed and progress.taken < len(lane.items):
                if progress.taken < progress.allowed:
                    progress.taken += 1
                    return progress.taken - 1
                self.changed.wait()
            return None

    def _item(self, lane: Lane, number: int, handles: _Handles, buffer: Buffer, pace: Pace) -> None:
        item = lane.items[number]
        if self.dealt.tagged:
            self.feed.work(lane.worker, item.batch)
        marked: Any = tracekit.sample(item.sample) if self.dealt.tagged and item.sample >= 0 else nullcontext()
        begun = time.monotonic()
        with marked:
            moved = handles.read(item, buffer)
        read = time.monotonic()
        decoded = pace.spend() if item.samples else 0.0
        self._note(lane, number, item, Step(0, item.samples, moved, read - begun, decoded))

    def _note(self, lane: Lane, number: int, item: Item, done: Step) -> None:
        progress = self.progress[lane.worker]
        with self.changed:
            step = self.steps[item.batch if item.batch >= 0 else self._serves(number)]
            step.samples += done.samples
            step.bytes += done.bytes
            step.io_s += done.io_s
            step.decode_s += done.decode_s
            progress.done[number] = True
            while progress.whole < len(lane.items) and progress.done[progress.whole]:
                progress.whole += 1
            self.changed.notify_all()

    def _serves(self, number: int) -> int:
        """The batch of items that know none: what comes next is taken in turn from all lanes."""
        return min(number * len(self.dealt.lanes) // self.batch_size, len(self.steps) - 1)


def _buffer(largest: int, share: int) -> Buffer:
    """Memory for requests: for the largest, or what the cap leaves to each thread."""
    size = min(largest + 2 * DIRECT_BYTES, max(share // DIRECT_BYTES * DIRECT_BYTES, _LEAST_BUFFER))
    try:
        return Buffer(size)
    except (OSError, MemoryError, OverflowError):
        raise CannotRunError(
            f"there is no memory for requests of {format_bytes(size)}", "lower max_bytes_in_flight"
        ) from None


def _largest(lanes: Sequence[Lane], shape: Shape, dataset: Dataset) -> int:
    items = (item for lane in lanes for item in lane.items)
    # Requests that are worked out when they are made are not worked out for this: no larger than their file they are.
    sizes = (
        int(dataset.sizes[item.file]) if isinstance(item.requests, Requests) else max((length for _, length in item.requests), default=0)
        for item in items
    )  # fmt: skip
    return max(shape.index, max(sizes, default=0))


class _Handles:
    """The open files of one worker: one at a time, or where records are read all it has met."""

    def __init__(self, readers: _Readers) -> None:
        self._readers = readers
        self._open: dict[int, Handle] = {}
        self._lock = threading.Lock()
        self._users = readers.shape.threads

    def read(self, item: Item, buffer: Buffer) -> int:
        """Do what an item asks for; the bytes that came (errors: CannotRunError)."""
        dataset = self._readers.dataset
        if not item.requests and not item.opens and not item.closes:
            return 0
        try:
            handle = self._of(item, buffer)
            moved = sum(_read(handle, offset, length, buffer, dataset, item.file) for offset, length in item.requests)
        except OSError as error:
            raise CannotRunError(
                f"{dataset.uri(item.file)} cannot be read: {error.strerror}", "check that it is there and may be read"
            ) from None
        if item.closes:
            self._open.pop(item.file).close()
        return moved

    def _of(self, item: Item, buffer: Buffer) -> Handle:
        if self._readers.shape.unit != "record":
            if item.opens:
                for _ in range(self._readers.shape.stats):
                    self._readers.dataset.storage.stat(self._readers.dataset.places[item.file])
                self._open[item.file] = self._new(item.file)
            return self._open[item.file]
        with self._lock:
            handle = self._open.get(item.file)
            if handle is None:
                handle = self._open[item.file] = self._new(item.file)
                index = self._readers.shape.index
                size = int(self._readers.dataset.sizes[item.file])
                _read(handle, max(0, size - index), min(index, size), buffer, self._readers.dataset, item.file)
        return handle

    def _new(self, file: int) -> Handle:
        readers = self._readers
        return readers.dataset.storage.open(readers.dataset.places[file], Access(readers.policy))

    def leave(self) -> None:
        """A thread ends; the last one closes what is open."""
        with self._lock:
            self._users -= 1
            if not self._users:
                for handle in self._open.values():
                    handle.close()
                self._open.clear()


def _read(handle: Handle, offset: int, length: int, buffer: Buffer, dataset: Dataset, file: int) -> int:
    """Make a request; the bytes that came.

    Args:
        handle: Of whom.
        offset: Where it begins.
        length: What is asked for, beyond the end too where a framework does.
        buffer: Takes the bytes.
        dataset: Where the file is from.
        file: Its number there.

    Raises:
        InputError: If it is shorter than it was listed.
    """
    there, done = min(length, max(0, int(dataset.sizes[file]) - offset)), 0
    while True:
        got = _request(handle, offset + done, length - done, buffer)
        done += got
        if done >= there:
            return done
        if got <= 0:
            raise InputError(
                f"{dataset.uri(file)} gave {done} of {there} bytes at {offset}: it is shorter than when it was listed",
                "run again with the data as it is now",
            )


def _request(handle: Handle, offset: int, length: int, buffer: Buffer) -> int:
    at, span = handle.span(offset, length)
    if span <= buffer.size:
        return handle.delivered(offset, length, handle.pread(buffer, span, at))
    if isinstance(handle, ObjectHandle):
        return handle.skim(span, at)[0]
    # One request as the framework makes it, into the same memory again and again: nobody looks at it.
    whole, rest = divmod(span, buffer.size)
    views = [buffer.view] * whole + [buffer.view[:rest]] * bool(rest)
    return handle.delivered(offset, length, os.preadv(handle.fileno(), views[:_MOST_VIEWS], at))
