"""What machine this is, and how disturbed it was: facts for headers, host classes and verdicts about runs."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def host_facts(paths: Iterable[str] = ()) -> dict[str, Any]:
    """The header's `host`: cpu, cores, memory_bytes, kernel, system, and the file system under each of `paths`.

    File systems are under `filesystem`, by mount point: type and the path's own device name.
    """
    facts: dict[str, Any] = {
        "name": platform.node(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    mounts = {mount.point: mount for path in paths if (mount := mount_of(path)) is not None}
    if mounts:
        facts["filesystem"] = {point: {"type": m.kind, "device": m.device} for point, m in sorted(mounts.items())}
    return facts


def host_class(host: Mapping[str, Any]) -> str:
    """A short fingerprint of the kind of machine a header describes; empty where the header says too little.

    Two runs are of one host class when CPU model, number of cores, memory (to the GiB), kernel release and the types of
    the data's file systems agree; only then may wall-clock figures be held against each other.
    """
    if not host.get("cpu") or not host.get("kernel"):
        return ""
    systems = sorted({str(fs.get("type")) for fs in host.get("filesystem", {}).values()})
    gib = round(int(host.get("memory_bytes", 0)) / 2**30)
    text = "|".join([str(host["cpu"]), str(host.get("cores")), str(gib), str(host["kernel"]), *systems])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo: mount point, file system type, device."""

    point: str
    kind: str
    device: str


def mount_of(path: str) -> Mount | None:
    """The mount that holds `path` (or its nearest existing parent); None where /proc does not tell."""
    target = os.path.realpath(path)
    best: Mount | None = None
    for mount in _mounts():
        inside = target == mount.point or target.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def in_memory(path: str) -> bool:
    """Whether what is at `path` (or its nearest existing parent) lies in a file system without a device behind it."""
    mount = mount_of(path)
    return mount is not None and mount.kind in _IN_MEMORY


def _mounts() -> list[Mount]:
    # proc_pid_mountinfo(5): the fields after the lone "-" are file system type and source; spaces are octal-escaped.
    mounts = []
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, device = right.split()[:2]
        point = left.split()[4].encode().decode("unicode_escape")
        mounts.append(Mount(point, kind, device))
    return mounts


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "CPU part")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class CpuTimes:
    """CPU time of the cores this process may use, and of the process with its reaped children, in seconds, at one moment.

    `busy_s` is the time of processes; that of interrupts is left out, because a replay's own I/O makes them.
    """

    steal_s: float
    busy_s: float
    total_s: float
    own_s: float

    @classmethod
    def now(cls) -> CpuTimes:
        """Read /proc/stat and this process's own times; zeros where /proc is not there."""
        # Not os.times(), which counts in hundredths of a second.
        own_s = sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return cls(0.0, 0.0, 0.0, own_s)
        ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        # proc_stat(5): user nice system idle iowait irq softirq steal; guest times are part of user already.
        cores = [[int(field) for field in line.split()[1:9]] for line in lines if line.split(" ", 1)[0] in ours]
        ticks = [sum(core) / os.sysconf("SC_CLK_TCK") for core in zip(*cores, strict=True)] or [0.0] * 8
        return cls(ticks[7], sum(ticks[:3]), sum(ticks), own_s)

    def since(self, earlier: CpuTimes, *, others_s: float = 0.0) -> tuple[float, float]:
        """(steal, foreign), in seconds of CPU time since `earlier`: taken by the hypervisor, by other processes.

        Args:
            earlier: The moment before.
            others_s: CPU time of processes that are not foreign though they are not this one.
        """
        foreign = (self.busy_s - earlier.busy_s) - (self.own_s - earlier.own_s) - others_s
        return max(0.0, self.steal_s - earlier.steal_s), max(0.0, foreign)


def pressure() -> dict[str, int]:
    """For how many ns something on this machine has waited for `cpu`, `io` and `memory` since it was started.

    Pressure stall information (Linux 4.20); what the kernel does not tell is left out.
    """
    found = {}
    for waited in ("cpu", "io", "memory"):
        try:
            line = Path(f"/proc/pressure/{waited}").read_text().split("\n", 1)[0]
        except OSError:
            continue
        found[waited] = 1000 * int(line.rpartition("total=")[2])
    return found


def clock_source() -> str:
    """What the kernel reads the time from (tsc, kvm-clock, hpet…); empty where it does not tell."""
    return _line("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def realtime_share() -> float | None:
    """The share of each second that real-time threads may use before the kernel stops them; None is no limit."""
    runtime, period = (_line(f"/proc/sys/kernel/sched_rt_{name}_us") for name in ("runtime", "period"))
    return None if not runtime or not period or int(runtime) < 0 else int(runtime) / int(period)


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
