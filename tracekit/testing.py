"""For tests, ours and users': a clock that only moves when told, and traces whose every number is known beforehand."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tracekit.trace import Header, Mark, Op, Trace, Trailer

MS = 1_000_000


class FakeClock:
    """A monotonic clock in ns that stands still until somebody sleeps or moves it.

    Args:
        now_ns: Where it starts.
        overshoot_ns: How much later than asked every sleep wakes, as real timers do.
    """

    def __init__(self, now_ns: int = 0, overshoot_ns: int = 0) -> None:
        self._now_ns = now_ns
        self.overshoot_ns = overshoot_ns
        self.deadlines: list[int] = []

    def now_ns(self) -> int:
        """The time, ns."""
        return self._now_ns

    def advance(self, duration_ns: int) -> None:
        """Let time pass.

        Raises:
            ValueError: If it would run backwards.
        """
        if duration_ns < 0:
            raise ValueError(f"a monotonic clock does not go back by {-duration_ns} ns")
        self._now_ns += duration_ns

    def sleep_until(self, deadline_ns: int) -> int:
        """Jump to the deadline (plus overshoot) unless it has passed; return the time, ns. Deadlines are kept in order."""
        self.deadlines.append(deadline_ns)
        if deadline_ns > self._now_ns:
            self._now_ns = deadline_ns + self.overshoot_ns
        return self._now_ns


def trace_of(rows: Iterable[Sequence[int]], *, uri: str = "file:///data/a") -> Trace:
    """A trace of reads of one file from rows of (offset, len, t_submit[, t_complete])."""
    return Trace.of(Op(uri, row[0], row[1], row[2], t_complete=row[3] if len(row) > 3 else None) for row in rows)


def training_trace(
    *,
    files: int = 48,
    file_bytes: int = 100_000,
    chunk_bytes: int = 65_536,
    batch: int = 4,
    workers: int = 2,
    epochs: int = 2,
    read_ns: int = 200_000,
    compute_ns: int = 5 * MS,
    wait_ns: int = 0,
    shuffle: bool = True,
    seed: int = 0,
) -> Trace:
    """The trace of an ideal training job: each sample is a file, read in chunks to its end by one of the workers.

    Worker `w` of process `100 + w` prepares every `workers`-th batch while the batch before is computed on, one read
    after the other, each `read_ns` long. Every step waits `wait_ns` and computes `compute_ns` in process 99. The last
    read of a file asks for a whole chunk and gets what is left, the one after that gets nothing, as Python's file
    objects do it. Header and trailer are there; the same arguments give the same trace.
    """
    ops: list[Op] = []
    marks: list[Mark] = []
    clock = 0
    for epoch in range(epochs):
        order = list(range(files))
        if shuffle:
            random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 -- a shuffle, no secret
        for start in range(0, files, batch):
            step = len(marks) // 2
            worker = step % workers
            op = Op(
                "", 0, chunk_bytes, clock, pid=100 + worker, tid=100 + worker, worker=worker, epoch=epoch, step=step
            )
            ops += _batch(op, order[start : start + batch], file_bytes, read_ns)
            ready, done = clock + wait_ns, clock + wait_ns + compute_ns
            marks += [Mark("step", clock, done, step, epoch, 99), Mark("compute", ready, done, step, epoch, 99)]
            clock = done
    header = Header(
        created="2026-01-01T00:00:00Z",
        producer={"tool": "tracekit", "verb": "testing"},
        clock={"t0_unix_ns": 1_767_225_600_000_000_000, "source": "monotonic", "resolution_ns": 1},
    )
    trailer = Trailer(ops=len(ops), bytes=sum(op.ret or 0 for op in ops))
    return Trace.of(ops, marks=marks, header=header, trailer=trailer).sorted()


def _batch(first: Op, samples: Iterable[int], file_bytes: int, read_ns: int) -> list[Op]:
    ops: list[Op] = []
    for sample in samples:
        name = f"file:///data/{sample:05d}.bin"
        for offset in [*range(0, file_bytes, first.len), file_bytes]:
            begin = first.t_submit + len(ops) * read_ns
            moved = min(first.len, file_bytes - offset)
            op = replace(first, uri=name, offset=offset, t_submit=begin, t_complete=begin + read_ns, ret=moved)
            ops.append(replace(op, sample_id=sample))
    return ops
