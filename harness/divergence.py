"""What must differ between cache scenarios, and which way: a cache experiment that changes nothing has shown nothing.

The same requests are asked for in every cell, so what was asked must be equal. What the storage answered must not be: cold is slower
than buffered, direct is slower than buffered and leaves nothing in the page cache, random advice leaves only what was asked for.
Where the cold cell was provably cold and is not slower, the storage itself is as fast as memory here: then nothing that rests on the
storage being slower can be decided.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import paired
from harness.cells import SCENARIOS, CellRun, Refused
from harness.criterion import ENVIRONMENT, INTENT
from harness.validity import unsettled
from harness.verdict import FactTable, Finding, Outcome, Verdict
from tracekit.trace import Trace
from tracekit.units import format_bytes, format_ns, format_rate

MATRIX = "matrix"
# Less than that between two scenarios could be anything.
SLOWER = 1.2
# The share of the files' pages that may be otherwise than the start state says, that a direct run may leave, that random advice may
# leave beyond what was asked.
PAGES = 0.02
# Where the trace reads nearly every page there is nothing to be read ahead.
WHOLE = 0.95
# What is asked of the storage and does not depend on when: the pace of a matrix is its own, and streams that share a file may then
# meet in it in another order.
_INTENT = ("ops.missing", "ops.extra", "ops.errors", "size.match", "size.ks", "step.bytes", "order.stream", "streams.moved")  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A scenario's runs."""

    name: str
    runs: Sequence[CellRun]

    def median(self, name: str) -> float | None:
        """The median over the runs of what a `CellRun` has; None where one of them does not tell."""
        values = [getattr(run, name) for run in self.runs]
        return None if None in values or not values else float(statistics.median(values))

    def values(self, name: str) -> list[float]:
        """What each run tells."""
        return [float(getattr(run, name)) for run in self.runs if getattr(run, name) is not None]


@dataclass(frozen=True)
class Matrix:
    """The cells that are there, and why others are not."""

    cells: Mapping[str, Cell]
    refused: Mapping[str, str]

    def missing(self, *names: str) -> str:
        """Why a criterion cannot be decided: the cells it needs that are not there; empty where all are."""
        gone = [name for name in names if name not in self.cells]
        return "; ".join(
            f"there is no {name} cell{f' ({self.refused[name]})' if name in self.refused else ''}" for name in gone
        )


def judge(
    recorded: Trace,
    traces: Mapping[str, Sequence[tuple[Trace, int | None]]],
    refused: Mapping[str, Refused],
    name: str,
) -> Verdict:
    """Hold the cells of a matrix against what must be equal and what must differ.

    Args:
        recorded: The recording.
        traces: For each scenario its replays, each with the bytes read from a device where they are known.
        refused: Scenarios that cannot be had here.
        name: The recording's name.
    """
    cells = {one: Cell(one, [CellRun.of(*run) for run in runs]) for one, runs in traces.items() if runs}
    matrix = Matrix(cells, {one: refusal.why for one, refusal in refused.items()})
    findings = [_same_intent(recorded, one, [trace for trace, _ in runs]) for one, runs in traces.items() if runs]
    findings += [*_starts(matrix), _cold_slower(matrix), *_direct(matrix), *_ahead(matrix)]
    if all(found.outcome is Outcome.NA for found in findings if found.klass == ENVIRONMENT):
        findings.append(_undecided())
    notes = [f"there is no {one} cell: {why}" for one, why in matrix.refused.items()]
    return Verdict(
        MATRIX,
        {"name": os.path.basename(name), "ops": len(recorded)},
        [_described(cell) for cell in cells.values()],
        findings,
        notes,
        tables=[_table(list(cells.values()))],
    )


# -- what must be equal ------------------------------------------------------------------------------------------------------


def _same_intent(recorded: Trace, name: str, runs: Sequence[Trace]) -> Finding:
    """Every run of a cell asks for what was recorded."""
    title = f"{name}: the same requests"
    for number, run in enumerate(runs, 1):
        verdict = paired.judge(recorded, run, names=("the recording", f"run {number} of {name}"))
        wrong = [
            found
            for found in verdict.findings
            if found.outcome is Outcome.ERROR or (found.outcome is Outcome.FAIL and found.id in _INTENT)
        ]
        if wrong:
            reason = f"run {number} of {name} is not the recording: {wrong[0].reason}"
            return Finding(f"intent.{name}", INTENT, title, Outcome.FAIL, reason=reason)
    return Finding(f"intent.{name}", INTENT, title, Outcome.PASS)


# -- what the page cache must have held ----------------------------------------------------------------------------------------


