"""What of a recording is the job's: the reads of its data, and the steps they serve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError
from tracekit.metrics.view import has_doubles
from tracekit.trace import NULL, Marks, Mask, Trace
from tracekit.uri import scheme_of

Ints = NDArray[np.int64]
# Where no op says which step it serves: kinds of files with less than that share of the bytes are not the data set.
_LEAST_SHARE = 0.02
_RECORD = "record the job with tracekit record -- COMMAND"


@dataclass(frozen=True)
class Steps:
    """The training steps, in order; times in ns, NULL where something is not known.

    Args:
        number: As recorded.
        epoch: Their epochs.
        asked: When the batch was asked for.
        given: When it was handed over.
        ended: When the next one was asked for.
        pid: Whose steps they are.
        ranks: How many processes have steps.
    """

    number: Ints
    epoch: Ints
    asked: Ints
    given: Ints
    ended: Ints
    pid: int = NULL
    ranks: int = 1

    def __len__(self) -> int:
        return len(self.number)

    def at(self, chosen: Mask) -> Steps:
        """Some of them."""
        return replace(
            self, number=self.number[chosen], epoch=self.epoch[chosen], asked=self.asked[chosen], given=self.given[chosen],
            ended=self.ended[chosen],
        )  # fmt: skip


@dataclass(frozen=True)
class Observed:
    """A recording, looked through.

    Args:
        source: The file.
        whole: All of it, in order of time.
        reads: The reads of the data set, by all ranks.
        own: Those of the rank whose steps are looked at.
        steps: Its steps.
        left_out: Files that were read and are not the data set.
        beside: Reads and writes of files that are not the data set.
        made: Writes of those that are: by a job that makes its data.
    """

    source: str
    whole: Trace
    reads: Trace
    own: Trace
    steps: Steps
    left_out: Sequence[str]
    beside: int = 0
    made: int = 0

    @property
    def tagged(self) -> bool:
        """Whether reads say which step they serve."""
        return bool((self.own.col("step") != NULL).any())

    @property
    def shared(self) -> bool:
        """Whether several ranks read, and reads say whose they are."""
        return self.steps.ranks > 1 and bool((self.own.col("rank") != NULL).any())

    @property
    def uris(self) -> list[str]:
        """The files of the data set, by name."""
        names = self.reads.uris
        return sorted(names[code] for code in np.unique(self.reads.col("uri")).tolist())


def observe(trace: Trace, source: str) -> Observed:
    """Look through a recording.

    Raises:
        InputError: If it has no reads, no steps, or no offsets.
    """
    whole = trace.sorted()
    # Of requests for objects those count that were answered; where another tool has calls beside their requests, the calls.
    once = ~whole.mask("level", "wire") if has_doubles(whole) else np.ones(len(whole), np.bool_)
    reads = whole.select(whole.mask("op", "read") & (whole.col("err") == NULL) & once)
    if not len(reads):
        raise InputError(f"{source} holds no reads", _RECORD)
    steps = _steps(whole, reads, source)
    data = reads.select(_is_data(reads, steps))
    _check(data, source)
    named = {reads.uris[code] for code in np.unique(reads.col("uri")).tolist()}
    kept = {data.uris[code] for code in np.unique(data.col("uri")).tolist()}
    written = whole.col("uri")[whole.mask("op", "write")]
    made = int(np.isin(written, np.unique(data.col("uri"))).sum())
    beside = len(reads) - len(data) + len(written) - made
    return Observed(source, whole, data, _of_rank(data, steps), steps, sorted(named - kept), beside, made)


def _check(data: Trace, source: str) -> None:
    schemes = {scheme_of(data.uris[code]) for code in np.unique(data.col("uri")).tolist()}
    kinds = sorted("files" if scheme.local else f"{scheme.name}:// objects" for scheme in schemes)
    if len(set(kinds)) > 1:
        raise InputError(
            f"{source} reads its data from {' and '.join(dict.fromkeys(kinds))}, and a run reads from one place",
            "choose one with --select 'uri=s3://*'",
        )
    if bool((data.col("offset") == NULL).any()):
        raise InputError(
            f"{source} does not say where in its files was read (it comes from {_maker(data)})",
            "record the job with tracekit record, or replay the trace with --null-offset",
        )


def _maker(trace: Trace) -> str:
    producer = trace.header.producer if trace.header else {}
    return str(producer.get("source") or producer.get("tool") or "a tool that leaves it out")


# -- steps --------------------------------------------------------------------------------------------------------------


def _steps(whole: Trace, reads: Trace, source: str) -> Steps:
    marked = _marked(Marks.of(whole.marks))
    if marked is not None:
        return marked
    step = reads.col("step").astype(np.int64)
    if not bool((step != NULL).any()):
        made_by = "" if whole.header and whole.header.producer.get("tool") == "tracekit" else " by another tool"
        raise InputError(
            f"{source}, a recording{made_by}, has no steps: nothing says what is read for one batch",
            "record a PyTorch job, or mark the loop with tracekit.step(), see docs/howto/record-a-program.md",
        )
    known = reads.select(step != NULL)
    numbers, places = np.unique(known.col("step"), return_index=True)
    nothing = np.full(len(numbers), NULL, np.int64)
    epoch = known.col("epoch")[places].astype(np.int64)
    asked = known.col("t_submit")[places]
    return Steps(numbers.astype(np.int64), epoch, asked, nothing, nothing, ranks=_ranks_of(reads))


def _ranks_of(reads: Trace) -> int:
    ranks = np.unique(reads.col("rank"))
    return max(1, int((ranks != NULL).sum()))


def _marked(marks: Marks) -> Steps | None:
    """The steps by their marks, of the process that has most; None without marks."""
    if "step" not in marks.names:
        return None
    of_step = np.flatnonzero(marks.kinds == marks.names.index("step"))
    if not len(of_step):
        return None
    pids, counts = np.unique(marks.pid[of_step], return_counts=True)
    pid = int(pids[np.argmax(counts)])
    chosen = of_step[marks.pid[of_step] == pid]
    chosen = chosen[np.argsort(marks.t[chosen], kind="stable")]
    given = np.full(len(chosen), NULL, np.int64)
    if "compute" in marks.names:
        of_compute = np.flatnonzero((marks.kinds == marks.names.index("compute")) & (marks.pid == pid))
        begun = dict(zip(marks.step[of_compute].tolist(), marks.t[of_compute].tolist(), strict=True))
        given = np.array([begun.get(number, NULL) for number in marks.step[chosen].tolist()], np.int64)
    ranks = int((counts * 2 >= counts.max()).sum())
    return Steps(marks.step[chosen], marks.epoch[chosen], marks.t[chosen], given, marks.t_end[chosen], pid, ranks)


# -- which reads --------------------------------------------------------------------------------------------------------


def _is_data(reads: Trace, steps: Steps) -> Mask:
    """Reads of files that steps are served from; index reads of the same files are among them."""
    uri, step = reads.col("uri"), reads.col("step")
    served = np.zeros(len(reads.uris) + 1, np.bool_)
    if bool((step != NULL).any()):
        served[np.unique(uri[step != NULL])] = True
        mask: Mask = served[uri]
        return mask
    time = reads.col("t_submit")
    last = int(steps.ended.max()) if len(steps) else 0
    during = (time <= last) if last > 0 else np.ones(len(reads), np.bool_)
    kinds = [os.path.splitext(name)[1] for name in reads.uris]
    names = sorted(set(kinds))
    kind = np.array([names.index(one) for one in kinds], np.int64)[uri]
    moved = np.bincount(kind[during], np.maximum(reads.col("ret"), 0)[during].astype(float), minlength=len(names))
    kept: Mask = (moved >= _LEAST_SHARE * max(moved.sum(), 1.0))[kind]
    return kept


def _of_rank(reads: Trace, steps: Steps) -> Trace:
    rank = reads.col("rank")
    if steps.ranks == 1 or not bool((rank != NULL).any()):
        return reads
    mine = rank[(reads.col("pid") == steps.pid) & (rank != NULL)]
    return reads.select(rank == (int(mine[0]) if len(mine) else int(rank[rank != NULL].min())))
