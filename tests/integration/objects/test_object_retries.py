"""Requests made again: counted one by one, held to their number, and no obstacle for the ops behind them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import pytest

from tracekit import formats
from tracekit.metrics import Metrics
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import CLIENTS
from tracekit.trace import Op, Trace

MS = 1_000_000
PACES = pytest.mark.parametrize("pace", ["recorded", "think", "asap"])


def reads(count=20, streams=2, gap_ns=MS, **more):
    """One read of each of so many objects, by turns of the streams."""
    return Trace.of(
        Op(f"s3://b/{i}", 10, 1000, i * gap_ns, t_complete=i * gap_ns + 1000, ret=1000, pid=1, tid=i % streams, **more)
        for i in range(count)
    )


@PACES
@pytest.mark.parametrize("client", CLIENTS)
def test_every_request_is_counted(serving, pace, client):
    """Three objects are throttled once or twice: all is read, and the server saw as many requests as the trace has attempts."""
    times = {"/b/3": 1, "/b/7": 2, "/b/8": 1}
    server = serving(fault_of=lambda path, turn: 503 if turn < times.get(path, 0) else None)
    run = replay(reads(), Options(pace=pace, retries=3, client=client))
    attempts = {op.uri.removeprefix("s3:/"): op.attempts for op in run.trace}
    assert attempts == {f"/b/{n}": 1 + times.get(f"/b/{n}", 0) for n in range(20)}
    assert attempts == dict(server.turns)
    assert (run.run["errors"], run.run["retried"], run.run["requests"]) == ({}, {"throttled": 4}, 24)
    assert (run.run["moved_bytes"], run.run["issued_bytes"]) == (20_000, 24_000)
    assert {(op.level, op.layer, op.ret) for op in run.trace} == {("logical", "s3", 1000)}
    assert all(op.t_submit <= op.t_first_byte <= op.t_complete for op in run.trace)


@pytest.mark.parametrize("pace", ["recorded", "think"])
def test_no_more_requests_than_asked_for(serving, pace):
    """An object that is throttled for ever is one failed op of three requests; one that is not there is asked for once."""
    server = serving(fault_of=lambda path, _: {"/b/3": 503, "/b/5": 404}.get(path))
    run = replay(reads(), Options(pace=pace, retries=2))
    assert (server.turns["/b/3"], server.turns["/b/5"], server.gets) == (3, 1, 22)
    assert run.run["errors"] == {"503": 1, "404": 1}
    assert run.run["error_kinds"] == {"throttled": 1, "not found": 1}
    assert run.run["retried"] == {"throttled": 2}
    assert {op.err: op.attempts for op in run.trace if op.err} == {"503": 3, "404": 1}


def test_without_retries_an_op_is_one_request_on_the_wire(serving):
    """So says its level; failed ops have no first byte."""
    server = serving(fault_of=lambda path, _: 503 if path == "/b/3" else None)
    run = replay(reads(), Options())
    assert server.gets == 20
    assert {(op.level, op.attempts) for op in run.trace} == {("wire", 1)}
    assert [op.uri for op in run.trace if op.t_first_byte is None] == ["s3://b/3"]
    assert run.run["retried"] == {}


def test_the_ops_behind_are_issued_while_a_request_waits_for_its_turn(serving):
    """The second request for the first object is answered only when all others were asked for, which is never if they wait."""
    others = threading.Event()

    def hold(path):
        if path == "/b/19":
            others.set()
        if path == "/b/0" and server.turns[path]:
            assert others.wait(60)

    server = serving(fault_of=lambda path, turn: 503 if (path, turn) == ("/b/0", 0) else None, hold=hold)
    run = replay(reads(streams=1), Options(retries=1, timeout_s=50))
    assert run.run["errors"] == {}
    first = min(run.trace, key=lambda op: op.uri != "s3://b/0")
    assert first.attempts == 2
    assert max(op.t_submit for op in run.trace) < first.t_complete


def test_a_closed_loop_waits_for_its_request(serving):
    """The program would have waited too: the next op of a stream is submitted when the request was answered at last."""
    serving(fault_of=lambda path, turn: 503 if path == "/b/4" and turn < 2 else None)
    run = replay(reads(streams=1), Options(pace="think", retries=2))
    ops = sorted(run.trace, key=lambda op: op.t_submit)
    assert all(before.t_complete <= after.t_submit for before, after in itertools.pairwise(ops))
    assert Counter(op.attempts for op in ops) == {1: 19, 3: 1}


@PACES
def test_caps_hold_for_repeated_requests_too(serving, pace):
    """One request at a time, half of them twice; nobody waits for a request that waits for its own turn."""
    inside = Counter()
    lock = threading.Lock()

    def hold(_):
        with lock:
            inside["now"] += 1
            inside["most"] = max(inside["most"], inside["now"])

    def fault_of(path, turn):
        with lock:
            inside["now"] -= 1
        return 503 if turn == 0 and int(path[3:]) % 2 else None

    serving(fault_of=fault_of, hold=hold)
    run = replay(reads(streams=4), Options(pace=pace, retries=1, max_inflight=1))
    assert run.run["errors"] == {}
    assert (inside["most"], run.run["peak_inflight_gate"]["ops"]) == (1, 1)
    assert run.run["requests"] == 30


@pytest.mark.parametrize("pace", ["recorded", "think"])
def test_a_store_that_says_how_long_is_not_asked_sooner(serving, pace):
    """Retry-After goes before the shorter pause of our own; obstore does not tell what stood there."""
    asked = defaultdict(list)
    serving(
        fault_of=lambda path, turn: "503 SlowDown 1" if path == "/b/3" and not turn else None,
        hold=lambda path: asked[path].append(time.monotonic()),
    )
    run = replay(reads(), Options(pace=pace, retries=1, client="sdk"))
    assert run.run["errors"] == {}
    first, second = asked["/b/3"]
    assert second - first >= 1


def test_what_failed_in_the_recording_is_not_made_again(serving):
    """The recording has its own repeated requests as ops."""
    server = serving(fault=lambda _: 503)
    run = replay(reads(err="503"), Options(retries=3))
    assert server.gets == 20
    assert run.run["unexpected_errors"] == {}


def test_a_run_that_ends_early_leaves_repeated_requests_out(serving):
    """A share of failed ops ends it: what was done is there, and nothing is waited for."""
    serving(fault=lambda n: 404 if n % 2 else 503)
    run = replay(reads(count=200, streams=4), Options(retries=50, max_error_share=0.05))
    assert "more than 10 ops failed (--max-errors)" in run.run["reasons"][0]
    assert run.run["verdict"] == "NOT SUSTAINED"
    assert run.run["ops"] == len(run.trace) > 10


def test_the_metrics_say_what_the_server_did(serving):
    """Requests, retries and throttled ops are the server's own counts, and no answer began before it was given."""
    server = serving(
        fault_of=lambda path, turn: 503 if path == "/b/9" or (path == "/b/4" and turn < 2) else None, delay_s=0.02
    )
    run = replay(reads(), Options(retries=2))
    counters = Metrics.of(run.trace).backend_counters
    assert counters.attempts == server.gets == 24
    assert (counters.retries, counters.throttled, counters.errors) == (4, 1, {"503": 1})
    assert (counters.first_byte.count, counters.bytes_read) == (18, 19_000)
    assert counters.first_byte.p50_us >= 20_000 * (1 - 1 / 256)
    assert run.run["first_byte_us"]["p50"] >= 20_000 * (1 - 1 / 256)


def test_the_command_retries_and_says_so(serving, tmp_path, s3_environment):
    """`--retries` and a share for `--max-errors`; the statement is in the output's trailer as well."""
    serving(fault_of=lambda path, turn: 503 if path == "/b/4" and turn < 1 else None)
    formats.save(reads(), tmp_path / "t.jsonl")
    words = ("t.jsonl", "--retries", "2", "--max-errors", "5%", "--json", "-o", "r.jsonl")
    command = [sys.executable, "-m", "tracekit", "replay", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert json.loads(done.stdout)["retried"] == {"throttled": 1}
    assert "1 request was made again (throttled 1)" in done.stderr
    assert Trace.read(tmp_path / "r.jsonl").trailer.run["requests"] == 21
