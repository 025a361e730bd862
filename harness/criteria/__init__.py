"""The criteria: one table per mode, everything about each of them in one place.

Three classes. *intent* is what was asked of the storage; it does not depend on the machine and is decided from one run.
*overlap* is whether the consumer was kept fed. *environment* is how the machine answered; it is judged over several runs on
the same class of host, and shown otherwise. docs/explanation/verdicts.md says where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.criteria import matrix
from harness.criteria.advice import advice
from harness.criteria.matrix import MATRIX_CRITERIA
from harness.criteria.paired import PAIRED_CRITERIA
from harness.criteria.profiled import PROFILE_CRITERIA
from harness.criteria.repeated import REPEAT_CRITERIA
from harness.criterion import ENVIRONMENT_RUNS, PAIRED, PROFILE, REPEAT, Criterion, format_band
from tracekit.errors import UnknownNameError

__all__ = [
    "ASSUMED",
    "CRITERIA",
    "GATES",
    "MATRIX_CRITERIA",
    "PAIRED_CRITERIA",
    "PROFILE_CRITERIA",
    "REPEAT_CRITERIA",
    "advice",
    "explain",
    "named",
]

CRITERIA: Mapping[str, Mapping[str, Criterion]] = {
    PAIRED: PAIRED_CRITERIA,
    REPEAT: REPEAT_CRITERIA,
    PROFILE: PROFILE_CRITERIA,
}


# When a criterion counts in the verdict.
GATES = {
    "always": "always",
    "same-host": f"with at least {ENVIRONMENT_RUNS} runs on a host of the golden's class, where its profile says host: dedicated",
    "compute-bound": "where the golden's profile says regime: compute_bound",
    "io-bound": "where the golden's profile says regime: io_bound",
    "never": "never; it is shown only",
}
ASSUMED = {
    PAIRED: "nothing: what was done is counted, not estimated",
    REPEAT: "runs are independent of each other",
    PROFILE: "runs are independent of each other",
}


def named(name: str, mode: str = REPEAT) -> Criterion:
    """The criterion of a mode by its id.

    Raises:
        UnknownNameError: If there is none; the nearest is proposed.
    """
    if name not in CRITERIA[mode]:
        raise UnknownNameError("criterion", name, CRITERIA[mode])
    return CRITERIA[mode][name]


def explain(name: str) -> str:
    """What a criterion asks, how it is decided, and why: plain text for all modes that have it, or for the matrix.

    Raises:
        UnknownNameError: If there is no such criterion; the nearest is proposed.
    """
    known = {criterion for table in CRITERIA.values() for criterion in table}
    if matrix.general(name) in MATRIX_CRITERIA:
        return matrix.explain(name)
    if name not in known:
        raise UnknownNameError("criterion", name, known | set(MATRIX_CRITERIA))
    return "\n\n".join(_explanation(mode, table[name]) for mode, table in CRITERIA.items() if name in table)


def _explanation(mode: str, criterion: Criterion) -> str:
    lines = [
        f"{criterion.id} ({mode} mode, {criterion.klass}): {criterion.title}",
        f"  statistic   {criterion.statistic}",
        f"  accepted    {format_band(criterion.kind, criterion.band, criterion.unit)}",
        f"  gates       {GATES[criterion.gate]}",
        f"  needs       {criterion.minimum} {'op' if criterion.minimum == 1 else 'ops'}",
        f"  assumes     {criterion.assumption or ASSUMED[mode]}",
        f"  why         {criterion.why}",
        f"  if it fails {advice(criterion)}",
    ]
    return "\n".join(lines)
