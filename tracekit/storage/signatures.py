"""The heads of ranged GETs, signed as S3 (Signature Version 4) and Azure (Shared Key) ask for it.

S3: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html; the range is no part of what is signed, so one signature
holds for every range of an object, for minutes. Azure: learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key, where
the range is.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from tracekit.storage.store_settings import AzureSettings

_NOTHING = sha256(b"").hexdigest()
_AZURE_VERSION = "2023-11-03"
# Servers refuse what was signed more than 15 minutes ago.
_FRESH_S = 60.0
_MOST_KEPT = 65_536


class Keys(NamedTuple):
    """An access key of S3; the token is empty where it has none."""

    access: str
    secret: str
    token: str = ""


class Place(NamedTuple):
    """Where plain HTTP goes: host, port, what stands in the Host header, the path in front of every key."""

    host: str
    port: int
    named: str
    path: str

    @classmethod
    def of(cls, endpoint: str, container: str) -> Place:
        """A container at an endpoint, its name in the path."""
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or 80
        return cls(
            host, port, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/{quote(container, safe='-._~$')}/"
        )

    def target(self, name: str) -> str:
        """The path of an object, percent-encoded once."""
        return self.path + quote(name, safe="-._~/")


class Heads(Protocol):
    """Makes the heads of requests for one container."""

    def of(self, name: str, offset: int, length: int) -> bytes:
        """The head of a GET of so many bytes."""


class S3Heads:
    """Heads for one bucket.

    Args:
        place: Where.
        region: For which region is signed.
        keys: Gives the key to sign with, asked again as signatures age; None is nobody's.
    """

    def __init__(self, place: Place, region: str, keys: Callable[[], Keys | None]) -> None:
        self._place, self._region, self._keys = place, region, keys
        self._kept: dict[str, tuple[float, bytes]] = {}

    def of(self, name: str, offset: int, length: int) -> bytes:
        """The head of a GET of so many bytes."""
        made, head = self._kept.get(name, (0.0, b""))
        now = time.monotonic()
        if not head or now - made > _FRESH_S:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            head = self.signed(name, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
            self._kept[name] = now, head
        return b"%sRange: bytes=%d-%d\r\n\r\n" % (head, offset, offset + length - 1)

    def signed(self, name: str, when: str) -> bytes:
        """The head up to the range."""
        target, keys = self._place.target(name), self._keys()
        head = f"GET {target} HTTP/1.1\r\nHost: {self._place.named}\r\nAccept: */*\r\n"
        if keys is None:
            return head.encode("ascii")
        headers = {"host": self._place.named, "x-amz-content-sha256": _NOTHING, "x-amz-date": when}
        headers |= {"x-amz-security-token": keys.token} if keys.token else {}
        said = "".join(f"{key}: {value}\r\n" for key, value in headers.items() if key != "host")
        return f"{head}{said}Authorization: {self._authorization(target, headers, when, keys)}\r\n".encode("ascii")

    def _authorization(self, target: str, headers: dict[str, str], when: str, keys: Keys) -> str:
        names = ";".join(headers)
        lines = "".join(f"{key}:{value}\n" for key, value in headers.items())
        asked = f"GET\n{target}\n\n{lines}\n{names}\n{_NOTHING}"
        scope = f"{when[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{when}\n{scope}\n{sha256(asked.encode()).hexdigest()}"
        signature = _code(_derived(keys.secret, scope), to_sign).hex()
        return f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}"


class AzureHeads:
    """Heads for one container.

    Args:
        place: Where.
        account: Who asks.
    """

    def __init__(self, place: Place, account: AzureSettings) -> None:
        self._place, self._account = place, account
        self._key = base64.b64decode(account.key) if account.key else b""
        self._query = f"?{account.sas.lstrip('?')}" if account.sas and not account.key else ""

    def of(self, name: str, offset: int, length: int) -> bytes:
        """The head of a GET of so many bytes."""
        return self.signed(name, offset, length, formatdate(usegmt=True))

    def signed(self, name: str, offset: int, length: int, when: str) -> bytes:
        """The same for a moment."""
        target = self._place.target(name)
        headers = {
            "x-ms-date": when,
            "x-ms-range": f"bytes={offset}-{offset + length - 1}",
            "x-ms-version": _AZURE_VERSION,
        }
        lines = "".join(f"{key}:{value}\n" for key, value in headers.items())
        # The eleven between method and these are headers that a plain GET has none of.
        to_sign = "GET\n" + "\n" * 11 + f"{lines}/{self._account.account}{target}"
        said = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        if self._key:
            signature = base64.b64encode(_code(self._key, to_sign)).decode()
            said += f"Authorization: SharedKey {self._account.account}:{signature}\r\n"
        head = f"GET {target}{self._query} HTTP/1.1\r\nHost: {self._place.named}\r\nAccept: */*\r\n{said}\r\n"
        return head.encode("ascii")


@lru_cache(maxsize=16)
def _derived(secret: str, scope: str) -> bytes:
    """The key that a secret becomes for a day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _code(key, part)
    return key


def _code(key: bytes, text: str) -> bytes:
    """HMAC-SHA256. Not `hmac.digest`: that lets go of the interpreter lock, and sixteen threads that sign took 120 instead of 20 µs each."""
    return hmac.new(key, text.encode(), "sha256").digest()
