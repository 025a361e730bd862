"""Where a run keeps its plans and results while it lasts; what runs that were killed have left goes with the next one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tracekit import claims

_PREFIX = "tracekit-run-"


@contextmanager
def scratch() -> Iterator[str]:
    """A directory for the block, gone after it.

    A launcher kills ranks before they can remove theirs, and nobody removes that of a killed run: what is there and nobody's is removed
    at the beginning.
    """
    base = tempfile.gettempdir()
    claims.sweep(_PREFIX, base)
    with claims.claimed(_PREFIX, base) as path:
        yield path
