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
from dataclasses import dataclass
from typing import Any

from harness.criterion import MINIMUM_OPS
from harness.run import Run
from harness.validity import unsettled
from harness.verdict import Finding
from harness.warmup import NONE, WARMUPS
from tracekit.errors import InputError, UnknownNameError
from tracekit.units import counted

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

    warmup: str = NONE
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

    def problems(self, runs: Sequence[Run], names: Sequence[str]) -> list[Finding]:
        """What the contract asks for and the runs do not hold.

        Args:
            runs: The runs.
            names: What to call each.
        """
        return list(self._problems(runs, names))

    def _problems(self, runs: Sequence[Run], names: Sequence[str]) -> Iterator[Finding]:
        if len(runs) < self.min_runs:
            yield unsettled(
                "valid.runs",
                "enough runs",
                f"the golden asks for at least {counted(self.min_runs, 'run')}, there {'is' if len(runs) == 1 else 'are'} {len(runs)}",
                "record more runs and name them all",
            )
        for run, name in zip(runs, names, strict=True):
            figures = run.figures
            if self.warmup not in {NONE, run.warmup}:
                what = self.warmup.replace("-", " ")
                yield unsettled(
                    "valid.warmup",
                    "warm-up left out",
                    f"the golden leaves out the {what}, and in {name} there is none to be told from the rest",
                    "record it with steps and epochs, and for longer than one of them",
                )
            least, after = max(self.min_ops, MINIMUM_OPS), "" if run.warmup == NONE else " after its warm-up"
            # That a run is thin as a whole is said by harness.validity, which does not know what a warm-up leaves.
            if figures.data_ops < least and (after or figures.data_ops >= MINIMUM_OPS):
                yield unsettled(
                    "valid.size",
                    "enough ops",
                    f"{name} holds {figures.data_ops} reads and writes{after}, the golden asks for at least {least}",
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
