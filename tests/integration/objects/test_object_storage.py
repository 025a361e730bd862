"""Objects behind the storage seam, on real servers: the same answers from every client, and failures that can be told apart."""

from __future__ import annotations

import errno
import os
import re

import pytest
import servers

from tracekit.errors import CannotRunError
from tracekit.storage import CLIENTS, Access, Buffer, Requests, storage_for
from tracekit.storage.keys import StoreError

BODY = bytes(range(256)) * 64
STORES = pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)


def _read(storage, place, offset, length):
    buffer = Buffer(1 << 16)
    count = storage.open(place, Access()).pread(buffer, length, offset)
    return bytes(buffer.view[:count])


@STORES
@EVERY_CLIENT
def test_objects_are_read_looked_at_and_listed(store, client):
    """Ranges, also past the end; sizes; prefixes; names with blanks, percent signs and letters beyond ASCII."""
    storage = storage_for(store, Requests(client))
    place = storage.resolve(f"{store}/a b/%41 ü.bin")
    storage.write(place, BODY)
    storage.write(f"{store}/a b/second", b"")
    assert _read(storage, place, 0, 10) == BODY[:10]
    assert _read(storage, place, 5000, 4096) == BODY[5000:9096]
    assert _read(storage, place, len(BODY) - 5, 100) == BODY[-5:]
    assert _read(storage, place, 7, 0) == b""
    assert (storage.look(place).kind, storage.look(place).size) == ("file", len(BODY))
    assert storage.stat(place) == len(BODY)
    assert storage.look(f"{store}/a b").kind == "directory"
    assert storage.list(f"{store}/a b") == 2
    assert storage.open(place, Access()).size == len(BODY)
    storage.delete(place)
    with pytest.raises(OSError) as gone:
        storage.look(place)
    assert gone.value.errno == errno.ENOENT


@STORES
@EVERY_CLIENT
def test_failures_have_the_server_s_status(store, client):
    """404 for what is not there, 416 past the end, and what exists is not made again."""
    storage = storage_for(store, Requests(client))
    with pytest.raises(StoreError) as missing:
        _read(storage, f"{store}/nothing", 0, 10)
    assert missing.value.errno == 404
    storage.write(f"{store}/there", b"abc", create=True)
    with pytest.raises(StoreError) as past:
        _read(storage, f"{store}/there", 1000, 10)
    assert past.value.errno == 416
    with pytest.raises(StoreError) as exists:
        storage.write(f"{store}/there", b"xyz", create=True)
    assert exists.value.errno in (409, 412)
    assert _read(storage, f"{store}/there", 0, 10) == b"abc"


@STORES
def test_a_large_object_goes_up_in_parts(store):
    """An iterable becomes a multipart upload, and what comes back is what went up."""
    storage = storage_for(store)
    blocks = [os.urandom(1 << 20) for _ in range(12)]
    storage.write(f"{store}/large", iter(blocks))
    assert storage.stat(f"{store}/large") == 12 << 20
    assert _read(storage, f"{store}/large", (5 << 20) - 100, 200) == blocks[4][-100:] + blocks[5][:100]


@EVERY_CLIENT
def test_what_is_in_memory_is_one_request(s3, s3_server, s3_environment, client):
    """Twelve MiB are one PUT, as the trace says; nothing is sent in parts that nobody asked for."""
    from proxy import Proxy
    from servers import forget_clients

    proxy = Proxy(int(s3_server.rpartition(":")[2]))
    with proxy.serving() as port:
        s3_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        forget_clients()
        storage_for("s3://b", Requests(client)).write(f"s3://{s3}/whole", memoryview(os.urandom(12 << 20)))
    forget_clients()
    heads = [head for one in proxy._connections for head in re.findall(rb"(PUT|POST) /\S+ HTTP/1.1", bytes(one.up))]
    assert heads == [b"PUT"]


@EVERY_CLIENT
def test_wrong_credentials_are_one_sentence(s3, s3_environment, client):
    """A wrong secret is refused by a server that checks signatures, and said without the secret."""
    from servers import forget_clients

    s3_environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-value")
    forget_clients()
    with pytest.raises(CannotRunError, match="may not be read with these credentials") as refused:
        storage_for("s3://b", Requests(client)).look(f"s3://{s3}/x")
    assert "wrong-secret-value" not in str(refused.value)


@EVERY_CLIENT
def test_nobody_there_is_one_sentence(s3_environment, client):
    """An endpoint where nobody listens."""
    s3_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{servers.lasting_port()}")
    with pytest.raises(CannotRunError, match="cannot be reached"):
        storage_for("s3://b", Requests(client, timeout_s=5)).look("s3://bucket/x")


def test_a_bucket_that_is_not_there_is_said(s3, s3_environment):
    """Not as a missing object: nothing could be made there either."""
    with pytest.raises(CannotRunError, match="there is no bucket"):
        storage_for("s3://b").look(f"s3://{s3}-not/x")


