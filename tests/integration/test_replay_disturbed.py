"""A run that is disturbed on purpose is never VALID, and the reason names what disturbed it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tracekit import formats
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

pytestmark = pytest.mark.serial

MS = 1_000_000
COMMAND = [sys.executable, "-m", "tracekit", "replay"]
DIRECT = ("--cache", "direct", "--engine", "native")
CPU_GROUPS, IO_GROUPS = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/blkio")


def recording(folder: Path, *, gap_ns: int, length: int, count: int = 300, streams: int = 4) -> Path:
    """A trace of reads by several threads at once, each taking 50 µs in the recording."""
    paths = []
    for number in range(streams):
        path = folder / f"data {number}"
        with path.open("wb") as file:
            file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
        paths.append(path)
    ops = [
        Op(
            file_uri(paths[who]), (turn * length) % ((1 << 20) - length + 1) & ~4095, length, turn * gap_ns,
            t_complete=turn * gap_ns + 50_000, ret=length, pid=7, tid=who,
        )
        for turn in range(count // streams)
        for who in range(streams)
    ]  # fmt: skip
    trace = folder / "t.jsonl"
    formats.save(Trace.of(ops), trace)
    return trace


def replayed(trace: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A replay that has begun."""
    out = trace.with_name("out.jsonl")
    command = [*prefix, *COMMAND, str(trace), "--json", "--force", "-o", str(out), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def statement(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the replay said about itself; its exit code agrees."""
    out, said = process.communicate(timeout=600)
    assert process.returncode == 3, said + out
    return dict(json.loads(out))


@contextmanager
def busy_cores() -> Iterator[None]:
    """A process that computes on every core."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    time.sleep(0.3)
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@contextmanager
def control_group(root: Path, name: str) -> Iterator[Path]:
    """A control group of version 1, gone afterwards."""
    if not os.access(root / "cgroup.procs", os.W_OK):
        pytest.skip(f"needs root and cgroup version 1 at {root}")
    group = root / f"tracekit-{name}-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)


def inside(group: Path) -> tuple[str, ...]:
    """What puts a command into a group."""
    return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group))


def wait_for_threads(pid: int, count: int) -> None:
    """Wait until a process runs this many threads."""
    for _ in range(400):
        if len(os.listdir(f"/proc/{pid}/task")) >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the replay did not start its threads")


def busy(folder: Path) -> tuple[dict[str, Any], str]:
    """Other processes have every core, and the replay has real-time priority where it may."""
    trace = recording(folder, gap_ns=5 * MS, length=4096)
    with busy_cores():
        return statement(replayed(trace)), "other processes used"


def busy_without_priority(folder: Path) -> tuple[dict[str, Any], str]:
    """The same for a replay without real-time priority."""
    trace = recording(folder, gap_ns=5 * MS, length=4096)
    with busy_cores():
        return statement(replayed(trace, "--no-realtime")), "other processes used"


def limited(folder: Path) -> tuple[dict[str, Any], str]:
    """A control group stops the replay for most of each 100 ms, from when its threads run until the load is over."""
    trace = recording(folder, gap_ns=5 * MS, length=65536, count=800)
    with control_group(CPU_GROUPS, "cpu") as group:
        process = replayed(trace, prefix=inside(group))
        wait_for_threads(process.pid, 4)
        (group / "cpu.cfs_quota_us").write_text("2000")
        time.sleep(1.2)
        (group / "cpu.cfs_quota_us").write_text("-1")
        return statement(process), "the control group's CPU limit"


def capped(folder: Path) -> tuple[dict[str, Any], str]:
    """Four threads that read at the same time may only do so one at a time; direct, so that no core is needed for it."""
    trace = recording(folder, gap_ns=20 * MS, length=1 << 20, count=120)
    return statement(replayed(trace, *DIRECT, "--max-inflight", "1")), "in-flight caps"


def capped_in_bytes(folder: Path) -> tuple[dict[str, Any], str]:
    """The same by bytes, and with think times."""
    trace = recording(folder, gap_ns=20 * MS, length=1 << 20, count=120)
    return statement(replayed(trace, *DIRECT, "--max-inflight-bytes", "1MiB", "--pace", "think")), "in-flight caps"


