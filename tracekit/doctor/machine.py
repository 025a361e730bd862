"""The interpreter, the core, the kernel's ways of doing I/O, memory, and what is installed."""

from __future__ import annotations

import ctypes
import errno
import importlib
import importlib.util
import os
import platform
import resource
import shutil
import sys
import tempfile
from contextlib import suppress

from tracekit.cgroup import memory_limit
from tracekit.doctor import probe
from tracekit.doctor.check import Check
from tracekit.machine import mount_of
from tracekit.units import format_bytes

FRAMEWORKS = ("torch", "tensorflow", "jax", "h5py", "pyarrow", "webdataset", "datasets", "obstore", "boto3", "fsspec")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- looked at, not written
# What container engines give by default is not enough for PyTorch's workers.
_SHARED_BYTES, _ROOM, _FILES = 64 << 20, 1 << 30, 4096


def check_python() -> Check:
    """The interpreter."""
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}")


def check_core() -> Check:
    """The native core, or why it is not used."""
    try:
        importlib.import_module("tracekit._core")
    except ImportError as error:
        way_out = "install a C compiler (Debian: gcc python3-dev) and reinstall tracekit, or take its wheel; until then record and replay are slower"
        return Check("native core", "limited", f"Python twins are used: {error}", way_out)
    return Check("native core", "ok", "loaded")


def check_io_uring() -> Check:
    """Whether io_uring can be set up (io_uring_setup(2), number 425 on every architecture)."""
    mode = probe.text("/proc/sys/kernel/io_uring_disabled")
    params = ctypes.create_string_buffer(120)
    handle, error = probe.system_call(425, 1, ctypes.addressof(params))
    if handle >= 0:
        os.close(handle)
        return Check("io_uring", "ok", "permitted")
    reason = f"refused: {os.strerror(error)}"
    if mode not in {"", "0"}:
        reason += f" (kernel.io_uring_disabled = {mode})"
    elif error == errno.EPERM:
        reason += " (a container's seccomp filter, most likely)"
    return Check(
        "io_uring",
        "limited",
        reason,
        "allow it (kernel.io_uring_disabled = 0; a container's seccomp profile); until then deep queues are driven by threads",
    )


def check_drop_caches() -> Check:
    """Whether the whole page cache can be emptied; single files can be without."""
    target = "/proc/sys/vm/drop_caches"
    if os.access(target, os.W_OK):
        return Check("drop caches", "ok", f"{target} is writable")
    return Check(
        "drop caches",
        "limited",
        f"{target} is not writable",
        "run as root to empty the whole page cache; replay --cache-start cold drops the trace's own files without",
    )


def check_memory() -> Check:
    """Memory that is available now, and no more than the control group may take."""
    available = next(
        (line for line in probe.text("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")), ""
    )
    if not available:
        return Check("memory", "limited", "/proc/meminfo does not say how much is available", "mount /proc")
    free, limit = int(available.split()[1]) * 1024, memory_limit()
    finding = f"{format_bytes(free)} available"
    if limit is not None and limit < free:
        free, finding = limit, f"{format_bytes(limit)}, which is what the control group may take"
    if free < 512 << 20:
        return Check(
            "memory",
            "limited",
            finding,
            "free some, or raise the container's limit: a trace of 1 M ops takes about 300 MiB to look at",
        )
    return Check("memory", "ok", finding)


def check_frameworks() -> Check:
    """Which readers that tracekit knows are installed (looked up, not imported)."""
    found = [name for name in FRAMEWORKS if _is_installed(name)]
    if "torch" in found:
        return Check("frameworks", "ok", ", ".join(found))
    way_out = "install PyTorch (pip install 'tracekit-io[torch]') to record DataLoader jobs and to record torch-like goldens here"
    return Check("frameworks", "limited", f"{', '.join(found) or 'none'}; torch is not installed", way_out)


def _is_installed(name: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(name) is not None
    return False


def check_shared_memory() -> Check:
    """Where the workers of a PyTorch loader hand their batches over."""
    name, way_out = "shared memory", "start the container with --shm-size=1g, or train with num_workers=0: PyTorch's workers hand batches over there"  # fmt: skip
    try:
        room = shutil.disk_usage(SHARED_MEMORY)
    except OSError as error:
        return Check(name, "limited", f"{SHARED_MEMORY}: {probe.reason(error)}", way_out)
    finding = f"{format_bytes(room.free)} of {format_bytes(room.total)} free at {SHARED_MEMORY}"
    if room.total <= _SHARED_BYTES or room.free < _SHARED_BYTES // 2:
        return Check(name, "limited", finding, way_out)
    return Check(name, "ok", finding)


def check_temporary() -> Check:
    """Where working files, made runs and scratch copies go."""
    try:
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("temporary files", "missing", probe.reason(error), "set TMPDIR to a directory that may be written")
    mount = mount_of(place)
    finding = f"{format_bytes(free)} free at {place}{f' ({mount.kind})' if mount else ''}"
    if free < _ROOM:
        way_out = "set TMPDIR to a directory with more room: runs that are made here have their data there"
        return Check("temporary files", "limited", finding, way_out)
    return Check("temporary files", "ok", finding)


def check_home() -> Check:
    """Whether libraries may keep their caches."""
    home = os.path.expanduser("~")
    if os.path.isdir(home) and os.access(home, os.W_OK):
        return Check("home", "ok", f"{home} may be written")
    way_out = "set HOME, or MPLCONFIGDIR and XDG_CACHE_HOME, to a directory that may be written; tracekit itself keeps nothing there"
    return Check(
        "home", "limited", f"{home} {'may not be written' if os.path.isdir(home) else 'is not there'}", way_out
    )


def check_open_files() -> Check:
    """How many files a replay may hold open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES:
        return Check("open files", "ok", f"up to {'any number' if hard == resource.RLIM_INFINITY else hard}")
    way_out = "raise the hard limit (ulimit -Hn, a container: --ulimit nofile=65536): a replay holds files of each stream open"
    return Check("open files", "limited", f"at most {hard}", way_out)
