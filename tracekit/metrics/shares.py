"""How the work was divided among streams, workers and ranks."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracekit.metrics.schema import metric
from tracekit.metrics.view import View, codes_of, distinct
from tracekit.trace import NULL


@dataclass(frozen=True)
class Part:
    """What one worker, rank or process contributed."""

    ops: int = metric("data ops", "ops")
    bytes: int = metric("bytes moved", "bytes")


@dataclass(frozen=True)
class Shares:
    """How the work was divided."""

    streams: int | None = metric("streams (one thread's ops) that read or wrote data", "streams")
    processes: int | None = metric("processes that did", "processes")
    workers: int | None = metric("loader workers that did", "workers")
    ranks: int | None = metric("ranks that did", "ranks")
    by_worker: dict[str, Part] = metric("data ops and bytes of each loader worker")
    by_rank: dict[str, Part] = metric("data ops and bytes of each rank")
    worker_balance: float | None = metric("bytes of the busiest worker / mean bytes per worker: 1 is even")
    rank_balance: float | None = metric("bytes of the busiest rank / mean bytes per rank: 1 is even")

    @classmethod
    def of(cls, view: View) -> Shares:
        """The division of a trace's data ops."""
        by_worker, by_rank = _parts(view, "worker"), _parts(view, "rank")
        streams = view.streams
        pids = codes_of(view.col("rank"), view.col("pid"))
        return cls(
            streams=None if streams is None else distinct(streams),
            processes=distinct(pids) if "pid" in view.trace else None,
            workers=len(by_worker) or None,
            ranks=len(by_rank) or None,
            by_worker=by_worker,
            by_rank=by_rank,
            worker_balance=_balance(by_worker),
            rank_balance=_balance(by_rank),
        )


def _parts(view: View, name: str) -> dict[str, Part]:
    owner = view.col(name)
    known = owner != NULL
    if not bool(known.any()):
        return {}
    numbers, codes = np.unique(owner[known], return_inverse=True)
    ops = np.bincount(codes)
    moved = np.zeros(len(numbers), np.int64)
    np.add.at(moved, codes, view.moved[known])
    return {str(number): Part(int(n), int(size)) for number, n, size in zip(numbers, ops, moved, strict=True)}


def _balance(parts: Mapping[str, Part]) -> float | None:
    sizes = [part.bytes for part in parts.values()]
    return max(sizes) * len(sizes) / sum(sizes) if sum(sizes) else None
