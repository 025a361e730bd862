"""The run's verdict about itself: was the recorded load really delivered, undisturbed, and if not, whose fault was it?

    VALID            the load was delivered as planned, and nobody else was at work to speak of
    DEGRADED         the machine was taken by others meanwhile: the load may have been delivered, its latencies may be theirs
    NOT SUSTAINED    it was not delivered: the replayer could not keep up, was stopped, or a rank was lost
    TARGET LIMITED   it was not: the storage, or the caps the user set, held the streams up

The measures and their bounds are those of docs/explanation/cadence.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracekit.replay.account import Account
from tracekit.replay.flow import window_error
from tracekit.replay.summary import Summary
from tracekit.units import counted, format_ns

VALID, DEGRADED, NOT_SUSTAINED, TARGET_LIMITED = "VALID", "DEGRADED", "NOT SUSTAINED", "TARGET LIMITED"

_SEVERITY = (VALID, DEGRADED, TARGET_LIMITED, NOT_SUSTAINED)

# A normal thread on a saturated machine waits a few time slices of 3 to 4 ms for a core. With seven busy processes on two
# cores, replays that kept rate and order in every respect had a p99 of 8 to 17 ms and a median up to 2 ms.
LATE_P99_NS = 20_000_000
LATE_P50_NS = 4_000_000
MAKESPAN_SHARE, MAKESPAN_NS = 0.01, 10_000_000
# Share of ops issued in another 100 ms window than planned.
WINDOW_SHARE = 0.05
# A cap that is never reached stalls nothing; one that is too small holds many ops up, for a good part of their time.
STALLED_SHARE, STALL_SHARE = 0.01, 0.05
# Storage is slower when it is so for most ops; a machine that puts threads aside makes only some of them long.
SLOWER_FACTOR, SLOWER_NS = 1.5, 50_000


@dataclass(frozen=True)
class Verdict:
    """The verdict, why, and whether the load was delivered all the same.

    `reasons` are sentences; those of a VALID run are remarks.
    """

    word: str
    reasons: list[str] = field(default_factory=list)
    delivered: bool = True


def judge(account: Account, summary: Summary) -> Verdict:
    """The verdict on a run."""
    lost = account.planned_ops - summary.ops
    disturbed = account.sentences
    if account.stopped or account.lost:
        stops = [text for text in (*account.lost, account.stopped) if text]
        stops[-1] += f"; {lost} of {account.planned_ops} ops were not issued"
        return Verdict(NOT_SUSTAINED, [*stops, *disturbed], delivered=False)
    failures, missed = _failures(summary), _missed(account, summary)
    capped = _capped(account, summary)
    if missed:
        word, cause = _blame(account, summary)
        return Verdict(word, [*missed, cause, *failures, *capped, *disturbed], delivered=False)
    if failures or capped:
        return Verdict(TARGET_LIMITED, [*failures, *capped, *disturbed], delivered=False)
    if disturbed:
        return Verdict(DEGRADED, disturbed)
    return Verdict(VALID, _remarks(account, summary))


def worst(verdicts: Mapping[int, Verdict]) -> Verdict:
    """The verdict on ranks that are one run: the worst of theirs; sentences say whose they are, equal ones once."""
    word = max((verdict.word for verdict in verdicts.values()), key=_SEVERITY.index)
    sayings: dict[str, list[int]] = defaultdict(list)
    for rank, verdict in sorted(verdicts.items(), key=lambda item: (item[1].delivered, -_SEVERITY.index(item[1].word))):
        # Remarks on ranks that are VALID would read as reasons for what the others are.
        if verdict.word != VALID or word == VALID:
            for reason in verdict.reasons:
                sayings[reason].append(rank)
    reasons = [f"{_ranks(ranks)}: {text}" for text, ranks in sayings.items()]
    return Verdict(word, reasons, delivered=all(verdict.delivered for verdict in verdicts.values()))


def _ranks(numbers: list[int]) -> str:
    listed = ", ".join(map(str, sorted(numbers)))
    return f"rank {listed}" if len(numbers) == 1 else f"ranks {listed}"


def _failures(summary: Summary) -> list[str]:
    reasons = []
    if summary.unexpected_errors:
        names = ", ".join(f"{name} {count}" for name, count in summary.unexpected_errors.most_common())
        reasons.append(f"ops failed that had not failed in the recording: {names}; look at `err` in the output's ops")
    if summary.short_reads:
        reasons.append(
            f"{counted(summary.short_reads, 'read')} returned less than in the recording: the data is not the recorded "
            "one, or changed meanwhile"
        )
    return reasons


def _missed(account: Account, summary: Summary) -> list[str]:
    """In which respects the planned load was not the delivered one. A closed loop promises only its think times."""
    if account.pace == "asap" or not summary.ops:
        return []
    late = summary.lateness if account.pace == "recorded" else summary.causes["replayer"]
    p50, p99 = (value or 0.0 for value in late.quantiles(0.5, 0.99))
    missed = []
    if p99 > LATE_P99_NS:
        missed.append(f"1 % of the ops were more than {format_ns(p99)} late (bound {format_ns(LATE_P99_NS)})")
    if p50 > LATE_P50_NS:
        missed.append(f"half of the ops were more than {format_ns(p50)} late (bound {format_ns(LATE_P50_NS)})")
    return missed + (_off_schedule(summary) if account.pace == "recorded" else [])


def _off_schedule(summary: Summary) -> list[str]:
    missed = []
    error = makespan_error(summary) or 0.0
    if abs(error) > MAKESPAN_SHARE and abs(summary.last_submit - summary.last_due) > MAKESPAN_NS:
        missed.append(f"the run took {100 * error:+.1f} % longer than planned (bound {100 * MAKESPAN_SHARE:g} %)")
    moved = window_error(summary.flow.planned, summary.flow.issued)
    if moved > WINDOW_SHARE:
        text = f"{100 * moved:.1f} % of the ops fell into another 100 ms than planned"
        missed.append(f"{text} (bound {100 * WINDOW_SHARE:g} %)")
    return missed


def makespan_error(summary: Summary) -> float | None:
    """How much later than planned the last op was issued, as a share of the planned time; None where that is none."""
    planned = summary.last_due
    return round((summary.last_submit - planned) / planned, 6) if planned > 0 else None


def _capped(account: Account, summary: Summary) -> list[str]:
    """Whether the caps changed the load; where there is no schedule they are what was asked for."""
    stalled, stall = summary.stalled / max(1, summary.ops), summary.causes["cap_stall"]
    if account.pace == "asap" or stalled <= STALLED_SHARE or stall.total <= STALL_SHARE * summary.service.total:
        return []
    average = format_ns(stall.total / max(1, summary.stalled))
    text = f"{100 * stalled:.0f} % of the ops waited at the in-flight caps, {average} on average"
    return [f"{text}: raise --max-inflight or --max-inflight-bytes, or leave them out"]


def _blame(account: Account, summary: Summary) -> tuple[str, str]:
    """Whose fault lateness was, by what made it grow.

    An op that starts late because the one before it was still running says nothing by itself: that one may have been slow,
    or been late itself. So for every op that held up the next, three growths are added up: service time beyond the
    recorded one, waiting at the caps, and lateness of our own.
    """
    causes = {cause: histogram.total for cause, histogram in summary.causes.items()}
    own, caps, target = causes["replayer"] + causes["no_free_worker"], causes["cap_stall"], summary.held_up_ns
    if caps > max(own, target):
        return TARGET_LIMITED, (
            f"most of the waiting ({format_ns(caps)} in all) was at the in-flight caps: raise --max-inflight or "
            "--max-inflight-bytes, or leave them out"
        )
    known = bool(summary.recorded_service)
    slower = _is_slower(summary) if known else not account.sentences
    if target > own and (slower or not account.sentences):
        text = "took longer than in the recording" if known else "took longer than the schedule left room for"
        return TARGET_LIMITED, (
            f"ops {text}{_services(summary)} and held up those behind them in their streams by {format_ns(target)} in all: "
            "replay with --pace think to see how the program would fare here, or with a smaller --speed"
        )
    return (DEGRADED if account.sentences else NOT_SUSTAINED), _own_fault(account, summary)


def _own_fault(account: Account, summary: Summary) -> str:
    causes = summary.causes
    if causes["no_free_worker"].total > causes["replayer"].total:
        few = f"{counted(account.streams, 'stream')} and the engine {counted(account.threads, 'thread')}"
        # As many threads as streams: those that were busy had the cores.
        why = f"the trace has {few}" if account.threads < account.streams else "the cores were busy with other ops"
        return (
            f"ops waited {format_ns(causes['no_free_worker'].total)} in all for a free thread: {why}; "
            "replay on several machines, or with a smaller --speed"
        )
    floor = max((max(one.noise_floor_ns, default=0) for one in account.disturbances), default=0)
    return (
        f"the replayer itself issued ops too late, by {format_ns(causes['replayer'].total)} in all (a plain sleep was up to "
        f"{format_ns(floor)} late here): {_ways_out(account)}"
    )


def _ways_out(account: Account) -> str:
    ways = []
    if "by this engine" in account.priority:
        ways.append("use --engine native")
    if "refused" in account.priority:
        ways.append("permit real-time priority (ulimit -r)")
    return " or ".join([*ways, "take a smaller --speed"])


def _is_slower(summary: Summary) -> bool:
    now, then = summary.service.quantile(0.5) or 0.0, summary.recorded_service.quantile(0.5) or 0.0
    return now > SLOWER_FACTOR * then and now - then > SLOWER_NS


def _services(summary: Summary) -> str:
    now, then = summary.service.quantile(0.5), summary.recorded_service.quantile(0.5)
    return f" (half of them over {format_ns(now)}, recorded {format_ns(then)})" if now and then is not None else ""


def _remarks(account: Account, summary: Summary) -> list[str]:
    return [*_stood(account, summary), *_slower(summary)]


def _stood(account: Account, summary: Summary) -> list[str]:
    """The machine stood still for less than disturbs a run: what its tail would be without that."""
    if not summary.touched:
        return []
    stood = [one.stood for one in account.disturbances if one.stood]
    now, apart = (histogram.quantile(0.999) or 0.0 for histogram in (summary.lateness, summary.apart))
    ops = counted(summary.touched, "op")
    return [
        f"{text}; without the {ops} that were due meanwhile p99.9 of the lateness is {format_ns(apart)} instead of {format_ns(now)}"
        for text in stood
    ]


def _slower(summary: Summary) -> list[str]:
    if not summary.recorded_service or not _is_slower(summary):
        return []
    return [f"the storage was slower than the recorded one{_services(summary)}, and kept the schedule all the same"]
