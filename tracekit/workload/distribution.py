"""A quantity that varies: sizes in bytes, times in seconds.

The kinds and their parameters are DLIO's, and `lognormal` beside them. Draws are never negative: DLIO takes the absolute
value, and so do we.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracekit.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Parameters of each kind; those with a default may be left out.
KINDS: Mapping[str, Mapping[str, float | None]] = {
    "fixed": {"value": None},
    "normal": {"mean": None, "stdev": 0.0},
    "lognormal": {"mean": None, "stdev": 0.0},
    "uniform": {"min": None, "max": None},
    "gamma": {"shape": None, "scale": None},
    "exponential": {"scale": None},
    "poisson": {"lam": None},
}
# What must be above 0, and not only not below it.
POSITIVE = {"gamma": ("shape", "scale"), "exponential": ("scale",), "lognormal": ("mean",)}


@dataclass(frozen=True)
class Distribution:
    """A distribution of a size or a time.

    Args:
        kind: One of `KINDS`.
        parameters: Its parameters, by name; `mean` and `stdev` of a lognormal are those of the quantity, not of its logarithm.

    Raises:
        UnknownNameError: If there is no such kind or parameter.
        UsageError: If a parameter is missing or impossible.
    """

    kind: str = "fixed"
    parameters: Mapping[str, float] = field(default_factory=lambda: {"value": 0.0})

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("distribution", self.kind, KINDS)
        wanted = KINDS[self.kind]
        for name in self.parameters:
            if name not in wanted:
                raise UnknownNameError(f"parameter of a {self.kind} distribution", name, wanted)
        absent = [name for name, default in wanted.items() if default is None and name not in self.parameters]
        if absent:
            raise UsageError(f"a {self.kind} distribution has no {' and no '.join(absent)}", "give it one")
        whole = {name: self.parameters.get(name, default) for name, default in wanted.items()}
        object.__setattr__(self, "parameters", {name: self._number(name, value) for name, value in whole.items()})
        if self.kind == "uniform" and self.parameters["min"] > self.parameters["max"]:
            raise UsageError("a uniform distribution has a min above its max", "exchange them")

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"the {name} of a {self.kind} distribution is {value!r}", "write a number")
        if value < 0 or (value == 0 and name in POSITIVE.get(self.kind, ())):
            raise UsageError(f"the {name} of a {self.kind} distribution is {value}", "write a number above 0")
        return float(value)

    @classmethod
    def fixed(cls, value: float) -> Distribution:
        """Always the same."""
        return cls("fixed", {"value": value})

    @classmethod
    def normal(cls, mean: float, stdev: float = 0.0) -> Distribution:
        """Normal; without a standard deviation it is fixed."""
        return cls("normal", {"mean": mean, "stdev": stdev}) if stdev else cls.fixed(mean)

    @property
    def mean(self) -> float:
        """Its mean, before negative draws are turned round."""
        p = self.parameters
        match self.kind:
            case "fixed":
                return p["value"]
            case "uniform":
                return (p["min"] + p["max"]) / 2
            case "gamma":
                return p["shape"] * p["scale"]
            case "exponential":
                return p["scale"]
            case "poisson":
                return p["lam"]
            case _:
                return p["mean"]

    @property
    def varies(self) -> bool:
        """Whether two draws can differ."""
        return self.kind != "fixed" and (self.parameters.get("stdev") != 0.0)

    def draw(self, chance: np.random.Generator, count: int) -> NDArray[np.float64]:
        """`count` draws, none below 0.

        Args:
            chance: Where they come from; the same state gives the same draws.
            count: How many.
        """
        import numpy as np

        return np.abs(np.asarray(self._draw(chance, count), dtype=np.float64))

    def _draw(self, chance: np.random.Generator, count: int) -> Any:
        p = self.parameters
        match self.kind:
            case "normal":
                return chance.normal(p["mean"], p["stdev"], count)
            case "lognormal":
                sigma2 = math.log1p((p["stdev"] / p["mean"]) ** 2)
                return chance.lognormal(math.log(p["mean"]) - sigma2 / 2, math.sqrt(sigma2), count)
            case "uniform":
                return chance.uniform(p["min"], p["max"], count)
            case "gamma":
                return chance.gamma(p["shape"], p["scale"], count)
            case "exponential":
                return chance.exponential(p["scale"], count)
            case "poisson":
                return chance.poisson(p["lam"], count)
            case _:
                return [p["value"]] * count
