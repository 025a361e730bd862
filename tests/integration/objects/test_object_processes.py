"""A replay by several processes of one machine: one trace and one statement, as if it had been one; no process is left."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import servers
from test_object_retries import MS, reads

from tracekit import formats
from tracekit.joining import concatenate
from tracekit.replay import processes, realtime
from tracekit.trace import Trace
from tracekit.verbs import replay, replay_processes


def command(*words):
    """The command line of a replay by two processes."""
    return [
        sys.executable,
        "-m",
        "tracekit",
        "replay",
        "t.jsonl",
        "-o",
        "r.jsonl",
        "--json",
        "--processes",
        "2",
        *words,
    ]


def replayed(*words, expected=(0, 3)):
    """The statement of such a replay, and what it said."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in expected, done.stderr
    return (json.loads(done.stdout) if done.stdout.startswith("{") else {}), done.stderr


def children(pid):
    """The processes that one has started and that are still there."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_processes_are_one_replay(serving, tmp_path):
    """Each stream is one process's; every request, retry and failure is in the one trace and its statement."""
    times = {"/b/3": 1, "/b/8": 2}
    server = serving(
        fault_of=lambda path, turn: 503 if turn < times.get(path, 0) else 404 if path in ("/b/5", "/b/12") else None
    )
    formats.save(reads(count=40, streams=4), tmp_path / "t.jsonl")
    run, said = replayed("--retries", "3")
    trace = Trace.read(tmp_path / "r.jsonl")
    assert sorted((op.uri, op.offset, op.len, op.tid) for op in trace) == sorted(
        (op.uri, op.offset, op.len, op.tid) for op in reads(count=40, streams=4)
    )
    assert [part["ops"] for part in run["ranks"]] == [20, 20]
    assert (run["ops"], run["undelivered_ops"], run["streams"]) == (40, 0, 4)
    assert (run["error_kinds"], run["retried"]) == ({"not found": 2}, {"throttled": 3})
    assert run["requests"] == server.gets == sum(op.attempts for op in trace) == 43
    assert all(op.rank is None for op in trace)
    times_of = [op.t_submit for op in trace]
    assert times_of == sorted(times_of)
    assert "Traceback" not in said


def test_files_may_be_read_by_two_processes_too(tmp_path):
    """The same as under mpirun."""
    (tmp_path / "b").mkdir()
    for i in range(20):
        (tmp_path / "b" / str(i)).write_bytes(servers.BODY)
    formats.save(reads(), tmp_path / "t.jsonl")
    run, _ = replayed("--remap", f"s3://b={tmp_path}/b")
    assert (run["ops"], run["errors"], len(run["ranks"])) == (20, {}, 2)


@pytest.mark.parametrize("struck", ["the command", "a process"])
def test_an_end_leaves_a_trace_and_no_process(serving, tmp_path, struck):
    """SIGTERM ends all of them with what was done; a process that is killed is said to be lost, and the others go on."""
    enough = threading.Event()
    server = serving(hold=lambda _: enough.set() if server.gets > 20 else None)
    gap = 50 * MS if struck == "the command" else 4 * MS
    formats.save(reads(count=1000, streams=4, gap_ns=gap), tmp_path / "t.jsonl")
    with subprocess.Popen(
        command("--rank-timeout", "60"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert enough.wait(120)
        others = children(process.pid)
        if struck == "the command":
            process.send_signal(signal.SIGTERM)
        else:
            os.kill(others[0], signal.SIGKILL)
        out, said = process.communicate(timeout=300)
    assert len(others) == 1
    assert not Path(f"/proc/{others[0]}").exists()
    run = json.loads(out)
    assert len(Trace.read(tmp_path / "r.jsonl")) == run["ops"] > 0
    if struck == "the command":
        assert process.returncode == 128 + signal.SIGTERM, said
        assert run["interrupted"]
        assert run["ops"] < 1000
    else:
        assert process.returncode == 3, said
        assert run["ops"] == 500
        assert "has ended without a word" in run["lost_ranks"][0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("0",), "--processes '0' is no number of processes"),
        (("²",), "--processes '²' is no number of processes"),
        (("257",), "--processes 257 is more than one machine runs well (256)"),
        (("9" * 5000,), "is more than one machine runs well"),
        (("2", "--loop", "2"), "--loop holds within one process"),
        (("2", "--remap", "s3://b=/nowhere"), "do not exist"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, words, sentence):
    """Exit code 2, no traceback, no process left behind."""
    formats.save(reads(), tmp_path / "t.jsonl")
    _, said = replayed("--processes", *words, expected=(2,))
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("rate", "words", "expected"),
    [
        (1000, (), 1), (20_000, (), 4), (5000, (), 2), (5000, ("--speed", "2"), 4), (100, ("--pace", "asap"), 4),
        (20_000, ("--remap", "s3://b=/data"), 1),
    ],
)  # fmt: skip
def test_auto_takes_as_many_as_the_requests_keep_busy(tmp_path, monkeypatch, rate, words, expected):
    """By the rate of requests for objects; at most one for each core, and one where there are none."""
    monkeypatch.setattr(replay_processes, "cores", lambda: 4)
    formats.save(reads(count=500, streams=8, gap_ns=round(1e9 / rate)), tmp_path / "t.jsonl")
    parser = ArgumentParser()
    replay.configure(parser)
    args = parser.parse_args([str(tmp_path / "t.jsonl"), "--processes", "auto", *words])
    assert replay_processes.wanted(args) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), 1),
        (("--speed", "8"), 3),
        (("--speed", "8", "--pace", "think"), 1),
        (("--speed", "8", "--loop", "2"), 1),
        (("--speed", "8", "--order", "global"), 1),
        (("--speed", "8", "--max-inflight", "4"), 1),
        (("--speed", "8", "--max-inflight-bytes", "1MiB"), 1),
        (("--speed", "8", "--max-errors", "5"), 1),
        (("--speed", "8", "--remap", f"s3://b={os.sep}data"), 1),
        (("--speed", "8", "--remap", "s3://b=s4://b"), 1),
    ],
)
def test_a_schedule_too_dense_for_one_process_gets_several(tmp_path, monkeypatch, capsys, words, expected):
    """Nobody has to ask, and it is said; not where an option holds within one process, nor for files."""
    monkeypatch.setattr(replay_processes, "cores", lambda: 4)
    formats.save(reads(count=100, streams=4, gap_ns=MS), tmp_path / "t.jsonl")
    parser = ArgumentParser()
    replay.configure(parser)
    args = parser.parse_args([str(tmp_path / "t.jsonl"), *words])
    assert replay_processes.wanted(args) == expected
    assert ("taking 3 processes: the schedule asks" in capsys.readouterr().err) == (expected == 3)


