"""What the recorder writes, held against what strace sees the program do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from record_programs import run_recorded, strace_reads  # beside this file, which is no package

from tracekit.trace import Trace
from tracekit.uri import local_path

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is the ground truth and is not installed"
)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")

ZOO = """
import gzip, io, os, pathlib, sys, tarfile, threading, zipfile
import numpy as np
root = sys.argv[1]
path = lambda name: os.path.join(root, name)

for buffering in (-1, 0, 100, 70000):
    with open(path("plain.bin"), "rb", buffering) as f:
        f.read(10); f.seek(5000); f.read(20000); f.seek(-3, 2); f.read(); f.seek(0); f.readinto(bytearray(777)); f.read()
with open(path("plain.bin"), "r+b") as f:
    f.read(5); f.seek(9000); f.read(100)
with open(path("text.txt")) as f:
    f.readline(); f.readlines()
for line in open(path("text.txt"), encoding="utf-8", newline=""):
    pass
pathlib.Path(path("plain.bin")).read_bytes(); pathlib.Path(path("text.txt")).read_text()
with io.FileIO(path("plain.bin")) as f:
    f.read(3); f.readall(); f.read(1)
with open(os.fsencode(path("plain.bin")), "rb", opener=lambda name, flags: os.open(name, flags)) as f:
    f.read(8000)
fd = os.open(path("plain.bin"), os.O_RDONLY)
os.read(fd, 100); os.pread(fd, 50, 4000); os.lseek(fd, 300, 0); os.read(fd, 60)
buffers = [bytearray(10), bytearray(20)]
os.readv(fd, buffers); os.preadv(fd, buffers, 1000)
copy = os.dup(fd); os.read(copy, 11); os.dup2(copy, 60); os.read(60, 12); os.close(copy); os.close(60)
with os.fdopen(fd, "rb", closefd=False) as f:
    f.read(9)
os.close(fd)
directory = os.open(root, os.O_RDONLY); fd = os.open("plain.bin", os.O_RDONLY, dir_fd=directory); os.read(fd, 33)
os.close(fd); os.close(directory)
with zipfile.ZipFile(path("a.zip")) as archive:
    for name in archive.namelist(): archive.read(name)
with tarfile.open(path("a.tar.gz")) as archive:
    for member in archive: archive.extractfile(member).read()
with gzip.open(path("text.gz")) as f:
    f.read()
with np.load(path("arrays.npz")) as arrays:
    [arrays[name] for name in arrays]
def reader(number):
    with open(path("plain.bin"), "rb") as f:
        f.seek(number * 100); f.read(1000 + number)
