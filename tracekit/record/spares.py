"""Chunks made ahead, by the launcher, for processes that are about to fill theirs.

A chunk of the native engine (`_native/spool.h`) costs the thread that makes it its pages: two mebibytes, zeroed and entered into
the page cache. That is 0.2 ms where the memory is there; where the host of a virtual machine has taken back what the guest did
not use, it is 4.5 ms, which is 70 ns for each op of the chunk. So files of that size lie ready under `spares/` with all their
pages, and whoever needs a chunk renames one of them to its own. Where none is there, for whatever reason, it makes its own.

The directory's time is touched by a process whose first chunk is full: nothing is made for programs that do little I/O.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COUNT = 8
BYTES = 1 << 21  # of the chunks that are asked for again and again
_NAME = "spares"
_IN_ATTRIB, _IN_MOVED_FROM = 0x4, 0x40


@contextmanager
def kept(parts: str) -> Iterator[None]:
    """Keep spare chunks in a run's parts directory, by a thread of this process, while the body runs.

    Where the kernel gives no inotify watch there are none.
    """
    place = os.path.join(parts, _NAME)
    with suppress(OSError):
        os.mkdir(place)
    watch = _watch(place)
    if watch is None:
        yield
        return
    stopped, stop = os.pipe()
    keeper = threading.Thread(target=_keep, args=(place, watch, stopped), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        os.close(stop)
        keeper.join()
        for descriptor in (stopped, watch):
            os.close(descriptor)
        shutil.rmtree(place, ignore_errors=True)


def _watch(place: str) -> int | None:
    """A descriptor that has something to read when spares are wanted or taken (inotify(7))."""
    try:
        library = ctypes.CDLL(None)
        watch = int(library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    except (OSError, AttributeError):
        return None
    if watch < 0:
        return None
    if library.inotify_add_watch(watch, os.fsencode(place), _IN_ATTRIB | _IN_MOVED_FROM) < 0:
        os.close(watch)
        return None
    return watch


def _keep(place: str, watch: int, stopped: int) -> None:
    waiting = select.poll()
    waiting.register(watch, select.POLLIN)
    waiting.register(stopped, 0)
    while not _is_over(waiting.poll()):
        with suppress(OSError):
            os.read(watch, 65536)
        for number in range(COUNT):
            spare = os.path.join(place, str(number))
            if os.path.exists(spare):
                continue
            if _is_over(waiting.poll(0)) or not _made(spare):
                break


def _is_over(events: list[tuple[int, int]]) -> bool:
    return any(event & select.POLLHUP for _, event in events)


def _made(spare: str) -> bool:
    """Make one: its blocks first, then its pages; it has its name, and can be taken, when it has both."""
    making = os.path.join(os.path.dirname(os.path.dirname(spare)), "spare.new")
    try:
        descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BYTES)
            whole = os.pwrite(descriptor, bytes(BYTES), 0) == BYTES
        finally:
            os.close(descriptor)
        if whole:
            os.rename(making, spare)
    except OSError:  # no space: the processes will find out, and count what they lose
        whole = False
    if not whole:
        with suppress(OSError):
            os.unlink(making)
    return whole
