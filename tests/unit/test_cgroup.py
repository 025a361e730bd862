"""CPU limits of control groups, from made-up file systems of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit import cgroup
from tracekit.cgroup import CpuLimit

V2 = "30 23 0:26 {root} {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 23 0:27 {root} {point} rw,nosuid - cgroup cgroup rw,cpu,cpuacct"
OTHER = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch):
    """A process with these groups and mounts."""

    def make(groups: str, mounts: str) -> None:
        proc = {"/proc/self/cgroup": groups + "\n", "/proc/self/mountinfo": mounts + "\n"}
        real = Path.read_text
        monkeypatch.setattr(cgroup.Path, "read_text", lambda path, *a: proc.get(str(path)) or real(path, *a))

    return make


def group(path: Path, **files: str) -> Path:
    """A group's directory with its files (dots written as double underscores)."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def test_version_two_counts_every_level_and_takes_the_tightest(tmp_path: Path, seen) -> None:
    """A pod's limit holds its containers too; microseconds become nanoseconds."""
    group(tmp_path / "pod", cpu__max="150000 100000\n", cpu__stat="usage_usec 9\nnr_throttled 2\nthrottled_usec 5\n")
    group(tmp_path / "pod/box", cpu__max="max 100000\n", cpu__stat="nr_throttled 1\nthrottled_usec 3\n")
    seen("0::/pod/box", f"{OTHER}\n{V2.format(root='/', point=tmp_path)}")
    assert CpuLimit.now() == CpuLimit(1.5, 3, 8000)


def test_version_one_reads_quota_and_period(tmp_path: Path, seen) -> None:
    """The cpu controller's own mount; -1 is no limit; throttled_time is in nanoseconds."""
    group(tmp_path, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n", cpu__stat="nr_throttled 0\n")
    text = "nr_periods 7\nnr_throttled 4\nthrottled_time 12345\n"
    group(tmp_path / "job", cpu__cfs_quota_us="25000\n", cpu__cfs_period_us="100000\n", cpu__stat=text)
    seen("9:memory:/x\n4:cpu,cpuacct:/job", f"{OTHER}\n{V1.format(root='/', point=tmp_path)}")
    assert CpuLimit.now() == CpuLimit(0.25, 4, 12345)


def test_memory_is_the_tightest_limit_of_all_levels(tmp_path: Path, seen) -> None:
    """Version 2 says max where there is none, version 1 a number no machine has; a group of the CPU's says nothing of it."""
    group(tmp_path / "pod", memory__max="536870912\n")
    group(tmp_path / "pod/box", memory__max="max\n", cpu__max="max 100000\n")
    seen("0::/pod/box", V2.format(root="/", point=tmp_path))
    assert cgroup.memory_limit() == 536_870_912
    group(tmp_path / "one", memory__limit_in_bytes="9223372036854771712\n")
    group(tmp_path / "one/job", memory__limit_in_bytes="268435456\n")
    mount = OTHER.replace("/sys/fs/cgroup/memory", str(tmp_path / "one"))
    seen("4:cpu,cpuacct:/pod\n9:memory:/job", f"{V1.format(root='/', point=tmp_path)}\n{mount}")
    assert cgroup.memory_limit() == 268_435_456
    seen("4:cpu,cpuacct:/pod\n9:memory:/", f"{V1.format(root='/', point=tmp_path)}\n{mount}")
    assert cgroup.memory_limit() is None


def test_a_container_sees_its_part_of_the_hierarchy(tmp_path: Path, seen) -> None:
    """Where the mount begins at the container's own group, its path is cut off."""
    group(tmp_path, cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n", cpu__stat="throttled_time 1\n")
    seen("4:cpu,cpuacct:/docker/abc", V1.format(root="/docker/abc", point=tmp_path))
    assert CpuLimit.now() == CpuLimit(0.5, 0, 1)


def test_no_groups_are_no_limit(seen) -> None:
    """No mount, or no /proc at all, is no limit and no error."""
    seen("0::/gone", OTHER)
    assert CpuLimit.now() == CpuLimit()


def test_it_can_be_read_here() -> None:
    """Whatever this machine has, reading it works."""
    assert CpuLimit.now().throttled_ns >= 0


@pytest.mark.parametrize(("quota", "may", "cores"), [("150000", 8, 1.5), ("150000", 1, 1.0), ("max", 3, 3.0)])
def test_cores_are_those_of_the_quota_and_of_the_affinity(tmp_path: Path, seen, monkeypatch, quota, may, cores) -> None:
    """Whichever is fewer: a container of one and a half cores on eight keeps one and a half busy."""
    group(tmp_path / "pod", cpu__max=f"{quota} 100000\n")
    seen("0::/pod", V2.format(root="/", point=tmp_path))
    monkeypatch.setattr(cgroup.os, "sched_getaffinity", lambda _: set(range(may)))
    assert cgroup.cores() == cores
