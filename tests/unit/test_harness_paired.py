"""Paired mode: what must fail and by which name, what must pass, and what makes a trace unfit."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

from harness import mutations, validity, whereabouts
from harness.concurrency import ceiling
from harness.figures import Figures
from harness.ledger import Ledger, Names, canonical
from harness.paired import judge
from harness.pairing import Pairing
from harness.verdict import Outcome
from tracekit.errors import InputError
from tracekit.joining import merge
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.selection import select
from tracekit.testing import training_trace
from tracekit.trace import Header, Op, Trace, Trailer


@pytest.fixture(scope="module")
def recording():
    """A job of two workers whose reads overlap, 1.2 s long."""
    return training_trace(files=192, batch=16, compute_ns=50_000_000, read_ns=1_500_000)


def paired(recorded, replayed, **rest):
    """The verdict on a replay of a recording."""
    return judge(recorded, replayed, names=("recording", "replay"), **rest)


def pair(recorded, replayed):
    """Which of their ops belong together."""
    names = Names()
    return Pairing(Ledger.of(recorded, names), Ledger.of(replayed, names), 100)


def named(verdict):
    """The criteria that failed."""
    return {finding.id for finding in verdict.failed}


def as_replay(trace, *, options=None, run=None):
    """The trace as a replayer would have written it."""
    header = Header(producer={"tool": "tracekit", "verb": "replay", "options": options or {}})
    return Trace(trace.columns, trace.tables, [], header, Trailer(ops=len(trace), run=run or {}))


def test_a_trace_passes_against_itself(recording):
    """Nothing differs, so every criterion that can say something passes."""
    verdict = paired(recording, recording)
    assert verdict.outcome is Outcome.PASS
    assert {finding.outcome for finding in verdict.findings} == {Outcome.PASS, Outcome.NA}


@pytest.mark.parametrize(
    ("edit", "criterion"),
    [
        ("sizes halved", "size.match"),
        ("sizes halved", "size.mean"),
        ("sizes halved", "step.bytes"),
        ("order shuffled", "order.stream"),
        ("order shuffled", "order.sequential"),
        ("twice the speed", "time.duration"),
        ("twice the speed", "throughput"),
        ("1.2 times the speed", "time.duration"),
        ("half the speed", "time.duration"),
        ("as fast as possible", "time.shift-p50"),
        ("5 % dropped", "ops.missing"),
        ("5 % duplicated", "ops.extra"),
        ("half the concurrency", "depth.ceiling"),
        ("one stream", "streams.count"),
        ("reads merged", "size.match"),
        ("reads merged", "ops.extra"),
        ("reads from the start", "order.sequential"),
        ("every second dropped", "ops.missing"),
        ("batches shuffled", "order.stream"),
        ("sizes of one file halved", "ops.missing"),
        ("other files", "ops.missing"),
        ("streams split", "streams.moved"),
        ("bunched", "arrival.rate"),
        ("failing", "ops.errors"),
    ],
)
def test_a_harmful_edit_fails_by_name(recording, edit, criterion):
    """Each edit of the catalogue fails, and the criterion that is about it is among those that say so."""
    verdict = paired(recording, mutations.HARMFUL[edit](recording))
    assert verdict.outcome is Outcome.FAIL
    assert criterion in named(verdict)


@pytest.mark.parametrize("edit", [*mutations.HARMFUL, *mutations.HARMLESS])
def test_edits_leave_their_original_alone(recording, edit):
    """What an edit is held against is still what it was."""
    before = {name: column.copy() for name, column in recording.columns.items()}
    {**mutations.HARMFUL, **mutations.HARMLESS}[edit](recording)
    assert all(np.array_equal(before[name], column) for name, column in recording.columns.items())


@pytest.mark.parametrize("edit", mutations.HARMLESS)
def test_a_harmless_edit_passes(recording, edit):
    """Other process numbers and another origin of time change nothing that was asked of the storage."""
    assert paired(recording, mutations.HARMLESS[edit](recording)).outcome is Outcome.PASS


def test_a_shuffled_replay_has_the_same_sizes(recording):
    """What fails is the order; the size histogram is identical and passes."""
    verdict = paired(recording, mutations.shuffled(recording))
    assert {"size.match", "size.ks", "size.mean", "ops.missing"}.isdisjoint(named(verdict))


def test_smoothed_bursts_fail(recording):
    """Even spacing over the same duration is another load: the bursts are gone."""
    bursts = [
        Op(
            "file:///d",
            index * 10,
            10,
            burst * 100_000_000 + index * 10_000,
            t_complete=burst * 100_000_000 + index * 10_000 + 500,
        )
        for burst in range(20)
        for index in range(50)
    ]
    trace = Trace.of(bursts)
    assert "arrival.dispersion" in named(paired(trace, mutations.smoothed(trace)))


def test_an_even_cadence_has_no_bursts_to_lose():
    """Where the recording is a clock, burstiness is not judged."""
    clock = Trace.of(Op("file:///d", index, 1, index * 1_000_000) for index in range(1000))
    finding = next(finding for finding in paired(clock, clock).findings if finding.id == "arrival.dispersion")
    assert finding.outcome is Outcome.NA


def test_data_that_lies_elsewhere_passes_with_a_remapping(recording):
    """Without the remapping every op is missing, with it none is."""
    elsewhere = mutations.moved_data(recording, "file:///data", "file:///mnt/copy")
    assert named(paired(recording, elsewhere)) >= {"ops.missing", "ops.extra"}
    assert paired(recording, elsewhere, remap=[("/data", "/mnt/copy")]).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("to", "remap"),
    [
        ("file:///mnt/copy", "file:///data=file:///mnt/copy"),
        ("s3://bucket/back of it", "'file:///data=s3://bucket/back of it'"),
    ],
)
def test_data_that_lies_elsewhere_unsaid_comes_with_the_remapping_to_type(recording, to, remap):
    """A replay of a replay held against the first recording: its header names only its own step, so the verdict names both."""
    verdict = paired(recording, mutations.moved_data(recording, "file:///data", to))
    (note,) = [note for note in verdict.notes if "in another place" in note]
    assert note.endswith(f"--remap {remap}")
    pair = tuple(shlex.split(remap)[0].rsplit("=", 1))
    again = paired(recording, mutations.moved_data(recording, "file:///data", to), remap=[pair])
    assert again.outcome is Outcome.PASS
    assert not any("in another place" in note for note in again.notes)


@pytest.mark.parametrize(
    ("recorded", "replayed", "expected"),
    [
        (["file:///a/x", "file:///a/y"], ["s3://b/c/x", "s3://b/c/y"], ("file:///a", "s3://b/c")),
        (["file:///a/d/x", "file:///a/e/x"], ["file:///z/d/x", "file:///z/e/x"], ("file:///a", "file:///z")),
        (["file:///a/x", "file:///a/y"], ["file:///b/x", "file:///c/y"], None),
        (["file:///a/x", "file:///a/y"], ["file:///b/x"], None),
        (["file:///x"], ["file:///b/x"], None),
        ([], ["file:///b/x"], None),
        (["file:///a/x"], [], None),
    ],
)
def test_another_place_is_one_beginning_of_all_names(recorded, replayed, expected):
    """The shortest that differs, and only where each name is found there."""
    assert whereabouts.moved(recorded, replayed) == expected


def test_a_replay_says_itself_where_its_data_lies(recording):
    """The remapping in the replay's header is used when none is given."""
    elsewhere = mutations.moved_data(recording, "file:///data", "file:///mnt/copy")
    replay = as_replay(elsewhere, options={"remap": [["/data", "/mnt/copy"]]})
    assert paired(recording, replay).outcome is Outcome.PASS


