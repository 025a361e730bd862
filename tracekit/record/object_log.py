"""Requests for objects as a program's own clients made them: one line each, written when its body was read or let go.

Runs inside the recorded program: standard library only. Nothing of a request is kept but what is named here: no header, no
signature, no query.
"""

from __future__ import annotations

import errno
import posix
from _thread import get_native_id
from _weakref import ref
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.spool import Spool

SUFFIX = ".requests"
_FIRST_FAILURE = 300
_DEPTH = 8


class ObjectLog:
    """The requests of one process.

    Args:
        spool: Says where the process's parts are and what the calling thread is at.
        encode: JSON of plain values.
    """

    def __init__(self, spool: Spool, encode: Callable[[Any], str]) -> None:
        self.spool = spool
        self._encode = encode
        self.watched: dict[int, Any] = {}

    def begin(self, layer: str, op: str, uri: str, offset: int | None, length: int, attempt: int = 1) -> Request:
        """A request is about to be sent."""
        return Request(self, {
            "op": op, "uri": uri, "offset": offset, "len": length, "layer": layer, "level": "wire", "attempts": attempt,
            "tid": get_native_id(), "at": list(self.spool.context.get()), "t0": monotonic_ns(),
        })  # fmt: skip

    def write(self, line: dict[str, Any]) -> None:
        """Append a finished request."""
        path = f"{self.spool.directory}/{self.spool.token}{SUFFIX}"
        if not self.spool.append(path, "\n" + self._encode(line) + "\n"):
            self.spool.lose()

    def finish(self) -> None:
        """The program ends: what is still open ends now."""
        for request, _ in list(self.watched.values()):
            request.done()


class Request:
    """One request on its way."""

    __slots__ = ("_line", "_log", "_pid", "answered", "expected", "got")

    def __init__(self, log: ObjectLog, line: dict[str, Any]) -> None:
        self._log = log
        self._line: dict[str, Any] | None = line
        self._pid = posix.getpid()
        self.answered = False
        self.got = 0
        self.expected = -1

    @property
    def op(self) -> str:
        """What it does."""
        return str(self._line["op"]) if self._line else ""

    def headers(self, status: int, length: Any, span: Any = None) -> None:
        """The answer's status and headers are there; its body may follow.

        Args:
            status: HTTP status.
            length: Content-Length as it stands there; None where it does not.
            span: Content-Range as it stands there.
        """
        line = self._line
        if line is None:
            return
        self.answered = True
        line["tf"] = monotonic_ns()
        self.expected = int(length) if length is not None and str(length).isdigit() else -1
        if status >= _FIRST_FAILURE:
            line["err"] = str(status)
        elif line["op"] == "read":
            # Without an end, or counted from the object's end, the answer says which bytes were meant.
            first = str(span or "").removeprefix("bytes ").partition("-")[0]
            if line["offset"] is None and first.isdigit():
                line["offset"] = int(first)
            if not line["len"]:
                line["len"] = max(self.expected, 0)

    def failed(self, error: BaseException) -> None:
        """No answer, or one that broke off."""
        if self._line is not None:
            self._line["err"] = name_of(error)
        self.done()

    def done(self) -> None:
        """It is over; a second call does nothing. What a forked child inherited is its parent's to tell."""
        line, self._line = self._line, None
        if line is None or self._pid != posix.getpid():
            return
        line["t1"] = monotonic_ns()
        if line["op"] == "read":
            line["ret"] = None if "err" in line and not self.got else self.got
        elif line["op"] == "write" and "err" not in line:
            line["ret"] = line["len"]
        self._log.write(line)

    def watch(self, raw: Any) -> None:
        """Follow a urllib3 response's body: `read` and `close` of this one object, as its own class has them, and counted."""
        if self.expected == 0 or getattr(raw, "closed", False):
            self.done()
            return
        here, kind, request, key, watched = ref(raw), type(raw), self, id(raw), self._log.watched

        def read(*args: Any, **words: Any) -> Any:
            response = here()
            try:
                data = kind.read(response, *args, **words)
            except BaseException as error:
                request.failed(error)
                watched.pop(key, None)
                raise
            request.got += len(data)
            if request.got >= request.expected >= 0 or (not data and _wanted(args, words)):
                request.done()
                watched.pop(key, None)
            return data

        def close() -> Any:
            request.done()
            watched.pop(key, None)
            return kind.close(here())

        def gone(_: Any) -> None:
            request.done()
            watched.pop(key, None)

        raw.read, raw.close = read, close
        watched[key] = (request, ref(raw, gone))


def _wanted(args: Any, words: Any) -> bool:
    """Whether a read asked for something: nothing in answer is the end then."""
    asked = args[0] if args else words.get("amt")
    return asked is None or int(asked) != 0


def name_of(error: BaseException) -> str:
    """The errno's name behind a client's exception: sought in what it was raised from and what it carries."""
    queue: list[Any] = [error]
    for _ in range(_DEPTH):
        if not queue:
            break
        one = queue.pop(0)
        name = type(one).__name__
        if "Timeout" in name or "TimedOut" in name:
            return "ETIMEDOUT"
        if isinstance(one, OSError) and one.errno is not None and one.errno in errno.errorcode:
            return errno.errorcode[one.errno]
        if "IncompleteRead" in name or "RemoteDisconnected" in name:
            return "ECONNRESET"
        if "NewConnection" in name or "NameResolution" in name:
            queue.append(one.__context__)
        carried = [*getattr(one, "args", ()), getattr(one, "kwargs", {}).get("error"), one.__cause__, one.__context__]
        queue += [other for other in carried if isinstance(other, BaseException)]
    return "EIO"


def span_of(text: Any) -> tuple[int | None, int]:
    """(offset, length) of a Range header; (0, 0) without one, where the whole is meant; None is counted from the end."""
    if not text:
        return 0, 0
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    first, _, last = str(text).partition("=")[2].partition(",")[0].partition("-")
    if not first.isdigit():
        return None, int(last) if last.isdigit() else 0
    return int(first), int(last) - int(first) + 1 if last.isdigit() else 0
