"""PyTorch loaders of every shape: what they yield is unchanged, and what is recorded about them is true."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import itertools

from record_programs import TRACEKIT  # beside this file, which is no package

from tracekit.trace import Trace
from tracekit.uri import local_path

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
]

PROGRAM = """
import json, os, sys, torch
from torch.utils.data import *

def read(index):
    with open(f"data/{int(index):03}.bin", "rb", 0) as file:
        return len(file.read(50))

class Files(Dataset):
    def __len__(self): return 12
    def __getitem__(self, index):
        if isinstance(index, list): return [self[i] for i in index]
        assert (get_worker_info() is None) == (loaders[name].num_workers == 0)
        assert get_worker_info() is None or type(get_worker_info().dataset).__module__ != "_tracekit_torch_hooks"
        read(index)
        return int(index)

class Batches(Files):
    def __getitems__(self, indices):
        return [self[index] for index in indices]

class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        for index in range(info.id if info else 0, 12, info.num_workers if info else 1):
            read(index)
            yield index

class Broken(Files):
    def __getitem__(self, index):
        if index == 5: raise KeyError("five")
        return super().__getitem__(index)

torch.manual_seed(4)
loaders = dict(
    subset=DataLoader(Subset(Files(), [7, 3, 9, 1]), batch_size=2, num_workers=1),
    batches=DataLoader(Batches(), batch_size=3),
    single=DataLoader(Batches(), batch_size=1),
    stream=DataLoader(Stream(), batch_size=2, num_workers=2),
    plain_stream=DataLoader(Stream(), batch_size=5),
    no_collation=DataLoader(Files(), batch_size=None, num_workers=1),
    lists=DataLoader(Files(), batch_size=None, sampler=BatchSampler(SequentialSampler(Files()), 4, False)),
    weighted=DataLoader(Files(), batch_size=4, sampler=WeightedRandomSampler(torch.ones(12), 8)),
    broken=DataLoader(Broken(), batch_size=2, num_workers=1),
)
out = {}
for name, loader in loaders.items():
    rows = out[name] = []
    try:
        for batch in loader:
            rows.append(batch.tolist() if hasattr(batch, "tolist") else [int(b) for b in batch] if isinstance(batch, list) else batch)
    except KeyError as error:
        rows.append("KeyError" + str("five" in str(error)))
name = "subset"
iterator = iter(loaders["subset"]); next(iterator); del iterator
pair = [[a.tolist(), b.tolist()] for a, b in zip(loaders["subset"], loaders["subset"])]
out["length"] = [len(loaders["subset"]), pair, torch.initial_seed()]
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What the program prints without us and with us, and the trace."""
    directory = tmp_path_factory.mktemp("loaders")
    (directory / "data").mkdir()
    for index in range(12):
        (directory / f"data/{index:03}.bin").write_bytes(b"x" * 100)
    (directory / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py"]
    rest = {"cwd": directory, "capture_output": True, "text": True, "timeout": 200}
    plain = subprocess.run(command, **rest)
    recorded = subprocess.run([*TRACEKIT, "record", "-o", "t.jsonl", "--", *command], **rest)
    assert plain.returncode == 0, plain.stderr
    assert recorded.returncode == 0, recorded.stderr
    return json.loads(plain.stdout), json.loads(recorded.stdout), Trace.read(directory / "t.jsonl")


def _segments(both):
    """The reads of each loader of the program, found by its steps: name -> ops."""
    plain, _, trace = both
    reads = [op for op in trace if op.op == "read" and "/data/" in op.uri]
    first, segments = 0, {}
    for name, rows in plain.items():
        if name == "length":
            break
        count = len([row for row in rows if not str(row).startswith("KeyError")])
        segments[name] = [op for op in reads if op.step is not None and first <= op.step < first + count]
        first += count
    return segments


def _index(op):
    return int(Path(local_path(op.uri)).stem)


def test_loaders_yield_the_same(both):
    """Batches, their order, errors and random state are those of an unrecorded run."""
    plain, recorded, _ = both
    assert recorded == plain


def test_subset_samples_are_the_samplers(both):
    """In a Subset the sample is the sampler's index, not the index of the data set below."""
    order = [7, 3, 9, 1]
    ops = _segments(both)["subset"]
    assert sorted((op.sample_id, _index(op)) for op in ops) == list(enumerate(order))
    assert {op.worker for op in ops} == {0}


def test_datasets_that_fetch_batches_have_steps_but_no_sample(both):
    """With __getitems__ of its own a data set reads for several samples at once; with one sample it is that one."""
    segments = _segments(both)
    assert [op.sample_id for op in segments["batches"]] == [None] * 12
    assert len({op.step for op in segments["batches"]}) == 4
    assert [op.sample_id for op in segments["single"]] == list(range(12))


def test_streams_have_steps_and_workers_but_no_sample(both):
    """An IterableDataset's reads carry step and worker; nobody gave it an index."""
    ops = _segments(both)["stream"]
    assert {op.sample_id for op in ops} == {None}
    assert {(op.worker, _index(op) % 2) for op in ops} == {(0, 0), (1, 1)}
    plain, _, _ = both
    first = min(op.step for op in ops)
    batches = [[_index(op) for op in ops if op.step == first + number] for number in range(len(plain["stream"]))]
    assert batches == plain["stream"]


def test_without_collation_each_item_is_a_step(both):
    """With batch_size=None a step is one item; a list as index means several samples."""
    segments = _segments(both)
    assert [op.sample_id for op in segments["no_collation"]] == [_index(op) for op in segments["no_collation"]]
    assert {op.sample_id for op in segments["lists"]} == {None}


def test_samplers_of_tensors_and_duplicates_are_plain_indices(both):
    """An index that comes as a tensor or twice is the integer it stands for."""
    plain, _, _ = both
    ops = _segments(both)["weighted"]
    assert [op.sample_id for op in ops] == [index for row in plain["weighted"] for index in row]


def test_marks_are_one_per_batch_and_in_order(both):
    """There are as many steps as batches were handed over, they do not overlap within a loop, and all end."""
    plain, _, trace = both
    handed = sum(
        len([row for row in rows if not str(row).startswith("KeyError")]) for n, rows in plain.items() if n != "length"
    )
    steps = [mark for mark in trace.marks if mark.mark == "step"]
    assert len(steps) == handed + 1 + 4
    assert sorted(mark.step for mark in steps) == list(range(len(steps)))
    alone = steps[:handed]
    assert all(mark.t_end is not None for mark in steps)
    assert all(before.t_end <= after.t for before, after in itertools.pairwise(alone))
