"""Which words the value of an option can be: what completions propose."""

from __future__ import annotations

from functools import lru_cache

from harness import golden
from harness.cells import SCENARIOS
from harness.criteria import CRITERIA
from harness.presets import PRESETS
from making.commands import Argument
from tracekit.analysis import plots
from tracekit.replay.options import FILLS, PACES
from tracekit.uri import SCHEMES
from tracekit.workload.dlio import shipped
from tracekit.workload.profiles import PRESETS as PROFILES

# Values that are no file: nothing is proposed where there are no words either.
NO_FILE = frozenset(
    [
        "CELLS",
        "CRITERION",
        "EXPR",
        "F",
        "FILLING",
        "GLOB",
        "ID",
        "LEVEL",
        "N",
        "NAME=VALUE",
        "NAME",
        "N|P%",
        "N|auto",
        "PACE",
        "SECONDS",
        "SEED",
        "SHELL",
        "SIZE",
        "TEXT",
        "TITLE",
        "UNIT",
        "VERSION",
        "X",
        "++KEY=VALUE",
        "++workload.KEY=VALUE",
    ]
)


@lru_cache(maxsize=1)
def _by_value() -> dict[str, tuple[str, ...]]:
    goldens = tuple(golden.names())
    criteria = tuple(dict.fromkeys(name for table in CRITERIA.values() for name in table))
    return {
        "CELLS": tuple(SCENARIOS),
        "CRITERION": criteria,
        "ID": criteria,
        "NAME|DIR": goldens,
        "NAME|DIR|TRACE": goldens,
        "FILLING": FILLS,
        "PACE": PACES,
        "UNIT": ("ns", "us", "ms", "s"),
        "URI": tuple(f"{scheme}://" for scheme in SCHEMES),
        "VERSION": ("2.0.0", "3.x"),
        "WORKLOAD": (*PROFILES, "custom", *shipped.names()),
        "FILE": (),
    }


_BY_OPTION = {
    "--preset": lambda: tuple(PRESETS),
    "--kind": lambda: tuple(plots.KINDS),
    "--profile": lambda: tuple(PROFILES),
}


def words(argument: Argument) -> tuple[str, ...]:
    """The words that an argument's value can be; none where it is free."""
    for name in argument.names:
        if name in _BY_OPTION:
            return _BY_OPTION[name]()
    return argument.words or _by_value().get(argument.value, ())


def takes_file(argument: Argument) -> bool:
    """Whether the value is, or may be, a file or directory."""
    return (
        bool(argument.value)
        and not argument.choices
        and argument.value not in NO_FILE
        and (not argument.words or argument.value == "DIR|URI")
    )