def test_the_wrong_remapping_fails(recording):
    """A prefix that leads elsewhere pairs nothing."""
    assert "ops.missing" in named(paired(recording, recording, remap=[("/data", "/mnt/copy")]))


def test_path_and_uri_and_direct_are_the_same_place(tmp_path):
    """A path, its file:// and its direct:// uri are one file; an object is what it is."""
    path = str(tmp_path / "a b")
    assert (
        canonical(path)
        == canonical(f"direct://{path.replace(' ', '%20')}")
        == canonical("file://" + path.replace(" ", "%20"))
    )
    assert canonical("s3://bucket/key") == "s3://bucket/key"


def test_repeated_ops_pair_in_their_order():
    """The k-th read of a place answers the k-th, so reading a place twice is no reordering."""
    trace = Trace.of(Op("file:///a", 0, 10, time, pid=1, tid=1) for time in range(20))
    pairs = pair(trace, trace)
    assert pairs.inverted_in_files == (0, 190)
    assert pairs.shifts == (0, 0)
    assert pairs.missing_share == pairs.extra_share == 0.0


def test_ops_in_another_stream_are_found_and_counted_as_moved():
    """Ten of a hundred ops change threads: all pair, ten percent have moved."""
    ops = [Op("file:///a", index, 1, index * 1000, pid=1, tid=index % 2) for index in range(100)]
    other = [replace(op, tid=1 - (op.tid or 0)) if index < 10 else op for index, op in enumerate(ops)]
    pairs = pair(Trace.of(ops), Trace.of(other))
    assert len(pairs) == 100
    assert pairs.moved_share == pytest.approx(0.10)


