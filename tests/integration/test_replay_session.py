"""Whole replays within one process: every kind of op, the cache, the caps, repetitions."""

from __future__ import annotations

import errno
import os
import resource
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from descriptors import open_descriptors

from tracekit.errors import CannotRunError, InputError
from tracekit.replay import session
from tracekit.replay.clock import PythonClock
from tracekit.replay.engines import Choice, Control, State, choose
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.replay.preflight import examine
from tracekit.replay.session import Replay, Silent, replay
from tracekit.replay.threads import ThreadsEngine
from tracekit.storage import MemoryStorage, cache, local
from tracekit.storage.cache import Residency
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

MS = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight files of 64 KiB in a directory of their own."""
    place = tmp_path / "data"
    place.mkdir()
    for i in range(8):
        with (place / str(i)).open("wb") as file:
            file.write(os.urandom(1 << 16))
            os.fsync(file.fileno())
    return place


class Listening(Silent):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.states: list[State] = []

    def warn(self, text: str) -> None:
        """Remember the sentence."""
        self.warnings.append(text)

    def running(self, state: State, total: int) -> None:
        """Remember how far it is."""
        self.states.append(state)


def ops_of(folder: Path, *rows: tuple[str, str, int | None, int], **rest: object) -> Trace:
    """Ops (kind, name, offset, len) of one thread, a millisecond apart."""
    return Trace.of(
        Op(file_uri(folder / name), offset, length, i * MS, op=kind, pid=1, tid=1, **rest)  # type: ignore[arg-type]
        for i, (kind, name, offset, length) in enumerate(rows)
    )


def errors(done: Replay) -> dict[str, int]:
    """Errors by name."""
    return dict(done.run["errors"])


def test_every_kind_of_op_is_issued(folder: Path) -> None:
    """Opens, closes, stats, listings, mappings and flushes run without error on the real files and leave them alone."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    trace = ops_of(
        folder,
        ("list", "", None, 0),
        ("stat", "0", None, 0),
        ("open", "0", None, 0),
        ("read", "0", 100, 200),
        ("mmap", "0", 5000, 10_000),
        ("fsync", "0", None, 0),
        ("close", "0", None, 0),
        ("delete", "1", None, 0),
    )
    done = replay(trace)
    assert errors(done) == {}
    assert [op.op for op in done.trace] == ["list", "stat", "open", "read", "mmap", "fsync", "close", "delete"]
    assert [op.ret for op in done.trace] == [None, None, None, 200, None, None, None, None]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_recorded_opens_hold_descriptors_only_until_their_close(folder: Path) -> None:
    """Nothing is left open, also where the recording never closed; a close without open is counted and harmless."""
    before = open_descriptors()
    trace = ops_of(
        folder, ("open", "0", None, 0), ("open", "1", None, 0), ("close", "1", None, 0), ("close", "2", None, 0)
    )
    done = replay(trace)
    assert done.run["unmatched_closes"] == 1
    assert errors(done) == {}
    assert open_descriptors() <= before


def test_an_open_that_failed_then_is_tried_again(folder: Path) -> None:
    """The same error is no failure; a success would be none either."""
    trace = Trace.of(
        [
            Op(file_uri(folder / "none"), None, 0, 0, op="open", err="ENOENT", pid=1, tid=1),
            Op(file_uri(folder / "0"), None, 0, MS, op="open", err="EMFILE", pid=1, tid=1),
        ]
    )
    done = replay(trace)
    assert [op.err for op in done.trace] == ["ENOENT", None]
    assert done.run["unexpected_errors"] == {}
    assert not any("ops failed" in reason for reason in done.run["reasons"])


def test_a_mapping_beyond_the_file_is_an_error_of_that_op(folder: Path) -> None:
    """EINVAL in the trace, and the run goes on."""
    trace = Trace.of(
        [
            Op(file_uri(folder / "0"), 1 << 20, 10, 0, op="mmap", pid=1, tid=1),
            Op(file_uri(folder / "0"), 0, 10, MS, pid=1, tid=1),
        ]
    )
    plan = make_plan(trace, Options())
    plan.files[0].extent = 0
    outcome = choose("auto", plan).engine.run(plan, Control())
    assert outcome.logs[0].error.tolist() == [errno.EINVAL, 0]