@pytest.mark.parametrize(
    ("fault", "number"),
    [(503, 503), (429, 429), ("reset", errno.ECONNRESET), ("short", errno.ECONNRESET), ("stall", errno.ETIMEDOUT)],
)
@EVERY_CLIENT
def test_each_fault_is_told_apart(s3_environment, client, fault, number):
    """Throttling, a reset, a body that breaks off, a server that never answers: its own number each, and no second request."""
    from servers import forget_clients

    server = servers.RangeServer(BODY, lambda _: fault)
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_clients()
        with pytest.raises(StoreError) as failed:
            _read(storage_for("s3://b", Requests(client, timeout_s=2)), "s3://bucket/x", 0, 1000)
    assert failed.value.errno == number
    assert server.gets == 1


@pytest.fixture
def az_of(s3_environment):
    """Lets the environment lead to a server as Azure's; the URI of a container there."""
    from servers import forget_clients

    def lead(endpoint):
        s3_environment.setenv("AZURE_STORAGE_ACCOUNT_NAME", servers.ACCOUNT)
        s3_environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.ACCOUNT_KEY)
        s3_environment.setenv("AZURE_STORAGE_ENDPOINT", f"{endpoint}/{servers.ACCOUNT}")
        forget_clients()
        return "az://container"

    yield lead
    forget_clients()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("short", "short body"), ("stalled body", "stalled body"), (503, "throttled"), (404, "not found")],
)
@EVERY_CLIENT
def test_azure_is_asked_once_as_well(az_of, client, fault, kind):
    """Its SDK would ask again for a body that breaks off, after a second: here each op is one request, whatever becomes of it."""
    server = servers.RangeServer(BODY, lambda _: fault)
    with server.serving() as endpoint, pytest.raises(StoreError) as failed:
        _read(storage_for("az://c", Requests(client, timeout_s=2)), f"{az_of(endpoint)}/x", 0, 1000)
    assert (failed.value.kind, server.gets) == (kind, 1)


@EVERY_CLIENT
def test_a_large_range_of_azure_is_one_request(az_of, client):
    """34 MiB at once, which its SDK would divide."""
    server = servers.RangeServer(bytes(36 << 20))
    with server.serving() as endpoint:
        handle = storage_for("az://c", Requests(client)).open(f"{az_of(endpoint)}/x", Access())
        count, _ = handle.skim(34 << 20, 1)
    assert (count, server.gets) == (34 << 20, 1)


@pytest.mark.parametrize(
    ("fault", "kind"), [("short", "short body"), ("stalled body", "stalled body"), (503, "throttled")]
)
def test_a_large_body_that_is_let_go_fails_as_others_do(s3_environment, fault, kind):
    """It comes in pieces: one request, all of its bytes, and its failures by their kinds."""
    from servers import forget_clients

    server = servers.RangeServer(bytes(5 << 20), lambda n: fault if n else None)
    with server.serving() as endpoint:
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_clients()
        handle = storage_for("s3://b", Requests(timeout_s=2)).open("s3://bucket/x", Access())
        count, first_byte = handle.skim(4 << 20, 100)
        assert (count, first_byte > 0) == (4 << 20, True)
        with pytest.raises(StoreError) as failed:
            handle.skim(4 << 20, 0)
    assert (failed.value.kind, server.gets) == (kind, 2)


def test_the_doctor_asks_the_store(s3):
    """Each client is tried, and the finding says how quickly the answer came."""
    from tracekit import doctor

    storage_for("s3://b").write(f"s3://{s3}/data/x", b"abc")
    found = {check.name: check for check in doctor.examine(f"s3://{s3}/data")}
    for name in ("s3 by obstore", "s3 by sdk"):
        assert found[name].outcome == "ok", found[name]
        assert "a prefix with objects below it, answered in" in found[name].finding


@STORES
@EVERY_CLIENT
def test_everything_below_a_prefix_is_found(store, client):
    """Objects below a prefix come with their sizes in order of names; a name that only begins alike is another's."""
    storage = storage_for(store, Requests(client))
    for name, size in (("train/b", 3), ("train/a/x", 2), ("train2/c", 1), ("train/.hidden", 1)):
        storage.write(f"{store}/{name}", bytes(size))
    assert sorted(storage.walk(f"{store}/train/")) == [(f"{store}/train/a/x", 2), (f"{store}/train/b", 3)]
    assert list(storage.walk(f"{store}/train2/c")) == [(f"{store}/train2/c", 1)]
    assert len(list(storage.walk(store))) == 3
    storage.write(f"{store}/.cache/x", b"x")
    assert list(storage.walk(f"{store}/.cache")) == [(f"{store}/.cache/x", 1)]
    assert len(list(storage.walk(store))) == 3
    with pytest.raises(OSError) as gone:
        list(storage.walk(f"{store}/nothing"))
    assert gone.value.errno == errno.ENOENT
