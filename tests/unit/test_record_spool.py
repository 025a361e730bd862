"""The parts of a recorded process: written by `spool`, read by `parts`, put together by `merge`."""

from __future__ import annotations

import json
import os
import threading

import pytest

from tracekit.record import spool
from tracekit.record.lines import NOWHERE, Lines, encode
from tracekit.record.merge import merge_parts
from tracekit.record.parts import read_parts
from tracekit.record.spool import CODE, FLAGS, over

Spool = over(Lines)

READ, WRITE = CODE["read"], CODE["write"]


def test_op_comes_back_as_it_was_recorded(tmp_path):
    """Every field of a recorded op is in the merged trace, with time from t0 on."""
    writer = Spool(str(tmp_path), 1000)
    writer.line(file=1, path="/data/a b")
    writer.record(READ, 1, 4096, 100, 1500, 1700, 80, 0, FLAGS["direct"])
    writer.record(WRITE, 1, 1 << 40, 7, 1800, 1900, 0, 28, 0)
    trace, parts = merge_parts(tmp_path, 1000)
    read, write = trace
    assert (read.uri, read.op, read.offset, read.len, read.ret) == ("file:///data/a%20b", "read", 4096, 100, 80)
    assert (read.t_submit, read.t_complete, read.flags, read.err, read.layer) == (500, 700, "direct", None, "python")
    assert (write.offset, write.err, write.pid) == (1 << 40, "ENOSPC", os.getpid())
    assert [part.lost for part in parts] == [0]


def test_context_reaches_the_ops_after_it(tmp_path):
    """Worker, epoch, step and sample are those set when the op was recorded, across the ends of chunks."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    for number in range(4000):
        writer.context.set((3, 1, number // 10, number, 0))
        writer.record(READ, 1, 0, 1, number, number, 1, 0, 0)
    writer.context.set(NOWHERE)
    writer.record(READ, 1, 0, 1, 4000, 4000, 1, 0, 0)
    trace, _ = merge_parts(tmp_path, 0)
    assert len(list(tmp_path.glob("*.ops"))) > 1
    assert [(op.worker, op.epoch, op.step, op.sample_id) for op in trace][:-1] == [
        (3, 1, number // 10, number) for number in range(4000)
    ]
    assert trace[4000].sample_id is None


def test_sample_names_and_odd_integers_survive(tmp_path):
    """A sample may be any integer or text; what is no plain index comes back as its text."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    given = [5, "cat-5", -3, 1 << 70, "cat-5", True]
    for number, sample in enumerate(given):
        writer.context.set((-1, -1, -1, writer.sample_code(sample), 0))
        writer.record(READ, 1, 0, 1, number, number, 1, 0, 0)
    trace, _ = merge_parts(tmp_path, 0)
    assert [op.sample_id for op in trace] == [5, "cat-5", "-3", str(1 << 70), "cat-5", 1]


def test_threads_have_chunks_of_their_own(tmp_path):
    """Ops of many threads are all there, each under its own thread id."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")

    def work(number):
        for time in range(50):
            writer.record(READ, 1, number, 1, time, time, 1, 0, 0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace, _ = merge_parts(tmp_path, 0)
    assert len(trace) == 1000
    for number in range(20):
        tids = {op.tid for op in trace if op.offset == number}
        assert len(tids) == 1


def test_no_room_becomes_counted_losses(tmp_path, monkeypatch):
    """When no chunk can be made the op is counted as lost, and recording goes on when there is room again."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    monkeypatch.setattr(spool, "CHUNK_BYTES", (4096,))
    real, full = spool._mapped, []

    def mapped(name, size):
        if full:
            raise OSError("no space left")
        return real(name, size)

    monkeypatch.setattr(spool, "_mapped", mapped)
    writer.record(READ, 1, 0, 1, 0, 0, 1, 0, 0)
    full.append(True)
    for _ in range(200):
        writer.record(READ, 1, 0, 1, 0, 0, 1, 0, 0)
    first = 4096 // spool.SLOT_BYTES - 1
    trace, parts = merge_parts(tmp_path, 0)
    assert (len(trace), parts[0].lost) == (first, 201 - first)
    full.clear()
    for _ in range(spool._RETRY_EVERY):
        writer.record(READ, 1, 0, 1, 0, 0, 1, 0, 0)
    trace, parts = merge_parts(tmp_path, 0)
    assert len(trace) > first
    assert len(trace) + parts[0].lost == 201 + spool._RETRY_EVERY


def test_lines_that_could_not_be_written_are_tried_again(tmp_path):
    """A line that finds no place waits for the next one."""
    parts = tmp_path / "parts"
    writer = Spool(str(parts))
    writer.line(file=1, path="/a")
    parts.mkdir()
    writer.line(file=2, path="/b")
    assert read_parts(parts)[0].paths == {1: "/a", 2: "/b"}


