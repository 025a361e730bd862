"""What there is to say about a workload file, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracekit.errors import InputError
from tracekit.workload.dlio.document import Node

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Finding:
    """One remark.

    Args:
        level: `error` (nothing is run), `warning` (it may not be what was meant), `note` (what a key does not do here).
        key: The key as the file spells it.
        problem: What is wrong, without a full stop.
        way_out: What to do.
        source: The file, or the command line.
        line: From 1; 0 where there is none.
    """

    level: str
    key: str
    problem: str
    way_out: str = ""
    source: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.source}:{self.line}" if self.line else self.source

    def __str__(self) -> str:
        text = f"{self.place}: {self.key}: {self.problem}" if self.key else f"{self.place}: {self.problem}"
        return f"{text}; {self.way_out}" if self.way_out else text

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "level": self.level, "file": self.source, "line": self.line or None, "key": self.key, "problem": self.problem,
            "way_out": self.way_out or None,
        }  # fmt: skip


class Findings(list[Finding]):
    """All remarks about one file, in the order they were found."""

    def add(self, level: str, key: str, node: Node | None, problem: str, way_out: str = "") -> None:
        """One more, at a node's place."""
        source, line = (node.source, node.line) if node is not None else ("", 0)
        self.append(Finding(level, key, problem, way_out, source, line))

    def of(self, level: str) -> list[Finding]:
        """Those of a level."""
        return [finding for finding in self if finding.level == level]


def refuse(findings: Sequence[Finding]) -> None:
    """Raise for the errors among the findings.

    Raises:
        InputError: The first error, and how many more there are.
    """
    errors = [finding for finding in findings if finding.level == ERROR]
    if not errors:
        return
    first, others = errors[0], errors[1:]
    cause = str(first) if not first.way_out else str(first).removesuffix(f"; {first.way_out}")
    more = f" (and {len(others)} more: see tracekit dlio lint)" if others else ""
    raise InputError(cause + more, first.way_out)
