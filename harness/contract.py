"""What a golden asks of every trace that is held against it, as its profile says under `contract`.

contract:
  warmup: first-epoch          # what is left out of golden and run: first-step, first-epoch or none
  min_ops: 1000                # fewer reads and writes decide nothing
  min_runs: 3                  # fewer runs decide nothing
  requires: [steps, samples]   # what a trace must tell
  sync_streams: true           # a thread is in one op at a time
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.criterion import MINIMUM_OPS
from harness.figures import Figures
from harness.run import Run
from harness.validity import unsettled
from harness.verdict import Finding
from tracekit.errors import InputError, UnknownNameError
from tracekit.trace import NULL, Mark, Mask, Trace
from tracekit.units import counted

WARMUPS = ("none", "first-step", "first-epoch")
# What a contract may require, and the figure by which a trace tells it.
REQUIRED = {
    "t_complete": "latency.p50",
    "streams": "streams.count",
    "workers": "streams.workers",
    "offsets": "order.sequential",
    "steps": "step.ops",
    "step-marks": "stall.share",
    "samples": "sample.ops",
}


@dataclass(frozen=True)
class Contract:
    """What is asked of a trace.

    Args:
        warmup: What is left out of golden and run: `first-step`, `first-epoch` or `none`.
        min_ops: The fewest reads and writes (after warm-up) from which anything is decided.
        min_runs: The fewest runs.
        requires: What a trace must tell, of `REQUIRED`.
        sync_streams: Whether a thread is in one op at a time; false for readers that keep several in flight.
    """

    warmup: str = "none"
    min_ops: int = MINIMUM_OPS
    min_runs: int = 1
    requires: tuple[str, ...] = ()
    sync_streams: bool = True

    @classmethod
    def of(cls, profile: Mapping[str, Any], source: str) -> Contract:
        """The contract in a profile.

        Raises:
            UnknownNameError: If it has a key, a warm-up or a requirement that does not exist.
            InputError: If a value is of the wrong kind.
        """
        given = profile.get("contract") or {}
        if not isinstance(given, Mapping):
            raise InputError(f"the contract in {source} is no mapping", "write it as keys and values")
        for key in given:
            if key not in cls.__dataclass_fields__:
                raise UnknownNameError("key of a contract", str(key), cls.__dataclass_fields__)
        requires = given.get("requires") or []
        if not isinstance(requires, list):
            raise InputError(
                f"what the contract in {source} requires is no list: {requires!r}", "write it as [steps, samples]"
            )
        contract = cls(**{**given, "requires": tuple(map(str, requires))})
        if contract.warmup not in WARMUPS:
            raise UnknownNameError("warm-up", str(contract.warmup), WARMUPS)
        for name in contract.requires:
            if name not in REQUIRED:
                raise UnknownNameError("requirement of a contract", name, REQUIRED)
        for name in ("min_ops", "min_runs"):
            value = getattr(contract, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name} in {source} is {value!r}", "write a whole number above 0")
        if not isinstance(contract.sync_streams, bool):
            raise InputError(f"sync_streams in {source} is {contract.sync_streams!r}", "write true or false")
        return contract

    def trimmed(self, trace: Trace | Run) -> Trace | Run:
        """The trace without its warm-up; as it is where it has none that could be told (see `problems`)."""
        if self.warmup == "none" or isinstance(trace, Run):
            return trace
        warm = _warm_ops(trace, self.warmup)
        if warm is None or bool(warm.all()):
            return trace
        kept = trace.select(~warm)
        marks = [mark for mark in trace.marks if not _is_warm(mark, trace, self.warmup)]
        trailer = None if trace.trailer is None else replace(trace.trailer, ops=len(kept))
        return Trace(kept.columns, kept.tables, marks, trace.header, trailer, trace.warnings)

    def problems(self, traces: Sequence[Trace | Run], told: Sequence[tuple[str, Figures]]) -> list[Finding]:
        """What the contract asks for and the runs do not hold.

        Args:
            traces: The runs, whole.
            told: Name and figures (after warm-up) of each.
        """
        return list(self._problems(traces, told))

    def _problems(self, traces: Sequence[Trace | Run], told: Sequence[tuple[str, Figures]]) -> Iterator[Finding]:
        if len(told) < self.min_runs:
            yield unsettled(
                "valid.runs",
                "enough runs",
                f"the golden asks for at least {counted(self.min_runs, 'run')}, there {'is' if len(told) == 1 else 'are'} {len(told)}",
                "record more runs and name them all",
            )
        for trace, (name, figures) in zip(traces, told, strict=True):
            if self.warmup != "none" and self.trimmed(trace) is trace:
                what = self.warmup.replace("-", " ")
                yield unsettled(
                    "valid.warmup",
                    "warm-up left out",
                    f"the golden leaves out the {what}, and in {name} there is none to be told from the rest",
                    "record it with steps and epochs, and for longer than one of them",
                )
            if MINIMUM_OPS <= figures.data_ops < self.min_ops:
                yield unsettled(
                    "valid.size",
                    "enough ops",
                    f"{name} holds {figures.data_ops} reads and writes, the golden asks for at least {self.min_ops}",
                    "record for longer",
                )
            missing = [what for what in self.requires if figures.scalars.get(REQUIRED[what]) is None]
            if missing:
                yield unsettled(
                    "valid.requires",
                    "tells what the golden requires",
                    f"{name} does not tell {', '.join(missing)}, which the golden requires",
                    "record it with tracekit record",
                )


def _warm_ops(trace: Trace, warmup: str) -> Mask | None:
    """Which ops are warm-up; None where the trace cannot tell."""
    epochs, steps = trace.col("epoch"), trace.col("step")
    known = epochs != NULL
    if warmup == "first-epoch":
        return known & (epochs == epochs[known].min()) if bool(known.any()) else None
    numbered = steps != NULL
    if not bool(numbered.any()):
        return _before_second_step(trace)
    first = np.lexsort((steps[numbered], epochs[numbered]))[0]
    warm: Mask = numbered & (steps == steps[numbered][first]) & (epochs == epochs[numbered][first])
    return warm


def _before_second_step(trace: Trace) -> Mask | None:
    """Ops without numbers go by time: what was issued before the first step had ended."""
    ends = [mark.t_end for mark in trace.marks if mark.mark == "step" and mark.t_end is not None]
    warm: Mask | None = trace.col("t_submit") < min(ends) if ends else None
    return warm


def _is_warm(mark: Mark, trace: Trace, warmup: str) -> bool:
    # Waiting leaves out the first step of each process by itself; with it gone the second would be left out as well.
    if warmup == "first-step":
        return False
    epochs = [other.epoch for other in trace.marks if other.epoch is not None]
    return bool(epochs) and mark.epoch == min(epochs)
