"""How each kind of op is issued, for one stream.

Reads go through handles that are opened ahead of time, one per stream and file, because the kernel keeps its readahead
state per open file and streams must not disturb each other's. Recorded opens and closes are issued as themselves, for
their time; reads do not depend on them. Everything that changes something happens in a scratch directory.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable

import numpy as np

from tracekit.replay import scratch
from tracekit.replay.kinds import Kind
from tracekit.replay.ops import Job
from tracekit.replay.plan import File, Plan
from tracekit.storage import Buffer, Handle
from tracekit.storage.base import MAX_READ_BYTES
from tracekit.trace import NULL


class Opened:
    """Descriptors of recorded opens that wait for their close: per process and file, since threads may close for each other."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        self.unmatched = 0

    def put(self, key: tuple[int, int], descriptor: int) -> None:
        """Keep a descriptor."""
        self._waiting[key].append(descriptor)

    def take(self, key: tuple[int, int]) -> int | None:
        """The descriptor opened last; None where no open came before, as with descriptors a process inherited."""
        try:
            return self._waiting[key].pop()
        except IndexError:
            self.unmatched += 1
            return None

    def close(self) -> None:
        """Close what nobody closed."""
        for waiting in self._waiting.values():
            while waiting:
                os.close(waiting.pop())


class Issuer:
    """One stream's door to its files.

    Args:
        plan: The plan.
        job: The stream.
        opened: The run's open descriptors.
    """

    def __init__(self, plan: Plan, job: Job, opened: Opened) -> None:
        self._plan = plan
        self._files = plan.files
        self._kinds, self._file_of = job.kinds.data, job.files.data
        self._offsets, self._lengths = job.offsets.data, job.lengths.data
        self._handles: OrderedDict[int, Handle] = OrderedDict()
        self._scratch: OrderedDict[int, int] = OrderedDict()
        self._opened = opened
        self._pid = job.stream.identity.get("pid", 0)
        # Rounding outwards adds less than two pages.
        largest = min(job.largest, MAX_READ_BYTES)
        self.buffer = Buffer(largest + 2 * mmap.PAGESIZE)
        if bool((job.kinds == Kind.WRITE).any()):
            # Zeros would be compressed or deduplicated away where the recorded data was not.
            self.buffer.view[:largest] = np.random.Generator(np.random.SFC64()).bytes(largest)
        self._calls: dict[int, Callable[[File, int], int]] = {
            Kind.OPEN: self._open,
            Kind.CLOSE: self._close,
            Kind.STAT: self._stat,
            Kind.LIST: self._list,
            Kind.MMAP: self._mmap,
            Kind.FSYNC: self._fsync,
            Kind.WRITE: self._write,
            Kind.DELETE: self._delete,
        }
        self.fell_back: set[int] = set()
        self.went_direct: set[int] = set()

    def handle(self, index: int) -> Handle:
        """The handle for the read at `index`; opened now if it is not open yet.

        Raises:
            OSError: If its file cannot be opened.
        """
        number = self._file_of[index]
        handle = self._handles.get(number)
        if handle is None:
            handle = self._open_handle(number)
        elif len(self._handles) > 1:
            self._handles.move_to_end(number)
        return handle

    def arm(self, index: int) -> None:
        """Open ahead what the op at `index` will need; failures show when it is issued."""
        kind = self._kinds[index]
        try:
            if kind in (Kind.READ, Kind.MMAP):
                self.handle(index)
            elif kind == Kind.WRITE and self._files[self._file_of[index]].local:
                self._scratch_fd(self._file_of[index])
        except OSError:
            return

    def call(self, index: int) -> int:
        """Issue the op at `index`, which is no read; bytes moved, or NULL where the kind moves none.

        Raises:
            OSError: What the system said.
        """
        return self._calls[self._kinds[index]](self._files[self._file_of[index]], index)

    def close(self) -> None:
        """Close every handle."""
        for handle in self._handles.values():
            handle.close()
        for fd in self._scratch.values():
            os.close(fd)
        self._handles.clear()
        self._scratch.clear()

    def _open_handle(self, number: int) -> Handle:
        file = self._files[number]
        if file.in_scratch:
            # Read back what the trace wrote: through a storage of its kind, at its place in scratch.
            path = self._scratch_path(number)
        else:
            path = file.place
        assert file.storage is not None
        while len(self._handles) >= self._plan.handles_per_stream:
            self._handles.popitem(last=False)[1].close()
        handle = self._handles[number] = file.storage.open(path, file.access(self._plan.options))
        if handle.fell_back:
            self.fell_back.add(number)
        if handle.direct:
            self.went_direct.add(number)
        return handle

    def _scratch_path(self, number: int) -> str:
        return scratch.path(self._plan, number)

    def _scratch_fd(self, number: int) -> int:
        fd = self._scratch.get(number)
        if fd is None:
            while len(self._scratch) >= self._plan.handles_per_stream:
                os.close(self._scratch.popitem(last=False)[1])
            fd = os.open(self._scratch_path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._scratch[number] = fd
        return fd

    def _open(self, file: File, index: int) -> int:
        number = self._file_of[index]
        if file.in_scratch and file.local:
            descriptor = os.open(self._scratch_path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        else:
            assert file.storage is not None
            descriptor = file.storage.touch_open(file.place)
        if file.local:
            self._opened.put((self._pid, number), descriptor)
        return NULL

    def _close(self, file: File, index: int) -> int:
        descriptor = self._opened.take((self._pid, self._file_of[index])) if file.local else None
        if descriptor is not None:
            assert file.storage is not None
            file.storage.touch_close(descriptor)
        return NULL

    def _stat(self, file: File, index: int) -> int:
        assert file.storage is not None
        file.storage.stat(self._scratch_path(self._file_of[index]) if file.in_scratch else file.place)
        return NULL

    def _list(self, file: File, index: int) -> int:  # noqa: ARG002 -- the signature of every kind
        assert file.storage is not None
        file.storage.list(file.place)
        return NULL

    def _mmap(self, file: File, index: int) -> int:
        if not file.local:
            return NULL  # no request fetches anything before a page is touched
        handle = self.handle(index)
        offset = max(self._offsets[index], 0)
        first = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        length = min(self._lengths[index] + offset - first, handle.size - first)
        if length <= 0 or handle.fileno() < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        mmap.mmap(handle.fileno(), length, mmap.MAP_SHARED, mmap.PROT_READ, offset=first).close()
        return NULL

    def _fsync(self, file: File, index: int) -> int:
        if file.changed and file.local:
            os.fsync(self._scratch_fd(self._file_of[index]))
        return NULL

    def _write(self, file: File, index: int) -> int:
        if not file.local:
            assert file.storage is not None
            file.storage.write(self._scratch_path(self._file_of[index]), self.buffer.view[: self._lengths[index]])
            return self._lengths[index]
        fd = self._scratch_fd(self._file_of[index])
        offset = self._offsets[index]
        if offset == NULL:
            offset = os.lseek(fd, 0, os.SEEK_END)
        return os.pwrite(fd, self.buffer.view[: self._lengths[index]], offset)

    def _delete(self, file: File, index: int) -> int:
        number = self._file_of[index]
        if not file.local:
            assert file.storage is not None
            file.storage.delete(self._scratch_path(number))
            return NULL
        fd = self._scratch.pop(number, None)
        if fd is not None:
            os.close(fd)
        try:
            os.unlink(self._scratch_path(number))
        except FileNotFoundError:
            pass  # the trace deletes what it did not write: there is nothing of ours to delete
        return NULL
