"""Clients in Rust and C++, recorded: every call for an object is an op, once, with its bytes. Programs write down what they did."""

from __future__ import annotations

import json
from collections import Counter
from urllib.parse import urlsplit

import pytest
import servers
from proxy import Proxy
from recording import recorded

# What every program has at hand: `did` writes down a call as its op should be.
DID = """
import asyncio, json, os
calls = []
def did(op, name, offset=None, len=0, ret=None, err=None):
    calls.append((op, name, offset, len, ret, err))
def refused(call, op, name, offset, len, err):
    try:
        call()
    except Exception:
        return did(op, name, offset, len, None, err)
    raise AssertionError(name)
place = os.environ["PLACE"]
"""
# Left without a farewell: clients in Rust now and then abort while an interpreter takes leave, recorded or not.
SAY = "\nprint(json.dumps(calls), flush=True)\nos._exit(0)\n"

OBSTORE = """
import io, pathlib
import obstore
from obstore.store import AzureStore, MemoryStore, S3Store, from_url
words = dict(client_options={"allow_http": True}, retry_config={"max_retries": 0})
words["endpoint"] = os.environ["ENDPOINT"]
store = from_url(place + "/deep", **words)
body = os.urandom(300_000)
store.put("x y", body)
did("write", "deep/x y", 0, 300_000, 300_000)
obstore.put(store, "pieces", iter([b"a" * 1000, b"b" * 500]))
did("write", "deep/pieces", 0, 1500, 1500)
pathlib.Path("local").write_bytes(bytes(777))
obstore.put(store, "path", pathlib.Path("local"))
did("write", "deep/path", 0, 777, 777)
obstore.put(store, "file", io.BytesIO(bytes(888)))
did("write", "deep/file", 0, 888, 888)

whole = store.get("x y")
assert whole.__class__.__name__ == "GetResult"
assert whole.meta["size"] == 300_000 and whole.range == (0, 300_000)
assert bytes(whole.bytes()) == body
did("read", "deep/x y", 0, 300_000, 300_000)
assert bytes(obstore.get(store, "x y", options={"range": (10, 20)}).bytes()) == body[10:20]
did("read", "deep/x y", 10, 10, 10)
last = lambda: store.get("x y", options={"range": {"suffix": 50}}).bytes()
if place.startswith("az"):  # which has no such thing
    refused(last, "read", "deep/x y", None, 50, "ENOTSUP")
else:
    assert bytes(last()) == body[-50:]
    did("read", "deep/x y", 299_950, 50, 50)
assert sum(map(len, store.get("x y").stream(min_chunk_size=10_000))) == 300_000
did("read", "deep/x y", 0, 300_000, 300_000)
left = store.get("x y")
del left
did("read", "deep/x y", 0, 300_000, 0)
assert bytes(store.get_range("x y", start=100, length=100)) == body[100:200]
did("read", "deep/x y", 100, 100, 100)
assert bytes(obstore.get_range(store, "x y", start=299_999, end=400_000)) == body[-1:]
did("read", "deep/x y", 299_999, 100_001, 1)
assert list(map(len, store.get_ranges("x y", starts=[0, 1000, 200_000], lengths=[10, 20, 30], coalesce=0))) == [10, 20, 30]
for offset, size in ((0, 10), (1000, 20), (200_000, 30)):
    did("read", "deep/x y", offset, size, size)
assert store.head("x y")["size"] == 300_000
did("stat", "deep/x y")
assert sum(map(len, store.list())) == len(store.list().collect()) == 4
did("list", "deep/")
did("list", "deep/")
assert len(store.list_with_delimiter()["objects"]) == 4
did("list", "deep/")

reader = obstore.open_reader(store, "pieces")
did("open", "deep/pieces")
reader.seek(700)
assert bytes(reader.read(500)) == b"a" * 300 + b"b" * 200
did("read", "deep/pieces", 700, 500, 500)
assert bytes(reader.read()) == b"b" * 300
did("read", "deep/pieces", 1200, 300, 300)
for name, close in (("one", lambda writer: writer.close()), ("two", lambda writer: writer.__exit__(None, None, None))):
    writer = obstore.open_writer(store, name)
    writer.write(bytes(100))
    writer.write(bytes(23))
    close(writer)
    did("open", "deep/" + name)
    did("write", "deep/" + name, 0, 100, 100)
    did("write", "deep/" + name, 100, 23, 23)
    did("close", "deep/" + name)

store.copy("path", "copy")
did("copy", "deep/copy")
store.rename("copy", "renamed")
did("rename", "deep/renamed")
store.delete(["renamed", "file"])
did("delete", "deep/renamed")
did("delete", "deep/file")
refused(lambda: store.get("none"), "read", "deep/none", 0, 0, "404")
refused(lambda: store.head("none"), "stat", "deep/none", None, 0, "404")
refused(lambda: store.get_range("x y", start=900_000, length=10), "read", "deep/x y", 900_000, 10, "416")

async def main():
    direct = (AzureStore if place.startswith("az") else S3Store)(place.partition("://")[2], prefix="deep", **words)
    await direct.put_async("later", bytes(5000))
    did("write", "deep/later", 0, 5000, 5000)
    assert len(await (await direct.get_async("later")).bytes_async()) == 5000
    did("read", "deep/later", 0, 5000, 5000)
    at_once = [obstore.get_range_async(direct, "later", start=start, length=7) for start in range(20)]
    assert sum(map(len, await asyncio.gather(*at_once))) == 140
    for start in range(20):
        did("read", "deep/later", start, 7, 7)
    got = 0
    async for piece in (await obstore.get_async(direct, "later")).stream(100):
        got += len(piece)
    assert got == 5000
    did("read", "deep/later", 0, 5000, 5000)
    reader = await obstore.open_reader_async(direct, "later")
    did("open", "deep/later")
    await reader.seek(50)
    assert len(await reader.read(60)) == 60
    did("read", "deep/later", 50, 60, 60)
    async with obstore.open_writer_async(direct, "awritten") as writer:
        await writer.write(bytes(123))
    did("open", "deep/awritten")
    did("write", "deep/awritten", 0, 123, 123)
    did("close", "deep/awritten")
    async for batch in direct.list():
        assert len(batch) == 7
    did("list", "deep/")
    try:
        await direct.head_async("none")
    except FileNotFoundError:
        did("stat", "deep/none", None, 0, None, "404")
    await direct.delete_async("later")
    did("delete", "deep/later")
asyncio.run(main())
MemoryStore().put("x", b"in memory")
"""


