"""An iterable data set of PyTorch; see `adapters.torch_stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from tracekit.workload.adapters import shared
from tracekit.workload.dataset import Dataset
from tracekit.workload.loader import Loader
from tracekit.workload.options import LoaderOptions


class Stream(IterableDataset):  # type: ignore[misc,type-arg,unused-ignore]  # PyTorch may be missing
    """Batches of converted samples.

    Args:
        dataset: What is read.
        options: How; shared among the workers of a DataLoader.
        convert: What a sample becomes.
    """

    def __init__(self, dataset: Dataset, options: LoaderOptions, convert: Callable[[memoryview], Any]) -> None:
        super().__init__()
        self.dataset = dataset
        self.options = options
        self.convert = convert
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which pass comes next: workers are copies made for each pass, and would begin with the first again."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Any]]:
        about = get_worker_info()
        options = self.options if about is None else shared(self.options, about.id, about.num_workers)
        loader = Loader(self.dataset, options)
        loader.epoch, self.epoch = self.epoch, self.epoch + 1
        for batch in loader:
            yield [self.convert(data) for data in batch.data]
