"""The loader under other people's training: as a PyTorch data set, a tf.data data set, a source for grain.

    Samples       by number: for torch.utils.data.DataLoader, and for grain.DataLoader as its data source
    Stream        batches in the loader's own order: for a DataLoader, as an iterable data set
    tf_dataset    the same for tf.data

No framework is imported before it is needed, and none is needed for `Samples`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tracekit.errors import CannotRunError
from tracekit.workload import fetch, plan
from tracekit.workload.dataset import Dataset, create_dataset
from tracekit.workload.fetch import Fetcher
from tracekit.workload.loader import Loader
from tracekit.workload.memory import pages
from tracekit.workload.options import LoaderOptions

Convert = Callable[[memoryview], Any]


class Samples:
    """Samples by number, as map-style data sets and random-access sources have them. It may be sent to other processes.

    Args:
        uri: A path or URI (see `create_dataset`), or a data set.
        options: `target_request_bytes` and `page_cache_mode` act; the rest is the framework's own business here.
        convert: What a sample becomes, by its bytes.
    """

    def __init__(
        self,
        uri: str | Dataset,
        options: LoaderOptions | Mapping[str, Any] | None = None,
        convert: Convert = bytes,
    ) -> None:
        self.options = options if isinstance(options, LoaderOptions) else LoaderOptions.of(options or {})
        self.dataset = uri if isinstance(uri, Dataset) else create_dataset(uri)
        self.convert = convert
        self._fetcher: Fetcher | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index} among {len(self)}")
        return self.__getitems__([int(index) % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several at once: their requests are made together."""
        numbers = np.asarray(indices, np.int64)
        policy = "direct" if self.dataset.scheme == "direct" else self.options.page_cache_mode
        # Chosen where it is used: a worker process may be recorded, or forked, and its parent not.
        if self._fetcher is None:
            self._fetcher = fetch.choose(self.dataset, policy, self.options.direct_depth)
        layout = plan.lay_out(
            self.dataset, numbers, sys.maxsize, self.options.request_bytes, direct=policy == "direct", discard=False
        )
        memory = pages(layout.bytes)
        ranges = plan.ranges(self.dataset, numbers, layout, memory)
        self._fetcher.fetch(ranges)
        fetch.check(self.dataset, ranges)
        ends = layout.starts + self.dataset.length[numbers]
        return [self.convert(memory.data[start:end]) for start, end in zip(layout.starts, ends, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fetcher": None}


def shared(options: LoaderOptions, worker: int, workers: int) -> LoaderOptions:
    """The options of one of a framework's workers: its share of this rank's share."""
    return options.but(
        shard_rank=options.shard_rank * workers + worker, shard_world_size=options.shard_world_size * workers
    )


def torch_stream(
    uri: str | Dataset, options: LoaderOptions | Mapping[str, Any] | None = None, convert: Convert = bytes
) -> Any:
    """A torch.utils.data.IterableDataset: lists of converted samples, batch by batch in the loader's order.

    Give it to a DataLoader with `batch_size=None`. Each of the DataLoader's workers reads its share, by a loader of its own.

    Args:
        uri: A path or URI, or a data set.
        options: Of the loader.
        convert: What a sample becomes, by its bytes.

    Raises:
        CannotRunError: If PyTorch is not installed.
    """
    try:
        from tracekit.workload.torch_stream import Stream
    except ImportError:
        raise CannotRunError(
            "PyTorch is not installed here", "pip install 'tracekit-io[torch]', or pip install torch"
        ) from None
    chosen = options if isinstance(options, LoaderOptions) else LoaderOptions.of(options or {})
    return Stream(uri if isinstance(uri, Dataset) else create_dataset(uri), chosen, convert)


def tf_dataset(uri: str | Dataset, options: LoaderOptions | Mapping[str, Any] | None = None) -> Any:
    """A tf.data.Dataset of batches: tensors of strings, a sample each, in the loader's order; every pass is the next epoch.

    Args:
        uri: A path or URI, or a data set.
        options: Of the loader.

    Raises:
        CannotRunError: If TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError:
        raise CannotRunError("TensorFlow is not installed here", "pip install tensorflow") from None
    chosen = options if isinstance(options, LoaderOptions) else LoaderOptions.of(options or {})
    loader = Loader(uri if isinstance(uri, Dataset) else create_dataset(uri), chosen)

    def batches() -> Iterator[list[bytes]]:
        for batch in loader:
            yield [bytes(data) for data in batch.data]

    return tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec([None], tf.string))
