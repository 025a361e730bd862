"""Which engine records: chosen here and nowhere else, with the reason as text."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracekit.errors import RecorderError

ENGINES = ("auto", "native", "python")

_NO_STRACE = "--native-children strace cannot be used"
_WITHOUT_STRACE = "use --native-children preload or report"
# What `formats.strace` makes ops of, and what it follows descriptors and processes by. Not every machine has all of them.
_CALLS = "trace=" + ",".join(
    f"?{call}"
    for call in (
        "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "open",
        "openat", "openat2", "creat", "close", "lseek", "dup", "dup2", "dup3", "fcntl", "clone", "clone3", "fork", "vfork",
        "execve", "execveat", "stat", "lstat", "newfstatat", "statx", "unlink", "unlinkat", "rmdir", "truncate", "rename",
        "renameat", "renameat2", "mkdir", "mkdirat", "fsync", "fdatasync", "ftruncate", "getdents64", "getdents",
        "fadvise64", "readahead", "sendfile", "copy_file_range", "splice", "mmap", "close_range",
    )
)  # fmt: skip

# Tried in a process of its own before a program is made to depend on it: whatever is odd about this machine shows there.
# Our own sys.path, not one with the working directory in front: from the source folder, which holds no core, the package
# found there would be another.
_TRY = """
import glob, json, os, sys, tempfile
sys.path[:] = sys.argv[2:]
tsc, strace = json.loads(sys.argv[1])
from tracekit import _core
traced = False
with tempfile.TemporaryDirectory() as directory:
    way, reason, count, left = _core.record_start(directory, tsc, True, True)
    if strace:
        _core.record_attach_plan([os.fsencode(word) for word in strace], directory)
    _core.record_children(True)
    with open(os.path.join(directory, "x"), "w+b") as file:
        file.write(b"tracekit"); file.seek(0); assert file.read() == b"tracekit"
    child = os.fork()
    if child == 0:
        os.execv("/bin/sh", ["sh", "-c", "exit 7"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    for name in glob.glob(directory + "/*.strace"):
        with open(name, "rb") as file:
            traced = traced or b"execve(" in file.read()
print(way, count, ", ".join(f"{name} ({why})" for name, why in left), traced, reason or "", sep="|")
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
    """How the native engine fared in a process of its own: `way` is detour, got or none; `left` the calls left alone.

    `traced`: strace, where it was to be tried, saw what was executed.
    """

    way: str
    reason: str
    calls: int = 0
    left: str = ""
    traced: bool = False


def try_native(strace: Sequence[str] = ()) -> Trial:
    """Hook the C library in a process of its own, and read, fork, exec and wait there.

    Args:
        strace: The words of a strace that is to be attached to what it executes.
    """
    settings = json.dumps([time_stamp_counter()[0], list(strace)])
    command = [sys.executable, "-I", "-c", _TRY, settings, *sys.path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return Trial("none", f"the native engine could not be tried: {error}")
    try:
        way, count, left, traced, reason = done.stdout.strip().split("|")
        return Trial(way, reason, int(count), left, traced=traced == "True")
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


def strace_words() -> list[str]:
    """The strace command that is attached to programs that are no Python, without output and pid.

    Raises:
        RecorderError: If there is no strace, or it may not trace here.
    """
    program = shutil.which("strace")
    if program is None:
        raise RecorderError(f"{_NO_STRACE}: strace is not on PATH", _WITHOUT_STRACE)
    words = [os.path.realpath(program), "-f", "-q", "-y", "-I", "never", "-s", "64", *_times(program), "-e", _CALLS]
    trial = try_native(words)
    if trial.way != "detour":
        why = (
            trial.reason
            or f"the C library's functions are hooked by way of {trial.way}, which does not see programs start"
        )
        raise RecorderError(f"{_NO_STRACE}: {why}", _WITHOUT_STRACE)
    if not trial.traced:
        raise RecorderError(f"{_NO_STRACE}: {_strace_says(words)}", _WITHOUT_STRACE)
    return words


def _times(program: str) -> list[str]:
    """Nanoseconds where this strace can (since 5.6), or microseconds."""
    try:
        said = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RecorderError(f"{_NO_STRACE}: {program} cannot be run: {error}", _WITHOUT_STRACE) from None
    if "--absolute-timestamps=" in said and "--syscall-times[" in said:
        return ["--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns"]
    return ["-ttt", "-T"]


def _strace_says(words: Sequence[str]) -> str:
    """What strace says when it is attached to a process of ours."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        command = [*words, "-o", os.devnull, "-p", str(child.pid)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=1, check=False)
        except (OSError, subprocess.SubprocessError):
            return "strace did not see a program of a trial"
        finally:
            child.communicate()
    said = done.stderr.strip().splitlines()
    return said[0] if said else f"strace ended with status {done.returncode} in a trial"


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
