"""The program this golden is recorded from: a PyTorch DataLoader over many small files, and a small model.

    tracekit record --include 'DIR/*' -o run.jsonl -- python program.py --data DIR --seed 1

It makes its data set in DIR when it is not there. The defaults are the golden; the options are for experiments.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

FILES = 512
SMALLEST, LARGEST = 64 * 1024, 256 * 1024
CHUNK = 64 * 1024
CLASSES = 10
FEATURES = 4096
HIDDEN = 1536


class Files:
    """A map-style data set: one sample per file, read with plain open and read."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels = torch.frombuffer(read(self.paths[index]), dtype=torch.uint8).float() / 255
        return (pixels[:FEATURES] - pixels.mean()) / pixels.std(), index % CLASSES


def read(path: str) -> bytearray:
    """The file in chunks of 64 KiB; the last is as long as the file needs, so nothing is asked for beyond its end."""
    data = bytearray()
    with open(path, "rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                break
            data += chunk
            left -= len(chunk)
    return data


def make_data(directory: str) -> list[str]:
    """The files of the data set, made where they are missing; the same bytes everywhere."""
    os.makedirs(directory, exist_ok=True)
    chance = random.Random(20240)
    # One listing, no look at every file: files appear under their name only when they are whole.
    there = set(os.listdir(directory))
    paths = []
    for index in range(FILES):
        size = min(LARGEST, max(SMALLEST, round(chance.lognormvariate(math.log(120 * 1024), 0.4))))
        path = os.path.join(directory, f"sample_{index:04d}.bin")
        if os.path.basename(path) not in there:
            part = path + ".part"
            with open(part, "wb") as file:
                file.write(random.Random(index).randbytes(size))
            os.replace(part, path)
        paths.append(path)
    return paths


def train(loader: Any, epochs: int) -> float:
    """Train a small model; the loss of the last step."""
    model = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    loss: Any = torch.zeros(())
    for _ in range(epochs):
        for batch, labels in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimiser.step()
    return float(loss.item())


def options() -> argparse.Namespace:
    """The options of an experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of the data set")
    parser.add_argument("--make-only", action="store_true", help="make the data set and stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--no-shuffle", action="store_true")
    parser.add_argument("--start-method", choices=("fork", "spawn", "forkserver"), default="fork")
    return parser.parse_args()


def main() -> None:
    """Make the data set where it is missing, and train."""
    args = options()
    paths = make_data(args.data)
    if args.make_only:
        return
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    files: Any = Files(paths)
    loader: Any = DataLoader(
        files,
        batch_size=args.batch_size,
        shuffle=not args.no_shuffle,
        num_workers=args.workers,
        multiprocessing_context=args.start_method if args.workers else None,
    )
    print(f"loss {train(loader, args.epochs):.3f}")


if __name__ == "__main__":
    main()
