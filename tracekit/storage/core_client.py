"""Ranged GETs over plain HTTP by the core: waiting, sending and reading are one call, in which nobody waits for the interpreter lock.

Whatever else a store is asked for, and everything over TLS, goes through obstore.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import tracekit
from tracekit.storage import failures
from tracekit.storage.keys import Key, StoreError
from tracekit.storage.obstore_client import CODE, ObstoreClient
from tracekit.storage.sdk_client import seconds_of
from tracekit.storage.signatures import AzureHeads, Heads, Keys, Place, S3Heads
from tracekit.storage.store_settings import Requests, azure_settings, environment, s3_keys, s3_settings

_PLAIN = "http://"
_REGION = "us-east-1"  # the stores' own default
_PARTIAL, _REFUSED = 206, 300
_RETRY_AFTER = re.compile(r"^retry-after: *([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
# The error of a name that does not resolve is none of errno's.
_UNRESOLVED = socket.gaierror


class Exchange(NamedTuple):
    """A request and its answer: times on CLOCK_MONOTONIC in ns (`first_byte` is 0 where no answer began), bytes, what went wrong."""

    submitted: int
    first_byte: int
    completed: int
    received: int
    failure: StoreError | None = None


class _Connection:
    """A connection that is closed when nobody knows it any more."""

    __slots__ = ("_fd",)

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._fd = -1
        with socket.create_connection((host, port), timeout_s) as made:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._fd = made.detach()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._fd

    def close(self, close: Callable[[int], None] = os.close) -> None:
        """Close it; a second call does nothing. At the interpreter's end the module's names may be gone."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close(fd)

    __del__ = close


