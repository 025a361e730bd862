"""What works on this machine, what does not, and why: checks that look and change nothing that stays.

Every check gives an outcome: `ok`, `limited` (tracekit works, but something is slower, coarser or not seen) or `missing`
(what it names cannot be used here), with the reason and what to do.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import importlib.util
import mmap
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tracekit.errors import CannotRunError, InputError, RecorderError
from tracekit.machine import mount_of
from tracekit.record.engine import choose, strace_words, try_native
from tracekit.replay.wakefulness import DEVICE
from tracekit.storage import CLIENTS, Requests, storage_for
from tracekit.units import format_bytes, format_ns
from tracekit.uri import local_path, scheme_of

OUTCOMES = ("ok", "limited", "missing")
FRAMEWORKS = ("torch", "tensorflow", "jax", "h5py", "pyarrow", "webdataset", "datasets", "obstore", "boto3", "fsspec")
_ALIGNMENTS = (512, 4096, 65_536)
_STORE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    outcome: str
    finding: str
    way_out: str = ""


def examine(uri: str = "") -> list[Check]:
    """Every check of this machine, and of the place a URI names.

    Args:
        uri: A file, directory, object or bucket that traces refer to; without it the current directory's file system is
            looked at.

    Raises:
        UnknownSchemeError: If no storage owns the URI's scheme.
        InputError: If nothing is there.
        CannotRunError: If it cannot be read.
    """
    if uri and not scheme_of(uri).local:
        stores = [check_store(uri, client) for client in CLIENTS]
        if all(check.outcome == "missing" for check in stores):
            raise CannotRunError(stores[0].finding, stores[0].way_out)
        return [*(check() for check in MACHINE_CHECKS), *stores]
    path = _place(uri)
    checks = [check() for check in MACHINE_CHECKS]
    return [*checks, *(check(path) for check in PLACE_CHECKS)]


# -- the machine ------------------------------------------------------------------------------------------------------


def check_python() -> Check:
    """The interpreter."""
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}")


def check_core() -> Check:
    """The native core, or why it is not used."""
    try:
        importlib.import_module("tracekit._core")
    except ImportError as error:
        way_out = "install a C compiler and reinstall tracekit"
        return Check("native core", "limited", f"Python twins are used: {error}", way_out)
    return Check("native core", "ok", "loaded")


def check_recorder() -> Check:
    """How `record` would see I/O here: the C library's calls hooked and in which way, or why that cannot be."""
    try:
        choice = choose("native")
    except RecorderError as error:
        return Check(
            "recorder", "limited", f"Python engine only: {error.cause}", "what native code reads is not recorded"
        )
    trial = try_native()
    if trial.way == "none":
        return Check(
            "recorder", "limited", f"Python engine only: {trial.reason}", "what native code reads is not recorded"
        )
    finding = f"native engine, {trial.calls} calls of the C library hooked; {choice.reason.partition('; ')[2]}"
    if trial.way == "detour" and not trial.left:
        return Check("recorder", "ok", finding)
    missing = f"; not seen: {trial.left}" if trial.left else ""
    because = f": {trial.reason}" if trial.reason else ""
    return Check(
        "recorder",
        "limited",
        f"{finding}, by way of {trial.way}{because}{missing}",
        "the trace's trailer says what was missed",
    )


_TRY_TOUCHES = """
import sys
sys.path[:] = sys.argv[1:]
from tracekit import _core
print(_core.record_touches(2) or "")
"""


def check_mapped_pages() -> Check:
    """Whether `record --mmap exact` could see which pages of mapped files are touched."""
    way_out = "record --mmap map says which files are mapped"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _TRY_TOUCHES, *sys.path],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return Check("mapped pages", "limited", "not seen: that takes the native core", way_out)
    reason = done.stdout.strip()
    if reason:
        return Check("mapped pages", "limited", f"not seen: {reason}", way_out)
    return Check("mapped pages", "ok", "record --mmap exact sees which are touched (userfaultfd, PAGEMAP_SCAN)")


def check_clock() -> Check:
    """The clock that times come from; anything but the CPU's own counter costs a system call or more per look."""
    resolution = time.get_clock_info("monotonic").resolution * 1e9
    source = _text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    finding = (
        f"CLOCK_MONOTONIC from {source or 'an unknown source'}, {format_ns(resolution)} resolution, {_clock_cost()}"
    )
    if source in {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}:
        return Check("clock", "ok", finding)
    return Check("clock", "limited", finding, "times may be coarse or slow to take; prefer tsc or kvm-clock")


def _clock_cost() -> str:
    begin = time.perf_counter_ns()
    for _ in range(1000):
        time.monotonic_ns()
    return f"{(time.perf_counter_ns() - begin) / 1000:.0f} ns a look"


