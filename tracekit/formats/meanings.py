"""What the codes of a growing table mean: each is found out once, when it is first met."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tracekit.trace import NULL, IntArray

_NEW = -(2**63)


class Meanings:
    """Numbers for codes, NULL for NULL.

    Args:
        find: Gives that of a code; called in the order in which codes appear.
    """

    def __init__(self, find: Callable[[int], int]) -> None:
        self._find = find
        # NULL, which is -1, is the last.
        self._known = np.array([NULL], np.int64)

    def of(self, codes: IntArray) -> IntArray:
        """What each of some codes means."""
        self._make_room(codes)
        found = self._known[codes]
        new = codes[found == _NEW]
        if not len(new):
            return found
        distinct, first = np.unique(new, return_index=True)
        for code in distinct[np.argsort(first)].tolist():
            self._known[code] = self._find(code)
        return self._known[codes]

    def set(self, codes: IntArray, meanings: IntArray) -> None:
        """Say what some codes mean from now on; of one that comes twice the last counts."""
        self._make_room(codes)
        self._known[codes] = meanings

    def _make_room(self, codes: IntArray) -> None:
        needed = int(codes.max(initial=NULL)) + 2
        if needed > len(self._known):
            added = np.full(2 * needed - len(self._known), _NEW, np.int64)
            self._known = np.concatenate([self._known[:-1], added, [NULL]])
