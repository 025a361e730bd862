"""What `record` can see here, and by which way."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tracekit.doctor import probe
from tracekit.doctor.check import Check
from tracekit.errors import RecorderError
from tracekit.record.engine import choose, strace_words, try_native

_NO_CORE = "that takes the native core, which is not there"
_SEE_CORE = "do what is said of the native core"
_NO_TEMPORARY = "not tried: there is no directory for temporary files"
_SEE_TEMPORARY = "do what is said of temporary files"
_PYTHON_ONLY = "use x86-64 or arm64 Linux with the native core; until then what native code reads is not recorded"
_TRY_TOUCHES = """
import sys
sys.path[:] = sys.argv[1:]
from tracekit import _core
print(_core.record_touches(2) or "")
"""


def _has_core() -> bool:
    try:
        importlib.import_module("tracekit._core")
    except ImportError:
        return False
    return True


def _has_temporary() -> bool:
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


def check_recorder() -> Check:
    """How `record` would see I/O here: the C library's calls hooked and in which way, or why that cannot be."""
    if not _has_core():
        way_out = f"{_SEE_CORE}; until then what native code reads is not recorded"
        return Check("recorder", "limited", f"Python engine only: {_NO_CORE}", way_out)
    if not _has_temporary():
        return Check("recorder", "limited", _NO_TEMPORARY, _SEE_TEMPORARY)
    try:
        choice = choose("native")
    except RecorderError as error:
        return Check("recorder", "limited", f"Python engine only: {error.cause}", _PYTHON_ONLY)
    trial = try_native()
    if trial.way == "none":
        return Check("recorder", "limited", f"Python engine only: {trial.reason}", _PYTHON_ONLY)
    finding = f"native engine, {trial.calls} calls of the C library hooked; {choice.reason.partition('; ')[2]}"
    if trial.way == "detour" and not trial.left:
        return Check("recorder", "ok", finding)
    missing = f"; not seen: {trial.left}" if trial.left else ""
    because = f": {trial.reason}" if trial.reason else ""
    return Check(
        "recorder",
        "limited",
        f"{finding}, by way of {trial.way}{because}{missing}",
        "nothing to do where the program uses none of it; the trace's trailer says what was missed",
    )


def check_mapped_pages() -> Check:
    """Whether `record --mmap exact` could see which pages of mapped files are touched."""
    if not _has_core():
        way_out = f"{_SEE_CORE}; record --mmap map says which files are mapped"
        return Check("mapped pages", "limited", f"not seen: {_NO_CORE}", way_out)
    way_out = "Linux 6.7 with userfaultfd permitted (vm.unprivileged_userfaultfd = 1); until then record --mmap map says which files are mapped"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _TRY_TOUCHES, *sys.path],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return Check("mapped pages", "limited", "not seen: it could not be tried", way_out)
    reason = done.stdout.strip()
    if reason:
        return Check("mapped pages", "limited", f"not seen: {reason}", way_out)
    return Check("mapped pages", "ok", "record --mmap exact sees which are touched (userfaultfd, PAGEMAP_SCAN)")


def check_strace() -> Check:
    """Whether `record --native-children strace` could follow programs that are no Python."""
    if shutil.which("strace") is None:
        return Check(
            "strace",
            "missing",
            "not on PATH",
            "install strace to see reads of programs that are not Python; record --native-children preload does without",
        )
    if not _has_core():
        return Check("strace", "limited", f"it is there; {_NO_CORE}", _SEE_CORE)
    if not _has_temporary():
        return Check("strace", "limited", _NO_TEMPORARY, _SEE_TEMPORARY)
    try:
        words = strace_words()
    except RecorderError as error:
        finding = f"programs that are no Python cannot be followed: {error.cause.partition(': ')[2]}"
        return Check(
            "strace",
            "limited",
            finding,
            "allow ptrace (a container: --cap-add SYS_PTRACE; kernel.yama.ptrace_scope); record --native-children preload does without",
        )
    return Check("strace", "ok", f"{words[0]}, and it may trace: record --native-children strace can be used")


def check_proc_io() -> Check:
    """The kernel's own byte counts, against which a recording's completeness is measured."""
    try:
        Path("/proc/self/io").read_text()
    except OSError as error:
        return Check(
            "/proc/self/io",
            "limited",
            probe.reason(error),
            "mount /proc so that a process may read its own io; until then recordings cannot say how complete they are",
        )
    return Check("/proc/self/io", "ok", "readable: recordings can be held against the kernel's byte counts")
