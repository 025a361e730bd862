"""Paired mode: a replay held against its own recording, op by op. Nothing is estimated; what was done is counted."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from harness import concurrency, evidence, stats, validity
from harness import presets as published_bands
from harness.criteria import PAIRED_CRITERIA
from harness.criterion import PAIRED, Criterion
from harness.distances import DISTANCES
from harness.expected import expected
from harness.figures import Figures, histograms
from harness.findings import Measured, distributions, finding_of, size_effects, without
from harness.pairing import Pairing, pair
from harness.verdict import Finding, Outcome, Verdict
from tracekit.metrics import Metrics
from tracekit.metrics.arrivals import WINDOW_NS, windows
from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace
from tracekit.units import format_ns

# What other people's CPU bursts do to either end of a run on a shared two-core host (p99 of a faithful replay: 17 ms).
END_SLACK_NS = 25_000_000
SHIFT_SLACK_NS = {"time.shift-p50": 20_000_000, "time.shift-p99": 100_000_000}
RATE_WINDOW_NS, RATE_WINDOWS = 100_000_000, 50
BURST_GRIDS, BURST_SPAN_NS = 5, 250_000_000
# Twice the dispersion of a Poisson process: below that there is nothing to be smoothed away.
BURSTY = 2.0
# Without a common file, and with more than that share of the sizes unmatched, it is another job and no replay at all.
OTHER_SIZES = 0.1
# What nothing else in the replay makes up for where it is silent: sizes, steps and order are known of the ops it answers to.
EVIDENCE = ("streams.count", "streams.moved", "depth.ceiling")
# What other work on the machine makes worse by making ops late; it makes no replay run at another speed or in another order.
LATE = ("time.shift-p50", "time.shift-p99", "arrival.rate", "arrival.dispersion")


@dataclass(frozen=True)
class Comparison:
    """A recording and what is held against it, with everything that several criteria need."""

    recorded: Trace
    replayed: Trace
    pairing: Pairing

    @cached_property
    def metrics(self) -> tuple[Metrics, Metrics]:
        """The metrics of both."""
        return Metrics.of(self.recorded), Metrics.of(self.replayed)

    @cached_property
    def figures(self) -> tuple[Figures, Figures]:
        """The figures of both."""
        return Figures.measured(self.recorded, self.metrics[0]), Figures.measured(self.replayed, self.metrics[1])

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The options of the replay, by its own header."""
        return _options(self.replayed)

    @cached_property
    def span_ns(self) -> tuple[int, int]:
        """From the first submission to the last, in both."""
        return _span(self.pairing.recorded), _span(self.pairing.replayed)


def judge(
    recorded: Trace,
    replayed: Trace,
    *,
    names: tuple[str, str],
    remap: Sequence[tuple[str, str]] = (),
    presets: Sequence[str] = (),
) -> Verdict:
    """Hold a replay (or any trace) against a recording.

    Args:
        recorded: The recording.
        replayed: What is judged.
        names: What to call the two in sentences.
        remap: (FROM, TO) prefixes of uris; those in the replay's header are used when there are none.
        presets: Published bands to be shown beside ours.
    """
    notes = validity.remarks(recorded, names[0]) + validity.remarks(replayed, names[1])
    notes += validity.cache_remarks(recorded, replayed, names)
    problems = validity.problems(recorded, names[0]) + validity.problems(replayed, names[1])
    options = _options(replayed)
    # What the user says beats what the header says.
    if remap:
        options = {name: value for name, value in options.items() if name != "remap"}
    wanted, differences = expected(recorded, options, names[1], len(replayed))
    comparison = Comparison(wanted, replayed, pair(wanted, replayed, remap))
    problems += evidence.problems(EVIDENCE, comparison.figures[0], [(names[1], comparison.figures[1])], "recording")
    problems += list(_another_job(comparison, names))
    notes += differences
    findings = [*problems, *(_finding(criterion, comparison) for criterion in PAIRED_CRITERIA.values())]
    notes += _source(recorded, options, names)
    published = published_bands.findings(presets, comparison.figures[0], [comparison.figures[1]])
    notes += published_bands.notes(presets, published)
    return Verdict(
        PAIRED,
        _described(recorded, names[0]),
        [_described(replayed, names[1])],
        [*findings, *published],
        notes,
        distributions(histograms(comparison.metrics[0]), histograms(comparison.metrics[1])),
    )


