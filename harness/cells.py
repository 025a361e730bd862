"""The cells of a cache matrix: one recording replayed in several cache scenarios, and what each run shows of the page cache."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.drive import stop
from tracekit import itself, progress
from tracekit.errors import EXIT_CANNOT_RUN, EXIT_INPUT, CannotRunError
from tracekit.metrics.view import View
from tracekit.pages import PAGE_BYTES
from tracekit.trace import NULL, Trace

# What the kernel counts device input in (getrusage).
_BLOCK_BYTES = 512
_LOOK_EVERY_S = 0.05
_DELIVERED, _REFUSED = {0, 3}, {EXIT_INPUT, EXIT_CANNOT_RUN}


@dataclass(frozen=True)
class Scenario:
    """How a cell is replayed: `tracekit replay --cache … --cache-start …`."""

    name: str
    cache: str
    cache_start: str
    title: str


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("buffered", "default", "warm", "through the page cache, everything resident"),
        Scenario("cold", "default", "cold", "through the page cache, nothing resident"),
        Scenario("random", "random", "cold", "cold, the kernel told that reads are random: no read-ahead"),
        Scenario(
            "sequential", "sequential", "cold", "cold, the kernel told that reads are sequential: more read-ahead"
        ),
        Scenario("direct", "direct", "cold", "past the page cache, O_DIRECT"),
    )
}


@dataclass(frozen=True)
class CellRun:
    """What one replay shows; None is "the trace does not tell".

    Args:
        ops: Reads and writes.
        bytes: What the reads moved.
        mean_ns: Mean service time of reads that moved something.
        p50_ns: Their median.
        rate: Bytes a second, over the whole replay.
        pages: Pages of the files that were replayed.
        before: How many of them were resident when the replay began.
        after: How many when it ended.
        asked: How many different pages its reads touched.
        direct_files: Files that were read with O_DIRECT.
        fallback_files: Files that refused it and were read through the page cache.
        device_bytes: What the kernel read from a device for this replay.
    """

    ops: int
    bytes: int
    mean_ns: float | None
    p50_ns: float | None
    rate: float | None
    pages: int | None
    before: int | None
    after: int | None
    asked: int
    direct_files: int
    fallback_files: int
    device_bytes: int | None = None

    @classmethod
    def of(cls, trace: Trace, device_bytes: int | None = None) -> CellRun:
        """What a replay's trace shows."""
        view = View.of(trace)
        read = view.reads & view.timed & (view.moved > 0)
        service = (view.complete - view.submit)[read]
        span = int(view.complete[view.timed].max() - view.submit[0]) if bool(view.timed.any()) else 0
        trailer = trace.trailer
        residency: Mapping[str, Any] = trailer.residency if trailer else {}
        run: Mapping[str, Any] = trailer.run if trailer else {}
        before, after = (_resident(residency.get(when)) for when in ("before", "after"))
        moved = int(view.moved[view.reads].sum())
        return cls(
            ops=len(view.data),
            bytes=moved,
            mean_ns=float(service.mean()) if len(service) else None,
            p50_ns=float(np.median(service)) if len(service) else None,
            rate=moved / span * 1e9 if span else None,
            pages=before[0] if before else None,
            before=before[1] if before else None,
            after=after[1] if after else None,
            asked=pages_asked(view),
            direct_files=_count(run.get("direct_files")),
            fallback_files=_count(run.get("direct_fallback_files")),
            device_bytes=device_bytes,
        )


def _resident(table: Any) -> tuple[int, int] | None:
    """(pages, resident pages) as a trailer has them."""
    if not isinstance(table, Mapping):
        return None
    pages, resident = table.get("pages"), table.get("resident")
    return (pages, resident) if isinstance(pages, int) and isinstance(resident, int) and pages > 0 else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def pages_asked(view: View) -> int:
    """How many different pages the reads of a trace touched."""
    chosen = view.reads & (view.moved > 0) & (view.col("offset") != NULL)
    if not bool(chosen.any()):
        return 0
    offset, file = view.col("offset")[chosen], view.col("uri")[chosen]
    first, end = offset // PAGE_BYTES, -(-(offset + view.moved[chosen]) // PAGE_BYTES)
    # Every file gets a stretch of the line of pages for itself; there the union of ranges is one sweep.
    stretch = int(end.max())
    first, end = first + file * stretch, end + file * stretch
    order = np.argsort(first, kind="stable")
    reached = np.concatenate([[0], np.maximum.accumulate(end[order])[:-1]])
    return int(np.maximum(end[order] - np.maximum(first[order], reached), 0).sum())


@dataclass(frozen=True)
class Refused:
    """A scenario that cannot be had here, and why."""

    why: str


def replayed(
    trace: str, scenarios: Sequence[Scenario], runs: int, words: Sequence[str], place: Path
) -> Iterator[tuple[Scenario, int, Path | Refused, int]]:
    """Replay a recording in every scenario, `runs` times, in turn: what changes on the machine meanwhile meets all of them.

    Args:
        trace: The recording.
        scenarios: The scenarios.
        runs: How often.
        words: Further options of `tracekit replay`.
        place: The directory for the traces.

    Yields:
        Scenario, number of the run from 1, the trace (or why there is none), and the bytes read from a device.

    Raises:
        CannotRunError: If a replay ended otherwise than by refusing the scenario.
    """
    refused: set[str] = set()
    for number in range(1, runs + 1):
        for scenario in scenarios:
            if scenario.name in refused:
                continue
            output = place / f"{scenario.name}.{number}.jsonl"
            at = (number - 1) * len(scenarios) + scenarios.index(scenario), runs * len(scenarios)
            status, device, said = _replay(trace, scenario, words, output, at)
            if status in _DELIVERED:
                yield scenario, number, output, device
            elif status in _REFUSED and number == 1 and scenario.name != "buffered":
                refused.add(scenario.name)
                yield scenario, number, Refused(said), 0
            else:
                raise CannotRunError(f"the replay of {trace} ({scenario.name}) failed: {said}", "see tracekit replay")


def _replay(
    trace: str, scenario: Scenario, words: Sequence[str], output: Path, at: tuple[int, int]
) -> tuple[int, int, str]:
    """Exit status, bytes read from a device, and what it said on standard error; `at`: how many replays came before, of how many."""
    command = [
        *itself.command("tracekit.cli"), "-q", "replay", trace, "-o", str(output), "--cache", scenario.cache,
        "--cache-start", scenario.cache_start, "--accept-degraded", *words,
    ]  # fmt: skip
    with open(output.with_suffix(".log"), "w+b") as log:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
                progress.tell("matrix", *at, "replays", (scenario.name,))
                time.sleep(_LOOK_EVERY_S)
            _, status, usage = ended
        except BaseException:
            stop(child)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    return child.returncode, usage.ru_inblock * _BLOCK_BYTES, _last_sentence(said)


def _last_sentence(said: str) -> str:
    last = said.splitlines()[-1] if said else "it said nothing"
    return last.removeprefix("tracekit: ").removeprefix("error: ")