def test_failed_ops_fail(recording):
    """Reads that succeed in the recording and fail in the replay are named."""
    errors = np.full(len(recording), -1, np.int32)
    errors[::10] = 0
    from tracekit.trace import StringTable

    broken = Trace(
        {**recording.columns, "err": errors}, {**recording.tables, "err": StringTable(["EIO"])}, [], None, None
    )
    assert "ops.errors" in named(paired(recording, broken))


def test_a_cap_below_the_recorded_depth_fails_by_the_header_alone(recording):
    """The ops are identical; that the replay allowed itself one at a time is evidence enough."""
    capped = as_replay(recording, options={"max_inflight": 1})
    verdict = paired(recording, capped)
    assert "depth.cap" in named(verdict)
    assert paired(recording, as_replay(recording, options={"max_inflight": 2})).outcome is Outcome.PASS


def test_a_byte_cap_below_the_recorded_bytes_fails(recording):
    """The same for bytes in flight."""
    assert "depth.cap" in named(paired(recording, as_replay(recording, options={"max_inflight_bytes": 65_536})))


def test_a_cap_that_made_streams_wait_fails_although_ops_never_overlapped():
    """Two streams whose ops met by luck or not: the replay says that its cap held them up."""
    ops = [
        Op("file:///a", index, 1, index * 1000, t_complete=index * 1000 + 10, pid=1, tid=1 + index % 2)
        for index in range(200)
    ]
    trace = Trace.of(ops)
    stalled = {"lateness_by_cause_us": {"cap_stall": {"sum": 12.0}}}
    assert "depth.cap" in named(paired(trace, as_replay(trace, options={"max_inflight": 1}, run=stalled)))
    assert "depth.cap" not in named(paired(trace, as_replay(trace, options={"max_inflight": 1})))


def test_the_ceiling_is_not_judged_where_ops_hardly_overlap():
    """Ops of one stream cannot overlap: N/A with the reason, no guess."""
    trace = Trace.of(
        Op("file:///a", index, 1, index * 1000, t_complete=index * 1000 + 10, pid=1, tid=1) for index in range(500)
    )
    figures = Figures.of(trace)
    found = ceiling(figures, figures)
    assert isinstance(found, str)
    assert "hardly meet" in found


