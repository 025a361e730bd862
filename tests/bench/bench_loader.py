"""Loaders on many small files: ours, PyTorch's DataLoader, s3dlio's and DLIO's own training loop, on the same data, in turn, in one run.

    python tests/bench/bench_loader.py [FILES] [ROUNDS] [BYTES] [--schemes file direct s3 az] [--dlio VENV] [--objects N]

The data is a DLIO data set of NPY files (`tracekit generate`), a thousand to a folder. Each loader reads every file once per round, in a
process of its own, in an order of its own where it can shuffle; the page cache is warm. `direct` reads the same files with O_DIRECT, `s3`
and `az` read N objects (2,000) of the same size from SeaweedFS and Azurite on loopback, which share the cores. Where a loader cannot
(DLIO 2.0.0 beyond files, s3dlio on Azurite) it is left out and named.

Printed is files per second (the median of the rounds, start-up of workers included, listing and imports not; of DLIO what it says of
itself, `train_throughput_mean_samples_per_second`, start-up not included), the ratio to ours within each round, CPU seconds per thousand
files (of DLIO with its imports), and the peak memory of the process with its children.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BATCH = 128
WORKERS = 2
OBJECTS = str(Path(__file__).parents[1] / "integration" / "objects")

_TIMED = """
import json, os, resource, sys, time
def done(files, begun, cpu):
    seconds = time.perf_counter() - begun
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime - cpu
    peak = max(own.ru_maxrss, below.ru_maxrss) * 1024
    print(json.dumps({"files": files, "seconds": seconds, "cpu": spent, "peak": peak}))
def now():
    own = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), own.ru_utime + own.ru_stime
def uris():
    from tracekit.workload.dataset import create_dataset
    dataset = create_dataset(URI)
    return [dataset.uri(file) for file in range(len(dataset))]
"""

PROGRAMS = {
    "tracekit": _TIMED + """
from tracekit.workload.loader import create_async_loader
loader = create_async_loader(URI, {"batch_size": BATCH, "num_workers": WORKERS if LOCAL else 16, "prefetch": 8, "shuffle": True, "seed": ORDER})
begun, cpu = now()
done(sum(len(batch.data) for batch in loader), begun, cpu)
""",
    "DataLoader": _TIMED + """
import mmap, torch
from torch.utils.data import DataLoader, Dataset
class Files(Dataset):
    def __init__(self, uris): self.names, self.client = [uri.partition("://")[2] for uri in uris], None
    def __len__(self): return len(self.names)
    def __getitem__(self, index): return READ(self, self.names[index])
def file(self, name):
    with open(name, "rb", buffering=0) as opened:
        return opened.read()
def direct(self, name):
    if self.client is None:
        self.client = mmap.mmap(-1, 1 << 20)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECT)
    try:
        return self.client[:os.preadv(fd, [self.client], 0)]
    finally:
        os.close(fd)
def s3(self, name):
    if self.client is None:
        import boto3
        self.client = boto3.client("s3")
    bucket, _, key = name.partition("/")
    return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
def az(self, name):
    container, _, key = name.partition("/")
    if self.client is None:
        from azure.storage.blob import ContainerClient
        credential = {"account_name": os.environ["AZURE_STORAGE_ACCOUNT_NAME"], "account_key": os.environ["AZURE_STORAGE_ACCOUNT_KEY"]}
        self.client = ContainerClient(os.environ["AZURE_STORAGE_ENDPOINT"], container, credential)
    return self.client.download_blob(key).readall()
READ = {"file": file, "direct": direct, "s3": s3, "az": az}[URI.partition("://")[0]]
torch.manual_seed(ORDER)
loader = DataLoader(Files(uris()), batch_size=BATCH, shuffle=True, num_workers=WORKERS if LOCAL else 16, collate_fn=list)
begun, cpu = now()
done(sum(len(batch) for batch in loader), begun, cpu)
""",
    "s3dlio": _TIMED + """
