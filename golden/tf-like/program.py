"""The program this golden is recorded from: tf.data over TFRecord shards, and modelled compute.

    tracekit record --include 'DIR/*' -o run.jsonl -- python program.py --data DIR --seed 1

It makes its data set in DIR when it is not there. The defaults are the golden; the options are for experiments.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

# Where tracekit's marks are, when it is not installed for this interpreter; `harness record-golden` sets it.
sys.path += [place for place in [os.environ.get("TRACEKIT_MARKS")] if place]
try:
    from tracekit import step
except ImportError:  # it runs without tracekit, too

    def step(batches: Any) -> Any:  # type: ignore[no-redef]
        """No marks."""
        return batches


SHARDS, EACH = 32, 16
SMALLEST, LARGEST = 32 * 1024, 160 * 1024
READ_BUFFER = 256 * 1024


def make_data(directory: str) -> list[str]:
    """The shards, made where they are missing; the same bytes everywhere."""
    os.makedirs(directory, exist_ok=True)
    paths = [os.path.join(directory, f"train-{number:05d}-of-{SHARDS:05d}.tfrecord") for number in range(SHARDS)]
    for number, path in enumerate(paths):
        if os.path.exists(path):
            continue
        chance = random.Random(number)
        with tf.io.TFRecordWriter(path + ".part") as writer:
            for _ in range(EACH):
                writer.write(chance.randbytes(chance.randint(SMALLEST, LARGEST)))
        os.replace(path + ".part", path)
    return paths


def pipeline(paths: Sequence[str], args: argparse.Namespace) -> Any:
    """Shards in a new order each epoch, dealt to readers that work side by side; samples shuffled and batched."""
    order: list[str] = []
    for epoch in range(args.epochs):
        again = list(paths)
        if not args.no_shuffle:
            random.Random(1000 * args.seed + epoch).shuffle(again)
        order += again
    # Every reader has a thread of its own, that of its prefetch. `interleave` with parallel calls takes as many threads as it
    # finds work for, from six to eight here, and no two runs the same.
    readers = [
        tf.data.TFRecordDataset(order[number :: args.workers], buffer_size=READ_BUFFER).prefetch(8)
        for number in range(args.workers)
    ]
    turns = tf.data.Dataset.range(args.workers).repeat()
    records = tf.data.Dataset.choose_from_datasets(readers, turns, stop_on_empty_dataset=False)
    if not args.no_shuffle:
        records = records.shuffle(64, seed=args.seed)
    settings = tf.data.Options()
    settings.autotune.enabled = False
    return records.batch(args.batch_size).prefetch(2).with_options(settings)


def train(batches: Iterable[Any], compute_ms: float) -> int:
    """Consume batches as an accelerator that is busy for a while with each would; the bytes that were seen."""
    seen = 0
    for batch in batches:
        time.sleep(compute_ms / 1000)
        seen += int(tf.reduce_sum(tf.strings.length(batch)))
    return seen


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of an experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of the data set")
    parser.add_argument("--make-only", action="store_true", help="make the data set and stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="readers that work side by side")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--compute-ms", type=float, default=10.0)
    parser.add_argument("--no-shuffle", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    """Make the data set where it is missing, and consume it."""
    args = options()
    paths = make_data(args.data)
    if args.make_only:
        return
    batches = pipeline(paths, args)
    print(f"{train(step(batches), args.compute_ms)} bytes")


if __name__ == "__main__":
    main()
