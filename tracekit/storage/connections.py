"""How many TCP connections this process opened, found out by looking at its descriptors now and then.

Clients in Rust do not say. What was opened and closed again between two looks is missed, so under resets it is a lower bound.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

_DESCRIPTORS = "/proc/self/fd"
_BETWEEN_NS = 1_000_000_000


class Connections:
    """The connections that this process opens from now on; `count` are those seen so far. What others opened to it is none."""

    def __init__(self) -> None:
        # By socket the port of this end; 0 for what is no connection.
        self._seen: dict[str, int] = {}
        self._doors: set[int] = set()
        self._looked = self._before = self.count = 0
        self._before = self.look()
        self.count = 0

    def watch(self) -> None:
        """Look, if the last time was a second ago."""
        if time.monotonic_ns() - self._looked >= _BETWEEN_NS:
            self.look()

    def look(self) -> int:
        """Look now; how many there were until now."""
        self._looked = time.monotonic_ns()
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # closed meanwhile, or not connected yet: then it is looked at again
                target = os.readlink(f"{_DESCRIPTORS}/{name}")
                if target.startswith("socket:") and target not in self._seen:
                    self._seen[target] = self._port(int(name))
        self.count = sum(port > 0 and port not in self._doors for port in self._seen.values()) - self._before
        return self.count

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
