"""What a run's statement needs besides the sums over its ops; the accounts of several ranks add up to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tracekit.replay import start_state
from tracekit.replay.disturbance import Disturbance
from tracekit.replay.engines import Outcome
from tracekit.replay.plan import Plan


@dataclass
class Account:
    """What was asked for, how it ran, and on what a machine.

    Args:
        pace: The pace that was kept.
        speed: Factor on it.
        planned_ops: How many ops there were to issue, with all repetitions.
        streams: How many streams.
        threads: How many threads issued ops.
        priority: Their priority, and why it is that.
        stopped: Why the run ended early; empty when it did not.
        interrupted: Whether a person or a signal ended it.
        peak_ops: Most ops the in-flight gate let in at once.
        peak_bytes: The same in bytes.
        issued_bytes: Bytes asked of the system, after rounding.
        went_direct: How many files were read with O_DIRECT.
        fell_back: How many files were to be read with O_DIRECT and were not.
        unmatched_closes: Recorded closes of something nobody had opened.
        skipped: Ops left out, by reason.
        disturbances: What each machine did besides, one per rank.
        retried: Failed requests that were made again, by kind.
        connections: TCP connections to stores that were seen; None where there are no objects.
        cache_hints: Files of which the page cache was told something, by advice.
        lost: A sentence for each rank that did not answer.
    """

    pace: str
    speed: float
    planned_ops: int
    streams: int
    threads: int = 0
    priority: str = "normal"
    stopped: str = ""
    interrupted: bool = False
    peak_ops: int = 0
    peak_bytes: int = 0
    issued_bytes: int = 0
    went_direct: int = 0
    fell_back: int = 0
    unmatched_closes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    disturbances: list[Disturbance] = field(default_factory=list)
    connections: int | None = None
    cache_hints: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan, outcome: Outcome, disturbance: Disturbance) -> Account:
        """The account of one process's run."""
        return cls(
            pace=plan.pace,
            speed=plan.options.speed,
            planned_ops=plan.ops,
            streams=len(plan.jobs),
            threads=outcome.threads,
            priority=outcome.priority,
            stopped=outcome.stopped,
            interrupted=outcome.interrupted,
            peak_ops=outcome.peak_ops,
            peak_bytes=outcome.peak_bytes,
            issued_bytes=outcome.issued_bytes,
            went_direct=len(outcome.went_direct),
            fell_back=len(outcome.fell_back),
            unmatched_closes=outcome.unmatched_closes,
            skipped=Counter(plan.skipped),
            retried=Counter(outcome.retried),
            disturbances=[disturbance],
            connections=outcome.connections,
            cache_hints=Counter(start_state.hints(plan)),
        )

    @property
    def sentences(self) -> list[str]:
        """What disturbed the run; with several ranks each sentence names its own."""
        if len(self.disturbances) == 1:
            return self.disturbances[0].sentences
        return [f"rank {rank}: {text}" for rank, one in enumerate(self.disturbances) for text in one.sentences]


def merged(accounts: Sequence[Account]) -> Account:
    """The account of all ranks together, in their order; the peaks add up, since each rank has a gate of its own."""
    first = accounts[0]
    return Account(
        pace=first.pace,
        speed=first.speed,
        planned_ops=sum(one.planned_ops for one in accounts),
        streams=sum(one.streams for one in accounts),
        threads=sum(one.threads for one in accounts),
        priority="; ".join(dict.fromkeys(one.priority for one in accounts)),
        stopped=_first_stop(accounts),
        interrupted=any(one.interrupted for one in accounts),
        peak_ops=sum(one.peak_ops for one in accounts),
        peak_bytes=sum(one.peak_bytes for one in accounts),
        issued_bytes=sum(one.issued_bytes for one in accounts),
        went_direct=max(one.went_direct for one in accounts),
        fell_back=max(one.fell_back for one in accounts),
        unmatched_closes=sum(one.unmatched_closes for one in accounts),
        skipped=sum((one.skipped for one in accounts), Counter()),
        retried=sum((one.retried for one in accounts), Counter()),
        disturbances=[disturbance for one in accounts for disturbance in one.disturbances],
        connections=_sum_of(one.connections for one in accounts),
        cache_hints=sum((one.cache_hints for one in accounts), Counter()),
        lost=[text for one in accounts for text in one.lost],
    )


def _sum_of(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _first_stop(accounts: Sequence[Account]) -> str:
    return next((f"rank {rank}: {one.stopped}" for rank, one in enumerate(accounts) if one.stopped), "")
