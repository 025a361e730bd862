"""The native core and its Python twin keep the same promises."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracekit.replay import clock as clock_module
from tracekit.replay.clock import Clock, CoreClock, PythonClock, choose_clock, noise_floor, wait
from tracekit.storage import Access, Buffer, LocalStorage, MemoryStorage


@pytest.fixture(params=["core", "python"])
def clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """Both clocks; the core's where it could be built."""
    if request.param == "python":
        yield PythonClock()
        return
    core = pytest.importorskip("tracekit._core", reason="there is no native core here")
    yield CoreClock(core)


def test_a_sleep_never_ends_early(clock: Clock) -> None:
    """The time after waking is at or past the deadline, every time."""
    clock.enter_thread()
    for _ in range(20):
        deadline = clock.now() + 300_000
        woke = clock.sleep_until(deadline)
        assert woke >= deadline
        assert clock.now() >= woke


def test_a_deadline_in_the_past_is_no_sleep(clock: Clock) -> None:
    """What is overdue returns at once with the present time."""
    before = clock.now()
    assert clock.sleep_until(1) >= before


def test_a_read_returns_its_bytes_and_times_in_order(clock: Clock, tmp_path: Path) -> None:
    """The buffer holds the range, and deadline ≤ submit ≤ complete."""
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 64)
    handle = LocalStorage().open(str(path), Access())
    buffer = Buffer(4096)
    deadline = clock.now() + 2_000_000
    submit, complete, result, error = clock.read(handle, buffer, 1000, 300, deadline)
    assert (result, error) == (1000, 0)
    assert deadline <= submit <= complete <= clock.now()
    assert bytes(buffer.view[:1000]) == (bytes(range(256)) * 64)[300:1300]
    handle.close()


def test_a_read_across_the_end_is_short(clock: Clock, tmp_path: Path) -> None:
    """Only what is there is returned, and nothing past the end."""
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    handle = LocalStorage().open(str(path), Access())
    buffer = Buffer(4096)
    assert clock.read(handle, buffer, 100, 60, 0)[2:] == (40, 0)
    assert clock.read(handle, buffer, 100, 100, 0)[2:] == (0, 0)
    handle.close()


def test_a_failing_read_is_a_result(clock: Clock, tmp_path: Path) -> None:
    """A directory cannot be read: EISDIR comes back as a number, nothing is raised."""
    handle = LocalStorage().open(str(tmp_path), Access())
    submit, complete, result, error = clock.read(handle, Buffer(10), 10, 0, 0)
    assert (result, error) == (-1, errno.EISDIR)
    assert submit <= complete
    handle.close()


def test_places_without_descriptor_are_read_too(clock: Clock) -> None:
    """Memory storage has no descriptor; both clocks read it through its handle."""
    handle = MemoryStorage({"m": b"hello world"}).open("m", Access())
    buffer = Buffer(16)
    assert clock.read(handle, buffer, 5, 6, 0)[2:] == (5, 0)
    assert bytes(buffer.view[:5]) == b"world"


def test_a_long_wait_ends_when_the_run_is_stopped(clock: Clock) -> None:
    """A stream that is due in an hour comes back as soon as the stop signal is given."""
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert wait(clock, clock.now() + 3600 * 10**9, stop)


def test_a_wait_returns_before_its_deadline(clock: Clock) -> None:
    """The coarse wait leaves the last stretch to the clock."""
    deadline = clock.now() + 20_000_000
    assert not wait(clock, deadline, threading.Event())


def test_the_noise_floor_is_sorted_and_never_negative(clock: Clock) -> None:
    """Overshoots are what came after the deadline."""
    floor = noise_floor(clock, sleeps=5, length_ns=100_000)
    assert len(floor) == 5
    assert floor == sorted(floor)
    assert floor[0] >= 0


def test_without_the_core_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that cannot be imported leaves the Python clock, and the sentence names the cause."""
    monkeypatch.setitem(__import__("sys").modules, "tracekit._core", None)
    monkeypatch.delattr("tracekit._core", raising=False)
    chosen, reason = choose_clock()
    assert type(chosen) is PythonClock
    assert "not there" in reason


def test_a_kernel_without_timer_slack_is_no_error() -> None:
    """A core whose prctl is refused still enters its thread."""

    class Refusing:
        now_ns = sleep_until = timed_pread = staticmethod(lambda *_: 0)

        @staticmethod
        def precise_timers() -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    CoreClock(Refusing).enter_thread()  # type: ignore[arg-type]
    assert clock_module.FINE_NS > 0
