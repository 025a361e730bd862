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


def test_shares_of_cpu_time():
    """Steal and foreign time are shares of all CPU time; our own work is not foreign; no time is no disturbance."""
    before = CpuTimes(1.0, 10.0, 100.0, 5.0)

    assert CpuTimes(2.0, 16.0, 110.0, 9.0).since(before) == pytest.approx((0.1, 0.2))
    assert CpuTimes(1.0, 12.0, 110.0, 9.0).since(before) == (0.0, 0.0)
    assert before.since(before) == (0.0, 0.0)
    assert CpuTimes.now().total_s >= 0
