"""The same against Ceph's gateway, which is what many a real store is: objects, uploads that are gone on with, replays, recordings."""

from __future__ import annotations

import os

import boto3
import ceph
import pytest
import servers
from recording import recorded
from test_generate_objects import read
from test_object_retries import reads

from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.storage import CLIENTS, Requests, storage_for
from tracekit.storage.keys import StoreError
from tracekit.storage.uploads import PART_BYTES

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The gateway's endpoint."""
    if ceph.missing():
        pytest.skip(
            f"Ceph is not installed here: no {', '.join(ceph.missing())} (radosgw, ceph-mon, ceph-osd, ceph-mgr, ceph-common)"
        )
    # Unix sockets lie there: their names must be short.
    with ceph.gateway(tmp_path_factory.mktemp("c")) as endpoint:
        yield endpoint


@pytest.fixture
def bucket(gateway, bucket_on):
    """The URI of an empty bucket; the environment leads there."""
    return f"s3://{bucket_on(gateway)}"


@pytest.mark.parametrize("client", CLIENTS)
def test_objects_on_ceph(bucket, client):
    """Written, looked at, listed, read in ranges, refused and deleted, as on other servers."""
    storage = storage_for(bucket, Requests(client))
    place = f"{bucket}/a b/%41 ü.bin"
    storage.write(place, b"0123456789" * 1000)
    assert (storage.look(place).size, storage.look(f"{bucket}/a b").kind, storage.list(f"{bucket}/a b")) == (
        10_000,
        "directory",
        1,
    )
    assert read(place) == b"0123456789" * 1000
    with pytest.raises(StoreError) as missing:
        storage.stat(f"{bucket}/nothing")
    assert missing.value.errno == 404
    storage.delete(place)
    assert storage.list(f"{bucket}/a b") == 0


def test_uploads_to_ceph_are_gone_on_with_and_make_nothing_over_another(bucket):
    """Of an upload that broke off no part is sent again; an object that is there stays."""
    storage, body = storage_for(bucket), os.urandom(2 * PART_BYTES + 1000)
    pieces = [body[at : at + (1 << 20)] for at in range(0, len(body), 1 << 20)]

    def broken():
        yield from pieces[: 2 * PART_BYTES >> 20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write(f"{bucket}/x", broken())
    client, name = boto3.client("s3"), bucket.removeprefix("s3://")
    (upload,) = client.list_multipart_uploads(Bucket=name)["Uploads"]
    before = client.list_parts(Bucket=name, Key="x", UploadId=upload["UploadId"])["Parts"]
    assert len(before) == 2
    storage.write(f"{bucket}/x", iter(pieces), create=True)
    assert read(f"{bucket}/x") == body
    assert "Uploads" not in client.list_multipart_uploads(Bucket=name)
    with pytest.raises(StoreError) as there:
        storage.write(f"{bucket}/x", iter(pieces), create=True)
    assert there.value.errno in (409, 412)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_replay_on_ceph(bucket, client):
    """Its objects are made and read; each request is one, and none failed."""
    run = replay(
        reads(count=200, streams=4), Options(remap=[("s3://b", f"{bucket}/d")], prepare="random", client=client)
    )
    assert (run.run["ops"], run.run["errors"], run.run["requests"], run.run["short_reads"]) == (200, {}, 200, 0)


def test_a_program_on_ceph_is_recorded(bucket, tmp_path):
    """boto3's ranges and multipart transfers, as on other servers."""
    program = """
        import io, os
        import boto3
        from boto3.s3.transfer import TransferConfig
        client, bucket = boto3.client("s3"), os.environ["BUCKET"]
        parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20)
        client.upload_fileobj(io.BytesIO(bytes(12 << 20)), bucket, "big", Config=parts)
        print(len(client.get_object(Bucket=bucket, Key="big", Range="bytes=1000-4999")["Body"].read()))
    """
    out, ops, trace = recorded(tmp_path, program, environment={"BUCKET": bucket.removeprefix("s3://")})
    assert out == "4000\n"
    assert sum(op.len for op in ops if op.op == "write") == 12 << 20
    assert [(op.offset, op.ret, op.flags.split(",")[0]) for op in ops if op.op == "read"] == [(1000, 4000, "range")]
    assert (servers.SECRET in (tmp_path / "t.jsonl").read_text(), trace.trailer.lost) == (False, 0)
