"""Directories of our own that say whether who made them still lives: a lock on a file in them, which ends with its process."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# On a file, not on the directory: what a stranger made under such a name has none, and is nobody's to remove.
_LOCK = "lock"


@contextmanager
def claimed(prefix: str, base: str) -> Iterator[str]:
    """A new directory for the block, gone after it; until then it is not among what is `abandoned`.

    Args:
        prefix: How its name begins.
        base: The directory it is made in.

    Raises:
        OSError: If it cannot be made.
    """
    path = tempfile.mkdtemp(prefix=prefix, dir=base)
    try:
        lock = _held(path)
        try:
            yield path
            # Within the lock: what is half removed is still ours.
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
    finally:
        # Also after the lock: over NFS an open file keeps a name, and a directory with it.
        shutil.rmtree(path, ignore_errors=True)


def abandoned(prefix: str, base: str) -> list[str]:
    """What processes of this user that were killed have left under `base`, sorted; what cannot be asked (another host's) counts as held."""
    left = []
    for path in sorted(glob.glob(os.path.join(glob.escape(base), f"{prefix}*"))):
        with suppress(OSError):
            if os.lstat(path).st_uid == os.geteuid():
                os.close(_locked(os.path.join(path, _LOCK), os.O_NOFOLLOW))
                left.append(path)
    return left


def sweep(prefix: str, base: str) -> None:
    """Remove what is `abandoned`."""
    for path in abandoned(prefix, base):
        shutil.rmtree(path, ignore_errors=True)


def _held(path: str) -> int:
    """Say that the directory is somebody's, for as long as this process lives; the lock to close.

    Where a file system has no locks the file gets no name that anybody looks for.
    """
    # The name comes after the lock: whoever sees it sees it locked.
    fresh = os.path.join(path, f".{_LOCK}")
    try:
        lock = _locked(fresh, os.O_CREAT)
    except OSError:
        return os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
    os.rename(fresh, os.path.join(path, _LOCK))
    return lock


def _locked(path: str, flags: int) -> int:
    """The file opened and locked.

    Raises:
        OSError: If somebody else holds it, it is not there, or its file system has no locks.
    """
    lock = os.open(path, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
