"""A whole trace in pieces, so that what adds up pieces needs little beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.metrics.view import View
from tracekit.trace import Trace

PIECE_OPS = 1 << 20


def pieces(trace: Trace, ops: int = PIECE_OPS) -> Iterator[View]:
    """Views of at most `ops` ops each, in order of time; at least one."""
    whole = View.of(trace)
    ordered = whole.trace
    for start in range(0, max(len(ordered), 1), ops):
        piece = ordered if ops >= len(ordered) else ordered.select(slice(start, start + ops))
        yield View.of(piece)
