"""The program's own structure: a mark, and many of them as columns.

A long run has a mark or two for each training step. As columns a mark takes 44 bytes, and is made into a `Mark` when
somebody looks at it; as objects a million of them take more memory than everything else that is kept of a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tracekit.columns import NULL

Ints = NDArray[np.int64]
_NUMBERS = ("t", "t_end", "step", "epoch", "pid")
_PIECE = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of the program's own structure: a `step`, `epoch`, `checkpoint` or `compute` from `t` to `t_end`, in ns.

    A `step` runs from the moment its batch is asked for to the moment the next one is; the `compute` with the same step
    number starts when the batch was handed over. Their difference is the wait for data.
    """

    mark: str
    t: int
    t_end: int | None = None
    step: int | None = None
    epoch: int | None = None
    pid: int | None = None


class Marks(Sequence[Mark]):
    """Marks as columns, in their order; immutable.

    Args:
        names: What kinds of marks there are.
        kinds: The kind of each mark, as a position in `names`.
        numbers: Columns `t`, `t_end`, `step`, `epoch` and `pid`; NULL where a mark has none.
    """

    def __init__(self, names: Sequence[str], kinds: NDArray[np.int32], *numbers: Ints) -> None:
        self.names = tuple(names)
        self.kinds = kinds
        self.t, self.t_end, self.step, self.epoch, self.pid = numbers

    @classmethod
    def of(cls, marks: Iterable[Mark]) -> Marks:
        """These marks as columns; what is below zero in one is not known."""
        if isinstance(marks, Marks):
            return marks
        rows = list(marks)
        return cls.from_columns(
            [row.mark for row in rows], *([getattr(row, name) for row in rows] for name in _NUMBERS)
        )

    @classmethod
    def from_columns(cls, names: Sequence[str], *numbers: Sequence[int | None]) -> Marks:
        """The marks of these names, with columns `t`, `t_end`, `step`, `epoch` and `pid`.

        Raises:
            ValueError: If the columns are not of one length.
        """
        if len({len(names), *map(len, numbers)}) > 1:
            raise ValueError("the columns of marks are of one length")
        codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        kinds = np.fromiter(map(codes.__getitem__, names), np.int32, len(names))
        return cls(tuple(codes), kinds, *map(_column, numbers))

    @classmethod
    def joined(cls, parts: Sequence[Sequence[Mark]]) -> Marks:
        """All marks of these, one after the other."""
        found = [cls.of(part) for part in parts if len(part)]
        if len(found) == 1:
            return found[0]
        names = list(dict.fromkeys(name for part in found for name in part.names))
        kinds = [np.array([names.index(name) for name in part.names], np.int32)[part.kinds] for part in found]
        columns = (np.concatenate([*(getattr(part, name) for part in found), _NOTHING]) for name in _NUMBERS)
        return cls(names, np.concatenate([*kinds, _NOTHING]).astype(np.int32), *columns)

    def __len__(self) -> int:
        return len(self.kinds)

    @overload
    def __getitem__(self, place: int) -> Mark: ...
    @overload
    def __getitem__(self, place: slice) -> Marks: ...
    def __getitem__(self, place: int | slice) -> Mark | Marks:
        if isinstance(place, slice):
            return self.select(place)
        values = (int(getattr(self, name)[place]) for name in _NUMBERS)
        return Mark(self.names[self.kinds[place]], *(None if value == NULL else value for value in values))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Mark]:
        for start in range(0, len(self), _PIECE):
            part = slice(start, start + _PIECE)
            columns = [_values(getattr(self, name)[part]) for name in _NUMBERS]
            for kind, *numbers in zip(self.kinds[part].tolist(), *columns, strict=True):
                yield Mark(self.names[kind], *numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # compares with lists, which have none

    def __repr__(self) -> str:
        return f"<Marks {len(self)}, of {', '.join(self.names) or 'no kind'}>"

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Marks:
        """The marks of a mask, index array or slice, in that order."""
        return Marks(self.names, self.kinds[chosen], *(getattr(self, name)[chosen] for name in _NUMBERS))

    def spans(self, kind: str) -> Marks:
        """The marks of this kind that end, and not before they begin."""
        found = self.kind(kind)
        return found.select(found.t_end >= found.t)

    def kind(self, kind: str) -> Marks:
        """The marks of this kind."""
        return self.select(self.kinds == self.names.index(kind) if kind in self.names else slice(0, 0))

    def sorted(self) -> Marks:
        """The same in order of `t`; ties keep their order."""
        return self.select(np.argsort(self.t, kind="stable"))

    def shifted(self, delta_ns: int) -> Marks:
        """The same with every time moved by `delta_ns`."""
        t_end = np.where(self.t_end == NULL, NULL, self.t_end + delta_ns)
        return Marks(self.names, self.kinds, self.t + delta_ns, t_end, self.step, self.epoch, self.pid)

    def columns(self) -> dict[str, list[str] | list[int | None]]:
        """The columns as plain values, by name, `mark` first."""
        names: dict[str, list[str] | list[int | None]] = {"mark": [self.names[kind] for kind in self.kinds.tolist()]}
        return names | {name: _values(getattr(self, name)) for name in _NUMBERS}


_NOTHING = np.zeros(0, np.int64)


def _column(values: Sequence[int | None]) -> Ints:
    known = (NULL if value is None else value for value in values) if None in values else values
    return np.fromiter(known, np.int64, len(values))


def _values(column: Ints) -> list[int | None]:
    found: list[int | None] = column.tolist()
    return [None if value == NULL else value for value in found] if NULL in found else found
