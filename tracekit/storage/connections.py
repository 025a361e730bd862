"""How many TCP connections this process opened: counted as libraries make them, or found out by looking at its descriptors.

Clients in Rust do not say. The core counts calls of connect(2); without it what was opened and closed again between two looks is
missed, so under resets it is a lower bound.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

_DESCRIPTORS = "/proc/self/fd"
_BETWEEN_NS = 1_000_000_000


def follow() -> int | None:
    """Count those of the libraries that are loaded now; how many were counted until now, None where they cannot be."""
    try:
        from tracekit import _core
    except ImportError:
        return None
    return _core.connects()


class Connections:
    """The connections that this process opens from now on; `count` are those known so far. What others opened to it is none."""

    def __init__(self) -> None:
        self.count = 0
        self._before = follow()
        self._seen = _Seen() if self._before is None else None
        self.exact = self._seen is None

    def watch(self) -> None:
        """Look, if that is what it takes and the last time was a second ago."""
        if self._seen is not None and time.monotonic_ns() - self._seen.looked >= _BETWEEN_NS:
            self.look()

    def look(self) -> int:
        """How many there were until now."""
        self.count = self._seen.look() if self._seen is not None else (follow() or 0) - (self._before or 0)
        return self.count


class _Seen:
    """Those that were open at one of the looks."""

    def __init__(self) -> None:
        # By socket the port of this end; 0 for what is no connection.
        self._seen: dict[str, int] = {}
        self._doors: set[int] = set()
        self.looked = self._before = 0
        self._before = self.look()

    def look(self) -> int:
        """Look now; how many there were until now."""
        self.looked = time.monotonic_ns()
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # closed meanwhile, or not connected yet: then it is looked at again
                target = os.readlink(f"{_DESCRIPTORS}/{name}")
                if target.startswith("socket:") and target not in self._seen:
                    self._seen[target] = self._port(int(name))
        return sum(port > 0 and port not in self._doors for port in self._seen.values()) - self._before

    def _port(self, descriptor: int) -> int:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
                return 0
            port = int(one.getsockname()[1])
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._doors.add(port)
                return 0
            one.getpeername()
            return port
