"""Requests for objects as they are noted in a program: nothing that goes wrong there reaches the program."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from tracekit.record.object_log import ObjectLog, name_of


class Spool:
    """One that keeps its lines."""

    directory, token = "/nowhere", "1"
    context = SimpleNamespace(get=lambda: (-1, -1, -1, -1, 0))

    def __init__(self, *, full=False):
        self.lines, self.lost, self.full = [], 0, full

    def append(self, _, text):
        """Keep a line, unless the disk is full."""
        if self.full:
            return False
        self.lines.append(text)
        return True

    def lose(self):
        """Count a loss."""
        self.lost += 1


def begun(spool, encode=repr):
    """A request for ten bytes."""
    return ObjectLog(spool, encode).begin("s3", "read", "s3://b/k", 0, 10)


class Odd(OSError):
    """An exception that carries what nobody expects."""

    kwargs = None


def test_an_exception_that_cannot_be_named_is_written_as_eio():
    """The program's own exception is what it raised, whatever stands in it."""
    spool, error = Spool(), Odd([1, 2], "x")
    with pytest.raises((TypeError, AttributeError)):
        name_of(error)
    begun(spool).failed(error)
    assert "'err': 'EIO'" in spool.lines[0]


@pytest.mark.parametrize("encode", [repr, lambda _: 1 // 0])
def test_a_request_that_cannot_be_written_is_counted(encode):
    """A full disk and a failing encoder cost the op, and raise nothing."""
    spool = Spool(full=True)
    begun(spool, encode).done()
    assert spool.lost == 1


class Body(io.BytesIO):
    """A response of a client that nobody knows, with a class of its own."""


def test_a_body_keeps_its_type_and_its_methods():
    """A followed body is an instance of what it was, with a class that is called the same, and no method it had not."""
    spool, raw = Spool(), Body(bytes(10))
    request = begun(spool)
    request.headers(206, "10")
    request.watch(raw)
    assert isinstance(raw, Body)
    assert (type(raw).__name__, type(raw).__module__) == ("Body", __name__)
    assert not hasattr(raw, "read_chunked")
    read = raw.read
    del raw
    assert (len(read(4)), len(read()), len(spool.lines)) == (4, 6, 1)
    assert "'ret': 10" in spool.lines[0]


def test_a_body_that_cannot_be_followed_is_of_unknown_length():
    """Where an object takes no other class, the request is there and what was taken of it is not said."""
    spool, raw = Spool(), io.BytesIO(bytes(10))
    request = begun(spool)
    request.headers(206, "10")
    with pytest.raises((AttributeError, TypeError)):
        request.watch(raw)
    request.unseen()
    assert "'ret': None" in spool.lines[0]
    assert raw.read() == bytes(10)
