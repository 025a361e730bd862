"""Programs that read objects with their own clients, recorded: every request on the wire is an op, once, with its range."""

from __future__ import annotations

from collections import Counter
from urllib.parse import unquote, urlsplit

import servers
from proxy import Proxy
from recording import recorded

METHODS = {
    "read": "GET",
    "write": "PUT",
    "list": "GET",
    "delete": "DELETE",
    "open": "POST",
    "close": "POST",
    "copy": "PUT",
}


def spans(ops):
    """(name, offset, len, ret) of the successful reads."""
    return Counter(
        (op.uri.partition("/")[2].partition("/")[2].partition("/")[2], op.offset, op.len, op.ret)
        for op in ops
        if op.op == "read" and not op.err
    )


BOTO = """
    import io, os
    import boto3
    from boto3.s3.transfer import TransferConfig
    bucket = os.environ["BUCKET"]
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="a b/%x é", Body=os.urandom(300_000))
    get = lambda **words: client.get_object(Bucket=bucket, Key="a b/%x é", **words)["Body"]
    assert len(get(Range="bytes=1000-4999").read()) == 4000
    body, got = get(), 0
    while piece := body.read(65_536):
        got += len(piece)
    assert got == 300_000
    assert sum(map(len, get().iter_chunks(10_000))) == 300_000
    body = get()
    assert len(body.read(10)) == 10
    body.close()
    assert len(get(Range="bytes=-50").read()) == 50
    assert len(get(Range="bytes=299000-").read()) == 1000
    client.head_object(Bucket=bucket, Key="a b/%x é")
    for call in (client.get_object, client.head_object):
        try:
            call(Bucket=bucket, Key="none")
        except client.exceptions.ClientError as error:
            print(error.response["ResponseMetadata"]["HTTPStatusCode"])
    parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    client.upload_fileobj(io.BytesIO(os.urandom(12 << 20)), bucket, "big", Config=parts)
    client.download_file(bucket, "big", "big.out", Config=parts)
    assert os.path.getsize("big.out") == 12 << 20
    assert len(client.list_objects_v2(Bucket=bucket, Prefix="a b/")["Contents"]) == 1
    boto3.resource("s3").Object(bucket, "big").delete()
    print(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "big"})[:4])
"""


