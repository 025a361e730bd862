"""Metrics of a trace: a pure function from a Trace to numbers with names and units (docs/metrics.md).

The names are loaded on first use: who adds up a few figures does without the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.metrics.snapshot import METRICS_VERSION, Metrics
    from tracekit.metrics.stream import Stream

_HOMES = {"METRICS_VERSION": "snapshot", "Metrics": "snapshot", "Stream": "stream"}

__all__ = ["METRICS_VERSION", "Metrics", "Stream"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
