"""How many bytes an op takes in each format: `python tests/bench/bench_size.py`.

Four programs are recorded with the native engine as they run: a loop of reads, a DataLoader with two workers in blocks of
8 KiB, random rows of a chunked HDF5 data set, whole files and ranges through NumPy. Whole recordings count: header, trailer,
every column. Rates are of CPU time, of writing what is in memory and of reading all of it. With names of files as arguments, these are
read (other tools' too) and written in each format instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

SETUP = """
import h5py, numpy as np, os
chance = np.random.default_rng(1)
os.mkdir("files")
for number in range(2000):
    with open(f"files/{number}.bin", "wb") as file: file.write(chance.bytes(int(chance.integers(20_000, 200_000))))
with h5py.File("h.h5", "w") as file:
    file.create_dataset("x", data=chance.random((20000, 256)).astype("f4"), chunks=(16, 256))
with open("data.bin", "wb") as file: file.write(bytes(1 << 20))
"""
PROGRAMS = {
    "loop of os.pread": """
import os
fd = os.open("data.bin", os.O_RDONLY)
for number in range(400_000): os.pread(fd, 4096, number % 256 * 4096)
""",
    "DataLoader, 2 workers": """
from torch.utils.data import DataLoader, Dataset
class Files(Dataset):
    def __len__(self): return 2000
    def __getitem__(self, index):
        total = 0
        with open(f"files/{index}.bin", "rb", buffering=8192) as file:
            while block := file.read(8192): total += len(block)
        return total
for epoch in range(6):
    for _ in DataLoader(Files(), batch_size=16, num_workers=2, shuffle=True): pass
""",
    "h5py, random rows": """
import h5py, numpy as np
chance = np.random.default_rng(2)
with h5py.File("h.h5", rdcc_nbytes=0) as file:
    rows = file["x"]
    for row in chance.integers(0, 20000 - 32, 60000): rows[int(row) : int(row) + 8]
""",
    "numpy": """
import numpy as np
chance = np.random.default_rng(2)
for epoch in range(6):
    for number in chance.permutation(2000):
        with open(f"files/{number}.bin", "rb") as file: np.fromfile(file, dtype="u1")
        np.fromfile(f"files/{number}.bin", dtype="u1", count=4096, offset=8192)
""",
}
FORMATS = ("jsonl", "jsonl.zst", "parquet", "tkc")


def sizes_of(names: list[str]) -> None:
    """Print what other people's traces take once they are imported."""
    from tracekit import formats

    print("| file | ops | " + " | ".join(f"`.{form}`" for form in FORMATS) + " |")
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            trace = formats.load(name)
            out = [os.path.join(directory, f"t.{form}") for form in FORMATS]
            for path in out:
                formats.save(trace, path)
            sizes = [os.path.getsize(path) / len(trace) for path in out]
            print(
                f"| {os.path.basename(name)} | {len(trace):,} | " + " | ".join(f"{size:.1f}" for size in sizes) + " |"
            )


def main() -> None:
    """Print the table."""
    from tracekit import Trace, formats

    if sys.argv[1:]:
        sizes_of(sys.argv[1:])
        return
    print("| recording | ops | " + " | ".join(f"`.{form}`" for form in FORMATS) + " |")
    rates: dict[str, list[float]] = {form: [0.0, 0.0, 0.0] for form in FORMATS}
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        subprocess.run([sys.executable, "-c", SETUP], check=True)
        for name, program in PROGRAMS.items():
            command = [
                sys.executable,
                "-m",
                "tracekit",
                "-q",
                "record",
                "--engine",
                "native",
                "--force",
                "-o",
                "t.jsonl",
            ]
            subprocess.run([*command, "--", sys.executable, "-c", program], check=True)
            trace = Trace.read("t.jsonl")
            sizes = []
            for form in FORMATS:
                began = time.process_time()
                formats.save(trace, f"u.{form}")
                written = time.process_time()
                formats.load(f"u.{form}")
                for place, value in enumerate((len(trace), written - began, time.process_time() - written)):
                    rates[form][place] += value
                sizes.append(os.path.getsize(f"u.{form}") / len(trace))
            print(f"| {name} | {len(trace):,} | " + " | ".join(f"{size:.1f}" for size in sizes) + " |", flush=True)
        os.chdir("/")
    for form, (ops, write, read) in rates.items():
        print(f"{form}: written at {ops / write / 1e6:.2f}, read at {ops / read / 1e6:.2f} million ops/s of CPU time")


if __name__ == "__main__":
    main()
