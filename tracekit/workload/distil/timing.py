"""How long a step computes and a sample decodes, how many workers there are, and how far ahead they read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL
from tracekit.workload.distil.found import EXACT, HIGH, LOW, MEDIUM, UNKNOWN, Found
from tracekit.workload.distil.items import Items
from tracekit.workload.distil.observed import Observed, Steps
from tracekit.workload.distil.visits import most_at_a_time
from tracekit.workload.distribution import Distribution

Ints = NDArray[np.int64]
# Less between two samples is what reading them costs, and no decoding.
_LEAST_DECODE_NS = 200_000
_FIXED = 0.02
# A distribution is preferred to the normal only where it fits so much better.
_BETTER = 0.03


def compute(steps: Steps) -> Found:
    """Seconds of a step, as the workload says them."""
    known = (steps.given != NULL) & (steps.ended != NULL)
    spent = (steps.ended - steps.given)[known] / 1e9
    if not len(spent):
        return Found(
            "0", UNKNOWN, "there are no compute marks: mark steps with tracekit.step() to know how long one computes"
        )
    # The last step of a pass holds what comes between passes as well.
    usual = spent[spent <= np.quantile(spent, 0.98)] if len(spent) > 20 else spent
    return _told(usual, "from the hand-over of a batch to the next request, the longest 2 % left out")


def decode(items: Items, unit: str) -> Found:
    """Seconds of a sample between its last read and the worker's next sample."""
    if unit != "file" or bool((items.step == NULL).any()) or len(items) < 2:
        return Found("0", UNKNOWN, "where a sample ends and the next begins is not seen")
    order = np.lexsort((items.time, items.stream))
    ordered = items.at(order)
    same = (np.diff(ordered.stream) == 0) & (np.diff(ordered.step) == 0)
    gaps = (ordered.time[1:] - ordered.done[:-1])[same & (ordered.done[:-1] != NULL)]
    if not len(gaps) or float(np.median(gaps)) < _LEAST_DECODE_NS:
        return Found("0", HIGH if len(gaps) else UNKNOWN, "hardly any time between two samples of a worker", len(gaps))
    gaps = gaps[gaps <= np.quantile(gaps, 0.98)]
    return _told(gaps / 1e9, "time between two samples of a worker, with what else it does there")


def _told(seconds: Any, how: str) -> Found:
    found = fitted(seconds)
    error = float(np.std(seconds) / np.sqrt(len(seconds)) / max(np.mean(seconds), 1e-12))
    level = HIGH if len(seconds) >= 20 and error < 0.05 else MEDIUM
    return Found(
        written(found), level, how, len(seconds), f"mean by ±{2 * error:.1%}; on this machine, as busy as it was"
    )


def fitted(seconds: Any) -> Distribution:
    """The distribution of times: fixed, or the kind that lies nearest."""
    mean, stdev = float(np.mean(seconds)), float(np.std(seconds))
    if len(seconds) < 8 or stdev < _FIXED * mean or mean <= 0:
        return Distribution.fixed(float(np.median(seconds)))
    kinds = [
        Distribution.normal(mean, stdev),
        Distribution("gamma", {"shape": (mean / stdev) ** 2, "scale": stdev**2 / mean}),
        Distribution("lognormal", {"mean": mean, "stdev": stdev}),
        Distribution("exponential", {"scale": mean}),
        Distribution("uniform", {"min": max(0.0, mean - stdev * 3**0.5), "max": mean + stdev * 3**0.5}),
    ]
    draws = [np.sort(kind.draw(np.random.default_rng(0), 4096)) for kind in kinds]
    far = [_distance(np.sort(seconds), drawn) for drawn in draws]
    best = int(np.argmin(far))
    return kinds[best] if far[best] < far[0] - _BETTER else kinds[0]


def _distance(mine: Any, theirs: Any) -> float:
    places = np.searchsorted(theirs, mine, side="right") / len(theirs)
    return float(np.abs(places - (np.arange(len(mine)) + 0.5) / len(mine)).max())


def written(seconds: Distribution) -> str:
    """A distribution as `custom.duration` reads it."""
    numbers = [f"{value:.6g}" for value in seconds.parameters.values()]
    return numbers[0] if seconds.kind == "fixed" else f"{seconds.kind}({', '.join(numbers)})"


# -- workers -------------------------------------------------------------------------------------------------------------


