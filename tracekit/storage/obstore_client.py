"""Requests through obstore: a Rust client that does not hold the interpreter lock while a request is under way."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from time import monotonic_ns
from typing import Any, TypeVar

from tracekit.errors import CannotRunError, TracekitError
from tracekit.storage import failures
from tracekit.storage.keys import Key, StoreError
from tracekit.storage.store_settings import Requests, azure_settings, environment, s3_keys, s3_settings

_STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w{1,64})</Code>")
# What hyper and reqwest call it, from the innermost kind outwards.
_KINDS = {
    "Timeout": errno.ETIMEDOUT, "TimedOut": errno.ETIMEDOUT, "ConnectionRefused": errno.ECONNREFUSED,
    "ConnectionReset": errno.ECONNRESET, "UnexpectedEof": errno.ECONNRESET, "Interrupted": errno.ECONNRESET,
    "Connect": errno.ECONNREFUSED,
}  # fmt: skip
_KIND = re.compile(r"kind: (\w+)")
_LISTED = 1000
# Larger bodies are let go in pieces: each thread's part of the heap would keep room for a whole one.
_PIECE = 1 << 20
# And such as are copied, in smaller ones: a piece is there twice while it is made.
_COPIED = 256 << 10
# How rustls and the resolver say that there is no connection to speak of.
_TLS = re.compile(
    r"InvalidCertificate|InvalidMessage|AlertReceived|PeerIncompatible|PeerMisbehaved|NoCertificatesPresented"
)
_UNRESOLVED = "dns error"
# It does not read on then.
_WHOLE = "NotPartial"
T = TypeVar("T")


class ObstoreClient:
    """One container.

    Args:
        key: Names the container.
        requests: Timeouts.
    """

    name = "obstore"

    def __init__(self, key: Key, requests: Requests) -> None:
        import obstore

        self._api = obstore
        self._store: Any = _store(key.scheme, key.container, requests)

    def read(self, name: str, offset: int, length: int, into: memoryview) -> int:
        """One ranged GET into memory; the number of bytes that came.

        Raises:
            StoreError: What the server or the connection said.
        """
        if length <= _COPIED:
            body, _ = self._get(name, offset, length)
            return _copied([body], into)
        # A large body as a whole would be in memory two times more: as it came, and in one piece.
        return self._streamed(name, offset, length, _COPIED, lambda pieces: _copied(pieces, into))[0]

    def skim(self, name: str, offset: int, length: int) -> tuple[int, int]:
        """The same, and the body is let go: the number of bytes, and when the answer began (errors: see `read`)."""
        if length <= _PIECE:
            body, first_byte = self._get(name, offset, length)
            return len(body), first_byte
        return self._streamed(name, offset, length, _PIECE, lambda pieces: sum(map(len, pieces)))

    def _streamed(
        self, name: str, offset: int, length: int, piece: int, taken: Callable[[Iterable[Any]], int]
    ) -> tuple[int, int]:
        first_byte = 0
        try:
            answer = self._api.get(self._store, name, options={"range": (offset, offset + length)})
            first_byte = monotonic_ns()
            return taken(answer.stream(min_chunk_size=piece)), first_byte
        except Exception as error:  # its classes say less than its text
            raise _translated(error, answered=bool(first_byte)) from None

    def _get(self, name: str, offset: int, length: int) -> tuple[Any, int]:
        first_byte = 0
        try:
            answer = self._api.get(self._store, name, options={"range": (offset, offset + length)})
            first_byte = monotonic_ns()
            return answer.bytes(), first_byte
        except Exception as error:  # its classes say less than its text
            raise _translated(error, answered=bool(first_byte)) from None

    def size(self, name: str) -> int:
        """The size of an object in bytes, by HEAD (errors: see `read`)."""
        return int(_asked(lambda: self._api.head(self._store, name))["size"])

    def list(self, prefix: str) -> int:
        """How many objects and common prefixes there are right below a prefix (errors: see `read`)."""
        found = _asked(lambda: self._api.list_with_delimiter(self._store, prefix or None))
        return len(found["objects"]) + len(found["common_prefixes"])

    def walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of every object below a prefix (errors: see `read`)."""
        pages = iter(self._api.list(self._store, folder or None, chunk_size=_LISTED))
        while page := _asked(lambda: next(pages, None)):
            yield from ((entry["path"], int(entry["size"])) for entry in page)

    def write(self, name: str, body: bytes | memoryview, *, create: bool = False) -> None:
        """One PUT; with `create` it must not exist yet (errors: see `read`)."""
        words: dict[str, Any] = {"mode": "create"} if create else {}
        # Else obstore would send it in parts of 5 MiB.
        _asked(lambda: self._api.put(self._store, name, body, use_multipart=False, **words))

    def delete(self, name: str) -> None:
        """Delete an object (errors: see `read`)."""
        _asked(lambda: self._api.delete(self._store, name))


