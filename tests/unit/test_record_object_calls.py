"""Calls of clients as ops, with clients made for the test: what the program gets is what it got, whatever becomes of the op."""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace

import pytest

from tracekit.record import object_bodies, object_log
from tracekit.record.object_calls import Calls, reason_of


class Spool:
    """One that keeps its lines."""

    directory, token = "/nowhere", "1"
    context = SimpleNamespace(get=lambda: (-1, -1, -1, -1, 0))

    def __init__(self):
        self.lines, self.lost = [], 0

    def append(self, _, text):
        """Keep a line."""
        self.lines.append(json.loads(text))
        return True

    def lose(self):
        """Count a loss."""
        self.lost += 1


@pytest.fixture
def calls():
    """Calls whose ops are in `calls.log.spool.lines`."""
    return Calls(object_log.ObjectLog(Spool(), json.dumps), object_log.name_of)


def reading(calls, uri="s3://b/k"):
    """The plan of a function that gives an object's bytes."""

    def plan(name, *, fail=None):
        requests = calls.begin("read", uri, 0)
        requests[0].gave(len((yield requests)))

    return plan


def told(calls):
    """(op, ret, err, attempts) of every op."""
    return [(line["op"], line.get("ret"), line.get("err"), line["attempts"]) for line in calls.log.spool.lines]


def get(name, *, fail=None):
    """A client's function."""
    if fail is not None:
        raise fail
    return b"abc"


def test_a_call_is_one_op_and_gives_what_it_gave(calls):
    """The result is the client's own object."""
    assert calls.recorded(get, reading(calls))("k") is get("k")
    assert told(calls) == [("read", 3, None, None)]


def test_a_failed_call_raises_what_it_raised(calls):
    """The op has the status, and the program its exception itself."""
    error = FileNotFoundError("none")
    with pytest.raises(FileNotFoundError) as caught:
        calls.recorded(get, reading(calls))("k", fail=error)
    assert caught.value is error
    assert told(calls) == [("read", None, "404", None)]


@pytest.mark.parametrize("uri", [None, "file:///x", "gs://b/k", "memory"])
def test_what_is_no_object_of_a_known_store_is_left_alone(calls, uri):
    """No op, and the call goes through."""
    assert calls.recorded(get, reading(calls, uri))("k") == b"abc"
    assert told(calls) == []


def test_a_wrong_call_is_refused_by_the_client_and_not_by_us(calls):
    """What a plan does not understand is passed on as it is."""
    with pytest.raises(TypeError, match="get"):
        calls.recorded(get, reading(calls))("k", "too", "many")
    assert told(calls) == []


def test_a_result_of_a_newer_kind_costs_the_bytes_and_nothing_else(calls):
    """A plan that fails at the result leaves an op whose bytes are unknown; the program gets the result."""
    answer = object()
    assert calls.recorded(lambda name: answer, reading(calls))("k") is answer
    assert told(calls) == [("read", None, None, None)]


def later(result=None, error=None):
    """A client's function that gives a future at once."""

    def call(name):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(
            lambda: future.cancelled() or (future.set_exception(error) if error else future.set_result(result))
        )
        return future

    return call


def test_a_future_is_the_client_s_own_and_the_op_ends_with_it(calls):
    """Requests begin when the function is called, not when they are waited for."""

    async def main():
        function = later(b"abcd")
        futures = [calls.recorded(function, reading(calls))("k") for _ in range(3)]
        assert all(isinstance(future, asyncio.Future) for future in futures)
        return await asyncio.gather(*futures)

    assert asyncio.run(main()) == [b"abcd"] * 3
    assert told(calls) == [("read", 4, None, None)] * 3