def test_few_handles_are_enough_for_many_files(folder: Path) -> None:
    """With one handle per stream every file is opened again when it is needed, and every byte is read."""
    trace = ops_of(folder, *[("read", str(i % 8), i * 10, 100) for i in range(40)], ret=100)
    plan = make_plan(trace, Options(pace="asap"))
    examine(plan)
    plan.handles_per_stream = 1
    before = open_descriptors()
    log = choose("auto", plan).engine.run(plan, Control()).logs[0]
    assert log.ret.tolist() == [100] * 40
    assert open_descriptors() <= before


def test_the_descriptor_limit_is_as_before(folder: Path) -> None:
    """It is raised for the run only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        replay(ops_of(folder, ("read", "0", 0, 10)))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(soft, 256), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_warm_and_cold_starts_are_measured(folder: Path) -> None:
    """Warm has every page before the run, cold none; both are in the trailer."""
    trace = ops_of(folder, ("read", "0", 0, 1 << 16), ("read", "1", 0, 10))
    for start, resident in (("warm", 32), ("cold", 0)):
        done = replay(trace, Options(cache_start=start))
        assert done.trace.trailer is not None
        state = done.trace.trailer.residency
        assert state["start"] == start
        assert state["before"] in (None, {"pages": 32, "resident": resident})


def test_pages_that_stay_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run asked to be cold that is not says so, to the listener, in the trailer and among the reasons."""
    monkeypatch.setattr(cache, "of_file", lambda _: Residency(100, 40))
    listener = Listening()
    done = replay(ops_of(folder, ("read", "0", 0, 10)), Options(cache_start="cold"), listener=listener)
    sentence = "asked to start cold, but 40 of 100 pages stayed in the page cache"
    assert sentence in listener.warnings
    assert sentence in done.run["reasons"]


def test_a_machine_cache_that_cannot_be_dropped_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission the trace's own files are dropped and the rest is said."""
    monkeypatch.setattr(cache, "drop_everything", lambda: "not dropped: no permission")
    listener = Listening()
    replay(ops_of(folder, ("read", "0", 0, 10)), Options(drop_cache=True), listener=listener)
    assert any("dropped one by one" in text for text in listener.warnings)