ARROW = """
import pyarrow as pa
import pyarrow.fs as pf
import pyarrow.parquet as pq
host = os.environ["ENDPOINT"].partition("://")[2].partition("/")[0]
if place.startswith("az"):
    system = pf.AzureFileSystem(
        account_name=os.environ["AZURE_STORAGE_ACCOUNT_NAME"], account_key=os.environ["AZURE_STORAGE_ACCOUNT_KEY"],
        blob_storage_authority=host,
        dfs_storage_authority=host, blob_storage_scheme="http", dfs_storage_scheme="http",
    )
else:
    system = pf.S3FileSystem(endpoint_override=host, scheme="http", region="us-east-1")
root = place.partition("://")[2] + "/"
with system.open_output_stream(root + "x y") as file:
    file.write(b"0123456789" * 1000)
    file.write(b"q")
did("open", "x y")
did("write", "x y", 0, 10_000, 10_000)
did("write", "x y", 10_000, 1, 1)
did("close", "x y")
with system.open_input_file(root + "x y") as file:
    assert file.size() == 10_001
    file.seek(10)
    assert file.read(100) == b"0123456789" * 10
    assert file.read_at(5, 50) == b"01234"
    assert len(file.read_buffer(20)) == 20
    assert file.readinto(bytearray(30)) == 30
    assert len(file.read1(5)) == 5
    assert len(file.readall()) == 10_001 - 165
did("open", "x y")
for offset, size in ((10, 100), (50, 5), (110, 20), (130, 30), (160, 5), (165, 9836)):
    did("read", "x y", offset, size, size)
with system.open_input_stream(root + "x y") as stream:
    assert len(stream.read(7)) == 7
    assert len(stream.read()) == 9994
did("open", "x y")
did("read", "x y", 0, 7, 7)
did("read", "x y", 7, 9994, 9994)
below = pf.SubTreeFileSystem(root, system)
assert len(below.open_input_file("x y").read(3)) == 3
did("open", "x y")
did("read", "x y", 0, 3, 3)
assert [info.size for info in system.get_file_info([root + "x y", root + "none"])] == [10_001, None]
did("stat", "x y")
did("stat", "none", None, 0, None, "404")
assert len(system.get_file_info(pf.FileSelector(root.rstrip("/")))) == 1
did("list", "")
system.copy_file(root + "x y", root + "copy")
did("copy", "copy")
system.delete_file(root + "copy")
did("delete", "copy")
refused(lambda: system.open_input_file(root + "none"), "open", "none", None, 0, "404")
# What C++ writes to a file of Python's is known by its end; what it reads is not.
with system.open_output_stream(root + "t.parquet") as file:
    pq.write_table(pa.table({"a": range(1000)}), file)
    size = file.tell()
did("open", "t.parquet")
did("write", "t.parquet", 0, size, size)
did("close", "t.parquet")
with system.open_input_file(root + "t.parquet") as file:
    assert pq.ParquetFile(file).read().num_rows == 1000
did("open", "t.parquet")
assert pq.read_table(root + "t.parquet", filesystem=system).num_rows == 1000
did("stat", "t.parquet")
# Neither a file in memory nor a local one is an object.
assert pa.BufferReader(b"abc").read() == b"abc"
assert pf.LocalFileSystem().open_input_file(__file__).read(3)
"""


@pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
def test_every_call_of_arrow_s_file_systems_is_an_op(store, request, tmp_path):
    """Files and streams, each read with its place, file information, and what C++ did by itself is said."""
    there = {
        "ENDPOINT": request.getfixturevalue(f"{'s3' if store.startswith('s3') else 'azure'}_server"),
        "PLACE": store,
    }
    out, ops, trace = recorded(tmp_path, DID + ARROW + SAY, environment=there)
    assert done(ops, store) == told(out)
    assert {(op.level, op.attempts) for op in ops} == {("logical", None)}
    assert [what.partition(" ")[0] for what in trace.trailer.coverage["unseen_object_readers"]] == [
        "pyarrow's",
        "pyarrow.dataset",
    ]


S3DLIO = """
import s3dlio
root = place + "/"
body = b"0123456789" * 100
s3dlio.put_bytes(root + "x y", body)
did("write", "x y", 0, 1000, 1000)
s3dlio.put_many([(root + "set/00", bytes(1001)), (root + "set/01", bytes(1002)), (root + "set/02", bytes(1003))])
for number in range(3):
    did("write", f"set/{number:02}", 0, 1001 + number, 1001 + number)
assert s3dlio.get(root + "x y").to_bytes() == body
did("read", "x y", 0, 1000, 1000)
assert len(s3dlio.get_range(root + "x y", 10, 20)) == 20
did("read", "x y", 10, 20, 20)
assert len(s3dlio.get_range(root + "x y", 10)) == 990
did("read", "x y", 10, 990, 990)
assert {uri: len(data) for uri, data in s3dlio.get_many([root + "set/00", root + "set/01"])} == {root + "set/00": 1001, root + "set/01": 1002}
did("read", "set/00", 0, 1001, 1001)
did("read", "set/01", 0, 1002, 1002)
assert s3dlio.get_many_stats([root + "set/02"]) == (1, 1003)
did("read", "set/02", 0, 1003, 1003)
assert s3dlio.stat(root + "x y")["size"] == 1000
did("stat", "x y")
assert (s3dlio.exists(root + "x y"), s3dlio.exists(root + "none")) == (True, False)
did("stat", "x y")
did("stat", "none", None, 0, None, "404")
assert len(s3dlio.list(root + "set/")) == 3
did("list", "set/")
assert s3dlio.list_keys(root + "set/") == ["00", "01", "02"]
did("list", "set/")
refused(lambda: s3dlio.get(root + "none"), "read", "none", 0, 0, "404")
refused(lambda: s3dlio.get_range(root + "x y", 5000, 10), "read", "x y", 5000, 10, "416")
refused(lambda: s3dlio.stat(root + "none"), "stat", "none", None, 0, "404")

# A loader's items say which objects they are, also where it hands over their bodies alone, at once or later.
names = [item.uri for item in s3dlio.create_async_loader(root + "set/", {"batch_size": 2}).items()]
assert len(names) == 3
did("list", "set/")
for number in range(3):
    did("read", f"set/{number:02}", 0, 1001 + number, 1001 + number)
bodies = list(s3dlio.create_async_loader(root + "set/", {"batch_size": 2}))
assert sorted(map(len, bodies)) == [1001, 1002, 1003]
assert {type(body).__name__ for body in bodies} == {"BytesView"}
did("list", "set/")
for number in range(3):
    did("read", f"set/{number:02}", 0, 1001 + number, 1001 + number)

writer = s3dlio.MultipartUploadWriter.from_uri(root + "parts")
writer.write(bytes(6 << 20))
writer.close()
did("open", "parts")
did("write", "parts", 0, 6 << 20, 6 << 20)
did("close", "parts")
writer = s3dlio.create_s3_writer(root + "chunks")
writer.write_chunk(b"abc")
writer.write_chunk(b"de")
writer.finalize()
did("open", "chunks")
did("write", "chunks", 0, 3, 3)
did("write", "chunks", 3, 2, 2)
did("close", "chunks")

async def main():
    assert len(await s3dlio.get_async(root + "x y")) == 1000
    did("read", "x y", 0, 1000, 1000)
    assert await s3dlio.get_into_async(root + "x y", bytearray(1000), expected_len=1000) == 1000
    did("read", "x y", 0, 1000, 1000)
    dataset = s3dlio.create_dataset(root + "set/")
    assert len(dataset) == 3
    did("list", "set/")
    assert len(await dataset.get_item(1)) == 1002
    did("read", "set/01", 0, 1002, 1002)
    got = []
    async for batch in s3dlio.create_async_loader(root + "set/", {"batch_size": 2}):
        got.append([(type(body).__name__, len(body)) for body in batch])
    assert list(map(len, got)) == [2, 1]
    assert sorted(sum(got, [])) == [("BytesView", 1001), ("BytesView", 1002), ("BytesView", 1003)]
    did("list", "set/")
    for number in range(3):
        did("read", f"set/{number:02}", 0, 1001 + number, 1001 + number)
    # How large its batches are is not known of options of another kind: nor are the names.
    async for batch in s3dlio.create_async_loader(root + "set/"):
        for body in batch:
            did("read", "set/", None, len(body), len(body))
    did("list", "set/")
    await s3dlio.put_bytes_async(root + "later", bytes(10))
    did("write", "later", 0, 10, 10)
asyncio.run(main())
s3dlio.delete(root + "x y")
did("delete", "x y")
s3dlio.put_bytes("file://" + os.path.abspath("local"), b"a file")
"""


