"""What can go wrong with a store while a trace is replayed on it: counted by kind, or one sentence; no hang, no lost trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import servers
from proxy import Proxy
from test_object_retries import reads

from tracekit import formats
from tracekit.errors import CannotRunError
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import CLIENTS, storage_for

CLIENT = pytest.mark.parametrize("client", CLIENTS)
# A clock that is a day behind, for every program that asks the C library.
_BEHIND = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
static int (*real)(clockid_t, struct timespec *);
int clock_gettime(clockid_t id, struct timespec *at)
{
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, at);
    if (id == CLOCK_REALTIME)
        at->tv_sec -= 86400;
    return result;
}
time_t time(time_t *to)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to)
        *to = at.tv_sec;
    return at.tv_sec;
}
"""


@pytest.fixture
def leading(s3_environment):
    """Lets the environment lead to an endpoint."""

    def lead(endpoint):
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        servers.forget_clients()

    yield lead
    servers.forget_clients()


def faulty(leading, fault, options, count=200, **words):
    """A replay against a server with these faults: the server and the run."""
    server = servers.RangeServer(servers.BODY, fault, **words)
    with server.serving() as endpoint:
        leading(endpoint)
        run = replay(reads(count=count, streams=4), options)
    return server, run


def test_one_in_a_hundred_throttled(leading):
    """Every op is issued once, and four of 400 failed."""
    server, run = faulty(leading, lambda n: 503 if n % 100 == 50 else None, Options(), count=400)
    assert (server.gets, len(run.trace), run.run["undelivered_ops"]) == (400, 400, 0)
    assert (run.run["errors"], run.run["error_kinds"]) == ({"503": 4}, {"throttled": 4})


@CLIENT
def test_one_in_twenty_reset(leading, client):
    """Five of 100 failed; with retries none, and the server saw each request."""
    server, run = faulty(leading, lambda n: "reset" if n % 20 == 10 else None, Options(client=client), count=100)
    assert (server.gets, run.run["error_kinds"]) == (100, {"reset": 5})
    server, run = faulty(
        leading, lambda n: "reset" if n % 20 == 10 else None, Options(client=client, retries=9), count=100
    )
    assert run.run["errors"] == {}
    assert run.run["requests"] == server.gets == 100 + sum(run.run["retried"].values())


_KINDS = [
    (429, "throttled", "429"), ("503 SlowDown", "throttled", "503"), (500, "server error", "500"),
    ("403 AccessDenied", "forbidden", "403"), ("403 SignatureDoesNotMatch", "credentials", "403"),
    ("403 RequestTimeTooSkewed", "clock skew", "403"), ("404 NoSuchKey", "not found", "404"),
    ("404 NoSuchBucket", "bucket gone", "404"), (416, "range", "416"), ("reset", "reset", "ECONNRESET"),
    ("short", "short body", "ECONNRESET"), ("stall", "slow first byte", "ETIMEDOUT"),
    ("stalled body", "stalled body", "ETIMEDOUT"), ("whole", "range ignored", "EPROTO"),
]  # fmt: skip


@CLIENT
def test_each_failure_is_counted_by_its_kind(leading, client):
    """Every second request fails in another way: the trace has statuses and errnos, the statement kinds, the rest is read."""
    faults = {2 * place: fault for place, (fault, _, _) in enumerate(_KINDS)}
    _, run = faulty(leading, faults.get, Options(client=client, timeout_s=2), count=28)
    assert Counter(run.run["error_kinds"]) == Counter(kind for _, kind, _ in _KINDS)
    assert Counter(run.run["errors"]) == Counter(name for _, _, name in _KINDS)
    assert Counter(op.err for op in run.trace if op.err) == Counter(run.run["errors"])
    assert sum(op.ret == 1000 for op in run.trace) == 14


