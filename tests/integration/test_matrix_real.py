"""The cache matrix on real files: replays that are what they say they are, and one that is not."""

import json
import os

import numpy as np
import pytest

from harness import cli
from tracekit import formats
from tracekit.storage import direct, restore
from tracekit.trace import Header, Op, Trace, Trailer
from tracekit.uri import file_uri

pytestmark = pytest.mark.serial

MIB = 1 << 20
FILES, FILE_BYTES, READ = 6, 4 * MIB, 128 * 1024


@pytest.fixture
def place(tmp_path):
    """Six files of 4 MiB on a file system with O_DIRECT, and a recording that reads every fourth stretch of them."""
    folder = tmp_path / "data"
    folder.mkdir()
    ops = []
    for name in range(FILES):
        path = folder / f"{name}.bin"
        with path.open("wb") as file:
            file.write(os.urandom(FILE_BYTES))
            os.fsync(file.fileno())
        begin = name * 40_000_000
        for number, offset in enumerate(range(0, FILE_BYTES, 4 * READ)):
            at = begin + number * 1_000_000
            ops.append(Op(file_uri(path), offset, READ, at, t_complete=at + 90_000, ret=READ, pid=1, tid=1))
    if restore.look(str(folder / "0.bin")) is None:
        pytest.skip("this kernel does not tell which pages are cached")
    handle = direct.open_direct(str(folder / "0.bin"))
    if handle is None:
        pytest.skip("the file system of the temporary directory has no O_DIRECT")
    handle.close()
    trace = Trace.of(ops, header=Header(producer={"verb": "record"}), trailer=Trailer(ops=len(ops)))
    formats.save(trace, tmp_path / "train.jsonl")
    return tmp_path


@pytest.mark.pages
def test_real_replays_are_what_they_say_and_a_fake_is_not(place, capsys):
    """Every cell asks for the same, starts as it should, and direct leaves nothing behind; a warm run that calls itself direct fails."""
    words = ["matrix", "train.jsonl", "--runs", "2", "-o", "cells", "--json", "m.json", "--force"]
    assert cli.main(words) in {0, 3}, capsys.readouterr().out
    summary = json.loads((place / "m.json").read_text())
    found = {criterion["id"]: criterion["verdict"] for criterion in summary["criteria"]}
    for name in ("buffered", "cold", "random", "sequential", "direct"):
        assert found[f"intent.{name}"] == "PASS", summary
        assert found[f"start.{name}"] == "PASS", summary
    assert found["direct.files"] == found["direct.leaves"] == found["ahead.random"] == "PASS"
    # How fast the storage is against memory is the machine's business, and others use it meanwhile.
    assert found["slower.cold"] in {"PASS", "INCONCLUSIVE"}
    assert found["slower.direct"] in {"PASS", "INCONCLUSIVE"}
    assert {cell["name"]: cell["median_asked"] for cell in summary["candidates"]}[
        "cold"
    ] == FILES * FILE_BYTES / 4 / 4096
    _fake_is_found(place)


def _fake_is_found(place):
    """The buffered replay under the name of a direct one: caught by what it left in the page cache, whatever its times."""
    given = [f"{name}=cells/{name}.1.jsonl" for name in ("buffered", "cold")] + ["direct=cells/buffered.1.jsonl"]
    words = ["matrix", "train.jsonl", "--json", "fake.json", "--force"]
    assert cli.main([*words, *(word for pair in given for word in ("--cell", pair))]) == 1
    summary = json.loads((place / "fake.json").read_text())
    failed = {criterion["id"] for criterion in summary["criteria"] if criterion["verdict"] == "FAIL"}
    assert {"start.direct", "direct.files"} <= failed


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no file system in memory here")
def test_a_file_system_in_memory_is_never_cold(tmp_path, capsys):
    """Its pages are always resident, so a cold cell fails; it refuses O_DIRECT, so there is no direct one, and why is said."""
    path = f"/dev/shm/tracekit-matrix-{os.getpid()}.bin"
    with open(path, "wb") as file:
        file.write(np.zeros(MIB, np.uint8).tobytes())
    try:
        ops = [
            Op(file_uri(path), n * 4096, 4096, n * 100_000, t_complete=n * 100_000 + 9, ret=4096, pid=1, tid=1)
            for n in range(64)
        ]
        formats.save(Trace.of(ops, trailer=Trailer(ops=64)), tmp_path / "t.jsonl")
        status = cli.main(["matrix", "t.jsonl", "--runs", "1", "--only", "buffered,cold,direct", "--json", "m.json"])
        summary = json.loads((tmp_path / "m.json").read_text())
        found = {criterion["id"]: criterion["verdict"] for criterion in summary["criteria"]}
        assert status == 1, capsys.readouterr().out
        assert (found["start.buffered"], found["start.cold"], found["slower.direct"]) == ("PASS", "FAIL", "N/A")
        assert any(
            "there is no direct cell: " in note and "in a file system in memory" in note for note in summary["notes"]
        )
    finally:
        os.unlink(path)
