"""Is the trace fit to be judged at all? What is wrong with it comes before every criterion.

| finding            | when                                                                          | outcome      |
|--------------------|-------------------------------------------------------------------------------|--------------|
| valid.empty        | no reads and no writes                                                        | ERROR        |
| valid.complete     | a header but no trailer, or fewer ops than the trailer counts: it was cut     | ERROR        |
| valid.lost         | the recorder lost more than 1 op in 1000                                      | ERROR        |
| valid.clock        | an op completes before it begins                                              | ERROR        |
|                    | no op takes any time                                                          | INCONCLUSIVE |
| valid.bytes        | an op that succeeded moved more bytes than it asked for                       | ERROR        |
| valid.short        | more than 1 % of the reads come back short in the middle of their file         | INCONCLUSIVE |
| valid.overlap      | more than 1 % of the ops begin while their own thread is still in another op  | ERROR        |
|                    | (not where the golden's contract says `sync_streams: false`)                  |              |
| valid.job          | paired mode: recording and replay have no file in common (harness.paired)     | ERROR        |
| valid.warmup       | the golden leaves a warm-up out and the trace has none to be told (harness.contract) | INCONCLUSIVE |
| valid.requires     | the trace does not tell what the golden's contract requires (harness.contract) | INCONCLUSIVE |
| valid.runs         | fewer runs than the golden's contract asks for (harness.contract)             | INCONCLUSIVE |
| valid.evidence     | the trace is silent about what its reference tells (harness.evidence)         | INCONCLUSIVE |
| valid.time-unit    | bytes move 100 times as fast or as slowly as in the golden (harness.repeat)    | INCONCLUSIVE |
| valid.size         | fewer than 10 reads and writes                                                | INCONCLUSIVE |
| valid.run          | a replay that did not keep up by its own account, was interrupted, or did not issue every op | INCONCLUSIVE |
|                    | a replay whose own account of that cannot be read                               | INCONCLUSIVE |
| valid.cells        | a matrix whose cells show nothing about the page cache (harness.divergence)     | INCONCLUSIVE |

A replay on a disturbed machine (DEGRADED) or on storage slower than the recorded one (TARGET LIMITED) is judged: what it
did is true, and the note says under which circumstances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.criterion import MINIMUM_OPS, VALIDITY
from harness.run import Run
from harness.soundness import Soundness
from harness.verdict import Finding, Outcome
from tracekit.trace import Trace, Trailer
from tracekit.units import counted

LOST_SHARE = 0.001
OVERLAP_SHARE = 0.01
SHORT_SHARE = 0.01
# More of the files' pages than that resident or absent, and it is another experiment.
CACHE_SHARE = 0.05


def problems(trace: Trace | Run, name: str, *, sync_streams: bool = True) -> list[Finding]:
    """What makes a trace unfit to be judged, or too thin; nothing for a sound one.

    Args:
        trace: The trace.
        name: What to call it in sentences.
        sync_streams: Whether its threads are in one op at a time.
    """
    found = trace.soundness if isinstance(trace, Run) else Soundness.of(trace)
    return list(_problems(trace, found, name, sync_streams=sync_streams))


def remarks(trace: Trace | Run, name: str) -> list[str]:
    """What a reader of the verdict should know about a trace that can be judged."""
    notes = [f"{name}: {warning}" for warning in trace.warnings]
    trailer = trace.trailer
    if trailer is None:
        return notes
    if 0 < trailer.lost <= LOST_SHARE * max(1, len(trace)):
        notes.append(f"{name}: the recorder lost {counted(trailer.lost, 'op')}")
    verdict = trailer.run.get("verdict")
    # Compared one by one: what stands in a trailer need not be hashable.
    if verdict in ("DEGRADED", "TARGET LIMITED"):
        notes.append(f"{name}: the replay calls itself {verdict}{_reasons(trailer)}")
    return notes


def cache_remarks(recorded: Trace | Run, replayed: Trace | Run, names: tuple[str, str]) -> list[str]:
    """What the reader should know about the page cache at the start of a replay, against that of its recording.

    It decides how fast reads were, not which there were: a remark, no finding.
    """
    then, now = _resident_share(recorded), _resident_share(replayed)
    if then is None or now is None or abs(then - now) <= CACHE_SHARE:
        return []
    text = f"{names[0]} began with {then:.0%} of its files' pages in the page cache and {names[1]} with {now:.0%}"
    return [f"{text}; their times are not comparable (replay --cache-start recorded restores what was there)"]


def _resident_share(trace: Trace | Run) -> float | None:
    before = trace.trailer.residency.get("before") if trace.trailer is not None else None
    if not isinstance(before, Mapping):
        return None
    pages, resident = before.get("pages"), before.get("resident")
    return resident / pages if isinstance(pages, int) and isinstance(resident, int) and pages > 0 else None


def _problems(run: Trace | Run, found: Soundness, name: str, *, sync_streams: bool) -> Iterator[Finding]:
    if not found.data_ops:
        yield error("valid.empty", "ops to judge", f"{name} holds no reads and no writes; empty is never a match")
        return
    if found.data_ops < MINIMUM_OPS:
        yield unsettled(
            "valid.size",
            "enough ops",
            f"{name} holds {counted(found.data_ops, 'read or write', 'reads and writes')}; at least {MINIMUM_OPS} are needed to judge anything",
            "record for longer",
        )
    yield from _cut(run, name)
    yield from _clock(found, name)
    yield from _bytes(found, name)
    if sync_streams:
        yield from _overlaps(found, name)
    if run.trailer is not None:
        yield from _run(run.trailer, name)


def _cut(trace: Trace | Run, name: str) -> Iterator[Finding]:
    trailer = trace.trailer
    if trailer is None:
        if trace.header is not None:
            yield error(
                "valid.complete", "whole trace", f"{name} has no trailer: it was cut short, so its totals are not known"
            )
        return
    if trailer.ops > len(trace):
        yield error(
            "valid.complete",
            "whole trace",
            f"{name} holds {counted(len(trace), 'op')}, its trailer counts {trailer.ops}: lines are missing",
        )
    if trailer.lost > LOST_SHARE * max(1, len(trace)):
        yield error(
            "valid.lost",
            "no ops lost",
            f"the recorder of {name} lost {trailer.lost} of {counted(trailer.lost + len(trace), 'op')}",
        )


def _clock(found: Soundness, name: str) -> Iterator[Finding]:
    count = found.backwards
    if count:
        yield error(
            "valid.clock",
            "clock",
            f"in {name} {counted(count, 'op completes before it begins', 'ops complete before they begin')}: the clock cannot be trusted",
        )
    if found.timed and found.timed == found.instant:
        yield unsettled(
            "valid.clock",
            "clock",
            f"no op of {name} takes any time: when they end was not recorded, or not by a clock that could tell",
            "record with a clock of at least microseconds",
        )


def _bytes(found: Soundness, name: str) -> Iterator[Finding]:
    count = found.too_much
    if count:
        yield error(
            "valid.bytes",
            "bytes moved",
            f"in {name} {counted(count, 'op moves', 'ops move')} more bytes than asked for: sizes cannot be trusted",
        )
    short = found.short
    if short > SHORT_SHARE * found.data_ops:
        yield unsettled(
            "valid.short",
            "whole reads",
            f"in {name} {short} of {found.data_ops} reads and writes come back short in the middle of their file: the storage cut them",
            "find out what interrupts reads, or record again",
        )


def _overlaps(found: Soundness, name: str) -> Iterator[Finding]:
    count = found.overlaps
    if count is not None and count > OVERLAP_SHARE * found.completed:
        yield error(
            "valid.overlap",
            "one op at a time per thread",
            f"in {name} {counted(count, 'op begins', 'ops begin')} while their own thread is still in another op: times or thread ids are not true",
        )


def _run(trailer: Trailer, name: str) -> Iterator[Finding]:
    run = trailer.run
    if run.get("verdict") == "NOT SUSTAINED":
        yield unsettled(
            "valid.run",
            "replay kept up",
            f"the replay {name} could not keep up by its own account{_reasons(trailer)}",
            "replay on a quieter machine, or with fewer streams",
        )
    undelivered = run.get("undelivered") or run.get("undelivered_ops") or 0
    if not isinstance(undelivered, int):
        yield unsettled(
            "valid.run",
            "whole replay",
            f"how many ops the replay {name} did not issue cannot be read: {undelivered!r}",
            "replay again",
        )
    elif run.get("interrupted") or undelivered:
        what = "was interrupted" if run.get("interrupted") else "stopped early"
        yield unsettled(
            "valid.run",
            "whole replay",
            f"the replay {name} {what}: {counted(undelivered, 'op was', 'ops were')} not issued",
            "let the replay finish",
        )


def _reasons(trailer: Trailer) -> str:
    """The reasons that a replay gives for what it calls itself, as they follow that; whatever is no list gives none."""
    reasons = trailer.run.get("reasons")
    return ": " + "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else ""


def error(identifier: str, title: str, reason: str) -> Finding:
    """A finding that makes a trace unfit to be judged."""
    return Finding(identifier, VALIDITY, title, Outcome.ERROR, reason=reason)


def unsettled(identifier: str, title: str, reason: str, settle: str) -> Finding:
    """A finding that leaves the verdict open."""
    return Finding(identifier, VALIDITY, title, Outcome.INCONCLUSIVE, reason=reason, settle=settle)
