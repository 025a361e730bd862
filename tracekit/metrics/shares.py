"""How the work was divided among streams, workers and ranks."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tracekit.metrics.keys import codes_of
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
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


class SharesTally:
    """The division of the data ops of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, tuple[int, int]]] = {"worker": {}, "rank": {}}
        self._streams: set[int] = set()
        self._known: Mapping[tuple[int, int, int], int] = {}
        self._told: set[str] = set()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._told |= view.told
        for name, parts in self._parts.items():
            _add_parts(parts, view, name)
        if view.numbers is not None and view.streams is not None:
            self._known = view.numbers.known
            self._streams |= set(np.flatnonzero(np.bincount(view.streams)).tolist())

    def result(self) -> Shares:
        """What has come so far."""
        streams = [key for key, number in self._known.items() if number in self._streams]
        by_worker, by_rank = (
            {str(number): Part(*part) for number, part in sorted(parts.items())} for parts in self._parts.values()
        )
        return Shares(
            streams=len(streams) if self._told & {"pid", "tid"} else None,
            processes=len({key[:2] for key in streams}) if "pid" in self._told else None,
            workers=len(by_worker) or None,
            ranks=len(by_rank) or None,
            by_worker=by_worker,
            by_rank=by_rank,
            worker_balance=_balance(by_worker),
            rank_balance=_balance(by_rank),
        )


def _add_parts(parts: dict[int, tuple[int, int]], view: View, name: str) -> None:
    owner = view.col(name)
    known = owner != NULL
    if not bool(known.any()):
        return
    owner, moved = owner[known], view.moved[known]
    codes = codes_of(owner)
    ops = np.bincount(codes)
    numbers, sums = np.zeros(len(ops), np.int64), np.zeros(len(ops), np.int64)
    numbers[codes] = owner
    np.add.at(sums, codes, moved)
    for number, count, size in zip(numbers.tolist(), ops.tolist(), sums.tolist(), strict=True):
        before = parts.get(number, (0, 0))
        parts[number] = before[0] + count, before[1] + size


def _balance(parts: Mapping[str, Part]) -> float | None:
    sizes = [part.bytes for part in parts.values()]
    return max(sizes) * len(sizes) / sum(sizes) if sum(sizes) else None
