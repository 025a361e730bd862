"""The verdict as CSV: criteria.csv, and hist_NAME.csv with both sides on common bins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.report.json import summary
from harness.verdict import Histogram, Verdict
from tracekit.errors import InputError, OutputExistsError
from tracekit.metrics.tables import csv_text
from tracekit.output import make_directory, unwritten, write_text

COLUMNS = (
    "id", "class", "title", "verdict", "gates", "unit", "golden", "measured", "effect", "effect_kind", "interval_lo", "interval_hi",
    "band_lo", "band_hi", "reason", "settle",
)  # fmt: skip


def texts(verdict: Verdict) -> dict[str, str]:
    """The files by name."""
    files = {"criteria.csv": csv_text(COLUMNS, _criteria(verdict))}
    for histogram in verdict.histograms:
        files[f"hist_{histogram.name}.csv"] = csv_text(("bin_lo", "bin_hi", "golden", "candidate"), _bins(histogram))
    return files


def write(verdict: Verdict, directory: Path, *, force: bool) -> list[str]:
    """Write the files into a directory, which is made where it is missing.

    Raises:
        OutputExistsError: If one of them exists and `force` is false.
        InputError: If there is something else in the place of the directory.
        CannotRunError: If it cannot be made or written.
    """
    files = texts(verdict)
    check_directory(directory, force=force)
    make_directory(directory, "name another directory with --csv")
    for name, text in files.items():
        write_text(directory / name, text, force=force)
    return list(files)


def check_directory(directory: Path, *, force: bool) -> None:
    """Fail now if `write` would fail later (errors as there)."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory", "name another with --csv")
    _probe(directory)
    taken = next((path for path in sorted(directory.glob("*.csv"))), None) if directory.is_dir() else None
    if taken is not None and not force:
        raise OutputExistsError(taken)


def _probe(directory: Path) -> None:
    """Make and remove a directory where the files will lie, or their directory will: only that tells whether it can be done."""
    place = next((path for path in (directory, *directory.absolute().parents) if path.is_dir()), directory)
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".harness.", suffix=".part", dir=place))
    except OSError as error:
        raise unwritten(f"{place} cannot be written", error, "name another directory with --csv") from None


def _criteria(verdict: Verdict) -> Iterable[Sequence[object]]:
    for row in summary(verdict)["criteria"]:
        interval, band = row["interval"] or (None, None), row["band"] or (None, None)
        flat = row | {"interval_lo": interval[0], "interval_hi": interval[1], "band_lo": band[0], "band_hi": band[1]}
        yield ["" if flat[name] is None else flat[name] for name in COLUMNS]


def _bins(histogram: Histogram) -> Iterable[Sequence[object]]:
    shares = zip(histogram.golden, histogram.candidate, strict=True)
    for low, high, (golden, candidate) in zip(histogram.lo, histogram.hi, shares, strict=True):
        yield low, high, f"{golden:.10g}", f"{candidate:.10g}"
