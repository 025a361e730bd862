"""How far two distributions are apart: one distance per criterion, between tables of figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness import stats
from harness.figures import Figures, Table

SIZE_TOLERANCE = {"size.match": 0.10, "size.ks": 0.01}


@dataclass(frozen=True)
class Distance:
    """A distance of two runs.

    Args:
        table: The name of the table in `Figures.tables`; `sizes` is the exact table of sizes.
        between: The distance of two tables, neither of them empty.
        by_chance: Whether true repeats differ in it by chance, so that a single golden run says nothing.
        least: The fewest values a run's table must have.
    """

    table: str
    between: Callable[[Table, Table], float]
    by_chance: bool = False
    least: int = 1

    def of(self, figures: Figures) -> Table | None:
        """The table of a run; None where the run does not tell."""
        table = figures.sizes if self.table == "sizes" else figures.tables.get(self.table)
        return table if table is not None and len(table) else None


def _ks(mine: Table, theirs: Table) -> float:
    return stats.ks_distance(*_columns(mine, theirs))


def _shift(mine: Table, theirs: Table) -> float:
    return stats.log_shift(*_columns(mine, theirs))


def _unmatched(mine: Table, theirs: Table) -> float:
    return stats.unmatched_share(*_columns(mine, theirs), SIZE_TOLERANCE["size.match"])


def _ks_within(mine: Table, theirs: Table) -> float:
    return stats.ks_distance_within(*_columns(mine, theirs), SIZE_TOLERANCE["size.ks"])


def _columns(mine: Table, theirs: Table) -> tuple[stats.Ints, stats.Ints, stats.Ints, stats.Ints]:
    return mine.values, mine.counts, theirs.values, theirs.counts


DISTANCES: Mapping[str, Distance] = {
    "size.match": Distance("sizes", _unmatched),
    "size.ks": Distance("sizes", _ks_within),
    "size.log-shift": Distance("sizes", _shift),
    "sample.bytes-ks": Distance("sample.bytes", _ks),
    "sample.ops-ks": Distance("sample.ops", _ks),
    "order.seek": Distance("order.seek", _ks),
    "order.seek-stream": Distance("order.seek-stream", _ks, by_chance=True),
    "order.run": Distance("order.run", _ks),
    "order.jump": Distance("order.jump", _ks, by_chance=True, least=200),
    "latency.shift": Distance("latency", _shift, by_chance=True),
    "arrival.gap": Distance("gap", _shift, by_chance=True),
    "arrival.count": Distance("arrival.count", _ks, by_chance=True, least=100),
    "arrival.bytes": Distance("arrival.bytes", _ks, by_chance=True, least=100),
    "depth.ks": Distance("depth", _ks, by_chance=True),
}


def size_diagnostics(mine: Table, theirs: Table) -> dict[str, float]:
    """The plain KS distance of sizes and its p-value: shown beside the criterion, never used."""
    plain = _ks(mine, theirs)
    return {"d": plain, "p": stats.ks_p_value(plain, len(mine), len(theirs))}
