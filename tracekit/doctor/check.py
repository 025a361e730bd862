"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass

# ok; limited: tracekit works, but something is slower, coarser or not seen; missing: what it names cannot be used here.
OUTCOMES = OK, LIMITED, MISSING = ("ok", "limited", "missing")


@dataclass(frozen=True)
class Check:
    """One finding.

    Args:
        name: What was looked at.
        outcome: One of `OUTCOMES`.
        finding: What was found; where it is not `ok`, the cause.
        way_out: What to do about it, and what holds until then; only of what is `ok` it may be empty.
    """

    name: str
    outcome: str
    finding: str
    way_out: str = ""
