"""The signals of a recorded program: held back here while it runs, passed on to it, and blocked in it as it is meant to start."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

# Sent on to the program; INT and QUIT only when they were sent to us, because a terminal sends them to both.
_FORWARDED = {
    signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGINT, signal.SIGQUIT,
}  # fmt: skip
WATCHED = frozenset({*_FORWARDED, signal.SIGCHLD})
_FROM_KERNEL = 0x80  # SI_KERNEL: a terminal's own


@contextmanager
def held() -> Iterator[None]:
    """Hold back the signals that `launch.follow` deals with, in this thread and those it starts.

    What arrived meanwhile was meant for the program and is dropped at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield
    finally:
        while signal.sigtimedwait(WATCHED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def mask(wanted: Collection[int] = ()) -> set[int]:
    """The signals that the program has blocked to begin with: those of ours but for what `held` holds back, and those wanted."""
    return {*(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())) - WATCHED), *wanted}


def pass_on(pid: int, arrived: Any) -> None:
    """Send the program a signal that came (a `signal.struct_siginfo`); not one that its terminal has sent to it as well."""
    from_terminal = arrived.si_code == _FROM_KERNEL and arrived.si_signo in (signal.SIGINT, signal.SIGQUIT)
    if from_terminal:
        return
    try:
        os.kill(pid, arrived.si_signo)
    except ProcessLookupError:
        return
