"""Objects of S3 and Azure as places: each read is one ranged GET, and nothing is retried behind the caller's back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn, Protocol

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.storage import uploads
from tracekit.storage.base import Access, Look, Window
from tracekit.storage.connections import follow
from tracekit.storage.keys import Key, StoreError, can_name
from tracekit.storage.store_settings import Requests

if TYPE_CHECKING:
    from tracekit.storage.core_client import Exchange

_MISSING, _FORBIDDEN = 404, (401, 403)
_NO_CONTAINER = ("NoSuchBucket", "ContainerNotFound")
_UNREACHABLE = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EPROTO)


class Client(Protocol):
    """What a client of a store does, for one container; every failure is a `StoreError`."""

    name: str

    def read(self, name: str, offset: int, length: int, into: memoryview) -> int:
        """One ranged GET into memory; the number of bytes."""

    def skim(self, name: str, offset: int, length: int) -> tuple[int, int]:
        """The same, and the body is let go: the number of bytes, and when the answer began, on CLOCK_MONOTONIC in ns."""

    def size(self, name: str) -> int:
        """An object's bytes."""

    def list(self, prefix: str) -> int:
        """How many objects and common prefixes there are right below a prefix."""

    def walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of every object below a prefix, in order of names."""

    def write(self, name: str, body: bytes | memoryview, *, create: bool = False) -> None:
        """Make an object by one request; with `create` it must not be there yet."""

    def delete(self, name: str) -> None:
        """Delete an object."""


class ObjectHandle:
    """One object. Opening it asks nothing of the server."""

    direct = False
    fell_back = False

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    @property
    def size(self) -> int:
        """Bytes the object holds now."""
        return self._client.size(self._name)

    def fileno(self) -> int:
        """-1: there is no descriptor."""
        return -1

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The request itself."""
        return offset, length

    def delivered(self, offset: int, length: int, result: int) -> int:  # noqa: ARG002 -- the seam's signature
        """All of it."""
        return result

    def pread(self, buffer: Window, length: int, offset: int) -> int:
        """One ranged GET; a read of nothing asks nothing, as no range says it (RFC 9110, 14.1.2)."""
        return self._client.read(self._name, offset, length, buffer.view[:length]) if length else 0

    def skim(self, length: int, offset: int) -> tuple[int, int]:
        """One ranged GET whose body is let go: (bytes, when the answer began in ns; 0 where nothing was asked)."""
        return self._client.skim(self._name, offset, length) if length else (0, 0)

    @property
    def paced(self) -> bool:
        """Whether `exchange` can be asked."""
        return hasattr(self._client, "exchange")

    def exchange(self, length: int, offset: int, due: int) -> Exchange:
        """One ranged GET at a moment on CLOCK_MONOTONIC (0: now), its body let go, by a client that waits for it itself."""
        done: Exchange = getattr(self._client, "exchange")(self._name, offset, length, due)  # noqa: B009 -- not every client's
        return done

    def connect(self) -> None:
        """Have the client make one more connection ahead of the requests, where it can be asked for that."""
        if self.paced:
            getattr(self._client, "connect")(self._name)  # noqa: B009 -- not every client's

    def close(self) -> None:
        """Nothing to give back: connections belong to the client."""


