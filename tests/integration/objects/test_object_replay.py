"""Traces replayed on object stores: files to objects and back, faults counted while the schedule goes on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import servers
from test_object_retries import reads

from tracekit import formats
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import storage_for
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

MS = 1_000_000
SIZE = 300_000
STORES = pytest.mark.parametrize("store", ["s3", "az"], indirect=True)


def recording(folder, count=90, streams=3, gap_ns=2 * MS):
    """Random reads of three files by several threads, one each gap."""
    rng = np.random.default_rng(5)
    ops = []
    for i in range(count):
        size, who = int(rng.integers(1, 5000)), i % streams
        uri = file_uri(folder / f"file {i % 3}.bin")
        start = i * gap_ns
        ops.append(
            Op(
                uri,
                int(rng.integers(0, SIZE - size)),
                size,
                start,
                op="read",
                t_complete=start + 50_000,
                ret=size,
                pid=9,
                tid=9 + who,
            )
        )
    return ops


@pytest.fixture
def folder(tmp_path):
    """A directory with the recorded files."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        (folder / f"file {i}.bin").write_bytes(os.urandom(SIZE))
    return folder


def replayed(*words, expected=(0, 3)):
    """`tracekit replay` with these words; its run as it says so itself, and what it said."""
    command = [sys.executable, "-m", "tracekit", "replay", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in expected, done.stderr
    return (json.loads(done.stdout) if done.stdout.startswith("{") else {}), done.stderr


def sizes(trace):
    """What each op read, by name, as (offset, len, ret), in the order of each stream."""
    return [
        (op.uri.rsplit("/", 1)[1].replace("%20", " "), op.offset, op.len, op.ret, op.tid)
        for op in sorted(trace, key=lambda op: (op.tid, op.t_due))
    ]


def objects_below(store, prefix):
    """The names of all objects below a prefix; SeaweedFS keeps empty directories, which are none."""
    import obstore

    from tracekit.storage.obstore_client import _made
    from tracekit.storage.store_settings import Requests

    made = _made(store.partition("://")[0], store.partition("://")[2], Requests())
    return [one["path"] for page in obstore.list(made, prefix) for one in page]


@pytest.mark.parametrize(("store", "client"), [("s3", "sdk"), ("az", "obstore")], indirect=["store"])
def test_files_become_objects_and_files_again(store, folder, tmp_path, client):
    """A file trace replayed on a store reads the same ranges as GETs; that trace replayed on files does so again."""
    ops = recording(folder)
    formats.save(Trace.of(ops), tmp_path / "t.jsonl")
    there = ("--remap", f"{folder}={store}/data set", "--prepare", "random", "--client", client)
    run, _ = replayed(tmp_path / "t.jsonl", "-o", tmp_path / "there.jsonl", "--json", *there)
    assert (run["ops"], run["errors"]) == (90, {})
    on_store = Trace.read(tmp_path / "there.jsonl")
    assert {op.uri for op in on_store} == {f"{store}/data set/file {i}.bin" for i in range(3)}
    back = ("--remap", f"{store}/data set={tmp_path}/copy", "--prepare", "zero")
    replayed(tmp_path / "there.jsonl", "-o", tmp_path / "back.jsonl", "--json", *back)
    again = Trace.read(tmp_path / "back.jsonl")
    original = [
        (op.uri.rsplit("/", 1)[1].replace("%20", " "), op.offset, op.len, op.ret, op.tid)
        for op in sorted(ops, key=lambda op: (op.tid, op.t_submit))
    ]
    assert sizes(on_store) == sizes(again) == original
    judged = subprocess.run(
        [sys.executable, "-m", "harness.cli", "check", tmp_path / "there.jsonl", "--golden", tmp_path / "t.jsonl", "--json", "-"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    summary = json.loads(judged.stdout)
    assert not [
        row["id"]
        for row in summary["criteria"]
        if row["class"] == "intent"
        and row["verdict"] == "FAIL"
        and not row["id"].startswith(("time.", "arrival.", "throughput"))
    ]


def test_one_data_set_on_four_schemes(s3, az, folder, tmp_path):
    """From files to S3, to another prefix there, to Azure, past the page cache, and to files again: the same reads in each order."""
    ops = recording(folder, count=30)
    for i, uri in enumerate(dict.fromkeys(op.uri for op in ops)):
        for store in (f"s3://{s3}/one", f"s3://{s3}/two", f"az://{az}/one"):
            storage_for(store).write(f"{store}/{uri.rpartition('/')[2].replace('%20', ' ')}", os.urandom(SIZE + i))
    places = [
        str(folder),
        f"s3://{s3}/one",
        f"s3://{s3}/two",
        f"az://{az}/one",
        file_uri(folder).replace("file:", "direct:"),
    ]
    trace, told = Trace.of(ops), []
    for before, after in [*itertools.pairwise(places), (places[-1], str(folder))]:
        run = replay(trace, Options(remap=[(before, after)], direct_fallback=True))
        assert (run.run["ops"], run.run["errors"], run.run["short_reads"]) == (30, {}, 0)
        told.append(sizes(run.trace))
        trace = run.trace
    assert all(one == told[0] for one in told)
    assert [(op.offset, op.len, op.tid) for op in sorted(ops, key=lambda op: (op.tid, op.t_submit))] == [
        (offset, size, tid) for _, offset, size, _, tid in told[0]
    ]


@STORES
def test_writes_go_below_the_scratch_prefix_and_are_removed(store, folder, tmp_path):
    """Objects are never written where they were recorded; without a place for them the replay is refused."""
    name = f"{store}/out/model.bin"
    storage = storage_for(name)
    storage.write(name, b"precious")
    ops = [Op(name, 0, 4000, i * MS, op="write", t_complete=i * MS + 1000, ret=4000, pid=1, tid=1) for i in range(5)]
    ops.append(Op(name, 100, 1000, 7 * MS, op="read", t_complete=8 * MS, ret=1000, pid=1, tid=1))
    ops.append(Op(name, 0, 0, 9 * MS, op="delete", t_complete=9 * MS + 1000, pid=1, tid=1))
    formats.save(Trace.of(ops), tmp_path / "t.jsonl")
    _, said = replayed(tmp_path / "t.jsonl", expected=(2,))
    assert "never written to" in said
    assert "--scratch" in said
    run, said = replayed(tmp_path / "t.jsonl", "-o", tmp_path / "r.jsonl", "--json", "--scratch", f"{store}/scratch")
    assert (run["ops"], run["errors"]) == (7, {})
    assert run["moved_bytes"] == 21_000
    assert "each is one PUT" in said
    assert storage.stat(name) == len(b"precious")
    assert objects_below(store, "scratch") == []


def test_faults_are_counted_by_kind_while_the_schedule_goes_on(s3_environment, folder, tmp_path):
    """503s, resets and short bodies: each op is issued once, at its time; the trace and the statement have their numbers."""
    kinds = {3: 503, 10: "reset", 20: "short", 30: 429, 40: 404}
    server = servers.RangeServer(os.urandom(SIZE), kinds.get)
    formats.save(Trace.of(recording(folder)), tmp_path / "t.jsonl")
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        words = ("--remap", f"{folder}=s3://bucket/d", "--json", "-o", tmp_path / "r.jsonl")
        run, _ = replayed(tmp_path / "t.jsonl", *words)
    assert server.gets == 90
    assert run["errors"] == {"503": 1, "ECONNRESET": 2, "429": 1, "404": 1}
    assert run["undelivered_ops"] == 0
    trace = Trace.read(tmp_path / "r.jsonl")
    assert sorted(op.err for op in trace if op.err) == ["404", "429", "503", "ECONNRESET", "ECONNRESET"]
    asked = sorted((seen.range, seen.status) for seen in server.seen if seen.method == "GET" and seen.status == 206)
    done = sorted((f"bytes={op.offset}-{op.offset + op.len - 1}", 206) for op in trace if not op.err)
    assert set(done) <= set(asked)


def test_a_server_that_never_answers_ends_within_the_timeout(s3_environment, folder, tmp_path):
    """A stalled request is one failed op after --timeout; --max-errors ends a run on a store that is gone."""
    server = servers.RangeServer(os.urandom(SIZE), lambda n: "stall" if n == 5 else None)
    formats.save(Trace.of(recording(folder, count=30)), tmp_path / "t.jsonl")
    words = ("--remap", f"{folder}=s3://bucket/d", "--json", "--timeout", "3", "-o")
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        run, _ = replayed(tmp_path / "t.jsonl", *words, tmp_path / "r.jsonl")
    assert run["errors"] == {"ETIMEDOUT": 1}
    assert run["ops"] == 30
    server = servers.RangeServer(os.urandom(SIZE), lambda _: 500)
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        run, _ = replayed(tmp_path / "t.jsonl", *words, tmp_path / "s.jsonl", "--max-errors", "4")
    assert 5 <= run["errors"]["500"] <= 9
    assert run["undelivered_ops"] > 0
    assert Trace.read(tmp_path / "s.jsonl").trailer is not None


def test_a_killed_replay_of_objects_leaves_what_it_had_done(serving, tmp_path):
    """SIGKILL: what was done until then becomes a trace, but for what was in flight; repeated and failed requests are in it."""
    server = serving(
        fault_of=lambda path, turn: 404 if path == "/b/2" else 503 if path == "/b/3" and not turn else None
    )
    ops = reads(count=2000, streams=4, gap_ns=20 * MS)
    formats.save(ops, tmp_path / "t.jsonl")
    words = ["replay", "t.jsonl", "-o", "r.jsonl", "--retries", "2"]
    command = [sys.executable, "-m", "tracekit", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        end = time.monotonic() + 120
        while server.gets < 80:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        answered = sum(one.method == "GET" for one in list(server.seen))
        process.kill()
    (parts,) = tmp_path.glob("r.jsonl.*.parts")
    replayed("--recover", parts, "-o", tmp_path / "back.jsonl", expected=(0,))
    back = Trace.read(tmp_path / "back.jsonl")
    assert back.trailer is None
    # One request of each stream, and one that is made again, may have been on its way back.
    assert answered - 5 <= sum(op.attempts for op in back) <= server.gets
    for stream in range(4):
        mine = [op.uri for op in back if op.tid == stream]
        assert mine == [op.uri for op in ops if op.tid == stream][: len(mine)]
    assert {(op.layer, op.level, op.ret) for op in back if not op.err} == {("s3", "logical", 1000)}
    assert {op.uri: op.err for op in back if op.err and op.attempts != 1 + (op.uri == "s3://b/3")} == {}
    assert {op.err for op in back if op.uri == "s3://b/2"} <= {"404"}
    assert all(op.t_submit <= op.t_first_byte <= op.t_complete for op in back if not op.err)


def test_caps_hold_on_objects(s3_environment, folder, tmp_path):
    """One request at a time where one is asked for, whatever the answers take."""
    server = servers.RangeServer(os.urandom(SIZE), delay_s=0.01)
    formats.save(Trace.of(recording(folder, count=30)), tmp_path / "t.jsonl")
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        words = ("--remap", f"{folder}=s3://bucket/d", "--json", "--max-inflight", "1", "-o", tmp_path / "r.jsonl")
        run, _ = replayed(tmp_path / "t.jsonl", *words)
    assert run["queue_depth"]["achieved"]["max"] == 1
    assert run["peak_inflight_gate"]["ops"] == 1


# The program's own peak, in KiB: what a parent learns of it (wait4) is at least the parent's size when it started it.
_PEAK = """
import sys
from tracekit.cli import main
code = main()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
sys.exit(code)
"""


def test_memory_is_bounded_by_the_byte_cap(s3_environment, tmp_path):
    """Sixteen streams read 8 MiB at a time, one of them at once: that takes no more than a few of them beyond small reads."""
    server = servers.RangeServer(bytes(8 << 20))
    peaks = {}
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        for size in (1, 8 << 20):
            ops = [Op("s3://b/x", 0, size, i, t_complete=i, ret=size, pid=1, tid=i % 16) for i in range(64)]
            formats.save(Trace.of(ops), tmp_path / f"{size}.jsonl")
            words = ["--pace", "asap", "--max-inflight-bytes", "8MiB", "-o", str(tmp_path / f"{size}.r.jsonl")]
            command = [sys.executable, "-c", _PEAK, "replay", str(tmp_path / f"{size}.jsonl"), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode in (0, 3), done.stderr
            peaks[size] = int(done.stdout) << 10
    assert Trace.read(tmp_path / f"{8 << 20}.r.jsonl").trailer.run["moved_bytes"] == 64 * (8 << 20)
    assert peaks[8 << 20] - peaks[1] < 64 << 20, peaks


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--client", "sdkk"), "there is no client 'sdkk'; did you mean 'sdk'?"),
        (("--timeout", "0"), "--timeout 0.0 is no time"),
        (("--cache-start", "cold"), "--cache-start cold is about the page cache"),
        (("--cache", "direct", "--drop-cache"), "--cache direct and --drop-cache are about the page cache"),
    ],
)
def test_options_that_cannot_be_honoured_are_one_sentence(s3, folder, tmp_path, words, sentence):
    """A client nobody knows, no time at all, the page cache where there are objects only."""
    formats.save(Trace.of(recording(folder, count=3)), tmp_path / "t.jsonl")
    _, said = replayed(
        tmp_path / "t.jsonl", "--remap", f"{folder}=s3://{s3}/d", "--prepare", "zero", *words, expected=(2,)
    )
    assert sentence in said
    assert "Traceback" not in said
