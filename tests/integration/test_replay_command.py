"""`tracekit replay` as people run it: real processes, real files, real system calls."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tracekit import formats
from tracekit.trace import Op, Trace, Trailer
from tracekit.uri import file_uri

MS = 1_000_000
COMMAND = [sys.executable, "-m", "tracekit", "replay"]


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    """Four files of 256 KiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    paths = [folder / f"file {i}" for i in range(4)]
    for path in paths:
        path.write_bytes(os.urandom(1 << 18))
    return paths


def recording(paths: list[Path], count: int = 120, gap_ns: int = 2 * MS, streams: int = 3) -> Trace:
    """Random reads by several threads, one each gap."""
    rng = np.random.default_rng(7)
    ops = []
    for i in range(count):
        size = int(rng.integers(1, 5000))
        offset = int(rng.integers(0, (1 << 18) - size))
        who = i % streams
        uri = file_uri(paths[int(rng.integers(len(paths)))])
        start = i * gap_ns
        ops.append(
            Op(
                uri,
                offset,
                size,
                start,
                t_complete=start + 50_000,
                ret=size,
                pid=100 + who,
                tid=200 + who,
                worker=who,
                step=i // 8,
                sample_id=i,
            )
        )
    return Trace.of(ops, trailer=Trailer(ops=count))


def saved(trace: Trace, tmp_path: Path, name: str = "t.jsonl") -> Path:
    """The trace as a file."""
    path = tmp_path / name
    formats.save(trace, path)
    return path


