"""What runs are held against in repeat and profile mode, and the runs that are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from harness.contract import Contract
from harness.criteria import CRITERIA
from harness.criterion import REPEAT, Criterion
from harness.envelope import Envelope
from harness.figures import Figures
from harness.noise import Lesson, Noise


@dataclass(frozen=True)
class Standard:
    """What runs are held against: an envelope and what its profile declares.

    Args:
        name: What to call it, `torch-like@3`.
        envelope: The golden runs.
        regime: `compute_bound`, `io_bound` or nothing.
        dedicated: Whether its runs were recorded on hosts that did nothing else. Only then does the spread between them
            say how much a host of that class varies: runs recorded within minutes on a shared host differ far less from
            each other than from the same job an hour later.
        contract: What is asked of every trace.
        lessons: What was learned about each criterion when the golden was made; its tolerances hold.
        declared: Tolerances that the profile names: criteria that have to be decided, however noisy they are.
    """

    name: str
    envelope: Envelope
    regime: str = ""
    dedicated: bool = False
    contract: Contract = field(default_factory=Contract)
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    declared: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def noise(self) -> Noise:
        """How much the golden's runs differ."""
        return Noise(self.envelope)

    @cached_property
    def pooled(self) -> Figures:
        """The golden runs taken together."""
        return self.envelope.pooled()

    def criteria(self, mode: str) -> list[Criterion]:
        """The criteria of a mode with this golden's tolerances."""
        return [self.adjusted(criterion, mode) for criterion in CRITERIA[mode].values()]

    def adjusted(self, criterion: Criterion, mode: str = REPEAT) -> Criterion:
        """A criterion with this golden's tolerance: the one its profile names, else in repeat mode the one it was learned with."""
        tolerance = self.declared.get(criterion.id)
        if tolerance is None and mode == REPEAT and criterion.id in self.lessons:
            tolerance = self.lessons[criterion.id].tolerance
        return criterion if tolerance is None else replace(criterion, tolerance=tolerance)


@dataclass(frozen=True)
class Trial:
    """Runs to be judged, and what they are judged by."""

    standard: Standard
    runs: Sequence[Figures]
    mode: str = REPEAT

    @property
    def golden(self) -> Envelope:
        """The golden runs."""
        return self.standard.envelope

    @property
    def pooled(self) -> Figures:
        """The golden runs taken together."""
        return self.standard.pooled

    @property
    def same_host(self) -> bool:
        """Whether golden and runs come from one class of host."""
        return bool(self.golden.host_class) and {run.host_class for run in self.runs} == {self.golden.host_class}