def test_every_request_of_boto3_is_an_op(s3, s3_server, s3_environment, tmp_path):
    """Ranges, whole bodies read in pieces and left early, transfers in parallel parts, failures: as the wire has them."""
    proxy = Proxy(urlsplit(s3_server).port)
    with proxy.serving() as port:
        out, ops, trace = recorded(
            tmp_path, BOTO, environment={"BUCKET": s3, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        )
    assert out.split() == ["404", "404", "http"]
    wire = Counter((one.method, one.path.partition(f"/{s3}")[2].lstrip("/"), one.status) for one in proxy.passed)
    seen = Counter()
    for op in ops:
        name = "" if op.op == "list" else op.uri.removeprefix(f"s3://{s3}").lstrip("/")
        partial = op.op == "read" and (op.offset or op.len < 300_000 or name == "big")
        success = 206 if partial else 204 if op.op == "delete" else 200
        seen[METHODS.get(op.op, "HEAD"), name, int(op.err or success)] += 1
    assert seen == wire
    ranges = Counter(one.range for one in proxy.passed if one.method == "GET" and one.range)
    reads = spans(ops)
    assert reads["a b/%x é", 1000, 4000, 4000] == 1
    assert reads["a b/%x é", 0, 300_000, 300_000] == 2
    assert reads["a b/%x é", 0, 300_000, 10] == 1
    assert reads["a b/%x é", 299_950, 50, 50] == 1
    assert reads["a b/%x é", 299_000, 1000, 1000] == 1
    big = {(offset, length): count for (name, offset, length, _), count in reads.items() if name == "big"}
    assert sum(length for _, length in big) == 12 << 20
    assert {f"{offset}-{offset + length - 1}" for offset, length in big if offset} <= {
        text if not text.endswith("-") else f"{text}{(12 << 20) - 1}" for text in ranges
    }
    assert {(op.layer, op.level, op.attempts) for op in ops} == {("s3", "wire", 1)}
    assert all(op.t_submit <= op.t_first_byte <= op.t_complete for op in ops)
    assert trace.trailer.lost == 0
    assert trace.trailer.coverage["complete"]


AZURE = """
    import os
    from azure.storage.blob import BlobServiceClient, ContainerClient
    url, name = os.environ["AZURE_STORAGE_ENDPOINT"], os.environ["CONTAINER"]
    credential = {"account_name": os.environ["AZURE_STORAGE_ACCOUNT_NAME"], "account_key": os.environ["AZURE_STORAGE_ACCOUNT_KEY"]}
    container = ContainerClient(url, name, credential, max_single_get_size=100_000, max_chunk_get_size=100_000, max_single_put_size=200_000, max_block_size=200_000)
    container.upload_blob("a b/%x é", os.urandom(150_000))
    assert len(container.download_blob("a b/%x é", offset=1000, length=4000).readall()) == 4000
    assert sum(map(len, container.download_blob("a b/%x é").chunks())) == 150_000
    container.upload_blob("big", os.urandom(500_000))
    with open("big.out", "wb") as file:
        assert container.download_blob("big", max_concurrency=3).readinto(file) == 500_000
    container.get_blob_client("big").get_blob_properties()
    try:
        container.download_blob("none")
    except Exception as error:
        print(error.status_code)
    print(len(list(container.list_blobs("a b/"))))
    container.delete_blob("big")
"""


def test_every_request_of_azure_s_sdk_is_an_op(az, azure_server, tmp_path):
    """Offsets and lengths, chunks fetched in parallel, blocks, properties, a listing, a failure: as the wire has them."""
    place = urlsplit(azure_server)
    proxy = Proxy(place.port)
    with proxy.serving() as port:
        there = f"http://127.0.0.1:{port}{place.path}"
        out, ops, _ = recorded(tmp_path, AZURE, environment={"CONTAINER": az, "AZURE_STORAGE_ENDPOINT": there})
    assert out.split() == ["404", "1"]
    wire = Counter((one.method, one.path.partition(f"/{az}")[2].lstrip("/")) for one in proxy.passed)
    methods = METHODS | {"close": "PUT"}
    seen = Counter(
        (methods.get(op.op, "HEAD"), "" if op.op == "list" else op.uri.removeprefix(f"az://{az}").lstrip("/"))
        for op in ops
    )
    assert seen == wire
    asked = Counter(one.range for one in proxy.passed if one.method == "GET" and one.range)
    done = Counter(
        f"{op.offset}-{op.offset + op.len - 1}"
        for op in ops
        if op.op == "read" and not op.err and op.offset is not None
    )
    assert done["1000-4999"] == asked["1000-4999"] == 1
    assert sum(op.ret for op in ops if op.op == "read" and op.uri.endswith("/big")) == 500_000
    assert sum(op.ret for op in ops if op.op == "write" and op.uri.endswith("/big")) == 500_000
    assert [op.err for op in ops if op.err] == [str(one.status) for one in proxy.passed if one.status >= 300]
    assert {(op.layer, op.level) for op in ops} == {("az", "wire")}


AZURE_LATER = """
    import asyncio, os
    from azure.storage.blob.aio import ContainerClient
    import adlfs
    url, name = os.environ["AZURE_STORAGE_ENDPOINT"], os.environ["CONTAINER"]
    account, key = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
    sizes = dict(max_single_get_size=100_000, max_chunk_get_size=100_000, max_single_put_size=200_000, max_block_size=200_000)

    async def main():
        async with ContainerClient(url, name, {"account_name": account, "account_key": key}, **sizes) as container:
            await container.upload_blob("a b/%x é", os.urandom(150_000))
            part = await container.download_blob("a b/%x é", offset=1000, length=4000)
            assert len(await part.readall()) == 4000
            whole, got = await container.download_blob("a b/%x é"), 0
            async for chunk in whole.chunks():
                got += len(chunk)
            assert got == 150_000
            await container.upload_blob("big", os.urandom(500_000))
            assert len(await (await container.download_blob("big", max_concurrency=3)).readall()) == 500_000
            assert len([blob async for blob in container.list_blobs()]) == 2
            try:
                await container.download_blob("none")
            except Exception as error:
                print(error.status_code)
            await container.delete_blob("big")

    asyncio.run(main())
    words = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={url};"
    files = adlfs.AzureBlobFileSystem(connection_string=words)
    with files.open(f"{name}/x", "wb") as file:
        file.write(bytes(300_000))
    for cache in ("readahead", "blockcache", "bytes", "none"):
        with files.open(f"{name}/x", "rb", block_size=65_536, cache_type=cache) as file:
            file.seek(1000)
            assert len(file.read(5000)) == 5000
    assert len(files.cat_file(f"{name}/x", start=10, end=110)) == 100
"""


def test_every_request_of_azure_s_asynchronous_client_and_adlfs_is_an_op(az, azure_server, tmp_path):
    """The same through aiohttp, and what each of fsspec's caches really fetched: as the wire has them, once."""
    place = urlsplit(azure_server)
    proxy = Proxy(place.port)
    with proxy.serving() as port:
        there = f"http://127.0.0.1:{port}{place.path}"
        out, ops, _ = recorded(tmp_path, AZURE_LATER, environment={"CONTAINER": az, "AZURE_STORAGE_ENDPOINT": there})
    assert out.split() == ["404"]
    wire = Counter((one.method, one.path.partition(f"/{az}")[2].lstrip("/")) for one in proxy.passed)
    methods = METHODS | {"close": "PUT"}
    seen = Counter(
        (methods.get(op.op, "HEAD"), "" if op.op == "list" else op.uri.removeprefix(f"az://{az}").lstrip("/"))
        for op in ops
    )
    assert seen == wire
    sizes = {"%x é": 150_000, "big": 500_000, "x": 300_000}
    asked = Counter()
    for one in proxy.passed:
        if one.method == "GET" and one.range and one.status < 300:
            first, last = map(int, one.range.split("-"))
            asked[first, min(last, sizes[one.path.rpartition("/")[2]] - 1)] += 1
    reads = [op for op in ops if op.op == "read" and not op.err]
    assert Counter((op.offset, op.offset + op.ret - 1) for op in reads) == asked
    assert {(op.layer, op.level, op.attempts) for op in ops} == {("az", "wire", 1)}


def test_fsspec_s_caches_are_recorded_by_what_they_fetch(s3, s3_server, tmp_path):
    """Readahead, blocks, all and none: the ranges on the wire, not the few bytes the program took from the cache."""
    program = """
        import os
        import s3fs
        files = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        with files.open(os.environ["BUCKET"] + "/x", "wb") as file:
            file.write(bytes(300_000))
        for cache in ("readahead", "blockcache", "bytes", "all", "none"):
            with files.open(os.environ["BUCKET"] + "/x", "rb", block_size=65_536, cache_type=cache) as file:
                for place in (1000, 2000, 150_000):
                    file.seek(place)
                    assert len(file.read(100)) == 100
    """
    proxy = Proxy(urlsplit(s3_server).port)
    with proxy.serving() as port:
        there = {"BUCKET": s3, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        _, ops, _ = recorded(tmp_path, program, environment=there)
    fetched = Counter(one.range for one in proxy.passed if one.method == "GET" and one.range)
    reads = [op for op in ops if op.op == "read"]
    assert Counter(f"{op.offset}-{op.offset + op.len - 1}" for op in reads) == fetched
    assert all(op.ret == op.len for op in reads)
    assert fetched["1000-1099"] == 1  # without a cache


PIPE = """
    import os, sys
    import boto3, fsspec, webdataset
    from webdataset.gopen import gopen_schemes
    from smart_open import open as smart_open
    bucket = os.environ["BUCKET"]
    with webdataset.TarWriter("shard.tar") as shard:
        for index in range(5):
            shard.write({"__key__": f"{index:02}", "bin": bytes(1000 + index)})
    with smart_open(f"s3://{bucket}/shard.tar", "wb") as file, open("shard.tar", "rb") as local:
        file.write(local.read())
    with open("fetch.py", "w") as file:
        file.write("import boto3, shutil, sys; shutil.copyfileobj(boto3.client('s3').get_object(Bucket=sys.argv[1], Key=sys.argv[2])['Body'], sys.stdout.buffer)")
    sizes = lambda url: [len(sample["bin"]) for sample in webdataset.WebDataset(url, shardshuffle=False)]
    print(sizes(f"pipe:{sys.executable} fetch.py {bucket} shard.tar"))
    gopen_schemes["s3"] = lambda url, mode="rb", bufsize=8192, **_: fsspec.open(url, mode, endpoint_url=os.environ["AWS_ENDPOINT_URL"]).open()
    print(sizes(f"s3://{bucket}/shard.tar"))
    with smart_open(f"s3://{bucket}/shard.tar", "rb") as file:
        file.seek(2000)
        print(len(file.read(300)))
    with smart_open(f"s3://{bucket}/shard.tar", "rb", transport_params={"defer_seek": True}) as file:
        print(sum(len(line) for line in file))
"""


def test_shards_through_a_pipe_and_fsspec_and_smart_open_are_as_the_wire_has_them(s3, s3_server, tmp_path):
    """What a child fetches for webdataset is the child's, what fsspec does the program's; smart_open's uploads, ranges and streams."""
    proxy = Proxy(urlsplit(s3_server).port)
    with proxy.serving() as port:
        there = {"BUCKET": s3, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        out, ops, trace = recorded(tmp_path, PIPE, environment=there)
    size = (tmp_path / "shard.tar").stat().st_size
    samples = str([1000, 1001, 1002, 1003, 1004])
    assert out.splitlines() == [samples, samples, "300", str(size)]
    passed = [one for one in proxy.passed if one.path.strip("/").partition("/")[0] == s3]
    assert Counter(METHODS.get(op.op, "HEAD") for op in ops) == Counter(one.method for one in passed)
    assert Counter(op.err for op in ops if op.err) == Counter(str(one.status) for one in passed if one.status >= 300)
    # Where a range has no end, the answer says which it is.
    asked = Counter(
        f"{one.range}{size - 1}" if one.range.endswith("-") else one.range
        for one in passed
        if one.method == "GET" and one.range
    )
    ranged = [op for op in ops if op.op == "read" and "range" in (op.flags or "").split(",")]
    assert Counter(f"{op.offset}-{op.offset + op.len - 1}" for op in ranged) == asked
    gets = [one for one in passed if one.method == "GET" and "list-type" not in one.query]
    assert sum(op.op == "read" for op in ops) == len(gets)
    own = next(op.pid for op in ops if op.op in ("write", "open"))
    (whole,) = (op for op in ops if op.op == "read" and op.pid != own)
    assert (whole.offset, whole.len, whole.ret) == (0, size, size)
    assert sum(op.len for op in ops if op.op == "write") == size
    assert {op.level for op in ops} == {"wire"}
    assert trace.trailer.lost == 0


def test_retries_are_ops_of_their_own(s3_environment, tmp_path):
    """What a client hides from its program: two 503s and a reset before the answer, each with its attempt's number."""
    faults = {0: 503, 1: 503, 2: "reset"}
    server = servers.RangeServer(bytes(10_000), faults.get)
    program = """
        import boto3
        from botocore.config import Config
        client = boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 6}))
        print(len(client.get_object(Bucket="bucket", Key="x", Range="bytes=0-999")["Body"].read()))
    """
    with server.serving() as endpoint:
        out, ops, _ = recorded(tmp_path, program, environment={"AWS_ENDPOINT_URL": endpoint})
    assert out == "1000\n"
    assert [(op.err, op.attempts) for op in ops] == [("503", 1), ("503", 2), ("ECONNRESET", 3), (None, 4)]
    assert [op.ret for op in ops] == [None, None, None, 1000]
    assert server.gets == 4


BODIES = """
    import gc, weakref
    from functools import partial
    import boto3
    client = boto3.client("s3")
    gc.disable()
    last = None

    def raw(key):
        global last
        body = client.get_object(Bucket="bucket", Key=key)["Body"]
        last = weakref.ref(body._raw_stream)
        return body._raw_stream

    def pieces(key, name):
        return iter(partial(getattr(raw(key), name), 4096), b"")

    def into(response, buffer):
        return sum(iter(lambda: response.readinto(buffer), 0))

    print(sum(map(len, pieces("read", "read"))))
    print(sum(map(len, pieces("read1", "read1"))))
    print(len(raw("whole").read()))
    print(into(raw("readinto"), bytearray(3000)))
    print(sum(map(len, raw("stream").stream(4096))))
    print(sum(map(len, raw("chunked"))))
    try:
        raw("short").read()
    except Exception as error:
        print(type(error).__name__)
    raw("dropped").read(10)
    assert last() is None  # as without us: it goes when it is let go, with its connection
    response = raw("cycle")
    response.itself = response
    response.read(10)
    del response
    gc.collect()
    assert last() is None
"""


def test_a_body_is_followed_however_it_is_read(s3_environment, tmp_path):
    """By kept methods, in pieces, in chunks, broken off, let go: a program gets what it always gets, an op says what it took."""
    faults = {5: "chunked", 6: "short"}
    server = servers.RangeServer(bytes(20_000), faults.get)
    with server.serving() as endpoint:
        out, ops, trace = recorded(tmp_path, BODIES, environment={"AWS_ENDPOINT_URL": endpoint})
    assert out.split() == ["20000"] * 6 + ["ProtocolError"]
    assert {op.uri.rpartition("/")[2]: (op.len, op.ret, op.err) for op in ops} == {
        **dict.fromkeys(("read", "read1", "whole", "readinto", "stream", "chunked"), (20_000, 20_000, None)),
        "short": (20_000, None, "ECONNRESET"),
        "dropped": (20_000, 10, None),
        "cycle": (20_000, 10, None),
    }
    assert trace.trailer.lost == 0


ASYNC_BODIES = """
    import asyncio, gc, weakref
    from aiobotocore.session import get_session

    async def read(client, key, amount):
        answer = await client.get_object(Bucket="bucket", Key=key)
        try:
            await answer["Body"].read(*amount)
        except Exception as error:
            print(type(error).__name__)
        answer["Body"].close()
        return weakref.ref(answer["Body"]._raw_stream)

    async def main():
        async with get_session().create_client("s3") as client:
            return [await read(client, *words) for words in (("whole", ()), ("short", ()), ("left", (10,)))]

    kept = asyncio.run(main())
    gc.collect()
    assert not [one for one in kept if one() is not None]
"""


def test_asynchronous_bodies_that_end_early_are_written_and_let_go(s3_environment, tmp_path):
    """One that broke off and one that was closed: each op is over when it was, says what came, and keeps no response alive."""
    server = servers.RangeServer(bytes(3_000_000), {1: "short"}.get)
    with server.serving() as endpoint:
        out, ops, _ = recorded(tmp_path, ASYNC_BODIES, environment={"AWS_ENDPOINT_URL": endpoint})
    assert out.split() == ["ClientPayloadError"]
    whole, short, left = ops
    assert (whole.ret, whole.err) == (3_000_000, None)
    assert (short.ret, short.err) == (1_500_000, "ECONNRESET")
    assert (0 < left.ret < 3_000_000, left.err) == (True, None)
    assert short.t_complete <= left.t_submit


def test_s3fs_and_the_client_below_it_are_recorded(s3, s3_server, tmp_path):
    """Asynchronous requests: what fsspec's cache really fetched, with the bytes that were read of each answer."""
    program = """
        import os
        import s3fs
        files = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        name = os.environ["BUCKET"] + "/x"
        with files.open(name, "wb") as file:
            file.write(bytes(300_000))
        with files.open(name, "rb", block_size=65_536) as file:
            file.seek(1000)
            assert len(file.read(5000)) == 5000
        assert len(files.cat_file(name, start=10, end=110)) == 100
        assert files.ls(os.environ["BUCKET"]) == [name]
    """
    proxy = Proxy(urlsplit(s3_server).port)
    with proxy.serving() as port:
        _, ops, _ = recorded(
            tmp_path, program, environment={"BUCKET": s3, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        )
    assert Counter(METHODS.get(op.op, "HEAD") for op in ops) == Counter(one.method for one in proxy.passed)
    ranges = sorted(one.range for one in proxy.passed if one.range)
    assert sorted(f"{op.offset}-{op.offset + op.len - 1}" for op in ops if op.op == "read") == ranges
    assert all(op.ret == op.len for op in ops if op.op == "read")
    assert ("10-109" in ranges, len(ranges)) == (True, 2)


SECRETS = """
    import asyncio, os, subprocess, sys, urllib.request
    from datetime import datetime, timedelta, timezone
    import boto3, obstore, s3dlio
    import pyarrow.fs as pf
    from azure.storage.blob import BlobClient, ContainerSasPermissions, generate_container_sas
    from azure.storage.blob.aio import BlobClient as LaterBlobClient
    from obstore.store import AzureStore, S3Store
    bucket, container, endpoint = (os.environ[name] for name in ("BUCKET", "CONTAINER", "AWS_ENDPOINT_URL"))
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    account, url = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ENDPOINT"]
    client = boto3.client("s3")
    client.put_object(Bucket=bucket, Key="x", Body=b"abc")
    client.get_object(Bucket=bucket, Key="x")["Body"].read()
    presigned = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "x"})
    urllib.request.urlopen(presigned).read()

    sas = generate_container_sas(
        account, container, os.environ["AZURE_STORAGE_ACCOUNT_KEY"], expiry=datetime.now(timezone.utc) + timedelta(hours=1),
        permission=ContainerSasPermissions(read=True, write=True, create=True, list=True),
    )
    blob = BlobClient(url, container, "x", credential=sas)
    blob.upload_blob(b"abc")
    blob.download_blob().readall()

    async def later():
        async with LaterBlobClient.from_blob_url(f"{url}/{container}/x?{sas}") as blob:
            await (await blob.download_blob()).readall()

    asyncio.run(later())
    import adlfs
    for words in ({"sas_token": sas}, {"account_key": os.environ["AZURE_STORAGE_ACCOUNT_KEY"]}):
        text = f"BlobEndpoint={url};AccountName={account};" + (f"SharedAccessSignature={sas}" if "sas_token" in words else f"AccountKey={words['account_key']}")
        assert adlfs.AzureBlobFileSystem(connection_string=text).cat_file(f"{container}/x", start=0, end=2) == b"ab"
    http = {"client_options": {"allow_http": True}}
    store = S3Store(bucket, endpoint=endpoint, access_key_id=key, secret_access_key=secret, **http)
    store.get("x").bytes()
    signed = obstore.sign(store, "GET", "x", timedelta(hours=1))
    AzureStore(container, account_name=account, sas_key=sas, endpoint=url, **http).get("x").bytes()
    system = pf.S3FileSystem(
        access_key=key, secret_key=secret, endpoint_override=endpoint.partition("://")[2], scheme="http", region="us-east-1"
    )
    system.open_input_file(f"{bucket}/x").read()
    s3dlio.get(f"s3://{bucket}/x")
    for refused in (
        lambda: S3Store(bucket, endpoint=endpoint, access_key_id=key, secret_access_key="not" + secret, **http).get("x"),
        lambda: AzureStore(container, account_name=account, sas_key=sas, endpoint=url, **http).get("none"),
    ):
        try:
            refused()
        except Exception:
            pass
    words = ["--secret-key", secret, presigned, signed, f"{url}/{container}/x?{sas}", f"AccountKey={os.environ['AZURE_STORAGE_ACCOUNT_KEY']}"]
    subprocess.run([sys.executable, "-c", "pass", *words], check=True)
    for text in (presigned, signed, sas):
        print(text.partition("sig=")[2].partition("&")[0] or text.partition("Signature=")[2].partition("&")[0])
    sys.stdout.flush()
    os._exit(0)
"""


def test_no_secret_reaches_a_trace(s3, az, tmp_path):
    """Keys, signatures, presigned URLs and SAS tokens of every client stand nowhere in it, the words of programs included."""
    out, ops, trace = recorded(tmp_path, SECRETS, environment={"BUCKET": s3, "CONTAINER": az})
    text = (tmp_path / "t.jsonl").read_text()
    assert Counter((op.op, op.level) for op in ops) == {
        ("write", "wire"): 2, ("read", "wire"): 5, ("open", "logical"): 1, ("read", "logical"): 6,
    }  # fmt: skip
    signatures = out.split()
    assert len(signatures) == 3
    assert all(signatures)
    for secret in (servers.SECRET, servers.ACCOUNT_KEY, *signatures, *map(unquote, signatures), "SharedKey"):
        assert secret not in text, secret
    (child,) = (process["argv"] for process in trace.trailer.processes if "--secret-key" in process["argv"])
    assert child[child.index("--secret-key") + 1] == "***"
    assert "sig=***" in child[-2]


def test_globs_choose_objects_too(s3, s3_environment, tmp_path):
    """--include and --exclude are held against the URI, as they are against paths."""
    program = """
        import os, boto3
        client = boto3.client("s3")
        for name in ("images/a.jpg", "images/b.txt", "labels/c.jpg"):
            client.put_object(Bucket=os.environ["BUCKET"], Key=name, Body=b"abc")
    """
    words = ("--include", "*/images/*", "--exclude", "*.txt")
    _, ops, _ = recorded(tmp_path, program, *words, environment={"BUCKET": s3})
    assert [op.uri for op in ops] == [f"s3://{s3}/images/a.jpg"]


FULL = """
    import os, resource, boto3
    client = boto3.client("s3")
    get = lambda n: client.get_object(Bucket="b", Key=f"{n}", Range="bytes=0-9")["Body"].read()
    for n in range(5): assert get(n) == bytes(10)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    for n in range(5, 12): assert get(n) == bytes(10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for n in range(12, 15): assert get(n) == bytes(10)
"""


def test_requests_that_a_full_disk_has_no_room_for_are_counted_as_lost(s3_environment, tmp_path):
    """Files that may not grow, as on a full disk: the program goes on, and what could not be noted is in the trailer's `lost`."""
    with servers.RangeServer(bytes(100)).serving() as endpoint:
        _, ops, trace = recorded(tmp_path, FULL, environment={"AWS_ENDPOINT_URL": endpoint})
    assert [op.uri for op in ops] == [f"s3://b/{n}" for n in (*range(5), *range(12, 15))]
    assert trace.trailer.lost == 7
