"""Ranks without MPI: messages in memory, clocks that go wrong, ranks that fall silent."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from memory_wire import wires

from tracekit.errors import CannotRunError, InputError, TracekitError, UsageError
from tracekit.replay import clocks
from tracekit.replay.clocks import Offset, answer, measure
from tracekit.replay.compile import compile_trace
from tracekit.replay.conductors import FailedRanksError
from tracekit.replay.handover import pulled, pushed
from tracekit.replay.joint import write_joined
from tracekit.replay.options import Options
from tracekit.replay.ranks import LostError, Ranks, StoppedError
from tracekit.replay.result import joined
from tracekit.replay.session import Kept, Silent, replay
from tracekit.replay.share import divide
from tracekit.replay.together import Job, Part, follow, lead, plan_job
from tracekit.replay.verdict import DEGRADED, NOT_SUSTAINED, TARGET_LIMITED, VALID, Verdict, worst
from tracekit.replay.wire import launched, mpi_wire
from tracekit.trace import Op, StringTable, Trace
from tracekit.uri import file_uri

MS = 1_000_000


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that are threads hand the interpreter's lock to one another with every question."""
    monkeypatch.setattr(clocks, "ROUNDS", 6)


def beside(work: Callable[[], Any]) -> threading.Thread:
    """Do something in a thread of its own."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# -- who replays what --------------------------------------------------------------------------------------------------


def trace_of(*streams: tuple[int, int], rank: Callable[[int], int | None] = lambda _: None) -> Trace:
    """Streams of (ops, bytes an op), a millisecond apart."""
    return Trace.of(
        Op("/d", 0, length, index * MS, pid=1, tid=tid, rank=rank(tid))
        for tid, (ops, length) in enumerate(streams)
        for index in range(ops)
    )


def divided(trace: Trace, count: int) -> tuple[list[Any], str]:
    """The rows of each rank, and by what the trace was divided."""
    division = divide(compile_trace(trace), count)
    return [np.flatnonzero(division.mask(trace, rank)) for rank in range(count)], division.by


def test_streams_are_dealt_out_by_ops_and_bytes() -> None:
    """The heaviest first, each to the rank that has least: one large stream against three small ones."""
    trace = trace_of((30, 100), (10, 100), (10, 100), (10, 100))
    rows, by = divided(trace, 2)
    assert by == "ops and bytes"
    assert [sorted(set(trace.col("tid")[mine].tolist())) for mine in rows] == [[0], [1, 2, 3]]


def test_bytes_weigh_as_much_as_ops() -> None:
    """A stream of few large reads is no light one."""
    trace = trace_of((2, 1_000_000), (40, 10), (40, 10))
    rows, _ = divided(trace, 2)
    assert sorted(set(trace.col("tid")[rows[0]].tolist())) == [0]


def test_as_many_ranks_as_were_recorded_are_the_recorded_ones() -> None:
    """In their order, whatever their numbers and weights; with another count streams are dealt out."""
    trace = trace_of((1, 1), (50, 100), (1, 1), rank=lambda tid: 7 if tid else 3)
    rows, by = divided(trace, 2)
    assert by == "recorded rank"
    assert [sorted(set(trace.col("rank")[mine].tolist())) for mine in rows] == [[3], [7]]
    assert divided(trace, 3)[1] == "ops and bytes"


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1000)), max_size=8), st.integers(1, 5))
def test_every_op_has_one_rank_and_no_stream_has_two(streams: list[tuple[int, int]], count: int) -> None:
    """Whatever the trace, and however many ranks."""
    trace = trace_of(*streams)
    rows, _ = divided(trace, count)
    assert len(rows) == count
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(trace)))
    owners = [set(trace.col("tid")[mine].tolist()) for mine in rows]
    assert sum(map(len, owners)) == len(set(trace.col("tid").tolist()))


def test_a_share_begins_when_its_first_op_was_due() -> None:
    """Delays count from the first op of all, at the replay's speed; as fast as possible there are none."""
    source = Trace.of([Op("/d", 0, 1, 10 * MS, pid=1, tid=1), Op("/d", 0, 1, 50 * MS, pid=1, tid=2)])
    assert plan_job(lambda: [source], Options(speed=2.0), 2).delays_ns == [0, 20 * MS]
    assert plan_job(lambda: [source], Options(pace="asap"), 2).delays_ns == [0, 0]


