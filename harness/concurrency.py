"""Does a run still reach the queue depth that its reference reaches?

How often ops of two streams meet depends on how fast the storage answers: a faithful replay from a warm page cache overlaps far
less than its recording, and by how much less nobody knows beforehand. So a run is held against itself: when its streams are moved
against each other by the time of a few ops, how often would its ops meet by chance? Streams that know nothing of each other meet
about as often as that. Streams behind a cap never meet above it, however long their ops take.

Expecting the recording's share of overlaps, scaled by the ratio of service times, was tried and rejected: workers that start at
the same moment overlap more than by chance, and a few ops that lost their core for milliseconds spoil the ratio. True repeats
of one job had from none to 149 overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.criterion import FAIL_CONFIDENCE
from harness.figures import Figures, Table
from harness.stats import share_interval

# That many ops have to be expected at a depth before their absence means anything.
REACHED = 40


@dataclass(frozen=True)
class Ceiling:
    """How often a run submits ops at the reference's ceiling.

    Args:
        depth: The highest depth that the reference reaches and at which at least `REACHED` of the run's ops are to be expected.
        expected: The share of the run's ops to be expected there by chance.
        share: The share that was.
        interval: Where `share / expected` lies, with the confidence that a FAIL asks for.
    """

    depth: int
    expected: float
    share: float
    interval: tuple[float, float]

    @property
    def effect(self) -> float:
        """Share / expected."""
        return self.share / self.expected


def ceiling(reference: Figures, run: Figures) -> Ceiling | str:
    """How often `run` reaches the reference's ceiling, or a sentence saying why that cannot be told."""
    if not len(reference.depths) or not len(run.depths):
        return "without t_complete nobody knows how many ops were in flight"
    if not len(reference.chance) or not len(run.chance):
        return "without pid and tid nobody knows which ops could have met"
    total = len(run.depths)
    highest = int(min(reference.depths.values[-1], run.chance.values[-1]))
    expected = {depth: _expected(reference, run, depth) for depth in range(2, highest + 1)}
    decidable = [depth for depth, share in expected.items() if share * total >= REACHED]
    if not decidable:
        return (
            f"ops hardly meet: {expected.get(2, 0.0) * total:.0f} of {total} are to be expected at queue depth 2, {REACHED} are "
            "needed; streams and caps are judged instead"
        )
    depth = max(decidable)
    hits = round(share_at(run.depths, depth) * total)
    low, high = share_interval(hits, total, FAIL_CONFIDENCE)
    return Ceiling(depth, expected[depth], hits / total, (low / expected[depth], high / expected[depth]))


def _expected(reference: Figures, run: Figures, depth: int) -> float:
    """The run's share by chance, less where the reference's own streams keep apart (a lock in the loader)."""
    by_chance = share_at(reference.chance, depth)
    keeps_apart = min(1.0, share_at(reference.depths, depth) / by_chance) if by_chance else 1.0
    return share_at(run.chance, depth) * keeps_apart


def share_at(table: Table, depth: int) -> float:
    """The share of ops submitted at or above a depth."""
    return float(table.counts[table.values >= depth].sum() / len(table))