threads = [threading.Thread(target=reader, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
pid = os.fork()
if pid == 0:
    with open(path("plain.bin"), "rb") as f: f.read(123)
    os._exit(0)
os.waitpid(pid, 0)
os.stat(path("plain.bin")); list(os.scandir(root)); os.listdir(root)
"""


@pytest.fixture
def zoo(tmp_path):
    """Data files of many kinds, and the program that reads them in every way Python has."""
    import gzip
    import tarfile
    import zipfile

    import numpy as np

    data = tmp_path / "data"
    data.mkdir()
    (data / "plain.bin").write_bytes(os.urandom(100_000))
    (data / "text.txt").write_text("a line\n" * 3000)
    with gzip.open(data / "text.gz", "wb") as file:
        file.write(os.urandom(30_000))
    with zipfile.ZipFile(data / "a.zip", "w") as archive:
        for name in ("plain.bin", "text.txt"):
            archive.write(data / name, name)
    with tarfile.open(data / "a.tar.gz", "w:gz") as archive:
        archive.add(data / "plain.bin", "plain.bin")
    np.savez(data / "arrays.npz", a=np.arange(9000), b=np.ones((30, 30)))
    np.save(data / "array.npy", np.arange(50_000))
    (data / "nöt-\udcff.bin").write_bytes(b"x" * 500)
    return data


def test_reader_zoo_matches_strace(tmp_path, zoo):
    """Every read of a data file that strace sees is in the trace once: asked, got; and with the offset it really had."""
    if shutil.which("strace") is None:
        pytest.skip("strace is the ground truth and is not installed")
    truth, trace = _both(tmp_path, ZOO, zoo)
    assert _recorded(trace, zoo) == truth
    assert sum(truth.values()) > 80
    content = (zoo / "plain.bin").stat().st_size
    for op in trace:
        if op.op == "read" and op.uri.endswith("plain.bin"):
            assert op.offset is not None
            assert op.ret == max(0, min(op.len, content - op.offset))


@needs_strace
def test_pread_offsets_match_strace(tmp_path, zoo):
    """The offsets of positioned reads are those strace saw."""
    program = """
        import os, sys
        fd = os.open(sys.argv[1] + "/plain.bin", os.O_RDONLY)
        for n in range(50):
            os.pread(fd, 100 + n, n * 991)
    """
    done, trace = run_recorded(tmp_path, program, str(zoo))
    assert done.returncode == 0, done.stderr
    assert [(op.offset, op.len) for op in trace if op.op == "read"] == [(n * 991, 100 + n) for n in range(50)]


def test_numpy_reads_are_seen_as_bytes(tmp_path, zoo):
    """np.load and np.fromfile, which read by C stdio, are one op each, with their true range in the file."""
    import numpy as np

    program = """
        import sys, numpy as np
        name = sys.argv[1] + "/array.npy"
        assert np.load(name)[7] == 7
        np.fromfile(name, np.uint8, count=1000, offset=64)
        with open(name, "rb") as file:
            file.seek(128)
            assert np.fromfile(file, np.int64, 10)[3] == 3
        view = np.load(name, mmap_mode="r"); view[5]
        np.save(sys.argv[1] + "/written.npy", np.arange(3000))
    """
    done, trace = run_recorded(tmp_path, program, str(zoo))
    assert done.returncode == 0, done.stderr
    ops = [op for op in trace if op.uri.endswith("array.npy")]
    ranges = [(op.offset, op.ret) for op in ops if op.op == "read"]
    for expected in ((128, 400_000), (64, 1000), (128, 80)):
        assert expected in ranges
    assert [(op.offset, op.len) for op in ops if op.op == "mmap"] == [(0, 400_128)]
    written = [(op.offset, op.ret) for op in trace if op.op == "write" and op.uri.endswith("written.npy")]
    assert sorted(written) == [(0, 128), (128, 24_000)]
    assert trace.trailer.coverage["mapped_bytes"] == 400_128
    assert trace.header.frameworks["numpy"] == np.__version__


def test_strange_names_keep_their_bytes(tmp_path, zoo):
    """A file name that is not UTF-8 comes back from the trace byte for byte."""
    program = """
        import os, sys
        for name in os.listdir(os.fsencode(sys.argv[1])):
            if b"\\xff" in name:
                open(os.path.join(os.fsencode(sys.argv[1]), name), "rb").read()
    """
    done, trace = run_recorded(tmp_path, program, str(zoo))
    assert done.returncode == 0, done.stderr
    assert {local_path(op.uri) for op in trace if op.op == "read"} == {str(zoo / "nöt-\udcff.bin")}


LOADER = """
import os, sys, torch
from torch.utils.data import DataLoader, Dataset, Subset

class Files(Dataset):
    def __init__(self, root):
        self.root, self.names = root, sorted(os.listdir(root))
    def __len__(self):
        return len(self.names)
    def __getitem__(self, index):
        with open(os.path.join(self.root, self.names[index]), "rb") as file:
            file.read(100); file.read()
        return index

if __name__ == "__main__":
    root, context, workers, persistent = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "persistent"
    more = dict(multiprocessing_context=context, persistent_workers=persistent) if workers else {}
    loader = DataLoader(Files(root), batch_size=5, shuffle=True, num_workers=workers, **more)
    for epoch in range(2):
        for batch in loader:
            print(epoch, *batch.tolist())
"""


@needs_torch
@pytest.mark.torch
@pytest.mark.parametrize(
    "how", [("fork", "2", "fresh"), ("spawn", "2", "fresh"), ("forkserver", "2", "persistent"), ("fork", "0", "fresh")]
)
def test_dataloader_ids_are_right(tmp_path, how):
    """Sample, step, epoch and worker of every read are the DataLoader's own, for every start method."""
    data = _numbered_files(tmp_path)
    done, trace = run_recorded(tmp_path, LOADER, str(data), *how)
    assert done.returncode == 0, done.stderr
    batches = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    served = {(epoch, sample): step for step, (epoch, *samples) in enumerate(batches) for sample in samples}
    reads = [op for op in trace if op.op == "read" and local_path(op.uri).startswith(str(data))]
    assert len(reads) == 2 * 23 * 3
    for op in reads:
        assert op.sample_id == int(Path(local_path(op.uri)).stem)
        assert op.step == served[op.epoch, op.sample_id]
    workers = {op.pid: {other.worker for other in reads if other.pid == op.pid} for op in reads}
    assert all(len(ids) == 1 for ids in workers.values())
    assert set().union(*workers.values()) == ({0, 1} if how[1] == "2" else {None})
    steps = [mark for mark in trace.marks if mark.mark == "step"]
    assert [(mark.step, mark.epoch) for mark in steps] == [(step, row[0]) for step, row in enumerate(batches)]
    compute = {mark.step: mark for mark in trace.marks if mark.mark == "compute"}
    assert all(mark.t <= compute[mark.step].t <= mark.t_end == compute[mark.step].t_end for mark in steps)


@needs_torch
@needs_strace
@pytest.mark.torch
@pytest.mark.parametrize(("context", "workers"), [("fork", "fresh"), ("spawn", "persistent")])
def test_dataloader_matches_strace(tmp_path, context, workers):
    """Every read strace sees a DataLoader's workers do on the data is in the trace, and nothing else."""
    data = _numbered_files(tmp_path)
    truth, trace = _both(tmp_path, LOADER, data, context, "2", workers)
    assert sum(truth.values()) == 2 * 23 * 3
    assert _recorded(trace, data) == truth


def _numbered_files(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(23):
        (data / f"{number:03}.bin").write_bytes(os.urandom(9000 + number))
    return data


def _both(tmp_path, program, data, *args):
    """What strace and the recorder see of one and the same run."""
    with tempfile.TemporaryDirectory() as traces:
        script = tmp_path / "program.py"
        script.write_text(program)
        output = tmp_path / "trace.jsonl"
        command = [
            sys.executable,
            "-m",
            "tracekit",
            "record",
            "-o",
            str(output),
            "--",
            sys.executable,
            str(script),
            str(data),
        ]
        calls = "trace=read,pread64,readv,preadv,preadv2"
        strace = ["strace", "-ff", "-y", "-ttt", "-e", calls, "-s", "8", "-o", f"{traces}/calls"]
        done = subprocess.run([*strace, *command, *args], cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        seen = strace_reads(Path(traces) / "calls", data)
    truth = Counter()
    for (name, _call, asked, got), count in seen.items():
        truth[name, asked, got] += count
    return truth, Trace.read(output)


def _recorded(trace, data):
    root = os.path.realpath(data)
    return Counter(
        (os.path.basename(local_path(op.uri)), op.len, op.ret)
        for op in trace
        if op.op == "read" and os.path.realpath(local_path(op.uri)).startswith(root + "/")
    )
