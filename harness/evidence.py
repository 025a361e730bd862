"""Does a trace tell what its reference tells? What it is silent about must not pass for being alike.

A criterion that the reference itself cannot tell anything about is N/A and decides nothing. One that only the candidate is silent
about leaves the verdict open: a bare list of requests has no order of streams to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.figures import Figures
from harness.validity import unsettled
from harness.verdict import Finding

# The figure by which a trace tells, where a criterion is decided on more than one of its own name.
TOLD_BY = {
    "depth.ceiling": "depth.max",
    "streams.moved": "streams.count",
    "streams.per-worker": "streams.workers",
}


def problems(
    criteria: Iterable[str], reference: Figures, candidates: Sequence[tuple[str, Figures]], side: str
) -> list[Finding]:
    """One finding for each candidate that is silent about what the reference tells.

    Args:
        criteria: The ids of the criteria that need evidence.
        reference: What is known of the reference.
        candidates: Name and figures of what is judged.
        side: What to call the reference.
    """
    told = [name for name in criteria if _tells(reference, name)]
    return [
        unsettled(
            "valid.evidence",
            "tells what the reference tells",
            f"{name} does not tell what {', '.join(silent)} {'asks' if len(silent) == 1 else 'ask'} for, and the {side} does",
            "record it with tracekit record, or pass --inconclusive ok",
        )
        for name, figures in candidates
        if figures.data_ops and (silent := [name for name in told if not _tells(figures, name)])
    ]


def _tells(figures: Figures, name: str) -> bool:
    return figures.scalars.get(TOLD_BY.get(name, name)) is not None
