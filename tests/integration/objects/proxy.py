"""A TCP proxy that passes everything on unchanged and remembers the requests that went through it.

Where the server behind it is gone it answers as the machine would: the connection is reset.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

_HEAD = re.compile(rb"(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
_RANGE = re.compile(rb"^(?:x-ms-range|range): *bytes=(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Passed:
    """One request: what stands in its line and Range header, and the final status it got."""

    method: str
    path: str
    query: str
    range: str
    status: int


@dataclass
class _Connection:
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)

    def passed(self) -> list[Passed]:
        statuses = [int(found[1]) for found in _STATUS.finditer(bytes(self.down)) if found[1] != b"100"]
        requests = list(_HEAD.finditer(bytes(self.up)))
        assert len(statuses) == len(requests), (len(statuses), len(requests))
        return [_passed(request, status) for request, status in zip(requests, statuses, strict=True)]


def _passed(head: re.Match[bytes], status: int) -> Passed:
    target = urlsplit(head[2].decode("ascii"))
    span = _RANGE.search(head[3])
    return Passed(head[1].decode(), unquote(target.path), target.query, span[1].decode() if span else "", status)


class Proxy:
    """Remembers what went through.

    Args:
        port: The server's, on loopback.
        on_request: Called with the number of each request of the method, from 1, before it is passed on.
        method: Which requests it hears of.
    """

    def __init__(self, port: int, on_request: Callable[[int], None] | None = None, method: str = "GET") -> None:
        self._method = f"{method} ".encode()
        self._port = port
        self._on_request = on_request
        self._requests = 0
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def passed(self) -> list[Passed]:
        """Every request so far; ask when the clients are gone."""
        return [one for connection in self._connections for one in connection.passed()]

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """Pass connections on until the end; yields the port."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            accepting = threading.Thread(target=self._accept, args=(server,), daemon=True)
            accepting.start()
            yield int(server.getsockname()[1])
            server.shutdown(socket.SHUT_RDWR)
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            for thread in [accepting, *self._threads]:
                thread.join(10)
            for end in self._ends:
                end.close()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._port))
                except ConnectionRefusedError:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                    continue
                connection = _Connection()
                self._connections.append(connection)
                self._ends += [client, there]
                looks = self._look if self._on_request else None
                for words in ((client, there, connection.up, looks), (there, client, connection.down)):
                    thread = threading.Thread(target=_pump, args=words, daemon=True)
                    thread.start()
                    self._threads.append(thread)

    def _look(self, data: bytes) -> None:
        assert self._on_request is not None
        if data.startswith(self._method):
            with self._lock:
                self._requests += 1
                number = self._requests
            self._on_request(number)


def _pump(
    source: socket.socket, target: socket.socket, seen: bytearray, look: Callable[[bytes], None] | None = None
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            seen += data
            if look is not None:
                look(data)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