def _starts(matrix: Matrix) -> Iterator[Finding]:
    for name, cell in matrix.cells.items():
        cold = SCENARIOS[name].cache_start == "cold"
        title = f"{name}: {'nothing' if cold else 'everything'} resident at the start"
        shares = _shares(cell, "before")
        if shares is None:
            yield _silent(f"start.{name}", title, "the trace does not tell which pages were resident")
            continue
        worst = max(shares) if cold else min(shares)
        is_so = worst <= PAGES if cold else worst >= 1 - PAGES
        reason = f"{worst:.1%} of the files' pages were resident when {name} began: it is {'not cold' if cold else 'cold in part'}"
        yield _found(f"start.{name}", title, worst, (None, PAGES) if cold else (1 - PAGES, None), reason, is_so=is_so)


def _shares(cell: Cell, when: str) -> list[float] | None:
    pages, resident = cell.values("pages"), cell.values(when)
    if not pages or len(resident) != len(pages):
        return None
    return [part / whole for part, whole in zip(resident, pages, strict=True)]


# -- what must be slower ---------------------------------------------------------------------------------------------------------


def _cold_slower(matrix: Matrix) -> Finding:
    title = "cold is slower than buffered (mean service time)"
    missing = matrix.missing("buffered", "cold")
    if missing:
        return _silent("slower.cold", title, missing)
    found = _slower(matrix, "cold", "mean_ns", title)
    if found.outcome is Outcome.FAIL and _was_cold(matrix.cells["cold"]):
        # It was cold and nobody could tell: that is a fact about the storage, not about the replay.
        reason = "nothing was resident when cold began, and it is as fast as buffered: this storage shows no difference"
        settle = "use slower storage, or a trace whose reads are not hidden by read-ahead"
        return _with(found, Outcome.INCONCLUSIVE, reason, settle)
    return found


def _was_cold(cell: Cell) -> bool:
    shares = _shares(cell, "before")
    return shares is not None and max(shares) <= PAGES


def _direct(matrix: Matrix) -> Iterator[Finding]:
    titles = ("direct: every file read with O_DIRECT", "direct: leaves nothing in the page cache", "direct is slower than buffered (median service time)")  # fmt: skip
    missing = matrix.missing("direct")
    if missing:
        for name, title in zip(("direct.files", "direct.leaves", "slower.direct"), titles, strict=True):
            yield _silent(name, title, missing)
        return
    cell = matrix.cells["direct"]
    fallen = max(cell.values("fallback_files"))
    is_direct = not fallen and min(cell.values("direct_files")) > 0
    why = (
        f"{fallen:.0f} files were read through the page cache"
        if fallen
        else "by its own account no file was read with O_DIRECT"
    )
    yield _found("direct.files", titles[0], fallen, (None, 0.0), why, is_so=is_direct, unit="files")
    yield _leaves(cell, titles[1])
    yield _direct_slower(matrix, titles[2])


def _leaves(cell: Cell, title: str) -> Finding:
    before, after = _shares(cell, "before"), _shares(cell, "after")
    if before is None or after is None:
        return _silent("direct.leaves", title, "the trace does not tell which pages were resident")
    left = max(end - start for start, end in zip(before, after, strict=True))
    reason = f"{left:.1%} of the files' pages are resident after a direct run: it went through the page cache"
    return _found("direct.leaves", title, left, (None, PAGES), reason, is_so=left <= PAGES)


def _direct_slower(matrix: Matrix, title: str) -> Finding:
    missing = matrix.missing("buffered", "cold")
    if missing:
        return _silent("slower.direct", title, f"{missing}; without both nobody knows what this storage looks like")
    found = _slower(matrix, "direct", "p50_ns", title)
    control = _cold_slower(matrix)
    if found.outcome is Outcome.FAIL and control.outcome is not Outcome.PASS:
        reason = f"{found.reason}; but {control.reason or 'cold is not known to be slower either'}"
        return _with(found, Outcome.INCONCLUSIVE, reason, "use storage that is slower than memory")
    return found


def _slower(matrix: Matrix, name: str, statistic: str, title: str) -> Finding:
    """Whether a cell is slower than the buffered one, in every run against every run.

    The interval spans all pairs of runs; of three runs each, one in twenty would be wholly above by chance.
    """
    fast, slow = matrix.cells["buffered"], matrix.cells[name]
    mine, theirs = fast.values(statistic), slow.values(statistic)
    if not mine or not theirs or min(mine) <= 0:
        return _silent(f"slower.{name}", title, "a trace does not tell how long its reads took")
    effect = statistics.median(theirs) / statistics.median(mine)
    low, high = min(theirs) / max(mine), max(theirs) / min(mine)
    outcome = Outcome.PASS if low >= SLOWER else Outcome.FAIL if high < SLOWER else Outcome.INCONCLUSIVE
    times = f"{format_ns(statistics.median(theirs))} against {format_ns(statistics.median(mine))}"
    reason, settle = "", ""
    if outcome is Outcome.FAIL:
        reason = f"{name} is as fast as the page cache: a read takes {times}"
    elif outcome is Outcome.INCONCLUSIVE:
        reason, settle = f"the runs overlap: a read takes {times}", "more runs (--runs), on a quieter machine"
    return Finding(
        f"slower.{name}", ENVIRONMENT, title, outcome, unit="ns", golden=statistics.median(mine),
        measured=statistics.median(theirs), effect=effect, interval=(low, high), band=(SLOWER, None), effect_kind="ratio",
        reason=reason, settle=settle,
    )  # fmt: skip


