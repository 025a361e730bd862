"""How evenly the loader workers (or, where nobody names any, the threads) share the work."""

# ruff: noqa: RUF009 -- `metric` is dataclasses.field with metadata: evaluated once on purpose
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.analysis.groups import Group, Sums
from tracekit.analysis.keys import Ints, Keys, Threads
from tracekit.metrics.schema import metric
from tracekit.metrics.view import View
from tracekit.trace import NULL

TABLE_LIMIT = 256


@dataclass(frozen=True)
class Workers:
    """Who did how much."""

    by: str | None = metric(
        "what is compared: `worker` (of a rank), else `thread` (of a process); null where ops name neither"
    )
    count: int | None = metric("how many read or wrote data")
    busiest_bytes: float | None = metric("bytes of the busiest / mean bytes: 1 is even")
    busiest_time: float | None = metric("service times of the busiest / mean of all: 1 is even")
    table: list[Group] = metric("each, the one with the most bytes first, at most 256")


class Balance:
    """The sums of every worker, and of every thread until ops name workers.

    Args:
        threads: The numbers of threads.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads, self._workers = threads, Keys()
        self._by_thread, self._by_worker = Sums(), Sums()

    def update(self, view: View) -> None:
        """Count the data ops of a piece."""
        rank, worker = view.col("rank"), view.col("worker")
        if (worker != NULL).any():
            codes = self._workers.codes(rank, worker)
            _add(self._by_worker, view, codes, len(self._workers))
        elif not len(self._workers):
            _add(self._by_thread, view, self._threads.of(view), len(self._threads))

    def workers(self) -> Workers:
        """The workers where ops name any, else the threads."""
        if len(self._workers):
            return _workers("worker", _named(self._by_worker, self._workers, "rank", "worker"))
        groups = _named(self._by_thread, self._threads, "pid", "tid")
        return _workers("thread" if groups else None, groups)


def _add(sums: Sums, view: View, codes: Ints, count: int) -> None:
    moved, reads, timed, service = view.moved, view.reads, view.timed, view.complete - view.submit
    sums.grow(count)
    sums.add("ops", codes)
    sums.add("read_bytes", codes, np.where(reads, moved, 0))
    sums.add("written_bytes", codes, np.where(reads, 0, moved))
    if not timed.all():
        codes, service = codes[timed], service[timed]
    sums.took(codes, service)


def _named(sums: Sums, keys: Keys, first: str, second: str) -> list[Group]:
    """The groups of those that have a second number: ops of no worker are nobody's."""
    names = [
        "" if b == NULL else f"{second} {b}" if a == NULL else f"{first} {a} {second} {b}" for a, b in keys.pairs
    ]  # fmt: skip
    return [group for group in sums.table(names) if group.name]


def _workers(by: str | None, groups: list[Group]) -> Workers:
    return Workers(
        by,
        len(groups) or None,
        _busiest([group.read_bytes + group.written_bytes for group in groups]),
        _busiest([group.busy_us for group in groups]),
        groups[:TABLE_LIMIT],
    )


def _busiest(values: list[int] | list[float]) -> float | None:
    total = sum(values)
    return max(values) * len(values) / total if total else None
