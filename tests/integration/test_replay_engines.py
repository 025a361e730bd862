"""Every engine keeps the same promises: order, moments, caps, scratch, errors. Real files, real system calls."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from descriptors import open_descriptors

from tracekit.errors import CannotRunError
from tracekit.joining import concatenate
from tracekit.replay import engines, native
from tracekit.replay.engines import Choice, Control
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.replay.session import replay
from tracekit.storage import cache as page_cache
from tracekit.storage.direct import open_direct
from tracekit.storage.memory import MemoryStorage
from tracekit.trace import NULL, Op, Trace

core = pytest.importorskip("tracekit._core", reason="the native core is not built here")
ABILITY = native.probe(core)
MS = 1_000_000
SIZE = 200_000

needs_ring = pytest.mark.skipif(not ABILITY.usable, reason=ABILITY.reason)
ENGINES = ["threads", "native", pytest.param("uring", marks=needs_ring)]
every_engine = pytest.mark.parametrize("engine", ENGINES)
native_engines = pytest.mark.parametrize("engine", ENGINES[1:])


@pytest.fixture
def files(tmp_path):
    """Four data files of 200,000 bytes; their URIs."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        (folder / f"f{number}").write_bytes(bytes([number + 1]) * SIZE)
    return [f"file://{folder}/f{number}" for number in range(4)]


