"""What the metrics say of a store, held against the store: its connections, requests by kind, ranges, and when answers began."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import servers
from recording import recorded
from test_object_retries import MS, reads

from tracekit import formats
from tracekit.metrics import Metrics
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import CLIENTS
from tracekit.storage import connections as connections_module
from tracekit.storage.connections import Connections
from tracekit.trace import Op, Trace, Trailer
from tracekit.uri import file_uri

DELAY_S = 0.02

BOTO = """
    import boto3
    from concurrent.futures import ThreadPoolExecutor
    client = boto3.client("s3")
    get = lambda **words: client.get_object(Bucket="b", Key="k", **words)["Body"].read()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: get(Range=f"bytes={n}-{n + 9}"), range(12)))
    assert len(get()) == 16384
    client.head_object(Bucket="b", Key="k")
"""
AZURE = """
    import os
    from azure.storage.blob import ContainerClient
    credential = {"account_name": "devstoreaccount1", "account_key": os.environ["AZURE_STORAGE_ACCOUNT_KEY"]}
    container = ContainerClient(os.environ["AWS_ENDPOINT_URL"] + "/devstoreaccount1", "b", credential)
    for n in range(12):
        assert len(container.download_blob("k", offset=n, length=10).readall()) == 10
    container.get_blob_client("k").get_blob_properties()
"""
LATER = """
    import asyncio
    from aiobotocore.session import get_session

    async def main():
        async with get_session().create_client("s3") as client:
            async def get(n):
                answer = await client.get_object(Bucket="b", Key="k", Range=f"bytes={n}-{n + 9}")
                return await answer["Body"].read()
            await asyncio.gather(*map(get, range(12)))
            await client.head_object(Bucket="b", Key="k")

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "kinds"),
    [
        (BOTO, {"read": 13, "stat": 1}),
        (AZURE, {"read": 12, "stat": 1}),
        (LATER, {"read": 12, "stat": 1}),
    ],
    ids=["boto3", "azure", "aiobotocore"],
)
def test_a_recorded_program_s_requests_are_the_server_s(s3_environment, tmp_path, program, kinds):
    """Connections that were opened, ranged GETs, requests by kind: as the server counts them; no answer began before it was given."""
    server = servers.RangeServer(servers.BODY, delay_s=DELAY_S)
    with server.serving() as endpoint:
        there = {"AWS_ENDPOINT_URL": endpoint, "AZURE_STORAGE_ACCOUNT_KEY": servers.ACCOUNT_KEY}
        _, ops, trace = recorded(tmp_path, program, environment=there)
    counters = Metrics.of(trace).backend_counters
    assert counters.connections == server.connections > 0
    assert counters.object_requests == kinds
    assert Counter(seen.method for seen in server.seen) == {"GET": kinds["read"], "HEAD": kinds["stat"]}
    assert counters.ranged_gets == 12 == sum("range" in (op.flags or "").split(",") for op in ops)
    assert counters.first_byte_us_hist.count == counters.first_byte.count == sum(kinds.values())
    early = counters.first_byte_us_hist.share_below(round(DELAY_S * 1e9 * (1 - 1 / 128)))
    assert early <= kinds["stat"] / sum(kinds.values()) + 1e-9  # HEADs are answered at once


def accepted(server, wanted):
    """How many connections the server had, once it has seen as many: it may be a moment behind."""
    end = time.monotonic() + 60
    while server.connections < wanted and time.monotonic() < end:
        time.sleep(0.01)
    return server.connections


@pytest.mark.parametrize("client", CLIENTS)
def test_a_replay_s_requests_are_the_server_s(serving, client):
    """Retried ones are among them; its connections are those that the server accepted, also where a client let go of one at once."""
    times = {"/b/3": 1, "/b/7": 2}
    server = serving(fault_of=lambda path, turn: 503 if turn < times.get(path, 0) else None)
    run = replay(reads(), Options(retries=3, client=client))
    run.trace.trailer = run.trailer
    counters = Metrics.of(run.trace).backend_counters
    assert counters.object_requests == {"read": 23}
    assert counters.ranged_gets == server.gets == 23
    assert counters.connections == run.run["connections"] == accepted(server, counters.connections) > 0
    assert counters.first_byte_us_hist.count == counters.first_byte.count == 18


@pytest.mark.parametrize("client", CLIENTS)
def test_one_stream_has_one_connection(serving, client):
    """That of the look before the run, and with another client for ranges one of its own: the server was asked for no other."""
    server = serving()
    ops = [Op("s3://b/0", n, 10, n * MS, t_complete=n * MS + 1000, ret=10, pid=1, tid=1) for n in range(10)]
    run = replay(Trace.of(ops), Options(client=client))
    assert run.run["connections"] == server.connections == (2 if client == "auto" else 1)


