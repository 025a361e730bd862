"""Checkpoints on object stores: written in parts, read back, verified."""

import json

import pytest

from tracekit.cli import main
from tracekit.errors import InputError
from tracekit.storage import storage_for
from tracekit.workload.checkpoint import drive, load
from tracekit.workload.job import Checkpoint


@pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
def test_checkpoints_of_two_ranks_come_back_and_damage_is_found(store):
    """20 MiB per rank go up in parts and come back as they were; an object that was changed is named."""
    settings = {"model": {"model_size_bytes": 20 << 20}, "type": "all_ranks", "zstd": None}
    checkpoint = Checkpoint(f"{store}/checkpoints", settings=settings)
    moved = drive(checkpoint, 2, 1, 1)
    assert sum(one.bytes for one in moved if one.what == "read") == 2 * 20 << 20
    place = f"{store}/checkpoints/global_epoch1_step1/model_states-1.pt"
    storage_for(place).write(place, bytes(20 << 20))
    with pytest.raises(InputError, match="does not hold at byte 0"):
        load(checkpoint, 1, 1, ranks=2)


@pytest.mark.parametrize("store", ["s3", "az"], indirect=True)
def test_a_run_writes_them_to_a_store_and_reads_them_back(store, tmp_path, capsys):
    """A training on files keeps its checkpoints in an object store, and reads the last one back from there."""
    words = [
        "++dataset.num_files_train=4", "++dataset.record_length_bytes=500", "++reader.batch_size=2", "++train.computation_time=0",
        "++workflow.checkpoint=True", "++model.model_size_bytes=300000", "++checkpoint.num_checkpoints_read=1",
    ]  # fmt: skip
    assert main(["generate", "minimal", "-q", "--data", str(tmp_path), *words]) == 0
    capsys.readouterr()
    place = f"{store}/run"
    assert (
        main(["run", "minimal", "-q", "--data", str(tmp_path), "--checkpoint", place, "--format", "json", *words]) == 0
    )
    told = json.loads(capsys.readouterr().out)["checkpoints"]
    assert (told["write"]["bytes"], told["read"]["bytes"]) == (300_000 * told["write"]["checkpoints"], 300_000)
    there = list(storage_for(place).walk(place))
    assert [size for _, size in there] == [300_000] * told["write"]["checkpoints"] != []