@CLIENT
def test_a_server_that_is_killed_and_comes_back(leading, client):
    """Its 20th request kills it. With retries every op is answered when it is back; without, those meanwhile are counted."""
    for retries in (0, 99):
        port = servers.lasting_port()
        with servers.ranges(port) as first:
            back = threading.Event()

            def struck(number, first=first, back=back):
                if number == 20:
                    first.kill()
                    first.wait()
                    back.set()

            proxy = Proxy(port, struck)
            with proxy.serving() as door, _again(port, back):
                leading(f"http://127.0.0.1:{door}")
                run = replay(reads(count=60, streams=2), Options(client=client, retries=retries, timeout_s=20))
        assert (len(run.trace), run.run["undelivered_ops"]) == (60, 0)
        assert set(run.run["error_kinds"]) | set(run.run["retried"]) <= {"reset", "refused", "short body"}
        assert bool(run.run["errors"]) == (retries == 0)
        assert bool(run.run["retried"]) == (retries > 0)


class _again:
    """The server on its port once more, when the first is dead; until the end of the block."""

    def __init__(self, port, dead):
        self._port, self._dead, self._over = port, dead, threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _serve(self):
        while not self._dead.wait(0.05):
            if self._over.is_set():
                return
        with servers.ranges(self._port):
            self._over.wait()


@CLIENT
def test_a_certificate_for_another_host(leading, s3_environment, tmp_path, client):
    """Is one sentence before the first op, and nothing is asked of whoever answers there."""
    server = servers.RangeServer(servers.BODY)
    authority, chain = servers.certificate(tmp_path, "other.test")
    s3_environment.setenv("AWS_CA_BUNDLE", str(authority))
    with server.serving(chain) as endpoint:
        leading(endpoint)
        with pytest.raises(CannotRunError, match=r"cannot be reached: no TLS connection") as refused:
            replay(reads(), Options(client=client, timeout_s=10))
    assert "\n" not in refused.value.cause
    assert server.gets == 0


@CLIENT
def test_a_certificate_for_this_host(leading, s3_environment, tmp_path, client):
    """Of an authority that only AWS_CA_BUNDLE knows: all is read, over TLS."""
    server = servers.RangeServer(servers.BODY)
    authority, chain = servers.certificate(tmp_path, "localhost")
    s3_environment.setenv("AWS_CA_BUNDLE", str(authority))
    with server.serving(chain) as endpoint:
        leading(endpoint)
        run = replay(reads(), Options(client=client, timeout_s=30))
    assert (run.run["errors"], server.gets) == ({}, 20)


@CLIENT
def test_a_name_that_is_nobody_s(leading, client):
    """Cannot be resolved: one sentence."""
    leading("http://nobody.invalid:9000")
    with pytest.raises(CannotRunError, match="its name cannot be resolved"):
        replay(reads(), Options(client=client, timeout_s=10))


def test_a_bucket_that_is_gone_is_one_sentence(s3):
    """On a real server, before the first op."""
    with pytest.raises(CannotRunError, match="there is no bucket"):
        replay(reads(), Options(remap=[("s3://b", f"s3://{s3}-gone")]))


@CLIENT
def test_a_clock_that_is_a_day_behind(s3, tmp_path, client):
    """A server that checks signatures refuses it: one sentence or counted failures, no traceback, and soon."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here to set a clock back with")
    (tmp_path / "behind.c").write_text(_BEHIND)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "behind.so", "behind.c", "-ldl"], check=True, cwd=tmp_path)
    storage = storage_for(f"s3://{s3}")
    for i in range(4):
        storage.write(f"s3://{s3}/{i}", servers.BODY)
    formats.save(reads(count=4), tmp_path / "t.jsonl")
    words = ["t.jsonl", "--remap", f"s3://b=s3://{s3}", "--client", client, "--timeout", "20", "-o", "r.jsonl"]
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", "replay", *words],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
        env={**os.environ, "LD_PRELOAD": str(tmp_path / "behind.so")},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "may not be read with these credentials" in done.stderr or "clock" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_whose_requests_hang_ends_after_so_many_failures(leading):
    """A store that answers nothing any more: the run ends when it is told to, with what was done."""
    stalled = servers.RangeServer(servers.BODY, lambda n: "stall" if n >= 10 else None)
    before = time.monotonic_ns()
    with stalled.serving() as endpoint:
        leading(endpoint)
        run = replay(reads(count=40, streams=4), Options(timeout_s=3, max_errors=2))
    assert "more than 2 ops failed" in run.run["reasons"][0]
    assert sum(op.err is None for op in run.trace) == 10
    assert all(op.t_complete - op.t_submit < time.monotonic_ns() - before for op in run.trace)
