"""Requests for objects as a program's own clients made them: one line each, written when its body was read or let go.

Runs inside the recorded program: standard library only. Nothing of a request is kept but what is named here: no header, no
signature, no query.
"""

from __future__ import annotations

import errno
import posix
import sys
from _contextvars import ContextVar
from _thread import get_native_id
from _weakref import ref
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.lines import Lines

SUFFIX = ".requests"
_NOTE = "_tracekit_request"
_FIRST_FAILURE = 300
_DEPTH = 8
_BROKEN = ("IncompleteRead", "RemoteDisconnected", "ClientPayload", "ContentLength")


class ObjectLog:
    """The requests of one process.

    Args:
        spool: Says where the process's parts are and what the calling thread is at.
        encode: JSON of plain values.
        hush: Tells the engine whether the calling thread's I/O on files is nobody's; returns what it was told before.
    """

    def __init__(self, spool: Lines, encode: Callable[[Any], str], hush: Callable[[bool], bool] | None = None) -> None:
        self.spool = spool
        self._encode = encode
        self._hush = hush
        # The request that the calling thread or task is about to send.
        self._sending: Any = ContextVar("tracekit_sending", default=None)
        self._followed: set[str] = set()
        self.watched: dict[int, Any] = {}
        self.at_end: list[Callable[[], None]] = []

    def begin(
        self,
        layer: str,
        op: str,
        uri: str,
        offset: int | None,
        length: int,
        attempt: int | None = 1,
        level: str = "wire",
    ) -> Request:
        """A request is about to be sent, or a client called that sends some (`level`: logical)."""
        return Request(self, {
            "op": op, "uri": uri, "offset": offset, "len": length, "layer": layer, "level": level, "attempts": attempt,
            "tid": get_native_id(), "at": list(self.spool.context.get()), "t0": monotonic_ns(),
        })  # fmt: skip

    def sending(self, request: Request | None) -> None:
        """The calling thread or task is about to send this; None: it was sent."""
        self._sending.set(request)

    def follow_connections(self, patch: Callable[..., None]) -> None:
        """Let requests say which of them opened a connection, of the libraries below clients that are there by now."""
        for name, kind, method, make in _CONNECTING:
            module = sys.modules.get(name)
            if module is not None and name not in self._followed:
                self._followed.add(name)
                patch(getattr(module, kind), method, make(self._connected))

    def _connected(self) -> None:
        request = self._sending.get()
        if request is not None:
            request.note("connect")

    def write(self, line: dict[str, Any]) -> None:
        """Append a finished request; what goes wrong is counted, and nothing of the program's."""
        try:
            path = f"{self.spool.directory}/{self.spool.token}{SUFFIX}"
            whole = self.spool.append(path, "\n" + self._encode(line) + "\n")
        except Exception:
            whole = False
        if not whole:
            self.lose()

    def lose(self) -> None:
        """Count a request that could not be noted."""
        self.spool.lose()

    def quietly(self, look: Callable[[], Any]) -> Any:
        """What a look at files of ours gives: it is no I/O of the program's."""
        before = self._hush(True) if self._hush is not None else False
        try:
            return look()
        finally:
            if self._hush is not None:
                self._hush(before)

    def finish(self) -> None:
        """The program ends: what is still open ends now."""
        for request, here in list(self.watched.values()):
            raw = here()
            if hasattr(raw, "content"):
                _leave(raw)
            request.done()
        for last in self.at_end:
            last()


