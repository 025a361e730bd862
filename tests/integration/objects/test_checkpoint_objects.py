"""Checkpoints on object stores: written in parts, read back, verified."""

import pytest

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
