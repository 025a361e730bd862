"""Does a run still reach the queue depth that its reference reaches?

How often ops overlap depends on how fast the storage answers, so a faithful replay from a warm page cache overlaps less than
its recording. A cap on concurrency leaves another mark: the depth above it is never reached, however many ops there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.criterion import FAIL_CONFIDENCE
from harness.figures import Figures, Table
from harness.stats import share_interval

# A depth counts as reached when that many ops were submitted at it: fewer are chance.
REACHED = 40


@dataclass(frozen=True)
class Ceiling:
    """How often a run submits ops at the reference's ceiling.

    Args:
        depth: The highest depth at which at least `REACHED` of the run's ops are to be expected.
        expected: The share of the run's ops to be expected there.
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
    """How often `run` reaches the reference's ceiling, or a sentence saying why that cannot be told.

    The ceiling is the highest depth at which at least `REACHED` of the run's ops are to be expected.
    """
    if not len(reference.depths) or not len(run.depths):
        return "without t_complete nobody knows how many ops were in flight"
    speed, total = _faster(reference, run), len(run.depths)
    # Every further op in flight has to meet the others: the chance falls with the service time, once per op.
    expected = {
        depth: share_at(reference.depths, depth) * speed ** (depth - 1)
        for depth in range(2, int(reference.depths.values[-1]) + 1)
    }
    decidable = [depth for depth, share in expected.items() if share * total >= REACHED]
    if not decidable:
        return (
            f"ops hardly overlap: {expected.get(2, 0.0) * total:.0f} of {total} are to be expected at queue depth 2, {REACHED} are "
            "needed; streams and caps are judged instead"
        )
    depth = max(decidable)
    hits = round(share_at(run.depths, depth) * total)
    low, high = share_interval(hits, total, FAIL_CONFIDENCE)
    return Ceiling(depth, expected[depth], hits / total, (low / expected[depth], high / expected[depth]))


def share_at(table: Table, depth: int) -> float:
    """The share of ops submitted at or above a depth."""
    return float(table.counts[table.values >= depth].sum() / len(table))


def _faster(reference: Figures, run: Figures) -> float:
    theirs, ours = reference.scalars.get("latency.mean"), run.scalars.get("latency.mean")
    return min(1.0, ours / theirs) if theirs and ours else 1.0