class CoreClient(ObstoreClient):
    """One container.

    Args:
        key: Names the container.
        requests: Timeouts.
        place: Where its server is.
        heads: Makes what is sent.
    """

    name = "the core (ranged GETs over plain HTTP) and obstore"

    def __init__(self, key: Key, requests: Requests, place: Place, heads: Heads) -> None:
        super().__init__(key, requests)
        from tracekit import _core

        self._ranged_get, self._sleep_until = _core.ranged_get, _core.sleep_until
        self._place, self._heads = place, heads
        self._timeout_ns, self._connect_timeout_s = int(requests.timeout_s * 1e9), requests.connect_timeout_s
        # Connections that wait for a request; those that were used last are taken first.
        self._idle: list[_Connection] = []
        self._process = os.getpid()

    def read(self, name: str, offset: int, length: int, into: memoryview) -> int:
        """One ranged GET into memory; the number of bytes (errors: StoreError)."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(into))
        return _good(self.exchange(name, offset, length, address=address)).received

    def skim(self, name: str, offset: int, length: int) -> tuple[int, int]:
        """The same, and the body is let go: the number of bytes, and when the answer began (errors: StoreError)."""
        done = _good(self.exchange(name, offset, length))
        return done.received, done.first_byte

    def exchange(self, name: str, offset: int, length: int, due: int = 0, address: int = 0) -> Exchange:
        """Wait until it is due (0: do not), and make one ranged GET; to an address, which has room for all of it, or let go."""
        head = self._heads.of(name, offset, length)
        for fresh in (False, True):
            try:
                connection = self._connection(fresh=fresh)
            except OSError as error:
                submitted = self._sleep_until(due) if due else monotonic_ns()
                return Exchange(submitted, 0, monotonic_ns(), 0, _unconnected(error))
            answer = self._ranged_get(
                connection.fileno(), head, due, self._timeout_ns, address, length if address else 0
            )
            submitted, first_byte, completed, status, count, first, number, ended, stale, keep, text = answer
            if not stale:
                break
            # The server let go of it while nobody asked for anything: of the others too.
            connection.close()
            self._idle.clear()
            due = 0
        else:
            return Exchange(submitted, 0, completed, 0, StoreError(errno.ECONNRESET))
        if keep:
            self._idle.append(connection)
        else:
            connection.close()
        if status == _PARTIAL and first in (offset, -1) and not (number or ended):
            return Exchange(submitted, first_byte, completed, count)
        return Exchange(submitted, first_byte, completed, count, _failure(status, number, ended, first_byte, text))

    def connect(self, name: str) -> None:
        """One more connection for ranges of an object to come; one that cannot be made is left for a request to say why."""
        self._heads.of(name, 0, 1)  # signs, where a signature holds for more than one request
        with suppress(OSError):
            self._idle.append(self._connection(fresh=True))

    def _connection(self, *, fresh: bool) -> _Connection:
        """One that waits, or a new one (errors: OSError)."""
        if self._process != os.getpid():
            # After a fork both would read from the same connections.
            self._idle, self._process = [], os.getpid()
        try:
            if not fresh:
                return self._idle.pop()
        except IndexError:
            pass
        return _Connection(self._place.host, self._place.port, self._connect_timeout_s)


def over_plain_http(key: Key, requests: Requests) -> CoreClient | None:
    """The client of a container whose server is asked over plain HTTP, and not through a proxy; None where it is not.

    None too where this process is recorded: what the core does by itself passes by the recorder, and obstore's calls do not.
    """
    try:
        from tracekit import _core  # noqa: F401 -- whether it loads is the question
    except ImportError:
        return None
    if tracekit.recording():
        return None
    env = environment()
    endpoint = azure_settings(env).url if key.scheme == "az" else s3_settings(env).endpoint
    if not endpoint.startswith(_PLAIN):
        return None
    place = Place.of(endpoint, key.container)
    if not place.host or ("http" in getproxies() and not proxy_bypass(place.host)):
        return None
    heads = AzureHeads(place, azure_settings(env)) if key.scheme == "az" else _s3_heads(place, env)
    return None if heads is None else CoreClient(key, requests, place, heads)


def _s3_heads(place: Place, env: dict[str, str]) -> S3Heads | None:
    settings, keys = s3_settings(env), s3_keys(env)
    found: Callable[[], Keys | None] | None
    if settings.anonymous:
        found = _nobody
    elif "access_key_id" in keys and "secret_access_key" in keys:
        mine = Keys(keys["access_key_id"], keys["secret_access_key"], keys.get("session_token", ""))
        found = lambda: mine  # noqa: E731 -- it has no name to say
    else:
        found = _keys_of_boto3()
    return None if found is None else S3Heads(place, settings.region or _REGION, found)


def _nobody() -> None:
    """Anonymous."""


def _keys_of_boto3() -> Callable[[], Keys | None] | None:
    """What boto3 finds in profiles and roles, renewed as it renews it; None where it finds nothing."""
    try:
        import boto3
    except ImportError:
        return None
    credentials = boto3.session.Session().get_credentials()
    if credentials is None:
        return None

    def now() -> Keys:
        one = credentials.get_frozen_credentials()
        return Keys(one.access_key or "", one.secret_key or "", one.token or "")

    return now


def _good(done: Exchange) -> Exchange:
    if done.failure is not None:
        raise done.failure
    return done


def _unconnected(error: OSError) -> StoreError:
    if isinstance(error, _UNRESOLVED):
        return StoreError(errno.EHOSTUNREACH, kind=failures.UNRESOLVED_NAME)
    return StoreError(errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or errno.EIO)


def _failure(status: int, error: int, ended: int, first_byte: int, text: bytes) -> StoreError:
    """What became of a request that did not give its range."""
    if status >= _REFUSED:
        said = text.decode("utf-8", "replace")
        code, after = CODE.search(said), _RETRY_AFTER.search(said)
        return StoreError(status, code[1] if code else "", retry_after_s=seconds_of(after[1] if after else None))
    if error == errno.ETIMEDOUT:
        return StoreError(error, kind=failures.STALLED_BODY if first_byte else failures.SLOW_FIRST_BYTE)
    if error:
        return StoreError(error)
    if ended:
        return StoreError(errno.ECONNRESET, kind=failures.SHORT_BODY if status else "")
    return StoreError(errno.EPROTO, kind=failures.RANGE_IGNORED)