def check_timer() -> Check:
    """How much too late short sleeps wake: the floor of a replay's lateness."""
    late = sorted(_overshoot(200_000) for _ in range(50))
    finding = (
        f"sleeps of 200 µs wake {format_ns(late[25])} late in the median, 49 of 50 by at most {format_ns(late[48])}"
    )
    if late[25] <= 150_000:
        return Check("timer", "ok", finding)
    return Check("timer", "limited", finding, "replays cannot be more punctual than this; use a quieter machine")


def _overshoot(duration_ns: int) -> int:
    begin = time.monotonic_ns()
    time.sleep(duration_ns / 1e9)
    return max(0, time.monotonic_ns() - begin - duration_ns)


def check_strace() -> Check:
    """Whether `record --native-children strace` could follow programs that are no Python."""
    if shutil.which("strace") is None:
        return Check("strace", "missing", "not on PATH", "install strace to see reads of programs that are not Python")
    try:
        words = strace_words()
    except RecorderError as error:
        finding = f"programs that are no Python cannot be followed: {error.cause.partition(': ')[2]}"
        return Check("strace", "limited", finding, "record --native-children preload does without")
    return Check("strace", "ok", f"{words[0]}, and it may trace: record --native-children strace can be used")


def check_proc_io() -> Check:
    """The kernel's own byte counts, against which a recording's completeness is measured."""
    try:
        Path("/proc/self/io").read_text()
    except OSError as error:
        return Check("/proc/self/io", "limited", _reason(error), "recordings cannot say how complete they are")
    return Check("/proc/self/io", "ok", "readable: recordings can be held against the kernel's byte counts")


def check_io_uring() -> Check:
    """Whether io_uring can be set up (io_uring_setup(2), number 425 on every architecture)."""
    mode = _text("/proc/sys/kernel/io_uring_disabled")
    params = ctypes.create_string_buffer(120)
    handle, error = _syscall(425, 1, ctypes.addressof(params))
    if handle >= 0:
        os.close(handle)
        return Check("io_uring", "ok", "permitted")
    reason = f"refused: {os.strerror(error)}"
    if mode not in {"", "0"}:
        reason += f" (kernel.io_uring_disabled = {mode})"
    elif error == errno.EPERM:
        reason += " (a container's seccomp filter, most likely)"
    return Check("io_uring", "limited", reason, "deep queues are driven by threads instead")


def check_realtime() -> Check:
    """Whether a replay may ask for real-time priority."""
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    capable = _has_capability(23)  # CAP_SYS_NICE, capabilities(7)
    if capable or soft > 0 or soft == resource.RLIM_INFINITY:
        return Check("real-time priority", "ok", "permitted by " + ("CAP_SYS_NICE" if capable else "RLIMIT_RTPRIO"))
    way_out = "allow rtprio in limits.conf, or expect other processes to make replays late"
    return Check("real-time priority", "limited", "no CAP_SYS_NICE and RLIMIT_RTPRIO is 0", way_out)


def check_wakefulness() -> Check:
    """Whether a replay may keep idle processors awake."""
    if os.access(DEVICE, os.W_OK):
        return Check("idle processors", "ok", f"{DEVICE} is writable: they are kept awake while a schedule is kept")
    way_out = f"let {DEVICE} be written, or expect ops some tens of µs late where processors sleep deeply"
    return Check("idle processors", "limited", f"{DEVICE} is not writable: they may sleep between ops", way_out)


def check_drop_caches() -> Check:
    """Whether the whole page cache can be emptied; single files can be without."""
    target = "/proc/sys/vm/drop_caches"
    if os.access(target, os.W_OK):
        return Check("drop caches", "ok", f"{target} is writable")
    return Check("drop caches", "limited", f"{target} is not writable", "run as root to empty the whole page cache")


def check_memory() -> Check:
    """Memory that is available now."""
    available = next((line for line in _text("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")), "")
    if not available:
        return Check("memory", "limited", "/proc/meminfo does not say how much is available")
    free = int(available.split()[1]) * 1024
    if free < 512 << 20:
        return Check(
            "memory", "limited", f"{format_bytes(free)} available", "a trace of 1 M ops takes about 300 MiB to look at"
        )
    return Check("memory", "ok", f"{format_bytes(free)} available")


def check_frameworks() -> Check:
    """Which readers that tracekit knows are installed (looked up, not imported)."""
    found = [name for name in FRAMEWORKS if _is_installed(name)]
    if "torch" in found:
        return Check("frameworks", "ok", ", ".join(found))
    way_out = "install PyTorch to record DataLoader jobs and to run torch-like goldens here"
    return Check("frameworks", "limited", f"{', '.join(found) or 'none'}; torch is not installed", way_out)


