"""What clients in Rust return and programs go on to use: results, streams, listings, open files. Each use is an op, or a part of one.

These classes have no names that a program could import, take no attributes and cannot be referred to weakly; so what a program
gets stands for them.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_calls import Calls
    from tracekit.record.object_log import Request

    _Plan = Generator[list[Request], Any, Any]


class Held:
    """Base of what stands for a client's own object whose later calls are ops as well.

    It is of the object's class for whoever asks, and has everything that it has.
    """

    __slots__ = ("_calls", "_it")

    def __init__(self, it: Any, calls: Calls) -> None:
        self._it = it
        self._calls = calls

    @property
    def __class__(self) -> Any:
        return type(self._it)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError("__class__ assignment only supported for mutable types or ModuleType subclasses")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._it, name)

    def __repr__(self) -> str:
        return repr(self._it)


class Once(Held):
    """What one request goes on with: it is over when all was taken, or when this is let go."""

    __slots__ = ("_request",)

    def __init__(self, it: Any, calls: Calls, request: Request) -> None:
        Held.__init__(self, it, calls)
        self._request: Any = request

    def __del__(self) -> None:
        self._request.done()

    def _last(self) -> _Plan:
        result = yield [self._request]
        self._request.gave(len(result))

    def _piece(self) -> _Plan:
        result = yield [self._request]
        self._request.gave(len(result), done=False)

    def _next(self, step: Any) -> Any:
        try:
            piece = step()
        except (StopIteration, StopAsyncIteration):
            self._request.done()
            raise
        except BaseException as error:
            self._calls.fail([self._request], error)
            raise
        self._request.gave(len(piece), done=False)
        return piece


def _whole(name: str) -> Any:
    def call(self: Any) -> Any:
        return self._calls.run(getattr(self._it, name), self._last, (), {})

    return call


class Stream(Once):
    """A body, piece by piece."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._next(self._it.__next__)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            piece = await self._it.__anext__()
        except StopAsyncIteration:
            self._request.done()
            raise
        except BaseException as error:
            self._calls.fail([self._request], error)
            raise
        self._request.gave(len(piece), done=False)
        return piece


class Listing(Stream):
    """A listing, piece by piece: how many pages it takes is not known."""

    __slots__ = ()

    collect, collect_async = map(_whole, ("collect", "collect_async"))


class Result(Once):
    """An object that was got: its body comes when it is asked for."""

    __slots__ = ()

    bytes, bytes_async, buffer, buffer_async = map(_whole, ("bytes", "bytes_async", "buffer", "buffer_async"))

    def stream(self, *args: Any, **words: Any) -> Any:
        """The body, piece by piece."""
        return self._taken_over(self._it.stream(*args, **words))

    def __iter__(self) -> Any:
        return self._taken_over(iter(self._it))

    def __aiter__(self) -> Any:
        return self._taken_over(self._it.__aiter__())

    def _taken_over(self, stream: Any) -> Any:
        request, self._request = self._request, _Over()
        return Stream(stream, self._calls, request)


class File(Held):
    """An open object: each use is an op of its own."""

    __slots__ = ("_at", "_uri")

    def __init__(self, it: Any, calls: Calls, uri: str) -> None:
        Held.__init__(self, it, calls)
        self._uri = uri
        self._at = 0

    def _moved(self, op: str, asked: int | None) -> _Plan:
        requests = self._calls.begin(op, self._uri, self._at, asked or 0)
        result = yield requests
        count = asked if op == "write" else _lengths(result)
        self._at += count or 0
        requests[0].gave(count or 0)


class Reader(File):
    """An open object that is read from, by a buffer of the client's: fewer requests than ops."""

    __slots__ = ()

    def read(self, *args: Any, **words: Any) -> Any:
        """Read on."""
        size = args[0] if args else words.get("size")
        asked = int(size) if size is not None and size >= 0 else max(self._it.size - self._at, 0)
        return self._calls.run(self._it.read, lambda *_, **__: self._moved("read", asked), args, words)

    def readall(self) -> Any:
        """Read to the end."""
        return self.read()

    def readline(self) -> Any:
        """Read a line."""
        return self._calls.run(self._it.readline, lambda: self._moved("read", None), (), {})

    def readlines(self, *args: Any) -> Any:
        """Read lines."""
        return self._calls.run(self._it.readlines, lambda *_: self._moved("read", None), args, {})

    def seek(self, *args: Any, **words: Any) -> Any:
        """Go to another place."""
        return _then(self._it.seek(*args, **words), self._place)

    def _place(self, at: int) -> None:
        self._at = at