@pytest.mark.parametrize("seed", range(5))
def test_independent_streams_meet_as_often_as_chance(seed):
    """Two streams of random gaps reach depth 2 about as often as their shifted copies do: between half and twice."""
    figures = Figures.of(_two_streams(seed))
    found = ceiling(figures, figures)
    assert not isinstance(found, str)
    assert found.depth == 2
    assert 0.5 < found.effect < 2


@pytest.mark.parametrize("seed", range(5))
def test_a_cap_of_one_is_seen_at_any_service_time(seed):
    """The same streams one op at a time, and then ten times as fast: the depth is never reached, and that is no chance."""
    trace = _two_streams(seed)
    figures, capped = Figures.of(trace), mutations.one_at_a_time(trace)
    for run in (capped, mutations.faster(capped, 10)):
        found = ceiling(figures, Figures.of(run))
        assert not isinstance(found, str)
        assert found.interval[1] < 0.2


def test_streams_that_take_turns_in_the_reference_may_take_turns():
    """A loader with a lock never overlaps: its replay is not asked to."""
    locked = Figures.of(mutations.one_at_a_time(_two_streams(1)))
    assert isinstance(ceiling(locked, locked), str)


def _two_streams(seed):
    chance = np.random.default_rng(seed)
    ops = []
    for tid in (1, 2):
        clock = 0
        for index in range(1000):
            clock += int(chance.exponential(200_000))
            done = clock + int(chance.exponential(100_000)) + 1
            ops.append(Op("file:///a", index, 1, clock, t_complete=done, pid=1, tid=tid))
            clock = done
    return Trace.of(ops).sorted()


