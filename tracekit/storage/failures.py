"""Kinds of failed requests: what distinguishes them beyond the HTTP status or errno, and which of them may pass.

One number holds both: the status or errno, and thousands for a kind that it does not name by itself. So it fits where an
errno does, and the trace's `err` stays what the server or the system said.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

# Kinds that no status or errno has for its own, in the order of their thousands.
_NAMED = (
    "short body", "slow first byte", "stalled body", "unresolved name", "TLS", "clock skew", "bucket gone", "credentials",
    "range ignored",
)  # fmt: skip
SHORT_BODY, SLOW_FIRST_BYTE, STALLED_BODY, UNRESOLVED_NAME, TLS, CLOCK_SKEW, BUCKET_GONE, CREDENTIALS, RANGE_IGNORED = (
    _NAMED
)
_THOUSAND = 1000
_STATUS = 300  # the first status that is no success; errno values end far below
# What S3 and Azure call them. A clock that is wrong is refused like a wrong key, but by its own name (S3) or text (Azure).
_CODES = {
    "NoSuchBucket": BUCKET_GONE, "ContainerNotFound": BUCKET_GONE, "RequestTimeTooSkewed": CLOCK_SKEW,
    "RequestExpired": CLOCK_SKEW, "InvalidAccessKeyId": CREDENTIALS, "SignatureDoesNotMatch": CREDENTIALS,
    "ExpiredToken": CREDENTIALS, "InvalidToken": CREDENTIALS, "AuthenticationFailed": CREDENTIALS,
    "AuthorizationFailure": CREDENTIALS, "InvalidAuthenticationInfo": CREDENTIALS,
}  # fmt: skip
_BY_NUMBER = {
    401: CREDENTIALS, 403: "forbidden", 404: "not found", 409: "conflict", 412: "conflict", 416: "range", 429: "throttled",
    503: "throttled", errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
}  # fmt: skip
_SERVER_ERRORS = range(500, 600)
THROTTLED = "throttled"
_MAY_PASS = frozenset(
    (408, 425, 429, 500, 502, 503, 504, errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH)
)  # fmt: skip


def number_of(number: int, kind: str = "") -> int:
    """A status or errno and a kind in one number; the kind is dropped where the number says it."""
    return number + _THOUSAND * (_NAMED.index(kind) + 1) if kind in _NAMED else number


def said(number: int) -> int:
    """The status or errno in it."""
    return number % _THOUSAND


def kind_of(number: int) -> str:
    """What kind of failure it is, in a word or two; an errno of a file by its name."""
    if number >= _THOUSAND:
        return _NAMED[number // _THOUSAND - 1]
    if number in _SERVER_ERRORS and number not in _BY_NUMBER:
        return "server error"
    return _BY_NUMBER.get(number) or error_name(number)


def kind_of_code(code: str) -> str:
    """The kind that a server's own name for a failure stands for; empty where the status says enough."""
    return _CODES.get(code, "")


def may_pass(number: int) -> bool:
    """Whether the same request may succeed a little later: throttling, trouble of the server or of the connection."""
    return said(number) in _MAY_PASS


def is_status(number: int) -> bool:
    """Whether it is an HTTP status."""
    return said(number) >= _STATUS


def error_name(number: int) -> str:
    """What stands in a trace's `err`: the HTTP status, or the errno's name."""
    number = said(number)
    return str(number) if number >= _STATUS else errno.errorcode.get(number, str(number))


def error_number(error: OSError) -> int:
    """The number of a failed op: a store's with its kind, any other's errno."""
    return int(getattr(error, "number", 0) or error.errno or errno.EIO)


def throttles(kinds: Iterable[tuple[str, int]]) -> int:
    """How many of these (kind, count) are a store's request to slow down."""
    return sum(count for kind, count in kinds if kind == THROTTLED)
