"""A directory or a glob of traces is one trace: merged by time on one clock, whole or in pieces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, formats, merge
from tracekit.cli import main
from tracekit.errors import InputError
from tracekit.formats import several
from tracekit.runid import run_id
from tracekit.testing import training_trace


def _host(rank, *, start=1_000_000, ops=300, seed=0):
    """A host's trace, whose clock begins `rank` ms after the first one's."""
    chance = np.random.default_rng(seed + rank)
    times = np.sort(chance.integers(0, 5_000_000, ops))
    rows = [
        Op(f"file:///host{rank}/{number % 7}", number, 1, int(time), t_complete=int(time) + 5, rank=rank,
           sample_id=f"s{number % 3}" if number % 2 else number, err="EIO" if number % 50 == rank else None)
        for number, time in enumerate(times)
    ]  # fmt: skip
    header = Header(created="now", clock={"t0_unix_ns": start + rank * 1_000_000})
    marks = [Mark("step", 10, 20, 0), Mark("step", 4_999_999, 5_000_000, 1)]
    return Trace.of(rows, header=header, marks=marks, trailer=Trailer(ops=ops, bytes=ops * 10))


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Three hosts' traces in three formats, below one directory."""
    monkeypatch.setattr(several, "_FEWEST_OPS", 16)
    traces = [_host(rank) for rank in range(3)]
    for trace, name in zip(traces, ("a.parquet", "b.jsonl", "c.jsonl.zst"), strict=True):
        (tmp_path / f"host_{name}").mkdir()
        formats.save(trace, tmp_path / f"host_{name}" / f"trace.{name.partition('.')[2]}")
    return traces


def _rows(trace):
    return sorted(trace, key=lambda op: (op.t_submit, op.uri, op.offset))


def test_a_directory_is_its_traces_merged_by_time(hosts, tmp_path):
    """Every op is there once, on the clock of the host that began first, with its rank, in order of time."""
    whole = Trace.read(tmp_path)
    wanted = merge(hosts)
    assert _rows(whole) == _rows(wanted)
    assert bool((np.diff(whole.col("t_submit")) >= 0).all())
    assert whole.trailer.ops == 900
    assert {op.rank for op in whole} == {0, 1, 2}


@pytest.mark.parametrize("ops", [40, 200, 100_000])
def test_pieces_of_many_traces_are_the_merged_trace(hosts, tmp_path, ops):
    """In pieces of any size the same ops, marks, header and trailer come as when merged at once, with shared tables."""
    pieces = list(formats.chunks(str(tmp_path / "host*"), ops=ops))
    wanted = merge(hosts)
    times = np.concatenate([piece.col("t_submit") for piece in pieces])
    assert bool((np.diff(times) >= 0).all())
    assert _rows([op for piece in pieces for op in piece]) == _rows(wanted)
    assert sorted(mark.t for piece in pieces for mark in piece.marks) == [mark.t for mark in wanted.marks]
    assert pieces[0].header == wanted.header
    assert [piece.trailer is None for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert pieces[-1].trailer == wanted.trailer
    assert all(piece.tables["uri"] is pieces[0].tables["uri"] for piece in pieces)


def test_parts_of_one_trace_are_the_trace(tmp_path):
    """A trace partitioned by time into files of a directory reads as the one it was."""
    trace = training_trace()
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, len(trace), 50)):
        part = trace.select(slice(start, start + 50))
        part.marks = trace.marks if number == 0 else []
        formats.save(part, tmp_path / "parts" / f"{number:04d}.parquet")
    (tmp_path / "parts" / "README.txt").write_text("no trace")
    (tmp_path / "parts" / ".hidden.parquet").write_text("no trace")
    assert _rows(Trace.read(tmp_path / "parts")) == _rows(trace)
    pieces = list(formats.chunks(tmp_path / "parts", ops=100))
    assert [op.t_submit for piece in pieces for op in piece] == [op.t_submit for op in trace]


def test_traces_without_a_common_clock_are_said_to_have_none(tmp_path):
    """Where a header does not say when t0 was, times stay as they are and the user is told."""
    for rank in range(2):
        trace = _host(rank)
        formats.save(
            Trace(trace.columns, trace.tables, header=replace(trace.header, clock={})), tmp_path / f"{rank}.jsonl"
        )
    assert any("without a common clock" in text for text in Trace.read(tmp_path).warnings)
    *_, last = formats.chunks(tmp_path)
    assert any("without a common clock" in text for text in last.warnings)
    assert last.trailer is None


def _by(trace, verb, command=(), **options):
    """The trace as of this verb of tracekit."""
    header = replace(
        trace.header, producer={"tool": "tracekit", "verb": verb, "options": options}, command=list(command)
    )
    return Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer)


def _warned(folder):
    """The warnings of a directory's traces, the same whole and in pieces."""
    whole = Trace.read(folder).warnings
    *_, last = formats.chunks(folder)
    assert last.warnings == whole
    return whole