def slow_reads() -> tuple[str, ...]:
    """What makes every read take 15 ms, also one that was asked not to block."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = ("-e", "trace=pread64,preadv2", "-e", "inject=pread64,preadv2:delay_enter=15ms")
    return ("strace", "-f", "-o", "/dev/null", *calls)


def delayed(folder: Path) -> tuple[dict[str, Any], str]:
    """Every read takes 15 ms where each thread has one in 5 ms."""
    trace = recording(folder, gap_ns=5 * MS, length=4096)
    return statement(replayed(trace, prefix=slow_reads())), "took longer than in the recording"


def throttled(folder: Path) -> tuple[dict[str, Any], str]:
    """The device gives 1 MB/s where 50 MB/s were recorded."""
    trace = recording(folder, gap_ns=5 * MS, length=65536, count=64)
    number = os.stat(folder).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    if not Path(f"/sys/dev/block/{device}").exists():
        pytest.skip(f"{folder} is on no block device")
    with control_group(IO_GROUPS, "io") as group:
        (group / "blkio.throttle.read_bps_device").write_text(f"{device} 1000000")
        return statement(replayed(trace, *DIRECT, prefix=inside(group))), "took longer than in the recording"


Disturbed = Callable[[Path], tuple[dict[str, Any], str]]


@pytest.mark.parametrize("disturb", [busy, limited, capped, capped_in_bytes, delayed, throttled])
def test_a_disturbed_run_is_not_valid(disturb: Disturbed, tmp_path: Path) -> None:
    """Exit code 3, and the reasons name the disturbance, whatever else went on on the machine."""
    run, words = disturb(tmp_path)
    assert run["verdict"] != "VALID"
    assert any(words in reason for reason in run["reasons"]), run["reasons"]


def states(pid: int) -> set[str]:
    """Of all threads of a process, as proc(5) writes them."""
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}


def is_looked_at(pid: int) -> bool:
    """Whether threads look for standstills: the run has begun. The main thread has their priority, too."""
    with suppress(OSError):
        threads = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        return any(os.sched_getparam(tid).sched_priority == 2 for tid in threads if tid != pid)
    return False


def stop_for(process: subprocess.Popen[str], seconds: float) -> None:
    """Stop a replay that is running, with all its threads."""
    while process.poll() is None and not is_looked_at(process.pid):
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    while process.poll() is None and states(process.pid) != {"T"}:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def test_a_standstill_is_named_and_told_apart(tmp_path: Path) -> None:
    """A stop of everything for 400 ms is no lateness of the replayer's: it is named, and the lateness without it is stated."""
    trace = recording(tmp_path, gap_ns=5 * MS, length=4096, count=2400)
    for _ in range(5):  # a busy machine may stop it when its last op is done
        process = replayed(trace)
        stop_for(process, 0.4)
        out, said = process.communicate(timeout=600)
        run = json.loads(out)
        if run["standstills"] is None:
            pytest.skip(f"nobody looks for standstills here: priority {run['priority']}")
        if run["standstills"]["touched_ops"] >= 200:
            break
    assert process.returncode == 3, said
    assert run["standstills"]["longest_ms"] >= 390
    assert run["lateness_us"]["max"] >= 390_000
    assert any("the machine stood still for" in reason for reason in run["reasons"]), run["reasons"]


@pytest.mark.parametrize("priority", [[], ["--no-realtime"]])
def test_slow_reads_are_all_in_flight(priority: list[str], tmp_path: Path) -> None:
    """Where the recorded threads all wait for storage, so do the replay's, however few of them began the run."""
    trace = recording(tmp_path, gap_ns=5 * MS, length=4096, streams=32, count=960)
    run = statement(replayed(trace, *priority, prefix=slow_reads()))
    assert run["queue_depth"]["achieved"]["max"] >= 24, run["queue_depth"]
    assert any("took longer than in the recording" in reason for reason in run["reasons"]), run["reasons"]


@pytest.mark.long
@pytest.mark.parametrize("disturb", [busy, busy_without_priority, limited, capped, capped_in_bytes, delayed, throttled])
def test_a_disturbed_run_is_never_valid(disturb: Disturbed, tmp_path: Path) -> None:
    """Twelve times in a row."""
    for turn in range(12):
        folder = tmp_path / str(turn)
        folder.mkdir()
        run, words = disturb(folder)
        assert run["verdict"] != "VALID", turn
        assert any(words in reason for reason in run["reasons"]), run["reasons"]