def reads(files, *, streams=4, ops=25, gap=100_000, length=4096, seed=1):
    """Reads at random places of random files, one stream per thread, `gap` ns between the ops of a stream."""
    rng = np.random.default_rng(seed)
    rows = []
    for stream in range(streams):
        for index in range(ops):
            begin = index * gap + stream * 1000
            offset = int(rng.integers(0, SIZE - 2 * length))
            uri = files[int(rng.integers(0, len(files)))]
            rows.append(Op(uri, offset, length, begin, t_complete=begin + gap // 10, ret=length, pid=1, tid=stream))
    return Trace.of(rows).sorted()


def takes_direct(uri):
    """Whether the file system of the tests lets a file be read past the page cache."""
    handle = open_direct(uri.removeprefix("file://"))
    if handle is not None:
        handle.close()
    return handle is not None


def drop_pages(files):
    """Have none of the files' pages in memory."""
    for uri in files:
        with open(uri.removeprefix("file://"), "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def by_stream(trace):
    """The rows of each stream, in order of t_submit."""
    return [np.flatnonzero(trace.col("tid") == tid) for tid in np.unique(trace.col("tid"))]


def most_in_flight(trace, weights):
    """The largest sum of weights of ops in flight at once."""
    moments = np.concatenate([trace.col("t_complete"), trace.col("t_submit")])
    steps = np.concatenate([-weights, weights])
    return int(np.cumsum(steps[np.argsort(moments, kind="stable")]).max())


def test_the_layouts_are_those_of_the_core():
    """NumPy's structures and the core's have the same sizes, field by field in the same order."""
    assert {name: layout.itemsize for name, layout in native.LAYOUTS.items()} == core.replay_layouts()


def test_a_core_of_another_version_is_refused():
    """It would write beyond the memory it is given."""
    layouts = core.replay_layouts()
    other = SimpleNamespace(replay_layouts=lambda: layouts | {"outcome": layouts["outcome"] + 8})
    with pytest.raises(CannotRunError, match="of another version than the package"):
        native.NativeEngine(other, "native")


@every_engine
def test_every_op_is_issued_once_with_its_result(files, engine):
    """What comes out is what went in: file, place, length and bytes, stream by stream in order."""
    source = reads(files)
    done = replay(source, Options(engine=engine))
    assert done.trace.header.producer["engine"] == engine
    for name in ("uri", "offset", "len", "ret"):
        for ours, theirs in zip(by_stream(done.trace), by_stream(source), strict=True):
            np.testing.assert_array_equal(done.trace.col(name)[ours], source.col(name)[theirs])
    assert done.run["undelivered_ops"] == 0
    assert done.run["issued_bytes"] == len(source) * 4096


@every_engine
def test_short_reads_and_failures_are_results(files, engine):
    """A read over the end is short, one behind it empty, a file that goes is its errno; the schedule goes on."""
    source = Trace.of(
        [
            Op(files[0], SIZE - 100, 4096, 0, pid=1, tid=1, ret=100, t_complete=10),
            Op(files[0], SIZE + 5, 4096, 1000, pid=1, tid=1, ret=0, t_complete=1010),
            Op(files[1] + "-gone", 0, 4096, 2000, pid=1, tid=1, err="ENOENT", t_complete=2010),
            Op(files[1], 0, 0, 3000, pid=1, tid=1, ret=0, t_complete=3010),
        ]
    )
    done = replay(source, Options(engine=engine))
    assert done.trace.col("ret").tolist() == [100, 0, NULL, 0]
    assert [op.err for op in done.trace] == [None, None, "ENOENT", None]
    assert done.run["unexpected_errors"] == {}


@every_engine
def test_order_within_a_stream_is_kept(files, engine):
    """No op is issued before the one ahead of it has completed, even when all are due at once."""
    done = replay(reads(files, gap=10, ops=60, length=65_536), Options(engine=engine)).trace
    for rows in by_stream(done):
        assert (done.col("t_submit")[rows][1:] >= done.col("t_complete")[rows][:-1]).all()


@every_engine
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_nothing_is_early_and_the_schedule_is_the_recorded_one(files, engine, speed):
    """t_due is the recorded time divided by the speed, and no op is issued before it."""
    source = reads(files)
    done = replay(source, Options(engine=engine, speed=speed)).trace
    assert (done.col("t_submit") >= done.col("t_due")).all()
    for ours, theirs in zip(by_stream(done), by_stream(source), strict=True):
        expected = np.round(source.col("t_submit")[theirs] / speed)
        np.testing.assert_allclose(done.col("t_due")[ours], expected, atol=1)


@every_engine
def test_think_times_follow_completions_and_overshoot_is_paid_back(files, engine):
    """In a closed loop each op is due its think time after the one before, less what earlier ops were late."""
    source = reads(files, gap=2 * MS, ops=10)
    done = replay(source, Options(engine=engine, pace="think")).trace
    think = 2 * MS - 2 * MS // 10
    for rows in by_stream(done):
        due, submit, complete = (done.col(name)[rows] for name in ("t_due", "t_submit", "t_complete"))
        pauses = due[1:] - complete[:-1]
        assert (pauses <= think).all()
        # What is missing from the pauses was late before: think times and lateness add up.
        assert (len(pauses) * think - pauses.sum()) <= (submit - due)[:-1].sum() + 1


@every_engine
def test_a_stream_waits_for_the_one_it_followed(files, engine):
    """In a closed loop a stream that began after another had ended begins after it again."""
    rows = [Op(files[0], 0, 4096, n * 1000, t_complete=n * 1000 + 500, pid=1, tid=1) for n in range(20)]
    rows += [Op(files[1], 0, 4096, 30_000 + n * 1000, t_complete=30_500 + n * 1000, pid=1, tid=2) for n in range(5)]
    for pace in ("think", "asap"):
        done = replay(Trace.of(rows), Options(engine=engine, pace=pace, loop=2)).trace
        first, second = by_stream(done)
        assert len(first) == 40
        assert done.col("t_submit")[second[0]] >= done.col("t_complete")[first[19]]
        assert done.col("t_submit")[first[20]] >= done.col("t_complete")[second[4]]
        assert done.col("t_submit")[second[5]] >= done.col("t_complete")[first[39]]


@every_engine
def test_repetitions_follow_each_other_on_schedule(files, engine):
    """--loop issues the trace again one period later."""
    source = reads(files, streams=2, ops=5)
    done = replay(source, Options(engine=engine, loop=3))
    assert len(done.trace) == 3 * len(source)
    for rows in by_stream(done.trace):
        due = done.trace.col("t_due")[rows]
        assert (due[5:] - due[:-5] == done.plan.period).all()


@every_engine
@pytest.mark.parametrize("cap", [1, 3])
def test_the_cap_on_ops_holds(files, engine, cap):
    """At no moment are more ops in flight than allowed, and waiting for that is booked as such."""
    source = reads(files, streams=8, gap=10, length=65_536)
    done = replay(source, Options(engine=engine, max_inflight=cap))
    assert most_in_flight(done.trace, np.ones(len(source), np.int64)) <= cap
    assert done.run["peak_inflight_gate"]["ops"] <= cap
    # The Python threads take turns at the interpreter lock, so they may never be in a call at once.
    assert done.run["lateness_by_cause_us"]["cap_stall"]["sum"] > 0 or engine == "threads"
    assert len(done.trace) == len(source)


@every_engine
def test_the_cap_on_bytes_holds_and_larger_ops_go_alone(files, engine):
    """Bytes in flight stay below the cap unless one op is larger than it; then nothing joins it, and nobody starves."""
    cap = 50_000
    rows = []
    for stream in range(6):
        for index in range(15):
            length = 150_000 if (stream + index) % 5 == 0 else 20_000
            rows.append(Op(files[stream % 4], 0, length, index * 10, t_complete=index * 10 + 5, pid=1, tid=stream))
    done = replay(Trace.of(rows).sorted(), Options(engine=engine, max_inflight_bytes=cap)).trace
    assert len(done) == len(rows)
    small = np.where(done.col("len") <= cap, done.col("len"), 0)
    assert most_in_flight(done, small) <= cap
    large = done.col("len") > cap
    for row in np.flatnonzero(large):
        joined = (done.col("t_submit") < done.col("t_complete")[row]) & (
            done.col("t_complete") > done.col("t_submit")[row]
        )
        assert joined.sum() == 1


@native_engines
def test_global_order_holds_across_streams(files, engine):
    """With --order global ops are issued in the recorded order, whatever stream they belong to."""
    source = reads(files, streams=6, gap=1000, length=65_536)
    done = replay(source, Options(engine=engine, order="global", max_inflight=3)).trace
    submitted = np.zeros(len(source), np.int64)
    for ours, theirs in zip(by_stream(done), by_stream(source), strict=True):
        submitted[theirs] = done.col("t_submit")[ours]
    assert (np.diff(submitted) >= 0).all()
    assert len(np.unique(source.col("tid")[np.argsort(submitted, kind="stable")][:6])) > 1


@every_engine
def test_names_are_touched_as_recorded_and_nothing_stays_open(files, engine, tmp_path):
    """open, close, stat, list and mmap are issued in their stream; descriptors nobody closed are closed afterwards."""
    before = open_descriptors()
    kinds = ["list", "stat", "open", "open", "read", "mmap", "close", "fsync"]
    rows = [
        Op(f"file://{tmp_path}/data" if kind == "list" else files[0], 0, 4096, n * 1000, op=kind, pid=1, tid=1)
        for n, kind in enumerate(kinds)
    ]
    rows.append(Op(files[1], None, 0, 9000, op="close", pid=1, tid=1))
    done = replay(Trace.of(rows), Options(engine=engine))
    assert [op.op for op in done.trace] == [*kinds, "close"]
    assert done.run["errors"] == {}
    assert done.run["unmatched_closes"] == 1
    assert open_descriptors() <= before


@every_engine
def test_an_open_without_another_end_is_over_at_once(engine, tmp_path):
    """A recorded open of a FIFO does not wait for a writer, which the program had and the replay has not."""
    os.mkfifo(tmp_path / "fifo")
    rows = [
        Op(f"file://{tmp_path}/fifo", None, 0, n, op=kind, pid=1, tid=1) for n, kind in enumerate(("open", "close"))
    ]
    run = replay(Trace.of(rows), Options(engine=engine)).run
    assert (run["ops"], run["errors"]) == (2, {})


@every_engine
def test_a_read_at_the_end_of_all_numbers_fails_alone(files, engine):
    """A place that the recording could not read either is an error of that op; the rest is read, past the page cache too."""
    far = [Op(files[0], 2**63 - 1 - n, 4096, n, err="EINVAL", pid=1, tid=1) for n in (0, 4095, 4096)]
    source = Trace.of([*far, Op(files[0], 0, 4096, 5000, ret=4096, pid=1, tid=1)])
    for cache in ("default", "direct"):
        if cache == "direct" and not takes_direct(files[0]):
            continue
        done = replay(source, Options(engine=engine, cache=cache))
        assert done.trace.col("ret").tolist()[3:] == [4096]
        assert done.run["unexpected_errors"] == {}


@native_engines
def test_ten_thousand_streams_share_a_thousand_threads(files, engine, monkeypatch):
    """More streams than one thread each could serve: every op once, and few descriptors are enough."""
    before = open_descriptors()
    rows = [Op(files[n % 4], 4096 * (n % 16), 4096, n * 1000, pid=1, tid=n % 10_000) for n in range(12_000)]
    monkeypatch.setattr(native.resource, "getrlimit", lambda _: (10_100, 10_100))
    done = replay(Trace.of(rows), Options(engine=engine))
    assert (done.run["ops"], done.run["streams"], done.run["unexpected_errors"]) == (12_000, 10_000, {})
    assert sorted(zip(done.trace.col("tid").tolist(), done.trace.col("offset").tolist(), strict=True)) == sorted(
        (n % 10_000, 4096 * (n % 16)) for n in range(12_000)
    )
    assert open_descriptors() <= before


@every_engine
def test_changes_happen_in_scratch(files, engine, tmp_path):
    """Writes, appends, fsync and deletes leave the recorded data alone, and reads of what was written find it."""
    new = f"file://{tmp_path}/data/new"
    rows = [
        Op(new, None, 0, 0, op="open", pid=1, tid=1),
        Op(new, 0, 3_000_000, 1000, op="write", pid=1, tid=1),
        Op(new, None, 5000, 2000, op="write", pid=1, tid=1),
        Op(new, None, 0, 3000, op="fsync", pid=1, tid=1),
        Op(new, 2_999_000, 10_000, 4000, pid=1, tid=1, ret=6000),
        Op(new, None, 0, 5000, op="delete", pid=1, tid=1),
        Op(files[0], 10, 100, 6000, op="write", pid=1, tid=1),
        Op(files[0], None, 0, 7000, op="delete", pid=1, tid=1),
    ]
    before = (tmp_path / "data" / "f0").read_bytes()
    done = replay(Trace.of(rows), Options(engine=engine, scratch=str(tmp_path)))
    assert done.run["errors"] == {}
    assert done.trace.col("ret").tolist() == [NULL, 3_000_000, 5000, NULL, 6000, NULL, 100, NULL]
    assert (tmp_path / "data" / "f0").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["data"]
    assert not (tmp_path / "data" / "new").exists()


@every_engine
def test_direct_reads_are_rounded_outwards(files, engine):
    """O_DIRECT asks for the aligned range, and the result counts the bytes that were asked for."""
    rows = [Op(files[0], 1000, 3000, 0, pid=1, tid=1), Op(files[0], SIZE - 50, 4096, 1000, pid=1, tid=2, ret=50)]
    if open_direct(files[0].removeprefix("file://")) is None:
        pytest.skip("the file system under the tests refuses O_DIRECT")
    done = replay(Trace.of(rows), Options(engine=engine, cache="direct"))
    assert {op.tid: op.ret for op in done.trace} == {1: 3000, 2: 50}
    assert done.run["issued_bytes"] > done.run["moved_bytes"]
    assert {op.flags for op in done.trace} == {"direct"}


@every_engine
def test_too_many_failures_stop_the_run(files, engine, tmp_path):
    """More failures than --max-errors end it; the ones the recording had too are not counted."""
    source = reads(files, streams=2, ops=50, gap=MS)
    plan = make_plan(source, Options(engine=engine, max_errors=3))
    choice = engines.choose(engine, plan)
    for name in os.listdir(tmp_path / "data"):
        (tmp_path / "data" / name).unlink()
    outcome = choice.engine.run(plan, Control())
    assert "--max-errors" in outcome.stopped
    assert 4 <= sum(log.done for log in outcome.logs) < len(source)
    assert set(np.concatenate([log.error[: log.done] for log in outcome.logs]).tolist()) == {errno.ENOENT}


class SlowToBegin(threading.Barrier):
    """One that the supervising thread leaves the second time only after a stream has broken it."""

    passed = 0

    def wait(self, timeout=None):
        """Meet the others."""
        place = super().wait(timeout)
        if threading.current_thread() is threading.main_thread():
            self.passed += 1
            for _ in range(1000 if self.passed == 2 else 0):
                if self.broken:
                    raise threading.BrokenBarrierError
                time.sleep(0.01)
        return place


def test_a_run_that_fails_before_it_is_seen_to_begin_is_stopped_all_the_same(files, tmp_path, monkeypatch):
    """On a busy machine the streams may have failed before the thread that started them goes on."""
    plan = make_plan(reads(files), Options(engine="threads", max_errors=0))
    choice = engines.choose("threads", plan)
    for name in os.listdir(tmp_path / "data"):
        (tmp_path / "data" / name).unlink()
    monkeypatch.setattr(threading, "Barrier", SlowToBegin)
    assert "--max-errors" in choice.engine.run(plan, Control()).stopped


@every_engine
def test_a_run_can_be_stopped(files, engine):
    """`Control.stop` ends a long run; what was done is a prefix of every stream."""
    source = reads(files, ops=1000, gap=5 * MS)
    plan = make_plan(source, Options(engine=engine))
    control = Control()
    timer = threading.Timer(0.3, control.stop.set)
    timer.start()
    outcome = engines.choose(engine, plan).engine.run(plan, control)
    timer.join()
    for log in outcome.logs:
        assert 0 < log.done < 1000
        assert (np.diff(log.submit[: log.done]) > 0).all()


@every_engine
def test_control_c_ends_the_run_and_keeps_what_was_done(files, engine):
    """A KeyboardInterrupt in the main thread stops issuing; the outcome says so and has the ops that were done."""
    plan = make_plan(reads(files, ops=1000, gap=5 * MS), Options(engine=engine))
    choice = engines.choose(engine, plan)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        outcome = choice.engine.run(plan, Control())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert outcome.interrupted
    assert 0 < sum(log.done for log in outcome.logs) < 4000
    assert all((log.complete[: log.done] >= log.submit[: log.done]).all() for log in outcome.logs)


@every_engine
def test_progress_is_heard(files, engine):
    """The engine reports how far it is from the thread that called it, and the count never falls."""
    heard = []
    plan = make_plan(reads(files, ops=100, gap=5 * MS), Options(engine=engine))
    engines.choose(engine, plan).engine.run(
        plan, Control(lambda state: heard.append((state.done, threading.get_ident())))
    )
    assert len(heard) >= 3
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert {thread for _, thread in heard} == {threading.get_ident()}


@native_engines
def test_a_listener_that_raises_ends_the_run(files, engine):
    """An exception of the progress listener stops the engine and comes out."""

    def fail(_):
        raise LookupError("enough")

    plan = make_plan(reads(files, ops=1000, gap=5 * MS), Options(engine=engine))
    with pytest.raises(LookupError, match="enough"):
        engines.choose(engine, plan).engine.run(plan, Control(fail))


def test_few_workers_serve_many_streams(files, monkeypatch):
    """With fewer threads than streams all ops are issued in order, and waiting for a thread is booked as that."""
    monkeypatch.setattr(native, "MAX_WORKERS", 2)
    source = reads(files, streams=30, ops=20, gap=20_000, length=65_536)
    done = replay(source, Options(engine="native"))
    assert done.run["threads"] == 2
    assert len(done.trace) == len(source)
    assert most_in_flight(done.trace, np.ones(len(source), np.int64)) <= 2
    assert done.run["lateness_by_cause_us"]["no_free_worker"]["sum"] > 0
    for rows in by_stream(done.trace):
        assert (done.trace.col("t_submit")[rows][1:] >= done.trace.col("t_complete")[rows][:-1]).all()


@pytest.mark.parametrize(("realtime", "cached"), [(True, True), (True, False), (False, True)])
def test_bursts_over_more_streams_than_workers_are_done_once_and_in_order(files, realtime, cached):
    """Sixty streams due within microseconds, again and again: whoever takes an op, it is done once, after the one before it.

    Also where reads block whose worker has taken several: the others are given back.
    """
    if not cached:
        drop_pages(files)
    rows = [
        Op(
            files[stream % 4],
            4096 * burst,
            4096,
            burst * 2 * MS + stream * 1000,
            t_complete=burst * 2 * MS + stream * 1000 + 500,
            pid=1,
            tid=stream,
        )
        for burst in range(20)
        for stream in range(60)
    ]
    done = replay(Trace.of(rows).sorted(), Options(engine="native", realtime=realtime)).trace
    assert len(done) == len(rows)
    assert (done.col("ret") == 4096).all()
    assert (done.col("t_submit") >= done.col("t_due")).all()
    for mine in by_stream(done):
        assert (done.col("t_submit")[mine][1:] >= done.col("t_complete")[mine][:-1]).all()
        assert (np.diff(done.col("offset")[mine]) == 4096).all()


@every_engine
def test_reads_that_block_are_done_like_others(files, engine):
    """With none of the pages in memory at first, every op is done once, in order, at its moment or later."""
    source = reads(files, ops=3000, gap=50_000)
    drop_pages(files)
    done = replay(source, Options(engine=engine)).trace
    assert (done.col("ret") == 4096).all()
    assert (done.col("t_submit") >= done.col("t_due")).all()
    for ours, theirs in zip(by_stream(done), by_stream(source), strict=True):
        np.testing.assert_array_equal(done.col("offset")[ours], source.col("offset")[theirs])
        assert (done.col("t_submit")[ours][1:] >= done.col("t_complete")[ours][:-1]).all()


def test_a_stream_longer_than_what_is_opened_ahead_is_done(files):
    """What comes behind the first 131,072 ops is opened on the way."""
    source = reads(files[:2], streams=1, ops=135_000, gap=3000, length=512)
    late = reads(files[2:], streams=1, ops=100, gap=3000, length=512)
    late.columns["t_submit"] += 135_000 * 3000
    late.columns["t_complete"] += 135_000 * 3000
    done = replay(concatenate([source, late]), Options(engine="native")).trace
    assert len(done) == 135_100
    assert (done.col("ret") == 512).all()


@native_engines
def test_reading_leaves_access_times_as_they_are(files, engine):
    """What a replay reads looks as if nobody had read it since."""
    path = files[0].removeprefix("file://")
    os.utime(path, (1_000_000, 2_000_000))
    replay(Trace.of([Op(files[0], 0, 4096, 0, t_complete=10, pid=1, tid=1)]), Options(engine=engine))
    assert os.stat(path).st_atime == 1_000_000


@pytest.mark.parametrize("streams", [1, 4, 40])
def test_fast_reads_leave_the_descriptors_of_the_process_alone(files, streams):
    """With a table of descriptors per thread and without, nothing stays open, and what was open is the same file still."""
    folder = os.path.dirname(files[0].removeprefix("file://"))
    with open(f"{folder}/f0", "rb") as mine:
        for loop in (1, 3):
            done = replay(reads(files, streams=streams), Options(engine="native", pace="asap", loop=loop)).trace
            assert (done.col("ret") == 4096).all()
        places = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        assert [place for place in places if place.startswith(f"{folder}/f")] == [f"{folder}/f0"]
        assert mine.read(1) == b"\x01"


def most_descriptors(trace, engine):
    """A replay of the trace, and how many descriptors this process had at most meanwhile."""
    seen, over = [], threading.Event()

    def look():
        while not over.wait(0.005):
            seen.append(len(os.listdir("/proc/self/fd")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        done = replay(trace, Options(engine=engine)).trace
    finally:
        over.set()
        thread.join()
    return done, max(seen)


@native_engines
def test_streams_share_what_they_read_a_file_through_if_all_of_it_is_in_memory(files, engine):
    """Then the kernel reads nothing ahead, and a descriptor of a file serves all streams; else each has its own."""
    trace = reads(files, streams=16, ops=100, gap=4 * MS)
    for uri in files:
        page_cache.fill(uri.removeprefix("file://"))
    shared, few = most_descriptors(trace, engine)
    drop_pages(files)
    if page_cache.residency(uri.removeprefix("file://") for uri in files).resident:
        pytest.skip("the file system of the tests keeps its pages")
    apart, many = most_descriptors(trace, engine)
    assert (shared.col("ret") == 4096).all()
    assert (apart.col("ret") == 4096).all()
    assert many - few > 16 * 4 / 2


@pytest.mark.parametrize("end", ["stat", "read", "short"])
def test_reads_in_a_row_end_where_another_op_comes(files, end):
    """A stream as fast as possible: short reads, large ones, other kinds and failures in between change nothing for the rest."""
    ops = [Op(files[n % 4], n % 40 * 4096, 4096, n, t_complete=n + 1, pid=1, tid=1) for n in range(50)]
    last = {
        "stat": Op(files[0], None, 0, 50, op="stat", t_complete=51, pid=1, tid=1),
        "read": Op(files[0], 0, 150_000, 50, t_complete=51, pid=1, tid=1),
        "short": Op(files[0], SIZE - 10, 4096, 50, t_complete=51, ret=10, pid=1, tid=1),
    }[end]
    after = [Op(files[0], 4096, 4096, 51 + n, t_complete=52 + n, pid=1, tid=1) for n in range(5)]
    done = replay(Trace.of([*ops, last, *after]), Options(engine="native", pace="asap", loop=2)).trace
    reads_of = [op for op in done if op.op == "read"]
    assert len(done) == 112
    assert [op.ret for op in reads_of] == [min(op.len, SIZE - op.offset) for op in reads_of]
    assert (done.col("t_submit")[1:] >= done.col("t_complete")[:-1]).all()


def test_a_worker_that_waits_is_called_back_for_what_is_due_earlier(files, monkeypatch):
    """Streams that are freed by another's end do not wait behind a thread asleep for a far moment."""
    monkeypatch.setattr(native, "MAX_WORKERS", 2)
    rows = [Op(files[0], 0, 4096, 0, t_complete=1000, pid=1, tid=1)]
    rows += [Op(files[0], 0, 4096, t, t_complete=t + 1000, pid=1, tid=2) for t in (0, 400 * MS)]
    rows += [Op(files[1], 0, 4096, 20 * MS, t_complete=20 * MS + 1000, pid=1, tid=tid) for tid in (3, 4, 5)]
    # A busy machine may keep them waiting for as long; behind a thread asleep they would be late every time.
    for _ in range(5):
        done = replay(Trace.of(rows).sorted(), Options(engine="native", pace="think")).trace
        freed = done.col("t_submit")[done.col("tid") >= 3]
        if (freed < 200 * MS).all():
            break
    assert (freed < 200 * MS).all()


@native_engines
def test_files_are_opened_again_when_there_is_no_room_for_all(files, engine, monkeypatch):
    """With a single handle at a time every read still reads its own file."""
    monkeypatch.setattr(native, "_handles", lambda *_: 1)
    source = reads(files, length=100, gap=10)
    sizes = [10, 20, 30, 40]
    for uri, size in zip(source.uris, sizes, strict=True):
        os.truncate(uri.removeprefix("file://"), size)
    source.columns["offset"][:] = 0
    source.columns["ret"][:] = np.array(sizes)[source.col("uri")]
    done = replay(source, Options(engine=engine))
    np.testing.assert_array_equal(done.trace.col("ret"), np.array(sizes)[done.trace.col("uri")])
    assert done.run["errors"] == {}


def test_the_engine_is_chosen_with_a_reason(files):
    """auto: threads of the core for the page cache and with think times, the ring for O_DIRECT, Python for what is no file."""
    source = reads(files)
    assert engines.choose("auto", make_plan(source, Options())).engine.name == "native"
    direct = engines.choose("auto", make_plan(source, Options(cache="direct")))
    assert direct.engine.name == ("uring" if ABILITY.usable else "native")
    thinking = engines.choose("auto", make_plan(source, Options(cache="direct", pace="think")))
    assert (thinking.engine.name, "think times" in thinking.reason or not ABILITY.usable) == ("native", True)
    memory = MemoryStorage({uri: bytes(SIZE) for uri in files})
    plan = make_plan(source, Options(), storage_of=lambda _: memory)
    chosen = engines.choose("auto", plan)
    assert (chosen.engine.name, "no local file" in chosen.reason) == ("threads", True)
    with pytest.raises(CannotRunError, match="no local file"):
        engines.choose("native", plan)


def test_the_python_threads_do_not_pretend_to_keep_global_order(files):
    """What an engine cannot do is an error, not a silent omission."""
    plan = make_plan(reads(files), Options(order="global"))
    with pytest.raises(CannotRunError, match="within each stream only"):
        engines.choose("threads", plan)
    assert engines.choose("auto", plan).engine.name == "native"


@pytest.mark.serial
@native_engines
def test_priority_goes_when_a_core_is_used_up(files, engine):
    """A run that keeps a core busy throughout loses real-time priority before the kernel stops it for 50 ms."""
    source = reads(files, streams=1, ops=600_000, gap=100)
    # Beside others of real-time priority, such as another run of these tests, it may not have had a core for itself.
    for _ in range(4):
        run = replay(source, Options(engine=engine)).run
        if run["priority"].startswith("normal"):
            pytest.skip(run["priority"])
        if "taken away" in run["priority"]:
            break
    assert "taken away" in run["priority"]


def policies_of_threads(seen):
    """Note each thread's scheduling policies and priorities in the order it had them."""
    for name in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):
            policy = os.sched_getscheduler(int(name)) & ~os.SCHED_RESET_ON_FORK
            now, had = (policy, os.sched_getparam(int(name)).sched_priority), seen.setdefault(int(name), [])
            if had[-1:] != [now]:
                had.append(now)


@pytest.mark.parametrize("engine", ["native", "uring"])
def test_threads_get_the_callers_own_policy_back_with_their_priority(files, engine):
    """Who calls with SCHED_BATCH has it again behind the run, and its threads when real-time priority is taken away from them."""
    source, runs, after = reads(files, streams=1, ops=600_000, gap=100), [], []

    def call():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        for _ in range(4):
            runs.append(replay(source, Options(engine=engine)).run)
            after.append(os.sched_getscheduler(0))
            if runs[-1]["priority"].startswith("normal") or "taken away" in runs[-1]["priority"]:
                break

    seen, before = {}, {int(name) for name in os.listdir("/proc/self/task")}
    caller = threading.Thread(target=call)
    caller.start()
    while caller.is_alive():
        policies_of_threads(seen)
        time.sleep(0.002)
    caller.join()
    assert set(after) == {os.SCHED_BATCH}
    if runs[-1]["priority"].startswith("normal"):
        pytest.skip(runs[-1]["priority"])
    # Those of priority 1 issue ops; above are those that look for standstills, which are normal before and after.
    raised = (os.SCHED_FIFO, 1)
    threads = [had for tid, had in seen.items() if tid not in before | {caller.native_id} and raised in had]
    lost = [state for had in threads for state in had[had.index(raised) + 1 :] if state != raised]
    assert lost
    assert set(lost) == {(os.SCHED_BATCH, 0)}


def test_without_io_uring_threads_do_it_and_say_why(files, monkeypatch):
    """Where the ring is refused, auto takes threads with the reason, and asking for it is an error."""
    monkeypatch.setattr(native, "probe", lambda _: native.Ability(usable=False, reason="io_uring is forbidden here"))
    plan = make_plan(reads(files), Options(cache="direct"))
    chosen = engines.choose("auto", plan)
    assert isinstance(chosen, Choice)
    assert (chosen.engine.name, "forbidden" in chosen.reason) == ("native", True)
    with pytest.raises(CannotRunError, match="forbidden"):
        engines.choose("uring", plan)


# BPF: return EPERM for io_uring_setup (425 on every architecture), allow the rest. No architecture check: this is a test.
FORBID = """
import ctypes, struct, sys
filters = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(4, ctypes.addressof(code))), 0, 0) == 0, ctypes.get_errno()
from tracekit import _core
from tracekit.replay import native
ability = native.probe(_core)
print(ability.usable, ability.reason)
"""


def test_a_container_that_forbids_io_uring_is_recognised():
    """Under a seccomp filter like a container's, the probe says that io_uring is forbidden."""
    done = subprocess.run([sys.executable, "-c", FORBID], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("False io_uring is forbidden")


# capset(2): everything this process may do, but CAP_SYS_NICE (23).
UNPRIVILEGED = """
import ctypes, resource, sys
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
libc, head, data = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(head, data) == 0
for word in range(3):
    data[word] &= ~(1 << 23)
assert libc.capset(head, data) == 0
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.trace import Trace, Op
trace = Trace.of(Op(sys.argv[1], 0, 10, n * 1000, pid=1, tid=1) for n in range(10))
print(replay(trace, Options(engine="native")).run["priority"])
"""


def test_without_permission_the_priority_stays_normal_and_that_is_said(tmp_path):
    """Real-time priority that is refused is named with the reason; the run goes on."""
    file = tmp_path / "open"
    file.write_bytes(bytes(100))
    command = [sys.executable, "-c", UNPRIVILEGED, f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("normal: real-time priority was refused")


@needs_ring
def test_helpers_of_a_ring_have_its_priority(files):
    """A stream waits for the thread that opens its file as for the one that reads: all five have the priority, or none."""
    ops = [
        Op(files[n % 4], None if n % 2 else 0, 0 if n % 2 else 4096, n * MS, op="stat" if n % 2 else "read",
           t_complete=n * MS + 1000, pid=1, tid=n % 2)
        for n in range(400)
    ]  # fmt: skip
    seen = []

    def look(_):
        with suppress(ProcessLookupError):  # a thread that ended meanwhile
            # Those that look for standstills of the machine have a higher one.
            threads = [int(tid) for tid in os.listdir("/proc/self/task")]
            seen.append(
                sum(
                    os.sched_getscheduler(tid) == os.SCHED_FIFO and os.sched_getparam(tid).sched_priority == 1
                    for tid in threads
                )
            )

    # The calling thread has it too, with another flag; towards the end of the run threads go one by one, and a busy machine may
    # let nobody look before.
    for _ in range(5):
        plan = make_plan(Trace.of(ops), Options(engine="uring"))
        priority = engines.choose("uring", plan).engine.run(plan, Control(look)).priority
        if priority != "real-time" or 5 in seen:
            break
    assert "taken away" in priority or (5 in seen if priority == "real-time" else not any(seen))


@native_engines
def test_priority_can_be_declined_and_asap_never_asks(files, engine):
    """--no-realtime keeps normal priority; a run without schedule has nothing to be punctual for."""
    source = reads(files, ops=5)
    assert replay(source, Options(engine=engine, realtime=False)).run["priority"] == "normal: asked for"
    assert "no schedule" in replay(source, Options(engine=engine, pace="asap")).run["priority"]


@pytest.mark.parametrize("how", [0, pytest.param(1, marks=needs_ring)])
def test_records_can_go_to_a_file_as_they_come(files, how, tmp_path):
    """Without rows for all, the records of a run are appended to a file: each exactly once, the same as in rows."""
    plan = make_plan(reads(files, streams=8, ops=2000, gap=10), Options(pace="asap"))
    streams = native._streams(plan)
    ops = plan.ops_file.records.read(0, plan.count)
    table, answer = native._Files(plan), np.zeros(1, native.OUTCOME)
    with open(tmp_path / "records", "wb") as sink:
        core.replay_run(
            how=how, pace=2, ops=ops.ctypes.data, op_count=len(ops), streams=streams.ctypes.data, stream_count=8,
            files=table.table.ctypes.data, file_count=len(files), results=0, results_fd=sink.fileno(), chunks=12, turns=1,
            period=1, max_ops=0, max_bytes=0, max_errors=-1, workers=8, handles=4, keys=4, spare_bytes=1 << 20, in_order=False,
            release=False, realtime=False, helped=False, outcome=answer.ctypes.data, report=None,
        )  # fmt: skip
    records = np.fromfile(tmp_path / "records", native.RESULT)
    assert sorted(records["row"].tolist()) == list(range(16_000))
    assert (records["result"] == 4096).all()
    assert int(answer["done"][0]) == 16_000


def test_a_full_disk_for_the_records_stops_the_run(files):
    """When the records cannot be written the run ends and says why, instead of losing them."""
    plan = make_plan(reads(files, streams=4, ops=20_000, gap=10), Options(pace="asap"))
    streams = native._streams(plan)
    ops = plan.ops_file.records.read(0, plan.count)
    table, answer = native._Files(plan), np.zeros(1, native.OUTCOME)
    with open("/dev/full", "wb") as sink:
        core.replay_run(
            how=0, pace=2, ops=ops.ctypes.data, op_count=len(ops), streams=streams.ctypes.data, stream_count=4,
            files=table.table.ctypes.data, file_count=len(files), results=0, results_fd=sink.fileno(), chunks=8, turns=50,
            period=1, max_ops=0, max_bytes=0, max_errors=-1, workers=4, handles=4, keys=4, spare_bytes=1 << 20, in_order=False,
            release=False, realtime=False, helped=False, outcome=answer.ctypes.data, report=None,
        )  # fmt: skip
    assert int(answer["stopped"][0]) == 3
    assert int(answer["trouble"][0]) == errno.ENOSPC


def test_impossible_arguments_are_refused():
    """Missing arrays and no place for results are a ValueError before anything is touched."""
    numbers = dict.fromkeys(
        ["how", "pace", "ops", "op_count", "streams", "stream_count", "files", "file_count", "results", "chunks", "turns",
         "period", "max_ops", "max_bytes", "max_errors", "workers", "handles", "keys", "spare_bytes", "outcome"], 0
    )  # fmt: skip
    flags = {"in_order": False, "release": False, "realtime": False, "helped": False}
    with pytest.raises(ValueError, match="replay_run needs"):
        core.replay_run(**numbers, **flags, results_fd=-1, report=None)


def test_descriptors_stay_within_the_limit(files):
    """However many files a trace has, the engines ask for no more handles than the limit leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    plan = make_plan(reads(files), Options())
    plan.files *= 1 + hard // 4
    assert native._handles(plan, "uring") < hard
    assert native._handles(plan, "native") * len(plan.jobs) < hard


MEMORY = """
import sys
from tracekit.replay import engines
from tracekit.replay.engines import Control
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.trace import Op, Trace
ops = [Op(sys.argv[2], 0, 4 << 20, n, pid=1, tid=n % 32) for n in range(320)]
plan = make_plan(Trace.of(ops), Options(engine=sys.argv[1], pace="asap", max_inflight_bytes=8 << 20))
engine = engines.choose(sys.argv[1], plan).engine
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
open("/proc/self/clear_refs", "w").write("5")
before = peak()
outcome = engine.run(plan, Control())
assert sum(log.ret.sum() for log in outcome.logs) == 320 * (4 << 20)
print(peak() - before)
"""


@native_engines
def test_buffers_are_bounded_by_the_byte_cap(tmp_path, engine):
    """32 streams of 4 MiB reads under a cap of 8 MiB: the process grows by the cap and what may be kept, not by 128 MiB."""
    file = tmp_path / "large"
    file.write_bytes(bytes(4 << 20))
    command = [sys.executable, "-c", MEMORY, engine, f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 < 32 + 8


@every_engine
@pytest.mark.parametrize("pace", ["recorded", "think", "asap"])
def test_a_run_begins_when_it_is_told_to(files, engine, pace):
    """No op goes before the moment of the start, and the schedule counts from it."""
    plan = make_plan(reads(files, streams=2, ops=5), Options(engine=engine, pace=pace))
    start = time.monotonic_ns() + 200 * MS
    outcome = engines.choose(engine, plan).engine.run(plan, Control(start_at=start))
    assert outcome.t0 >= start
    if pace != "asap":
        assert outcome.t0 == start
    assert min(int(log.submit[: log.done].min()) for log in outcome.logs) >= start
