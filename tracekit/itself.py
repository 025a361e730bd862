"""Running a module of ours in another process of this interpreter."""

from __future__ import annotations

import sys
from pathlib import Path


def command(module: str) -> list[str]:
    """The words that run a module as `python -m` does, but from where this package is imported from.

    `-m` looks into the working directory first: a folder `tracekit` or a file `queue.py` there would be run instead of ours, and
    a checkout, which has no compiled core, instead of what is installed.

    Args:
        module: Its dotted name.
    """
    home = str(Path(__file__).resolve().parents[1])
    program = (
        f"import sys; places = [place for place in sys.path if place]; sys.path[:] = places if {home!r} in places "
        f"else [{home!r}, *places]; import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", program]
