"""The description of a workload: what drives a run like a recording, value by value with how sure each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracekit.workload.distil.found import EXACT, HIGH, UNKNOWN, Found
from tracekit.workload.distil.phases import Evaluation
from tracekit.workload.distil.writes import Checkpoints

Tree = dict[str, Any]  # of Found, or of more of them by section
REPEAT, PROFILE = "repeat", "profile"


@dataclass(frozen=True)
class Description:
    """What a recording tells.

    Args:
        source: The recording.
        about: What it is, in a few words.
        own: Our description, by section and key.
        same_order: Whether each epoch has an order of its own.
        checkpoints: What it writes; None for nothing.
        evaluation: Its evaluation; None where nothing is seen of one.
        places: Where its files were.
        ranks: Processes that trained.
        left_out: Files that were read and are not the data set.
        beside: Reads and writes of files that are not the data set.
        made: Writes of those that are.
    """

    source: str
    about: str
    own: Tree
    same_order: Found
    checkpoints: Checkpoints | None
    evaluation: Evaluation | None
    places: str
    ranks: int
    left_out: Sequence[str]
    beside: int
    made: int

    @property
    def mode(self) -> str:
        """The mode of `harness check` that fits: the same job again, or where much is drawn, one of its kind."""
        shape: Mapping[str, Found] = self.own["shape"]
        sure = all(found.confidence in (EXACT, HIGH) for name, found in shape.items() if name in _REQUESTS)
        # Jumps among records are drawn. Threads of the consumer that feed the same batches wake each other here, and meet less often.
        drawn = "random_index_mode" in self.own["loader"] or "together" in shape or shape["unit"].value == "record"
        alone = self.ranks == 1
        return REPEAT if sure and not drawn and alone else PROFILE

    def unsaid(self) -> list[str]:
        """What the recording does not say, one sentence each."""
        told = [f"{path}: {found.how}" for path, found in paths(self.own) if found.confidence == UNKNOWN]
        if self.checkpoints is not None:
            told.append("checkpoints are described for DLIO and are not written by tracekit run; tracekit checkpoint measures them")  # fmt: skip
        return told


_REQUESTS = {"smallest", "largest", "cycle", "head", "sizes", "whole", "beyond", "ending", "buffer"}


def paths(tree: Mapping[str, Any], above: str = "") -> list[tuple[str, Found]]:
    """All values of a tree with their path."""
    found = []
    for key, value in tree.items():
        path = f"{above}.{key}" if above else key
        found += [(path, value)] if isinstance(value, Found) else paths(value, path)
    return found
