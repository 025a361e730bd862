"""Makes files of one data set, one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from tracekit.errors import CannotRunError
from tracekit.storage import storage_for
from tracekit.storage.keys import way_out_of
from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan
from tracekit.workload.datagen.registry import format_of, suffix_of
from tracekit.workload.datagen.sink import Counted, gathered
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet


class Maker:
    """Makes files of one data set.

    Args:
        data: The data set.
        seed: Of sizes and content.
        ratio: How well content compresses.
    """

    def __init__(self, data: DataSet, seed: int, ratio: float) -> None:
        self._data, self._seed = data, seed
        self._format, self._suffix = format_of(data), suffix_of(data)
        self.storage = storage_for(data.uri)
        self._root = self.storage.resolve(data.uri).rstrip("/")
        self._content = Content(seed, ratio)
        self._folders: set[str] = set()

    def make(self, split: str, index: int) -> int:
        """Make one file with what belongs to it; the bytes of all.

        Raises:
            CannotRunError: If it cannot be written.
        """
        return sum(self._write(place, pieces) for place, pieces in self.pieces(split, index))

    def pieces(self, split: str, index: int) -> Iterator[tuple[str, Iterator[Any]]]:
        """What belongs to one file, itself last: each place with its bytes, in pieces."""
        plan = Plan(self._data, split, index, self._suffix, self._seed)
        beside = {} if self._data.compression == "gzip" else self._format.beside
        for pattern, pieces in beside.items():
            yield f"{self._root}/{pattern.format(name=plan.name)}", gathered(pieces(plan))
        yield f"{self._root}/{plan.name}", gathered(self._format.make(plan, self._content))

    def _write(self, place: str, pieces: Iterator[Any]) -> int:
        count = Counted(pieces, keep=not self.storage.local)
        try:
            self._make_folder(os.path.dirname(place))
            self.storage.write(place, count)
        except OSError as error:
            raise CannotRunError(
                f"{place} cannot be written: {error.strerror}",
                way_out_of(error, "make room, or name another place with --data"),
            ) from None
        return count.bytes

    def _make_folder(self, folder: str) -> None:
        if self.storage.local and folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)


def said(data: DataSet, seed: int, ratio: float) -> str:
    """The line of JSON that tells a process what the data set is."""
    from dataclasses import asdict

    return json.dumps({"data": asdict(data), "seed": seed, "ratio": ratio})


def maker_of(facts: Mapping[str, Any]) -> Maker:
    """The maker that a line of JSON asks for."""
    data = dict(facts["data"])
    data["record_bytes"] = Distribution(**data["record_bytes"])
    return Maker(DataSet(**data), facts["seed"], facts["ratio"])
