"""Directories and object prefixes: what files are put together by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Prefixes:
    """The prefix of each of many files: names, and for each file which of them is its.

    Files are many and directories few: whatever is done by prefix is done once for each directory.
    """

    names: list[str]
    of: Ints

    @classmethod
    def directories(cls, uris: Sequence[str]) -> Prefixes:
        """The whole directory of each URI."""
        return cls._numbered([uri[: uri.rfind("/") + 1] for uri in uris])

    @classmethod
    def few(cls, uris: Sequence[str], most: int) -> Prefixes:
        """Prefixes as deep as there are no more than `most` of them."""
        whole = cls.directories(uris)
        chosen = whole.cut(1)
        deepest = max((name.count("/") for name in whole.names), default=0)
        for depth in range(2, deepest + 1):
            deeper = whole.cut(depth)
            if len(deeper.names) > most:
                break
            chosen = deeper
        return chosen

    def cut(self, depth: int | None) -> Prefixes:
        """The same down to so many parts of the path; None is all of them."""
        shorter = self._numbered([prefix(name, depth) for name in self.names])
        return Prefixes(shorter.names, shorter.of[self.of])

    @classmethod
    def _numbered(cls, names: Sequence[str]) -> Prefixes:
        codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        return cls(list(codes), np.fromiter(map(codes.__getitem__, names), np.int64, len(names)))


def prefix(uri: str, depth: int | None) -> str:
    """The directory or object prefix of a URI, down to so many parts of its path; None is all of them."""
    scheme, sign, rest = uri.partition("://")
    if not sign:
        scheme, rest = "", uri
    parts = rest.split("/")[:-1]
    kept = parts if depth is None else parts[: depth + (not parts or parts[0] == "")]
    return f"{scheme}{sign}{'/'.join(kept)}/"
