"""A trace as streams."""

from __future__ import annotations

from tracekit.replay.compile import compile_trace
from tracekit.replay.kinds import Kind
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.storage import MemoryStorage
from tracekit.trace import Op, Trace


def op(t: int, end: int | None = None, **rest: object) -> Op:
    """A read at a time."""
    return Op("file:///d/a", 0, 8, t, t_complete=end, **rest)  # type: ignore[arg-type]


def test_a_stream_is_one_thread() -> None:
    """Ops with the same pid and tid form a stream in order of time, also when the trace is not sorted."""
    trace = Trace.of([op(30, pid=1, tid=1), op(10, pid=1, tid=2), op(20, pid=2, tid=1), op(0, pid=1, tid=1)])
    program = compile_trace(trace)
    times = program.trace.col("t_submit")
    assert times.tolist() == [0, 10, 20, 30]
    numbers = program.streams_of(program.rows.read(0, 4))
    assert [times[numbers == stream.index].tolist() for stream in program.streams] == [[0, 30], [10], [20]]
    assert [(stream.first, stream.count) for stream in program.streams] == [(0, 2), (2, 1), (3, 1)]
    assert program.streams[1].identity == {"pid": 1, "tid": 2}
    assert program.grouping == "pid and tid"


def test_ranks_keep_equal_pids_apart() -> None:
    """Two hosts may use the same pid; their ranks make two streams of them."""
    program = compile_trace(Trace.of([op(0, pid=1, tid=1, rank=0), op(1, pid=1, tid=1, rank=1)]))
    assert len(program.streams) == 2


def test_without_threads_workers_are_streams_and_it_is_said() -> None:
    """A trace with workers only is split by them, with a note."""
    program = compile_trace(Trace.of([op(0, worker=0), op(1, worker=1), op(2, worker=0)]))
    assert [stream.count for stream in program.streams] == [2, 1]
    assert "workers" in program.notes[0]


def test_without_any_identity_there_is_one_stream_and_it_is_said() -> None:
    """A bare trace is one stream; the note says what that costs."""
    program = compile_trace(Trace.of([op(0), op(1)]))
    assert len(program.streams) == 1
    assert "one stream" in program.notes[0]
    assert program.streams[0].label == "the only stream"


def test_think_times_are_the_pauses_between_ops() -> None:
    """From the end of one op to the submit of the next; overlaps are no pause."""
    trace = Trace.of([op(0, 10, pid=1, tid=1), op(25, 50, pid=1, tid=1), op(40, 60, pid=1, tid=1)])
    plan = make_plan(trace, Options(pace="think"), storage_of=lambda _: MemoryStorage({}))
    assert plan.jobs[0].times.tolist() == [0, 15, 0]


def test_overlaps_within_a_stream_are_counted_and_said() -> None:
    """Ops submitted before the one ahead had completed cannot be kept apart by one thread."""
    program = compile_trace(Trace.of([op(0, 100, pid=1, tid=1), op(50, 80, pid=1, tid=1)]))
    assert program.overlaps == 1
    assert "before the op ahead" in program.notes[0]


def test_a_second_generation_is_tied_to_the_end_of_the_first() -> None:
    """Workers of a second epoch start when the last stream that was over by then ends, plus the recorded pause."""
    trace = Trace.of([op(0, 10, pid=1, tid=1), op(5, 90, pid=2, tid=2), op(100, 110, pid=3, tid=3)])
    streams = compile_trace(trace).streams
    assert [(stream.after, stream.lead) for stream in streams] == [(None, 0), (None, 5), (1, 10)]


def test_a_repetition_takes_the_span_and_one_gap() -> None:
    """So that the first op of the next repetition does not fall onto the last of this one."""
    program = compile_trace(Trace.of([op(100, 110), op(200, 210), op(300, 350)]))
    assert (program.origin, program.period) == (100, 250 + 100)


def test_op_names_become_kinds() -> None:
    """Known names have their kind, fdatasync is an fsync, the rest is unknown."""
    names = ["read", "open", "close", "stat", "list", "mmap", "fsync", "write", "delete", "fdatasync", "teleport"]
    trace = Trace.of([Op("a", 0, 0, i, op=name) for i, name in enumerate(names)])
    expected = [*range(Kind.READ, Kind.UNKNOWN), Kind.FSYNC, Kind.UNKNOWN]
    program = compile_trace(trace)
    assert program.rows.read(0, 11)["kind"].tolist() == expected
    assert program.kinds == set(expected)


def test_service_times_are_known_only_when_every_op_has_one() -> None:
    """One op without completion time is enough not to know."""
    assert compile_trace(Trace.of([op(0, 1), op(2, 3)])).has_service_times
    assert not compile_trace(Trace.of([op(0, 1), op(2)])).has_service_times
