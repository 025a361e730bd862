"""What a DLIO run asks of its files, beside what the real libraries ask of the same files, both as recorded."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tracekit import formats, itself
from tracekit.cli import main
from tracekit.workload import dlio, run
from tracekit.workload.dataset import create_dataset
from tracekit.workload.dlio.reading import reading
from tracekit.workload.drive import Listing, Plan
from tracekit.workload.readers import reader_of

PEERS = Path(sys.prefix) / "peers"
WORKLOAD = """\
framework: {framework}
workflow: {{generate_data: True, train: True}}
dataset: {{data_folder: none, format: {format}, num_files_train: 2, num_samples_per_file: {samples}, record_length_bytes: {size}, record_length_bytes_stdev: {stdev}{more}}}
reader: {{data_loader: {framework}, batch_size: 1, read_threads: 1{reader}}}
train: {{epochs: 1, computation_time: 0}}
"""
# name: format, samples of a file, bytes of a sample, its standard deviation, and more
CASES = {
    "npz": ("npz", 2, 150_000, 20_000, ""),
    "npz-small": ("npz", 1, 700, 0, ""),
    "npz-zip": ("npz", 2, 150_000, 20_000, ", compression: zip"),
    "npz-zip-noise": ("npz", 2, 400_000, 0, ", compression: zip"),
    "npy": ("npy", 2, 30_000, 4000, ""),
    "npy-small": ("npy", 1, 1000, 0, ""),
    "hdf5": ("hdf5", 3, 70_000, 0, ""),
    "hdf5-sieve": ("hdf5", 9, 10_000, 0, ""),
    "hdf5-chunks": ("hdf5", 3, 50_000, 0, ", enable_chunking: True, chunk_size: 20000"),
    "hdf5-gzip": ("hdf5", 3, 50_000, 0, ", compression: gzip"),
    "csv": ("csv", 2, 80_000, 0, ""),
    "jpeg": ("jpeg", 1, 200_000, 30_000, ""),
    "jpeg-small": ("jpeg", 1, 6000, 0, ""),
    "png": ("png", 1, 150_000, 20_000, ""),
    "png-small": ("png", 1, 3000, 0, ""),
    "indexed": ("indexed_binary", 3, 9000, 3000, ""),
    "indexed-many": ("indexed_binary", 700, 100, 0, ""),
    "parquet": ("parquet", 6, 20_000, 0, ", parquet: {row_group_size: 2}"),
}
# How well the content of a data set compresses, where it does.
RATIOS = {"npz-zip": "2.5"}
# What DLIO's readers do for each sample, in their order, with the libraries that they call.
READ = """
import sys
from pathlib import Path
import h5py, numpy as np, pandas as pd, pyarrow.parquet as pq
from PIL import Image

def sample(format, place, number):
    if format == "npz":
        np.load(place, allow_pickle=True)["x"][..., number]
    elif format == "npy":
        np.load(place)[..., number]
    elif format == "hdf5":
        with h5py.File(place, "r") as file:
            file["records"][number]
    elif format == "csv":
        pd.read_csv(place, compression="infer").to_numpy()[number]
    elif format in ("jpeg", "png"):
        np.asarray(Image.open(place))
    elif format == "indexed_binary":
        with open(place, "rb") as file:
            file.seek(index[place][0][number])
            file.readinto(np.empty(index[place][1][number], np.uint8))

def longs(place, count):
    found = np.empty(count, np.int64)
    with open(place, "rb") as file:
        file.readinto(found)
    return found

def groups(place, count):
    file, held = pq.ParquetFile(place), []
    ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)])
    for number in range(count):
        group = int(np.searchsorted(ends, number, side="right"))
        if group not in held:
            file.read_row_group(group)
            held.append(group)

for word in sys.argv[1:]:
    folder, format, count = word.split("=")
    places = sorted(str(path) for path in (Path(folder) / "train").iterdir() if path.suffix != ".idx")
    if format == "indexed_binary":
        index = {place: [longs(place + end, int(count)) for end in (".off.idx", ".sz.idx")] for place in places}
    for place in places:
        if format == "parquet":
            groups(place, int(count))
        else:
            for number in range(int(count)):
                sample(format, place, number)
"""
DRIVE = """
import sys
from pathlib import Path
import msgspec
from tracekit.workload import drive
for path in sys.argv[1:]:
    result = drive.run(msgspec.json.decode(Path(path).read_bytes(), type=drive.Plan))
    assert not result.error, result.error