def _copied(pieces: Iterable[Any], into: memoryview) -> int:
    """Bodies one behind the other into memory; how many bytes."""
    at = 0
    for piece in pieces:
        into[at : at + len(piece)] = memoryview(piece).cast("B")
        at += len(piece)
    return at


def _asked(request: Callable[[], T]) -> T:
    try:
        return request()
    except Exception as error:  # its classes say less than its text
        raise _translated(error) from None


def _translated(error: Exception, *, answered: bool = False) -> StoreError:
    """What a request failed of; `answered`: its headers had come."""
    text = str(error)
    status, code = _STATUS.search(text), CODE.search(text)
    if status is not None:
        return StoreError(int(status[1]), code[1] if code else "")
    if isinstance(error, FileNotFoundError):
        return StoreError(404)
    if _WHOLE in text:
        return StoreError(errno.EPROTO, kind=failures.RANGE_IGNORED)
    if _UNRESOLVED in text:
        return StoreError(errno.EHOSTUNREACH, kind=failures.UNRESOLVED_NAME)
    if _TLS.search(text):
        return StoreError(errno.EPROTO, kind=failures.TLS)
    kinds = _KIND.findall(text)
    number = next((_KINDS[kind] for kind in reversed(kinds) if kind in _KINDS), errno.EIO)
    if number == errno.ETIMEDOUT and "Connect" not in kinds:
        return StoreError(number, kind=failures.STALLED_BODY if answered else failures.SLOW_FIRST_BYTE)
    if number == errno.EIO and "IncompleteMessage" in text:  # closed before the answer
        return StoreError(errno.ECONNRESET)
    return StoreError(number, kind=failures.SHORT_BODY if "IncompleteBody" in text else "")


def _store(scheme: str, container: str, requests: Requests) -> Any:
    try:
        return _made(scheme, container, requests)
    except TracekitError:
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise CannotRunError(
            f"{scheme}://{container} cannot be set up: {first}", "see docs/howto on object stores"
        ) from None


@lru_cache(maxsize=64)
def _made(scheme: str, container: str, requests: Requests) -> Any:
    from obstore.store import AzureStore, S3Store

    env = environment()
    client: dict[str, Any] = {
        "allow_http": True,
        "timeout": f"{requests.timeout_s}s",
        "connect_timeout": f"{requests.connect_timeout_s}s",
    }
    # A retry would be a request that nobody asked for and no trace shows.
    once: dict[str, Any] = {"max_retries": 0}
    if scheme == "az":
        account = azure_settings(env)
        words: dict[str, Any] = {"account_name": account.account, "endpoint": account.url}
        words |= {"account_key": account.key} if account.key else {}
        words |= {"sas_key": account.sas} if account.sas and not account.key else {}
        words |= {"skip_signature": True} if account.anonymous else {}
        return AzureStore(container, client_options=client, retry_config=once, **words)  # type: ignore[arg-type]
    place = s3_settings(env)
    words = {name: value for name, value in (("endpoint", place.endpoint), ("region", place.region)) if value}
    if place.ca_bundle:
        with open(place.ca_bundle, "rb") as file:
            client["root_certificate"] = file.read()
    words |= {"skip_signature": True} if place.anonymous else _s3_credentials(env, container)
    return S3Store(container, client_options=client, retry_config=once, **words)  # type: ignore[arg-type]


def _s3_credentials(env: dict[str, str], container: str) -> dict[str, Any]:
    """Keys from the environment or `.env`; else what boto3 finds (profiles, roles), where it is installed."""
    keys = s3_keys(env)
    if "access_key_id" in keys:
        return dict(keys)
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    except ImportError:
        return {}
    except ValueError:
        raise CannotRunError(
            f"no S3 credentials were found for s3://{container}",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_SKIP_SIGNATURE=true",
        ) from None
