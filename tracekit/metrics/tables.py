"""Metrics as CSV files: one of scalars, one per histogram, one of steps, one of the queue depth's timeline."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit.errors import OutputExistsError
from tracekit.histogram import Histogram
from tracekit.metrics import schema
from tracekit.metrics.steps import StepRow
from tracekit.output import unwritten

if TYPE_CHECKING:
    from tracekit.metrics.snapshot import Metrics


def write(metrics: Metrics, directory: str | os.PathLike[str], *, force: bool) -> list[str]:
    """Write the files of `Metrics.to_csv` (arguments and errors as there)."""
    return write_texts(texts(metrics), directory, force=force)


def write_texts(files: Mapping[str, str], directory: str | os.PathLike[str], *, force: bool) -> list[str]:
    """Write these files into a directory, all or none (arguments and errors as for `Metrics.to_csv`)."""
    target = Path(directory)
    taken = next((target / name for name in files if (target / name).exists()), None)
    if taken is not None and not force:
        raise OutputExistsError(taken)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write_all(target, files)
    except OSError as error:
        raise unwritten(f"{target} cannot be written", error, "name another directory") from None
    return list(files)


def texts(metrics: Metrics) -> dict[str, str]:
    """The files by name."""
    scalars = [(name, cell(value), unit) for name, value, unit, _ in schema.scalars(metrics)]
    files = {"scalars.csv": csv_text(("metric", "value", "unit"), scalars)}
    for name, histogram, unit in schema.histograms(metrics):
        divisor = schema.divisor_of(unit)
        rows = [
            (low / divisor, high / divisor, n) if divisor > 1 else (low, high, n)
            for low, high, n in _buckets(histogram)
        ]
        files[f"hist_{name.removesuffix('_hist')}.csv"] = csv_text((f"low_{unit}", f"high_{unit}", "count"), rows)
    columns = [field.name for field in fields(StepRow)]
    steps = [[cell(getattr(row, name)) for name in columns] for row in metrics.steps.table]
    files["steps.csv"] = csv_text(columns, steps)
    depth = metrics.queue_depth
    timeline = zip(depth.timeline_t_us, depth.timeline_mean, depth.timeline_max, strict=True)
    files["queue_depth.csv"] = csv_text(("t_us", "mean", "max"), timeline)
    return files


def _buckets(histogram: Histogram) -> Iterable[tuple[int, int, int]]:
    low, high, counts = histogram.buckets()
    return zip(low.tolist(), high.tolist(), counts.tolist(), strict=True)


def cell(value: object) -> object:
    """A value as it stands in a CSV file: nothing where it is not known."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, lines ending in a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _write_all(target: Path, files: Mapping[str, str]) -> None:
    # Everything is written before the first name appears: a full disk leaves what was there before.
    part = Path(tempfile.mkdtemp(prefix=".tracekit.", suffix=".part", dir=target))
    try:
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        for name in files:
            os.replace(part / name, target / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
