"""Clock, timers, and who may keep processors for itself: how punctual a replay can be."""

from __future__ import annotations

import os
import resource
import time

from tracekit import cgroup
from tracekit.doctor import probe
from tracekit.doctor.check import Check
from tracekit.replay.wakefulness import DEVICE
from tracekit.units import format_ns


def check_clock() -> Check:
    """The clock that times come from; anything but the CPU's own counter costs a system call or more per look."""
    resolution = time.get_clock_info("monotonic").resolution * 1e9
    source = probe.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    finding = (
        f"CLOCK_MONOTONIC from {source or 'an unknown source'}, {format_ns(resolution)} resolution, {_clock_cost()}"
    )
    if source in {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}:
        return Check("clock", "ok", finding)
    return Check(
        "clock",
        "limited",
        finding,
        "use a machine or a guest whose clock source is tsc or kvm-clock; until then times are coarse or slow to take",
    )


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
    return Check(
        "timer",
        "limited",
        finding,
        "use a quieter machine, or cores of its own (taskset); replays cannot be more punctual than this",
    )


def _overshoot(duration_ns: int) -> int:
    begin = time.monotonic_ns()
    time.sleep(duration_ns / 1e9)
    return max(0, time.monotonic_ns() - begin - duration_ns)


def check_realtime() -> Check:
    """Whether a replay may ask for real-time priority."""
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    capable = probe.has_capability(23)  # CAP_SYS_NICE, capabilities(7)
    if capable or soft > 0 or soft == resource.RLIM_INFINITY:
        return Check("real-time priority", "ok", "permitted by " + ("CAP_SYS_NICE" if capable else "RLIMIT_RTPRIO"))
    way_out = (
        "allow rtprio in limits.conf (a container: --cap-add SYS_NICE); until then other processes make replays late"
    )
    return Check("real-time priority", "limited", "no CAP_SYS_NICE and RLIMIT_RTPRIO is 0", way_out)


def check_wakefulness() -> Check:
    """Whether a replay may keep idle processors awake."""
    if os.access(DEVICE, os.W_OK):
        return Check("idle processors", "ok", f"{DEVICE} is writable: they are kept awake while a schedule is kept")
    way_out = f"let {DEVICE} be written (a container: --device {DEVICE}); until then ops are some tens of µs late where processors sleep deeply"
    return Check("idle processors", "limited", f"{DEVICE} is not writable: they may sleep between ops", way_out)


def check_cores() -> Check:
    """How many processors this process may keep busy, and whether a control group stops it before that."""
    there, limit = len(os.sched_getaffinity(0)), cgroup.CpuLimit.now().cores
    finding = f"{there} of {os.cpu_count()} may be used"
    if limit is None or limit >= there:
        return Check("processors", "ok", finding)
    way_out = "raise the container's CPU limit to whole cores; a replay that is stopped by it calls itself DEGRADED"
    return Check("processors", "limited", f"{finding}, and a control group allows {limit:g} of them", way_out)
