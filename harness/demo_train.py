"""The training job of `harness demo`: a small image data set, Pillow, a DataLoader with two workers, and a small model.

python demo_train.py --data DIR --make        make the images
python demo_train.py --data DIR               train on them
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

IMAGES = 320
CLASSES = 8
SIDE = 64


def make(directory: str) -> None:
    """Draw the images: coloured noise with a stripe whose angle is the class, between 30 and 300 KiB as JPEG."""
    import numpy as np
    from PIL import Image

    os.makedirs(directory, exist_ok=True)
    for index in range(IMAGES):
        chance = np.random.default_rng(index)
        side = int(chance.integers(240, 560))
        pixels = chance.integers(0, 256, (side, side, 3), dtype=np.uint8)
        rows, columns = np.mgrid[0:side, 0:side]
        angle = (index % CLASSES) * np.pi / CLASSES
        stripe = np.abs((rows - side / 2) * np.cos(angle) + (columns - side / 2) * np.sin(angle)) < side / 12
        pixels[stripe] = (240, 240, 240)
        Image.fromarray(pixels).save(os.path.join(directory, f"image_{index:04d}.jpg"), quality=90)


def train(directory: str, epochs: int, seed: int) -> float:
    """Train for some epochs; the loss of the last step."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    paths = sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".jpg"))
    images: Any = Images(paths)
    loader = DataLoader(images, batch_size=16, shuffle=True, num_workers=2)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(512, CLASSES),
    )  # fmt: skip
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    loss: Any = torch.zeros(())
    for _ in range(epochs):
        for batch, labels in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimiser.step()
    return float(loss.item())


class Images:
    """A map-style data set of image files."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import numpy as np
        import torch
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            small = image.convert("RGB").resize((SIDE, SIDE))
        pixels = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255
        return pixels, index % CLASSES


def main() -> None:
    """Make the images, or train on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of the images")
    parser.add_argument("--make", action="store_true", help="make the images and stop")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    if args.make:
        make(args.data)
        print(f"{IMAGES} images in {args.data}")  # noqa: T201 -- a program of its own, not the library
    else:
        print(f"loss {train(args.data, args.epochs, args.seed):.3f}")  # noqa: T201 -- as above


if __name__ == "__main__":
    main()
