"""Objects by URI: what `s3://bucket/key` and `az://container/blob` name, and what can go wrong with a request for one."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from tracekit.errors import InputError
from tracekit.storage import failures
from tracekit.uri import scheme_of

_CAUSES = {
    errno.ECONNREFUSED: "nothing answers there",
    errno.ECONNRESET: "the connection broke off",
    errno.ETIMEDOUT: "no answer within the timeout",
}
_KINDS = {
    failures.SHORT_BODY: "the body broke off",
    failures.STALLED_BODY: "the body did not come within the timeout",
    failures.UNRESOLVED_NAME: "its name cannot be resolved",
    failures.TLS: "no TLS connection: its certificate does not fit, or it does not speak TLS",
    failures.RANGE_IGNORED: "the server answers with the whole object where a range is asked for",
    failures.CLOCK_SKEW: "this machine's clock and the server's differ too much",
}

_CREDENTIALS = "see docs/howto/object-stores.md for where credentials come from"
_ENDPOINT = "check the endpoint; it comes from the environment"
_WAYS_OUT = {
    failures.CREDENTIALS: _CREDENTIALS, "forbidden": _CREDENTIALS, failures.BUCKET_GONE: "make the bucket or container, or name another",
    "refused": _ENDPOINT, failures.UNRESOLVED_NAME: _ENDPOINT, failures.TLS: _ENDPOINT, failures.CLOCK_SKEW: "set this machine's clock",
}  # fmt: skip

# Between slashes: what obstore's paths leave out, or do not have.
_NO_SEGMENTS = ("", ".", "..")


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
    """A request that failed. `errno` is the HTTP status where the server answered, else an errno; `kind` says more.

    Nothing of the request stands in its text: signatures and tokens travel in URLs.

    Args:
        said: HTTP status (300 and above) or errno.
        code: The server's own name for it, such as `SlowDown`; may be empty.
        kind: One of `tracekit.storage.failures`, where neither of them says it.
        retry_after_s: How long the server asks to be left alone; None where it does not, or the client does not tell.
    """

    def __init__(self, said: int, code: str = "", kind: str = "", retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        self.code = code
        self.number = failures.number_of(said, kind or failures.kind_of_code(code))
        self.kind = failures.kind_of(self.number)
        text = f"HTTP {said}" if failures.is_status(said) else _CAUSES.get(said, os.strerror(said))
        if self.kind in _KINDS:
            text = f"{_KINDS[self.kind]} (HTTP {said})" if failures.is_status(said) else _KINDS[self.kind]
        # To a HEAD there is no name in the answer, and clients put the status there.
        super().__init__(said, f"{text} {code}".rstrip() if code != str(said) else text)


def way_out_of(error: OSError, otherwise: str) -> str:
    """What to do about a request that failed; `otherwise` where the store's answer does not say it, and for files."""
    kind = error.kind if isinstance(error, StoreError) else ""
    return _WAYS_OUT.get(kind, otherwise)


def can_name(name: str) -> bool:
    """Whether obstore asks for exactly this key: a slash at either end or two in a row, `.`, `..` and control characters it cannot say."""
    return not name or (name.isprintable() and not any(part in _NO_SEGMENTS for part in name.split("/")))
