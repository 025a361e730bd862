"""Data sets made straight on object stores: the same bytes as on files, resumed, large ones in parts."""

import json
from dataclasses import replace

import pytest

from tracekit.cli import main
from tracekit.storage import Access, Buffer, storage_for
from tracekit.uri import file_uri
from tracekit.workload.datagen import generate, survey
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet

STORES = pytest.mark.parametrize("store", ["s3", "az"], indirect=True)


def read(uri):
    """All bytes of a place."""
    storage = storage_for(uri)
    place = storage.resolve(uri)
    size = storage.stat(place)
    handle = storage.open(place, Access())
    buffer = Buffer(size)
    count = handle.pread(buffer, size, 0)
    handle.close()
    return bytes(buffer.view[:count])


@STORES
@pytest.mark.parametrize("fmt", ["npz", "tfrecord", "hdf5", "parquet"])
def test_objects_hold_the_bytes_that_files_do(store, fmt, tmp_path):
    """A data set on a store is the one on files, indices included; what is there is left."""
    data = DataSet(
        f"{store}/made/{fmt}", fmt, files_train=3, samples_per_file=4, record_bytes=Distribution.fixed(50_000)
    )
    generate(survey(data, 9))
    generate(survey(replace(data, uri=file_uri(tmp_path)), 9))
    names = sorted(
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    assert len(names) == (6 if fmt == "tfrecord" else 3)
    for name in names:
        assert read(f"{data.uri}/{name}") == (tmp_path / name).read_bytes()
    assert survey(data, 9).missing == []
    storage_for(data.uri).delete(f"{data.uri}/{names[-1]}")
    assert [plan.name for plan in survey(data, 9).missing] == [names[-1]]


@STORES
def test_a_large_object_goes_up_in_parts_by_two_processes(store, tmp_path):
    """24 MiB objects are uploads of several parts, made in one buffer: every byte arrives as it is on files."""
    data = DataSet(f"{store}/large", "npy", files_train=2, record_bytes=Distribution.fixed(24 << 20))
    generate(survey(data, 9), 2)
    generate(survey(replace(data, uri=file_uri(tmp_path)), 9))
    for path in (tmp_path / "train").iterdir():
        assert read(f"{data.uri}/train/{path.name}") == path.read_bytes()


@STORES
def test_a_data_set_on_a_store_is_verified(store, capsys):
    """`--verify` reads every object and holds it against what was made: one changed byte is named with its place, a missing object too."""
    words = ["generate", "minimal", "-q", "--data", f"{store}/v", "++dataset.num_files_train=3"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--verify", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    there = list(storage_for(store).walk(f"{store}/v"))
    assert (told["files"], told["verified_bytes"]) == (3, sum(size for _, size in there))
    place, size = there[1]
    body = bytearray(read(place))
    body[size // 2] ^= 1
    storage_for(store).write(place, bytes(body))
    assert main([*words, "--verify"]) == 2
    assert f"{place} does not hold at byte {size // 2} what" in capsys.readouterr().err
    storage_for(store).delete(place)
    assert main([*words, "--verify"]) == 2
    assert "1 of 3 files are missing" in capsys.readouterr().err
