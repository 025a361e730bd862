"""Calls of clients whose requests cannot be seen, because they are made by Rust or C++: one op for each call.

What a function does is told by a plan, a generator of one step: it is given the call's arguments, yields the requests that the
call stands for, gets the result, and returns what the program gets in its place, or None where that is the result itself.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_log import ObjectLog, Request

    _Plan = Generator[list[Request], Any, Any]

_PLACES = ("s3://", "az://")
_STATUSES = {
    "NotFoundError": "404", "ObjectNotFoundError": "404", "PermissionDeniedError": "403", "UnauthenticatedError": "401",
    "AlreadyExistsError": "409", "PreconditionError": "412", "NotModifiedError": "304",
    "NotSupportedError": "ENOTSUP",
}  # fmt: skip
# As Arrow and s3dlio write them: "AWS Error ACCESS_DENIED during HeadObject", "service error: NoSuchKey".
_AWS = {
    "ACCESS_DENIED": "403", "INVALID_ACCESS_KEY_ID": "403", "SIGNATURE_DOES_NOT_MATCH": "403", "NO_SUCH_KEY": "404",
    "NO_SUCH_BUCKET": "404", "RESOURCE_NOT_FOUND": "404", "SLOW_DOWN": "503", "SERVICE_UNAVAILABLE": "503",
    "INTERNAL_FAILURE": "500", "NoSuchKey": "404", "NoSuchBucket": "404", "NotFound": "404", "InvalidRange": "416",
    "AccessDenied": "403", "SignatureDoesNotMatch": "403", "InvalidAccessKeyId": "403", "SlowDown": "503",
    "ServiceUnavailable": "503", "InternalError": "500",
}  # fmt: skip
# What clients call their failures, in the order in which they are believed: a time-out breaks connections too.
_CAUSES = (
    ("ETIMEDOUT", ("timed out", "timedout", "timeout")),
    ("ECONNREFUSED", ("connectionrefused", "connection refused", "couldn't connect", "could not connect")),
    ("ECONNRESET", ("connectionreset", "connection reset", "unexpectedeof", "incompletemessage", "connection closed")),
)
_STATUS = r"\b(?:status code:?|status:(?: code)?|HTTP(?: status)?(?: code)?:?) (\d{3})\b"
_MOST_TEXT = 20_000


class Calls:
    """Makes ops of calls.

    Args:
        log: Where they go.
        name_of: `object_log.name_of`.
        kinds: The module `object_bodies`.
        stand_in: `callables.stand_in`.
    """

    def __init__(
        self, log: ObjectLog, name_of: Callable[[BaseException], str], kinds: Any = None, stand_in: Any = None
    ) -> None:
        self.log = log
        self.kinds = kinds
        self.stand_in = stand_in
        self._name_of = name_of

    def begin(self, op: str, uri: str | None, offset: int | None = None, length: int = 0) -> list[Request]:
        """The request that a call for an object stands for; none where the URI is of no object store."""
        if uri is None or not uri.startswith(_PLACES):
            return []
        return [self.log.begin(uri[:2], op, uri, offset, length, attempt=None, level="logical")]

    def ranged(self, uri: str | None, offset: int | None, length: int) -> list[Request]:
        """A read that a call asks for by its place."""
        requests = self.begin("read", uri, offset, length)
        for request in requests:
            request.note("range")
        return requests

    def planned(self, plan: Callable[..., _Plan], args: Any, words: Any) -> Call | None:
        """The call with these arguments; None where it is none for an object, or not understood."""
        try:
            steps = plan(*args, **words)
            requests = next(steps)
        except Exception:  # a wrong call, which the client will refuse, or one of a newer version
            return None
        return Call(self, steps, requests) if requests else None

    def recorded(self, original: Any, plan: Callable[..., _Plan], *, replaces: bool = False) -> Callable[..., Any]:
        """A function in place of `original`, which gives a result or a future of one, whose calls are ops.

        Args:
            original: The client's.
            plan: What a call stands for.
            replaces: Whether the plan puts something in the place of results.
        """

        def call(*args: Any, **words: Any) -> Any:
            return self.run(original, plan, args, words, replaces=replaces)

        return call

    def run(self, original: Any, plan: Callable[..., _Plan], args: Any, words: Any, *, replaces: bool = False) -> Any:
        """One such call."""
        planned = self.planned(plan, args, words)
        if planned is None:
            return original(*args, **words)
        try:
            result = original(*args, **words)
        except BaseException as error:
            planned.failed(error)
            raise
        if hasattr(result, "add_done_callback"):
            return planned.follow(result, replaces=replaces)
        return planned.waited_for(result) if hasattr(result, "__await__") else planned.finished(result)

    def fail(self, requests: list[Request], error: BaseException) -> None:
        """These requests ended with an error of the client's."""
        try:
            name, attempts = reason_of(error, self._name_of)
        except Exception:  # the program's exception may carry anything
            name, attempts = "EIO", None
        for request in requests:
            request.failed_with(name, attempts)