class Request:
    """One request on its way."""

    __slots__ = ("_flags", "_line", "_log", "_pid", "coded", "expected", "got")

    def __init__(self, log: ObjectLog, line: dict[str, Any]) -> None:
        self._log = log
        self._line: dict[str, Any] | None = line
        self._pid = posix.getpid()
        self._flags: list[str] = []
        self.coded = False
        self.got = 0
        self.expected = -1

    @property
    def op(self) -> str:
        """What it does."""
        return str(self._line["op"]) if self._line else ""

    @property
    def uri(self) -> str:
        """What it is for."""
        return str(self._line["uri"]) if self._line else ""

    def copy(self) -> Request:
        """Another one that was made by the same call."""
        return Request(self._log, dict(self._line or {}))

    def named(self, uri: str) -> None:
        """It turned out which object it is for: all of it."""
        if self._line is not None:
            self._line.update(uri=uri, offset=0)

    def note(self, flag: str) -> None:
        """Something that its op's flags are to say: `range` where it asks for a range of bytes, `connect` where it opened a connection."""
        if flag not in self._flags:
            self._flags.append(flag)

    def drop(self) -> None:
        """It was none."""
        self._line = None

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

    def answered(self, offset: int, length: int) -> None:
        """A client was told which bytes it will get."""
        if self._line is not None:
            self._line.update(tf=monotonic_ns(), offset=offset, len=length)

    def gave(self, count: int, *, done: bool = True) -> None:
        """So many bytes were moved by the call, and unless said otherwise that was all."""
        self.got += count
        if done:
            self.done()

    def failed_with(self, name: str, attempts: int | None) -> None:
        """The client gave up with this, having tried so often."""
        if self._line is not None:
            self._line["err"] = name
            self._line["attempts"] = attempts or self._line["attempts"]
        self.done()

    def failed(self, error: BaseException) -> None:
        """No answer, or one that broke off."""
        if self._line is not None:
            try:
                self._line["err"] = name_of(error)
            except Exception:  # the program's exception may carry anything
                self._line["err"] = "EIO"
        self.done()

    def done(self) -> None:
        """It is over; a second call does nothing. What a forked child inherited is its parent's to tell."""
        line, self._line = self._line, None
        if line is None or self._pid != posix.getpid():
            return
        line["t1"] = monotonic_ns()
        if self._flags:
            line["flags"] = ",".join(self._flags)
        if line["op"] == "read":
            line["ret"] = None if self.got < 0 or ("err" in line and not self.got) else self.got
            line["len"] = line["len"] or max(self.got, 0)  # of an answer that did not say how long it would be
        elif line["op"] == "write" and "err" not in line:
            line["len"] = line["len"] or max(self.got, 0)
            line["ret"] = None if self.got < 0 else line["len"]
        self._log.write(line)

    def watch(self, raw: Any) -> None:
        """Follow a urllib3 response's body, by whichever of its methods it is read."""
        if self.expected == 0 or getattr(raw, "closed", False):
            self.done()
            return
        self.coded = bool(getattr(raw, "headers", {}).get("Content-Encoding"))
        self._follow(raw, _BODY)

    def watch_async(self, raw: Any) -> None:
        """Follow an aiohttp response's body: its own stream calls back at the end, however it is read."""
        content, key, watched = raw.content, id(raw), self._log.watched

        def ended() -> None:
            self.got = content.total_bytes
            self.done()
            watched.pop(key, None)

        self._follow(raw, _STREAM)
        content.on_eof(ended)

    def unseen(self) -> None:
        """It was answered, and what is taken of its body cannot be seen."""
        self.got = -1
        self.done()

    def took(self, raw: Any, data: Any, *, end: bool) -> None:
        """Some of the body was read. `end`: where it was nothing, there is no more."""
        self.got = raw.tell() if self.coded else self.got + len(data or b"")
        if self.got >= self.expected >= 0 or (end and not data):
            self.done()
            self._log.watched.pop(id(raw), None)

    def _follow(self, raw: Any, methods: dict[str, Callable[[Any], Any]]) -> None:
        key, watched = id(raw), self._log.watched

        def gone(_: Any) -> None:
            self.done()
            watched.pop(key, None)

        setattr(raw, _NOTE, self)
        raw.__class__ = _followed(type(raw), methods)
        watched[key] = (self, ref(raw, gone))


# A body that is followed is of a class of its own, below the one it had: its methods stay bound to it, as a program may keep
# one and let go of the response, and it is in no cycle.


def _followed(kind: Any, methods: dict[str, Callable[[Any], Any]]) -> Any:
    if kind not in _KINDS:
        words = {name: make(getattr(kind, name)) for name, make in methods.items() if hasattr(kind, name)}
        words |= {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
        _KINDS[kind] = type(kind)(kind.__name__, (kind,), words)
    return _KINDS[kind]


def _reading(original: Any) -> Any:
    def read(self: Any, *args: Any, **words: Any) -> Any:
        request = getattr(self, _NOTE)
        try:
            data = original(self, *args, **words)
        except BaseException as error:
            request.failed(error)
            raise
        request.took(self, data, end=_wanted(args, words))
        return data

    return read


def _reading_chunks(original: Any) -> Any:
    def read_chunked(self: Any, *args: Any, **words: Any) -> Any:
        request = getattr(self, _NOTE)
        try:
            for data in original(self, *args, **words):
                request.took(self, data, end=False)
                yield data
        except GeneratorExit:
            raise
        except BaseException as error:
            request.failed(error)
            raise
        request.took(self, b"", end=True)

    return read_chunked


def _closing(original: Any) -> Any:
    def close(self: Any) -> Any:
        getattr(self, _NOTE).done()
        return original(self)

    return close


def _leaving(original: Any) -> Any:
    def leave(self: Any) -> Any:
        _leave(self)
        return original(self)

    return leave


def _leave(raw: Any) -> None:
    """An aiohttp response is let go: what has come until now is all that comes."""
    request = getattr(raw, _NOTE)
    try:
        request.got = raw.content.total_bytes
        error = raw.content.exception()
    except Exception:
        error = None
    if error is None:
        request.done()
    else:
        request.failed(error)


def _connecting(connected: Callable[[], None]) -> Any:
    def make(original: Any) -> Any:
        def _new_conn(self: Any) -> Any:
            connection = original(self)
            connected()
            return connection

        return _new_conn

    return make


def _connecting_later(connected: Callable[[], None]) -> Any:
    def make(original: Any) -> Any:
        async def _create_connection(self: Any, *args: Any, **words: Any) -> Any:
            connection = await original(self, *args, **words)
            connected()
            return connection

        return _create_connection

    return make


# Where connections are made below boto3 and Azure's SDK, and below their asynchronous twins.
_CONNECTING = (
    ("urllib3.connection", "HTTPConnection", "_new_conn", _connecting),
    ("aiohttp.connector", "TCPConnector", "_create_connection", _connecting_later),
)
_KINDS: dict[Any, Any] = {}
_BODY: dict[str, Callable[[Any], Any]] = {
    "read": _reading,
    "read1": _reading,
    "read_chunked": _reading_chunks,
    "close": _closing,
}
_STREAM: dict[str, Callable[[Any], Any]] = {"close": _leaving, "release": _leaving, "__del__": _leaving}


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
        if any(part in name for part in _BROKEN):
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
