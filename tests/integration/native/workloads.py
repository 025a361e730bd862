"""Programs that read files in every way that training jobs do, held against strace by the tests and by the benchmark.

Each program finds `root`, the directory of its data, and `path(name)`. What it needs beyond the standard library and NumPy
stands in MODULES.
"""

import gzip
import os
import sqlite3
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import strace_truth
from native_programs import TRACEKIT

from tracekit.trace import Trace

HEAD = "import os, sys\nroot = {root!r}\npath = lambda name: os.path.join(root, name)\n"


def make(data: Path) -> None:
    """The files that programs read; others they write themselves."""
    data.mkdir()
    rng = np.random.default_rng(1)
    (data / "plain.bin").write_bytes(rng.bytes(300_000))
    (data / "text.txt").write_text("a line of text\n" * 5000)
    with gzip.open(data / "text.gz", "wb") as file:
        file.write(rng.bytes(50_000))
    with zipfile.ZipFile(data / "a.zip", "w") as archive:
        archive.write(data / "plain.bin", "p")
        archive.write(data / "text.txt", "t")
    with tarfile.open(data / "a.tar.gz", "w:gz") as archive:
        archive.add(data / "plain.bin", "p")
    np.savez(data / "arrays.npz", a=np.arange(40_000), b=np.ones((30, 30)))
    np.save(data / "array.npy", np.arange(50_000))
    base = sqlite3.connect(data / "base.sqlite")
    base.execute("create table t(a, b)")
    base.executemany("insert into t values(?, ?)", [(i, os.urandom(50)) for i in range(3000)])
    base.commit()
    base.close()
    for index in range(60):
        (data / f"s{index:03}").write_bytes(rng.bytes(1000 + index))


