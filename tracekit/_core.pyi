"""The typed door to the native core. Everything here has a Python twin that passes the same tests."""

def now_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""

def precise_timers() -> None:
    """Set the calling thread's timer slack to 1 ns (prctl(2), PR_SET_TIMERSLACK).

    Raises:
        OSError: If the kernel refuses.
    """

def sleep_until(deadline_ns: int, /) -> int:
    """Sleep without the GIL to an absolute CLOCK_MONOTONIC time; return the time after waking, in ns."""

def timed_pread(fd: int, address: int, length: int, offset: int, deadline_ns: int, /) -> tuple[int, int, int, int]:
    """Wait to `deadline_ns` (0: not at all), then pread(2) `length` bytes to `address` without the GIL.

    The caller owns the memory at `address` and keeps it alive during the call.

    Returns:
        (t_submit, t_complete, result, errno): CLOCK_MONOTONIC ns on both sides of the system call, bytes read or -1,
        and the error number or 0.
    """