def replay(*arguments: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The single error line; nothing else, and no traceback."""
    lines = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_replay_does_every_op_again_under_its_own_name(data: list[Path], tmp_path: Path) -> None:
    """Each op is in the output once, with its identity, size and place, never early, and the trace is complete."""
    source = recording(data)
    done = replay(saved(source, tmp_path), "-o", tmp_path / "out.jsonl")
    assert done.returncode in (0, 3), done.stderr
    result = Trace.read(tmp_path / "out.jsonl")
    assert result.is_complete
    keys = ("uri", "offset", "len", "pid", "tid", "worker", "step", "sample_id", "ret")
    assert sorted(tuple(getattr(op, key) for key in keys) for op in result) == sorted(
        tuple(getattr(op, key) for key in keys) for op in source
    )
    assert all(op.t_due is not None and op.t_submit >= op.t_due for op in result)
    assert result.header is not None
    assert result.header.producer["options"]["source_ops"] == 120
    assert result.trailer is not None
    assert result.trailer.run["undelivered_ops"] == 0
    assert "harness check" in done.stderr.splitlines()[-1]
    assert f"engine    {result.header.producer['reason']}\n" in done.stderr
    assert done.stdout == ""


def test_the_default_name_never_overwrites(data: list[Path], tmp_path: Path) -> None:
    """NAME.replay.jsonl beside the trace; a second run needs --force, and knows it before the first op."""
    path = saved(recording(data, 10), tmp_path)
    assert replay(path).returncode in (0, 3)
    before = (tmp_path / "t.replay.jsonl").read_bytes()
    done = replay(path)
    assert done.returncode == 2
    assert "--force" in one_sentence(done)
    assert (tmp_path / "t.replay.jsonl").read_bytes() == before
    assert replay(path, "--force").returncode in (0, 3)


def test_a_trace_is_not_replaced_by_its_own_replay(data: list[Path], tmp_path: Path) -> None:
    """Even --force does not write over what is being replayed."""
    path = saved(recording(data, 10), tmp_path)
    done = replay(path, "-o", path, "--force")
    assert done.returncode == 2
    assert "is the trace being replayed" in one_sentence(done)


def test_json_on_stdout_is_the_statement_of_the_trailer(data: list[Path], tmp_path: Path) -> None:
    """What --json prints is what the trace says."""
    done = replay(saved(recording(data, 10), tmp_path), "--json", "-o", tmp_path / "out.jsonl.zst")
    trailer = Trace.read(tmp_path / "out.jsonl.zst").trailer
    assert trailer is not None
    assert json.loads(done.stdout) == trailer.run


@pytest.mark.serial
def test_a_degraded_run_can_be_accepted(data: list[Path], tmp_path: Path) -> None:
    """With a busy process on every core the run is DEGRADED, exit 3; --accept-degraded ends with 0 where it was delivered."""
    path = saved(recording(data, 60, 5 * MS), tmp_path)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.5)
        plain = replay(path, "--json", "-o", tmp_path / "plain.jsonl")
        accepted = replay(path, "--json", "--accept-degraded", "-o", tmp_path / "accepted.jsonl")
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    run = json.loads(accepted.stdout)
    assert plain.returncode == 3
    assert "other processes used" in plain.stderr
    assert "(taskset)" in plain.stderr
    assert accepted.returncode == (0 if run["delivered"] else 3)
    assert run["verdict"] != "VALID"


def on_a_terminal(command: list[str], columns: int, **environment: str) -> str:
    """What a command shows on a terminal that is so many columns wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=follower, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert process.wait(600) in (0, 3), shown
    return shown.decode()


def live_lines(path: Path, columns: int, *arguments: str, **environment: str) -> tuple[list[str], list[str]]:
    """What a replay writes to a terminal between clearings of the line, and the live lines among them."""
    for _ in range(3):
        # A machine that is busy enough gives a run of two seconds no chance to say anything; then once more.
        command = [*COMMAND, str(path), *arguments, "--force", "-o", str(path.with_name("out.jsonl"))]
        lines = on_a_terminal(command, columns, **environment).split("\r\x1b[K")
        live = [line for line in lines if line.startswith("replaying ")]
        if len(live) > 2:
            break
    assert live, lines
    return lines, live


@pytest.mark.parametrize("engine", ["auto", "threads"])
def test_a_terminal_shows_how_far_the_run_is(data: list[Path], tmp_path: Path, engine: str) -> None:
    """One line, rewritten: ops, time left, rate, throughput, how late they were, how many are in flight; gone afterwards."""
    path = saved(recording(data, 400, 5 * MS), tmp_path)
    lines, live = live_lines(path, 200, "--engine", engine, NO_COLOR="1")
    shape = re.compile(
        r"replaying \d+/400 ops \(\d+ %\) · \d+ s left · [\d,]+ ops/s · \S+ .?B/s · p99 \S+ (ns|µs|ms|s) late · \d+\.\d in flight"
    )
    assert any(shape.fullmatch(line) for line in live), lines
    assert "\x1b[3" not in "".join(lines), "there is colour"
    assert "replaying" not in lines[-1]


def test_a_narrow_terminal_is_not_overrun(data: list[Path], tmp_path: Path) -> None:
    """No live line is as wide as the terminal, which would make it two."""
    _, live = live_lines(saved(recording(data, 400, 5 * MS), tmp_path), 40)
    assert max(map(len, live)) < 40


def test_elsewhere_there_is_no_live_line(data: list[Path], tmp_path: Path) -> None:
    """A run of two seconds says nothing on the way where nobody sees a line change."""
    done = replay(saved(recording(data, 400, 5 * MS), tmp_path), "-o", tmp_path / "out.jsonl")
    assert "replaying" not in done.stderr
    assert "\x1b" not in done.stderr


def test_compressed_traces_stay_compressed(data: list[Path], tmp_path: Path) -> None:
    """The default name of a .zst trace is one too."""
    replay(saved(recording(data, 10), tmp_path, "t.jsonl.zst"))
    assert len(Trace.read(tmp_path / "t.replay.jsonl.zst")) == 10


# With -y a descriptor shows its file: pread64(7</data/a>, "?"..., LENGTH, OFFSET), the Python twin's
# preadv(7</data/a>, [{iov_base="?"..., iov_len=LENGTH}], 1, OFFSET), or that of a worker that watches for all,
# preadv2(7</data/a>, [{...}], 1, OFFSET, RWF_NOWAIT). One that would have blocked (-1 EAGAIN) is followed by a pread64.
_CALL = re.compile(
    r"(?P<time>[\d.]+) (?:pread64|preadv2?)\(\d+<(?P<path>[^>]+)>, .*?(?P<len>\d+)(?:\}\], 1)?, (?P<offset>\d+)(?:, RWF_NOWAIT)?\) += \d"
)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("pace", ["recorded", "think", "asap"])
def test_the_system_calls_are_those_of_the_trace(data: list[Path], tmp_path: Path, pace: str) -> None:
    """What strace sees: the same (file, offset, length), each stream's in the recorded order, nothing else on the data."""
    source = recording(data, 90, MS)
    logs = tmp_path / "strace"
    logs.mkdir()
    # -ff: one log per thread, so that no call is split over two lines.
    command = [
        "strace",
        "-ff",
        "-y",
        "-v",
        "-s",
        "1",
        "-ttt",
        "-e",
        "trace=pread64,preadv,preadv2",
        "-o",
        str(logs / "log"),
        *COMMAND,
    ]
    trace_path = saved(source, tmp_path)
    done = subprocess.run(
        [*command, str(trace_path), "--pace", pace, "-o", str(tmp_path / "out.jsonl")],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    calls = [call for log in logs.iterdir() for line in log.read_text().splitlines() if (call := _CALL.match(line))]
    calls.sort(key=lambda call: float(call["time"]))
    folder = str(data[0].parent)
    seen = [(call["path"], int(call["offset"]), int(call["len"])) for call in calls if call["path"].startswith(folder)]
    wanted: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for op in source:
        assert op.tid is not None
        assert op.offset is not None
        wanted[op.tid].append((op.uri.removeprefix("file://").replace("%20", " "), op.offset, op.len))
    assert sorted(seen) == sorted(op for ops in wanted.values() for op in ops)
    if pace == "recorded" and Trace.read(tmp_path / "out.jsonl").trailer.run["priority"].startswith("real-time"):
        # One worker watches for all as long as no read would block.
        assert any("RWF_NOWAIT" in call.group() for call in calls)
    for ops in wanted.values():
        # A thread may serve several streams, so a stream's order is looked for among all calls.
        left = iter(seen)
        assert all(op in left for op in ops)


@pytest.mark.parametrize("speed", ["0.5", "2"])
def test_speed_changes_the_schedule_and_nothing_else(data: list[Path], tmp_path: Path, speed: str) -> None:
    """The deadlines are the recorded times over the speed, to the nanosecond; the ops are the same."""
    source = recording(data, 60, MS)
    replay(saved(source, tmp_path), "--speed", speed, "-o", tmp_path / "out.jsonl")
    result = Trace.read(tmp_path / "out.jsonl")
    assert sorted(result.col("t_due").tolist()) == sorted(round(i * MS / float(speed)) for i in range(60))
    assert sorted(op.len for op in result) == sorted(op.len for op in source)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_replay_leaves_what_was_done(
    data: list[Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C, SIGTERM and the end of the terminal stop issuing at once; the output is readable, complete as a trace, and says what is missing."""
    source = recording(data, 2000, 10 * MS)
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [*COMMAND, str(saved(source, tmp_path)), "-o", str(out)], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 -- one of them is ignored under nohup
    )  # fmt: skip
    _wait_for_threads(process.pid, 4)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == code, said
    assert "Traceback" not in said
    result = Trace.read(out)
    assert result.is_complete
    assert result.trailer is not None
    run = result.trailer.run
    assert run["interrupted"] is True
    assert run["verdict"] == "NOT SUSTAINED"
    assert run["undelivered_ops"] + len(result) == 2000
    assert 0 < len(result) < 2000


def _wait_for_threads(pid: int, count: int) -> None:
    """Wait until a process runs this many threads."""
    for _ in range(400):
        if len(os.listdir(f"/proc/{pid}/task")) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("the replay did not start its threads")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no trace"),
        (b"", "is empty"),
        (random.Random(1).randbytes(4096), ""),
        (b'{"uri":"file:///x","offset":0,"len":-5,"t_submit":0}\n', "len"),
        (b'{"uri":"file:///x","offset":"0","len":5,"t_submit":0}\n', "offset"),
        (b'{"uri":"s4://x/y","offset":0,"len":5,"t_submit":0}\n', "s4"),
        (b'{"uri":"file:///no/such/file","offset":0,"len":5,"t_submit":0}\n', "does not exist"),
        (b'{"uri":"file:///etc/hostname","offset":0,"len":5000000,"t_submit":0,"ret":5000000}\n', "shorter"),
        (b'{"uri":"file:///etc/hostname","offset":null,"len":5,"t_submit":0}\n', "--null-offset"),
        (b'{"uri":"file:///etc/hostname","offset":0,"len":5,"t_submit":0,"op":"zap"}\n', "zap"),
        (b'{"uri":"file:///etc","offset":0,"len":5,"t_submit":0}\n', "no regular file"),
        (b'{"uri":"","offset":0,"len":5,"t_submit":0}\n', "file name"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(content: bytes | None, words: str, tmp_path: Path) -> None:
    """Exit 2, one line that says what is wrong, no traceback, no output."""
    path = tmp_path / "t.jsonl"
    if content is not None:
        path.write_bytes(content)
    done = replay(path, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 2, done.stderr
    assert words in one_sentence(done)
    assert sorted(os.listdir(tmp_path)) == ([] if content is None else ["t.jsonl"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pace", "recordet"), ("--speed", "0"), ("--cache", "hot"), ("--remap", "x"), ("--select", "pidd=1"),
        ("--max-inflight-bytes", "many"), ("--engine", "warp"), ("--loop", "0"), ("-o", "out.txt"), ("-o", "no/dir/o.jsonl"),
        ("--json", "-o", "-"),
    ],
)  # fmt: skip
def test_bad_options_are_one_sentence(data: list[Path], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Exit 2 before anything happens."""
    done = replay(saved(recording(data, 3), tmp_path), *arguments)
    assert done.returncode == 2, done.stderr
    one_sentence(done)
    assert sorted(os.listdir(tmp_path)) == ["data", "t.jsonl"]


def test_every_known_failure_is_said_at_once(data: list[Path], tmp_path: Path) -> None:
    """Three things wrong are three sentences and a summary, exit 2."""
    ops = [Op("s4://b/k", 0, 1, 0), Op("file:///no/such", 0, 1, 1), Op(file_uri(data[0]), None, 1, 2)]
    done = replay(saved(Trace.of(ops), tmp_path))
    assert done.returncode == 2
    assert [word in done.stderr for word in ("s4", "/no/such", "--null-offset", "3 things")] == [True] * 4
    assert "Traceback" not in done.stderr


def test_a_bare_trace_is_replayed_in_the_recorded_pace_with_a_warning(data: list[Path], tmp_path: Path) -> None:
    """Only uri, offset, len and t_submit: it works, on bare paths too, and what cannot be known is said."""
    path = tmp_path / "bare.jsonl"
    lines = [{"uri": str(data[0]), "offset": i * 10, "len": 10, "t_submit": i} for i in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = replay(path, "--time-unit", "ms", "--pace", "auto", "-o", tmp_path / "out.jsonl")
    assert done.returncode in (0, 3), done.stderr
    assert "one stream" in done.stderr
    assert "no completion times" in done.stderr
    result = Trace.read(tmp_path / "out.jsonl")
    assert result.col("t_due").tolist() == [i * MS for i in range(5)]
    assert result.uris == [str(data[0])]


def test_missing_data_is_prepared_and_read_cold(data: list[Path], tmp_path: Path) -> None:
    """With --remap and --prepare the trace runs where its data never was; the stand-ins stay for the next time."""
    new = tmp_path / "new"
    arguments = ["--remap", f"{data[0].parent}={new}", "--cache-start", "cold", "--force", "-o", tmp_path / "out.jsonl"]
    path = saved(recording(data, 40, MS), tmp_path)
    done = replay(path, "--prepare", "random", *arguments)
    assert done.returncode in (0, 3), done.stderr
    assert sorted(os.listdir(new)) == [f"file {i}" for i in range(4)]
    first = (new / "file 0").read_bytes()
    result = Trace.read(tmp_path / "out.jsonl")
    assert {uri.rsplit("/", 1)[0] for uri in result.uris} == {f"file://{new}"}
    assert result.trailer is not None
    assert result.trailer.residency["before"] in (
        None,
        {"pages": result.trailer.residency["before"]["pages"], "resident": 0},
    )
    assert replay(path, "--prepare", "random", *arguments).returncode in (0, 3)
    assert (new / "file 0").read_bytes() == first


def test_direct_reads_are_counted_as_issued_and_as_recorded(data: list[Path], tmp_path: Path) -> None:
    """O_DIRECT rounds outwards: the trace keeps the recorded sizes, the statement has both sums."""
    source = recording(data, 30, MS)
    done = replay(saved(source, tmp_path), "--cache", "direct", "-o", tmp_path / "out.jsonl")
    if "refuse" in done.stderr:
        pytest.skip("this file system refuses O_DIRECT")
    result = Trace.read(tmp_path / "out.jsonl")
    assert result.trailer is not None
    run = result.trailer.run
    assert run["recorded_bytes"] == run["moved_bytes"] == int(source.col("len").sum())
    assert run["issued_bytes"] > run["recorded_bytes"]
    assert {op.flags for op in result} == {"direct"}
    assert [op.ret for op in result] == [op.len for op in result]


def test_data_that_fails_during_the_run_is_counted(data: list[Path], tmp_path: Path) -> None:
    """A file cut short under the running replay: the schedule goes on, short reads are counted, the exit code is 3."""
    uri = file_uri(data[0])
    ops = [Op(uri, 100_000, 100, i * 20 * MS, ret=100, pid=1, tid=1) for i in range(250)]
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen([*COMMAND, str(saved(Trace.of(ops), tmp_path)), "-o", str(out)], stderr=subprocess.PIPE)
    _wait_for_results(tmp_path)
    time.sleep(0.3)
    os.truncate(data[0], 10)
    process.communicate(timeout=600)
    assert process.returncode == 3
    result = Trace.read(out)
    assert result.trailer is not None
    run = result.trailer.run
    assert len(result) == 250
    assert 0 < run["short_reads"] < 250
    # On a busy machine it may have been late besides, and then says that first.
    assert run["verdict"] != "VALID"
    assert any("returned less than in the recording" in reason for reason in run["reasons"])


def test_writes_happen_in_scratch_only(data: list[Path], tmp_path: Path) -> None:
    """Writes, flushes and deletes of recorded files leave them alone; the scratch directory is gone afterwards."""
    target, fresh = file_uri(data[0]), file_uri(data[0].parent / "checkpoint")
    before = data[0].read_bytes()
    names = ["read", "open", "write", "fsync", "close", "stat", "delete"]
    ops = [Op(target, 0, 4096, i * MS, op=name, pid=1, tid=1) for i, name in enumerate(names)]
    ops += [
        Op(fresh, 0, 5000, 10 * MS, op="write", ret=5000, pid=1, tid=1),
        Op(fresh, 1000, 4000, 11 * MS, ret=4000, pid=1, tid=1),
        Op(fresh, None, 100, 12 * MS, op="write", ret=100, pid=1, tid=1),
        Op(fresh, 5000, 100, 13 * MS, ret=100, pid=1, tid=1),
    ]
    done = replay(saved(Trace.of(ops), tmp_path), "-o", tmp_path / "out.jsonl")
    assert done.returncode in (0, 3), done.stderr
    assert data[0].read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["data", "out.jsonl", "t.jsonl"]
    assert sorted(os.listdir(tmp_path / "data")) == [f"file {i}" for i in range(4)]
    result = Trace.read(tmp_path / "out.jsonl")
    assert [(op.op, op.ret) for op in result][-4:] == [("write", 5000), ("read", 4000), ("write", 100), ("read", 100)]
    assert result.trailer is not None
    assert result.trailer.run["errors"] == {}


def test_help_needs_no_heavy_import() -> None:
    """`tracekit replay --help` loads neither NumPy nor the replayer."""
    code = "import sys; sys.argv = ['tracekit', 'replay', '--help']\ntry:\n  from tracekit.cli import main; main()\nexcept SystemExit: pass\nprint([m for m in ('numpy', 'tracekit.replay', 'pyarrow') if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--pace" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_failed_run_stops_when_told_and_says_why_even_when_quiet(data: list[Path], tmp_path: Path) -> None:
    """--max-errors ends a run whose file cannot be listed; -q leaves the reason for exit 3 standing."""
    ops = [Op(file_uri(data[0]), 0, 0, i * MS, op="fsync", pid=1, tid=1) for i in range(3)]
    uri = file_uri(data[0].parent / "late")
    ops += [Op(uri, 0, 10, 100 * MS + i * MS, ret=10, pid=2, tid=2) for i in range(20)]
    (data[0].parent / "late").write_bytes(b"x" * 10)
    path = saved(Trace.of(ops), tmp_path)
    code = (
        "import sys, os\n"
        "from tracekit.replay import threads\n"
        "start = threads._start\n"
        "def starting(workers, shared):\n"
        f"    os.unlink({str(data[0].parent / 'late')!r})\n"
        "    start(workers, shared)\n"
        "threads._start = starting\n"
        "from tracekit.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "-q",
            "replay",
            str(path),
            "--engine",
            "threads",
            "--max-errors",
            "4",
            "-o",
            str(tmp_path / "out.jsonl"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    # The other thread's three ops were due long before, but nobody says that it had a core until then.
    stopped = re.search(r"more than 4 ops failed \(--max-errors\); (\d+) of 23 ops were not issued", done.stderr)
    assert stopped, done.stderr
    errors = [op.err for op in Trace.read(tmp_path / "out.jsonl")]
    assert errors.count("ENOENT") == 5
    assert len(errors) == 23 - int(stopped[1]) <= 8


def test_a_replay_can_be_replayed(data: list[Path], tmp_path: Path) -> None:
    """Replaying a replay: the second has the deadlines of the first one's submits, and both are whole."""
    first = tmp_path / "first.jsonl"
    assert replay(saved(recording(data, 50), tmp_path), "-o", first).returncode in (0, 3)
    assert replay(first, "-o", tmp_path / "second.jsonl").returncode in (0, 3)
    one, two = Trace.read(first), Trace.read(tmp_path / "second.jsonl")
    origin = int(one.col("t_submit")[0])
    assert sorted((one.col("t_submit") - origin).tolist()) == sorted(two.col("t_due").tolist())


def _wait_for_results(folder: Path) -> Path:
    """The working files of a replay that has begun to issue ops."""
    end = time.monotonic() + 600
    while not (found := [path.parent for path in folder.glob("*.parts/results")]):
        assert time.monotonic() < end, "the replay did not begin"
        time.sleep(0.01)
    return found[0]


def _wait_for_records(results: Path, count: int) -> None:
    """Wait until so many records are written, and then for more of them twice."""
    end, seen = time.monotonic() + 600, {64 * count}
    while len(seen) < 4:
        assert time.monotonic() < end, "the replay does not go on"
        seen.add(max(64 * count, results.stat().st_size))
        time.sleep(0.02)


@pytest.mark.parametrize(("pace", "streams"), [("recorded", 2), ("recorded", 48), ("think", 2)])
def test_a_killed_replay_leaves_what_it_had_done(data: list[Path], tmp_path: Path, pace: str, streams: int) -> None:
    """What SIGKILL leaves is made into a trace without trailer, each stream whole up to its end; the next replay says how."""
    trace = recording(data, count=6000, gap_ns=MS, streams=streams)
    out = tmp_path / "out.jsonl"
    command = [*COMMAND, str(saved(trace, tmp_path)), "-o", str(out), "--pace", pace]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    parts = _wait_for_results(tmp_path)
    _wait_for_records(parts / "results", 1200)
    process.kill()
    process.communicate()
    assert not out.exists()
    records = (parts / "results").stat().st_size // 64
    back = tmp_path / "back.jsonl"
    done = subprocess.run(
        [*COMMAND, "--recover", str(parts), "-o", str(back)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = Trace.read(back)
    assert result.trailer is None
    assert result.header is not None
    assert result.header.producer["verb"] == "replay"
    left_out = re.search(r"(\d+) ops? left out", done.stderr)
    assert 0 < len(result) == records - int(left_out[1] if left_out else 0) < 6000
    for tid in np.unique(result.col("tid")):
        mine = result.select(result.col("tid") == tid)
        theirs = trace.select(trace.col("tid") == tid)
        for name in ("offset", "len"):
            assert mine.col(name).tolist() == theirs.col(name).tolist()[: len(mine)]
        assert (np.diff(mine.col("t_submit")) >= 0).all()
    if pace == "recorded":
        assert abs(int(result.col("t_due")[0]) - int(trace.col("t_submit")[0])) <= 1
    again = subprocess.run([*command, "--select", "tid=999"], capture_output=True, text=True, check=False)
    assert "--recover" in again.stderr


def test_parts_that_are_none_are_refused(tmp_path: Path) -> None:
    """One sentence for a directory without results, and for --recover together with a trace."""
    for arguments, words in [
        (["--recover", str(tmp_path), "-o", str(tmp_path / "o.jsonl")], "holds no results"),
        (["x.jsonl", "--recover", str(tmp_path), "-o", "o.jsonl"], "replays none"),
        ([], "no trace to replay"),
    ]:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
    assert os.listdir(tmp_path) == []
