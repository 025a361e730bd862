"""The native core's functions, one by one."""

import errno
import os

import numpy as np
import pytest

core = pytest.importorskip("tracekit._core", reason="the native core is not built here")


@pytest.fixture
def data_file(tmp_path):
    """A file of 1,000 bytes with known content."""
    path = tmp_path / "data"
    path.write_bytes(bytes(i % 251 for i in range(1000)))
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_sleep_until_is_never_early():
    """The sleep returns at or after its deadline and says when that was."""
    for microseconds in (0, 50, 200, 1000):
        deadline = core.now_ns() + microseconds * 1000
        woke = core.sleep_until(deadline)
        assert deadline <= woke <= core.now_ns()


def test_sleep_until_a_past_deadline_does_not_wait():
    """A deadline that has passed, even one before boot, returns at once."""
    before = core.now_ns()
    assert core.sleep_until(1) >= before


def test_timed_pread_reads_where_it_is_told(data_file):
    """The bytes, the count and the order of the clock reads are those of one pread."""
    buffer = np.zeros(300, np.uint8)
    submitted, completed, result, error = core.timed_pread(data_file, buffer.ctypes.data, 300, 100, 0)
    assert (result, error) == (300, 0)
    assert submitted <= completed
    assert buffer.tobytes() == bytes(i % 251 for i in range(100, 400))


def test_timed_pread_waits_for_its_deadline(data_file):
    """The system call is not issued before the deadline."""
    buffer = np.zeros(8, np.uint8)
    deadline = core.now_ns() + 2_000_000
    submitted, _, _, _ = core.timed_pread(data_file, buffer.ctypes.data, 8, 0, deadline)
    assert submitted >= deadline


def test_timed_pread_reports_short_reads_and_the_end(data_file):
    """A read over the end is short, one behind it is zero."""
    buffer = np.zeros(300, np.uint8)
    assert core.timed_pread(data_file, buffer.ctypes.data, 300, 900, 0)[2:] == (100, 0)
    assert core.timed_pread(data_file, buffer.ctypes.data, 300, 5000, 0)[2:] == (0, 0)


def test_timed_pread_returns_the_error_number():
    """A failed call is a result with its errno, not an exception."""
    buffer = np.zeros(8, np.uint8)
    assert core.timed_pread(-1, buffer.ctypes.data, 8, 0, 0)[2:] == (-1, errno.EBADF)


@pytest.mark.parametrize("arguments", [(0, 0, 8, 0, 0), (0, 0, -1, 0, 0)])
def test_timed_pread_refuses_memory_that_cannot_be(arguments):
    """No address or a negative length is a ValueError before any system call."""
    with pytest.raises(ValueError, match="address"):
        core.timed_pread(*arguments)


def test_a_signal_handler_that_raises_ends_the_sleep():
    """A sleep is interruptible: the handler runs, and its exception comes out."""
    import signal

    def stop(*_):
        raise InterruptedError("stop")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(InterruptedError):
            core.sleep_until(core.now_ns() + 60_000_000_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_precise_timers_sets_the_threads_slack():
    """The calling thread's timer slack is one nanosecond afterwards, other threads' is not touched."""
    import ctypes
    import threading

    set_slack, get_slack = 29, 30  # PR_SET_TIMERSLACK, PR_GET_TIMERSLACK of prctl(2)
    slack = {}

    def measure():
        libc = ctypes.CDLL(None)
        libc.prctl(set_slack, 50_000, 0, 0, 0)  # a thread starts with the slack of the one that made it
        slack["before"] = libc.prctl(get_slack, 0, 0, 0, 0)
        core.precise_timers()
        slack["after"] = libc.prctl(get_slack, 0, 0, 0, 0)

    before = ctypes.CDLL(None).prctl(get_slack, 0, 0, 0, 0)
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert slack == {"before": 50_000, "after": 1}
    assert ctypes.CDLL(None).prctl(get_slack, 0, 0, 0, 0) == before
