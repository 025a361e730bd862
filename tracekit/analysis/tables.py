"""The analysis as CSV files: scalars, and one file for each of its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from tracekit.analysis.bursts import Burst
from tracekit.analysis.duty import StepDuty
from tracekit.analysis.groups import Group
from tracekit.analysis.snapshot import Analysis
from tracekit.analysis.tail import Part
from tracekit.metrics import schema
from tracekit.metrics.tables import cell, csv_text


def texts(analysis: Analysis) -> dict[str, str]:
    """The files by name; those of empty tables have their header alone."""
    scalars = [(name, cell(value), unit) for name, value, unit, _ in schema.scalars(analysis)]
    sizes, duty, cache = analysis.size_by_latency, analysis.duty, analysis.cache
    cells = [
        (size, time, count)
        for size, row in zip(sizes.size_low_bytes, sizes.counts, strict=True)
        for time, count in zip(sizes.latency_low_us, row, strict=True)
        if count
    ]
    window = duty.window_s or 0.0
    timeline = [(number * window, share) for number, share in enumerate(duty.timeline)]
    return {
        "analysis.csv": csv_text(("figure", "value", "unit"), scalars),
        "size_latency.csv": csv_text(("size_low_bytes", "latency_low_us", "ops"), cells),
        "files.csv": _columns(analysis.all_files.columns()),
        "prefixes.csv": _records(Group, analysis.files.prefixes),
        "workers.csv": _records(Group, analysis.workers.table),
        "cache_curve.csv": csv_text(
            ("cache_bytes", "hit_share"), zip(cache.curve_bytes, cache.curve_hits, strict=True)
        ),
        "tail.csv": _tail(analysis),
        "duty.csv": csv_text(("t_s", "busy_share"), timeline),
        "duty_steps.csv": _records(StepDuty, duty.steps),
        "bursts.csv": _records(Burst, analysis.bursts),
    }  # fmt: skip


def _columns(columns: Mapping[str, Sequence[Any]]) -> str:
    return csv_text(tuple(columns), [list(map(cell, row)) for row in zip(*columns.values(), strict=True)])


def _records(kind: type[Any], records: Iterable[Any]) -> str:
    columns = [field.name for field in fields(kind)]
    return csv_text(columns, [[cell(getattr(record, name)) for name in columns] for record in records])


def _tail(analysis: Analysis) -> str:
    columns: Sequence[str] = [field.name for field in fields(Part)]
    tail = analysis.tail
    kinds = (
        (("size", tail.by_size), ("file", tail.by_file), ("stream", tail.by_stream), ("time", tail.by_time))
        if tail
        else ()
    )
    rows = [[kind, *(cell(getattr(part, name)) for name in columns)] for kind, parts in kinds for part in parts]
    return csv_text(("by", *columns), rows)
