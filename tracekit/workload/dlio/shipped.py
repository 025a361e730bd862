"""The workload files that come with the package, by name."""

from __future__ import annotations

import os
from importlib.resources import files

from tracekit.errors import InputError, UnknownNameError

_SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """What there is."""
    folder = files("tracekit.workload.dlio") / "configs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def path_of(name: str) -> str:
    """The path of a workload file: a path as it is, the name of a shipped one as the place where that is.

    Raises:
        InputError: If it looks like a path and nothing is there.
        UnknownNameError: If it is the name of none.
    """
    # A folder of that name, as generated data may lie in, is no workload.
    if os.path.exists(name) and not (os.path.isdir(name) and name in names()):
        return name
    if os.sep in name or name.endswith(_SUFFIXES):
        raise InputError(f"there is no workload file {name}", "name one, or one of these: " + ", ".join(names()))
    if name not in names():
        raise UnknownNameError("workload", name, names())
    return str(files("tracekit.workload.dlio") / "configs" / f"{name}.yaml")