PROGRAMS = {
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
    "python, both ends": """
        import os, shutil
        fd = os.open(path("plain.bin"), os.O_RDONLY)
        to = os.open(path("made"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.copy_file_range(fd, to, 5000); os.copy_file_range(fd, to, 4000, offset_src=100, offset_dst=9000); os.read(fd, 10)
        os.sendfile(to, fd, None, 3000); os.sendfile(to, fd, 77, 2000); os.read(fd, 20); os.write(to, b"x" * 30)
        left, right = os.pipe()
        os.splice(fd, right, 4096); os.splice(left, to, 4096, offset_dst=50); os.splice(fd, right, 100, offset_src=7); os.read(left, 100)
        os.pwrite(to, b"y" * 40, 12345); os.pwritev(to, [b"z" * 5, b"z" * 6], 20000); os.writev(to, [b"u" * 7, b"v"])
        os.lseek(to, -100, os.SEEK_END); os.read(to, 1000); os.ftruncate(to, 100); os.lseek(to, 0, os.SEEK_END); os.write(to, b"end")
        one, two = (os.open(path("appended"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | how) for how in (os.O_TRUNC, 0))
        for turn in range(6): os.write((one, two)[turn % 2], b"w" * (10 + turn))
        with open(path("appended"), "a") as f: f.write("more"); f.flush(); f.write("and more")
        shutil.copyfile(path("plain.bin"), path("copied")); shutil.copytree(root, root + "/../tree")
    """,
    "archives": """
        import gzip, tarfile, zipfile
        with zipfile.ZipFile(path("a.zip")) as z: [z.read(n) for n in z.namelist()]
        with tarfile.open(path("a.tar.gz")) as t: [t.extractfile(m).read() for m in t]
        with gzip.open(path("text.gz")) as f: f.read()
        with tarfile.open(path("a.tar.gz"), "r|gz") as t: [t.extractfile(m).read(1000) for m in t]
        with tarfile.open(path("made.tar"), "w") as t: t.add(path("plain.bin"), "p"); t.add(path("text.txt"), "t")
        with tarfile.open(path("made.tar")) as t: t.extractall(path("extracted"))
    """,
    "numpy": """
        import numpy as np
        np.load(path("array.npy")); np.fromfile(path("plain.bin"), np.uint8, count=1000, offset=64)
        with np.load(path("arrays.npz")) as z: [z[n] for n in z]
        np.load(path("array.npy"), mmap_mode="r")[7]
        np.loadtxt(path("text.txt"), dtype=str, max_rows=50)
        m = np.memmap(path("mapped"), np.float32, "w+", shape=(1000, 100)); m[:] = 3; m.flush()
        np.memmap(path("mapped"), np.float32, "r", offset=8192, shape=(100,)).sum()
        a = np.fromfile(path("plain.bin"), np.uint8); a.tofile(path("made.raw")); np.save(path("made.npy"), a)
    """,
    "sqlite3": """
        import sqlite3
        base = sqlite3.connect(path("base.sqlite")); print(base.execute("select sum(a), count(*) from t").fetchall()); base.close()
        base = sqlite3.connect(path("base.sqlite")); base.execute("pragma journal_mode=wal")
        with base: base.executemany("insert into t values(?, ?)", [(n, b"x" * 300) for n in range(500)])
        other = sqlite3.connect(path("base.sqlite")); print(other.execute("select count(*) from t").fetchall())
        base.execute("pragma wal_checkpoint(truncate)"); other.close(); base.close()
        base = sqlite3.connect(path("base.sqlite")); base.execute("pragma mmap_size=1000000"); print(base.execute("select sum(a) from t").fetchall())
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
        with h5py.File(path("made.h5"), "a") as f: f["more"] = b"text" * 1000; f["flat"][5:7] = 1
        with h5py.File(path("made.h5"), driver="core") as f: f["more"][()]
    """,
    "pyarrow": """
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as fe, pyarrow.dataset as ds
        t = pa.table({"a": np.arange(60_000), "b": np.random.rand(60_000)})
        pq.write_table(t, path("made.parquet"), row_group_size=5000); fe.write_feather(t, path("made.arrow"))
        pq.read_table(path("made.parquet"), columns=["b"]); fe.read_table(path("made.arrow"), memory_map=False)
        ds.dataset(path("made.parquet")).to_table(filter=ds.field("a") > 50_000)
        with pa.OSFile(path("made.stream"), "wb") as sink, pa.ipc.new_stream(sink, t.schema) as w: w.write_table(t, 1000)
        with pa.OSFile(path("made.stream"), "rb") as f: pa.ipc.open_stream(f).read_all()
        with pa.memory_map(path("made.arrow")) as f: pa.ipc.open_file(f).read_all()
        pq.write_to_dataset(t.append_column("p", pa.array(np.arange(60_000) // 20_000)), path("parts"), partition_cols=["p"])
        ds.dataset(path("parts"), partitioning="hive").to_table(filter=ds.field("p") == 1)
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
    "webdataset": """
        import webdataset as wds
        with wds.TarWriter(path("shard-0.tar")) as sink:
            for n in range(50): sink.write({"__key__": f"k{n:03}", "bin": bytes([n]) * 3000, "cls": n})
        print(sum(len(s["bin"]) for s in wds.WebDataset(path("shard-0.tar"), shardshuffle=False)))
    """,
}
MODULES = {name: name for name in ("h5py", "pyarrow", "PIL", "safetensors", "torch", "webdataset")}

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

TENSORFLOW = """
    import os
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    with tf.io.TFRecordWriter(path("made.tfrecord")) as sink:
        for n in range(300): sink.write(bytes([n % 256]) * 5000)
    records = tf.data.TFRecordDataset([path("made.tfrecord")]).shuffle(50).batch(8).prefetch(2)
    print(sum(int(tf.size(batch)) for batch in records))
    files = tf.data.Dataset.list_files(root + "/s*", shuffle=False).map(tf.io.read_file, num_parallel_calls=4)
    print(sum(len(text.numpy()) for text in files))
    for line in tf.data.TextLineDataset(path("text.txt")).take(3000): pass
    for block in tf.data.FixedLengthRecordDataset(path("plain.bin"), 1000, buffer_size=4096): pass
"""


def held_against_strace(
    directory: Path, program: str, data: Path, python: str = sys.executable
) -> tuple[strace_truth.Coverage, Trace]:
    """Record a program under strace: how the trace stands to strace's account of the same run for files below `data`.

    Raises:
        RuntimeError: The program failed; the text is what it said.
    """
    script, log, output = directory / "program.py", directory / "strace.log", directory / "trace.jsonl"
    script.write_text(HEAD.format(root=str(data)) + textwrap.dedent(program))
    done = subprocess.run(
        [*TRACEKIT, "record", "-o", str(output), "--force", "--engine", "native", "--",
         "strace", *strace_truth.OPTIONS, "-o", str(log), python, str(script)],
        cwd=directory, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    trace = Trace.read(output)
    return strace_truth.compare(strace_truth.ops(log, data), strace_truth.recorded(trace, data)), trace