def workers(observed: Observed) -> tuple[Found, Found]:
    """Workers of the loader, and threads that read in each."""
    reads, steps = observed.own, observed.steps
    named = np.unique(reads.col("worker"))
    count = int((named != NULL).sum())
    processes, streams = most_at_a_time(reads)
    if count:
        threads = max(1, round(streams / count))
        return Found(count, EXACT, "workers by their numbers", len(reads)), _threads(threads, len(reads))
    apart = reads.select(reads.col("pid") != steps.pid)
    if steps.pid != NULL and not len(apart):
        if streams == 1:
            return Found(1, HIGH, "the consumer reads in one thread, perhaps its own", len(reads)), _threads(
                1, len(reads)
            )
        return Found(streams, HIGH, "threads of the consumer that read at one time", len(reads)), _threads(
            1, len(reads)
        )
    processes, streams = most_at_a_time(apart if len(apart) else reads)
    return Found(processes, HIGH, "processes that read at one time", len(reads)), _threads(
        max(1, round(streams / processes)), len(reads)
    )


def _threads(count: int, observations: int) -> Found:
    return Found(count, HIGH, "streams at one time, by workers", observations)


def ahead(items: Items, steps: Steps, each: int, count: int, *, alone: bool = True) -> Found:
    """Batches that are read ahead of the consumer, over all workers.

    Args:
        items: What was read.
        steps: The steps it was read for.
        each: Items of a step.
        count: Workers.
        alone: Whether the items are those of the process whose steps these are.
    """
    if not bool((steps.given != NULL).any()) or not alone:
        return Found(
            2 * count, UNKNOWN, "when batches were handed over is not known; two for each worker, as PyTorch has it"
        )
    known = steps.at(steps.given != NULL)
    given = np.sort(known.given)
    tagged = bool((items.step != NULL).all())
    if tagged:
        most, share = _by_number(items, known)
        how = "batches under way while others are computed on"
    else:
        most, share = _by_count(items, given, each)
        how = "what was read and not yet handed over; buffers for shuffling and of readers are in it, the recording does not tell them apart"  # fmt: skip
    whole = max(count, -(-most // count) * count)
    off = (
        ""
        if share >= 0.5 and tagged
        else "it may be more: readers did not always get so far"
        if tagged
        else "a batch or two"
    )
    return Found(whole, HIGH if tagged and share >= 0.5 else MEDIUM if share >= 0.1 else LOW, how, len(known), off)


def _by_number(items: Items, steps: Steps) -> tuple[int, float]:
    """How many batches are under way at most, and in what share of the steps as many are."""
    place = {number: index for index, number in enumerate(steps.number.tolist())}
    at = np.array([place.get(number, -1) for number in items.step.tolist()], np.int64)
    held, time = at[at >= 0], items.time[at >= 0]
    # A DataLoader tells its worker to go on somewhere between the request for a batch and its hand-over.
    passed = np.searchsorted(np.sort(steps.asked), time, side="right")
    # Within an epoch: what comes after it is not begun before.
    same = steps.epoch[held] == steps.epoch[np.minimum(passed, len(steps) - 1)]
    far, passed = (held - passed + 1)[same], passed[same]
    most = np.zeros(len(steps) + 1, np.int64)
    np.maximum.at(most, passed, far)
    told = most[most > 0]
    if not len(told):
        return 1, 0.0
    reached = [value for value in np.unique(told).tolist() if (told >= value).mean() >= 0.1]
    best = int(max(reached, default=1))
    return best, float((told >= best).mean())


def _by_count(items: Items, given: Ints, each: int) -> tuple[int, float]:
    """The same where items do not know their batch: read, less handed over."""
    read = np.searchsorted(np.sort(items.done[items.done != NULL]), given, side="right")
    over = (read - np.arange(len(given)) * each) / max(each, 1)
    middle = over[: max(1, len(over) * 3 // 4)]
    best = int(np.ceil(np.quantile(middle, 0.9) - 0.25))
    return max(best, 1), float((middle >= best - 1).mean())


def shuffle_buffer(reads: Items, batch: int) -> Found | None:
    """Samples that a worker of a streaming loader reads before its first batch; None where nothing is seen of them.

    Args:
        reads: Every read, with the step it is tagged with.
        batch: Samples of a batch.
    """
    first, others = [], []
    for turn, worker in np.unique(np.stack([reads.turn, reads.worker], axis=1), axis=0).tolist():
        mine = (reads.turn == turn) & (reads.worker == worker)
        _, moved = np.unique(reads.step[mine], return_inverse=True)
        each = np.bincount(moved.reshape(-1), reads.size[mine].astype(float))
        if len(each) >= 3:
            first.append(each[0])
            others += each[1:-1].tolist()
    if not others:
        return None
    ahead = float(np.median(first) / np.median(others) - 1)
    if ahead < 0.5:
        return None
    return Found(round(ahead * batch), MEDIUM, f"the first batch of a worker reads {1 + ahead:.2g} times what others do", len(first), "by a batch")  # fmt: skip
