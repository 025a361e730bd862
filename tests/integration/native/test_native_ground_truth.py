"""The native recorder against strace, in one and the same run: every op on a data file, by whatever library."""

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_native, needs_strace, record  # see there
from workloads import LOADER, MODULES, PROGRAMS, TENSORFLOW, held_against_strace, make

from tracekit.uri import local_path

pytestmark = [needs_native, needs_strace]
# Where `make check-long` installs it; its dependencies do not go with the others.
TENSORFLOW_PYTHON = Path(sys.prefix) / "peers" / "tensorflow" / "bin" / "python"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_op_that_strace_sees_is_in_the_trace(tmp_path, name):
    """As multisets of (op, file, offset, asked, got) the two agree: nothing missing, nothing twice, children included."""
    if name in MODULES:
        pytest.importorskip(MODULES[name])
    data = tmp_path / "data"
    make(data)
    coverage, trace = held_against_strace(tmp_path, PROGRAMS[name], data)
    assert (coverage.missing, coverage.invented) == ({}, {})
    assert sum(coverage.truth.values()) >= 5
    assert trace.trailer.lost == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not TENSORFLOW_PYTHON.exists(), reason="TensorFlow could not be installed (make .venv/.peers)")
def test_tensorflow_reads_through_its_own_file_system(tmp_path):
    """TFRecord, read_file, text and fixed-length data sets of tf.data: every op, though Python opens none of the files."""
    data = tmp_path / "data"
    make(data)
    coverage, trace = held_against_strace(tmp_path, TENSORFLOW, data, str(TENSORFLOW_PYTHON))
    assert (coverage.missing, coverage.invented) == ({}, {})
    assert coverage.of("read")[0] > 100
    assert trace.trailer.lost == 0


@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_dataloader_reads_and_sample_ids(tmp_path, how):
    """Every read of a DataLoader's workers is there, with the sample, worker and epoch it was for."""
    data = tmp_path / "data"
    make(data)
    coverage, trace = held_against_strace(tmp_path, LOADER.replace("HOW", how), data)
    assert (coverage.missing, coverage.invented) == ({}, {})
    reads = [op for op in trace if op.op == "read" and "/data/s" in op.uri]
    assert len(reads) == 240
    assert all(op.sample_id == int(local_path(op.uri)[-3:]) for op in reads)
    assert {op.worker for op in reads} == {0, 1}
    assert Counter(op.epoch for op in reads) == {0: 120, 1: 120}
    assert all(op.step is not None and op.layer == "libc" for op in reads)


def test_names_that_are_hard(tmp_path):
    """Relative, deleted, renamed, non-UTF-8 and inherited files have the names they were opened by."""
    done, trace = record(
        tmp_path,
        """
        import os, subprocess, sys
        os.mkdir("sub"); open("sub/relative", "wb").write(b"x" * 10)
        os.chdir("sub"); fd = os.open("relative", os.O_RDONLY); os.read(fd, 3)
        os.chdir(".."); os.rename("sub/relative", "sub/renamed"); os.read(fd, 3); os.unlink("sub/renamed"); os.read(fd, 3)
        with open(os.fsencode("n") + bytes([0xff, 0xe9]), "wb") as f: f.write(b"y" * 7)
        open(os.fsencode("n") + bytes([0xff, 0xe9]), "rb").read()
        directory = os.open("sub", os.O_RDONLY); open("sub/under", "wb").write(b"z" * 5)
        os.read(os.open("under", os.O_RDONLY, dir_fd=directory), 5)
        subprocess.run([sys.executable, "-c", "import sys; sys.stdin.buffer.read()"], stdin=open("sub/under", "rb"))
        """,
    )
    assert done.returncode == 0, done.stderr
    reads = {
        (os.fsencode(os.path.relpath(local_path(op.uri), tmp_path)), op.offset, op.ret)
        for op in trace
        if op.op == "read"
    }
    assert {(b"sub/relative", 0, 3), (b"sub/relative", 3, 3), (b"sub/relative", 6, 3)} <= reads
    assert (b"n\xff\xe9", 0, 7) in reads
    assert (b"sub/under", 0, 5) in reads
    child = [
        op
        for op in trace
        if op.uri.endswith("/sub/under") and op.op == "read" and op.pid != trace.trailer.processes[0]["pid"]
    ]
    assert [(op.offset, op.ret) for op in child][:2] == [(0, 5), (5, 0)]
