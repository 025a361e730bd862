"""In which order samples come: by number, shuffled, or drawn with replacement, evenly or with favourites."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracekit.workload.distil.found import EXACT, HIGH, LOW, MEDIUM, UNKNOWN, Found
from tracekit.workload.distil.items import Items

Ints = NDArray[np.int64]
# 0 is the order of names, 1 a random one.
_ORDERED, _SHUFFLED = 0.2, 0.6
_REPEATS = 0.98
_FEWEST = 8
# Below, favourites cannot be told from chance.
_LEAST_THETA = 0.2


def order(items: Items, count: int, *, tagged: bool) -> dict[str, Found]:
    """`shuffle` and `random_index_mode`, as options of the loader.

    Args:
        items: What was read.
        count: How many different items there are.
        tagged: Whether items know the pass they belong to.
    """
    turns = [items.at(np.flatnonzero(items.turn == turn)) for turn in range(items.turns)]
    repeats = [turn.distinct / len(turn) for turn in turns if len(turn) >= _FEWEST]
    if tagged and repeats and float(np.mean(repeats)) < _REPEATS:
        return {"random_index_mode": _drawn(turns, count)}
    jumps = [one for turn in turns if (one := randomness(turn)) is not None]
    if not jumps:
        return {"shuffle": Found(False, UNKNOWN, f"fewer than {_FEWEST} items in a pass do not tell an order", len(items))}  # fmt: skip
    middle, number = float(np.median(jumps)), sum(map(len, turns))
    if middle >= _SHUFFLED:
        level = EXACT if middle > 0.8 else HIGH
        return {"shuffle": Found(True, level, f"jumps between neighbours are {middle:.0%} of those of a random order, nothing comes twice", number)}  # fmt: skip
    if middle <= _ORDERED:
        return {"shuffle": Found(False, HIGH, f"in order of names, jumps {middle:.0%} of a random order's", number)}
    off = "shuffled in windows or by shards, which a workload cannot say"
    return {"shuffle": Found(True, LOW, f"jumps are {middle:.0%} of a random order's", number, off)}


def randomness(turn: Items) -> float | None:
    """The mean jump from one item to the next by that of a random order: 0 in order, about 1 at random; None of too few."""
    place = turn.place[np.lexsort((turn.time, turn.step))] if bool((turn.step >= 0).all()) else turn.place
    _, ranks = np.unique(place, return_inverse=True)
    different = int(ranks.max()) + 1
    if different < _FEWEST:
        return None
    jump = float(np.abs(np.diff(ranks.reshape(-1))).mean())
    return max(0.0, (jump - 1) / ((different + 1) / 3 - 1))


def shares(items: Items, rank: Ints) -> Found | None:
    """Which share of the items each rank has in every pass; None where passes are dealt anew, or there are too few to tell.

    Args:
        items: What all ranks read.
        rank: Whose each of them is.
    """
    ranks = np.unique(rank).tolist()
    mine = [np.unique(items.place[rank == one]) for one in ranks]
    if items.turns < 2 or len(ranks) < 2 or sum(map(len, mine)) > items.distinct:
        return None
    how = f"over {items.turns} passes no item is read by two of {len(ranks)} ranks; each has "
    if all(len(np.unique(own % len(ranks))) == 1 for own in mine):
        return Found("strided", EXACT, how + f"every {len(ranks)}th by name", len(items))
    if all(int(own.max() - own.min()) + 1 == len(own) for own in mine):
        return Found("blocks", EXACT, how + "neighbours by name", len(items))
    return Found("strided", LOW, how + "others, by no rule that is known", len(items), "which rank has which item")


def same_every_epoch(items: Items) -> Found:
    """Whether each pass has an order of its own."""
    turns = [items.at(np.flatnonzero(items.turn == turn)).place for turn in range(items.turns)]
    if len(turns) < 2:
        return Found(True, UNKNOWN, "there is one pass only")
    equal = np.array_equal(turns[0], turns[1])
    return Found(not equal, HIGH, "passes in the same order" if equal else "every pass in an order of its own", len(turns))  # fmt: skip


def _drawn(turns: list[Items], count: int) -> Found:
    """Uniform, or zipfian with the exponent whose draws hit as many different samples as were seen."""
    draws = int(np.median([len(turn) for turn in turns]))
    seen = float(np.mean([turn.distinct for turn in turns]))
    number = sum(map(len, turns))
    theta = _solved(seen, count, draws)
    if theta < _LEAST_THETA:
        return Found(
            "uniform", HIGH, f"{seen / draws:.0%} of the draws of a pass are different, as evenly drawn", number
        )
    spread = 2 * np.sqrt(seen * (1 - seen / draws)) / np.sqrt(len(turns))
    off = max(abs(_solved(seen + sign * spread, count, draws) - theta) for sign in (-1, 1))
    return Found(f"zipfian({theta:.2f})", MEDIUM, f"{seen / draws:.0%} of the draws of a pass are different", number, f"theta by ±{off:.2f}")  # fmt: skip


def _solved(seen: float, count: int, draws: int) -> float:
    low, high = 0.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _different(middle, count, draws) > seen else (low, middle)
    return (low + high) / 2


def _different(theta: float, count: int, draws: int) -> float:
    """How many different samples are to be expected."""
    share = np.arange(1, count + 1, dtype=float) ** -theta
    share /= share.sum()
    return float((1 - (1 - share) ** draws).sum())
