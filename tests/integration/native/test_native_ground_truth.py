"""The native recorder against strace, in one and the same run: every read of a data file, by whatever library."""

import importlib.util
import os
import re
import shutil
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import TRACEKIT, counted, needs_native, needs_strace, record  # see there

from tracekit.trace import Trace
from tracekit.uri import local_path

pytestmark = [needs_native, needs_strace]

MAKE = """
import gzip, os, sqlite3, tarfile, zipfile
from pathlib import Path
import numpy as np
def make(data):
    data.mkdir()
    rng = np.random.default_rng(1)
    (data / "plain.bin").write_bytes(rng.bytes(300_000))
    (data / "text.txt").write_text("a line of text\\n" * 5000)
    with gzip.open(data / "text.gz", "wb") as file: file.write(rng.bytes(50_000))
    with zipfile.ZipFile(data / "a.zip", "w") as archive: archive.write(data / "plain.bin", "p"); archive.write(data / "text.txt", "t")
    with tarfile.open(data / "a.tar.gz", "w:gz") as archive: archive.add(data / "plain.bin", "p")
    np.savez(data / "arrays.npz", a=np.arange(40_000), b=np.ones((30, 30)))
    np.save(data / "array.npy", np.arange(50_000))
    base = sqlite3.connect(data / "base.sqlite"); base.execute("create table t(a, b)")
    base.executemany("insert into t values(?, ?)", [(i, os.urandom(50)) for i in range(3000)]); base.commit(); base.close()
"""
exec(MAKE, globals())  # the function above, for this process

READERS = {
    "python": """
        import io, os
        for buffering in (-1, 0, 100, 70000):
            with open(path("plain.bin"), "rb", buffering) as f:
                f.read(10); f.seek(5000); f.read(20000); f.seek(-3, 2); f.read(); f.seek(0); f.readinto(bytearray(777)); f.read()
        for line in open(path("text.txt")): pass
        fd = os.open(path("plain.bin"), os.O_RDONLY); b = [bytearray(10), bytearray(20)]
        os.read(fd, 100); os.pread(fd, 50, 4000); os.lseek(fd, 300, 0); os.read(fd, 60); os.readv(fd, b); os.preadv(fd, b, 1000)
        copy = os.dup(fd); os.read(copy, 11); os.dup2(copy, 60); os.read(60, 12)
        sink = os.open(os.devnull, os.O_WRONLY); os.sendfile(sink, fd, 100, 5000)
    """,
    "archives": """
        import gzip, tarfile, zipfile
        with zipfile.ZipFile(path("a.zip")) as z: [z.read(n) for n in z.namelist()]
        with tarfile.open(path("a.tar.gz")) as t: [t.extractfile(m).read() for m in t]
        with gzip.open(path("text.gz")) as f: f.read()
    """,
    "numpy": """
        import numpy as np
        np.load(path("array.npy")); np.fromfile(path("plain.bin"), np.uint8, count=1000, offset=64)
        with np.load(path("arrays.npz")) as z: [z[n] for n in z]
        np.load(path("array.npy"), mmap_mode="r")[7]
        np.loadtxt(path("text.txt"), dtype=str, max_rows=50)
    """,
    "sqlite3": """
        import sqlite3
        base = sqlite3.connect(path("base.sqlite")); print(base.execute("select sum(a), count(*) from t").fetchall())
    """,
    "threads": """
        import threading
        def work(n):
            for turn in range(20):
                with open(path("plain.bin"), "rb") as f: f.seek(n * 100 + turn); f.read(1000 + n)
        for _ in range(3):
            ts = [threading.Thread(target=work, args=(n,)) for n in range(12)]
            [t.start() for t in ts]; [t.join() for t in ts]
    """,
    "h5py": """
        import h5py, numpy as np
        with h5py.File(path("made.h5"), "w") as f:
            f["flat"] = np.arange(100_000)
            f.create_dataset("chunked", data=np.arange(90_000).reshape(300, 300), chunks=(30, 30), compression="gzip")
        with h5py.File(path("made.h5")) as f:
            f["flat"][::7]; f["chunked"][10:200, 5]; f["flat"][-5:]
    """,
    "pyarrow": """
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as fe, pyarrow.dataset as ds
        t = pa.table({"a": np.arange(60_000), "b": np.random.rand(60_000)})
        pq.write_table(t, path("made.parquet"), row_group_size=5000); fe.write_feather(t, path("made.arrow"))
        pq.read_table(path("made.parquet"), columns=["b"]); fe.read_table(path("made.arrow"), memory_map=False)
        ds.dataset(path("made.parquet")).to_table(filter=ds.field("a") > 50_000)
    """,
    "PIL": """
        from PIL import Image
        for n in range(5): Image.new("RGB", (200, 100 + n), (n, 2, 3)).save(path(f"i{n}.png"))
        for n in range(5): Image.open(path(f"i{n}.png")).convert("L").load()
    """,
    "safetensors": """
        import numpy as np
        from safetensors.numpy import save_file, load_file
        save_file({"a": np.ones((300, 100), np.float32)}, path("made.safetensors")); load_file(path("made.safetensors"))
        from safetensors import safe_open
        with safe_open(path("made.safetensors"), "numpy") as f: f.get_tensor("a")
    """,
    "torch": """
        import torch
        torch.save({"w": torch.ones(50_000)}, path("made.pt")); torch.load(path("made.pt")); torch.load(path("made.pt"), mmap=True)
        torch.from_file(path("plain.bin"), size=1000, dtype=torch.uint8)
    """,
    "subprocess": """
        import subprocess, sys, os
        reader = "import sys; f = open(sys.argv[1], 'rb'); f.seek(7); f.read(5000)"
        for kind in ({}, {"env": {}}, {"preexec_fn": lambda: None}, {"close_fds": False}):
            subprocess.run([sys.executable, "-c", reader, path("plain.bin")], check=True, **kind)
        os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", reader, path("text.txt")])
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", reader, path("text.txt")], {}); os.waitpid(pid, 0)
        os.system(f"{sys.executable} -c \\"f = open('{path('text.txt')}'); f.read(10)\\"")
        if os.fork() == 0:
            os.execve(sys.executable, [sys.executable, "-c", reader, path("a.zip")], {})
        os.wait()
    """,
    "pools": """
        import multiprocessing as mp, sys
        sys.path.insert(0, root)
        if __name__ == "__main__": open(root + "/../pooled.py", "w").write("def read(a):\\n    with open(a[0], 'rb', a[1]) as f: f.seek(a[1]); return len(f.read(a[1] * 3))\\n")
        sys.path.insert(0, root + "/..")
        import pooled
        if __name__ == "__main__":
            for how in ("fork", "spawn", "forkserver"):
                pool = mp.get_context(how).Pool(2)
                pool.map(pooled.read, [(path("plain.bin"), n * 1000 + 500) for n in range(30)]); pool.terminate(); pool.join()
    """,
}
MODULES = {name: name for name in ("h5py", "pyarrow", "PIL", "safetensors", "torch")}
CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)\) += (-?\d+)(?:<.*>)?$")


