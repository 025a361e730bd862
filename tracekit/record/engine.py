"""Which engine records: chosen here and nowhere else, with the reason as text."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracekit.errors import RecorderError

ENGINES = ("auto", "native", "python")

# Tried in a process of its own before a program is made to depend on it: whatever is odd about this machine shows there.
# Our own sys.path, not one with the working directory in front: from the source folder, which holds no core, the package
# found there would be another.
_TRY = """
import os, sys, tempfile
sys.path[:] = sys.argv[2:]
from tracekit import _core
with tempfile.TemporaryDirectory() as directory:
    way, reason, count, left = _core.record_start(directory, sys.argv[1] == "True", True, True)
    _core.record_children(True)
    with open(os.path.join(directory, "x"), "w+b") as file:
        file.write(b"tracekit"); file.seek(0); assert file.read() == b"tracekit"
    child = os.fork()
    if child == 0:
        os.execv("/bin/sh", ["sh", "-c", "exit 7"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(way, count, ", ".join(f"{name} ({why})" for name, why in left), reason or "", sep="|")
"""


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
        trial = try_native()
        if trial.way == "none":
            return Choice("python", trial.reason)
    tsc, clock = time_stamp_counter()
    options = {"core": core, "tsc": tsc, "detour": True, "got": True}
    return Choice("native", f"the C library's own entry points are hooked; time is read from {clock}", options)


@dataclass(frozen=True)
class Trial:
    """How the native engine fared in a process of its own: `way` is detour, got or none; `left` the calls left alone."""

    way: str
    reason: str
    calls: int = 0
    left: str = ""


def try_native() -> Trial:
    """Hook the C library in a process of its own, and read, fork, exec and wait there."""
    command = [sys.executable, "-I", "-c", _TRY, str(time_stamp_counter()[0]), *sys.path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Trial("none", f"the native engine could not be tried: {error}")
    try:
        way, count, left, reason = done.stdout.strip().split("|")
        return Trial(way, reason, int(count), left)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Trial("none", f"a trial of the native engine failed with status {done.returncode}: {last}")


def anchor() -> list[tuple[int, int]]:
    """CLOCK_MONOTONIC and the time stamp counter at one moment, as a list of one pair; empty without the core."""
    try:
        from tracekit import _core
    except ImportError:
        return []
    return [_core.clock_anchor()]


def preload_library() -> str:
    """The recorder as a library for programs that are no Python, tried on one.

    Raises:
        RecorderError: If there is none, or a program does not start with it.
    """
    found = importlib.util.find_spec("tracekit._preload")
    why = "its library was not built" if found is None or not found.origin else _refusal(str(found.origin))
    if why:
        raise RecorderError(f"--native-children preload cannot be used: {why}", "use --native-children report")
    assert found is not None
    return str(found.origin)


def _refusal(library: str) -> str:
    """Why programs should not be started with a library; empty where one starts and ends as it does without."""
    command = ["/bin/sh", "-c", "exit 7"]
    try:
        done = subprocess.run(
            command, env={**os.environ, "LD_PRELOAD": library}, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"it could not be tried: {error}"
    said = done.stderr.strip()
    if done.returncode == 7 and not said:
        return ""
    return (
        f"a program does not start with its library: {said.splitlines()[-1] if said else f'status {done.returncode}'}"
    )


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
