"""The program this golden is recorded from: grain over ArrayRecord files, worker processes, and a JAX step.

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

import grain.python as grain
import numpy as np
from absl import flags
from array_record.python.array_record_module import ArrayRecordWriter

# Where tracekit's marks are, when it is not installed for this interpreter; `harness record-golden` sets it.
sys.path += [place for place in [os.environ.get("TRACEKIT_MARKS")] if place]
try:
    from tracekit import step
except ImportError:  # it runs without tracekit, too

    def step(batches: Any) -> Any:  # type: ignore[no-redef]
        """No marks."""
        return batches


SHARDS, EACH = 4, 128
SMALLEST, LARGEST = 16 * 1024, 96 * 1024
FEATURES = 4096


class Prefix(grain.MapTransform):  # type: ignore[misc]
    """The first bytes of a record as numbers."""

    def map(self, element: bytes) -> Any:
        """A row of the batch."""
        return np.frombuffer(element, np.uint8, FEATURES).astype(np.float32) / 255


def make_data(directory: str) -> list[str]:
    """The shards, made where they are missing; the same bytes everywhere."""
    os.makedirs(directory, exist_ok=True)
    paths = [os.path.join(directory, f"train-{number:05d}-of-{SHARDS:05d}.array_record") for number in range(SHARDS)]
    for number, path in enumerate(paths):
        if os.path.exists(path):
            continue
        chance = random.Random(number)
        # A record per chunk, as is usual for random access, and as it is: noise does not get smaller.
        writer = ArrayRecordWriter(path + ".part", "group_size:1,uncompressed")
        for _ in range(EACH):
            writer.write(chance.randbytes(chance.randint(SMALLEST, LARGEST)))
        writer.close()
        os.replace(path + ".part", path)
    return paths


def train(batches: Iterable[Any], compute_ms: float) -> float:
    """Take a step with each batch, for as long as an accelerator would be busy with it; the last loss."""
    import jax
    import jax.numpy as jnp

    @jax.jit  # type: ignore[untyped-decorator]
    def update(weights: Any, batch: Any) -> tuple[Any, Any]:
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((batch @ w) ** 2))(weights)
        return weights - 1e-4 * slope, loss

    weights, loss = jnp.ones(FEATURES), jnp.zeros(())
    for batch in batches:
        weights, loss = update(weights, batch)
        loss.block_until_ready()
        time.sleep(compute_ms / 1000)
    return float(loss)


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of an experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of the data set")
    parser.add_argument("--make-only", action="store_true", help="make the data set and stop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="reading threads of a worker")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--compute-ms", type=float, default=20.0)
    parser.add_argument("--no-shuffle", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    """Make the data set where it is missing, and train."""
    args = options()
    paths = make_data(args.data)
    if args.make_only:
        return
    # grain takes flags of its own from absl, which are not on this command line.
    flags.FLAGS.mark_as_parsed()
    source = grain.ArrayRecordDataSource(paths)
    sampler = grain.IndexSampler(
        len(source), grain.ShardOptions(0, 1), shuffle=not args.no_shuffle, num_epochs=args.epochs, seed=args.seed
    )
    batches: Any = grain.DataLoader(
        data_source=source,
        sampler=sampler,
        operations=[Prefix(), grain.Batch(args.batch_size, drop_remainder=True)],
        worker_count=args.workers,
        worker_buffer_size=2,
        read_options=grain.ReadOptions(num_threads=args.threads, prefetch_buffer_size=8),
    )
    print(f"loss {train(step(batches), args.compute_ms):.3f}")


if __name__ == "__main__":
    main()
