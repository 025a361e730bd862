"""Requests for more than a system call moves (2 GiB): asked for as the trace has them, counted as they come, written in pieces."""

from __future__ import annotations

from time import monotonic_ns
from types import SimpleNamespace

import pytest

from tracekit.replay import requester
from tracekit.replay.kinds import Kind
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.replay.requester import Requester
from tracekit.replay.session import perform, replay
from tracekit.storage import MemoryStorage, Requests
from tracekit.storage.base import MAX_READ_BYTES, Buffer, Look
from tracekit.storage.objects import ObjectStorage
from tracekit.trace import Op, Trace

LENGTHS = (4096, MAX_READ_BYTES - 1, MAX_READ_BYTES, MAX_READ_BYTES + 1, 5 << 30)


class Vast(ObjectStorage):
    """Objects without end, whose bodies nobody sends."""

    def __init__(self):
        super().__init__(Requests())
        self.asked = []

    def look(self, place):
        """Any is there."""
        return Look("file", 1 << 60)

    def open(self, place, access):
        """Notes what is asked for."""

        def skim(length, offset):
            self.asked.append((offset, length))
            return length, monotonic_ns()

        return SimpleNamespace(paced=False, connect=lambda: None, skim=skim, close=lambda: None)

    def client_name(self, place):
        """None."""
        return "nobody"


def trace():
    """One GET of each length."""
    return Trace.of(
        Op("s3://b/x", n << 40, length, n * 1000, t_complete=n * 1000 + 1, ret=length, pid=1, tid=1)
        for n, length in enumerate(LENGTHS)
    )


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "in a folder"])
def test_a_get_of_any_length_is_asked_for_and_counted_as_it_is(in_memory, tmp_path):
    """No short read, and the bytes of the output are those that came, also by way of the journal."""
    store = Vast()
    if in_memory:
        done = replay(trace(), storage_of=lambda _: store)
        assert done.trace.col("ret").tolist() == [*LENGTHS]
        assert (done.run["moved_bytes"], done.run["verdict"] == "TARGET LIMITED") == (sum(LENGTHS), False)
    else:
        finished = perform(trace(), storage_of=lambda _: store, folder=str(tmp_path))
        (log,) = finished.outcome.logs
        assert log.ret.tolist() == [*LENGTHS]
        finished.close()
    assert store.asked == [(n << 40, length) for n, length in enumerate(LENGTHS)]


def test_a_read_of_a_file_asks_for_no_more_than_a_system_call_moves():
    """The kernel cuts it in the recording as in the replay."""
    ops = [Op("file:///x", 0, 5 << 30, 0, t_complete=1, ret=MAX_READ_BYTES, pid=1, tid=1)]
    (job,) = make_plan(Trace.of(ops), Options(), storage_of=lambda _: MemoryStorage({})).jobs
    assert (job.lengths.tolist(), job.asked.tolist()) == ([MAX_READ_BYTES], [5 << 30])


def test_a_body_larger_than_the_buffer_goes_up_in_pieces(monkeypatch):
    """Each of one size but the last, and together as long as the recorded one."""
    monkeypatch.setattr(requester, "MAX_READ_BYTES", 1000)
    monkeypatch.setattr(requester, "_PIECE", 400)
    store, sent = Vast(), []
    store.write = lambda place, body: sent.append(body if isinstance(body, memoryview) else [*body])
    ops = [
        Op("s3://b/x", 0, size, size, t_complete=size + 1, ret=size, op="write", pid=1, tid=1) for size in (1000, 1001)
    ]
    plan = make_plan(Trace.of(ops), Options(scratch="s3://b/s"), storage_of=lambda _: store)
    (job,) = plan.jobs
    assert job.kinds.tolist() == [Kind.WRITE] * 2
    one = Requester(plan, job, SimpleNamespace(now=lambda: 0), Buffer(1000))
    assert [one.ask(index, 0)[2] for index in range(2)] == [1000, 1001]
    whole, pieces = sent
    assert (len(whole), [len(piece) for piece in pieces]) == (1000, [400, 400, 201])
