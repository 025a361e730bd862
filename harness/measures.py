"""What each criterion of paired mode measures: a figure of both traces, or one of the ops that belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from harness import concurrency
from harness.comparison import Comparison
from harness.findings import Measured, size_effects
from harness.run import Run
from tracekit.units import format_ns

# What other people's CPU bursts do to either end of a run on a shared two-core host (p99 of a faithful replay: 17 ms).
END_SLACK_NS = 25_000_000
SHIFT_SLACK_NS = {"time.shift-p50": 20_000_000, "time.shift-p99": 100_000_000}
BURST_SPAN_NS = 250_000_000
# Twice the dispersion of a Poisson process: below that there is nothing to be smoothed away.
BURSTY = 2.0


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
    return Measured(mine, comparison.pairing.moved / comparison.recorded.steps)


def _missing(comparison: Comparison) -> Measured | str:
    return Measured(None, comparison.pairing.missing_share)


def _extra(comparison: Comparison) -> Measured | str:
    return Measured(None, comparison.pairing.extra_share)


def _errors(comparison: Comparison) -> Measured | str:
    share = comparison.pairing.failed_share
    return "no op could be paired" if share is None else Measured(None, share)


def _sizes(name: str) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        mine, theirs = comparison.figures
        return size_effects(name, mine.sizes, theirs.sizes)

    return measure


def _order(by: str) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        pairing = comparison.pairing
        inverted = pairing.inverted_in_streams if by == "stream" else pairing.inverted_in_files
        if inverted is None:
            return "the recording does not say which thread issued what"
        wrong, pairs = inverted
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
    peaks = [recorded["depth.max"], recorded["streams.peak"] if _cap_stall(comparison.replayed.run) else None]
    return max((peak for peak in peaks if peak is not None), default=None)


def _cap_stall(replayed: Run) -> bool:
    causes = replayed.trailer.run.get("lateness_by_cause_us", {}) if replayed.trailer else {}
    stall = causes.get("cap_stall", {}) if isinstance(causes, Mapping) else {}
    return bool(isinstance(stall, Mapping) and stall.get("sum"))


def _ceiling(comparison: Comparison) -> Measured | str:
    found = concurrency.ceiling(*comparison.figures)
    if isinstance(found, str):
        return found
    return Measured(float(found.depth), found.share, effect=found.effect, interval=found.interval, shown_share=True)


def _shift(name: str, place: int) -> Callable[[Comparison], Measured | str]:
    def measure(comparison: Comparison) -> Measured | str:
        shifts, duration = comparison.pairing.shifts, comparison.span_ns[0]
        if shifts is None or not duration:
            return "too few ops could be paired"
        shift = shifts[place]
        return Measured(None, float(shift), effect=max(0.0, float(shift - SHIFT_SLACK_NS[name])) / duration)

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
    if not comparison.span_ns[0]:
        return "the recording takes no time"
    windows = comparison.pairing.windows
    size = max(map(len, windows))
    counts = [np.pad(counts, (0, size - len(counts))) / max(1, counts.sum()) for counts in windows]
    return Measured(None, float(np.abs(counts[0] - counts[1]).sum() / 2))


def _dispersion(comparison: Comparison) -> Measured | str:
    if comparison.span_ns[0] < BURST_SPAN_NS:
        return f"the recording takes {format_ns(comparison.span_ns[0])}, too short to tell bursts; {format_ns(BURST_SPAN_NS)} are needed"
    mine, theirs = (side.ledger.burstiness for side in (comparison.recorded, comparison.replayed))
    if mine < BURSTY:
        return f"the recording has no bursts: the variance of its arrivals per 10 ms is {mine:.2g} times their mean"
    return Measured(mine, theirs)


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
    "time.shift-p50": _shift("time.shift-p50", 0),
    "time.shift-p99": _shift("time.shift-p99", 1),
    "time.duration": _duration,
    "arrival.rate": _rate,
    "throughput": _throughput,
    "arrival.dispersion": _dispersion,
    "latency.p50": _scalar("latency.p50"),
    "latency.p99": _scalar("latency.p99"),
}
