"""Requests through the clients most programs use, boto3 and azure-storage-blob: slower, and what a recording went through."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from time import monotonic_ns
from typing import Any, TypeVar

from tracekit.errors import CannotRunError
from tracekit.storage import failures
from tracekit.storage.keys import Key, StoreError
from tracekit.storage.store_settings import Requests, azure_settings, environment, s3_keys, s3_settings

# As many as a replay has streams, within reason.
_CONNECTIONS = 64
_FAILED, _PARTIAL = 300, 206
# Azure's SDK divides what is larger into several requests; no PUT of a blob may be larger than this.
_WHOLE = 5000 << 20
_UNRESOLVED = re.compile(r"Failed to resolve|NameResolution|Name or service not known|getaddrinfo")
_TLS = re.compile(r"\[SSL|SSLError|CERTIFICATE_VERIFY_FAILED|certificate verify")
T = TypeVar("T")
Read = Callable[..., bytes]
_PIECE = 1 << 20


def _whole(read: Read) -> bytes:
    """A body in memory."""
    return bytes(read())


def _count(read: Read) -> int:
    """How long a body is that is let go."""
    return sum(map(len, iter(lambda: read(_PIECE), b"")))


class S3SdkClient:
    """One bucket, by boto3.

    Args:
        key: Names the bucket.
        requests: Timeouts.
    """

    name = "boto3"

    def __init__(self, key: Key, requests: Requests) -> None:
        self._bucket = key.container
        self._client: Any = needed("boto3", lambda: s3_client(requests))

    def read(self, name: str, offset: int, length: int, into: memoryview) -> int:
        """One ranged GET into memory; the number of bytes that came (errors: StoreError)."""
        body, _ = self._get(name, offset, length, _whole)
        into[: len(body)] = body
        return len(body)

    def skim(self, name: str, offset: int, length: int) -> tuple[int, int]:
        """The same, and the body is let go: the number of bytes, and when the answer began (errors: StoreError)."""
        return self._get(name, offset, length, _count)

    def _get(self, name: str, offset: int, length: int, taken: Callable[[Read], T]) -> tuple[T, int]:
        span = f"bytes={offset}-{offset + length - 1}"
        answer = asked(lambda: self._client.get_object(Bucket=self._bucket, Key=name, Range=span))
        first_byte = monotonic_ns()
        if answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL:
            answer["Body"].close()
            raise StoreError(errno.EPROTO, kind=failures.RANGE_IGNORED)
        return asked(lambda: taken(answer["Body"].read), answered=True), first_byte

    def size(self, name: str) -> int:
        """The size of an object in bytes, by HEAD (errors: StoreError)."""
        return int(asked(lambda: self._client.head_object(Bucket=self._bucket, Key=name))["ContentLength"])

    def list(self, prefix: str) -> int:
        """How many objects and common prefixes there are right below a prefix (errors: StoreError)."""
        prefix = _below(prefix)

        def walk() -> int:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            return sum(len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ())) for page in pages)

        return asked(walk)

    def walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of every object below a prefix (errors: StoreError)."""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_below(folder)))
        while page := asked(lambda: next(pages, None)):
            yield from ((entry["Key"], int(entry["Size"])) for entry in page.get("Contents", ()))

    def write(self, name: str, body: bytes | memoryview, *, create: bool = False) -> None:
        """One PUT of the whole; with `create` it must not exist yet (errors: StoreError)."""
        words = {"IfNoneMatch": "*"} if create else {}
        asked(lambda: self._client.put_object(Bucket=self._bucket, Key=name, Body=bytes(body), **words))

    def delete(self, name: str) -> None:
        """Delete an object (errors: StoreError)."""
        asked(lambda: self._client.delete_object(Bucket=self._bucket, Key=name))


class AzureSdkClient:
    """One container, by azure-storage-blob.

    Args:
        key: Names the container.
        requests: Timeouts.
    """

    name = "azure-storage-blob"

    def __init__(self, key: Key, requests: Requests) -> None:
        self._container: Any = needed("azure-storage-blob", lambda: azure_container(key.container, requests))

    def read(self, name: str, offset: int, length: int, into: memoryview) -> int:
        """One ranged GET into memory; the number of bytes that came (errors: StoreError)."""
        body, _ = self._get(name, offset, length, _whole)
        into[: len(body)] = body
        return len(body)

    def skim(self, name: str, offset: int, length: int) -> tuple[int, int]:
        """The same, and the body is let go: the number of bytes, and when the answer began (errors: StoreError)."""
        return self._get(name, offset, length, _count)

    def _get(self, name: str, offset: int, length: int, taken: Callable[[Read], T]) -> tuple[T, int]:
        came: list[tuple[T, int]] = []

        def answered(response: Any) -> None:
            # The SDK would ask again, twice and unseen, for a body that breaks off: it is read before the SDK gets to it.
            if response.http_response.status_code < _FAILED:
                first_byte, raw = monotonic_ns(), response.http_response.internal_response.raw
                if response.http_response.status_code != _PARTIAL:
                    raw.close()
                    raise StoreError(errno.EPROTO, kind=failures.RANGE_IGNORED)
                came.append((asked(lambda: taken(partial(raw.read, decode_content=False)), answered=True), first_byte))

        asked(lambda: self._container.download_blob(name, offset=offset, length=length, raw_response_hook=answered))
        return came[0]

    def size(self, name: str) -> int:
        """The size of a blob in bytes (errors: StoreError)."""
        return int(asked(lambda: self._container.get_blob_client(name).get_blob_properties()).size)

    def list(self, prefix: str) -> int:
        """How many blobs and common prefixes there are right below a prefix (errors: StoreError)."""
        prefix = _below(prefix)
        return asked(lambda: sum(1 for _ in self._container.walk_blobs(prefix or None)))

    def walk(self, folder: str) -> Iterator[tuple[str, int]]:
        """Name and bytes of every blob below a prefix (errors: StoreError)."""
        blobs = iter(self._container.list_blobs(_below(folder) or None))
        while blob := asked(lambda: next(blobs, None)):
            yield blob.name, int(blob.size)

    def write(self, name: str, body: bytes | memoryview, *, create: bool = False) -> None:
        """One blob; with `create` it must not exist yet (errors: StoreError)."""
        asked(lambda: self._container.upload_blob(name, bytes(body), overwrite=not create))

    def delete(self, name: str) -> None:
        """Delete a blob (errors: StoreError)."""
        asked(lambda: self._container.delete_blob(name))


