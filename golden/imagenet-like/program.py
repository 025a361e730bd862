"""The program this golden is recorded from: a folder of images per class, Pillow, a PyTorch DataLoader, modelled compute.

    tracekit record --include 'DIR/*' -o run.jsonl -- python program.py --data DIR --seed 1

It makes its data set in DIR when it is not there. The defaults are the golden; the options are for experiments.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

CLASSES, EACH = 12, 32
SMALLEST, LARGEST = 120, 420
SIDE = 64
# What Python up to 3.13 takes on the usual file systems; newer ones take more, and would ask for other sizes.
BUFFER = 4096


class ImageFolder:
    """A data set in the manner of torchvision.datasets.ImageFolder: one folder per class, files in order of their names."""

    def __init__(self, root: str) -> None:
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self.samples = [
            (os.path.join(root, name, file), number)
            for number, name in enumerate(classes)
            for file in sorted(os.listdir(os.path.join(root, name)))
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        with open(path, "rb", buffering=BUFFER) as file:
            image = Image.open(file).convert("RGB")
        pixels = np.asarray(image.resize((SIDE, SIDE))).copy()
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, label


def make_data(root: str) -> None:
    """The images, made where they are missing: coloured noise of many sizes, a sample's from its own seed."""
    for index in range(CLASSES * EACH):
        folder = os.path.join(root, f"class_{index // EACH:02d}")
        path = os.path.join(folder, f"image_{index:04d}.jpg")
        if os.path.exists(path):
            continue
        os.makedirs(folder, exist_ok=True)
        chance = np.random.default_rng(index)
        height, width = chance.integers(SMALLEST, LARGEST, 2)
        pixels = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
        part = os.path.join(root, "part.tmp")
        Image.fromarray(pixels).save(part, "JPEG", quality=85)
        os.replace(part, path)


def train(loader: Any, epochs: int, compute_ms: float) -> float:
    """Consume batches as an accelerator that is busy for a while with each would; the mean of what was seen."""
    seen: list[float] = []
    for _ in range(epochs):
        for batch, _labels in loader:
            time.sleep(compute_ms / 1000)
            seen.append(float(batch.mean()))
    return sum(seen) / max(1, len(seen))


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
    make_data(args.data)
    if args.make_only:
        return
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    images: Any = ImageFolder(args.data)
    loader: Any = DataLoader(
        images,
        batch_size=args.batch_size,
        shuffle=not args.no_shuffle,
        num_workers=args.workers,
        multiprocessing_context="fork" if args.workers else None,
    )
    print(f"mean {train(loader, args.epochs, args.compute_ms):.3f}")


if __name__ == "__main__":
    main()