class Call:
    """One call on its way: the steps of its plan and its requests."""

    __slots__ = ("_calls", "_requests", "_steps")

    def __init__(self, calls: Calls, steps: _Plan, requests: list[Request]) -> None:
        self._calls = calls
        self._steps = steps
        self._requests = requests

    def failed(self, error: BaseException) -> None:
        """The client raised this; the end of an iteration is no request."""
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            for request in self._requests:
                request.drop()
        self._calls.fail(self._requests, error)

    def finished(self, result: Any) -> Any:
        """The client returned this; what the program gets."""
        try:
            self._steps.send(result)
        except StopIteration as end:
            return result if end.value is None else end.value
        except Exception:
            for request in self._requests:
                request.unseen()
        return result

    def follow(self, future: Any, *, replaces: bool = False) -> Any:
        """Finish when a future is done. The program gets that future, or one that takes its result from it."""
        if not replaces:
            future.add_done_callback(self._settle)
            return future
        given = future.get_loop().create_future()

        def settled(done: Any) -> None:
            result = self._settle(done)
            if given.done():
                return
            if done.cancelled():
                given.cancel()
            elif (error := done.exception()) is not None:
                given.set_exception(error)
            else:
                given.set_result(result)

        future.add_done_callback(settled)
        given.add_done_callback(lambda done: done.cancelled() and future.cancel())
        return given

    async def waited_for(self, awaitable: Any) -> Any:
        """Finish when something else is done that can be awaited."""
        try:
            result = await awaitable
        except BaseException as error:
            self.failed(error)
            raise
        return self.finished(result)

    def _settle(self, done: Any) -> Any:
        if done.cancelled():
            self._calls.fail(self._requests, _CancelledError())
            return None
        # Not `exception()`, which would tell asyncio that the program had looked at it.
        error = done._exception
        if error is None:
            return self.finished(done.result())
        self.failed(error)
        return None


class _CancelledError(Exception):
    """A request that the program gave up."""

    errno = 125


def reason_of(error: BaseException, name_of: Callable[[BaseException], str]) -> tuple[str, int | None]:
    """(HTTP status or the errno's name, attempts made) as a client's exception tells them; None where it does not."""
    import re

    text = str(error)[:_MOST_TEXT]
    tries = re.search(r"[Aa]fter (\d+) (retries|attempts)", text)
    attempts = int(tries[1]) + (tries[2] == "retries") if tries else None
    if status := re.search(_STATUS, text, re.IGNORECASE):
        return status[1], attempts
    if (named := re.search(r"\b(?:AWS Error|service error:) (\w+)", text)) and named[1] in _AWS:
        return _AWS[named[1]], attempts
    if type(error).__name__ in _STATUSES or isinstance(error, FileNotFoundError):
        return _STATUSES.get(type(error).__name__, "404"), attempts
    if isinstance(error, _CancelledError):
        return "ECANCELED", attempts
    name = name_of(error)
    lower = text.lower()
    if name == "EIO":
        name = next((code for code, words in _CAUSES if any(word in lower for word in words)), "EIO")
    return name, attempts