def test_the_first_ops_say_how_many_processes_a_long_trace_gets(tmp_path, monkeypatch):
    """Where nobody asked the whole trace is not read for it; where somebody did it is."""
    monkeypatch.setattr(replay_processes, "cores", lambda: 4)
    monkeypatch.setattr(replay_processes, "LOOKED_AT", 50)
    monkeypatch.setattr(replay, "PIECE", 50)
    first, then = reads(count=50, streams=4, gap_ns=MS), reads(count=1000, streams=4, gap_ns=MS // 100)
    then.columns["t_submit"] = then.col("t_submit") + 100 * MS
    formats.save(concatenate([first, then]), tmp_path / "t.jsonl")
    parser = ArgumentParser()
    replay.configure(parser)
    counts = [
        replay_processes.wanted(parser.parse_args([str(tmp_path / "t.jsonl"), *words]))
        for words in ((), ("--processes", "auto"))
    ]
    assert counts == [1, 4]


def test_the_priority_is_given_back(monkeypatch):
    """To every thread of the process; where it is refused that is said, and where it takes too much of the cores."""
    before = os.sched_getscheduler(0)
    with realtime.Realtime() as held:
        if held.said == "real-time":
            assert os.sched_getscheduler(0) == os.SCHED_FIFO
            monkeypatch.setattr(realtime, "_MOST_SHARE", -1.0)
            monkeypatch.setattr(realtime, "_SPAN_NS", 0)
            held.watch()
            assert os.sched_getscheduler(0) == before
            assert "given back" in held.said
    assert os.sched_getscheduler(0) == before

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with realtime.Realtime() as refused_one:
        assert refused_one.said == "normal: real-time priority was refused (Operation not permitted)"
    with realtime.Realtime("asked for") as unwanted:
        assert unwanted.said == "normal: asked for"


def test_a_standstill_is_seen_where_python_s_threads_have_the_priority():
    """A stop of the whole process for 100 ms is in what was seen by the time the priority is given back."""
    program = """if True:
        from tracekit.replay.realtime import Realtime
        with Realtime() as held:
            print(held.said, flush=True)
            input()
        print(0 if held.standstills is None else held.standstills.to_json()["longest_ms"])
    """
    command = [sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout.readline() != "real-time\n":
                pytest.skip("real-time priority is refused here")
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            time.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate("\n", timeout=120)
        finally:
            process.kill()
    assert float(out) >= 90


def test_a_signal_cuts_no_message_in_two():
    """Interrupts while messages are sent and taken: those that were sent arrive as they were, in their order."""
    ends = [Connection(end.detach()) for end in socket.socketpair()]
    one, other = (processes.PipeWire(rank, 2, {1 - rank: end}) for rank, end in enumerate(ends))
    sent, heard, armed, over = itertools.count(), [], [], threading.Event()

    def talk():
        one.send(1, (next(sent), bytes(1 << 20)))
        while (message := other.poll()) is not None:
            heard.append(message[1])

    def interrupted(*_):
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    def strike():
        while not over.wait(0.001):
            signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupted)
    striking = threading.Thread(target=strike, daemon=True)
    striking.start()
    for _ in range(60):
        with suppress(KeyboardInterrupt):
            armed.append(True)
            talk()
            armed.clear()
    over.set()
    striking.join()
    signal.signal(signal.SIGUSR1, before)
    last = next(sent)
    one.send(1, (last, b"the last"))
    while heard[-1:] != [(last, b"the last")]:
        message = other.poll()
        heard += [message[1]] if message else []
    numbers = [number for number, _ in heard]
    assert numbers == sorted(set(numbers))
    assert all(body == bytes(1 << 20) for _, body in heard[:-1])


def test_a_process_that_is_gone_is_silent():
    """Nothing is heard of it, and what is sent to it is not sent."""
    with processes.started(2, "tracekit.no_such_module", "hello") as wire:
        while not wire.gone:
            assert wire.poll() is None
        wire.send(1, "anybody?")
        assert (wire.flush(1), wire.gone) == (True, {1})
