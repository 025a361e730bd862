"""The ranks of a run as processes of this machine, started by the replay itself: pipes instead of MPI, otherwise the same."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any

from tracekit import itself

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 10.0
_MOMENT_S = 0.0005
_GONE = object()


class _Line:
    """A connection to another process, with a thread for each direction.

    Python hands signals to the main thread: one that ends a run would cut a message there in two, and what comes after it could
    not be read any more.

    Args:
        rank: Whose.
        connection: To it.
        inbox: Where its messages go, each with the rank; the last is `_GONE`.
    """

    def __init__(self, rank: int, connection: Connection, inbox: SimpleQueue[tuple[int, Any]]) -> None:
        self._rank, self._connection, self._inbox = rank, connection, inbox
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name="wire", daemon=True) for work in (self._sending, self._receiving)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Any) -> None:
        """Send, as it is now."""
        self._outbox.put(ForkingPickler.dumps(message))

    def flush(self, patience_s: float) -> bool:
        """Whether all that was to be sent is with the kernel, after no more than so long."""
        sent = threading.Event()
        self._outbox.put(sent)
        return sent.wait(patience_s)

    def close(self) -> None:
        """The other end is gone: so are the threads, and then the connection."""
        self._outbox.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        self._connection.close()

    def _sending(self) -> None:
        while (item := self._outbox.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            with suppress(OSError):  # one that is gone is found out by its silence
                self._connection.send_bytes(item)

    def _receiving(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._inbox.put((self._rank, self._connection.recv()))
        self._inbox.put((self._rank, _GONE))


class PipeWire:
    """One process's end; rank 0 has a connection to each other rank, the others have one to rank 0.

    Args:
        rank: This process.
        size: How many there are.
        connections: By rank; the wire closes them.
        processes: Rank 0's: the others, to end them.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        connections: dict[int, Connection],
        processes: Sequence[subprocess.Popen[bytes]] = (),
    ) -> None:
        self.rank, self.size = rank, size
        self.gone: set[int] = set()
        self._inbox: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._lines = {other: _Line(other, one, self._inbox) for other, one in connections.items()}
        self._processes = processes

    def send(self, to: int, message: Any) -> None:
        """Send; one that is gone is found out by its silence."""
        line = self._lines.get(to)
        if line is not None and to not in self.gone:
            line.send(message)

    def poll(self) -> tuple[int, Any] | None:
        """The next message, from whichever rank."""
        # Who asks again and again lets the thread that receives have the interpreter lock meanwhile.
        with suppress(Empty):
            while True:
                rank, message = self._inbox.get(timeout=_MOMENT_S)
                if message is not _GONE:
                    return rank, message
                self.gone.add(rank)
        return None

    def flush(self, patience_s: float) -> bool:
        """Wait until all that was sent is with the kernel; whether it is."""
        end = time.monotonic() + patience_s
        return all(line.flush(max(0.0, end - time.monotonic())) for line in self._lines.values())

    def abort(self, code: int) -> None:  # noqa: ARG002 -- this process ends by itself
        """End the others."""
        self.tell(signal.SIGKILL)

    def tell(self, number: int) -> None:
        """Send the others a signal."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def close(self) -> None:
        """The others are gone."""
        for line in self._lines.values():
            line.close()


@contextmanager
def started(count: int, module: str, first: Any) -> Iterator[PipeWire]:
    """Rank 0's wire to `count` - 1 new processes that run a module; they are gone at the end.

    Args:
        count: How many processes there are, with this one.
        module: What `python -m` runs; it calls `joined`.
        first: What each of them is told first.
    """
    processes: list[subprocess.Popen[bytes]] = []
    wire = None
    try:
        wire = PipeWire(0, count, dict(_begun(count, module, processes)), processes)
        for rank in range(1, count):
            wire.send(rank, first)
        yield wire
    finally:
        for process in processes:
            _end(process)
        if wire is not None:
            wire.close()


def _begun(count: int, module: str, processes: list[subprocess.Popen[bytes]]) -> Iterator[tuple[int, Connection]]:
    """The connection to each new process."""
    for rank in range(1, count):
        mine, theirs = socket.socketpair()
        command = [*itself.command(module), str(rank), str(count), str(theirs.fileno())]
        processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL))
        theirs.close()
        yield rank, Connection(mine.detach())


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def joined(words: Sequence[str]) -> tuple[PipeWire, Any]:
    """Another rank's wire, by what `started` passed on the command line, and what it was told first."""
    rank, size, descriptor = map(int, words)
    if sys.platform == "linux":
        # Whoever started us would wait for nothing any more.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    connection = Connection(descriptor)
    first = connection.recv()
    return PipeWire(rank, size, {0: connection}), first
