"""What the ranks of a run did, as one trace with one statement: rank 0's clock, a common t0, the worst verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tracekit.formats.recode import Recoder
from tracekit.formats.writer import Writer
from tracekit.interleave import interleave_streams
from tracekit.replay.account import Account, merged
from tracekit.replay.flow import Flow
from tracekit.replay.statement import RankFacts, statement
from tracekit.replay.summary import Summary
from tracekit.replay.together import Job, Part
from tracekit.replay.verdict import NOT_SUSTAINED, VALID, Verdict, judge, worst
from tracekit.trace import CATEGORIES, COLUMNS, Header, IntArray, StringTable, Trace, Trailer
from tracekit.units import format_ns

# A rank that begins later than agreed shifts its whole share.
LATE_START_NS = 10_000_000


def write_joined(parts: Sequence[Part], job: Job, writer: Writer) -> tuple[Header, Trailer]:
    """Write the trace of all ranks, in order of time, piece by piece as they hand it over; its header and trailer."""
    _set_companions_aside(parts)
    begun = [part for part in parts if part.account is not None]
    begins = {part.rank: _begin(part) for part in begun}
    base = min(begins.values())
    first = begun[0]
    assert first.header is not None
    header = _header(first.header, parts, job, int(first.header.clock["t0_unix_ns"]) - (begins[first.rank] - base))
    writer.header(header)
    flow = Flow()
    for piece in _in_one_order(begun, {rank: begin - base for rank, begin in begins.items()}, job):
        _count(piece, flow)
        writer.ops(piece)
    summary = Summary(base)
    for part in begun:
        assert part.summary is not None
        summary.merge(part.summary, later_ns=begins[part.rank] - base)
    summary.flow = flow
    run = _stated(parts, job, summary)
    residency = _residency(begun)
    run["reasons"] += residency.get("notes", [])
    trailer = Trailer(ops=summary.ops, bytes=summary.moved_bytes, residency=residency, run=run)
    writer.trailer(trailer)
    return header, trailer


def _in_one_order(parts: Sequence[Part], later_ns: Mapping[int, int], job: Job) -> Iterator[Trace]:
    """The ops of all parts on rank 0's clock, in order of time; a piece of each is in memory."""
    tables = {name: StringTable() for name in (*CATEGORIES, "sample_id")}
    streams = [_columns(part, later_ns[part.rank], job, Recoder(tables)) for part in parts]
    for columns in interleave_streams(streams):
        yield Trace(columns, {name: table for name, table in tables.items() if name in columns and len(table)})


def _columns(part: Part, later_ns: int, job: Job, recoder: Recoder) -> Iterator[dict[str, IntArray]]:
    for piece in part.pieces or ():
        columns = recoder.columns(piece.shifted(later_ns))
        # Where the recording has ranks they tell its streams apart, and stay.
        if not job.ranked:
            columns["rank"] = np.full(len(piece), part.rank, np.int32)
        yield {name: columns[name] for name in COLUMNS if name in columns}


def _begin(part: Part) -> int:
    """When a part began, on rank 0's clock."""
    assert part.offset is not None
    return part.start_ns[1] - part.offset.ns


def _count(piece: Trace, flow: Flow) -> None:
    due = piece.col("t_due").astype(np.int64) if "t_due" in piece else None
    flow.add(due, piece.col("t_submit").astype(np.int64), piece.col("t_complete").astype(np.int64))


def _set_companions_aside(parts: Sequence[Part]) -> None:
    """Ranks that share cores are not foreign to one another.

    The one whose look at the machine was longest saw all the others' work; what is left of its foreign time without them is
    what all of them had.
    """
    groups: dict[tuple[Any, ...], list[Account]] = defaultdict(list)
    for part in parts:
        if part.account is not None:
            groups[part.machine].append(part.account)
    for accounts in groups.values():
        longest = max((account.disturbances[0] for account in accounts), key=lambda one: one.cpu_s)
        companions = sum(account.disturbances[0].own_s for account in accounts) - longest.own_s
        foreign = max(0.0, longest.foreign_cpu - companions / longest.cpu_s) if longest.cpu_s else 0.0
        for account in accounts:
            account.disturbances = [replace(account.disturbances[0], foreign_cpu=foreign)]


def _stated(parts: Sequence[Part], job: Job, summary: Summary) -> dict[str, Any]:
    accounts = [part.account for part in parts if part.account is not None]
    account = merged(accounts)
    account.planned_ops = sum(part.planned_ops for part in parts)
    account.lost = [part.lost for part in parts if part.lost]
    verdicts = {part.rank: _verdict(part) for part in parts}
    verdict = worst(verdicts)
    if account.lost:
        reasons = [*account.lost, f"{account.planned_ops - summary.ops} of {account.planned_ops} ops are missing"]
        verdict = Verdict(NOT_SUSTAINED, [*reasons, *verdict.reasons], delivered=False)
    facts = [_facts(part, verdicts[part.rank].word) for part in parts]
    return statement(account, summary, job.depth, verdict=verdict, ranks=facts).to_json()


def _verdict(part: Part) -> Verdict:
    if part.lost:
        return Verdict(NOT_SUSTAINED, [], delivered=False)
    if part.account is None or part.summary is None:
        return Verdict(VALID)
    verdict = judge(part.account, part.summary)
    late = part.start_ns[1] - part.start_ns[0]
    if late <= LATE_START_NS or part.account.pace == "asap":
        return verdict
    text = f"it began {format_ns(late)} after the agreed moment (bound {format_ns(LATE_START_NS)}): replay with fewer files"
    return Verdict(NOT_SUSTAINED, [text, *verdict.reasons], delivered=False)


def _facts(part: Part, word: str) -> RankFacts:
    offset = part.offset
    return RankFacts(
        rank=part.rank,
        host=part.host,
        streams=part.streams,
        planned_ops=part.planned_ops,
        ops=part.summary.ops if part.summary else 0,
        verdict=word,
        start_error_us=(part.start_ns[1] - part.start_ns[0]) / 1e3 if part.account else None,
        clock_offset_us=offset.ns / 1e3 if offset else None,
        clock_error_us=offset.error_ns / 1e3 if offset else None,
        clock_drift_us=part.drift_ns / 1e3,
    )


def _header(first: Header, parts: Sequence[Part], job: Job, unix: int) -> Header:
    count, hosts = len(parts), len({part.host for part in parts})
    options = dict(first.producer["options"]) | {"source_ops": job.source_ops, "ranks": count}
    reason = f"{first.producer['reason']}; {count} ranks on {hosts} hosts, streams divided by {job.division.by}"
    return replace(
        first,
        producer={**first.producer, "reason": reason, "options": options},
        clock={**first.clock, "t0_unix_ns": unix},
    )


def _residency(parts: Sequence[Part]) -> dict[str, Any]:
    """Pages added up over the ranks; a file that several of them read counts for each."""
    found = [part.residency for part in parts if part.residency]
    if not found:
        return {}
    total: dict[str, Any] = dict(found[0])
    for moment in ("before", "after", "verified"):
        states = [residency.get(moment) for residency in found]
        if all(isinstance(state, dict) for state in states):
            keys = states[0] or {}
            total[moment] = {key: sum(state[key] for state in states if state) for key in keys}
        elif moment in total:
            total[moment] = None
    notes = [f"rank {part.rank}: {note}" for part in parts for note in part.residency.get("notes", [])]
    return total | ({"notes": notes} if notes else {})
