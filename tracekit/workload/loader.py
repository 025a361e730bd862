"""A loader: reads samples in batches ahead of whoever consumes them, within a cap of bytes.

    Loader      a data set with options; every iteration is one pass, an epoch
    _Pass       one pass: what was planned, what is being read, what is ready

Threads take tasks (parts of batches) in order. A batch is begun when it fits under the cap together with all that were begun
and with the last one that was handed over, which the consumer may still be looking at. No batch takes more than half of what there is
for batches, so there is always room for one more; what does not fit into that half is handed over unread and comes in pieces.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tracekit
from tracekit.errors import CannotRunError, UsageError
from tracekit.metrics import Metrics
from tracekit.trace import Trace
from tracekit.workload import fetch, plan
from tracekit.workload.batch import Batch
from tracekit.workload.compute import Pace
from tracekit.workload.dataset import Dataset, create_dataset
from tracekit.workload.distribution import Distribution
from tracekit.workload.fetch import Fetcher, Ranges
from tracekit.workload.memory import Arenas, pages
from tracekit.workload.options import DIRECT_BYTES, LoaderOptions
from tracekit.workload.order import batches, order
from tracekit.workload.requestlog import RequestLog

_DEFAULT_TIMEOUT_S = 600.0


class Loader:
    """Batches of a data set; iterate over it with `for` or `async for`. Every iteration is the next epoch.

    Args:
        dataset: What to read.
        options: How.
        metrics: Keep a record of every request for `metrics()` and `trace()`; it takes some 100 bytes a request.
        decode: Seconds that a worker takes with each sample after it was read, as decoding would.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: LoaderOptions,
        *,
        metrics: bool = False,
        decode: Distribution | None = None,
    ) -> None:
        self.dataset = dataset
        self.options = options
        self.policy = "direct" if dataset.scheme == "direct" else options.page_cache_mode
        self.fetcher: Fetcher = fetch.choose(dataset, self.policy, options.direct_depth)
        self.log = RequestLog(dataset, self.fetcher) if metrics else None
        self.decode = decode
        self.epoch = 0
        self._check()

    def _check(self) -> None:
        request = self.options.request_bytes
        if self.policy == "direct" and request % DIRECT_BYTES:
            raise UsageError(
                f"target_request_bytes is {request}, and direct:// reads multiples of {DIRECT_BYTES}", "round it"
            )
        if self.policy != "default" and not self.dataset.storage.local:
            raise UsageError(
                f"page_cache_mode is {self.policy!r}, and objects have no page cache here", "leave it at default"
            )

    def __len__(self) -> int:
        """Batches of a pass."""
        return len(batches(self.indices(), self.options.batch_size, drop_last=self.options.drop_last))

    def indices(self) -> NDArray[np.int64]:
        """The samples of the next epoch, in order."""
        return order(self.options, len(self.dataset), self.epoch)

    def __iter__(self) -> Epoch:
        this, self.epoch = Epoch(_Pass(self, self.epoch)), self.epoch + 1
        return this

    async def __aiter__(self) -> AsyncIterator[Batch]:
        this = iter(self)
        # One context for all calls: what is said there about the step is asked for again.
        context, events = contextvars.copy_context(), asyncio.get_running_loop()
        try:
            # A batch that is waited for holds a thread of asyncio's, not the event loop.
            while (batch := await events.run_in_executor(None, context.run, this.advance)) is not None:
                yield batch
        finally:
            # Where this task is cancelled, a thread of asyncio's may still be in the context itself.
            context.copy().run(this.close)

    def trace(self) -> Trace:
        """Every request so far (errors: UsageError, without `metrics=True`)."""
        return self._logged().trace()

    def metrics(self) -> Metrics:
        """The metrics snapshot of all requests so far (errors: UsageError, without `metrics=True`)."""
        return self._logged().metrics()

    def _logged(self) -> RequestLog:
        if self.log is None:
            raise UsageError("this loader keeps no record of its requests", "make it with metrics=True")
        return self.log


def create_async_loader(
    uri: str | Dataset, options: LoaderOptions | Mapping[str, Any] | None = None, *, metrics: bool = False
) -> Loader:
    """A loader of what is below a URI, for `for` and `async for`.

    Args:
        uri: A path or URI (see `create_dataset`), or a data set.
        options: How to read; a mapping is checked name by name.
        metrics: Whether `Loader.metrics()` is wanted.

    Raises:
        UsageError: If an option is wrong.
        InputError: If there is nothing to read.
        CannotRunError: If it may not be read.
    """
    chosen = options if isinstance(options, LoaderOptions) else LoaderOptions.of(options or {})
    dataset = uri if isinstance(uri, Dataset) else create_dataset(uri)
    return Loader(dataset, chosen, metrics=metrics)