class ObjectStorage:
    """Objects by URI.

    Args:
        requests: Which client makes the requests, and its timeouts.
    """

    local = False

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def resolve(self, uri: str) -> str:
        """The URI itself, once it names an object or a container.

        Raises:
            InputError: If it does not, or the client would ask for another.
        """
        key = Key.of(uri)
        self._check(key, key.name.removesuffix("/"))  # prefixes may end with a slash
        return str(key)

    def _check(self, key: Key, name: str) -> None:
        if self._requests.client != "sdk" and not can_name(name):
            raise InputError(
                f"obstore cannot ask for {str(key)!r}: its names have no empty part, no . or .. and no control characters",
                "use --client sdk",
            )

    def open(self, place: str, access: Access) -> ObjectHandle:  # noqa: ARG002 -- a page cache is not asked
        """The object; nothing is asked of the server yet."""
        client, key = self._client(place)
        self._check(key, key.name)
        return ObjectHandle(client, key.name)

    def touch_open(self, place: str) -> int:  # noqa: ARG002 -- the seam's signature
        """Nothing: an object store has no open."""
        return 0

    def touch_close(self, descriptor: int) -> None:
        """Nothing: an object store has no close."""

    def look(self, place: str) -> Look:
        """An object with its size; where there is none, a prefix with objects below it counts as a directory.

        Raises:
            OSError: ENOENT where there is neither.
            CannotRunError: If the server cannot be asked, or does not let us.
        """
        client, key = self._client(place)
        try:
            if key.name and not key.name.endswith("/"):
                try:
                    return Look("file", client.size(key.name))
                except StoreError as error:
                    if error.errno != _MISSING:
                        raise
            if client.list(key.name.rstrip("/")):
                return Look("directory", 0)
        except StoreError as error:
            if error.errno != _MISSING or error.code in _NO_CONTAINER:
                raise _refusal(key, error) from None
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), place)

    def stat(self, place: str) -> int:
        """The size in bytes, by HEAD."""
        client, key = self._client(place)
        return client.size(key.name)

    def list(self, place: str) -> int:
        """How many objects and common prefixes stand right below it."""
        client, key = self._client(place)
        return client.list(key.name.rstrip("/"))

    def walk(self, place: str) -> Iterator[tuple[str, int]]:
        """Every object below a prefix, or the object itself (errors: OSError; ENOENT where there is none)."""
        client, key = self._client(place)
        there, folder = False, key.name.rstrip("/")
        for name, size in client.walk(folder):
            # Some tools mark folders by empty objects with a slash at the end.
            if not any(part.startswith(".") for part in name[len(folder) :].split("/")) and not name.endswith("/"):
                there = True
                yield str(Key(key.scheme, key.container, name)), size
        if there:
            return
        try:
            yield place, client.size(key.name) if key.name else self._nothing(place)
        except StoreError as error:
            if error.errno != _MISSING:
                raise
            self._nothing(place)

    def _nothing(self, place: str) -> NoReturn:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), place)

    def write(self, place: str, body: bytes | memoryview | Iterable[bytes], *, create: bool = False) -> None:
        """Make an object: of what is in memory by one request, of pieces in parts where they are many (`uploads.write`).

        Raises:
            OSError: What the server said.
        """
        client, key = self._client(place)
        if isinstance(body, (bytes, memoryview)):
            client.write(key.name, body, create=create)
        else:
            parts = partial(_uploads_of, key.scheme, key.container, self._requests)
            uploads.write(client, parts, key.name, body, create=create)

    def delete(self, place: str) -> None:
        """Delete an object (errors: OSError)."""
        client, key = self._client(place)
        client.delete(key.name)

    def client_name(self, place: str) -> str:
        """Through what a place is asked for."""
        return self._client(place)[0].name

    def _client(self, place: str) -> tuple[Client, Key]:
        key = Key.of(place)
        return _client_of(key.scheme, key.container, self._requests), key


@lru_cache(maxsize=256)
def _client_of(scheme: str, container: str, requests: Requests) -> Client:
    client = _made_client(scheme, container, requests)
    follow()  # its library is loaded by now, and has opened nothing
    return client


def _made_client(scheme: str, container: str, requests: Requests) -> Client:
    from tracekit.storage import sdk_client

    key = Key(scheme, container, "")
    if requests.client == "sdk":
        return sdk_client.AzureSdkClient(key, requests) if scheme == "az" else sdk_client.S3SdkClient(key, requests)
    if find_spec("obstore") is None:
        raise CannotRunError(
            f"{scheme}:// needs obstore, which is not installed",
            "pip install 'tracekit-io[objects]', or use --client sdk",
        )
    from tracekit.storage.core_client import over_plain_http
    from tracekit.storage.obstore_client import ObstoreClient

    client = over_plain_http(key, requests) if requests.client == "auto" else None
    return client or ObstoreClient(key, requests)


@lru_cache(maxsize=256)
def _uploads_of(scheme: str, container: str, requests: Requests) -> uploads.Uploads:
    from tracekit.storage import sdk_uploads

    key = Key(scheme, container, "")
    return sdk_uploads.AzureUploads(key, requests) if scheme == "az" else sdk_uploads.S3Uploads(key, requests)


def _refusal(key: Key, error: StoreError) -> TracekitError:
    whole = f"{key.scheme}://{key.container}"
    if error.code in _NO_CONTAINER:
        return CannotRunError(f"there is no bucket or container {whole}", "make it, or --remap to one that is there")
    if error.errno in _FORBIDDEN:
        return CannotRunError(
            f"{whole} may not be read with these credentials ({error.strerror})",
            "see docs/howto/object-stores.md for where they come from",
        )
    if error.errno in _UNREACHABLE:
        return CannotRunError(
            f"{whole} cannot be reached: {error.strerror}", "check the endpoint; it comes from the environment"
        )
    return CannotRunError(f"{whole} cannot be asked: {error.strerror}")