def test_a_recording_and_its_replay_are_not_one_run(tmp_path, capsys):
    """What is merged although it is not of one run is named: in the warnings, in the summary, and on stderr beside JSON."""
    formats.save(_by(_host(0), "record", ["python", "train.py"]), tmp_path / "a.jsonl")
    formats.save(_by(_host(1), "replay", source="/d/a.jsonl"), tmp_path / "b.jsonl")
    said = "traces that are not of one run are merged: tracekit record of python train.py, tracekit replay of a.jsonl; "
    (warning,) = _warned(tmp_path)
    assert warning.startswith(said)

    assert main(["stats", str(tmp_path)]) == 0
    assert said in capsys.readouterr().out
    for form in (["--json"], ["--csv", str(tmp_path / "csv")]):
        assert main(["stats", str(tmp_path), *form]) == 0
        assert f"warning: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("commands", "alone"),
    [
        ([["python", "train.py", "--node=0"], ["python", "train.py", "--node=12"]], True),
        ([["python", "train.py"], ["python", "evaluate.py"]], False),
        ([["python", "x" * 200], ["python", "y"]], False),
    ],
)
def test_hosts_of_one_job_are_one_run(tmp_path, commands, alone):
    """Commands that differ in numbers are one job's hosts; other commands are named, long ones shortened."""
    for rank, command in enumerate(commands):
        formats.save(_by(_host(rank), "record", command), tmp_path / f"{rank}.jsonl")
    warned = _warned(tmp_path)
    assert (warned == []) == alone
    assert all("not of one run" in text and len(text) < 300 for text in warned)


def _of_run(trace, run, start):
    """The trace as a recording of this run; None is a trace that says nothing of it."""
    producer = {"tool": "tracekit", "verb": "record", **({"run": run} if run else {})}
    header = replace(trace.header, producer=producer, command=["python", "train.py"], clock={"t0_unix_ns": start})
    return Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer)


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        ([("a", 0), ("b", 10_000_000)], 2),
        ([("b", 10_000_000), ("a", 0), ("c", 90_000_000)], 3),
        ([("a", 0), ("b", 10_000_000), ("a", 9_000_000)], 1),
        ([("a", 0), ("a", 10_000_000)], 1),
        ([("a", 0), ("b", 1_000_000), ("c", 4_000_000)], 1),
        ([(None, 0), (None, 10_000_000)], 1),
        ([(None, 0), ("a", 10_000_000)], 1),
    ],
)
def test_runs_one_after_another_are_said(tmp_path, capsys, runs, count):
    """Of one command, too; not where they overlap like the hosts of a job, are parts of one run, or do not say which they are of."""
    for rank, (run, start) in enumerate(runs):
        formats.save(_of_run(_host(rank), run, 10**18 + start), tmp_path / f"{rank}.jsonl")
    said = f"traces of {count} runs, made one after another, are merged into one; to look at one, name its files alone"
    assert _warned(tmp_path) == ([said] if count > 1 else [])

    assert main(["stats", str(tmp_path / "*.jsonl"), "--json"]) == 0
    assert (f"warning: {said}" in capsys.readouterr().err) == (count > 1)


def test_ranks_of_one_launch_have_one_run():
    """PMIx and srun name it in each rank's environment; any other process has a run of its own, as has another launch."""
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}
    assert run_id(slurm) == run_id(slurm | {"SLURM_PROCID": "3"})
    assert run_id({"PMIX_NAMESPACE": "prterun-host-1@1"}) == run_id(
        {"PMIX_NAMESPACE": "prterun-host-1@1", "PMIX_RANK": "1"}
    )

    batch = {"SLURM_JOB_ID": "7"}
    found = [
        run_id(one) for one in (slurm, slurm | {"SLURM_STEP_ID": "1"}, batch, batch, {}, {}, {"PMIX_NAMESPACE": "b"})
    ]
    assert len(set(found)) == len(found)
    assert all(len(one) == 12 and int(one, 16) >= 0 for one in found)


def test_traces_that_do_not_say_who_made_them_are_not_called_another_run(tmp_path):
    """A header without producer says nothing of the run, beside one that has it too."""
    formats.save(_host(0), tmp_path / "a.jsonl")
    formats.save(_by(_host(1), "record", ["python", "train.py"]), tmp_path / "b.jsonl")
    assert _warned(tmp_path) == []


def test_names_that_mean_no_trace_are_said(tmp_path):
    """An empty directory and a glob without match are one sentence each; a file whose name has a star is that file."""
    with pytest.raises(InputError, match=r"holds no trace; its traces end in \.jsonl, "):
        Trace.read(tmp_path)
    with pytest.raises(InputError, match=r"no trace matches .*; check the glob, and that it is in quotes"):
        Trace.read(tmp_path / "no*.parquet")
    formats.save(training_trace(), tmp_path / "a*.jsonl")
    assert len(Trace.read(tmp_path / "a*.jsonl")) == 288


def test_what_a_killed_replay_left_is_named(tmp_path):
    """A directory of its working files is no trace yet; the error has the command that makes it one."""
    for name in ("about.json", "results", "rows"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        InputError, match=r"holds no trace; a replay that was killed left it: tracekit replay --recover "
    ):
        several.expand(str(tmp_path))


def test_a_damaged_part_is_named(hosts, tmp_path):
    """Which of many files is damaged stands in the error."""
    damaged = tmp_path / "host_a.parquet" / "trace.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"host_a\.parquet/trace\.parquet cannot be read as Parquet"):
        list(formats.chunks(tmp_path))
