"""Where a run keeps its plans and results while it lasts; what runs that were killed have left goes with the next one."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PREFIX, _LOCK = "tracekit-run-", "lock"


@contextmanager
def scratch() -> Iterator[str]:
    """A directory for the block, gone after it.

    A launcher kills ranks before they can remove theirs, and nobody removes that of a killed run: what is there and nobody's is removed
    at the beginning.
    """
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as path, _held(path):
        yield path


@contextmanager
def _held(path: str) -> Iterator[None]:
    """Say that the directory is somebody's, for as long as this process lives."""
    # The name comes after the lock: whoever sees it sees it locked.
    fresh = os.open(os.path.join(path, f".{_LOCK}"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: nobody sweeps there
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(os.path.join(path, f".{_LOCK}"), os.path.join(path, _LOCK))
        yield
    finally:
        os.close(fresh)


def _sweep() -> None:
    for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), f"{_PREFIX}*")):
        with suppress(OSError):
            if os.lstat(path).st_uid == os.geteuid() and _is_nobodys(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_nobodys(path: str) -> bool:
    """Whether who made it is gone (errors: OSError where somebody holds it, or it has no lock)."""
    lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True