def test_forked_child_has_parts_of_its_own(tmp_path):
    """After a fork the child writes new parts, and its parent's stay as they were."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    writer.record(READ, 1, 0, 1, 10, 11, 1, 0, 0)
    pid = os.fork()
    if pid == 0:
        writer.after_fork()
        writer.line(file=1, path="/b")
        writer.record(READ, 1, 5, 1, 20, 21, 1, 0, 0)
        os._exit(0)
    os.waitpid(pid, 0)
    trace, parts = merge_parts(tmp_path, 0)
    assert [(op.uri, op.pid) for op in trace] == [("file:///a", os.getpid()), ("file:///b", pid)]
    assert len(parts) == 2


def test_ignored_bytes_are_counted(tmp_path):
    """Bytes knowingly left out are summed over the threads."""
    writer = Spool(str(tmp_path))
    writer.ignore(100)
    thread = threading.Thread(target=writer.ignore, args=(11,))
    thread.start()
    thread.join()
    assert read_parts(tmp_path)[0].ignored_bytes == 111


def test_merge_is_pure(tmp_path):
    """Merging twice gives the same trace and leaves the parts as they are."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    writer.record(READ, 1, 0, 1, 10, 11, 1, 0, 0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    first, second = merge_parts(tmp_path, 0)[0], merge_parts(tmp_path, 0)[0]
    assert list(first) == list(second)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_parts_give_an_empty_trace(tmp_path):
    """A run of which nothing was recorded is a trace without ops."""
    trace, parts = merge_parts(tmp_path, 0)
    assert (len(trace), parts) == (0, [])


@pytest.mark.parametrize(
    "value", [None, True, False, 0, -5, 1.5, "plain", 'q"\\\n\x00', "\udcff", "ä", [1, ["x"], {}], {"a": {"b": None}}]
)
def test_encoder_agrees_with_json(value):
    """The recorder's own encoder writes what json reads back as the same value."""
    assert json.loads(encode(value)) == value


def test_batches_of_workers_get_their_consumers_steps(tmp_path):
    """A worker's batch is put to the step its consumer says, in the run it says; a batch nobody took has no step."""
    consumer = Spool(str(tmp_path))
    consumer.line(loader=1, run=1, epoch=0, workers=[777])
    consumer.line(loader=1, run=2, epoch=1)
    consumer.line(mark="step", t=5, ready=7, step=0, epoch=0, tid=1, batch=0, loader=1, run=1)
    consumer.line(mark="step", t=9, ready=10, step=1, epoch=1, tid=1, batch=0, loader=1, run=2)
    consumer.line(stop=0, t=8)
    worker = Spool(str(tmp_path))
    worker.pid = 777
    worker.token = "777-ffffffffffffff"
    worker.lines_path = f"{tmp_path}/{worker.token}.jsonl"
    worker.line(file=1, path="/a")
    for number, (batch, run) in enumerate([(0, 1), (1, 1), (0, 2)]):
        worker.context.set((0, -1, batch, number, run))
        worker.record(READ, 1, 0, 1, number, number, 1, 0, 0)
    trace, _ = merge_parts(tmp_path, 0)
    assert [(op.worker, op.epoch, op.step) for op in trace] == [(0, 0, 0), (0, 0, None), (0, 1, 1)]
    spans = [(mark.mark, mark.t, mark.t_end, mark.step) for mark in trace.marks]
    assert spans == [("step", 5, 8, 0), ("compute", 7, 8, 0), ("step", 9, None, 1), ("compute", 10, None, 1)]


def test_a_thread_for_every_task_costs_no_file_each(tmp_path):
    """Threads that come and go write into the chunks of those before them, and every op has its own thread's id."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")
    tids = []

    def work(number):
        tids.append(threading.get_native_id())
        writer.record(READ, 1, number, 1, 0, 0, 1, 0, 0)
        writer.ignore(10)

    for number in range(100):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    assert len(list(tmp_path.glob("*.ops"))) < 10
    trace, parts = merge_parts(tmp_path, 0)
    assert {op.offset: op.tid for op in trace} == dict(enumerate(tids))
    assert parts[0].ignored_bytes == 1000


def test_context_of_a_thread_that_ended_is_not_the_next_ones(tmp_path):
    """What a thread was doing is not said of the thread that goes on in its chunk."""
    writer = Spool(str(tmp_path))
    writer.line(file=1, path="/a")

    def work(number, context):
        if context is not None:
            writer.context.set(context)
        writer.record(READ, 1, number, 1, 0, 0, 1, 0, 0)

    for number, context in enumerate([(2, 1, 7, 5, 0), None]):
        thread = threading.Thread(target=work, args=(number, context))
        thread.start()
        thread.join()
    trace, _ = merge_parts(tmp_path, 0)
    assert [(op.worker, op.step, op.sample_id) for op in trace.sorted()] == [(2, 7, 5), (None, None, None)]


def test_chunk_names_that_are_taken_are_passed_over(tmp_path):
    """A thread whose id belonged to another before still records: its chunks get other names."""
    writer = Spool(str(tmp_path))
    for sequence in range(3):
        (tmp_path / f"{writer.token}.{threading.get_native_id()}.{sequence}.ops").write_bytes(b"")
    writer.record(READ, 1, 5, 1, 0, 0, 1, 0, 0)
    trace, parts = merge_parts(tmp_path, 0)
    assert ([op.offset for op in trace], parts[0].lost) == ([5], 0)


def test_parts_directory_may_vanish(tmp_path):
    """A process that outlives the run, and with it the parts directory, goes on unharmed."""
    writer = Spool(str(tmp_path / "gone"))
    writer.line(file=1, path="/a")
    writer.record(READ, 1, 0, 1, 0, 0, 1, 0, 0)
    writer.ignore(3)
    assert writer.pending


def test_parts_can_be_read_whatever_the_umask(tmp_path):
    """A program that takes every permission away by umask still leaves parts that its owner can read."""
    before = os.umask(0o777)
    try:
        writer = Spool(str(tmp_path))
        writer.record(READ, 1, 0, 1, 0, 0, 1, 0, 0)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("*.ops")] == [0o600]
