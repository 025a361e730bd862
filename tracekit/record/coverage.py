"""How complete a recording is: what was traced and knowingly ignored, against the kernel's own count for the tree."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tracekit.record import rawnet, touched
from tracekit.record.children import Account
from tracekit.record.parts import Part
from tracekit.record.tally import Tally
from tracekit.trace import Trace
from tracekit.units import format_bytes

WHY_UNKNOWN = (
    "the Python engine sees what goes through Python's own functions; what native code reads by itself it can only "
    "compare with the kernel's count"
)
WHY_UNCOUNTED = "the kernel does not tell here what the program read, so what the trace lacks is not known"
WHY_KNOWN = (
    "the C library's own entry points were hooked in every process, and the bytes held against the kernel's count for the "
    "whole tree"
)
# Where every byte the kernel counts is seen: by the C library's hooks, or by strace.
HOOKED = ("libc", "strace")
NO_PYTHON = "it is no Python program"
# Of the bytes the kernel counted, so many must be accounted for.
COMPLETE = 0.995
_BLIND = (
    "reads by native code (HDF5, Arrow, safetensors, PyTorch's own C++ readers, dlopen, programs that are not Python)",
    "accesses to mapped files after the mmap itself",
    "ndarray.tofile, and other writes through C stdio",
    "io_uring and POSIX AIO",
)
_MAPPED = "accesses to mapped files after the mmap itself"
_RAW = "system calls that do not go through the C library"
_BLIND_NATIVE = (
    _MAPPED,
    "io_uring",
    _RAW,
    "programs that are no Python, beyond their bytes",
)
_NATIVE_READERS = (
    "h5py", "netCDF4", "tables", "pyarrow", "safetensors", "tensorflow", "cv2", "rasterio", "lmdb", "polars", "soundfile",
    "torchaudio", "decord", "pandas", "torch",
)  # fmt: skip
# Those that open files by themselves whenever they are used: their presence is reason enough to say what is not seen,
# however little the kernel's count shows. pandas and torch mostly read through Python.
_OWN_READERS = tuple(name for name in _NATIVE_READERS if name not in {"pandas", "torch"})
# Below this the difference is what ld.so and interpreters read before the hooks are in.
_START_UP_BYTES = 4 << 20
# What ld.so reads of libraries that one process loads later, by system calls of its own: no more is ever forgiven.
_START_UP_BYTES_NATIVE = 16 << 10


def coverage_of(
    trace: Trace | Tally,
    parts: Sequence[Part],
    kernel_bytes: int | None,
    options: Mapping[str, Any] = MappingProxyType({}),
    account: Account | None = None,
) -> dict[str, Any]:
    """The trailer's `coverage`: what was recorded and knowingly left out, against the kernel's own count.

    Where the native engine recorded every process the count is a certificate: below `COMPLETE` the trace is incomplete,
    and `missing` says what of. The Python engine cannot know what native code read, and says so. `options` are the run's:
    what was to be seen of mapped files, and whether raw system calls.
    """
    native = bool(parts) and all(part.layer in HOOKED for part in parts)
    tally = trace if isinstance(trace, Tally) else Tally.of(trace)
    coverage: dict[str, Any] = {
        "engine": "native" if native else "python",
        "known": native and kernel_bytes is not None,
        "why": WHY_UNKNOWN if not native else WHY_KNOWN if kernel_bytes is not None else WHY_UNCOUNTED,
        "traced_read_bytes": tally.moved_in_files("read"),
        "ignored_read_bytes": sum(part.ignored_bytes + part.startup_bytes for part in parts),
        "mapped_bytes": tally.moved("mmap"),
        "mmaps": tally.ops["mmap"],
        "blind": _blind(parts) if native else list(_BLIND),
        "not_followed": not_followed(parts),
    }
    if native:
        coverage.update(_ways(parts))
        if confined := sum(bool(part.about.get("confined")) for part in parts):
            coverage["confined"] = confined
    coverage.update(touched.coverage(parts, tally.moved("touch"), options.get("mmap", "map")))
    coverage.update(rawnet.coverage(parts, wanted=bool(options.get("raw_syscalls"))))
    if kernel_bytes is not None:
        coverage["kernel_read_bytes"] = kernel_bytes
        uncounted = sum(part.uncounted_bytes for part in parts)
        seen = coverage["traced_read_bytes"] + coverage["ignored_read_bytes"] - uncounted
        # By process, where the account says it: children nobody waited for are in no count of the kernel's, and would hide
        # what is missing elsewhere.
        missing = account.missing if native and account is not None else max(kernel_bytes - seen, 0)
        coverage["share"] = round(seen / (seen + missing), 4) if seen + missing > 0 else 1.0
        if native:
            coverage["complete"] = coverage["share"] >= COMPLETE or missing <= _START_UP_BYTES_NATIVE * len(parts)
            coverage["missing_bytes"] = missing
            if not coverage["complete"]:
                coverage["missing"] = _named(missing, parts, account)
        elif missing > max(_START_UP_BYTES * max(len(parts), 1), kernel_bytes // 20):
            coverage["missing"] = _explained(missing, parts)
    if account is not None and account.programs:
        coverage["native_children"] = account.programs
    if native and account is not None and account.processes:
        coverage["unseen_in_processes"] = account.processes
    if objects := sorted({what for part in parts for what in part.unseen}):
        coverage["unseen_object_readers"] = objects
    if not native and (readers := _imported(parts, _OWN_READERS)):
        coverage["unseen_readers"] = readers
    return coverage


def _blind(parts: Sequence[Part]) -> list[str]:
    """What the native engine did not see, but for what it was asked to look for and did in every process."""
    seen = {_MAPPED: all(part.touches for part in parts), _RAW: rawnet.is_whole(parts)}
    return [text for text in _BLIND_NATIVE if not seen.get(text)]


def _imported(parts: Sequence[Part], names: Sequence[str]) -> list[str]:
    seen = {name for part in parts for name in part.frameworks}
    return [name for name in names if name in seen]


def _ways(parts: Sequence[Part]) -> dict[str, Any]:
    """How the C library was hooked in each process, and which of its calls were left alone."""
    ways = sorted({part.about["way"] for part in parts if part.about.get("way")})
    left = {call: why for part in parts for call, why in part.about.get("left", ())}
    return {"way": ",".join(ways), **({"unseen_calls": left} if left else {})}


def _named(missing: int, parts: Sequence[Part], account: Account | None = None) -> str:
    known = [entry for entry in account.programs if entry["bytes"]] if account is not None else []
    if known and 50 * sum(entry["bytes"] for entry in known) >= 49 * missing:
        return f"incomplete: the kernel counted {format_bytes(missing)} of reads that are not in the trace, by {_list(known)}"
    programs = sorted({os.path.basename(words[0]) for words in _unfollowed(parts)})
    causes = []
    if known:
        causes.append(_list(known))
    elif programs:
        causes.append(f"programs that were not followed ({', '.join(programs[:8])})")
    if any(part.about.get("confined") for part in parts):
        causes.append("a process that installed a seccomp filter and was left alone from then on")
    if any(part.about.get("way") == "got" for part in parts):
        causes.append("stdio inside the C library, which this way of hooking does not see")
    causes.append("shared libraries being loaded" if causes else "shared libraries being loaded, or raw system calls")
    return f"incomplete: the kernel counted {format_bytes(missing)} of reads that are not in the trace, by {' or '.join(causes)}"


def _list(entries: Sequence[Mapping[str, Any]]) -> str:
    """Programs with their bytes, the greatest first."""
    named = [
        f"{' '.join([os.path.basename(entry['argv'][0]), *entry['argv'][1:]])[:60]} ({format_bytes(entry['bytes'])})"
        for entry in entries[:8]
    ]
    return ", ".join(named) + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")


def _unfollowed(parts: Sequence[Part]) -> list[list[str]]:
    """Programs the core saw being started (path, then arguments) whose process said nothing afterwards."""
    births: dict[int, list[int]] = {}
    for part in parts:
        births.setdefault(part.pid, []).append(part.born)
    found = []
    starts = sorted((start for part in parts for start in part.execs), key=lambda start: start[0])
    for number, (time, pid, words) in enumerate(starts):
        later = next((other[0] for other in starts[number + 1 :] if other[1] == pid), None)
        if not any(time <= birth and (later is None or birth < later) for birth in births.get(pid, ())):
            found.append(words)
    return found


def _explained(missing: int, parts: Sequence[Part]) -> str:
    readers = _imported(parts, _NATIVE_READERS)
    others = sorted({entry["argv"][0] for entry in not_followed(parts)})
    causes = []
    if readers:
        causes.append(f"native readers of {', '.join(readers)}")
    if others:
        causes.append(f"programs that were not followed ({', '.join(others[:5])})")
    causes.append("shared libraries being loaded")
    return (
        f"the kernel counted {format_bytes(missing)} of reads that are not in the trace; probably {' or '.join(causes)}"
    )


def not_followed(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Children that could not be recorded, each with the reason; the same command is named once, with its count."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    native = [part for part in parts if part.layer in HOOKED]
    seen = Counter(tuple(part.about.get("argv", ())) for part in parts)
    launches = [launch for part in parts if part.layer not in HOOKED for launch in part.launches]
    launches += [
        {"launch": words[1:] or words, "executable": words[0], "equipped": True} for words in _unfollowed(native)
    ]
    for launch in launches:
        why = why_not(launch)
        if why and launch["equipped"] and seen[tuple(launch["launch"])] > 0:
            seen[tuple(launch["launch"])] -= 1  # its environment has a way in of its own, whatever the flags
        elif why:
            entry = found.setdefault((*launch["launch"], why), {"argv": launch["launch"], "why": why, "times": 0})
            entry["times"] += 1
    return list(found.values())


def why_not(launch: dict[str, Any]) -> str:
    """Why a program that was started this way cannot be recorded; empty where nothing speaks against it."""
    argv = list(launch["launch"])
    name = os.path.basename(launch["executable"])
    if not launch["equipped"]:
        return "it was started with an environment of its own, without the recorder's variables"
    if name in ("sh", "bash", "dash", "env", "nice", "timeout", "time", "taskset", "numactl", "mpirun", "srun", "uv"):
        return ""  # starts others, which are followed by themselves
    if not name.startswith(("python", "pypy")) and not _is_python_script(launch):
        return NO_PYTHON
    flags = "".join(word[1:] for word in _interpreter_flags(argv))
    for flag, what in (("I", "-I"), ("E", "-E"), ("S", "-S")):
        if flag in flags:
            return f"Python was started with {what}, which leaves the recorder out{_UNLESS.get(flag, '')}"
    return ""


_UNLESS = dict.fromkeys("IE", " where tracekit is not installed beside it")


def _interpreter_flags(argv: Sequence[str]) -> list[str]:
    flags: list[str] = []
    for word in argv[1:]:
        if not word.startswith("-") or word.startswith("--") or word in ("-", "-c", "-m"):
            break
        if word[1:2] not in ("W", "X", "c", "m"):
            flags.append(word)
    return flags


def _is_python_script(launch: dict[str, Any]) -> bool:
    path = shutil.which(os.path.join(launch.get("cwd", ""), launch["executable"])) or shutil.which(launch["executable"])
    if path is None:
        return False
    try:
        with open(path, "rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first
