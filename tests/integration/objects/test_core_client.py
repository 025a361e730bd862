"""Ranged GETs by the core: signed as the stores' own SDKs sign, every form of answer read, every failure told apart, in time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import threading
import time

import pytest
import servers
from recording import recorded

from tracekit import _core
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import Access, Buffer, Requests, storage_for
from tracekit.storage.keys import StoreError
from tracekit.storage.signatures import AzureHeads, Keys, Place, S3Heads
from tracekit.storage.store_settings import AzureSettings
from tracekit.trace import Op, Trace

LATER_NS = 60_000_000_000
NAMES = ("x", "a b/%41 ü+~(1)*'!.bin", "k" * 300, "a:b=c&d?e#f;g@h,i$j")


def fields(head):
    """The target of a request's head, and its headers in lower case."""
    first, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    return first.split(" ")[1], {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("token", ["", "a/token=="])
def test_s3_s_signature_is_botocore_s(name, token):
    """Canonical request, string to sign and signature: as the SDK makes them of the same headers."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    heads = S3Heads(Place.of("http://store.test:8333/base", "bucket"), "eu-west-1", lambda: Keys("AK", "secret", token))
    target, headers = fields(heads.signed(name, "20260102T030405Z"))
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest("GET", f"http://store.test:8333{target}", {key: headers[key] for key in signed})
    request.context["timestamp"] = "20260102T030405Z"
    auth = S3SigV4Auth(Credentials("AK", "secret", token or None), "s3", "eu-west-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert ("x-amz-security-token" in headers) == bool(token)
    assert fields(heads.of(name, 10, 20))[1]["range"] == "bytes=10-29"


def test_a_signature_is_made_once_for_a_while_and_again_with_a_new_key(monkeypatch):
    """Ranges of one object share it; after a minute, and for each of very many objects, it is made anew."""
    from tracekit.storage import signatures

    asked, now = [], [1000.0]
    monkeypatch.setattr(signatures.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signatures, "_MOST_KEPT", 3)
    heads = S3Heads(Place.of("http://h", "b"), "r", lambda: asked.append(1) or Keys(f"A{len(asked)}", "s"))
    assert [heads.of("x", at, 1).count(b"Credential=A1/") for at in range(5)] == [1] * 5
    now[0] += 61
    assert b"Credential=A2/" in heads.of("x", 0, 1)
    for name in "abcde":
        heads.of(name, 0, 1)
    assert len(asked) == 7
    assert len(heads._kept) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_azure_s_signature_is_the_sdk_s(name):
    """The string that Shared Key signs is what azure-storage-blob makes of the same request."""
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.transport import HttpRequest
    from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

    account = AzureSettings(servers.ACCOUNT, key=servers.ACCOUNT_KEY)
    heads = AzureHeads(Place.of(f"http://127.0.0.1:10000/{servers.ACCOUNT}", "c"), account)
    target, headers = fields(heads.signed(name, 5, 7, "Fri, 02 Jan 2026 03:04:05 GMT"))
    ours = headers.pop("authorization")
    request = HttpRequest("GET", f"http://127.0.0.1:10000{target}")
    request.headers.update({key: value for key, value in headers.items() if key.startswith("x-ms-")})
    SharedKeyCredentialPolicy(servers.ACCOUNT, servers.ACCOUNT_KEY).on_request(
        PipelineRequest(request, PipelineContext(None))
    )
    assert ours == request.headers["Authorization"]
    assert headers["x-ms-range"] == "bytes=5-11"


def test_a_shared_access_signature_goes_into_the_query():
    """It is the credential: nothing else is signed then; anonymous requests have neither."""
    place = Place.of("http://h/acc", "c")
    target, headers = fields(AzureHeads(place, AzureSettings("acc", sas="?sv=1&sig=a%2Fb")).of("x", 0, 9))
    assert (target, "authorization" in headers) == ("/acc/c/x?sv=1&sig=a%2Fb", False)
    assert fields(AzureHeads(place, AzureSettings("acc", anonymous=True)).of("x", 0, 9))[0] == "/acc/c/x"


def asked(answer, *, room=100, timeout_s=60.0, then=None):
    """What the core makes of an answer in these pieces: its eleven values, and what is in memory."""
    mine, theirs = socket.socketpair()
    memory = ctypes.create_string_buffer(max(room, 1))

    def serve():
        theirs.recv(4096)
        with contextlib.suppress(OSError):
            for piece in answer:
                theirs.sendall(piece)
            if then == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then != "silence":
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    address = ctypes.addressof(memory) if room else 0
    with mine:
        found = _core.ranged_get(mine.fileno(), b"GET / HTTP/1.1\r\n\r\n", 0, int(timeout_s * 1e9), address, room)
        thread.join()
    theirs.close()
    return found, memory.raw


HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-14/90\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        [HEAD + b"Content-Length: 10\r\n\r\n0123456789"],
        [HEAD + b"content-LENGTH:10\r\n\r\n", b"01234", b"56789"],
        [bytes([byte]) for byte in HEAD + b"Content-Length: 10\r\n\r\n0123456789"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n", b"6;x=y\r\n456", b"789\r\n0\r\nTrailer: z\r\n\r\n"],
    ],
    ids=["at once", "in pieces", "byte by byte", "chunked"],
)
@pytest.mark.parametrize("room", [10, 100, 0])
def test_answers_are_read_in_every_form(answer, room):
    """With a length or in chunks, whole or in pieces: the bytes are there or let go, and the connection can be used again."""
    (submit, first_byte, complete, *found), memory = asked(answer, room=room)
    assert submit <= first_byte <= complete
    assert found == [206, 10, 5, 0, 0, 0, 1, b""]
    assert memory[: 10 if room else 0] == b"0123456789"[: 10 if room else 0]


@pytest.mark.parametrize(
    ("answer", "then", "status", "number", "ended", "keep"),
    [
        ([], None, 0, 0, 1, 0),
        ([b"HTTP/1.1 206 P"], None, 0, 0, 1, 0),
        ([HEAD + b"Content-Length: 10\r\n\r\n01234"], None, 206, 0, 1, 0),
        ([HEAD + b"Content-Length: 10\r\nConnection: close\r\n\r\n0123456789"], None, 206, 0, 0, 0),
        ([HEAD + b"Content-Length: 10\r\n\r\n0123456789more"], None, 206, 0, 0, 0),
        ([HEAD + b"\r\n0123456789"], None, 206, 0, 0, 0),
        ([HEAD + b"Content-Length: 101\r\n\r\n" + bytes(101)], None, 206, errno.EMSGSIZE, 0, 0),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"], None, 206, errno.EPROTO, 0, 0),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100], None, 206, errno.EPROTO, 0, 0),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], None, 0, errno.EPROTO, 0, 0),
        ([b"HTTP/1.1 206 P\r\nX: " + b"y" * 20_000], None, 0, errno.EPROTO, 0, 0),
        ([HEAD + b"Content-Length: 10\r\n\r\n01234"], "silence", 206, errno.ETIMEDOUT, 0, 0),
        ([], "silence", 0, errno.ETIMEDOUT, 0, 0),
    ],
)
def test_answers_that_are_none_are_told_apart(answer, then, status, number, ended, keep):
    """Broken off, too long, no HTTP, nothing at all: each by its own values, and such a connection is not used again."""
    # Who waits for silence cannot wait long: a busy machine is given more time for what comes before it.
    for timeout_s in (0.3, 3.0, 30.0) if then else (60.0,):
        found, _ = asked(answer, then=then, timeout_s=timeout_s)
        if found[3] == status:
            break
    assert (found[3], found[6], found[7], found[9]) == (status, number, ended, keep)
    assert (found[1] > 0) == bool(answer)


def test_a_refusal_says_what_stands_in_it():
    """Head and beginning of its body; a whole object that nobody asked for is not read."""
    found, _ = asked(
        [b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 9000\r\n\r\n<Code>SlowDown</Code>" + bytes(8979)]
    )
    assert (found[3], found[4], found[9], len(found[10])) == (503, 9000, 1, 4096)
    assert b"SlowDown" in found[10]
    found, _ = asked([b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", bytes(100_000)])
    assert (found[3], found[4], found[9]) == (200, 0, 0)


def test_on_a_connection_that_had_ended_nothing_is_sent():
    """Closed, or with bytes that nobody asked for: it is stale, and the request can be made on another."""
    for byte in (b"", b"x"):
        mine, theirs = socket.socketpair()
        theirs.sendall(byte)
        if not byte:
            theirs.close()
        found = _core.ranged_get(mine.fileno(), b"GET", 0, LATER_NS, 0, 0)
        assert (found[8], found[3]) == (1, 0)
        if byte:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(10)
        mine.close()
        theirs.close()


def test_a_request_waits_for_its_moment():
    """Never sent before; room needs an address."""
    mine, theirs = socket.socketpair()
    due = time.monotonic_ns() + 20_000_000
    found = _core.ranged_get(mine.fileno(), b"GET", due, 1_000_000, 0, 0)
    assert found[0] >= due
    assert found[6] == errno.ETIMEDOUT
    with pytest.raises(ValueError, match="needs an address"):
        _core.ranged_get(mine.fileno(), b"GET", 0, 1, 0, 5)
    mine.close()
    theirs.close()


def handle_of(**words):
    """One object behind the core."""
    handle = storage_for("s3://b/x", Requests(**words)).open("s3://b/x", Access())
    assert handle.paced
    return handle


def test_connections_are_used_again_and_replaced_when_the_server_let_go(serving):
    """Two reads take one; after the server closed it the next read takes another, without a failure."""
    server = serving()
    handle, buffer = handle_of(), Buffer(100)
    for _ in range(2):
        assert handle.pread(buffer, 10, 7) == 10
        assert bytes(buffer.view[:10]) == servers.BODY[7:17]
    assert server.connections == 1
    (idle,) = handle._client._idle
    with socket.socket(fileno=os.dup(idle.fileno())) as one:
        one.shutdown(socket.SHUT_RDWR)
    assert handle.pread(buffer, 10, 7) == 10
    assert server.connections == 2


def test_streams_of_a_replay_connect_before_it_begins(serving, monkeypatch):
    """One connection for each, and none once the schedule runs, where making them held all streams up for tens of milliseconds."""
    from tracekit.storage.core_client import _Connection

    made, connect = [], _Connection.__init__

    def noted(*words):
        connect(*words)
        made.append(time.monotonic_ns())

    monkeypatch.setattr(_Connection, "__init__", noted)
    server = serving()
    ops = [Op(f"s3://b/{n}", 0, 10, n * 1000, t_complete=n * 1000 + 1, ret=10, pid=1, tid=n % 5) for n in range(50)]
    run = replay(Trace.of(ops))
    assert (run.run["ops"], run.run["errors"], len(made)) == (50, {}, 5)
    assert max(made) < run.outcome.t0
    assert run.run["connections"] >= server.connections >= 5


def test_a_child_takes_no_connection_of_its_parent(serving):
    """After a fork both would read the same answers: the child opens its own."""
    server = serving()
    handle, buffer = handle_of(), Buffer(100)
    handle.pread(buffer, 10, 0)
    child = os.fork()
    if child == 0:
        os._exit(0 if handle.pread(buffer, 10, 3) == 10 and bytes(buffer.view[:10]) == servers.BODY[3:13] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert handle.pread(buffer, 10, 1) == 10
    assert server.connections == 2


@pytest.mark.parametrize(
    ("endpoint", "words", "paced"),
    [
        ("http://127.0.0.1:1", {}, True),
        ("https://127.0.0.1:1", {}, False),
        ("http://127.0.0.1:1", {"http_proxy": "http://127.0.0.1:2"}, False),
        ("http://127.0.0.1:1", {"http_proxy": "http://127.0.0.1:2", "no_proxy": "127.0.0.1"}, True),
    ],
)
def test_only_plain_http_without_a_proxy_goes_through_the_core(s3_environment, endpoint, words, paced):
    """TLS and proxies are obstore's, and so is all that was asked of it by name."""
    for name, value in {"AWS_ENDPOINT_URL": endpoint, **words}.items():
        s3_environment.setenv(name, value)
    for client, is_paced in (("auto", paced), ("obstore", False), ("sdk", False)):
        servers.forget_clients()
        handle = storage_for("s3://b/x", Requests(client)).open("s3://b/x", Access())
        assert handle.paced == is_paced
    servers.forget_clients()


def test_retry_after_is_heard(serving):
    """What a store asks for with its refusal is known to who makes the request again."""
    serving(fault=lambda _: "503 SlowDown 2")
    with pytest.raises(StoreError, match="SlowDown") as refused:
        handle_of().pread(Buffer(10), 10, 0)
    assert refused.value.retry_after_s == 2


def test_a_name_that_does_not_resolve_and_a_port_nobody_listens_on(s3_environment):
    """Each is its own kind of failure."""
    for host, kind in (("nowhere.invalid", "unresolved name"), (f"127.0.0.1:{servers.lasting_port()}", "refused")):
        s3_environment.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        servers.forget_clients()
        with pytest.raises(StoreError) as failed:
            handle_of().pread(Buffer(10), 10, 0)
        assert failed.value.kind == kind
    servers.forget_clients()


@pytest.mark.parametrize(("client", "through"), [("auto", "the core"), ("obstore", "obstore"), ("sdk", "boto3")])
def test_a_replay_says_who_made_its_requests(serving, client, through):
    """The engine's reason in the header names the client; the bytes are the same by each."""
    serving()
    ops = [Op("s3://b/0", n, 10, n * 1000, t_complete=n * 1000 + 1, ret=10, pid=1, tid=1) for n in range(10)]
    run = replay(Trace.of(ops), Options(client=client))
    assert f"one a stream, through {through}" in run.header.producer["reason"]
    assert (run.run["moved_bytes"], run.run["errors"]) == (100, {})


def test_a_recorded_process_asks_through_a_client_that_is_recorded(s3_environment, tmp_path):
    """What reads objects through tracekit inside a recorded program, as a loader does, is in the recording: each range once."""
    program = """
        from tracekit.storage import Access, Buffer, storage_for
        handle = storage_for("s3://b/x").open("s3://b/x", Access())
        print([handle.paced] + [handle.pread(Buffer(50), 50, at) for at in (0, 100)])
    """
    with servers.RangeServer(servers.BODY).serving() as endpoint:
        out, ops, _ = recorded(tmp_path, program, environment={"AWS_ENDPOINT_URL": endpoint})
    assert out == "[False, 50, 50]\n"
    assert [(op.op, op.uri, op.offset, op.ret) for op in ops] == [
        ("read", "s3://b/x", 0, 50),
        ("read", "s3://b/x", 100, 50),
    ]