import s3dlio
options = {"batch_size": BATCH, "num_workers": WORKERS if LOCAL else 16, "prefetch": 8, "shuffle": True, "seed": ORDER}
loader = s3dlio.PyBytesAsyncDataLoader(s3dlio.PyDataset.from_uris(uris()), options)
begun, cpu = now()
done(sum(1 for item in loader.items()), begun, cpu)
""",
}  # fmt: skip


def generate(uri: str, files: int, size: int) -> None:
    """The data set of one scheme, with DLIO's names and folders."""
    folders = max(1, files // 1000)
    words = [
        "++dataset.format=npy", f"++dataset.num_files_train={files}", "++dataset.num_files_eval=0", "++dataset.num_samples_per_file=1",
        f"++dataset.record_length_bytes={size}", f"++dataset.num_subfolders_train={folders}", "++reader.batch_size=1",
    ]  # fmt: skip
    command = [sys.executable, "-I", "-m", "tracekit", "generate", "minimal", "-q", "--data", uri, *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"the data cannot be made:\n{ended.stderr}")


def once(name: str, uri: str, order: int) -> dict[str, float] | str:
    """One pass of a loader in a process of its own; why there is none, in words."""
    settings = f"BATCH, WORKERS, URI, ORDER, LOCAL = {BATCH}, {WORKERS}, {uri!r}, {order}, {uri.startswith(('file', 'direct'))}\n"
    command = [
        sys.executable,
        "-I",
        "-c",
        settings + PROGRAMS[name],
    ]  # -I: what is installed, not the working directory
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return (ended.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def dlio(venv: str, folder: str, files: int, size: int) -> dict[str, float] | str:
    """One epoch of DLIO's training loop without computing, on the same files."""
    Path(folder, "valid").mkdir(exist_ok=True)  # it lists that, too
    words = {
        "workflow.generate_data": False, "workflow.train": True, "workflow.evaluation": False, "dataset.data_folder": folder,
        "dataset.format": "npy", "dataset.num_files_train": files, "dataset.num_files_eval": 0, "dataset.num_samples_per_file": 1,
        "dataset.num_subfolders_train": files // 1000 if files >= 2000 else 0, "dataset.num_subfolders_eval": 0, "dataset.record_length": size,
        "reader.batch_size": BATCH, "reader.read_threads": WORKERS, "reader.prefetch_size": 8, "reader.sample_shuffle": "seed",
        "train.epochs": 1, "train.computation_time": 0,
    }  # fmt: skip
    environment = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}", "DFTRACER_ENABLE": "0"}
    with tempfile.TemporaryDirectory() as output:
        command = [f"{venv}/bin/dlio_benchmark", "workload=default", f"hydra.run.dir={output}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(
            [*command, *(f"++workload.{key}={value}" for key, value in words.items())], env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = Path(output) / "summary.json"
        if ended.returncode or not told.exists():
            return (ended.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        rate = json.loads(told.read_text())["metric"]["train_throughput_mean_samples_per_second"]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"files": files, "seconds": files / rate, "cpu": spent, "peak": after.ru_maxrss * 1024}


@contextlib.contextmanager
def place(scheme: str, folder: str) -> Iterator[str]:
    """Where the data of a scheme goes; a store runs meanwhile, and the environment leads there."""
    if scheme in ("file", "direct"):
        yield f"{scheme}://{folder}/data"
        return
    sys.path.insert(0, OBJECTS)
    import servers

    server = servers.seaweed if scheme == "s3" else servers.azure
    Path(folder, scheme).mkdir()
    with server(Path(folder, scheme)) as endpoint:
        if scheme == "s3":
            import boto3

            os.environ |= {
                "AWS_ACCESS_KEY_ID": servers.KEY,
                "AWS_SECRET_ACCESS_KEY": servers.SECRET,
                "AWS_REGION": "us-east-1",
            }
            os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
            boto3.client("s3").create_bucket(Bucket="bench")
        else:
            from azure.storage.blob import ContainerClient

            os.environ |= {
                "AZURE_STORAGE_ACCOUNT_NAME": servers.ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": servers.ACCOUNT_KEY,
            }
            os.environ["AZURE_STORAGE_ENDPOINT"] = endpoint
            credential = {"account_name": servers.ACCOUNT, "account_key": servers.ACCOUNT_KEY}
            ContainerClient(endpoint, "bench", credential).create_container()
        yield f"{scheme}://bench/data"


def measure(uri: str, files: int, size: int, rounds: int, venv: str | None) -> dict[str, list[dict[str, float]]]:
    """The passes of each loader that can, in turn."""
    runs = {name: (lambda order, name=name: once(name, f"{uri}/train", order)) for name in PROGRAMS}
    if venv and uri.startswith("file"):
        runs["DLIO"] = lambda _: dlio(venv, uri.removeprefix("file://"), files, size)
    found: dict[str, list[dict[str, float]]] = {}
    for name, run in runs.items():
        # What is only loaded, compiled or cached once; of DLIO, whose start takes half a minute, nothing is measured before its loop.
        first = {} if name == "DLIO" else run(0)
        if isinstance(first, str):
            print(f"{name:>10}: cannot here: {first[:120]}")
        else:
            found[name] = []
    for number in range(rounds):
        for name in list(found):
            one = runs[name](number + 1)
            if isinstance(one, str):
                print(f"{name:>10}: failed: {one[:120]}")
                del found[name]
            else:
                found[name].append(one)
    return found


def show(found: dict[str, list[dict[str, float]]], files: int) -> None:
    """A line for each loader."""
    for loader, passes in found.items():
        assert all(one["files"] == files for one in passes), (loader, passes)
        rate = statistics.median(one["files"] / one["seconds"] for one in passes)
        ratio = statistics.median(
            theirs["seconds"] / ours["seconds"] for theirs, ours in zip(passes, found["tracekit"], strict=True)
        )
        cpu = statistics.median(one["cpu"] / one["files"] * 1000 for one in passes)
        peak = max(one["peak"] for one in passes) / 2**20
        print(
            f"{loader:>10}: {rate:>9,.0f} files/s, {ratio:6.2f} times our time, {cpu * 1000:7.1f} ms CPU / 1,000 files, {peak:5.0f} MiB"
        )


def main() -> None:
    """Measure and print a table per scheme."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="?", type=int, default=100_000)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("size", nargs="?", type=int, default=1024)
    parser.add_argument("--schemes", nargs="*", default=["file", "direct"], choices=["file", "direct", "s3", "az"])
    parser.add_argument("--dlio", metavar="VENV", help="an environment with dlio_benchmark 2.0.0")
    parser.add_argument("--objects", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-loader-", dir=os.environ.get("BENCH_DIR")) as folder:
        for scheme in options.schemes:
            local = scheme in ("file", "direct")
            files = options.files if local else options.objects
            with place(scheme, folder) as uri:
                begun = time.monotonic()
                if not (local and Path(folder, "data").exists()):
                    generate(uri, files, options.size)
                print(
                    f"{scheme}://: {files:,} files of {options.size:,} B and a header of 128 B (made in {time.monotonic() - begun:.0f} s), "
                    f"batches of {BATCH}, {WORKERS if local else 16} workers, {options.rounds} rounds in turn", flush=True,
                )  # fmt: skip
                show(measure(uri, files, options.size, options.rounds, options.dlio), files)


if __name__ == "__main__":
    main()