def test_what_nobody_will_issue_is_no_share() -> None:
    """Ops that are left out weigh nothing in the division, and belong to a rank that replays something, which counts them."""
    source = Trace.of([Op("/d", 0, 1, 0, pid=1, tid=1), Op("/d", 0, 1, 1, op="write", pid=1, tid=2)])
    job = plan_job(lambda: [source], Options(writes="skip"), 2)
    assert [job.planned(rank) for rank in range(2)] == [1, 0]
    assert [sum(map(len, job.share(rank))) for rank in range(2)] == [2, 0]
    assert (job.source_ops, job.ops) == (2, 1)


def test_pieces_are_divided_as_the_whole_is() -> None:
    """However the trace is cut, and although pieces may lack columns that others have."""
    trace = trace_of((30, 100), (10, 100), (10, 100), rank=lambda tid: tid)
    cut = [trace.select(slice(first, first + 7)) for first in range(0, len(trace), 7)]
    job = plan_job(lambda: cut, Options(), 2)
    for rank in range(2):
        share = [tid for piece in job.share(rank) for tid in piece.col("tid").tolist()]
        mine = trace.select(divide(compile_trace(trace), 2).mask(trace, rank))
        assert share == mine.col("tid").tolist()


@pytest.mark.parametrize("options", [Options(loop=2), Options(order="global")])
def test_what_holds_within_one_process_is_refused(options: Options) -> None:
    """Repetitions and an order across streams would need the ranks to talk while they run."""
    with pytest.raises(UsageError, match="within one process"):
        plan_job(lambda: [trace_of((1, 1))], options, 2)


# -- messages, silence -------------------------------------------------------------------------------------------------


def test_messages_of_a_kind_wait_for_who_asks_for_them() -> None:
    """What came early is not lost, and what others sent is not mistaken for it."""
    one, two, three = (Ranks(wire) for wire in wires(3))
    two.post(0, "b", 1)
    three.post(0, "a", 2)
    two.post(0, "a", 3)
    assert one.take(1, "a") == ("a", 3)
    assert one.take(1, "a", "b") == ("b", 1)
    assert one.take(2, "a") == ("a", 2)


def test_signs_of_life_carry_the_state() -> None:
    """Rank 0 knows how far the others are, and where they are."""
    ends = wires(2)
    with Ranks(ends[0]) as leader, Ranks(ends[1]) as follower:
        follower.state = "half way"
        for _ in range(200):
            leader.listen()
            if leader.states.get(1) == "half way":
                break
            time.sleep(0.02)
        assert leader.states[1] == "half way"
        assert leader.hosts[1]


def test_who_is_silent_is_lost() -> None:
    """After the time of patience, no sooner; what was not listened to before is no silence."""
    ranks = Ranks(wires(3)[0], patience_s=0.3)
    time.sleep(0.5)
    began = time.monotonic()
    with pytest.raises(LostError, match="rank 2 has not answered for 0 s"):
        ranks.take(2, "anything")
    assert time.monotonic() - began >= 0.3


def test_signs_of_life_are_patience() -> None:
    """Whoever is slow but alive is waited for."""
    ends = wires(2)
    with Ranks(ends[0], patience_s=1.5) as leader, Ranks(ends[1]) as follower:
        beside(lambda: (time.sleep(2.5), follower.post(0, "late", 1)))
        assert leader.take(1, "late") == ("late", 1)


def test_all_can_be_stopped() -> None:
    """A rank that waits for something else hears it."""
    one, two = (Ranks(wire) for wire in wires(2))
    one.stop_all()
    with pytest.raises(StoppedError):
        two.take(0, "start")


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [0, 5_000_000_000, -3_000_000_000])
def test_offsets_are_found_within_their_error(skew: int) -> None:
    """A clock that is seconds off is known to microseconds, and the stated error holds."""
    one, two = (Ranks(wire) for wire in wires(2))
    thread = beside(lambda: answer(two, now=lambda: time.monotonic_ns() + skew))
    found = measure(one, 1)
    thread.join(10)
    assert abs(found.ns - skew) <= found.error_ns


def test_one_machine_has_one_clock_unless_it_shows_otherwise() -> None:
    """Ranks of one kernel agree exactly; a clock of its own (a time namespace) shows and counts."""
    for skew in (0, 10**9):
        one, two = (Ranks(wire) for wire in wires(2))
        thread = beside(lambda two=two, skew=skew: answer(two, now=lambda: time.monotonic_ns() + skew))
        found = measure(one, 1, same_machine=True)
        thread.join(10)
        assert (found == Offset()) == (skew == 0)
        assert abs(found.ns - skew) <= max(found.error_ns, 0)


