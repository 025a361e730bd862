"""Loaders on many small files: ours, PyTorch's DataLoader and s3dlio's, on the same files, in turn, in one run.

    python tests/bench/bench_loader.py [FILES] [ROUNDS] [BYTES]

Each loader reads every file once per round, in a process of its own, in an order of its own where it can shuffle; the page cache is
warm. Printed is files per second (the median of the rounds, start-up of workers included, listing and imports not), the
ratio to ours within each round, CPU seconds per thousand files, and the peak memory of the process with its children.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BATCH = 128
WORKERS = 2

_TIMED = """
import json, os, resource, sys, time
folder, order = sys.argv[1], int(sys.argv[2])
def done(files, begun, cpu):
    seconds = time.perf_counter() - begun
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime - cpu
    peak = max(own.ru_maxrss, below.ru_maxrss) * 1024
    print(json.dumps({"files": files, "seconds": seconds, "cpu": spent, "peak": peak}))
def now():
    own = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), own.ru_utime + own.ru_stime
"""

PROGRAMS = {
    "tracekit": _TIMED + """
from tracekit.workload.loader import create_async_loader
loader = create_async_loader(SCHEME + folder, {"batch_size": BATCH, "num_workers": WORKERS, "prefetch": 8, "shuffle": True, "seed": order})
begun, cpu = now()
done(sum(len(batch.data) for batch in loader), begun, cpu)
""",
    "DataLoader": _TIMED + """
import torch
from torch.utils.data import DataLoader, Dataset
class Files(Dataset):
    def __init__(self, paths): self.paths = paths
    def __len__(self): return len(self.paths)
    def __getitem__(self, index):
        with open(self.paths[index], "rb", buffering=0) as file:
            return file.read()
paths = sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
torch.manual_seed(order)
loader = DataLoader(Files(paths), batch_size=BATCH, shuffle=True, num_workers=WORKERS, collate_fn=list)
begun, cpu = now()
done(sum(len(batch) for batch in loader), begun, cpu)
""",
    "s3dlio": _TIMED + """
import s3dlio
uris = sorted("file://" + os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
options = {"batch_size": BATCH, "num_workers": WORKERS, "prefetch": 8, "shuffle": True, "seed": order}
loader = s3dlio.PyBytesAsyncDataLoader(s3dlio.PyDataset.from_uris(uris), options)
begun, cpu = now()
done(sum(1 for item in loader.items()), begun, cpu)
""",
}  # fmt: skip


def make(folder: Path, files: int, size: int) -> None:
    """The files, a thousand to a folder."""
    body = bytes(range(256)) * (size // 256 + 1)
    for number in range(files):
        place = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            place.mkdir()
        (place / f"{number:07d}.bin").write_bytes(body[:size])


def once(name: str, folder: Path, order: int, scheme: str = "") -> dict[str, float]:
    """One pass of a loader in a process of its own."""
    settings = f"BATCH, WORKERS, SCHEME = {BATCH}, {WORKERS}, {scheme!r}\n"
    command = [sys.executable, "-c", settings + PROGRAMS[name], str(folder), str(order)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{name} failed:\n{ended.stderr}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print a table."""
    files, rounds, size = (int(word) for word in (*sys.argv[1:], *("100000", "3", "1024")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as name:
        folder = Path(name)
        make(folder, files, size)
        for loader in PROGRAMS:
            once(loader, folder, 0)  # what is only loaded, compiled or cached once
        found: dict[str, list[dict[str, float]]] = {loader: [] for loader in PROGRAMS}
        for number in range(rounds):
            for loader in PROGRAMS:
                found[loader].append(once(loader, folder, number + 1))
    print(
        f"{files:,} files of {size:,} B, batches of {BATCH}, {WORKERS} workers, {rounds} rounds in turn, warm page cache"
    )
    for loader, passes in found.items():
        assert all(one["files"] == files for one in passes), (loader, passes)
        rate = statistics.median(one["files"] / one["seconds"] for one in passes)
        ratio = statistics.median(
            theirs["seconds"] / ours["seconds"] for theirs, ours in zip(passes, found["tracekit"], strict=True)
        )
        cpu = statistics.median(one["cpu"] / one["files"] * 1000 for one in passes)
        peak = max(one["peak"] for one in passes) / 2**20
        print(
            f"{loader:>10}: {rate:>9,.0f} files/s, {ratio:5.2f} times our time, {cpu * 1000:6.1f} ms CPU / 1,000 files, {peak:5.0f} MiB"
        )


if __name__ == "__main__":
    main()
