"""The ranks of a run as processes of this machine, started by the replay itself: pipes instead of MPI, otherwise the same."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from tracekit import itself

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 10.0


class PipeWire:
    """One process's end; rank 0 has a connection to each other rank, the others have one to rank 0.

    A message is sent by the thread that asks for it: rank 0 takes messages in whenever it waits, so nobody waits for long.

    Args:
        rank: This process.
        size: How many there are.
        connections: By rank.
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
        self._connections = connections
        self._processes = processes
        self._locks = {other: threading.Lock() for other in connections}

    def send(self, to: int, message: Any) -> None:
        """Send; one that is gone is found out by its silence."""
        connection = self._connections.get(to)
        if connection is not None:
            with self._locks[to], suppress(OSError):
                connection.send(message)

    def poll(self) -> tuple[int, Any] | None:
        """The next message, from whichever rank."""
        for rank, connection in list(self._connections.items()):
            try:
                if connection.poll():
                    return rank, connection.recv()
            except (EOFError, OSError):  # noqa: PERF203 -- one connection for each process
                self._connections.pop(rank, None)
                self.gone.add(rank)
        return None

    def flush(self, patience_s: float) -> bool:  # noqa: ARG002 -- what was sent is with the kernel
        """Nothing is held back."""
        return True

    def abort(self, code: int) -> None:  # noqa: ARG002 -- this process ends by itself
        """End the others."""
        self.tell(signal.SIGKILL)

    def tell(self, number: int) -> None:
        """Send the others a signal."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)


@contextmanager
def started(count: int, module: str, first: Any) -> Iterator[PipeWire]:
    """Rank 0's wire to `count` - 1 new processes that run a module; they are gone at the end.

    Args:
        count: How many processes there are, with this one.
        module: What `python -m` runs; it calls `joined`.
        first: What each of them is told first.
    """
    processes, connections = [], {}
    for rank in range(1, count):
        mine, theirs = socket.socketpair()
        command = [*itself.command(module), str(rank), str(count), str(theirs.fileno())]
        processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL))
        theirs.close()
        connections[rank] = Connection(mine.detach())
        with suppress(OSError):  # one that has ended already is found out by its silence
            connections[rank].send(first)
    try:
        yield PipeWire(0, count, connections, processes)
    finally:
        for process in processes:
            _end(process)
        for connection in connections.values():
            connection.close()


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
    return PipeWire(rank, size, {0: connection}), connection.recv()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
