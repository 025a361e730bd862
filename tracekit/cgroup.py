"""The limits that control groups put on this process, and how often it was stopped by that of the CPU: cgroup v1 and v2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Version 1 says so of a group without a limit: the largest number, in whole pages.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class CpuLimit:
    """The CPU limit of this process's control groups at one moment, its own and those above it.

    Args:
        cores: The tightest limit, in cores; None is no limit.
        periods: Scheduling periods in which the limit stopped a group, added up over the groups.
        throttled_ns: How long it did.
    """

    cores: float | None = None
    periods: int = 0
    throttled_ns: int = 0

    @classmethod
    def now(cls) -> CpuLimit:
        """Read it; no limit where control groups cannot be read."""
        cores, periods, throttled = None, 0, 0
        for group in _groups():
            limit = _cores(group)
            if limit is not None:
                cores = limit if cores is None else min(cores, limit)
            stat = _stat(group)
            periods += stat.get("nr_throttled", 0)
            throttled += stat.get("throttled_time", 0) + 1000 * stat.get("throttled_usec", 0)
        return cls(cores, periods, throttled)


def cores() -> float:
    """How many cores this process may keep busy: those it may run on, and no more than its control groups let it have."""
    there = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    limit = CpuLimit.now().cores
    return there if limit is None else min(there, limit)


def memory_limit() -> int | None:
    """The bytes that this process's control groups may take at most, the tightest of its own and those above; None is no limit."""
    limits = [limit for group in _groups("memory") if (limit := _memory(group)) is not None]
    return min(limits, default=None)


def _memory(group: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            said = (group / name).read_text().strip()
        except OSError:
            continue
        return int(said) if said.isdigit() and int(said) < _NO_LIMIT else None
    return None


def _groups(controller: str = "cpu") -> Iterator[Path]:
    """The directories of this process's groups that have a say about the CPU (or the memory), from its own up."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        # cgroups(7): version 2 is hierarchy 0 and names no controllers.
        if number == "0" or controller in controllers.split(","):
            top = _mount(mounts, "cgroup2" if number == "0" else "cgroup", path, controller)
            if top is not None:
                yield from _upwards(*top)


def _mount(lines: list[str], kind: str, path: str, controller: str) -> tuple[Path, Path] | None:
    """(where the hierarchy is mounted, the group's directory in it)."""
    for line in lines:
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        found, _, options = right.split(" ", 2)
        if found != kind or (kind == "cgroup" and controller not in options.split()[-1].split(",")):
            continue
        # A container may see only a part of the hierarchy, mounted from the group that is its root.
        inside = path.removeprefix(root.rstrip("/")) if root != "/" else path
        return Path(point), Path(point + "/" + inside.strip("/"))
    return None


def _upwards(top: Path, group: Path) -> Iterator[Path]:
    while True:
        if group.is_dir():
            yield group
        if group == top or top not in group.parents:
            return
        group = group.parent


def _cores(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return None
    return None if quota in {"max", "-1"} else int(quota) / int(period)


def _stat(group: Path) -> dict[str, int]:
    try:
        lines = (group / "cpu.stat").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, _, value in (line.partition(" ") for line in lines) if value.isdigit()}