class Epoch(Iterator[Batch]):
    """The batches of one pass. Leaving it early is noticed when it goes out of use; `close` also waits for the threads."""

    def __init__(self, run: _Pass) -> None:
        # The threads know the pass and not this: so it goes when nobody iterates any more.
        self._run = run

    def __next__(self) -> Batch:
        return self._run.following()

    def advance(self) -> Batch | None:
        """The next batch; None at the end, which no future can raise as StopIteration."""
        return next(self, None)

    def close(self) -> None:
        """End the pass; requests under way are waited for, unless waiting for one was given up before."""
        self._run.close()

    def __del__(self) -> None:
        self._run.stop()


class _Work:
    """A batch that was begun."""

    __slots__ = ("batch", "held", "memory", "pending", "whole")

    def __init__(self, batch: Batch, whole: Ranges, memory: NDArray[np.uint8], held: int, pending: int) -> None:
        self.batch = batch
        self.whole = whole
        self.memory = memory
        self.held = held
        self.pending = pending


class _Pass:
    """One pass over a loader's samples."""

    def __init__(self, loader: Loader, epoch: int) -> None:
        self.loader, self.epoch = loader, epoch
        options = loader.options
        self.plan = batches(order(options, len(loader.dataset), epoch), options.batch_size, drop_last=options.drop_last)
        self.discard = options.loading_mode == "discard"
        spare = options.threads * options.request_bytes
        self.room = max(options.max_bytes_in_flight - spare, 2)
        self.arenas = Arenas(self.room, aligned=loader.policy == "direct")
        self.feed = tracekit.feed(epoch)
        self.paces = [
            Pace(loader.decode, np.random.default_rng([options.seed, epoch, worker])) if loader.decode else None
            for worker in range(max(self._count(), 1))
        ]
        self.changed = threading.Condition()
        self.tasks: deque[tuple[_Work, slice]] = deque()
        self.begun: deque[_Work] = deque()
        self.given: _Work | None = None
        self.next = self.delivered = self.held = 0
        self.failed: BaseException | None = None
        self.closed = self.stuck = False
        self.timeout_s = options.pool.batch_timeout_s if options.pool else _DEFAULT_TIMEOUT_S
        self.threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(self._count())]
        for thread in self.threads:
            thread.start()

    def _count(self) -> int:
        options = self.loader.options
        if options.num_workers == 0 and options.pool is None:
            return 0
        return min(options.threads, options.pool.max_inflight if options.pool else options.threads)

    # -- the consumer -----------------------------------------------------------------------------------------------

    def following(self) -> Batch:
        """The next batch, when it is there."""
        self.feed.ask()
        try:
            work = self._await()
        except BaseException:
            self.close()
            raise
        if work is None:
            self.close()
            raise StopIteration
        self.feed.give()
        return work.batch

    def _await(self) -> _Work | None:
        with self.changed:
            if self.closed or self.delivered == len(self.plan):
                return None
            if not self.threads:
                self._here()
            self.changed.notify_all()
            if not self.changed.wait_for(self._is_ready, self.timeout_s):
                self.stuck = True
                raise CannotRunError(
                    f"batch {self.delivered} did not come within {self.timeout_s:g} s",
                    "is the storage there? See batch_timeout_s",
                )
            if self.failed is not None:
                raise self.failed
            # Where another thread has closed the pass meanwhile, nothing comes any more.
            return self._hand_over() if self._has_come() else None

    def _is_ready(self) -> bool:
        return self.closed or self.failed is not None or self._has_come()

    def _has_come(self) -> bool:
        return bool(self.begun and not self.begun[0].pending)

    def _hand_over(self) -> _Work:
        work, before = self.begun.popleft(), self.given
        rows = work.whole.rows
        work.batch.took(io_s=float((rows["completed"] - rows["submitted"]).sum()) / 1e9)
        self.given = work
        self.delivered += 1
        if before is not None:
            # The consumer has asked again since: what it was handed before the last is out of its hands.
            self.held -= before.held
            self.arenas.give(before.memory, self.held)
        self.changed.notify_all()
        return work

    def _here(self) -> None:
        """Read the next batch in the consumer's own thread."""
        self._begin()
        while self.tasks:
            work, which = self.tasks.popleft()
            work.batch.took(decode_s=self._do(0, work, which))
            work.pending -= 1

    def stop(self) -> None:
        """Let the threads end."""
        with self.changed:
            self.closed = True
            self.tasks.clear()
            self.changed.notify_all()

    def close(self) -> None:
        """Let the threads end, and wait for them where nobody gave up waiting before."""
        self.stop()
        for thread in [] if self.stuck else self.threads:
            thread.join()
        self.feed.end()

    # -- the workers ------------------------------------------------------------------------------------------------

    def _work(self, worker: int) -> None:
        scratch = pages(self.loader.options.request_bytes + DIRECT_BYTES) if self.discard else None
        # A function of its own: a thread that waits for its next task must not hold the memory of its last.
        while self._next_task(worker, scratch):
            pass

    def _next_task(self, worker: int, scratch: NDArray[np.uint8] | None) -> bool:
        """Do the next task; False when there will be none."""
        task = self._take()
        if task is None:
            return False
        work, which = task
        try:
            decoded = self._do(worker, work, which, scratch)
        except BaseException as error:  # whatever it is, the consumer must not wait for ever
            self._fail(error)
            return False
        with self.changed:
            work.batch.took(decode_s=decoded)
            work.pending -= 1
            if not work.pending:
                self.changed.notify_all()
        return True

    def _take(self) -> tuple[_Work, slice] | None:
        with self.changed:
            while not self.closed:
                if self.tasks:
                    return self.tasks.popleft()
                if self._may_begin():
                    try:
                        self._begin()
                    except BaseException as error:
                        self.failed = error
                        self.changed.notify_all()
                        return None
                else:
                    self.changed.wait()
            return None

    def _fail(self, error: BaseException) -> None:
        with self.changed:
            self.failed = self.failed or error
            self.changed.notify_all()

    def _may_begin(self) -> bool:
        if self.failed is not None or self.next == len(self.plan):
            return False
        # With nothing begun the consumer would wait for ever: half of the room is always left for one.
        return not self.begun or (len(self.begun) < self.loader.options.ahead and self.held < self.room // 2)

    def _begin(self) -> None:
        """Plan the next batch and put its tasks up."""
        loader, indices = self.loader, self.plan[self.next]
        options = loader.options
        layout = plan.lay_out(
            loader.dataset, indices, self.room // 2, options.request_bytes, direct=loader.policy == "direct",
            discard=self.discard,
        )  # fmt: skip
        memory = self.arenas.take(layout.bytes, self.held)
        whole = plan.ranges(loader.dataset, indices, layout, memory)
        held = 0 if self.discard else layout.bytes
        dealt = plan.tasks(whole, max(len(self.threads), 1), split_samples=options.reader_mode == "range")
        pieces = None if self.discard else self._pieces
        shown = None if self.discard else memory
        batch = Batch(loader.dataset, self.epoch, self.next, indices, shown, layout.starts, pieces)
        work = _Work(batch, whole, memory, held, len(dealt))
        self.next += 1
        self.held += held
        self.begun.append(work)
        self.tasks.extend((work, which) for which in dealt)
        self.changed.notify_all()

    def _do(self, worker: int, work: _Work, which: slice, scratch: NDArray[np.uint8] | None = None) -> float:
        """Read a part of a batch; the seconds that decoding took."""
        ranges = plan.part(work.whole, which)
        if scratch is not None:
            ranges.rows["address"] = scratch.ctypes.data
            ranges = Ranges(ranges.rows, ranges.files, ranges.samples, scratch, ranges.wanted)
        self.feed.work(worker, work.batch.number)
        self.loader.fetcher.fetch(ranges)
        if self.loader.log is not None:
            self.loader.log.note(ranges, worker=worker, epoch=self.epoch, step=work.batch.number)
        fetch.check(self.loader.dataset, ranges)
        pace, whole = self.paces[worker], work.whole.samples
        if pace is None:
            return 0.0
        # A sample whose requests are shared among threads is decoded by the one that has its first.
        firsts = sum(at == 0 or whole[at] != whole[at - 1] for at in range(which.start, which.stop))
        return sum(pace.spend() for _ in range(firsts))

    def _pieces(self, index: int) -> Iterator[memoryview]:
        """Read a sample that is not held, piece by piece, in the calling thread."""
        loader, one = self.loader, np.array([index], np.int64)
        direct = loader.policy == "direct"
        request = loader.options.request_bytes
        layout = plan.lay_out(loader.dataset, one, request, request, direct=direct, discard=True)
        memory = pages(request + DIRECT_BYTES)
        whole = plan.ranges(loader.dataset, one, layout, memory)
        begin = int(loader.dataset.offset[index])
        for number in range(len(whole.rows)):
            ranges = plan.part(whole, slice(number, number + 1))
            loader.fetcher.fetch(ranges)
            fetch.check(loader.dataset, ranges)
            skip = max(0, begin - int(ranges.rows["offset"][0]))
            yield memory.data[skip : int(ranges.wanted[0])]
