"""Rows by the number of their partition: what is more than memory should hold lies in a temporary file until it is asked for."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError
from tracekit.replay.records import Block, Records

if TYPE_CHECKING:
    from harness.stats import Ints

# Rows that memory holds: some 30 MiB, and three times as much while they are put away.
MOST = 1 << 19


class Partitions:
    """Rows that come in pieces; those of a partition keep their order.

    Args:
        dtype: What a row is: a structured type.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._held: list[tuple[Block, Ints]] = []
        self._count = 0
        self._away: Records | None = None
        self._pieces: dict[int, list[tuple[int, int]]] = {}

    def put(self, rows: Block, numbers: NDArray[np.integer[Any]]) -> None:
        """Add rows, and the partition of each.

        Raises:
            CannotRunError: If a temporary file cannot be written.
        """
        self._held.append((rows, numbers.astype(np.int64)))
        self._count += len(rows)
        if self._count > MOST:
            self._put_away()

    @property
    def is_small(self) -> bool:
        """Whether all rows are in memory."""
        return self._away is None

    @property
    def numbers(self) -> list[int]:
        """The partitions that have rows."""
        held = [np.unique(numbers).tolist() for _, numbers in self._held]
        return sorted({*self._pieces, *itertools.chain.from_iterable(held)})

    def of(self, number: int) -> Block:
        """The rows of a partition, in the order in which they came."""
        away = [self._away.read(*piece) for piece in self._pieces.get(number, ())] if self._away is not None else []
        held = [rows[numbers == number] for rows, numbers in self._held]
        return np.concatenate([np.zeros(0, self._dtype), *away, *held])

    def whole(self) -> Block:
        """All rows in the order in which they came, where they are in memory."""
        return np.concatenate([np.zeros(0, self._dtype), *(rows for rows, _ in self._held)])

    def __deepcopy__(self, memo: object) -> Partitions:
        twin = copy.copy(self)
        twin._held = list(self._held)
        # What was put away is never changed, only added to: two can share it.
        twin._pieces = {number: list(pieces) for number, pieces in self._pieces.items()}
        return twin

    def _put_away(self) -> None:
        self._away = self._away or _File(self._dtype)
        numbers = np.concatenate([numbers for _, numbers in self._held])
        order = np.argsort(numbers, kind="stable")
        first, rows = len(self._away), self.whole()[order]
        self._held, self._count = [], 0
        self._away.append(rows)
        found, starts = np.unique(numbers[order], return_index=True)
        edges = itertools.pairwise([*starts.tolist(), len(rows)])
        for number, (begin, end) in zip(found.tolist(), edges, strict=True):
            self._pieces.setdefault(number, []).append((first + begin, end - begin))


class _File(Records):
    """A temporary file that nobody else sees, and that is gone with the process."""

    def _failed(self, error: OSError) -> CannotRunError:
        return CannotRunError(
            f"a temporary file in {self._folder} cannot be written: {error.strerror}",
            "two long traces need about 80 bytes an op there: make room, or set TMPDIR",
        )