def _strace(tmp_path: Path, program: str, data: Path):
    """(strace's reads below `data`, the trace of the same run)."""
    script = tmp_path / "program.py"
    head = f"import os, sys\nroot = {str(data)!r}\npath = lambda name: os.path.join(root, name)\n"
    script.write_text(head + textwrap.dedent(program))
    calls = "read,pread64,readv,preadv,preadv2,sendfile"
    import subprocess

    output = tmp_path / "trace.jsonl"
    done = subprocess.run(
        [*TRACEKIT, "record", "-o", str(output), "--force", "--engine", "native", "--", shutil.which("strace"), "-ff", "-y",
         "-s", "8", "-v", "-e", f"trace={calls}", "-o", str(tmp_path / "s"), sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return _truth(tmp_path, data), Trace.read(output)


def _truth(directory: Path, data: Path) -> Counter:
    seen: Counter = Counter()
    below = os.path.realpath(data) + "/"
    for file in directory.glob("s.*"):
        for line in file.read_text(errors="replace").splitlines():
            match = CALL.match(line)
            if match is None or int(match[3]) < 0:
                continue
            call, rest = match[1], match[2]
            names = re.findall(r"\d+<([^>]*)>", rest)
            name = names[1 if call == "sendfile" else 0] if names else ""
            if name.startswith(below):
                seen[(os.path.basename(name), _asked(call, rest), int(match[3]))] += 1
    return seen


def _asked(call: str, rest: str) -> int:
    if call in ("readv", "preadv", "preadv2"):
        return sum(int(size) for size in re.findall(r"iov_len=(\d+)", rest))
    return int(rest.split(", ")[-2 if call == "pread64" else -1])


@pytest.mark.parametrize("reader", READERS)
def test_every_read_that_strace_sees_is_in_the_trace(tmp_path, reader):
    """As multisets of (file, asked, got) the two agree entirely: nothing missing, nothing twice, children included."""
    if reader in MODULES:
        pytest.importorskip(MODULES[reader])
    data = tmp_path / "data"
    make(data)  # noqa: F821  # from MAKE
    truth, trace = _strace(tmp_path, READERS[reader], data)
    recorded = counted(trace, data)
    assert recorded == truth, (recorded - truth, truth - recorded)
    assert sum(truth.values()) >= 5 or any(op.op == "mmap" for op in trace)
    assert trace.trailer.lost == 0


LOADER = """
    import os, sys
    import torch
    from torch.utils.data import DataLoader, Dataset
    class Files(Dataset):
        def __init__(self): self.names = sorted(n for n in os.listdir(root) if n.startswith("s"))
        def __len__(self): return len(self.names)
        def __getitem__(self, index):
            with open(path(self.names[index]), "rb") as f: return len(f.read())
    if __name__ == "__main__":
        loader = DataLoader(Files(), batch_size=8, num_workers=2, shuffle=True, multiprocessing_context="HOW")
        for epoch in range(2):
            for batch in loader: pass
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_dataloader_reads_and_sample_ids(tmp_path, how):
    """Every read of a DataLoader's workers is there, with the sample, worker and epoch it was for."""
    data = tmp_path / "data"
    data.mkdir()
    for index in range(60):
        (data / f"s{index:03}").write_bytes(os.urandom(1000 + index))
    truth, trace = _strace(tmp_path, LOADER.replace("HOW", how), data)
    assert counted(trace, data) == truth
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