"""


def _asked(trace):
    """By folder how often each request was made of each file, and how often each was opened."""
    reads, opens = {}, {}
    for op in formats.load(str(trace)):
        folder = op.uri.split("/train")[0].rpartition("/")[2]
        name = op.uri.rpartition("/")[2]
        if op.op == "read":
            reads.setdefault(folder, Counter())[name, op.offset, op.len] += 1
        elif op.op in {"open", "stat"}:
            opens.setdefault(folder, Counter())[name, op.op] += 1
    return reads, opens


def _recorded(root, name, words):
    trace = root / f"{name}.jsonl"
    command = [
        *itself.command("tracekit.cli"), "record", "-o", str(trace), "--include", str(root / "data" / "*"), "--", *words,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return _asked(trace)


def _written(root, name, kind, samples, size, stdev, more, framework="pytorch", reader=""):
    path = root / f"{name}.yaml"
    path.write_text(
        WORKLOAD.format(
            format=kind, samples=samples, size=size, stdev=stdev, more=more, framework=framework, reader=reader
        )
    )
    data = root / "data" / name
    assert main(["generate", str(path), "--data", str(data), "-q", "--compress-ratio", RATIOS.get(name, "1")]) == 0
    return str(path), str(data)


def _plan(root, name, path, data):
    """The plan of a run, as the verb draws it up before the recorder starts."""
    job, _ = dlio.load(path, (), data)
    train, _ = run.of_job(job)
    read = reading(job, train, None)
    plan = Plan(read.job, Listing.of(data, train), None, read.shape, reader=read.train)
    target = root / f"{name}.plan"
    target.write_bytes(msgspec.json.encode(plan))
    return str(target)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What our run and the real libraries asked of all data sets: (reads, opens) of each."""
    root = tmp_path_factory.mktemp("reading")
    plans, words = [], []
    for name, (kind, samples, *rest) in CASES.items():
        path, data = _written(root, name, kind, samples, *rest)
        plans.append(_plan(root, name, path, data))
        words.append(f"{data}={kind}={samples}")
    ours = _recorded(root, "ours", [sys.executable, "-c", DRIVE, *plans])
    return ours, _recorded(root, "theirs", [sys.executable, "-c", READ, *words])


@pytest.mark.parametrize("name", CASES)
def test_a_run_asks_what_the_real_reader_asks(name, asked):
    """Of every file each request is made as often as the library makes it that DLIO reads the format with: same bytes, same lengths."""
    (ours, _), (theirs, _) = asked
    assert sum(theirs[name].values()) > 0
    assert ours[name] == theirs[name]


@pytest.mark.parametrize("name", CASES)
def test_a_run_opens_and_looks_as_often(name, asked):
    """Every file is opened, and looked at before, as often as the real reader does it."""
    (_, ours), (_, theirs) = asked
    assert ours[name] == theirs[name]


@pytest.mark.parametrize("count", [250_000, 400_000])
def test_an_archive_that_was_not_looked_into_is_read_from_end_to_end(tmp_path, count):
    """It is taken for one that was, and may be shorter or longer: every byte is asked for all the same."""
    places = [str(tmp_path / name) for name in ("looked-into.npz", "other.npz")]
    for place, numbers in zip(places, (300_000, count), strict=True):
        np.savez_compressed(place, x=np.random.default_rng(numbers).integers(0, 16, numbers, dtype=np.uint8))
    looked, other = (Path(place).stat().st_size for place in places)
    reached = 0
    for offset, length in sorted(reader_of("npz", 1, places[:1], [looked]).requests(0, other, 0)):
        assert offset <= reached
        reached = max(reached, offset + length)
    assert reached >= other


def test_the_verb_reads_as_dlio_does(tmp_path, capsys):
    """`tracekit run` of a workload file makes the requests of DLIO's reader, for evaluation too, and says so; options that ask for others win."""
    path, data = _written(tmp_path, "npz", "npz", 2, 40_000, 0, ", num_files_eval: 2")
    trace = tmp_path / "run.jsonl"
    words = [
        "run",
        path,
        "--data",
        data,
        "-o",
        str(trace),
        "++workflow.evaluation=True",
        "--output",
        str(tmp_path / "r"),
    ]
    assert main(words) == 0
    assert "files are read as DLIO's reader of npz reads them" in capsys.readouterr().err
    found = Counter(op.uri.split("/")[-2] for op in formats.load(str(trace)) if op.op == "read")
    for split in ("train", "valid"):
        folder = create_dataset(f"{data}/{split}")
        wanted = list(reader_of("npz", 2, folder.places, folder.sizes).requests(0, int(folder.sizes[0]), 0))
        assert found[split] == len(wanted) * 4
    assert main([*words, "--force", "-O", "target_request_bytes=16KiB", "-O", "reader_mode=range"]) == 0
    assert "loader's own requests, as reader_mode was asked for" in capsys.readouterr().err
    assert {op.len for op in formats.load(str(trace)) if op.op == "read"} <= set(range(1, 16385))


TENSORFLOW = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
files, buffer, samples = sys.argv[3:], int(sys.argv[1]), int(sys.argv[2])
names = tf.data.Dataset.list_files(files, shuffle=False)
data = tf.data.TFRecordDataset(filenames=names, buffer_size=buffer or None, num_parallel_reads=2)
for _ in data.batch(1, drop_remainder=True).repeat().take(samples).prefetch(2):
    pass
"""


@pytest.mark.long
@pytest.mark.parametrize("transfer", [0, 50_000])
def test_tfrecord_is_read_as_tensorflow_reads_it(transfer, tmp_path):
    """Shards are read by the requests of `tf.data.TFRecordDataset` with the file's `transfer_size`, to the one that finds nothing."""
    python = PEERS / "tensorflow" / "bin" / "python"
    assert python.exists(), "make .venv/.peers"
    reader = f", transfer_size: {transfer}" if transfer else ""
    path, data = _written(tmp_path, "tf", "tfrecord", 4, 120_000, 9000, "", "tensorflow", reader)
    ours, _ = _recorded(tmp_path, "ours", [sys.executable, "-c", DRIVE, _plan(tmp_path, "tf", path, data)])
    files = sorted(str(place) for place in Path(data, "train").glob("*.tfrecord"))
    theirs, _ = _recorded(tmp_path, "theirs", [str(python), "-c", TENSORFLOW, str(transfer), "8", *files])
    assert ours["tf"] == theirs["tf"]
