"""Metrics of a trace: a pure function from a Trace to numbers with names and units (docs/metrics.md)."""

from __future__ import annotations

from tracekit.metrics.snapshot import METRICS_VERSION, Metrics
from tracekit.metrics.stream import Stream

__all__ = ["METRICS_VERSION", "Metrics", "Stream"]
