"""Large objects on real stores: in parts, none of them over another, and gone on with after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import servers
from proxy import Proxy
from test_generate_objects import read

from tracekit import formats
from tracekit.replay import prepare
from tracekit.storage import CLIENTS, Requests, storage_for
from tracekit.storage.keys import StoreError
from tracekit.storage.uploads import PART_BYTES
from tracekit.trace import Op, Trace

STORES = pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
# Five parts, of which four are on their way at once: before the fifth is sent, the first is there.
SIZE = 4 * PART_BYTES + 100_000


def left(store, name):
    """How many parts of uploads that were not finished there are for an object."""
    scheme, _, container = store.partition("://")
    if scheme == "s3":
        import boto3

        client = boto3.client("s3")
        place = {"Bucket": container, "Key": name}
        found = client.list_multipart_uploads(Bucket=container, Prefix=name).get("Uploads", [])
        return sum(len(client.list_parts(**place, UploadId=one["UploadId"]).get("Parts", [])) for one in found)
    from azure.storage.blob import BlobClient

    account = {
        name: os.environ[f"AZURE_STORAGE_ACCOUNT_{name[8:].upper()}"] for name in ("account_name", "account_key")
    }
    blob = BlobClient(os.environ["AZURE_STORAGE_ENDPOINT"], container, name, credential=account)
    return len(blob.get_block_list("uncommitted")[1])


def through(proxy_port, server, store, environment):
    """Let the environment lead through a proxy."""
    variable = "AWS_ENDPOINT_URL" if store.startswith("s3") else "AZURE_STORAGE_ENDPOINT"
    environment.setenv(variable, f"http://127.0.0.1:{proxy_port}{urlsplit(server).path}")
    servers.forget_clients()


@STORES
def test_a_killed_preparation_is_gone_on_with(store, request, s3_environment, tmp_path):
    """SIGKILL while the fifth part is sent: there is no object; the next run sends what is missing, and nothing is left over."""
    server = request.getfixturevalue("s3_server" if store.startswith("s3") else "azure_server")
    formats.save(Trace.of([Op("s3://b/x", SIZE - 100, 100, 0, ret=100, pid=1, tid=1)]), tmp_path / "t.jsonl")
    words = ["t.jsonl", "--remap", f"s3://b={store}/made", "--prepare", "random", "--force", "-o", "r.jsonl"]
    command, running, counts = [sys.executable, "-m", "tracekit", "replay", *words], [], []
    for fatal in (5, None):

        def struck(number, fatal=fatal):
            if number == fatal:
                running[0].kill()

        proxy = Proxy(urlsplit(server).port, struck, method="PUT")
        with proxy.serving() as port:
            through(port, server, store, s3_environment)
            with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
                running[:] = [process]
                _, said = process.communicate(timeout=300)
            counts.append(proxy._requests)
        through(urlsplit(server).port, server, store, s3_environment)
        if fatal:
            assert process.returncode == -9, said
            with pytest.raises(StoreError):
                storage_for(store).stat(f"{store}/made/x")
            assert left(store, "made/x") > 0
    assert process.returncode in (0, 3), said
    parts = 5 + store.startswith("az")  # the list of the blocks is a PUT as well
    assert counts[0] == 5
    assert counts[1] < parts
    assert left(store, "made/x") == 0
    made = b"".join(prepare._blocks(f"{store}/made/x", SIZE, "random", prepare._Progress(lambda _: None)))
    assert read(f"{store}/made/x") == made


@STORES
@pytest.mark.parametrize("client", CLIENTS)
def test_an_object_is_not_made_over_another_however_large(store, client):
    """What is there stays, and the parts that were sent in vain are gone where the store has a request for that."""
    storage = storage_for(store, Requests(client))
    storage.write(f"{store}/x", b"precious")
    pieces = [bytes([n]) * (1 << 20) for n in range(9)]
    with pytest.raises(StoreError) as there:
        storage.write(f"{store}/x", iter(pieces), create=True)
    assert there.value.errno in (409, 412)
    assert read(f"{store}/x") == b"precious"
    if store.startswith("s3"):
        assert left(store, "x") == 0
    storage.write(f"{store}/x", iter(pieces))
    assert read(f"{store}/x") == b"".join(pieces)
