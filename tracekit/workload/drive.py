"""One rank of a run, in a process of its own: it reads, computes, and notes what each step took.

    tracekit.workload.drive PLAN             one rank
    tracekit.workload.drive PLAN PLAN...     a process for each, started together
    tracekit.workload.drive --line FD PLAN   a process for it, which begins when who holds the line says so

Everything that is not the workload (listing the data, drawing up the plan, the report) is done by who starts it, so that a recording
of this process holds the workload and nothing else.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tracekit.errors import EXIT_INTERRUPTED, TracekitError
from tracekit.storage import storage_for
from tracekit.workload.checkpoint import Moved, Told
from tracekit.workload.compute import Pace
from tracekit.workload.dataset import Dataset
from tracekit.workload.imitate import Step, imitate
from tracekit.workload.job import Evaluate, Job, Train
from tracekit.workload.loader import Loader
from tracekit.workload.readers import Reader
from tracekit.workload.rendezvous import ENDING, LeftError, Line, Meeting, conduct
from tracekit.workload.shape import Shape
from tracekit.workload.standing import Board

if TYPE_CHECKING:
    from tracekit.workload.schedule import Saver

TRAIN, EVALUATE = "train", "evaluate"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Listing:
    """A data set as it was listed.

    Args:
        uri: Where it is.
        places: Its files.
        sizes: Their sizes.
        file: The file of each sample; None where every file is one.
        offset: Where each begins.
        length: How long each is.
        scheme: As in `Dataset`.
    """

    uri: str
    places: list[str]
    sizes: list[int]
    file: list[int] | None = None
    offset: list[int] | None = None
    length: list[int] | None = None
    scheme: str = ""

    @classmethod
    def of(cls, uri: str, dataset: Dataset) -> Listing:
        """What a data set is made of."""
        places, sizes, scheme = dataset.places, dataset.sizes.tolist(), dataset.scheme
        if len(dataset.file) == len(places) and not dataset.offset.any() and (dataset.length == dataset.sizes).all():
            return cls(uri, places, sizes, scheme=scheme)
        parts = (dataset.file.tolist(), dataset.offset.tolist(), dataset.length.tolist())
        return cls(uri, places, sizes, *parts, scheme)

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return len(self.places) if self.file is None else len(self.file)

    def dataset(self) -> Dataset:
        """The data set again."""
        parts = [None if part is None else np.asarray(part, np.int64) for part in (self.file, self.offset, self.length)]
        return Dataset(storage_for(self.uri), self.places, self.sizes, parts[0], parts[1], parts[2], self.scheme)


@dataclass(frozen=True)
class Plan:
    """What one rank does.

    Args:
        job: The job; its loader options name the rank's share.
        train: What training reads.
        evaluate: What evaluation reads; None for none.
        shape: The framework's requests; None for the loader's own.
        policy: The page cache.
        max_steps: Training steps in all; None for no such limit.
        rank: Which rank it is.
        ranks: How many there are.
        result: The file for what came of it.
        standing: The file for how far it is; empty where nobody looks.
        per_host: Ranks of a host; 0 for all of them.
        reader: By which requests each training sample is read, where its format decides that.
        evaluate_reader: The same for evaluation.
        whole: Whether a framework's epochs are one pass, with nothing between them.
    """

    job: Job
    train: Listing
    evaluate: Listing | None = None
    shape: Shape | None = None
    policy: str = "default"
    max_steps: int | None = None
    rank: int = 0
    ranks: int = 1
    result: str = ""
    standing: str = ""
    per_host: int = 0
    reader: Reader | None = None
    evaluate_reader: Reader | None = None
    whole: bool = True


@dataclass
class Row:
    """What one step took, in seconds."""

    phase: str
    epoch: int
    wait_s: float
    io_s: float
    decode_s: float
    compute_s: float
    samples: int
    bytes: int


@dataclass
class Result:
    """What came of one rank.

    Args:
        rank: Which.
        rows: Its steps.
        seconds: From the first batch asked for to the end.
        error: Why it ended early; empty where it did not.
        exit_code: The exit code of that.
        moved: What was written of checkpoints, and read back.
        left: Whether it ended only because another had.
    """

    rank: int
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0
    moved: list[Moved] = field(default_factory=list)
    left: bool = False


def run(plan: Plan, meet: Callable[[], None] = lambda: None) -> Result:
    """Do what a plan says; errors and an interrupt are part of the result, with the steps that were done.

    Args:
        plan: What it is.
        meet: Waits for all ranks.
    """
    result = Result(plan.rank)
    begun = time.monotonic()
    try:
        board = Board(plan.standing, plan.job)
        saver = _saver(plan, meet, result.moved, board)
        result.rows.extend(_rows(plan, saver, board))
        if saver is not None:
            saver.alone() if plan.job.train is None else saver.recover()
    except TracekitError as error:
        result.error, result.exit_code, result.left = str(error), error.exit_code, isinstance(error, LeftError)
    except KeyboardInterrupt:
        result.error, result.exit_code = INTERRUPTED, EXIT_INTERRUPTED
    result.seconds = time.monotonic() - begun
    return result


def _saver(plan: Plan, meet: Callable[[], None], moved: list[Moved], board: Board) -> Saver | None:
    if plan.job.checkpoint is None:
        return None
    from tracekit.workload.schedule import Saver, places_of

    due = places_of(plan.job, plan.train.samples, plan.ranks, plan.max_steps)
    return Saver(plan.job.checkpoint, plan.rank, plan.ranks, due, meet, moved, plan.per_host, Told(board.moved))


def _rows(plan: Plan, saver: Saver | None, board: Board) -> Iterator[Row]:
    train = plan.job.train
    if train is None:
        return
    compute = Pace(train.compute_seconds, np.random.default_rng([train.seed, plan.rank, 1]))
    evaluation = _Evaluation(plan)
    left = _least(plan.max_steps, train.total_steps)
    for steps in _passes(plan, train):
        epoch, step = -1, 0
        for row in _phase(TRAIN, _upto(steps, left), compute):
            step = step + 1 if row.epoch == epoch else 1
            epoch = row.epoch
            left = None if left is None else left - 1
            board.trained(row)
            yield row
            if saver is not None:
                saver.after_step(epoch + 1, step)
        if epoch >= 0:
            if saver is not None:
                saver.after_epoch(epoch + 1)
            for row in evaluation.after(epoch):
                board.evaluated()
                yield row
        if left == 0:
            return


def _phase(name: str, steps: Iterator[Step], compute: Pace) -> Iterator[Row]:
    """Wait for a batch, compute, and so on; a step is asked for when the one before has computed."""
    while True:
        asked = time.monotonic()
        step = next(steps, None)
        if step is None:
            return
        given = time.monotonic()
        compute.spend()
        done = time.monotonic()
        yield Row(name, step.epoch, given - asked, step.io_s, step.decode_s, done - given, step.samples, step.bytes)


def _upto(steps: Generator[Step], most: int | None) -> Iterator[Step]:
    with closing(steps):
        for number, step in enumerate(steps):
            yield step
            # Asking for one more only to leave it would read for nobody.
            if most is not None and number + 1 >= most:
                break


def _passes(plan: Plan, train: Train) -> Iterator[Generator[Step]]:
    """The steps of each epoch, so that none is read for before the evaluation is over; a framework's, which may read on, in one."""
    dataset = plan.train.dataset()
    if plan.shape is not None:
        # A framework's loader may read on into the next epoch; one that begins anew leaves room for what lies between.
        for only in [()] if plan.whole else ([epoch] for epoch in range(train.epochs)):
            yield imitate(plan.job, plan.shape, dataset, plan.policy, plan.reader, only)
        return
    decode = train.preprocess_seconds
    decode_or_none = decode if decode.varies or decode.mean else None
    options = replace(plan.job.loader, batch_size=train.batch_size, page_cache_mode=plan.policy)
    loader = Loader(dataset, options, decode=decode_or_none)
    for epoch in range(train.epochs):
        yield _epoch(loader, epoch, train)