# -- what must be read ahead, or not ------------------------------------------------------------------------------------------------


def _ahead(matrix: Matrix) -> Iterator[Finding]:
    titles = (
        "random: only what was asked for is resident afterwards",
        "sequential leaves more pages than random: read-ahead",
    )
    for name, title, needs in zip(
        ("ahead.random", "ahead.sequential"), titles, (["random"], ["random", "sequential"]), strict=True
    ):
        why = matrix.missing(*needs) or _nothing_to_read_ahead(matrix.cells["random"])
        if why:
            yield _silent(name, title, why)
        else:
            yield _only_asked(matrix.cells["random"], title) if name == "ahead.random" else _more_ahead(matrix, title)


def _nothing_to_read_ahead(cell: Cell) -> str:
    pages, asked = cell.median("pages"), cell.median("asked") or 0.0
    if pages is None or cell.median("after") is None:
        return "the trace does not tell which pages were resident"
    if asked >= WHOLE * pages:
        return f"{min(1.0, asked / pages):.0%} of the files' pages are asked for: there is nothing to be read ahead"
    return ""


def _only_asked(cell: Cell, title: str) -> Finding:
    after, asked = cell.median("after") or 0.0, cell.median("asked") or 0.0
    extra = max(0.0, after - asked) / asked if asked else 0.0
    reason = f"{after:.0f} pages are resident after a random run, {asked:.0f} were asked for: read-ahead was not off"
    return _found("ahead.random", title, extra, (None, PAGES), reason, is_so=extra <= PAGES)


def _more_ahead(matrix: Matrix, title: str) -> Finding:
    random, sequential = (matrix.cells[name].median("after") or 0.0 for name in ("random", "sequential"))
    ratio = sequential / random if random else 1.0
    if abs(ratio - 1) <= PAGES:
        return _silent(
            "ahead.sequential",
            title,
            "both leave the same pages: the reads jump, and the kernel reads nothing ahead of them",
        )
    reason = f"{sequential:.0f} pages are resident after a sequential run and {random:.0f} after a random one: the advice had no effect"
    return _found("ahead.sequential", title, ratio, (1 + PAGES, None), reason, is_so=ratio > 1, unit="times")


# -- findings and tables --------------------------------------------------------------------------------------------------------------


def _found(
    name: str, title: str, value: float, band: tuple[float | None, float | None], reason: str, *, is_so: bool, unit: str = "share",
) -> Finding:  # fmt: skip
    kind = "ratio" if unit == "times" else "value" if band[1] is None else "distance"
    return Finding(
        name, ENVIRONMENT, title, Outcome.PASS if is_so else Outcome.FAIL, unit="" if kind == "ratio" else unit, measured=value,
        effect=value, band=band, effect_kind=kind, reason="" if is_so else reason,
    )  # fmt: skip


def _undecided() -> Finding:
    """The same requests alone say nothing about the page cache: a matrix that shows no more must not pass."""
    return unsettled(
        "valid.cells",
        "cells that show something",
        "nothing about the page cache could be decided from these cells",
        "take replays that tell which pages were resident, and cells to hold against each other (buffered and cold)",
    )


def _silent(name: str, title: str, why: str) -> Finding:
    return Finding(name, ENVIRONMENT, title, Outcome.NA, reason=why)


def _with(found: Finding, outcome: Outcome, reason: str, settle: str) -> Finding:
    return replace(found, outcome=outcome, reason=reason, settle=settle)


def _described(cell: Cell) -> dict[str, Any]:
    scenario = SCENARIOS[cell.name]
    facts = ("bytes", "asked", "mean_ns", "p50_ns", "rate", "pages", "before", "after", "device_bytes")
    return {
        "name": cell.name,
        "ops": cell.runs[0].ops,
        "runs": len(cell.runs),
        "cache": scenario.cache,
        "cache_start": scenario.cache_start,
        **{f"median_{name}": cell.median(name) for name in facts},
    }


def _table(cells: Sequence[Cell]) -> FactTable:
    header = ("cell", "runs", "read mean", "read p50", "throughput", "resident before", "after", "from device")
    return FactTable("cells", header, [_row(cell) for cell in cells])


def _row(cell: Cell) -> Sequence[str]:
    def told(name: str, text: Any) -> str:
        value = cell.median(name)
        return "–" if value is None else text(value)

    shares = [_shares(cell, when) for when in ("before", "after")]
    return (
        cell.name,
        str(len(cell.runs)),
        told("mean_ns", format_ns),
        told("p50_ns", format_ns),
        told("rate", format_rate),
        *("–" if share is None else f"{statistics.median(share):.0%}" for share in shares),
        told("device_bytes", format_bytes),
    )
