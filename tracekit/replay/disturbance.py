"""Who else was at work during a run: the evidence for DEGRADED.

Each bound is one that a quiet machine does not reach (docs/explanation/cadence.md says how often it does).
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field, replace

from tracekit.cgroup import CpuLimit
from tracekit.machine import CpuTimes, clock_source, pressure, realtime_share
from tracekit.replay.standstill import Standstills
from tracekit.units import counted, format_ns

# A share of the CPU time of the cores we may use, and an absolute time: /proc/stat counts in ticks of 10 ms.
STEAL_SHARE, STEAL_S = 0.01, 0.025
FOREIGN_SHARE, FOREIGN_S = 0.10, 0.035
THROTTLED_S = 0.001
# Reading these costs microseconds, or they advance in steps of milliseconds.
SLOW_CLOCKS = frozenset({"hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"})


@dataclass(frozen=True)
class Moment:
    """The machine and this process at one moment (`when`: CLOCK_MONOTONIC in ns)."""

    when: int
    cpu: CpuTimes
    limit: CpuLimit
    switches: int
    pressure: dict[str, int]

    @classmethod
    def now(cls) -> Moment:
        """Read all of it."""
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return cls(time.monotonic_ns(), CpuTimes.now(), CpuLimit.now(), switches, pressure())


@dataclass(frozen=True)
class Disturbance:
    """What the machine did besides.

    Args:
        steal: Share of the CPU time of the cores we may use that the hypervisor took.
        foreign_cpu: Share that other processes used.
        involuntary_switches: How often one of our threads was put aside for another.
        noise_floor_ns: How late plain sleeps were just before the run.
        cpu_s: All CPU time of these cores meanwhile, in seconds.
        own_s: Ours of it.
        limit: The control groups' limit, with what it did meanwhile.
        pressure: For which share of the time somebody waited for `cpu`, `io` and `memory`.
        clock: The kernel's clock source.
        realtime_share: What the kernel leaves to real-time threads of each second.
        idle: Whether processors were kept from sleeping, in words.
        lasted_s: How long it was looked at, in seconds.
        standstills: When the machine stood still; None where nobody looked.
    """

    steal: float = 0.0
    foreign_cpu: float = 0.0
    involuntary_switches: int = 0
    noise_floor_ns: list[int] = field(default_factory=list)
    cpu_s: float = 1.0
    own_s: float = 0.0
    limit: CpuLimit = field(default_factory=CpuLimit)
    pressure: dict[str, float] = field(default_factory=dict)
    clock: str = ""
    realtime_share: float | None = None
    idle: str = ""
    lasted_s: float = 1.0
    standstills: Standstills | None = None

    @classmethod
    def between(cls, start: Moment, end: Moment, noise_floor: list[int], *, others_s: float = 0.0) -> Disturbance:
        """What happened from `start` to `end`.

        Args:
            start: Before the run.
            end: After it.
            noise_floor: How late plain sleeps were.
            others_s: CPU time of other processes of the same run on this machine (its ranks).
        """
        total = end.cpu.total_s - start.cpu.total_s
        steal, foreign = end.cpu.since(start.cpu, others_s=others_s)
        limit = replace(
            end.limit,
            periods=end.limit.periods - start.limit.periods,
            throttled_ns=end.limit.throttled_ns - start.limit.throttled_ns,
        )
        lasted = max(1, end.when - start.when)
        return cls(
            steal=steal / total if total > 0 else 0.0,
            foreign_cpu=foreign / total if total > 0 else 0.0,
            involuntary_switches=end.switches - start.switches,
            noise_floor_ns=noise_floor,
            cpu_s=total,
            own_s=end.cpu.own_s - start.cpu.own_s,
            limit=limit,
            pressure={name: (value - start.pressure.get(name, 0)) / lasted for name, value in end.pressure.items()},
            clock=clock_source(),
            realtime_share=realtime_share(),
            lasted_s=lasted / 1e9,
        )

    @property
    def stood_s(self) -> float:
        """How long the machine stood still in all, in seconds."""
        return 0.0 if self.standstills is None else float(self.standstills.lengths.sum()) / 1e9

    @property
    def stood(self) -> str:
        """That in words; empty where it did not."""
        if self.standstills is None or not self.stood_s:
            return ""
        lengths = self.standstills.lengths
        return (
            f"the machine stood still for {format_ns(int(lengths.sum()))} ({counted(len(lengths), 'time')}, at most "
            f"{format_ns(int(lengths.max()))}): no core let even a thread of real-time priority run, so its hypervisor or "
            "a stop of the whole process held it up"
        )

    @property
    def sentences(self) -> list[str]:
        """What disturbed the run, with a way out; empty for a quiet machine."""
        found = []
        if self.steal > STEAL_SHARE and self.steal * self.cpu_s > STEAL_S:
            found.append(
                f"the hypervisor took {100 * self.steal:.1f} % of the CPU time (bound {100 * STEAL_SHARE:g} %): "
                "replay on a machine whose cores are its own"
            )
        if self.foreign_cpu > FOREIGN_SHARE and self.foreign_cpu * self.cpu_s > FOREIGN_S:
            found.append(
                f"other processes used {100 * self.foreign_cpu:.0f} % of the CPU time (bound {100 * FOREIGN_SHARE:g} %), "
                "so latencies may be their doing: replay when they are done, or on cores of its own (taskset)"
            )
        if self.limit.throttled_ns > THROTTLED_S * 1e9:
            found.append(
                f"the control group's CPU limit{_of(self.limit)} stopped the replay for "
                f"{self.limit.throttled_ns / 1e6:.0f} ms in {self.limit.periods} periods: raise cpu.max (cpu.cfs_quota_us)"
            )
        if self.stood_s > STEAL_SHARE * self.lasted_s and self.stood_s > STEAL_S:
            found.append(
                f"{self.stood} (bound {100 * STEAL_SHARE:g} % of the time): replay on a machine whose cores are its own"
            )
        if self.clock in SLOW_CLOCKS:
            found.append(f"the kernel reads the time from {self.clock}, which is slow: boot with a working tsc")
        return found


def _of(limit: CpuLimit) -> str:
    return f" of {limit.cores:g} cores" if limit.cores is not None else ""