def test_a_kernel_without_a_name_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the boot is not named every clock is measured."""
    monkeypatch.setattr(clocks.Path, "read_text", lambda _: (_ for _ in ()).throw(OSError()))
    assert clocks.boot() == ""


# -- whole runs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Trace:
    """Three streams of forty reads."""
    (tmp_path / "d").write_bytes(os.urandom(1 << 16))
    uri = file_uri(tmp_path / "d")
    return Trace.of(
        Op(uri, index * 16, 16, index * MS, t_complete=index * MS + 9000, ret=16, pid=1, tid=index % 3, sample_id=index)
        for index in range(120)
    )


def together(
    source: Trace, options: Options, size: int, change: Callable[[list[Part]], None] = lambda _: None
) -> Trace:
    """All ranks as threads of this process; what they did as one trace, and `change` is done to the parts before."""
    ends = [Ranks(wire, patience_s=20.0) for wire in wires(size)]
    job = plan_job(lambda: [source], options, size)
    threads = []
    for ranks in ends[1:]:
        ranks.__enter__()
        threads.append(beside(lambda ranks=ranks: follow(ranks, lambda: plan_job(lambda: [source], options, size))))
    with ends[0] as leader:
        try:
            parts = lead(leader, job, Silent())
            change(parts)
            whole = written(parts, job)
            leader.tell_all("finished")
        except BaseException:
            leader.stop_all()
            raise
        finally:
            for ranks, thread in zip(ends[1:], threads, strict=True):
                thread.join(30)
                ranks.__exit__(None, None, None)
    return whole


def written(parts: list[Part], job: Job) -> Trace:
    """The trace of all parts, in memory."""
    kept = Kept()
    header, trailer = write_joined(parts, job, kept)
    whole = joined(kept.kept)
    whole.header, whole.trailer = header, trailer
    return whole


def test_the_parts_make_one_trace(source: Trace) -> None:
    """The merged trace is what one process would have made of it: ops, order of streams, deadlines."""
    whole = together(source, Options(engine="threads"), 3)
    alone = replay(source, Options(engine="threads")).trace
    order, single = np.argsort(whole.col("sample_id")), np.argsort(alone.col("sample_id"))
    for name in ("uri", "offset", "len", "ret", "tid"):
        assert whole.col(name)[order].tolist() == alone.col(name)[single].tolist()
    assert (whole.col("t_due")[order] - alone.col("t_due")[single]).tolist() == pytest.approx([0] * 120, abs=100_000)
    assert whole.trailer is not None
    assert whole.header is not None
    assert whole.trailer.run["streams"] == 3
    assert whole.header.producer["options"] == whole.header.producer["options"] | {"source_ops": 120, "ranks": 3}
    assert whole.trailer.run["queue_depth"]["recorded"] == alone.trailer.run["queue_depth"]["recorded"]


def test_a_rank_that_cannot_begin_stops_all(source: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own sentence comes out of rank 0, with its number; nothing was issued."""

    def failing(ranks: Ranks, *rest: Any, **more: Any) -> Part:
        if ranks.rank == 1:
            raise InputError("the data is not here", "copy it")
        return real(ranks, *rest, **more)

    from tracekit.replay import together as module

    real = module._replayed
    monkeypatch.setattr(module, "_replayed", failing)
    with pytest.raises(FailedRanksError) as caught:
        together(source, Options(engine="threads"), 2)
    assert [str(problem) for problem in caught.value.problems] == ["rank 1: the data is not here; copy it"]
    assert caught.value.exit_code == InputError.exit_code


