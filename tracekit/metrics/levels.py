"""Object requests are counted once, also where nobody knows yet whether a trace has logical ones.

Another tool's trace with logical requests is looked at without its wire requests; one that only has wire requests, with them.
Which of the two a trace is may show late: until then both are kept, from the first wire request on.
"""

from __future__ import annotations

import copy
from typing import Generic, Protocol, TypeVar

from tracekit.metrics.view import Streams, View, has_doubles, has_level
from tracekit.trace import Trace


class Tally(Protocol):
    """Something that adds up a trace, piece by piece in order of time."""

    def update(self, view: View) -> None:
        """Take in the next piece."""


Kept = TypeVar("Kept", bound=Tally)


class Levels(Generic[Kept]):
    """Feeds a tally the ops that count.

    Args:
        tally: What is fed; what it has become is `tally`.
    """

    def __init__(self, tally: Kept) -> None:
        self.tally = tally
        self._numbers = Streams()
        self._wire = 0
        self._logical = False
        self._without: tuple[Kept, Streams] | None = None

    @property
    def wire(self) -> int:
        """How many wire requests were left out."""
        return self._wire if self._logical else 0

    def update(self, piece: Trace) -> None:
        """Take in the next piece, whose ops are in order of submission."""
        if not self._logical and has_doubles(piece):
            self._logical = True
            if self._without is not None:
                self.tally, self._numbers = self._without
                self._without = None
        if not self._logical and self._without is None and has_level(piece, "wire"):
            self._without = copy.deepcopy((self.tally, self._numbers))
        if not self._logical:
            self.tally.update(View.whole(piece, self._numbers))
            if self._without is None:
                return
        tally, numbers = self._without or (self.tally, self._numbers)
        view = View.without_wire(piece, numbers)
        self._wire += view.wire
        tally.update(view)
