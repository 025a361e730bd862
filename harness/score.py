"""Counted outcomes, and the rates that `harness selftest` prints: each with the interval that its number of trials allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.stats import share_interval
from harness.verdict import Outcome

CONFIDENCE = 0.95


@dataclass
class Tally:
    """Outcomes of trials of one kind.

    Args:
        outcomes: How often each outcome came out.
        named: How often each criterion failed.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)

    @property
    def trials(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    def add(self, outcome: Outcome, names: Iterable[str] = ()) -> None:
        """Count a trial and the criteria that failed in it."""
        self.outcomes[outcome] += 1
        self.named.update(names)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.outcomes + other.outcomes, self.named + other.named)

    def share(self, outcome: Outcome) -> float:
        """The share of an outcome; 0 without trials."""
        return self.outcomes[outcome] / self.trials if self.trials else 0.0

    def interval(self, outcome: Outcome) -> tuple[float, float]:
        """Where that share lies, by Clopper and Pearson, at 95 %, if trials are independent."""
        return share_interval(self.outcomes[outcome], self.trials, CONFIDENCE)

    def to_json(self) -> dict[str, Any]:
        """Counts, shares and intervals as JSON."""
        told: dict[str, Any] = {"trials": self.trials}
        for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR):
            low, high = self.interval(outcome)
            told[outcome.value] = {
                "count": self.outcomes[outcome],
                "share": round(self.share(outcome), 6),
                "interval": [round(low, 6), round(high, 6)],
            }
        return told | {"failed": dict(sorted(self.named.items()))}


def together(tallies: Iterable[Tally]) -> Tally:
    """All of them as one."""
    return sum(tallies, Tally())


def by(tallies: Mapping[tuple[str, ...], Tally], place: int) -> dict[str, Tally]:
    """Tallies summed by one part of their key."""
    groups: dict[str, Tally] = {}
    for key, tally in tallies.items():
        groups[key[place]] = groups.get(key[place], Tally()) + tally
    return groups