def _below(prefix: str) -> str:
    """What the names right below a prefix begin with."""
    return f"{prefix.rstrip('/')}/" if prefix else ""


def needed(package: str, make: Callable[[], T], why: str = "--client sdk needs") -> T:
    """What is made with a package that may be missing.

    Raises:
        CannotRunError: If it is, or what is to be made cannot be set up.
    """
    try:
        return make()
    except ImportError:
        way_out = f"pip install 'tracekit-io[objects]', or pip install {package}"
        raise CannotRunError(f"{why} {package}, which is not installed", way_out) from None
    except CannotRunError:
        raise
    except Exception as error:  # a profile that is not there, a malformed endpoint: the SDK's own sentence says it
        raise CannotRunError(f"{package} cannot be set up: {error}".partition("\n")[0]) from None


@lru_cache(maxsize=4)
def s3_client(requests: Requests) -> Any:
    """boto3's client, as the environment sets it up; it never retries."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    env = environment()
    place = s3_settings(env)
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=requests.connect_timeout_s,
        read_timeout=requests.timeout_s,
        max_pool_connections=_CONNECTIONS,
        **({"signature_version": UNSIGNED} if place.anonymous else {}),
    )
    words = {
        name: value
        for name, value in (
            ("endpoint_url", place.endpoint),
            ("region_name", place.region),
            ("verify", place.ca_bundle),
        )
        if value
    }
    words |= {f"aws_{name}": value for name, value in s3_keys(env).items()}
    return boto3.session.Session().client("s3", config=config, **words)


def azure_container(container: str, requests: Requests) -> Any:
    """Azure's client for a container; it never retries."""
    from azure.storage.blob import ContainerClient

    account = azure_settings(environment())
    credential: Any = account.key or account.sas or None
    if account.key:
        credential = {"account_name": account.account, "account_key": account.key}
    return ContainerClient(
        account.url, container, credential, retry_total=0, max_single_get_size=_WHOLE, max_single_put_size=_WHOLE,
        connection_timeout=requests.connect_timeout_s, read_timeout=requests.timeout_s,
    )  # fmt: skip


def asked(request: Callable[[], T], *, answered: bool = False) -> T:
    """What it returns; `answered`: its headers have come already (errors: StoreError)."""
    try:
        return request()
    except StoreError:
        raise
    except Exception as error:  # dozens of classes; what counts is in three attributes
        raise _translated(error, answered=answered) from None


def _translated(error: Exception, *, answered: bool) -> StoreError:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore.exceptions.ClientError
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
        code = str(answer.get("Error", {}).get("Code", ""))
        return StoreError(int(status or errno.EIO), code, retry_after_s=seconds_of(headers.get("retry-after")))
    status = getattr(error, "status_code", None)
    if status and int(status) >= _FAILED:  # azure.core.exceptions.HttpResponseError
        code, headers = str(getattr(error, "error_code", None) or ""), getattr(answer, "headers", {})
        return StoreError(int(status), code, retry_after_s=seconds_of(headers.get("Retry-After")))
    return _broken(type(error).__name__, f"{error!s} {getattr(error, 'kwargs', '')}", answered=answered)


def seconds_of(header: str | None) -> float | None:
    """What a Retry-After asks for (RFC 9110, 10.2.3): seconds, or a date; None for nothing, and for what is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _broken(name: str, text: str, *, answered: bool) -> StoreError:
    """What became of a request that no server refused, by the name and text of its exception."""
    if "Credentials" in name:  # none were found, or half of them
        return StoreError(401, name)
    if "Timeout" in name or "timed out" in text:
        late = failures.STALLED_BODY if answered else failures.SLOW_FIRST_BYTE
        return StoreError(errno.ETIMEDOUT, kind="" if "Connect" in name else late)
    if _UNRESOLVED.search(text):
        return StoreError(errno.EHOSTUNREACH, kind=failures.UNRESOLVED_NAME)
    if name == "SSLError" or _TLS.search(text):
        return StoreError(errno.EPROTO, kind=failures.TLS)
    if name in ("EndpointConnectionError", "ServiceRequestError", "ProxyConnectionError"):
        return StoreError(errno.ECONNREFUSED)
    if "IncompleteRead" in name or "IncompleteRead" in text:
        return StoreError(errno.ECONNRESET, kind=failures.SHORT_BODY)
    return StoreError(errno.ECONNRESET if "Connection" in name or "Response" in name else errno.EIO)
