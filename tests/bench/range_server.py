"""A fast range server for benchmarks: every object is the same bytes, nothing is signed. Prints its port and serves until killed.

python range_server.py [PORT]
"""

from __future__ import annotations

import asyncio
import re
import sys

_RANGE = re.compile(rb"range: *bytes=(\d+)-(\d+)", re.IGNORECASE)
_BODY = bytes(range(256)) * (1 << 14)


class _Serving(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while b"\r\n\r\n" in self._waiting:
            head, _, self._waiting = self._waiting.partition(b"\r\n\r\n")
            self._transport.write(_answer(head))


def _answer(head: bytes) -> bytes:
    common = b'Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nETag: "0"\r\n'
    span = _RANGE.search(head)
    if span is None or head.startswith(b"HEAD"):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(_BODY), common)
    first, last = int(span[1]), min(int(span[2]), len(_BODY) - 1)
    body = _BODY[first : last + 1]
    words = (len(body), first, last, len(_BODY), common)
    return (
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n%s\r\n" % words + body
    )


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(
        _Serving, "127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