@pytest.mark.parametrize("replaces", [False, True])
def test_failed_and_cancelled_futures_are_ops_with_their_reasons(calls, replaces):
    """An error reaches the program once, also through a future of ours; what it gives up is cancelled below as well."""

    async def main():
        unanswered = asyncio.get_running_loop().create_future()
        with pytest.raises(PermissionError):
            await calls.recorded(later(error=PermissionError(13, "no")), reading(calls), replaces=replaces)("k")
        given = calls.recorded(lambda name: unanswered, reading(calls), replaces=replaces)("k")
        given.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given
        for _ in range(10):  # turns of the loop, until the one below has heard
            await asyncio.sleep(0)
        assert unanswered.cancelled()

    asyncio.run(main())
    assert told(calls) == [("read", None, "EACCES", None), ("read", None, "ECANCELED", None)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Error performing GET http://h/b in 1ms, after 10 retries, max_retries: 10 - Server returned non-2xx status code: 503 Slow", ("503", 11)),
        ("Server returned non-2xx status code: 416 Range Not Satisfiable", ("416", None)),
        ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", ("403", None)),
        ("HEAD for s3://b/k failed: service error: NotFound (no message)", ("404", None)),
        ("error sending request: operation timed out", ("ETIMEDOUT", None)),
        ("Connect: ConnectionRefused", ("ECONNREFUSED", None)),
        ("something else", ("EIO", None)),
    ],
)  # fmt: skip
def test_reasons_are_read_from_what_clients_say(text, reason):
    """Status, errno, and how often it was tried, where the text says so; nothing else of the text is kept."""
    assert reason_of(RuntimeError(text), object_log.name_of) == reason


class Source:
    """A client's open object or listing."""

    def __init__(self):
        self._pieces = iter([b"abc", b"de"])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)


def test_a_stream_is_over_with_its_last_piece_or_when_it_is_let_go(calls):
    """Its op has what was taken until then."""
    for take in (2, 1, 0):
        (request,) = calls.begin("read", "s3://b/k", 0, 5)
        stream = object_bodies.Stream(Source(), calls, request)
        assert isinstance(stream, Source)
        assert [next(stream) for _ in range(take)] == [b"abc", b"de"][:take]
        if take == 2:
            assert list(stream) == []
            assert len(told(calls)) == 1
        del stream
    assert [ret for _, ret, _, _ in told(calls)] == [5, 3, 0]


class Consumed(Source):
    """A client's answer whose body is being streamed: it gives nothing else any more."""

    def stream(self):
        """The body."""
        return Source()

    def bytes(self):
        """The client's own refusal."""
        raise ValueError("consumed")


def test_a_body_that_is_asked_for_twice_is_refused_by_the_client(calls):
    """The program gets the client's exception, and the op is the stream's."""
    (request,) = calls.begin("read", "s3://b/k", 0, 5)
    result = object_bodies.Result(Consumed(), calls, request)
    stream = result.stream()
    with pytest.raises(ValueError, match="consumed"):
        result.bytes()
    assert [*stream] == [b"abc", b"de"]
    assert told(calls) == [("read", 5, None, None)]


def test_what_is_sent_is_measured_and_sent_as_it_is(tmp_path):
    """Buffers, paths, open files, pieces now and later; a file that is not there is the client's to complain about."""
    (tmp_path / "x").write_bytes(bytes(7))

    def size(body, use):
        sent, count = object_bodies.measured(body, lambda look: look())
        use(sent)
        return count()

    async def later():
        for piece in (b"ab", b"c"):
            yield piece

    async def taken(pieces):
        return [piece async for piece in pieces]

    assert size(memoryview(bytes(8)).cast("Q"), lambda body: None) == 8
    assert size(tmp_path / "x", lambda body: None) == 7
    assert size(tmp_path / "none", lambda body: None) == 0
    assert size(io.BytesIO(b"abcd"), lambda body: body.read(3)) == 3
    assert size(iter([b"ab", b"c"]), list) == 3
    assert size(later(), lambda body: asyncio.run(taken(body))) == 3


def test_ends_of_iterations_are_no_requests(calls):
    """A wrapped iterator stops as it does, and only what it gave is an op."""

    def plan():
        requests = calls.begin("read", "s3://b/k")
        requests[0].gave(len((yield requests)))

    iterator = object_bodies.Wrapped(Source(), calls, {"__next__": plan})
    assert list(iterator) == [b"abc", b"de"]
    assert [ret for _, ret, _, _ in told(calls)] == [3, 2]


def test_what_is_open_at_the_end_is_told_then(calls):
    """Whoever has something to say last is asked once the bodies are written."""
    said = []
    calls.log.at_end.append(lambda: said.append(len(calls.log.watched)))
    calls.log.finish()
    assert said == [0]
