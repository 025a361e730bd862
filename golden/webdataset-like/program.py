"""The program this golden is recorded from: webdataset on tar shards, a PyTorch DataLoader, modelled compute.

    tracekit record --include 'DIR/*' -o run.jsonl -- python program.py --data DIR --seed 1

It makes its data set in DIR when it is not there. The defaults are the golden; the options are for experiments.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import tarfile
import time
from collections.abc import Sequence
from typing import Any

# Read when a shard is opened. Fixed, because Python's own choice depends on its version.
os.environ["GOPEN_BUFFER"] = "8192"

import webdataset as wds

SHARDS, EACH = 32, 12
SMALLEST, LARGEST = 16 * 1024, 128 * 1024


def make_data(directory: str) -> list[str]:
    """The shards, made where they are missing; the same bytes everywhere."""
    os.makedirs(directory, exist_ok=True)
    paths = [os.path.join(directory, f"shard_{number:03d}.tar") for number in range(SHARDS)]
    for number, path in enumerate(paths):
        if os.path.exists(path):
            continue
        chance = random.Random(number)
        with tarfile.open(path + ".part", "w", format=tarfile.USTAR_FORMAT) as archive:
            for index in range(EACH):
                key = f"{number * EACH + index:06d}"
                _add(archive, f"{key}.bin", chance.randbytes(chance.randint(SMALLEST, LARGEST)))
                _add(archive, f"{key}.cls", str(index % 10).encode())
        os.replace(path + ".part", path)
    return paths


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def train(loader: Any, compute_ms: float) -> int:
    """Consume batches as an accelerator that is busy for a while with each would; the bytes that were seen."""
    seen = 0
    for batch in loader:
        time.sleep(compute_ms / 1000)
        seen += sum(len(content) for content in batch[0])
    return seen


def as_is(batch: list[Any]) -> tuple[list[Any], ...]:
    """Samples of different lengths stay lists."""
    return tuple(map(list, zip(*batch, strict=True)))


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of an experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of the data set")
    parser.add_argument("--make-only", action="store_true", help="make the data set and stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--compute-ms", type=float, default=20.0)
    parser.add_argument("--no-shuffle", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    """Make the data set where it is missing, and consume it."""
    args = options()
    paths = make_data(args.data)
    if args.make_only:
        return
    total = 0
    for epoch in range(args.epochs):
        # Dealt here, not by the library: every worker then gets the same number of shards whatever the library's version.
        order = list(paths)
        if not args.no_shuffle:
            random.Random(1000 * args.seed + epoch).shuffle(order)
        shards = wds.WebDataset(order, shardshuffle=False, nodesplitter=wds.single_node_only)
        samples = (
            shards.shuffle(0 if args.no_shuffle else 32)
            .to_tuple("bin", "cls")
            .batched(args.batch_size, collation_fn=as_is)
        )
        loader: Any = wds.WebLoader(samples, batch_size=None, num_workers=args.workers)
        total += train(loader, args.compute_ms)
    print(f"{total} bytes")


if __name__ == "__main__":
    main()