def test_a_cache_that_cannot_be_set_stops_before_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while dropping is one sentence with the file's name."""

    def fail(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(cache, "drop", fail)
    with pytest.raises(CannotRunError, match="data/0"):
        replay(ops_of(folder, ("read", "0", 0, 10)), Options(cache_start="cold"))


def test_a_direct_fallback_is_counted_and_flagged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where O_DIRECT is refused and the fallback allowed, the trace and the statement both say so."""
    monkeypatch.setattr(local, "open_direct", lambda _: None)
    monkeypatch.setattr("tracekit.replay.preflight.open_direct", lambda _: None)
    done = replay(ops_of(folder, ("read", "0", 0, 10)), Options(cache="direct", direct_fallback=True))
    assert [op.flags for op in done.trace] == ["direct_fallback"]
    assert done.run["direct_fallback_files"] == 1


def test_a_cap_of_one_leaves_one_op_in_flight(folder: Path) -> None:
    """Four streams that all want to read at once take turns, and the waiting is booked as stall."""
    trace = Trace.of(
        Op(file_uri(folder / str(tid)), 0, 1 << 16, i, ret=1 << 16, pid=1, tid=tid)
        for i, tid in enumerate([0, 1, 2, 3] * 10)
    )
    done = replay(trace, Options(max_inflight=1, max_inflight_bytes=1000))
    assert done.run["queue_depth"]["achieved"]["max"] == 1
    assert done.run["peak_inflight_gate"] == {"ops": 1, "bytes": 1 << 16}
    assert done.run["lateness_by_cause_us"]["cap_stall"]["sum"] > 0


@pytest.mark.parametrize("pace", ["think", "asap"])
def test_repetitions_of_a_closed_loop_do_not_overlap(folder: Path, pace: str) -> None:
    """Nobody starts the second repetition before all have ended the first."""
    trace = Trace.of(
        Op(file_uri(folder / str(tid)), 0, 100, i * MS, t_complete=i * MS + 1000, ret=100, pid=1, tid=tid, sample_id=i)
        for i, tid in enumerate([0, 1, 2] * 4)
    )
    done = replay(trace, Options(pace=pace, loop=3))
    assert len(done.trace) == 36
    ids = [op.sample_id for op in done.trace]
    assert [sorted(map(int, filter(lambda x: x is not None, ids[i : i + 12]))) for i in (0, 12, 24)] == [
        list(range(12))
    ] * 3


def test_a_second_generation_waits_for_the_first(folder: Path) -> None:
    """In asap the streams of a second epoch still begin after those of the first have ended."""
    rows = [
        Op(file_uri(folder / "0"), 0, 1 << 16, i * MS, t_complete=i * MS + 10, ret=1 << 16, pid=1, tid=1)
        for i in range(50)
    ]
    rows += [Op(file_uri(folder / "1"), 0, 10, 100 * MS, t_complete=100 * MS + 10, ret=10, pid=2, tid=2)]
    done = replay(Trace.of(rows), Options(pace="asap"))
    assert [op.pid for op in done.trace] == [1] * 50 + [2]


def test_a_stop_from_outside_ends_the_run(folder: Path) -> None:
    """Whoever holds the control can end a run that has an hour to go; what was done is in the outcome."""
    trace = Trace.of(Op(file_uri(folder / "0"), 0, 10, t, pid=1, tid=1) for t in (0, 3600 * 1000 * MS))
    plan = make_plan(trace, Options())
    control = Control()
    threading.Timer(0.2, control.stop.set).start()
    started = time.monotonic()
    outcome = choose("threads", plan).engine.run(plan, control)
    assert outcome.logs[0].done == 1
    assert time.monotonic() - started < 60


def test_progress_is_reported_while_it_runs(folder: Path) -> None:
    """Several times a second, with what is done so far."""
    listener = Listening()
    trace = ops_of(folder, *[("read", "0", 0, 10)] * 500)
    replay(trace, listener=listener)
    assert listener.states
    assert all(0 <= state.done <= 500 for state in listener.states)


@pytest.mark.parametrize("engine", ["native", "threads"])
def test_progress_counts_the_bytes_that_were_delivered(folder: Path, engine: str) -> None:
    """Of a mebibyte asked of a file of 64 KiB only these are counted: the rate that is shown is that of the data."""
    listener = Listening()
    trace = ops_of(folder, *[("read", "0", 0, 1 << 20)] * 500, ret=1 << 16)
    done = replay(trace, Options(engine=engine), listener=listener)
    assert done.run["moved_bytes"] == 500 << 16
    assert all(state.moved <= 500 << 16 for state in listener.states)


def test_a_defect_of_ours_ends_the_run_instead_of_hanging_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no OSError comes out of the engine, and no thread is left behind."""

    class Broken(PythonClock):
        def read(self, *_: object) -> tuple[int, int, int, int]:
            raise ZeroDivisionError

    plan = make_plan(ops_of(folder, ("read", "0", 0, 10)), Options())
    with pytest.raises(ZeroDivisionError):
        ThreadsEngine(Broken()).run(plan, Control())
    assert not any(thread.name.startswith("stream") for thread in threading.enumerate())


def test_reads_that_fail_keep_the_schedule() -> None:
    """EIO on one file is counted by name; the other file's reads are all there and the deadlines stand."""
    storage = MemoryStorage(
        {"file:///m/good": bytes(100), "file:///m/bad": bytes(100)}, failing={"file:///m/bad": errno.EIO}
    )
    trace = Trace.of(
        Op(f"file:///m/{name}", 0, 10, i * MS, ret=10, pid=1, tid=1) for i, name in enumerate(["good", "bad"] * 10)
    )
    clock = PythonClock()
    done = replay(trace, choice=Choice(ThreadsEngine(clock), clock, "test"), storage_of=lambda _: storage)
    assert errors(done) == {"EIO": 10}
    # On a busy machine it may have been late besides, and then says that first.
    assert done.run["verdict"] != "VALID"
    assert any("ops failed that had not failed in the recording: EIO 10" in reason for reason in done.run["reasons"])
    assert done.trace.col("t_due").tolist() == [i * MS for i in range(20)]
    assert [op.ret for op in done.trace] == [10, None] * 10


def test_scratch_needs_a_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is missing, that may not be written or is too small is known before the first op."""
    trace = ops_of(folder, ("write", "new", 0, 1 << 20))
    with pytest.raises(InputError, match="does not exist"):
        replay(trace, Options(scratch=str(folder / "no")))
    huge = ops_of(folder, *[("write", f"new{i}", (1 << 50), 10) for i in range(9)])
    with pytest.raises(InputError, match="are free"):
        replay(huge, Options(scratch=str(folder)))
    monkeypatch.setattr(session.scratch.os, "access", lambda *_: False)
    with pytest.raises(CannotRunError, match="may not be written"):
        replay(trace, Options(scratch=str(folder)))
    assert len(os.listdir(folder)) == 8
