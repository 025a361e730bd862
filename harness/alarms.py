"""False alarms: how often a golden's own runs, and runs of the same job, are not accepted; and how often those of other jobs are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import repeat
from harness.criterion import ENVIRONMENT, ENVIRONMENT_RUNS
from harness.envelope import Envelope
from harness.figures import Figures
from harness.score import Tally
from harness.standard import Standard, Trial
from harness.verdict import Finding, Outcome, worst
from tracekit import progress

# A golden made of fewer runs is another thing than the one that is tested.
LEAST_LEFT = 5


@dataclass(frozen=True)
class Split:
    """Some of a golden's runs as candidates, others as the golden."""

    standard: Standard
    runs: Sequence[Figures]


def splits(standard: Standard, count: int, seed: int, several: int = 3) -> Iterator[Split]:
    """Each run against all others, then random splits: one or `several` candidates against at least half of the runs.

    Args:
        standard: The golden.
        count: How many splits.
        seed: Of the random ones.
        several: How many candidates every second random split has.
    """
    runs = standard.envelope.runs
    chance = np.random.default_rng(seed)
    for number in range(count):
        if number < len(runs):
            chosen, kept = [number], [place for place in range(len(runs)) if place != number]
        else:
            mine = several if number % 2 and len(runs) - several >= LEAST_LEFT else 1
            order = chance.permutation(len(runs)).tolist()
            # Of five runs, the least that a golden has, four are left.
            least = min(max(LEAST_LEFT, (len(runs) + 1) // 2), len(runs) - mine)
            chosen, kept = order[:mine], order[mine : mine + int(chance.integers(least, len(runs) - mine + 1))]
        yield Split(among(standard, kept), [runs[place] for place in chosen])


def among(standard: Standard, kept: Sequence[int]) -> Standard:
    """The golden with some of its runs only."""
    envelope = standard.envelope
    return replace(standard, envelope=Envelope([envelope.runs[place] for place in kept], envelope.histograms))


def judged(standard: Standard, runs: Sequence[Figures]) -> tuple[Outcome, list[str]]:
    """Verdict on the figures of runs, and the criteria that failed."""
    gating = [finding for finding in repeat.findings(Trial(standard, runs)) if finding.gates]
    return worst(finding.outcome for finding in gating), [finding.id for finding in gating if _fails(finding)]


def of_own_runs(standard: Standard, count: int, seed: int) -> Tally:
    """A golden's own runs against each other, by intent and overlap."""
    tally = Tally()
    for split in progress.each(splits(standard, count, seed), f"{standard.name}: true repeats", count, "checks"):
        tally.add(*judged(split.standard, split.runs))
    return tally


def of_environment(standard: Standard, count: int, seed: int) -> Tally:
    """The same with three runs at a time, and the environment criteria gating as if the host were dedicated."""
    tally = Tally()
    runs = standard.envelope.runs
    chance = np.random.default_rng(seed)
    trials = count if len(runs) - ENVIRONMENT_RUNS >= LEAST_LEFT else 0
    for _ in progress.each(range(trials), f"{standard.name}: environment", trials, "checks"):
        order = chance.permutation(len(runs)).tolist()
        mine = replace(among(standard, order[ENVIRONMENT_RUNS:]), dedicated=True)
        found = repeat.findings(Trial(mine, [runs[place] for place in order[:ENVIRONMENT_RUNS]]))
        gating = [finding for finding in found if finding.gates and finding.klass == ENVIRONMENT]
        tally.add(worst(finding.outcome for finding in gating), [finding.id for finding in gating if _fails(finding)])
    return tally


def of_fresh_runs(standard: Standard, runs: Sequence[Figures]) -> Tally:
    """Runs that the golden was not made of against it, one by one."""
    tally = Tally()
    for run in runs:
        tally.add(*judged(standard, [run]))
    return tally


def of_others(standards: Sequence[Standard]) -> dict[tuple[str, str], Tally]:
    """Every golden's runs against every other golden: (golden, whose runs)."""
    found = {}
    for mine in standards:
        for theirs in standards:
            if theirs is not mine:
                found[mine.name, theirs.name] = of_fresh_runs(mine, theirs.envelope.runs)
    return found


def _fails(finding: Finding) -> bool:
    return finding.outcome is Outcome.FAIL