def _another_job(comparison: Comparison, names: tuple[str, str]) -> Iterator[Finding]:
    """Two traces without a common file whose sizes differ as well are no replay of each other, good or bad."""
    mine, theirs = comparison.figures
    if comparison.pairing.common_files or not mine.data_ops or not theirs.data_ops:
        return
    if DISTANCES["size.match"].between(mine.sizes, theirs.sizes) <= OTHER_SIZES:
        return
    yield validity.error(
        "valid.job",
        "traces of one job",
        f"{names[0]} and {names[1]} have no file in common and other sizes: they are traces of different jobs; `harness compare` shows "
        "their differences",
    )


def _described(trace: Trace, name: str) -> dict[str, Any]:
    header = trace.header
    return {
        "name": os.path.basename(name),
        "ops": len(trace),
        "verb": str(header.producer.get("verb", "")) if header else "",
        "engine": str(header.producer.get("engine", "")) if header else "",
    }


def _options(trace: Trace) -> Mapping[str, Any]:
    producer = trace.header.producer if trace.header else {}
    options = producer.get("options")
    return options if producer.get("verb") == "replay" and isinstance(options, Mapping) else {}


def _source(recorded: Trace, options: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """What the replay says it was made from, where that may be something else."""
    source, ops = str(options.get("source") or ""), options.get("source_ops")
    if isinstance(ops, int) and ops != len(recorded):
        return [f"{names[1]} says that it replays {source} with {ops} ops, which is not {names[0]}"]
    if source and os.path.basename(source) != os.path.basename(names[0]):
        return [f"{names[1]} says that it replays {source}"]
    return []


# -- what each criterion measures -------------------------------------------------------------------------------------


# They ask when each op came; a replay that lets the storage decide that is judged by how long it took in all.
_OF_A_SCHEDULE = {"time.shift-p50", "time.shift-p99", "arrival.rate"}


def _finding(criterion: Criterion, comparison: Comparison) -> Finding:
    measured = MEASURES[criterion.id](comparison)
    if isinstance(measured, str):
        return without(criterion, measured)
    needed = _count_for(criterion, comparison)
    gates = criterion.gate == "always"
    notes: Sequence[str] = ()
    pace = comparison.options.get("pace")
    if criterion.id in _OF_A_SCHEDULE and pace in ("think", "asap"):
        gates, notes = False, [f"shown only: the replay's pace was {pace}, which keeps no schedule"]
    finding = finding_of(criterion, measured, needed, gates=gates, notes=notes)
    if finding.outcome is Outcome.FAIL and criterion.id in LATE and _is_disturbed(comparison.replayed):
        settle = "by its own account the replay was disturbed by other work: replay on a quieter machine"
        return replace(finding, outcome=Outcome.INCONCLUSIVE, settle=settle)
    return finding


def _is_disturbed(replayed: Trace) -> bool:
    """Whether others may have made the replay late; not where by its own account it kept the recorded schedule."""
    run = replayed.trailer.run if replayed.trailer is not None else {}
    kept = run.get("delivered") is True and run.get("pace") == "recorded"
    return run.get("verdict") == "DEGRADED" and not kept


def _count_for(criterion: Criterion, comparison: Comparison) -> int:
    if criterion.id.startswith(("order.stream", "order.file", "time.shift", "streams.moved")):
        return len(comparison.pairing)
    return min(len(comparison.recorded), len(comparison.replayed))


def _scalar(name: str) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        mine, theirs = (figures.scalars[name] for figures in comparison.figures)
        if mine is None or theirs is None:
            return f"the {'recording' if mine is None else 'replay'} does not tell"
        return Measured(mine, theirs)

    return measure


def _step_bytes(comparison: Comparison) -> Measured | str:
    """Bytes per step; where the replay does not number its ops, those of the recorded ops they answer to."""
    measured = _scalar("step.bytes")(comparison)
    mine = comparison.figures[0].scalars["step.bytes"]
    if isinstance(measured, Measured) or mine is None:
        return measured
    pairing = comparison.pairing
    view = View.of(pairing.replayed)
    moved = np.zeros(len(view.trace), np.int64)
    moved[view.data] = view.moved
    numbered = pairing.recorded.col("step")[pairing.left] != NULL
    steps = comparison.metrics[0].steps.bytes_per_step_hist.count
    return Measured(mine, float(moved[pairing.right[numbered]].sum() / steps))


def _missing(comparison: Comparison) -> Measured | str:
    return Measured(None, comparison.pairing.missing_share)


def _extra(comparison: Comparison) -> Measured | str:
    return Measured(None, comparison.pairing.extra_share)


def _errors(comparison: Comparison) -> Measured | str:
    pairing = comparison.pairing
    if not len(pairing):
        return "no op could be paired"
    before = pairing.recorded.col("err")[pairing.left] != NULL
    after = pairing.replayed.col("err")[pairing.right] != NULL
    return Measured(None, float((after & ~before).mean()))


def _sizes(name: str) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        mine, theirs = comparison.figures
        return size_effects(name, mine.sizes, theirs.sizes)

    return measure


def _order(by: str) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        pairing = comparison.pairing
        groups = pairing.streams if by == "stream" else pairing.uris
        if groups is None:
            return "the recording does not say which thread issued what"
        wrong, pairs = stats.inversions(groups, *pairing.times)
        return Measured(None, wrong / pairs) if pairs else f"no {by} has two ops that could be paired"

    return measure


def _moved(comparison: Comparison) -> Measured | str:
    share = comparison.pairing.moved_share
    return "recording or replay does not say which thread issued what" if share is None else Measured(None, share)


def _cap(comparison: Comparison) -> Measured | str:
    recorded = comparison.figures[0].scalars
    found = []
    for option, peak in (("max_inflight", _concurrency(comparison)), ("max_inflight_bytes", recorded["depth.bytes"])):
        cap = comparison.options.get(option)
        if isinstance(cap, int) and peak:
            found.append(Measured(peak, float(cap), effect=cap / peak))
    if not found:
        return "the replay had no cap"
    return min(found, key=lambda measured: measured.effect or 0.0)


def _concurrency(comparison: Comparison) -> float | None:
    """How many ops at a time the recording may have had: its peak, and its streams at a time where the cap made ops wait.

    On a fast storage ops of two streams overlap by luck only; whether they happened to do so is not the point.
    """
    recorded = comparison.figures[0].scalars
    peaks = [recorded["depth.max"], recorded["streams.peak"] if _cap_stall(comparison.replayed) else None]
    return max((peak for peak in peaks if peak is not None), default=None)


def _cap_stall(replayed: Trace) -> bool:
    causes = replayed.trailer.run.get("lateness_by_cause_us", {}) if replayed.trailer else {}
    stall = causes.get("cap_stall", {}) if isinstance(causes, Mapping) else {}
    return bool(isinstance(stall, Mapping) and stall.get("sum"))


def _ceiling(comparison: Comparison) -> Measured | str:
    found = concurrency.ceiling(*comparison.figures)
    if isinstance(found, str):
        return found
    return Measured(float(found.depth), found.share, effect=found.effect, interval=found.interval, shown_share=True)


def _shift(name: str, q: float) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        mine, theirs = comparison.pairing.times
        duration = comparison.span_ns[0]
        if not len(mine) or not duration:
            return "too few ops could be paired"
        shift = float(np.quantile(np.abs(theirs - mine), q, method="inverted_cdf"))
        return Measured(None, shift, effect=max(0.0, shift - SHIFT_SLACK_NS[name]) / duration)

    return measure


def _duration(comparison: Comparison) -> Measured | str:
    mine, theirs = comparison.span_ns
    if not mine:
        return "the recording takes no time"
    return Measured(float(mine), float(theirs), half_fail=_end_slack(mine, theirs), settle="record for longer")


def _throughput(comparison: Comparison) -> Measured | str:
    mine, theirs = (figures.scalars["throughput"] for figures in comparison.figures)
    if not mine or theirs is None:
        return "without bytes or time there is no throughput"
    return Measured(mine, theirs, half_fail=_end_slack(*comparison.span_ns), settle="record for longer")


def _end_slack(mine: int, theirs: int) -> float:
    """How far the ratio of two spans may be from the true one, towards equality (a difference of logarithms).

    The shorter run may have been longer by what its ends are off, and the longer one shorter. A share of the shorter run was
    tried first: a hasty replay of a few milliseconds then had a slack beyond any ratio, and the hastier the better it fared.
    """
    short, long = sorted((mine, theirs))
    if long <= END_SLACK_NS:
        return math.inf
    return math.log1p(END_SLACK_NS / max(1, short)) - math.log1p(-END_SLACK_NS / long)


def _rate(comparison: Comparison) -> Measured | str:
    duration = comparison.span_ns[0]
    if not duration:
        return "the recording takes no time"
    width = max(RATE_WINDOW_NS, duration // RATE_WINDOWS)
    mine, theirs = (_windows(trace, width) for trace in (comparison.pairing.recorded, comparison.pairing.replayed))
    size = max(len(mine), len(theirs))
    counts = [np.pad(counts, (0, size - len(counts))) / max(1, counts.sum()) for counts in (mine, theirs)]
    return Measured(None, float(np.abs(counts[0] - counts[1]).sum() / 2))


def _dispersion(comparison: Comparison) -> Measured | str:
    if comparison.span_ns[0] < BURST_SPAN_NS:
        return f"the recording takes {format_ns(comparison.span_ns[0])}, too short to tell bursts; {format_ns(BURST_SPAN_NS)} are needed"
    mine, theirs = (_burstiness(trace) for trace in (comparison.pairing.recorded, comparison.pairing.replayed))
    if mine < BURSTY:
        return f"the recording has no bursts: the variance of its arrivals per 10 ms is {mine:.2g} times their mean"
    return Measured(mine, theirs)


def _burstiness(trace: Trace) -> float:
    """Variance / mean of the arrivals per 10 ms, the mean over where the windows may begin.

    A burst that lies across the edge of a window counts half of what it would within: one grid of windows makes that a matter
    of chance.
    """
    submit = np.asarray(trace.col("t_submit"), np.int64)
    shifts = range(0, WINDOW_NS, WINDOW_NS // BURST_GRIDS)
    return float(np.mean([windows(submit, shift)[1] or 0.0 for shift in shifts]))


def _windows(trace: Trace, width: int) -> stats.Ints:
    submit = trace.col("t_submit")
    # What goes on for many times as long need not be laid out: it is in another window anyway.
    return np.bincount(np.minimum((submit - submit[:1]) // width, 100 * RATE_WINDOWS))


def _span(trace: Trace) -> int:
    submit = trace.col("t_submit")
    return int(submit[-1] - submit[0]) if len(submit) else 0


MEASURES: Mapping[str, Callable[[Comparison], Measured | str]] = {
    "ops.missing": _missing,
    "ops.extra": _extra,
    "ops.errors": _errors,
    "size.match": _sizes("size.match"),
    "size.ks": _sizes("size.ks"),
    "size.log-shift": _sizes("size.log-shift"),
    "size.mean": _scalar("size.mean"),
    "step.bytes": _step_bytes,
    "order.stream": _order("stream"),
    "order.file": _order("file"),
    "order.sequential": _scalar("order.sequential"),
    "streams.count": _scalar("streams.count"),
    "streams.moved": _moved,
    "depth.cap": _cap,
    "depth.ceiling": _ceiling,
    "time.shift-p50": _shift("time.shift-p50", 0.5),
    "time.shift-p99": _shift("time.shift-p99", 0.99),
    "time.duration": _duration,
    "arrival.rate": _rate,
    "throughput": _throughput,
    "arrival.dispersion": _dispersion,
    "latency.p50": _scalar("latency.p50"),
    "latency.p99": _scalar("latency.p99"),
}
