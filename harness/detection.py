"""Detection: edited traces, judged in both modes against what they were edited from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import paired, repeat
from harness.catalogue import ALWAYS, DIALLED, HARMLESS, UNSEEN, Edit
from harness.criterion import PAIRED, REPEAT
from harness.figures import Figures
from harness.standard import Standard
from harness.verdict import Finding, Outcome, Verdict
from tracekit import progress
from tracekit.trace import Trace

LEVELS = (1.5, 2.0)
# How far above its level an edit may be set.
SLACK = 0.05
TURNS = 14
Judge = Callable[[Trace], Verdict]


@dataclass(frozen=True)
class Cell:
    """One edit of one trace in one mode.

    Args:
        golden: The golden.
        mode: paired or repeat.
        group: dialled, always, unseen or harmless.
        edit: The edit's name.
        kind: Its kind.
        criterion: What it was set by, or must be named by.
        level: By how many tolerances; None without a dial.
        amount: The dial.
        outcome: The verdict.
        failed: The criteria that failed.
        why: Why it cannot be seen, where that is known.
        severity: The effect in tolerances that the dial could be set to: more than `level` where it moves in steps; None without a dial.
    """

    golden: str
    mode: str
    group: str
    edit: str
    kind: str
    criterion: str
    level: float | None
    amount: float | None
    outcome: Outcome
    failed: Sequence[str]
    why: str = ""
    severity: float | None = None

    @property
    def near(self) -> bool:
        """Whether the dial could be set as near to its level as is asked for."""
        return self.level is None or self.severity is None or self.severity <= self.level * (1 + SLACK)

    @property
    def named(self) -> bool:
        """Whether it failed, and by the right name."""
        return self.outcome is Outcome.FAIL and any(name in self.failed for name in self.criterion.split(" or "))

    def to_json(self) -> dict[str, Any]:
        """The cell as JSON."""
        return {
            **vars(self),
            "outcome": self.outcome.value,
            "failed": list(self.failed),
            "named": self.named,
            "near": self.near,
        }


def judges(standard: Standard, trace: Trace) -> dict[str, Judge]:
    """How an edit of a trace is judged: as a replay of it, and as another run of the golden's job."""
    return {
        PAIRED: lambda edited: paired.judge(trace, edited, names=("recording", "replay")),
        REPEAT: lambda edited: repeat.judge(standard, [edited], ["run"]),
    }


def cells(name: str, standard: Standard, trace: Trace, seeds: Sequence[int], levels: Sequence[float]) -> Iterator[Cell]:
    """All cells of one trace: dialled edits at every level and seed, the others once."""
    for mode, judge in judges(standard, trace).items():
        for edit in progress.each(DIALLED, f"{name}: {mode} edits", len(DIALLED), "edits"):
            yield from dialled(name, mode, judge, edit, trace, seeds, levels)
        for edit in ALWAYS:
            edited = edit.apply(trace, 1.0, 0)
            if _as_it_was(trace, edited):
                continue  # no edit of this trace: its four files, say, are touched in the order of their names as it is
            visible = mode in edit.criteria and (mode == PAIRED or _has(trace, edit.asks))
            yield _plain(name, mode, judge, edit, edited, "always" if visible else "unseen")
        for edit in UNSEEN:
            yield _plain(name, mode, judge, edit, edit.apply(trace, 1.0, 0), "unseen")
        for title, harmless in HARMLESS.items():
            if title == "data moved" and mode == PAIRED:
                continue  # it is harmless there with a remapping only, which tests of their own look at
            verdict = judge(harmless(trace))
            yield Cell(name, mode, "harmless", title, "harmless", "", None, None, verdict.outcome, _failed(verdict))


def _as_it_was(trace: Trace, edited: Trace) -> bool:
    """Whether an edit has left every op where and what it was."""
    before, after = trace.sorted(), edited.sorted()
    return (
        len(before) == len(after)
        and all(table.strings == after.tables[name].strings for name, table in before.tables.items())
        and all(np.array_equal(before.col(name), after.col(name)) for name in before.columns)
    )


def _has(trace: Trace, asks: tuple[str, float] | None) -> bool:
    return asks is None or (Figures.of(trace).scalars.get(asks[0]) or 0.0) >= asks[1]


def _plain(name: str, mode: str, judge: Judge, edit: Edit, edited: Trace, group: str) -> Cell:
    verdict = judge(edited)
    criteria = " or ".join(edit.criteria.get(mode, ()))
    return Cell(
        name,
        mode,
        group,
        edit.name,
        edit.kind,
        criteria,
        None,
        1.0,
        verdict.outcome,
        _failed(verdict),
        edit.blind.get(mode, ""),
    )


def dialled(
    name: str, mode: str, judge: Judge, edit: Edit, trace: Trace, seeds: Sequence[int], levels: Sequence[float]
) -> Iterator[Cell]:
    """One edit, set to each of the levels with each of the seeds; as it is at most where no criterion moves that far."""
    if mode not in edit.criteria:
        yield _plain(name, mode, judge, edit, edit.apply(trace, 1.0, 0), "unseen")
        return
    for seed in seeds:
        most = judge(edit.apply(trace, edit.most, seed))
        criterion = next((one for one in edit.criteria[mode] if _severity(most, one) >= max(levels)), None)
        if criterion is None:
            # Nothing it changes is a criterion's business here: then it is a blind spot, unless it failed for something else.
            yield Cell(
                name, mode, "unseen", edit.name, edit.kind, "", None, edit.most, most.outcome, _failed(most),
                edit.blind.get(mode, "no criterion that this trace can answer moves by twice its tolerance"),
            )  # fmt: skip
            continue
        for level in levels:
            amount, verdict = _set(judge, edit, trace, seed, criterion, level, most)
            yield Cell(
                name, mode, "dialled", edit.name, edit.kind, criterion, level, amount, verdict.outcome, _failed(verdict),
                severity=_severity(verdict, criterion),
            )  # fmt: skip


def _set(
    judge: Judge, edit: Edit, trace: Trace, seed: int, criterion: str, level: float, most: Verdict
) -> tuple[float, Verdict]:
    """The least amount found at which the effect is `level` tolerances or a little more, and what is said there.

    Most effects are proportional to the amount, so the first guess is near; halving makes it safe. `most` is what is said at the
    largest amount.
    """
    low, high, verdict = 0.0, edit.most, most
    reached = _severity(most, criterion)
    for _ in range(TURNS):
        if reached <= level * (1 + SLACK):
            break
        guess = low + (high - low) * level * (1 + SLACK / 2) / reached if low == 0 else (low + high) / 2
        tried = judge(edit.apply(trace, guess, seed))
        severity = _severity(tried, criterion)
        if severity >= level:
            high, verdict, reached = guess, tried, severity
        else:
            low = guess
    return high, verdict


def _severity(verdict: Verdict, criterion: str) -> float:
    """The effect on a criterion in tolerances; 0 where nothing can be said or it does not count."""
    finding = next((one for one in verdict.findings if one.id == criterion), None)
    if finding is None or finding.effect is None or finding.band is None or not finding.gates:
        return 0.0
    return severity_of(finding)


def severity_of(finding: Finding) -> float:
    """How many tolerances an effect is away from none."""
    low, high = finding.band or (None, None)
    centre = 1.0 if finding.effect_kind == "ratio" else 0.0
    effect = (finding.effect or 0.0) - centre
    if effect >= 0:
        return 0.0 if high is None else effect / (high - centre)
    return 0.0 if low is None else effect / (low - centre)


def _failed(verdict: Verdict) -> list[str]:
    return [finding.id for finding in verdict.failed]
