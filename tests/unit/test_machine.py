"""Facts about the machine, and how disturbed it was."""

from __future__ import annotations

import pytest

from tracekit import machine
from tracekit.machine import CpuTimes, Mount, host_class, host_facts, mount_of

HOST = {
    "cpu": "X",
    "cores": 2,
    "memory_bytes": 8 << 30,
    "kernel": "6.1",
    "filesystem": {"/": {"type": "ext4", "device": "a"}},
}


def test_a_host_class_is_the_kind_of_machine():
    """Another name, device or a few MiB of memory are the same class; another CPU or file system is not."""
    same = HOST | {
        "name": "other",
        "memory_bytes": (8 << 30) + (1 << 20),
        "filesystem": {"/x": {"type": "ext4", "device": "b"}},
    }

    assert host_class(HOST) == host_class(same) != ""
    for change in (
        {"cpu": "Y"},
        {"cores": 4},
        {"kernel": "6.2"},
        {"memory_bytes": 16 << 30},
        {"filesystem": {"/": {"type": "xfs"}}},
    ):
        assert host_class(HOST | change) != host_class(HOST), change


def test_a_header_that_says_too_little_has_no_class():
    """Nothing known is not a class that another unknown host would share."""
    assert host_class({}) == host_class({"cpu": "X"}) == ""


def test_this_machine_has_facts(tmp_path):
    """CPU, cores, memory, kernel and the file system of a path are found here."""
    facts = host_facts([str(tmp_path)])

    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 1 << 20
    assert facts["cpu"]
    assert facts["kernel"]
    assert all(fs["type"] for fs in facts["filesystem"].values())
    assert host_class(facts)


def test_the_innermost_mount_holds_a_path(monkeypatch):
    """/data/x is on /data, /database is not; the later of two mounts on one point wins."""
    mounts = [Mount("/", "ext4", "a"), Mount("/data", "xfs", "b"), Mount("/data", "nfs", "c")]
    monkeypatch.setattr(machine, "_mounts", lambda: mounts)

    assert mount_of("/data/x").kind == "nfs"
    assert mount_of("/database").kind == "ext4"
    monkeypatch.setattr(machine, "_mounts", list)
    assert mount_of("/data") is None


def test_seconds_of_cpu_time():
    """Steal and foreign time are seconds since a moment; our own work and our companions' is not foreign."""
    before = CpuTimes(1.0, 10.0, 100.0, 5.0)
    after = CpuTimes(2.0, 16.0, 110.0, 9.0)

    assert after.since(before) == pytest.approx((1.0, 2.0))
    assert after.since(before, others_s=1.5) == pytest.approx((1.0, 0.5))
    assert CpuTimes(1.0, 12.0, 110.0, 9.0).since(before) == (0.0, 0.0)
    assert before.since(before) == (0.0, 0.0)


def test_cpu_time_is_that_of_the_cores_we_may_use(monkeypatch):
    """Cores outside the affinity mask are not looked at, nor is the time of interrupts."""
    stat = "cpu  9 9 9 9 9 9 9 9\ncpu0 100 0 0 0 0 50 50 0\ncpu1 100 100 100 600 0 60 40 100\nintr 5\n"
    monkeypatch.setattr(machine.Path, "read_text", lambda *_: stat)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {1})
    monkeypatch.setattr(machine.os, "sysconf", lambda _: 100)

    now = CpuTimes.now()

    assert (now.steal_s, now.busy_s, now.total_s) == (1.0, 3.0, 11.0)


def test_what_the_kernel_does_not_tell_is_left_out(monkeypatch):
    """Without /proc there is no pressure, no clock source and no limit on real-time threads, and no error."""

    def missing(path, *_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(machine.Path, "read_text", missing)

    assert (machine.pressure(), machine.clock_source(), machine.realtime_share()) == ({}, "", None)


def test_pressure_is_in_ns(monkeypatch):
    """The first line's total, which is in microseconds."""
    text = "some avg10=1.00 avg60=2.00 avg300=3.00 total=45\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    monkeypatch.setattr(machine.Path, "read_text", lambda *_: text)

    assert machine.pressure() == {"cpu": 45_000, "io": 45_000, "memory": 45_000}


def test_the_share_of_real_time_threads(monkeypatch):
    """950 ms of each second by default; -1 is no limit."""
    values = {"sched_rt_runtime_us": "950000", "sched_rt_period_us": "1000000"}
    monkeypatch.setattr(machine.Path, "read_text", lambda path: values[path.name] + "\n")
    assert machine.realtime_share() == 0.95
    values["sched_rt_runtime_us"] = "-1"
    assert machine.realtime_share() is None


def test_cpu_times_can_be_read_here():
    """On a real machine there is time to speak of."""
    assert CpuTimes.now().total_s >= 0