def _epoch(loader: Loader, epoch: int, train: Train) -> Generator[Step]:
    loader.epoch = epoch if train.seed_changes else 0
    with closing(iter(loader)) as batches:
        for number, batch in enumerate(batches):
            yield Step(epoch, len(batch), batch.bytes, batch.io_s, batch.decode_s)
            if train.steps_per_epoch is not None and number + 1 >= train.steps_per_epoch:
                break


class _Evaluation:
    """The evaluation between epochs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._asked = plan.job.evaluate if plan.evaluate is not None else None
        self._loader: Loader | None = None

    def after(self, epoch: int) -> Iterator[Row]:
        """The steps of the evaluation after an epoch (from 0), where there is one."""
        asked, plan = self._asked, self._plan
        if asked is None or plan.evaluate is None:
            return
        since = epoch + 1 - asked.first_epoch
        if since < 0 or since % max(asked.every_epochs, 1):
            return
        pace = Pace(asked.compute_seconds, np.random.default_rng([plan.job.loader.seed, plan.rank, 2, epoch]))
        steps = self._loaded(asked, plan.evaluate, epoch) if plan.shape is None else self._imitated(asked, plan.evaluate, plan.shape, epoch)  # fmt: skip
        yield from _phase(EVALUATE, steps, pace)

    def _loaded(self, asked: Evaluate, listing: Listing, epoch: int) -> Iterator[Step]:
        if self._loader is None:
            options = replace(self._plan.job.loader, batch_size=asked.batch_size, page_cache_mode=self._plan.policy)
            self._loader = Loader(listing.dataset(), options)
        for batch in self._loader:
            yield Step(epoch, len(batch), batch.bytes, batch.io_s, batch.decode_s)

    def _imitated(self, asked: Evaluate, listing: Listing, shape: Shape, epoch: int) -> Iterator[Step]:
        plan = self._plan
        assert plan.job.train is not None
        train = replace(plan.job.train, batch_size=asked.batch_size)
        if asked.shuffle is not None:
            train = replace(train, shuffle_files=asked.shuffle, shuffle_samples=asked.shuffle)
        job = replace(plan.job, train=train, loader=replace(plan.job.loader, batch_size=asked.batch_size))
        with closing(imitate(job, shape, listing.dataset(), plan.policy, plan.evaluate_reader, [epoch])) as steps:
            yield from steps


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    # It comes from the terminal and from who started this: the second must not end the writing of what was done.
    for one in ENDING:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(paths: Sequence[str]) -> int:
    """Run one rank, or start several together."""
    if paths[0] == "--line":
        return conduct("tracekit.workload.drive", paths[2:], Line(socket.socket(fileno=int(paths[1]))))
    if len(paths) > 1:
        return conduct("tracekit.workload.drive", paths)
    plan = msgspec.json.decode(Path(paths[0]).read_bytes(), type=Plan)
    meet = Meeting(plan.rank, plan.ranks)
    for one in ENDING:
        signal.signal(one, _interrupt_once)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        meet()  # all are there before one begins
        result = run(plan, meet)
    except LeftError as error:
        result = Result(plan.rank, error=str(error), exit_code=error.exit_code, left=True)
    except KeyboardInterrupt:
        result = Result(plan.rank, error=INTERRUPTED, exit_code=EXIT_INTERRUPTED)
    Path(plan.result).write_bytes(msgspec.json.encode(result))
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
