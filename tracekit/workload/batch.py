"""What a loader hands over: batches of samples, held in memory or, where they do not fit under the cap, read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError, UsageError
from tracekit.units import format_bytes
from tracekit.workload.dataset import Dataset

Pieces = Callable[[int], Iterator[memoryview]]


class Sample:
    """One sample of a batch.

    Args:
        dataset: Where it is from.
        index: Its number there.
        data: Its bytes; None where they are not held.
        pieces: Reads it piece by piece, by its number; None where its bytes were thrown away.
    """

    __slots__ = ("_data", "_dataset", "_pieces", "index")

    def __init__(self, dataset: Dataset, index: int, data: memoryview | None, pieces: Pieces | None) -> None:
        self._dataset = dataset
        self.index = index
        self._data = data
        self._pieces = pieces

    def __len__(self) -> int:
        return int(self._dataset.length[self.index])

    def __repr__(self) -> str:
        return f"<Sample {self.index} of {len(self)} bytes in {self.uri}>"

    @property
    def uri(self) -> str:
        """The file or object it is in."""
        return self._dataset.uri(int(self._dataset.file[self.index]))

    @property
    def held(self) -> bool:
        """Whether its bytes are in memory."""
        return self._data is not None

    @property
    def data(self) -> memoryview:
        """Its bytes. They stay as long as somebody refers to them.

        Raises:
            InputError: If it did not fit under the cap.
            UsageError: If the loader was told to discard what it reads.
        """
        if self._data is None:
            self._refuse_discarded()
            raise InputError(
                f"sample {self.index} ({self.uri}) has {format_bytes(len(self))}, which does not fit under max_bytes_in_flight",
                "go through its pieces(), or raise the cap",
            )
        return self._data

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes piece by piece; a piece is only valid until the next. One that is not held is read now.

        Raises:
            UsageError: If the loader was told to discard what it reads.
            CannotRunError, InputError: If it cannot be read.
        """
        if self._data is not None:
            return iter((self._data,))
        self._refuse_discarded()
        assert self._pieces is not None
        return self._pieces(self.index)

    def _refuse_discarded(self) -> None:
        if self._pieces is None:
            raise UsageError(
                f"the bytes of sample {self.index} were thrown away", "loading_mode: data keeps what is read"
            )


class Batch(Sequence[Sample]):
    """The samples of one step.

    Args:
        dataset: Where they are from.
        epoch: The pass, from 0.
        number: Of the batch in its pass, from 0.
        indices: The samples.
        memory: What they were read to; None where nothing is held.
        starts: Where each begins there; -1 for one that is not held.
        pieces: How one that is not held is read; None where bytes were thrown away.
    """

    def __init__(
        self,
        dataset: Dataset,
        epoch: int,
        number: int,
        indices: NDArray[np.int64],
        memory: NDArray[np.uint8] | None,
        starts: NDArray[np.int64],
        pieces: Pieces | None,
    ) -> None:
        self._dataset = dataset
        self.epoch = epoch
        self.number = number
        self.indices = indices
        self._view = None if memory is None else memory.data
        self._starts = starts
        self._pieces = pieces
        # Seconds its requests took, and its samples to decode, added up over threads.
        self.io_s = self.decode_s = 0.0

    def took(self, *, io_s: float = 0.0, decode_s: float = 0.0) -> None:
        """Add what requests and samples took. For loaders, one thread at a time."""
        self.io_s += io_s
        self.decode_s += decode_s

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"<Batch {self.number} of epoch {self.epoch}: {len(self)} samples, {format_bytes(self.bytes)}>"

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        index, start = int(self.indices[at]), int(self._starts[at])
        held = self._view is not None and start >= 0
        data = self._view[start : start + int(self._dataset.length[index])] if held and self._view is not None else None
        return Sample(self._dataset, index, data, self._pieces)

    @property
    def bytes(self) -> int:
        """Bytes of its samples."""
        return int(self._dataset.length[self.indices].sum())

    @property
    def data(self) -> list[memoryview]:
        """The bytes of all its samples (errors as of `Sample.data`)."""
        return [sample.data for sample in self]