def test_a_faster_storage_is_not_taken_for_a_cap(recording):
    """With a hundredth of the service time ops meet by luck only, and nothing is concluded from that."""
    submit, complete = recording.col("t_submit"), recording.col("t_complete")
    quick = mutations.with_columns(recording, {"t_complete": submit + np.maximum(1, (complete - submit) // 100)})
    finding = next(finding for finding in paired(recording, quick).findings if finding.id == "depth.ceiling")
    assert finding.outcome is Outcome.NA


def test_think_pace_is_not_judged_by_a_schedule(recording):
    """A closed-loop replay keeps no schedule: shift and rate of arrivals are shown, the duration decides."""
    slower = as_replay(mutations.faster(recording, 0.95), options={"pace": "think"})
    verdict = paired(recording, slower)
    shown = {finding.id for finding in verdict.findings if not finding.gates}
    assert {"time.shift-p50", "time.shift-p99", "arrival.rate"} <= shown
    assert verdict.outcome is Outcome.PASS
    much_slower = as_replay(mutations.faster(recording, 0.8), options={"pace": "think"})
    assert "time.duration" in named(paired(recording, much_slower))


def test_a_short_recording_cannot_tell_its_speed():
    """In 60 ms either end may be late by almost the difference: INCONCLUSIVE, and it says what would settle it."""
    trace = Trace.of(Op("file:///a", index, 1, index * 1_000_000) for index in range(60))
    finding = next(
        found for found in paired(trace, mutations.faster(trace, 1.3)).findings if found.id == "time.duration"
    )
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.settle == "record for longer"


@pytest.mark.parametrize("speed", [2, 10, 100, 1000, 100_000])
def test_the_hastier_the_surer_it_fails(speed):
    """However short a hasty replay of two seconds is, and disturbed or not, it fails by its duration and its throughput."""
    trace = Trace.of(Op("file:///a", index, 1, index * 10_000_000) for index in range(200))
    for run in ({}, {"verdict": "DEGRADED"}):
        hasty = as_replay(mutations.faster(trace, speed), options={"pace": "asap"}, run=run)
        verdict = paired(trace, hasty)
        assert verdict.outcome is Outcome.FAIL
        assert named(verdict) >= {"time.duration", "throughput"}


@pytest.mark.parametrize(("replayed", "fails"), [(49, False), (40, False), (35, True), (5, True)])
def test_ends_may_be_late_by_25_ms_each_way(replayed, fails):
    """Of a recording of 95 ms no more can be said than that it took 70 to 120: 40 + 25 is within 10 % of that, 35 + 25 is not."""
    trace = Trace.of(Op("file:///a", index, 1, index * 1_000_000) for index in range(96))
    verdict = paired(trace, mutations.faster(trace, 95 / replayed))
    assert ("time.duration" in named(verdict)) is fails


def test_writes_of_the_recording_are_not_held_against_a_replay(recording):
    """A replay that was told to leave writes out is not asked for them; the note counts them."""
    verdict = paired(with_writes(recording), as_replay(recording, options={"writes": "skip"}))
    assert verdict.outcome is Outcome.PASS
    assert any("leave out are not asked for (writes 50)" in note for note in verdict.notes)


def test_writes_that_a_replay_was_to_issue_are_asked_for(recording):
    """A replay issues writes to a scratch directory: they are in its trace, and missing if they are not."""
    writes = with_writes(recording)
    assert paired(writes, as_replay(writes, options={"writes": "scratch"})).outcome is Outcome.PASS
    assert "ops.missing" in named(paired(writes, as_replay(recording)))


def test_a_selection_is_held_against_what_it_picks(recording):
    """`--select` in the header: the picked ops are the reference, and fewer than those are missing."""
    picked = recording.select(select(recording, "op=read,step=0..5"))
    asked = {"select": "op=read,step=0..5", "source_ops": len(recording)}
    verdict = paired(recording, as_replay(picked, options=asked))
    assert verdict.outcome is Outcome.PASS
    assert any(f"the {len(picked)} of {len(recording)} ops that --select" in note for note in verdict.notes)
    assert "ops.missing" in named(paired(recording, as_replay(mutations.dropped(picked, 0.05), options=asked)))
    assert "ops.missing" in named(paired(recording, as_replay(picked)))


def test_repetitions_are_held_against_the_recording_as_many_times_over(recording):
    """`--loop 2` in the header: twice the ops are expected, one repetition alone has half of them missing."""
    times = recording.sorted().col("t_submit")
    again = recording.shifted(make_plan(recording, Options()).period)
    twice = merge([recording, again])
    assert int(twice.col("t_submit").max()) > 2 * int(times.max())
    assert paired(recording, as_replay(twice, options={"loop": 2})).outcome is Outcome.PASS
    assert "ops.missing" in named(paired(recording, as_replay(recording, options={"loop": 2})))
    assert "ops.extra" in named(paired(recording, as_replay(twice, options={"loop": 1})))


def test_a_header_that_asks_for_countless_repetitions_is_judged_all_the_same(recording):
    """No more repetitions are laid out than it takes to see that they are missing."""
    verdict = paired(recording, as_replay(recording, options={"loop": 10**12}))
    assert "ops.missing" in named(verdict)


def test_offsets_that_a_replay_made_up_are_the_planned_ones():
    """`--null-offset sequential`: each read goes on where the one before ended, in the replay and in what it is held against."""
    nowhere = Trace.of(Op("file:///a", None, 100, index * 1000, pid=1, tid=1, ret=100) for index in range(20))
    placed = Trace.of(Op("file:///a", index * 100, 100, index * 1000, pid=1, tid=1, ret=100) for index in range(20))
    told = paired(nowhere, as_replay(placed, options={"null_offset": "sequential"}))
    assert "ops.missing" not in named(told)
    assert "ops.missing" in named(paired(nowhere, as_replay(placed)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"select": "colour=red"}, "cannot be read"),
        ({"select": "step=99999"}, "no op of the recording is left"),
        ({"remap": 3}, "read"),
    ],
)
def test_a_header_that_makes_no_sense_is_one_sentence(recording, options, words):
    """Options that do not fit the recording are an error that names the trace."""
    with pytest.raises(InputError, match=words):
        paired(recording, as_replay(recording, options=options))


def with_writes(recording):
    """The recording with fifty writes of a log besides."""
    return Trace.of(
        [*recording, *(Op("file:///out", index, 1, index * 1000, op="write", pid=9, tid=9) for index in range(50))]
    )


@pytest.mark.parametrize("names", [("pid", "tid"), ("t_complete",)])
def test_silence_does_not_pass_for_likeness(recording, names):
    """A replay without threads, or without completions, leaves open what the recording tells: INCONCLUSIVE, and said."""
    columns = {name: column for name, column in recording.columns.items() if name not in names}
    verdict = paired(recording, as_replay(Trace(columns, recording.tables)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert [finding.id for finding in verdict.findings if finding.klass == "validity"] == ["valid.evidence"]


def test_steps_are_known_of_the_ops_that_a_replay_answers_to(recording):
    """A replay that does not number its ops is judged by the recording's numbers, and less per step is seen."""
    columns = {name: column for name, column in recording.columns.items() if name != "step"}
    silent = Trace(columns, recording.tables)
    assert paired(recording, as_replay(silent)).outcome is Outcome.PASS
    short = Trace({**columns, "ret": columns["ret"] // 2}, recording.tables)
    assert "step.bytes" in named(paired(recording, as_replay(short)))


def test_ops_that_take_no_time_decide_nothing(recording):
    """Where every op ends as it begins, nobody measured when it ended."""
    instant = Trace({**recording.columns, "t_complete": recording.col("t_submit")}, recording.tables)
    assert problems(as_replay(instant)) == {"valid.clock": Outcome.INCONCLUSIVE}


def test_bursts_of_a_short_recording_are_not_judged():
    """Three windows of 10 ms say nothing about bursts: a replay whose burst lies across an edge is no other load."""
    burst = Trace.of(Op("file:///a", index, 1, index * 60_000, pid=1, tid=1) for index in range(400))
    found = next(found for found in paired(burst, burst).findings if found.id == "arrival.dispersion")
    assert found.outcome is Outcome.NA
    assert "too short" in found.reason


def test_where_a_window_begins_does_not_decide_about_bursts():
    """Bursts of 6 ms every 100 ms, half of them across the edge of a window in one trace and none in the other: PASS."""
    times = [100_000_000 * burst + 60_000 * index for burst in range(20) for index in range(100)]
    late = [at + (7_000_000 if at >= 100_000_000 else 0) for at in times]
    one, other = (
        Trace.of(Op("file:///a", index, 1, at, pid=1, tid=1) for index, at in enumerate(all_)) for all_ in (times, late)
    )
    found = next(found for found in paired(one, other).findings if found.id == "arrival.dispersion")
    assert found.outcome is Outcome.PASS
    assert found.effect > 0.9


# -- validity ---------------------------------------------------------------------------------------------------------


def problems(trace):
    """What makes a trace unfit, by name."""
    return {finding.id: finding.outcome for finding in validity.problems(trace, "it")}


def test_a_sound_trace_has_no_problems(recording):
    """Nothing is found where nothing is wrong."""
    assert problems(recording) == {}


def test_an_empty_trace_is_an_error_and_never_a_match():
    """A header and no op: ERROR, also against itself."""
    empty = Trace.of([], header=Header(created="now"), trailer=Trailer())
    assert problems(empty) == {"valid.empty": Outcome.ERROR}
    assert paired(empty, empty).outcome is Outcome.ERROR


def test_opens_alone_are_no_requests():
    """A trace of metadata ops holds nothing to judge."""
    assert problems(Trace.of(Op("file:///a", 0, 0, time, op="open") for time in range(50))) == {
        "valid.empty": Outcome.ERROR
    }


def test_a_trace_cut_short_is_an_error(recording):
    """A header without a trailer, and a trailer that counts more ops than there are."""
    cut = Trace(recording.columns, recording.tables, recording.marks, recording.header, None)
    short = Trace(
        recording.columns, recording.tables, recording.marks, recording.header, Trailer(ops=len(recording) + 5)
    )
    assert problems(cut) == problems(short) == {"valid.complete": Outcome.ERROR}


def test_a_bare_trace_has_no_trailer_to_miss():
    """Without a header nobody promised a trailer."""
    assert problems(Trace.of(Op("file:///a", 0, 1, time) for time in range(20))) == {}


def test_lost_ops_are_an_error_above_one_in_a_thousand(recording):
    """A few lost ops are a remark, many make every count wrong."""
    few = Trace(recording.columns, recording.tables, [], recording.header, Trailer(ops=len(recording), lost=1))
    many = Trace(recording.columns, recording.tables, [], recording.header, Trailer(ops=len(recording), lost=100))
    assert problems(few) == {}
    assert any("lost 1" in note for note in validity.remarks(few, "it"))
    assert problems(many) == {"valid.lost": Outcome.ERROR}


def test_a_clock_that_runs_backwards_is_an_error():
    """An op that completes before it begins makes all times doubtful."""
    ops = [Op("file:///a", 0, 1, 1000 + time, t_complete=1000 + time + 1) for time in range(0, 200, 10)]
    assert problems(Trace.of([*ops, Op("file:///a", 0, 1, 5000, t_complete=4000)])) == {"valid.clock": Outcome.ERROR}


def test_a_thread_in_two_calls_at_once_is_an_error():
    """A synchronous thread has one op at a time; two threads may overlap."""
    ops = [Op("file:///a", 0, 1, time, t_complete=time + 100, pid=1, tid=1) for time in range(0, 2000, 50)]
    assert problems(Trace.of(ops)) == {"valid.overlap": Outcome.ERROR}
    apart = [replace(op, tid=index) for index, op in enumerate(ops)]
    assert problems(Trace.of(apart)) == {}


def test_a_handful_of_ops_decides_nothing():
    """Nine reads are too few: INCONCLUSIVE, with the number that is needed."""
    few = Trace.of(Op("file:///a", time, 1, time * 10**8) for time in range(9))
    assert problems(few) == {"valid.size": Outcome.INCONCLUSIVE}
    assert paired(few, few).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"verdict": "NOT SUSTAINED", "reasons": ["1 % of the ops were late"]}, "could not keep up"),
        ({"verdict": "VALID", "interrupted": True, "undelivered_ops": 7}, "was interrupted: 7 ops"),
        ({"verdict": "VALID", "undelivered_ops": 7}, "stopped early: 7 ops"),
    ],
)
def test_a_replay_that_did_not_do_its_job_cannot_pass(recording, run, words):
    """By its own account: INCONCLUSIVE, with its own reason."""
    verdict = paired(recording, as_replay(recording, run=run))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any(words in finding.reason for finding in verdict.findings)


def test_lateness_of_a_disturbed_replay_decides_nothing(recording):
    """Ops 300 ms late on a machine that others used: INCONCLUSIVE, with what would settle it; the same undisturbed fails."""
    late = np.where(np.arange(len(recording)) < len(recording) // 20, 0, 300_000_000)
    slow = mutations.with_columns(recording, {name: recording.col(name) + late for name in ("t_submit", "t_complete")})
    disturbed = paired(recording, as_replay(slow, run={"verdict": "DEGRADED"}))
    shift = next(finding for finding in disturbed.findings if finding.id == "time.shift-p50")
    assert shift.outcome is Outcome.INCONCLUSIVE
    assert "quieter machine" in shift.settle
    assert "time.shift-p50" in named(paired(recording, as_replay(slow)))


def test_a_disturbed_replay_that_kept_its_schedule_has_no_excuse(recording):
    """The machine was busy and the ops still came when planned: lateness is then the plan's, and fails."""
    late = np.where(np.arange(len(recording)) < len(recording) // 20, 0, 300_000_000)
    slow = mutations.with_columns(recording, {name: recording.col(name) + late for name in ("t_submit", "t_complete")})
    run = {"verdict": "DEGRADED", "delivered": True, "pace": "recorded"}
    assert "time.shift-p50" in named(paired(recording, as_replay(slow, run=run)))
    assert "time.shift-p50" not in named(paired(recording, as_replay(slow, run=run | {"pace": "think"})))


def test_a_disturbed_replay_at_twice_the_speed_still_fails(recording):
    """Other work makes ops late, it does not make them early."""
    hasty = as_replay(mutations.faster(recording, 2), run={"verdict": "DEGRADED"})
    assert named(paired(recording, hasty)) >= {"time.duration", "throughput"}


def test_a_disturbed_replay_is_judged_and_said_to_be_so(recording):
    """DEGRADED is a remark: what was done is true."""
    verdict = paired(recording, as_replay(recording, run={"verdict": "DEGRADED", "reasons": ["steal 3 %"]}))
    assert verdict.outcome is Outcome.PASS
    assert any("DEGRADED: steal 3 %" in note for note in verdict.notes)


@pytest.mark.parametrize("rename", ["renumbered", "swapped"])
def test_streams_that_read_the_same_places_are_known_by_what_they_do(rename):
    """Four threads read one file's index over and over; a faithful replay with other thread numbers passes all the same."""
    chance = np.random.default_rng(0)
    ops = []
    for stream in range(4):
        times = np.cumsum(chance.integers(500_000, 4_000_000, 300)).tolist()
        places = chance.integers(0, 10, 300).tolist()
        ops += [
            Op("file:///index", place * 4096, 4096, at, t_complete=at + 200_000, pid=1, tid=stream, ret=4096)
            for place, at in zip(places, times, strict=True)
        ]
    trace = Trace.of(ops)
    jitter = chance.integers(0, 250_000, len(trace))
    tid = trace.col("tid") + 100 if rename == "renumbered" else 3 - trace.col("tid")
    late = {"t_submit": trace.col("t_submit") + jitter, "t_complete": trace.col("t_complete") + jitter}
    replay = Trace({**trace.columns, **late, "tid": tid.astype(np.int32)}, trace.tables).sorted()
    assert paired(trace.sorted(), replay).outcome is Outcome.PASS


def test_a_stream_without_a_twin_does_not_take_the_place_of_another():
    """Thread 1 does what thread 2 was recorded to do, thread 2 something new: its ops are missing, thread 1's are not."""
    recorded = Trace.of(
        [
            *(Op("file:///a", n, 1, n, pid=1, tid=1) for n in range(20)),
            *(Op("file:///b", n, 1, n, pid=1, tid=2) for n in range(20)),
        ]
    )
    replayed = Trace.of(
        [
            *(Op("file:///b", n, 1, n, pid=1, tid=1) for n in range(20)),
            *(Op("file:///c", n, 1, n, pid=1, tid=2) for n in range(20)),
        ]
    )
    pairs = pair(recorded, replayed)
    assert len(pairs) == 20
    assert pairs.moved_share == 0.0
    # All of b, none of a: only then are there 20 in one file.
    assert pairs.inverted_in_files == (0, 190)


@pytest.mark.parametrize(("then", "now", "said"), [(0, 100, True), (100, 0, True), (50, 53, False), (None, 100, False)])
def test_another_start_of_the_page_cache_is_said(recording, then, now, said):
    """A warm replay of a cold recording passes, and the verdict says aloud that its times are no comparison."""

    def with_pages(trace, resident):
        residency = {} if resident is None else {"before": {"pages": 100, "resident": resident}}
        return Trace(trace.columns, trace.tables, [], trace.header, Trailer(ops=len(trace), residency=residency))

    verdict = paired(with_pages(recording, then), with_pages(as_replay(recording), now))
    assert named(verdict) == set()
    sentence = f"recording began with {then}% of its files' pages in the page cache and replay with {now}%"
    assert any(sentence in note for note in verdict.notes) == said
