"""What will be done, and everything that is known to fail before it."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tracekit.errors import CannotRunError, InputError, TracekitError, UnknownNameError, UsageError
from tracekit.replay import preflight, scratch
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.replay.preflight import PreflightError, examine, listing, raise_for
from tracekit.storage import LocalStorage
from tracekit.trace import NULL, Op, Trace
from tracekit.uri import file_uri

Build = Callable[..., Trace]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of 10,000 real bytes."""
    path = tmp_path / "data"
    path.write_bytes(os.urandom(10_000))
    return path


def reads(path: Path | str, *spans: tuple[int | None, int], **rest: object) -> Trace:
    """Reads of one file by one thread."""
    uri = path if isinstance(path, str) else file_uri(path)
    return Trace.of([Op(uri, offset, length, i, pid=1, tid=1, **rest) for i, (offset, length) in enumerate(spans)])  # type: ignore[arg-type]


def examined(trace: Trace, **options: object) -> Plan:
    """A plan with all its problems."""
    plan = make_plan(trace, Options(**options))  # type: ignore[arg-type]
    examine(plan)
    return plan


def problem(trace: Trace, **options: object) -> TracekitError:
    """The one problem of a plan."""
    plan = examined(trace, **options)
    assert len(plan.problems) == 1, plan.problems
    return plan.problems[0]