def test_hints_to_the_page_cache_are_counted_by_advice(tmp_path):
    """The calls of a recorded program; of a replay the files that its options told the kernel about."""
    program = """
        import os
        fd = os.open("x", os.O_RDWR | os.O_CREAT)
        os.write(fd, bytes(100_000))
        for advice in (os.POSIX_FADV_RANDOM, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED, os.POSIX_FADV_DONTNEED):
            os.posix_fadvise(fd, 0, 0, advice)
        os.pread(fd, 10, 0)
    """
    _, _, trace = recorded(tmp_path, program)
    counters = Metrics.of(trace).backend_counters
    if "native" in trace.header.producer["engine"]:
        assert counters.cache_hints == {"dontneed": 2, "random": 1, "willneed": 1}
        assert all(op.len == 0 for op in trace if op.op == "fadvise")
    assert (counters.object_requests, counters.connections, counters.ranged_gets) == ({}, None, None)
    ops = Trace.of(Op(file_uri(tmp_path / "x"), 0, 10, 0, t_complete=1, ret=10, pid=1, tid=1) for _ in range(3))
    for words, hints in (
        ({"cache": "random"}, {"random": 1}),
        ({"cache": "sequential", "cache_start": "cold"}, {"dontneed": 1, "sequential": 1}),
        ({}, {}),
    ):
        run = replay(ops, Options(**words))
        run.trace.trailer = run.trailer
        assert Metrics.of(run.trace).backend_counters.cache_hints == run.run["cache_hints"] == hints
        assert run.run["connections"] is None


def test_what_another_tool_noted_of_hints_says_no_advice():
    """A fadvise whose advice is not in the trace is counted as one; what a replay says is added to what was recorded."""
    ops = [Op("file:///x", 0, 1, 0, op="fadvise", layer="strace", ret=0), Op("file:///x", 0, 1, 1, op="readahead")]
    trace = Trace.of(ops, trailer=Trailer(run={"cache_hints": {"random": 4}, "connections": 3}))
    counters = Metrics.of(trace).backend_counters
    assert counters.cache_hints == {"fadvise": 1, "random": 4, "readahead": 1}
    assert counters.connections == 3


def test_the_command_prints_them_as_its_schema_says(tmp_path):
    """`tracekit stats --json` of requests for objects: the published schema holds, and the text says what was asked."""
    ops = [
        Op(
            "s3://b/k",
            0,
            10,
            i,
            t_complete=i + 9,
            t_first_byte=i + 5,
            ret=10,
            layer="s3",
            level="wire",
            attempts=1,
            flags=flags,
        )
        for i, flags in enumerate(["range,connect", "range", None, "range"])
    ]
    formats.save(Trace.of(ops), tmp_path / "t.jsonl")
    words = [sys.executable, "-m", "tracekit", "stats", str(tmp_path / "t.jsonl")]
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    del found["analysis"]
    schema = Path(__file__).parents[3] / "docs/reference/metrics.schema.json"
    jsonschema.validate(found, json.loads(schema.read_text()))
    counters = found["backend_counters"]
    assert (counters["object_requests"], counters["ranged_gets"], counters["connections"]) == ({"read": 4}, 3, 1)
    assert counters["first_byte_us_hist"]["count"] == 4
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "4 (read 4), 3 of a range, 1 connection opened" in text


@pytest.mark.parametrize("client", CLIENTS)
def test_connections_that_are_reset_are_counted_too(serving, client):
    """A server that breaks every second connection off at once, many of them before anybody could look: all that it accepted."""
    server = serving(fault=lambda number: "reset" if number % 2 else None)
    run = replay(reads(count=40), Options(client=client, pace="asap"))
    assert run.run["errors"]
    assert run.run["connections"] == accepted(server, run.run["connections"]) > 10


@pytest.mark.parametrize("core", [True, False])
def test_connections_are_counted_once_and_others_sockets_are_not(monkeypatch, core):
    """Those that are opened from then on, also when they are closed later; no listener, no datagrams, no pairs, none from before."""
    if not core:
        monkeypatch.setattr(connections_module, "follow", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            connections = Connections()
            assert connections.exact == core
            first, second = socket.create_connection(address), socket.create_connection(address)
            pair, datagrams = socket.socketpair(), socket.socket(type=socket.SOCK_DGRAM)
            assert connections.look() == 2
            first.close()
            connections.watch()  # not due yet
            assert (connections.count, connections.look()) == (2, 2)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", servers.lasting_port()), 5)
            assert connections.look() == 2
            for one in (second, *pair, datagrams):
                one.close()
