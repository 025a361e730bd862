"""The loader under PyTorch, TensorFlow and grain: every sample once, in their own processes and threads."""

import pickle
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tracekit.errors import InputError
from tracekit.workload.adapters import Samples, shared, torch_stream
from tracekit.workload.options import LoaderOptions

PEERS = Path(sys.prefix) / "peers"


@pytest.fixture
def data(tmp_path):
    """Twenty-one files, each with its own content."""
    (tmp_path / "data").mkdir()
    for index in range(21):
        (tmp_path / "data" / f"{index:02d}").write_bytes(bytes([index]) * (1000 + index))
    return str(tmp_path / "data")


EXPECTED = [bytes([index]) * (1000 + index) for index in range(21)]


def test_samples_are_had_by_number(data):
    """One, several, the last by -1; a number beyond is an IndexError, as frameworks expect."""
    samples = Samples(data, {"target_request_bytes": 512})
    assert len(samples) == 21
    assert samples[3] == EXPECTED[3]
    assert samples[-1] == EXPECTED[-1]
    assert samples.__getitems__([5, 2, 5]) == [EXPECTED[5], EXPECTED[2], EXPECTED[5]]
    with pytest.raises(IndexError, match="there is no sample 21 among 21"):
        samples[21]
    again = pickle.loads(pickle.dumps(samples))
    assert again[0] == EXPECTED[0]
    assert Samples(data, convert=len)[4] == 1004


def test_workers_share_a_rank_s_share():
    """Ranks times workers are shards of one order, none read twice."""
    options = LoaderOptions(shard_rank=1, shard_world_size=2)
    assert [(o.shard_rank, o.shard_world_size) for o in (shared(options, w, 3) for w in range(3))] == [
        (3, 6),
        (4, 6),
        (5, 6),
    ]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("workers", "method"), [(0, None), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.long)]
)
def test_a_dataloader_reads_by_number(data, workers, method):
    """A DataLoader over `Samples` gives every file once, also from worker processes."""
    from torch.utils.data import DataLoader

    loader = DataLoader(Samples(data), batch_size=4, shuffle=True, num_workers=workers, collate_fn=list, multiprocessing_context=method)  # fmt: skip
    assert sorted(sample for batch in loader for sample in batch) == EXPECTED


@pytest.mark.torch
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_streams(data, workers):
    """The iterable data set gives every file once in each pass, batches in the loader's order, another order in each epoch."""
    from torch.utils.data import DataLoader

    stream = torch_stream(data, {"batch_size": 4, "shuffle": True, "num_workers": 1})
    orders = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        batches = list(DataLoader(stream, batch_size=None, num_workers=workers))
        assert sorted(sample for batch in batches for sample in batch) == EXPECTED
        assert max(map(len, batches)) == 4
        orders.append([sample for batch in batches for sample in batch])
    assert orders[0] != orders[1]


TF = """
import tensorflow as tf
from tracekit.workload.adapters import tf_dataset
dataset = tf_dataset(DATA, {"batch_size": 4, "shuffle": True})
for _ in range(2):
    found = [bytes(sample) for batch in dataset.prefetch(2) for sample in batch.numpy()]
    print(len(found), len(set(found)), min(map(len, found)), sum(map(len, found)))
"""
GRAIN = """
import grain.python as grain
from absl import flags
from tracekit.workload.adapters import Samples
flags.FLAGS.mark_as_parsed()
source = Samples(DATA)
sampler = grain.IndexSampler(len(source), grain.ShardOptions(0, 1), shuffle=True, num_epochs=2, seed=1)
found = list(grain.DataLoader(data_source=source, sampler=sampler, worker_count=WORKERS))
for part in (found[:21], found[21:]):
    print(len(part), len(set(part)), min(map(len, part)), sum(map(len, part)))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("framework", "program"),
    [("tensorflow", TF), ("jax", GRAIN.replace("WORKERS", "0")), ("jax", GRAIN.replace("WORKERS", "2"))],
)
def test_other_frameworks_read_every_sample_once(data, tmp_path, framework, program):
    """tf.data and grain, in their own interpreters, get all files once in each of two passes."""
    python = PEERS / framework / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{framework} is not installed here (make .goldens)")
    # What tracekit needs comes after what the framework brought.
    head = f"import sys\nsys.path.append({sysconfig.get_paths()['purelib']!r})\nDATA = {data!r}\n"
    # Worker processes that are spawned import the program.
    path = tmp_path / "program.py"
    path.write_text(
        head + "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in program.strip().splitlines())
    )
    done = subprocess.run([python, str(path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["21 21 1000 21210"] * 2


def test_a_place_that_is_not_there_is_said_at_once():
    """The data set is listed when it is made, not in some worker later."""
    with pytest.raises(InputError, match="there is nothing at"):
        Samples("nothing")