def test_a_good_trace_has_no_problem(data: Path) -> None:
    """What can be read is not complained about."""
    plan = examined(reads(data, (0, 10_000), (5_000, 5_000), ret=None))
    assert plan.problems == []
    assert plan.files[0].extent == 10_000


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "does not exist"),
        ("directory", "is no regular file"),
        ("fifo", "is no regular file"),
        ("loop", "cannot be opened"),
        ("data/inside-a-file", "does not exist"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(data: Path, name: str, words: str) -> None:
    """Missing files, directories, FIFOs, symbolic link loops: each one sentence with a way out, and nothing hangs."""
    (data.parent / "directory").mkdir()
    os.mkfifo(data.parent / "fifo")
    (data.parent / "loop").symlink_to(data.parent / "loop")
    error = problem(reads(data.parent / name, (0, 10)))
    assert words in str(error)
    assert isinstance(error, InputError)
    assert error.way_out


def test_a_file_without_permission_is_exit_4(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission is not the trace's fault: the run could not start (root may read all, so it is refused by hand)."""

    def refuse(self: LocalStorage, place: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)

    monkeypatch.setattr(LocalStorage, "look", refuse)
    error = problem(reads(data, (0, 10)))
    assert isinstance(error, CannotRunError)
    assert error.exit_code == 4
    assert "may not be read" in str(error)


def test_a_short_file_is_refused_where_the_recording_read_more(data: Path) -> None:
    """The sentence says how much there is and how much is needed."""
    error = problem(reads(data, (8_000, 4_000), ret=4_000))
    assert "shorter than the trace reads" in str(error)
    assert "9.77 KiB of 11.7 KiB" in str(error)


@pytest.mark.parametrize("ret", [0, 2_000])
def test_a_read_at_the_end_that_was_short_then_is_fine_now(data: Path, ret: int) -> None:
    """What the recording itself did not get is not demanded."""
    assert examined(reads(data, (10_000 - ret, 100_000), ret=ret)).problems == []


def test_without_results_all_that_was_asked_for_is_demanded(data: Path) -> None:
    """A trace that does not say what a read returned cannot excuse a short file."""
    assert "shorter" in str(problem(reads(data, (9_000, 2_000))))


def test_a_file_that_was_missing_then_may_be_missing_now(tmp_path: Path) -> None:
    """An open that failed in the recording is issued again and asks for nothing."""
    trace = Trace.of([Op(file_uri(tmp_path / "no"), None, 0, 0, op="open", err="ENOENT", pid=1, tid=1)])
    assert examined(trace).problems == []


def test_an_unknown_scheme_is_named_once(data: Path) -> None:
    """Many URIs of one unknown scheme make one problem, with the nearest known scheme."""
    trace = Trace.of([Op(f"s4://b/{i}", 0, 1, i) for i in range(5)])
    assert "did you mean s3" in str(problem(trace))


def test_object_stores_that_nothing_leads_to_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account or credentials nobody is asked; the sentence names the variables."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "AZURITE_", "S3_"))]:
        monkeypatch.delenv(name)
    error = problem(Trace.of([Op(f"az://container/{i}", 0, 1, i) for i in range(3)]))
    assert "AZURE_STORAGE_ACCOUNT_NAME" in str(error)
    assert error.exit_code == 4


def test_unknown_ops_are_refused_or_left_out(data: Path) -> None:
    """They are counted by name; --skip-unknown leaves them out and says so."""
    ops = [
        Op(file_uri(data), 0, 1, i, op=name, pid=1, tid=1) for i, name in enumerate(["read", "teleport", "teleport"])
    ]
    assert "teleport (2)" in str(problem(Trace.of(ops)))
    plan = examined(Trace.of(ops), skip_unknown=True)
    assert plan.problems == []
    assert (len(plan.trace), plan.skipped) == (1, {"unknown": 2})


@pytest.mark.parametrize("writes", ["scratch", "skip"])
def test_names_directories_and_lengths_are_not_changed(data: Path, writes: str) -> None:
    """Directories made, names and lengths changed are left out, counted by reason, and said with the reason."""
    names = ["read", "mkdir", "rename", "truncate"]
    ops = [Op(file_uri(data), 0, 1, i, op=name, pid=1, tid=1) for i, name in enumerate(names)]
    plan = examined(Trace.of(ops), writes=writes)
    assert (len(plan.trace), plan.problems) == (1, [])
    assert plan.skipped == {"names and directories": 2, "changes of length": 1}
    said = " ".join(plan.warnings)
    assert "left out: 2 ops on names and directories (mkdir, rmdir, rename): what the trace writes" in said
    assert "left out: 1 op on a file's length (truncate): not every" in said
    assert said.count("left out") == 2


def test_nothing_to_do_is_an_error(data: Path) -> None:
    """A selection that picks nothing is not an empty success."""
    assert "no op" in str(problem(reads(data, (0, 1)), select="op=write"))


def test_offsets_that_are_not_known_are_refused(data: Path) -> None:
    """Null is never 0: the user says what it is."""
    assert "--null-offset" in str(problem(reads(data, (None, 10))))


def test_null_offsets_as_zero_or_as_continuation(data: Path) -> None:
    """Zero reads from the start each time, sequential reads on, also after a read whose place is known."""
    trace = reads(data, (None, 10), (None, 20), (100, 50), (None, 5))
    assert examined(trace, null_offset="zero").jobs[0].offsets.tolist() == [0, 0, 100, 0]
    plan = examined(trace, null_offset="sequential")
    assert plan.jobs[0].offsets.tolist() == [0, 10, 100, 150]
    assert plan.files[0].extent == 155


def test_an_open_starts_a_continuation_at_zero(data: Path) -> None:
    """A file that is opened again is read from its start again."""
    uri = file_uri(data)
    ops = [Op(uri, None, 10, 0), Op(uri, None, 0, 1, op="open"), Op(uri, None, 10, 2)]
    assert make_plan(Trace.of(ops), Options(null_offset="sequential")).jobs[0].offsets.tolist() == [0, NULL, 0]


def test_holes_are_refused_only_where_they_would_lie(tmp_path: Path) -> None:
    """A sparse file costs no device access: refused cold, accepted from the cache."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    assert "has holes" in str(problem(reads(path, (0, 4096)), cache_start="cold"))
    assert examined(reads(path, (0, 4096))).problems == []


def test_several_problems_are_said_together(data: Path) -> None:
    """Everything that is known to fail is known at once, and the exit code is that of bad input."""
    trace = Trace.of(
        [
            Op(file_uri(data.parent / "no"), 0, 1, 0),
            Op("s4://b/k", 0, 1, 1),
            Op(file_uri(data), None, 1, 2),
            Op("a", 0, 1, 3, op="zap"),
        ]
    )
    plan = examined(trace)
    assert len(plan.problems) == 4
    with pytest.raises(PreflightError) as caught:
        raise_for(plan.problems)
    assert caught.value.problems == plan.problems
    assert caught.value.exit_code == 2


def test_permission_alone_is_exit_4_and_with_others_2() -> None:
    """Only when nothing else is wrong is it the permissions that keep us from running."""
    forbidden, bad = CannotRunError("a", "b"), InputError("c", "d")
    assert PreflightError([forbidden, forbidden]).exit_code == 4
    assert PreflightError([forbidden, bad]).exit_code == 2


def test_long_listings_are_cut() -> None:
    """A thousand missing files make one line."""
    assert listing(str(i) for i in range(1000)) == "0, 1, 2 and 997 more"


def test_too_many_streams_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond some thousands of threads the interpreter would be measured."""
    monkeypatch.setattr(preflight, "MAX_STREAMS", 2)
    trace = Trace.of([Op(file_uri(data), 0, 1, i, pid=i, tid=i) for i in range(3)])
    assert "3 streams" in str(problem(trace, engine="threads"))
    assert examined(trace, engine="native").problems == []


@pytest.mark.parametrize(
    "options", [{"loop": 3}, {"pace": "think", "loop": 3}, {"speed": 0.1}, {"speed": 1e-300}], ids=str
)
def test_a_schedule_that_no_clock_counts_is_refused(data: Path, options: dict[str, object]) -> None:
    """Beyond 146 years, as with a wrong unit of time; as fast as possible there is no schedule."""
    trace = reads(data, (0, 1))
    late = Trace.of([*trace, Op(file_uri(data), 0, 1, 2**61, pid=1, tid=1)])
    assert "would take" in str(problem(late, **options))
    assert examined(late).problems == []
    assert examined(late, **{**options, "pace": "asap"}).problems == []


def test_a_read_at_the_end_of_all_numbers_is_beyond_the_file(data: Path) -> None:
    """Where it ends is no number of 63 bits; so it is short of any file, not before its beginning."""
    assert "is shorter than the trace reads" in str(problem(reads(data, (2**63 - 1, 4096), ret=4096)))


def test_descriptors_are_counted_before_they_run_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens that stay open in the recording count against the limit."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    uri = file_uri(data)
    trace = Trace.of([Op(uri, None, 0, i, op="open", pid=1, tid=1) for i in range(90)])
    assert "open files and the limit is 100" in str(problem(trace))


def test_a_core_stream_does_with_one_descriptor(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens anew what it needs; a thread of Python's keeps one to read and one to write."""
    trace = Trace.of([Op(file_uri(data), 0, 1, i, pid=i, tid=i) for i in range(30)])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert examined(trace, engine="native").problems == []
    assert "needs 124 open files and the limit is 100" in str(problem(trace, engine="threads"))


def test_handles_are_shared_out_under_the_limit(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few descriptors leave few handles per stream, never none."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (70, 70))
    assert examined(reads(data, (0, 1))).handles_per_stream == 2


def test_a_cap_below_the_largest_op_is_a_warning(data: Path) -> None:
    """Such an op goes alone; it is no reason to refuse."""
    plan = examined(reads(data, (0, 8192)), max_inflight_bytes=4096)
    assert plan.problems == []
    assert any("go alone" in text for text in plan.warnings)


def test_reads_larger_than_memory_are_refused(data: Path) -> None:
    """Buffers that no memory could hold are known before the first read."""
    monster = 1 << 30
    trace = Trace.of([Op(file_uri(data), 0, monster, i, pid=i, tid=i, ret=None) for i in range(500)])
    assert any("buffers" in str(error) for error in examined(trace).problems)


def test_mappings_are_announced(data: Path) -> None:
    """A map shows no page access, and the user is told."""
    trace = Trace.of([Op(file_uri(data), 0, 4096, 0, op="mmap", pid=1, tid=1)])
    assert any("page reads behind them" in text for text in examined(trace).warnings)


def test_misaligned_direct_ops_are_refused_when_asked(data: Path) -> None:
    """--direct-align error names the file, the count and the alignment (where O_DIRECT is available)."""
    plan = examined(reads(data, (0, 512), (1, 512), (512, 100)), cache="direct", direct_align="error")
    texts = [str(error) for error in plan.problems]
    assert len(texts) == 1
    assert "misaligned" in texts[0] or "refuses O_DIRECT" in texts[0]


def test_a_refusal_of_direct_is_a_problem_or_a_counted_fallback(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direct I/O never falls back unasked."""
    monkeypatch.setattr(preflight, "open_direct", lambda _: None)
    assert "refuses O_DIRECT" in str(problem(reads(data, (0, 512)), cache="direct"))
    plan = examined(reads(data, (0, 512)), cache="direct", direct_fallback=True)
    assert plan.problems == []
    assert any("refuses O_DIRECT" in text for text in plan.warnings)


def test_a_direct_uri_implies_the_policy(data: Path) -> None:
    """direct:// is read with O_DIRECT whatever --cache says."""
    plan = make_plan(reads(file_uri(data, "direct"), (0, 512)), Options())
    assert plan.files[0].access(plan.options).policy == "direct"


def test_a_remap_in_vain_is_refused(data: Path) -> None:
    """A prefix that no URI has is a typing error, not a no-op."""
    assert "no URI of the trace starts with '/nope'" in str(problem(reads(data, (0, 1)), remap=[("/nope", "/x")]))


def test_what_the_trace_writes_first_lives_in_scratch(data: Path) -> None:
    """A file that is written and read back need not exist; one that is read before it is written must."""
    uri, other = file_uri(data.parent / "new"), file_uri(data.parent / "old")
    ops = [
        Op(uri, 0, 5, 0, op="write", pid=1, tid=1),
        Op(uri, 0, 5, 1, pid=1, tid=1),
        Op(other, 0, 5, 2, pid=1, tid=1),
        Op(other, 0, 5, 3, op="write", pid=1, tid=1),
    ]
    plan = examined(Trace.of(ops))
    assert [file.in_scratch for file in plan.files] == [True, False]
    assert [str(error).partition(" ")[0] for error in plan.problems] == [str(data.parent / "old")]


def test_writes_are_added_up_beyond_a_columns_numbers(data: Path) -> None:
    """Two files written up to the end of what 63 bits can say need more room than there is: the sum does not wrap."""
    ops = [Op(file_uri(data.parent / name), 2**63 - 11, 10, 0, op="write", pid=1, tid=1) for name in ("a", "b")]
    plan = make_plan(Trace.of(ops), Options())
    (error,) = scratch.problems(plan, str(data.parent))
    assert "the trace writes 16384 PiB and " in str(error)


def test_writes_can_be_left_out(data: Path) -> None:
    """--writes skip issues no change at all, and counts what it left out."""
    uri = file_uri(data)
    ops = [Op(uri, 0, 5, i, op=name, pid=1, tid=1) for i, name in enumerate(["read", "write", "fsync", "delete"])]
    plan = make_plan(Trace.of(ops), Options(writes="skip"))
    assert (len(plan.trace), plan.skipped) == (1, {"writes": 3})


def test_changes_that_failed_then_are_not_tried_again(data: Path) -> None:
    """A write that failed changed nothing."""
    uri = file_uri(data)
    ops = [Op(uri, 0, 5, 0, pid=1, tid=1), Op(uri, 0, 5, 1, op="write", err="ENOSPC", pid=1, tid=1)]
    assert make_plan(Trace.of(ops), Options()).skipped == {"failed changes": 1}


@pytest.mark.parametrize(
    ("trace", "pace", "words"),
    [
        (Trace.of([Op("a", 0, 1, 0, t_complete=1, pid=1, tid=1)]), "think", "completion times and streams"),
        (Trace.of([Op("a", 0, 1, 0, pid=1, tid=1)]), "recorded", "no completion times"),
        (Trace.of([Op("a", 0, 1, 0, t_complete=1)]), "recorded", "which thread"),
        (
            Trace.of([Op("a", 0, 1, 0, t_complete=9, pid=1, tid=1), Op("a", 0, 1, 5, t_complete=9, pid=1, tid=1)]),
            "recorded",
            "overlap",
        ),
    ],
)
def test_auto_takes_think_times_only_where_they_are_known(trace: Trace, pace: str, words: str) -> None:
    """And says why."""
    plan = make_plan(trace, Options(pace="auto"))
    assert plan.pace == pace
    assert words in plan.pace_reason


@pytest.mark.parametrize(("pace", "times"), [("recorded", (0, 1000, 9000)), ("think", (0, 900, 7900))])
@pytest.mark.parametrize("speed", [0.5, 2.0, 3.7])
def test_speed_scales_schedule_and_pauses(speed: float, pace: str, times: tuple[int, ...], data: Path) -> None:
    """Twice as fast is half the time, to the nanosecond, in both paces."""
    ops = [Op(file_uri(data), 0, 1, t, t_complete=t + 100, pid=1, tid=1) for t in (50, 1050, 9050)]
    job = make_plan(Trace.of(ops), Options(speed=speed, pace=pace)).jobs[0]
    assert job.times.tolist() == [round(t / speed) for t in times]


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0.0}, {"speed": -1.0}, {"speed": float("nan")}, {"speed": float("inf")},
        {"loop": 0}, {"max_inflight": 0}, {"max_inflight_bytes": 0}, {"max_errors": -1},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """Each with a sentence."""
    with pytest.raises(UsageError):
        Options(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "option", ["pace", "cache", "cache_start", "writes", "null_offset", "direct_align", "engine", "prepare"]
)
def test_choices_that_do_not_exist_are_refused(option: str) -> None:
    """Each with what there is."""
    with pytest.raises(UnknownNameError):
        Options(**{option: "recorderd"})  # type: ignore[arg-type]