def _is_installed(name: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(name) is not None
    return False


# -- the place --------------------------------------------------------------------------------------------------------


def check_file_system(path: str) -> Check:
    """The file system and its free space."""
    mount = mount_of(path)
    kind = f"{mount.kind} at {mount.point}" if mount else "unknown file system"
    free = shutil.disk_usage(path if os.path.isdir(path) else os.path.dirname(path)).free
    finding = f"{kind}, {format_bytes(free)} free"
    if free < 1 << 30:
        return Check("file system", "limited", finding, "generated data and long traces may not fit")
    return Check("file system", "ok", finding)


def check_direct(path: str) -> Check:
    """Whether O_DIRECT reads work there, and from which alignment on."""
    with _probe_file(path) as probe:
        if probe is None:
            return Check("O_DIRECT", "limited", "not tried: no readable file and no permission to make one")
        try:
            handle = os.open(probe, os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            return Check(
                "O_DIRECT", "missing", f"open refused: {error.strerror}", "use --direct-fallback, or another disk"
            )
        try:
            alignment = next((size for size in _ALIGNMENTS if _reads_aligned(handle, size)), None)
        finally:
            os.close(handle)
    if alignment is None:
        return Check("O_DIRECT", "missing", "reads are refused at every alignment tried", "use --direct-fallback")
    return Check("O_DIRECT", "ok", f"reads aligned to {alignment} bytes work")


def _reads_aligned(handle: int, size: int) -> bool:
    # An anonymous map starts on a page; a read at offset `size` needs no more alignment than `size` itself.
    with closing(mmap.mmap(-1, max(2 * size, mmap.PAGESIZE))) as memory, memoryview(memory) as view:
        try:
            os.preadv(handle, [view[size : 2 * size]], size)
        except OSError:
            return False
    return True


def check_residency(path: str) -> Check:
    """Whether it can be measured what of a file is in the page cache: cachestat(2) is exact, mincore(2) does as well."""
    with _probe_file(path) as probe:
        if probe is None:
            return Check("cache residency", "limited", "not tried: no readable file and no permission to make one")
        handle = os.open(probe, os.O_RDONLY)
        try:
            extent, counts = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
            status, error = _syscall(451, handle, ctypes.addressof(extent), ctypes.addressof(counts), 0)
        finally:
            os.close(handle)
    if status == 0:
        return Check("cache residency", "ok", "cachestat works")
    return Check(
        "cache residency", "limited", f"cachestat: {os.strerror(error)}; mincore is used", "Linux 6.5 has cachestat"
    )


MACHINE_CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_core,
    check_recorder,
    check_mapped_pages,
    check_clock,
    check_timer,
    check_strace,
    check_proc_io,
    check_io_uring,
    check_realtime,
    check_wakefulness,
    check_drop_caches,
    check_memory,
    check_frameworks,
)
PLACE_CHECKS: tuple[Callable[[str], Check], ...] = (check_file_system, check_direct, check_residency)


def check_store(uri: str, client: str) -> Check:
    """Whether a client can list a bucket, container or prefix, and how long the answer took."""
    name = f"{uri.partition('://')[0]} by {client}"
    try:
        storage = storage_for(uri, Requests(client, timeout_s=_STORE_TIMEOUT_S))
        place = storage.resolve(uri)
        began = time.monotonic_ns()
        look = storage.look(place)
    except CannotRunError as error:
        return Check(name, "missing", error.cause, error.way_out)
    except OSError as error:
        return Check(name, "missing", f"{uri} is not there ({error.strerror})", "check the name")
    size = f"an object of {format_bytes(look.size)}" if look.kind == "file" else "a prefix with objects below it"
    return Check(name, "ok", f"{size}, answered in {format_ns(time.monotonic_ns() - began)}")


def _place(uri: str) -> str:
    """The local path a URI names, made sure to exist and be readable."""
    if not uri:
        return os.getcwd()
    path = os.path.abspath(local_path(uri))
    if not os.path.exists(path):
        raise InputError(f"there is nothing at {path}", "check the name, or generate the data first")
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise CannotRunError(f"{path} cannot be read", "ask for permission, or run as its owner")
    return path


@contextmanager
def _probe_file(path: str) -> Iterator[str | None]:
    """A file of that file system to try reads on: the file itself, or a temporary one of 128 KiB; None if neither."""
    if os.path.isfile(path) and os.path.getsize(path) >= 2 * max(_ALIGNMENTS):
        yield path
        return
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        handle, name = tempfile.mkstemp(prefix=".tracekit-doctor.", dir=directory)
    except OSError:
        yield path if os.path.isfile(path) else None
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(2 * max(_ALIGNMENTS)))
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _syscall(number: int, *arguments: int) -> tuple[int, int]:
    """The result and errno of a system call that has no wrapper in Python."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    result = int(call(ctypes.c_long(number), *(ctypes.c_void_p(argument) for argument in arguments)))
    return result, ctypes.get_errno()


def _has_capability(number: int) -> bool:
    line = next((line for line in _text("/proc/self/status").splitlines() if line.startswith("CapEff:")), "")
    return bool(line) and bool(int(line.split()[1], 16) >> number & 1)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