def test_every_call_of_s3dlio_is_an_op(s3, s3_server, tmp_path):
    """Functions at once and later, loaders, data sets and writers, failures: each object once, with its bytes."""
    out, ops, trace = recorded(tmp_path, DID + S3DLIO + SAY, environment={"PLACE": f"s3://{s3}"})
    assert done(ops, f"s3://{s3}") == told(out)
    assert {(op.layer, op.level, op.attempts) for op in ops} == {("s3", "logical", None)}
    assert trace.trailer.lost == 0


def done(ops, place):
    """What the ops say was done, as programs write it down."""
    return Counter((op.op, op.uri.removeprefix(place).lstrip("/"), op.offset, op.len, op.ret, op.err) for op in ops)


def told(out):
    """What a program wrote down."""
    return Counter(tuple(call) for call in json.loads(out.splitlines()[-1]))


@pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
def test_every_call_of_obstore_is_an_op(store, request, tmp_path):
    """Functions and methods, at once and later, bodies as they are read, open objects, failures: each once, with its bytes."""
    scheme = store.partition(":")[0]
    server = urlsplit(request.getfixturevalue("s3_server" if scheme == "s3" else "azure_server"))
    proxy = Proxy(server.port)
    with proxy.serving() as port:
        there = {"ENDPOINT": f"http://127.0.0.1:{port}{server.path}", "PLACE": store}
        out, ops, trace = recorded(tmp_path, DID + OBSTORE + SAY, environment=there)
    assert done(ops, store) == told(out)
    assert {(op.layer, op.level, op.attempts) for op in ops} == {(scheme, "logical", None)}
    assert all(op.t_submit <= op.t_complete for op in ops)
    assert trace.trailer.lost == 0
    gets = Counter(one.path.rpartition("/")[2] for one in proxy.passed if one.method == "GET")
    reads = Counter(op.uri.rpartition("/")[2] for op in ops if op.op == "read" and op.err != "ENOTSUP")
    assert (gets["x y"], gets["none"]) == (reads["x y"], reads["none"])


def test_a_call_that_failed_says_how_often_it_was_tried(s3_environment, tmp_path):
    """Retries of a client in Rust are in no op of their own: the op of the call has their number, and the status they met."""
    server = servers.RangeServer(bytes(10_000), lambda _: 503)
    program = """
        import os
        from datetime import timedelta
        from obstore.store import S3Store
        backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2}
        words = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 2, "backoff": backoff}}
        store = S3Store("bucket", endpoint=os.environ["AWS_ENDPOINT_URL"], **words)
        try:
            store.get_range("x", start=5, length=10)
        except Exception as error:
            print(type(error).__name__, flush=True)
        os._exit(0)
    """
    with server.serving() as endpoint:
        out, ops, _ = recorded(tmp_path, program, environment={"AWS_ENDPOINT_URL": endpoint})
    assert out == "GenericError\n"
    assert [(op.offset, op.len, op.ret, op.err, op.attempts) for op in ops] == [(5, 10, None, "503", 3)]
    assert server.gets == 3
