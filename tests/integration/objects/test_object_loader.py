"""The loader on real object stores: the same samples as from files, by ranged requests."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tracekit.errors import CannotRunError, InputError
from tracekit.storage import storage_for
from tracekit.workload.loader import create_async_loader

SIZES = [0, 1, 5000, 70_000, 300_000]
STORES = pytest.mark.parametrize("store", ["s3", "az"], indirect=True)


def _fill(store):
    storage = storage_for(store)
    bodies = {
        f"{store}/train/{index:02d}": np.random.default_rng(index).bytes(size) for index, size in enumerate(SIZES)
    }
    for uri, body in bodies.items():
        storage.write(uri, body)
    return bodies


@STORES
@pytest.mark.parametrize("reader", ["sequential", "range"])
def test_objects_come_whole_and_by_ranges(store, reader):
    """Every object below a prefix comes once with its bytes, in requests no larger than asked for."""
    bodies = _fill(store)
    options = {"batch_size": 2, "reader_mode": reader, "target_request_bytes": 65536, "shuffle": True}
    loader = create_async_loader(f"{store}/train/", options, metrics=True)
    assert {sample.uri: bytes(sample.data) for batch in loader for sample in batch} == bodies
    assert int(loader.trace().col("len").max()) == 65536
    assert loader.metrics().bytes == sum(SIZES)


@STORES
def test_an_object_beyond_the_cap_comes_in_pieces(store):
    """What does not fit is read when it is asked for, request by request."""
    bodies = _fill(store)
    options = {"num_workers": 1, "max_bytes_in_flight": 1 << 17, "target_request_bytes": 16384}
    (batch,) = create_async_loader(f"{store}/train", options)
    assert not batch[4].held
    assert {sample.uri: b"".join(map(bytes, sample.pieces())) for sample in batch} == bodies


@STORES
def test_what_is_not_there_is_one_sentence(store):
    """An empty prefix has nothing to read; an object that goes away is named."""
    with pytest.raises(InputError, match="there is nothing at"):
        create_async_loader(f"{store}/none")
    bodies = _fill(store)
    loader = create_async_loader(f"{store}/train", {"batch_size": 1})
    gone = sorted(bodies)[3]
    storage_for(store).delete(gone)
    with pytest.raises(CannotRunError, match=f"{gone} cannot be read: HTTP 404"):
        list(loader)


_PEAK = """
import sys
from tracekit.workload.loader import create_async_loader
cap = int(sys.argv[2])
loader = create_async_loader(sys.argv[1], {"batch_size": 1, "num_workers": 16, "prefetch": 4, "max_bytes_in_flight": cap,
    "reader_mode": "range"})
total = sum(sum(map(len, sample.pieces())) for batch in loader for sample in batch)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(total, peak * 1024 - cap)
"""


@STORES
def test_memory_stays_below_the_cap(store):
    """Small objects, large ones by many requests at once and one above the cap: a process peaks below the cap and 64 MiB."""
    cap = 64 << 20
    storage, sizes = storage_for(store), [1000] * 4 + [cap * 15 // 64] * 4 + [cap * 17 // 16]
    body = memoryview(np.random.default_rng(1).bytes(max(sizes)))
    for index, size in enumerate(sizes):
        storage.write(f"{store}/train/{index:02d}", body[:size])
    command = [sys.executable, "-c", _PEAK, f"{store}/train", str(cap)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    total, above = map(int, done.stdout.split())
    assert total == sum(sizes)
    assert above < 64 << 20


def test_the_environment_may_name_the_container(az, monkeypatch):
    """`az:///prefix` is in the container that AZURE_BLOB_CONTAINER names."""
    bodies = _fill(f"az://{az}")
    monkeypatch.setenv("AZURE_BLOB_CONTAINER", az)
    loader = create_async_loader("az:///train")
    assert {sample.uri: bytes(sample.data) for batch in loader for sample in batch} == bodies
