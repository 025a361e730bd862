"""One stream's requests for objects, each made once: what was asked, when the answer began, what came of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracekit.replay import scratch
from tracekit.replay.clock import Clock
from tracekit.replay.kinds import Kind
from tracekit.replay.ops import Job
from tracekit.replay.plan import Plan
from tracekit.storage.base import MAX_READ_BYTES, Buffer
from tracekit.storage.failures import error_number
from tracekit.storage.objects import ObjectHandle, ObjectStorage
from tracekit.trace import NULL

# Kinds that a store has a request for.
REQUESTS = (Kind.READ, Kind.STAT, Kind.LIST, Kind.WRITE, Kind.DELETE)


def requests_of(plan: Plan, job: Job) -> bytes:
    """One byte for each op of a stream: whether it is a request for an object."""
    far = np.array([isinstance(file.storage, ObjectStorage) for file in plan.files] or [False], np.bool_)
    return np.asarray(far[job.files] & np.isin(job.kinds, REQUESTS)).astype(np.uint8).tobytes()


# Of a body that goes up in pieces.
_PIECE = 1 << 20

# Submitted, completed, bytes, error, when the answer began.
Answer = tuple[int, int, int, int, int]


class Requester:
    """Asks the stores for one stream's ops. Nothing in it changes but dictionaries: several threads may ask.

    Bodies are let go as they come; nothing but what the client holds of a request is in memory.

    Args:
        plan: The plan.
        job: The stream.
        clock: Waits and takes the times.
        buffer: What is written.
    """

    def __init__(self, plan: Plan, job: Job, clock: Clock, buffer: Buffer) -> None:
        self._plan, self._clock, self._buffer = plan, clock, buffer
        self._kinds, self._file_of = job.kinds.data, job.files.data
        self._offsets, self._lengths = job.offsets.data, job.asked.data
        self._handles: dict[int, ObjectHandle] = {}
        # What stores asked to be waited for, by op; taken when the pause is made.
        self.asked_ns: dict[int, int] = {}

    def arm(self, asks: bytes) -> None:
        """Connect ahead for the first range among the requests (`requests_of`).

        The streams begin together: a connection for each of them takes the interpreter longer than their first requests may be late.
        """
        ranges = (
            np.frombuffer(asks, np.bool_) & (np.asarray(self._kinds) == Kind.READ) & (np.asarray(self._lengths) > 0)
        )
        if ranges.any():
            self._handle(int(ranges.argmax())).connect()

    def weight(self, index: int) -> int:
        """The bytes that the op at `index` has in flight."""
        return self._lengths[index] if self._kinds[index] in (Kind.READ, Kind.WRITE) else 0

    def ask(self, index: int, due: int) -> Answer:
        """Wait until it is due (0: do not), and make the request of the op at `index`."""
        clock = self._clock
        if self._kinds[index] == Kind.READ and self._lengths[index]:
            handle = self._handle(index)
            if handle.paced:
                return self._exchanged(index, handle, due)
        if due:
            clock.sleep_until(due)
        # Taken with the interpreter lock held: the request is made now, not when the sleep ended.
        submit = clock.now()
        try:
            count, first_byte = self._made(index)
        except OSError as error:
            self._heard(index, error)
            return submit, clock.now(), NULL, error_number(error), NULL
        return submit, clock.now(), count, 0, first_byte or NULL

    def _exchanged(self, index: int, handle: ObjectHandle, due: int) -> Answer:
        """The same by a client that waits and takes the times itself, without the interpreter lock."""
        done = handle.exchange(self._lengths[index], self._offsets[index], due)
        first_byte = done.first_byte or NULL
        if done.failure is None:
            return done.submitted, done.completed, done.received, 0, first_byte
        self._heard(index, done.failure)
        return done.submitted, done.completed, NULL, error_number(done.failure), NULL

    def _heard(self, index: int, error: OSError) -> None:
        """What a store asked for with its refusal."""
        asked_s = getattr(error, "retry_after_s", None)
        if asked_s:
            self.asked_ns[index] = int(asked_s * 1e9)

    def _made(self, index: int) -> tuple[int, int]:
        if self._kinds[index] == Kind.READ:
            return self._handle(index).skim(self._lengths[index], self._offsets[index])
        return self._called(index), 0

    def _called(self, index: int) -> int:
        number, kind = self._file_of[index], self._kinds[index]
        file = self._plan.files[number]
        storage = file.storage
        assert storage is not None
        if kind == Kind.WRITE:
            length = self._lengths[index]
            body = self._buffer.view[:length] if length <= MAX_READ_BYTES else self._pieces(length)
            storage.write(scratch.path(self._plan, number), body)
            return length
        if kind == Kind.STAT:
            storage.stat(self._place(number))
        elif kind == Kind.LIST:
            storage.list(file.place)
        else:
            storage.delete(scratch.path(self._plan, number))
        return NULL

    def _pieces(self, length: int) -> Iterator[bytes]:
        """A body that is larger than the buffer."""
        for first in range(0, length, _PIECE):
            yield bytes(self._buffer.view[: min(_PIECE, length - first)])

    def _handle(self, index: int) -> ObjectHandle:
        number = self._file_of[index]
        return self._handles.get(number) or self._opened(number)

    def _opened(self, number: int) -> ObjectHandle:
        file = self._plan.files[number]
        assert isinstance(file.storage, ObjectStorage)
        handle = self._handles[number] = file.storage.open(self._place(number), file.access(self._plan.options))
        return handle

    def _place(self, number: int) -> str:
        """Where it is read: what the trace wrote itself is read back from scratch."""
        file = self._plan.files[number]
        return scratch.path(self._plan, number) if file.in_scratch else file.place
