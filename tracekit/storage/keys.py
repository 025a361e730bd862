"""Objects by URI: what `s3://bucket/key` and `az://container/blob` name, and what can go wrong with a request for one."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from tracekit.errors import InputError
from tracekit.uri import scheme_of

_CAUSES = {
    errno.ECONNREFUSED: "nothing answers there",
    errno.ECONNRESET: "the connection broke off",
    errno.ETIMEDOUT: "no answer within the timeout",
}


@dataclass(frozen=True)
class Key:
    """An object, or with an empty or prefixing `name` a part of its container.

    Args:
        scheme: `s3` or `az`.
        container: The bucket or container.
        name: The key, as it is: keys are not percent-encoded in these URIs.
    """

    scheme: str
    container: str
    name: str

    @classmethod
    def of(cls, uri: str) -> Key:
        """What a URI names.

        Raises:
            UnknownSchemeError: If nobody owns the scheme.
            InputError: If the URI is local, or names no container.
        """
        scheme = scheme_of(uri)
        if scheme.local:
            raise InputError(f"{uri!r} is a local file", "objects are s3://bucket/key or az://container/blob")
        container, _, name = uri.partition("://")[2].partition("/")
        if not container:
            raise InputError(f"{uri!r} names no container", f"write {scheme.name}://container/name")
        return cls(scheme.name, container, name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.container}/{self.name}"


class StoreError(OSError):
    """A request that failed. `errno` is the HTTP status where the server answered, else an errno.

    Nothing of the request stands in its text: signatures and tokens travel in URLs.

    Args:
        number: HTTP status (300 and above) or errno.
        code: The server's own name for it, such as `SlowDown`; may be empty.
    """

    def __init__(self, number: int, code: str = "") -> None:
        text = f"HTTP {number}" if is_status(number) else _CAUSES.get(number, os.strerror(number))
        super().__init__(number, f"{text} {code}".rstrip())
        self.code = code


def is_status(number: int) -> bool:
    """Whether an error number of an op is an HTTP status; errno values end far below."""
    return number >= 300  # the first status that is no success


def error_name(number: int) -> str:
    """What stands in a trace's `err`: the HTTP status, or the errno's name."""
    return str(number) if is_status(number) else errno.errorcode.get(number, str(number))
