"""Which engine records: chosen here and nowhere else, with the reason as text."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracekit.errors import RecorderError

ENGINES = ("auto", "native", "python")

# `auto` stays with the engine that wraps Python's own functions until the native one, which patches the C library inside
# the user's program, has been proven on more machines than it was written on.
_NOT_YET = "the native engine is used when it is asked for, with --engine native"


@dataclass(frozen=True)
class Choice:
    """An engine, why it and not another, and what recorded processes need to know to use it (None: the Python engine)."""

    name: str
    reason: str
    options: dict[str, Any] | None = None


def choose(wanted: str) -> Choice:
    """The engine for a recording on this machine.

    Args:
        wanted: One of `ENGINES`.

    Raises:
        RecorderError: If the native engine is asked for and cannot be used here.
    """
    if wanted == "python":
        return Choice("python", "asked for with --engine python")
    core, why = _core()
    if core is None:
        if wanted == "native":
            raise RecorderError(f"the native engine cannot be used: {why}", "use --engine auto")
        return Choice("python", why)
    if wanted == "auto":
        return Choice("python", _NOT_YET)
    tsc, clock = time_stamp_counter()
    options = {"core": core, "tsc": tsc, "detour": True, "got": True}
    return Choice("native", f"the C library's own entry points are hooked; time is read from {clock}", options)


def anchor() -> list[tuple[int, int]]:
    """CLOCK_MONOTONIC and the time stamp counter at one moment, as a list of one pair; empty without the core."""
    try:
        from tracekit import _core
    except ImportError:
        return []
    return [_core.clock_anchor()]


def _core() -> tuple[str | None, str]:
    if platform.system() != "Linux":
        return None, f"the native engine is written for Linux, this is {platform.system()}"
    try:
        core = importlib.import_module("tracekit._core")
    except ImportError as error:
        return None, f"the native core is not there: {error}"
    if core.__file__ is None or not hasattr(core, "record_start"):
        return None, "the native core was built without the recorder"
    return core.__file__, ""


def time_stamp_counter() -> tuple[bool, str]:
    """Whether the processor's counter may be used as the clock, and what is used.

    It may where the kernel itself uses it, which it does only after having checked that it runs evenly on all processors
    and through sleep states.
    """
    try:
        source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False, "clock_gettime"
    steady = {"constant_tsc", "nonstop_tsc"} <= set(flags.split())
    if platform.machine() == "x86_64" and source == "tsc" and steady:
        return True, "the processor's time stamp counter"
    return False, f"clock_gettime, as the kernel's clock source is {source}"