def test_a_rank_that_fails_in_the_run_is_lost_and_said(source: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others did is kept, what it did is not, and how much that is is said."""
    from tracekit.replay import together as module

    real = module._replayed

    def failing(ranks: Ranks, *rest: Any, **more: Any) -> Part:
        part = real(ranks, *rest, **more)
        if ranks.rank == 1:
            raise CannotRunError("the disk is gone")
        return part

    monkeypatch.setattr(module, "_replayed", failing)
    whole = together(source, Options(engine="threads"), 3)
    assert whole.trailer is not None
    run = whole.trailer.run
    assert (run["verdict"], run["undelivered_ops"], len(whole)) == ("NOT SUSTAINED", 40, 80)
    assert run["lost_ranks"] == ["rank 1 failed: the disk is gone; none of its 40 ops is in the output"]


def test_a_rank_that_fails_while_it_hands_over_is_said(source: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had handed over is in the output, and how much that is is said."""
    from tracekit.replay import together as module

    real = module._pieces

    def failing(done: Any, summary: Any) -> Any:
        if done.plan.trace.col("tid")[0] == 0:
            yield from real(done, summary)
            return
        (piece,) = real(done, summary)
        yield piece.select(slice(0, 10))
        raise CannotRunError("the disk is gone")

    monkeypatch.setattr(module, "_pieces", failing)
    whole = together(source, Options(engine="threads"), 2)
    assert whole.trailer is not None
    run, count = whole.trailer.run, len(whole)
    assert (run["verdict"], run["undelivered_ops"]) == ("NOT SUSTAINED", 120 - count)
    assert run["lost_ranks"] == [f"rank 1 failed: the disk is gone; 10 of its {130 - count} ops are in the output"]
    assert whole.trailer.ops == count


def test_a_rank_hands_over_no_more_than_is_asked_for() -> None:
    """One piece at a time, and of the growing tables only what is new; together it is the same trace."""
    ends = [Ranks(wire) for wire in wires(2)]
    table, made = StringTable(), []

    def pieces() -> Any:
        for number in range(5):
            code = table.code(f"/f{number // 2}")
            made.append(number)
            yield Trace({"uri": np.full(3, code, np.int32), "t_submit": np.arange(3) + 10 * number}, {"uri": table})

    thread = beside(lambda: pushed(ends[1], pieces(), lambda: "the end"))
    ended: list[str] = []
    got = []
    for piece in pulled(ends[0], 1, ended.append):
        got.append([piece.uris[code] for code in piece.col("uri")])
        assert len(made) <= len(got) + 1
    thread.join(10)
    assert got == [[f"/f{number // 2}"] * 3 for number in range(5)]
    assert ended == ["the end"]


def test_a_rank_that_never_answers_is_an_error_before_the_start(source: Trace) -> None:
    """Nothing is replayed when one is missing from the beginning."""
    with Ranks(wires(2)[0], patience_s=0.5) as leader, pytest.raises(LostError, match="rank 1"):
        lead(leader, plan_job(lambda: [source], Options(engine="threads"), 2), Silent())


def test_a_rank_that_begins_late_is_named(source: Trace) -> None:
    """A start 50 ms after the agreed moment shifts a whole share, so that share was not delivered."""

    def late(parts: list[Part]) -> None:
        planned, _ = parts[1].start_ns
        parts[1].start_ns = (planned, planned + 50 * MS)

    whole = together(source, Options(engine="threads"), 2, late)
    assert whole.trailer is not None
    assert whole.trailer.run["verdict"] == "NOT SUSTAINED"
    assert any("rank 1: it began 50 ms after the agreed moment" in text for text in whole.trailer.run["reasons"])


def test_the_worst_verdict_is_that_of_all() -> None:
    """Reasons of what was not delivered come first, equal ones are said once, remarks on good ranks are left out."""
    verdicts = {
        0: Verdict(VALID, ["slow storage"]),
        1: Verdict(DEGRADED, ["busy"]),
        2: Verdict(TARGET_LIMITED, ["caps", "busy"], delivered=False),
    }
    assert worst(verdicts) == Verdict(TARGET_LIMITED, ["rank 2: caps", "ranks 1, 2: busy"], delivered=False)
    assert worst({0: Verdict(VALID, ["x"]), 1: Verdict(VALID)}) == Verdict(VALID, ["rank 0: x"])
    assert worst({0: Verdict(NOT_SUSTAINED, [], delivered=False), 1: Verdict(DEGRADED)}).word == NOT_SUSTAINED


# -- the launcher ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMI_SIZE": "2"}, 2),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"SLURM_NTASKS": "8"}, 1),
        ({"PMI_SIZE": "many"}, 1),
    ],
)
def test_launchers_are_known_by_what_they_leave(environment: dict[str, str], size: int) -> None:
    """Open MPI, MPICH and srun; a batch script alone is no launcher."""
    assert launched(environment) == size


def test_a_launcher_of_another_mpi_is_said() -> None:
    """Where mpi4py knows of one rank and the launcher of two, each would replay everything."""
    pytest.importorskip("mpi4py")
    import subprocess
    import sys

    code = (
        "from tracekit.replay.wire import mpi_wire\n"
        "try: mpi_wire(2)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "CannotRunError the launcher started 2 ranks, mpi4py knows of 1" in done.stdout
    assert issubclass(CannotRunError, TracekitError)
    assert callable(mpi_wire)
