"""Several traces in one, and the pieces of one put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracekit.columns import COLUMNS, NULL, IntArray, StringTable, name_code
from tracekit.marks import Marks
from tracekit.trace import Header, Trace, Trailer


def merge(traces: Sequence[Trace]) -> Trace:
    """All ops and marks of several traces in one, in order of time.

    Clocks are brought together by the headers' `t0_unix_ns` where every trace has one; otherwise times stay as they are
    and the result carries a warning. The header is the first trace's; trailers are added up where all have one.
    """
    if not traces:
        return Trace.of([])
    parts, warnings = _on_one_clock(traces)
    joined = concatenate(parts)
    marks = Marks.of(joined.marks).sorted()
    trailer = trailers_added([part.trailer for part in parts])
    notes = [*warnings, *(note for part in parts for note in part.warnings)]
    return Trace(joined.columns, joined.tables, marks, parts[0].header, trailer, notes).sorted()


def concatenate(parts: Sequence[Trace]) -> Trace:
    """The pieces of one trace in one, in their order: header of the first, trailer of the last, marks of all."""
    if not parts:
        return Trace.of([])
    names = [name for name in COLUMNS if any(name in part for part in parts)]
    tables = {name: StringTable() for name in names if any(name in part.tables for part in parts)}
    columns = {name: np.concatenate([_recoded(part, name, tables.get(name)) for part in parts]) for name in names}
    marks = Marks.joined([part.marks for part in parts])
    return Trace(columns, tables, marks, parts[0].header, parts[-1].trailer, parts[-1].warnings)


def _on_one_clock(traces: Sequence[Trace]) -> tuple[list[Trace], list[str]]:
    origins = [trace.header.clock.get("t0_unix_ns") if trace.header else None for trace in traces]
    known = [origin for origin in origins if isinstance(origin, int)]
    if len(known) < len(traces):
        several = len(traces) > 1
        return list(traces), ["merged traces without a common clock: times are as recorded"] if several else []
    first = min(known)
    shifted = [trace.shifted(origin - first) for trace, origin in zip(traces, known, strict=True)]
    leader = shifted[known.index(first)].header or Header()
    shifted[0].header = replace(shifted[0].header or Header(), clock=leader.clock)
    return shifted, []


def _recoded(part: Trace, name: str, table: StringTable | None) -> IntArray:
    codes = part.col(name)
    if table is None or name not in part.tables:
        return codes
    mapping = np.array([table.code(text) for text in part.strings(name)], np.int64)
    if name == "sample_id":
        named = codes < NULL
        out = codes.copy()
        out[named] = name_code(mapping[name_code(codes[named])])
        return np.asarray(out)
    known = codes != NULL
    out = np.full(len(codes), NULL, COLUMNS[name].dtype)
    out[known] = mapping[codes[known]]
    return out


def trailers_added(parts: Sequence[Trailer | None]) -> Trailer | None:
    """The trailer of several traces in one; None where one of them has none."""
    trailers = [trailer for trailer in parts if trailer is not None]
    if len(trailers) < len(parts):
        return None
    return Trailer(
        ops=sum(trailer.ops for trailer in trailers),
        bytes=sum(trailer.bytes for trailer in trailers),
        lost=sum(trailer.lost for trailer in trailers),
        processes=[process for trailer in trailers for process in trailer.processes],
        coverage=trailers[0].coverage if len(trailers) == 1 else {"parts": [dict(t.coverage) for t in trailers]},
        residency=trailers[0].residency if len(trailers) == 1 else {},
        run=trailers[0].run if len(trailers) == 1 else {},
    )
