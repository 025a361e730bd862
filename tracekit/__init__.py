"""tracekit: record a training job's I/O, replay it elsewhere, and say how close the two are.

Public names are loaded on first use, so that importing tracekit inside a program that is being recorded costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.joining import merge
    from tracekit.metrics import Metrics
    from tracekit.record.context import checkpoint, epoch, feed, recording, sample, step
    from tracekit.trace import Header, Mark, Op, Trace, Trailer

__version__ = "0.1.0"

_HOMES = {
    "Trace": "tracekit.trace",
    "Op": "tracekit.trace",
    "Mark": "tracekit.trace",
    "Header": "tracekit.trace",
    "Trailer": "tracekit.trace",
    "merge": "tracekit.joining",
    "Metrics": "tracekit.metrics",
    "checkpoint": "tracekit.record.context",
    "step": "tracekit.record.context",
    "sample": "tracekit.record.context",
    "epoch": "tracekit.record.context",
    "feed": "tracekit.record.context",
    "recording": "tracekit.record.context",
}

__all__ = [
    "Header",
    "Mark",
    "Metrics",
    "Op",
    "Trace",
    "Trailer",
    "checkpoint",
    "epoch",
    "feed",
    "merge",
    "recording",
    "sample",
    "step",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    # What this module needs for itself is nobody's to complete.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
