"""Exceptions of signal handlers wait until a wrapped call has its result."""

from __future__ import annotations

import io
import signal

import pytest

from tracekit.record import interrupts, opening, rawio
from tracekit.record.files import Files, Filter
from tracekit.record.lines import Lines
from tracekit.record.spool import CODE, FLAGS, over

Spool = over(Lines)


class Alarm(Exception):
    """What the handlers of these tests raise."""


class Watched:
    """The recording open over a spool that sends a signal once, at a chosen step of a read or write."""

    def __init__(self, directory, monkeypatch):
        self.spool = Spool(str(directory))
        files = Files(self.spool, Filter(include=["*"]), FLAGS)
        self.raw_file = rawio.recording_file(self.spool, files, CODE, FLAGS, interrupts)
        self.open = opening.recording_open(io.open, self.raw_file)
        self.armed = False
        self.clock = rawio._clock
        monkeypatch.setattr(rawio, "_clock", self.tick)
        self.ticks_left = 0

    def after(self, ticks):
        """The signal comes when the clock has been asked this many times more."""
        self.armed, self.ticks_left = True, ticks

    def tick(self):
        """Time, and perhaps the signal."""
        if self.armed:
            self.ticks_left -= 1
            if self.ticks_left == 0:
                self.armed = False
                signal.raise_signal(signal.SIGUSR1)
        return self.clock()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A recording open, and a handler that raises."""
    parts = tmp_path / "parts"
    parts.mkdir()

    def handler(*_):
        raise Alarm("now")

    before = signal.signal(signal.SIGUSR1, handler)
    yield Watched(parts, monkeypatch)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b"])
@pytest.mark.parametrize("ticks", [1, 2])
def test_interrupted_flush_writes_once(watched, tmp_path, mode, ticks):
    """A buffer whose write is interrupted before or after the call itself is in the file once, and the program hears of it."""
    path = tmp_path / "out"
    path.write_bytes(b"")
    with watched.open(path, mode) as file:
        file.write(b"first ")
        file.flush()
        file.write(b"second ")
        watched.after(ticks)
        with pytest.raises(Alarm, match="now"):
            file.flush()
        file.write(b"third")
    assert path.read_bytes() == b"first second third"


@pytest.mark.parametrize("ticks", [1, 2])
@pytest.mark.parametrize("buffering", [-1, 4096])
def test_interrupted_read_loses_no_bytes(watched, tmp_path, ticks, buffering):
    """What an interrupted read took from the file reaches the buffer, and the next read goes on behind it."""
    data = bytes(range(256)) * 200
    path = tmp_path / "data"
    path.write_bytes(data)
    caught = 0
    with watched.open(path, "rb", buffering) as file:
        file.read(100)
        watched.after(ticks)
        while file.tell() < len(data):
            place = file.tell()
            try:
                got = file.read(500)
            except Alarm:
                caught += 1
                continue
            assert got == data[place : place + 500]
    assert caught == 1


@pytest.mark.parametrize("ticks", [1, 2, 3])
def test_interrupted_readall_is_whole(watched, tmp_path, ticks):
    """Reading all of a file is not cut short by a handler that raises."""
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100_000)
    raw = watched.raw_file(str(path))
    watched.after(ticks)
    with pytest.raises(Alarm):
        raw.readall()
        for _ in range(10):
            watched.clock()  # the program goes on
    assert raw.tell() == 100_000
    raw.close()


def test_errors_of_the_call_itself_do_not_wait(watched, tmp_path):
    """What the system call refuses is raised by it, at once, with its errno."""
    raw = watched.raw_file(str(tmp_path / "out"), "w")
    with pytest.raises(io.UnsupportedOperation):
        raw.read(1)
    with pytest.raises(TypeError):
        raw.write("text")
    raw.close()
    with pytest.raises(ValueError, match="closed"):
        raw.write(b"")


def test_error_comes_back_as_itself(watched):
    """The exception that waited is the very object the handler raised."""
    error = None

    def handler():
        nonlocal error
        error = Alarm(1, 2)
        raise error

    try:
        exec("handler()", {"handler": handler, "__name__": "program"})
    except Alarm as caught:
        waiting = interrupts.again(caught)
    with pytest.raises(Alarm) as found:
        del waiting
        for _ in range(10):
            watched.clock()
    assert found.value is error