class Writer(File):
    """An open object that is written to: what is buffered goes out by and by, and all of it when it is closed."""

    __slots__ = ()

    def write(self, data: Any) -> Any:
        """Write on."""
        size = memoryview(data).nbytes
        return self._calls.run(self._it.write, lambda _: self._moved("write", size), (data,), {})

    def close(self) -> Any:
        """Write what is left."""
        return self._calls.run(self._it.close, self._closed, (), {})

    def _closed(self) -> _Plan:
        requests = self._calls.begin("close", self._uri)
        yield requests
        requests[0].done()

    def __enter__(self) -> Any:
        self._it.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._calls.run(self._it.__exit__, lambda *_: self._closed(), error, {})

    async def __aenter__(self) -> Any:
        await self._it.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._calls.run(self._it.__aexit__, lambda *_: self._closed(), error, {})


class Wrapped(Held):
    """A client's object some of whose methods are calls with plans.

    Args:
        it: The object.
        calls: Makes ops of calls.
        plans: By method.
        given: By method, what is made of its result.
        instead: By method, what is called in its place.
    """

    __slots__ = ("_given", "_instead", "_plans")

    def __init__(self, it: Any, calls: Calls, plans: Any, given: Any = None, instead: Any = None) -> None:
        Held.__init__(self, it, calls)
        self._plans = plans
        self._given = given or {}
        self._instead = instead or {}

    def __getattr__(self, name: str) -> Any:
        if name in self._instead:
            return self._instead[name]
        value = getattr(self._it, name)
        if name in self._given:
            return lambda *args, **words: self._given[name](value(*args, **words))
        return self._calls.recorded(value, self._plans[name]) if name in self._plans else value

    def __iter__(self) -> Any:
        return self.__getattr__("__iter__")() if "__iter__" in self._given else self

    def __aiter__(self) -> Any:
        return self.__getattr__("__aiter__")() if "__aiter__" in self._given else self

    def __next__(self) -> Any:
        return self.__getattr__("__next__")()

    def __anext__(self) -> Any:
        return self.__getattr__("__anext__")()

    def __len__(self) -> int:
        return len(self._it)

    def __enter__(self) -> Any:
        self._it.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self.__getattr__("__exit__")(*error)


class _Over:
    """A request that another object has taken over: whatever becomes of it is told there."""

    def done(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    gave = unseen = failed_with = done


def _lengths(result: Any) -> int:
    return sum(map(len, result)) if isinstance(result, list) else len(result)


def _then(value: Any, use: Callable[[Any], None]) -> Any:
    """Use a result, or what a future will give."""
    if not hasattr(value, "add_done_callback"):
        use(value)
        return value

    def settled(done: Any) -> None:
        if not done.cancelled() and done._exception is None:
            use(done.result())

    value.add_done_callback(settled)
    return value


def measured(body: Any, quietly: Callable[[Callable[[], Any]], Any]) -> tuple[Any, Callable[[], int]]:
    """What to put in the place of something that is about to be sent, and what tells its bytes when it was.

    Args:
        body: A buffer, a path, an open file, or pieces.
        quietly: `ObjectLog.quietly`.
    """
    try:
        size = memoryview(body).nbytes
    except TypeError:
        pass
    else:
        return body, lambda: size
    if hasattr(body, "__fspath__"):
        size = quietly(lambda: _size_of_file(body))
        return body, lambda: size
    if hasattr(body, "read"):
        return body, _progress(body)
    pieces: _Pieces | _PiecesLater = _PiecesLater(body) if hasattr(body, "__aiter__") else _Pieces(body)
    return pieces, lambda: pieces.count


def _size_of_file(path: Any) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # the client will say so


def _progress(file: Any) -> Callable[[], int]:
    """How far a file has come from where it is now; where it does not tell, 0."""

    def place() -> int:
        try:
            return int(file.tell())
        except Exception:
            return 0

    before = place()
    return lambda: max(place() - before, 0)


class _Pieces:
    """Pieces on their way out, counted."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for piece in self._pieces:
            self.count += memoryview(piece).nbytes
            yield piece


class _PiecesLater:
    """The same of what comes asynchronously."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self.count = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for piece in self._pieces:
            self.count += memoryview(piece).nbytes
            yield piece
