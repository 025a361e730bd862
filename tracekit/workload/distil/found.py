"""A value that was found in a recording, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# exact: it is there, op by op. high: estimated, and hardly off. medium: it may be off as said. low: a guess that fits.
# unknown: the recording does not say; the value is a stand-in that lets the workload run.
EXACT, HIGH, MEDIUM, LOW, UNKNOWN = "exact", "high", "medium", "low", "unknown"
LEVELS = (EXACT, HIGH, MEDIUM, LOW, UNKNOWN)


@dataclass(frozen=True)
class Found:
    """One value.

    Args:
        value: What goes into the description.
        confidence: One of `LEVELS`.
        how: How it was derived.
        observations: From how many.
        off: How far it can be off; empty for not at all.
    """

    value: Any
    confidence: str
    how: str
    observations: int = 0
    off: str = ""

    def remark(self) -> str:
        """The comment beside the value."""
        counted = f" ({self.observations:,})" if self.observations else ""
        return f"{self.confidence}: {self.how}{counted}" + (f"; {self.off}" if self.off else "")

    def to_json(self) -> dict[str, Any]:
        """The value with all that is known about it."""
        return {
            "value": self.value, "confidence": self.confidence, "how": self.how, "observations": self.observations,
            "off": self.off,
        }  # fmt: skip
