"""Edits of a trace with a dial: `amount` from 0 (nothing) to 1 says how much is changed.

By turning it, an edit is set to a half, once, or twice what a criterion tolerates. As those of `harness.mutations`, they keep
a trace physically possible: one op at a time per thread, and times in order.
"""

from __future__ import annotations

import numpy as np

from harness import mutations
from harness.mutations import bytes_moved, packed, queues_of, service_times, with_columns
from harness.stats import Ints
from tracekit.trace import NULL, StringTable, Trace

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def _data(trace: Trace) -> Mask:
    return np.asarray(trace.mask("op", "read") | trace.mask("op", "write"), bool)


def _some(trace: Trace, amount: float, seed: int) -> Mask:
    """A share of the reads and writes; those of a smaller amount are among those of a larger one."""
    return _data(trace) & (np.random.default_rng(seed).random(len(trace)) < amount)


def _longer(trace: Trace, chosen: Mask, factor: float) -> Trace:
    size, done = np.asarray(trace.col("len"), np.int64), bytes_moved(trace)
    larger = np.maximum(1, np.rint(size * factor).astype(np.int64))
    return with_columns(
        trace,
        {"len": np.where(chosen, larger, size), "ret": np.where(chosen, np.rint(done * factor), done).astype(np.int64)},
    )


def scaled(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """Every request and its place grow by that share, so that what was in sequence stays so."""
    data = _data(trace)
    offset, size, done = (
        np.asarray(values, np.int64) for values in (trace.col("offset"), trace.col("len"), bytes_moved(trace))
    )
    known = data & (offset != NULL)

    def grown(place: Ints) -> Ints:
        larger: Ints = np.rint(place * (1 + amount)).astype(np.int64)
        return larger

    columns = {
        "offset": np.where(known, grown(offset), offset),
        "len": np.where(known, grown(offset + size) - grown(offset), size),
        "ret": np.where(known, grown(offset + done) - grown(offset), done),
    }
    return with_columns(trace, columns)


def some_doubled(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the requests asks for twice as much."""
    return _longer(trace, _some(trace, amount, seed), 2.0)


def some_halved(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the requests asks for half as much."""
    return _longer(trace, _some(trace, amount, seed), 0.5)


def some_shuffled(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the ops of every stream change places with each other."""
    order, chosen, queue = np.arange(len(trace)), _some(trace, amount, seed), queues_of(trace)
    chance = np.random.default_rng(seed + 1)
    for stream in np.unique(queue):
        members = np.flatnonzero(chosen & (queue == stream))
        order[members] = chance.permutation(members)
    names = [name for name in ("uri", "offset", "len", "op", "ret", "sample_id", "err") if name in trace]
    return with_columns(trace, {name: trace.columns[name][order] for name in names})


def some_elsewhere(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads goes to a random place of its file."""
    offset = np.asarray(trace.col("offset"), np.int64)
    end = np.zeros(len(trace.uris), np.int64)
    np.maximum.at(end, trace.col("uri"), offset + np.asarray(trace.col("len"), np.int64))
    places = (np.random.default_rng(seed + 1).random(len(trace)) * end[trace.col("uri")]).astype(np.int64)
    return with_columns(trace, {"offset": np.where(_some(trace, amount, seed) & (offset != NULL), places, offset)})


def some_hot(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads asks again for what the first read asked for."""
    chosen = _some(trace, amount, seed)
    first = int(np.flatnonzero(_data(trace))[0])
    names = [name for name in ("uri", "offset", "len", "ret") if name in trace]
    columns = {name: trace.columns[name] for name in names}
    return with_columns(trace, {name: np.where(chosen, column[first], column) for name, column in columns.items()})


def some_dropped(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads and writes is not there."""
    return with_columns(trace, {}, np.flatnonzero(~_some(trace, amount, seed)))


def files_dropped(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """No op of a share of the files is there."""
    gone = np.random.default_rng(seed).random(len(trace.uris)) < amount
    return with_columns(trace, {}, np.flatnonzero(~gone[trace.col("uri")]))


def cut_short(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """The last share of the ops is not there."""
    return with_columns(trace.sorted(), {}, np.arange(round(len(trace) * (1 - amount))))


def some_twice(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads and writes is issued again by the same thread, right after it."""
    trace = trace.sorted()
    again = np.flatnonzero(_some(trace, amount, seed))
    chosen = np.sort(np.concatenate([np.arange(len(trace)), again]), kind="stable")
    return packed(with_columns(trace, {}, chosen), keep_times=True)


def some_split(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the requests becomes two of half the size, the second right after the first."""
    trace = trace.sorted()
    halves = _some(trace, amount, seed) & (np.asarray(trace.col("len"), np.int64) > 1) & (bytes_moved(trace) > 1)
    chosen = np.sort(np.concatenate([np.arange(len(trace)), np.flatnonzero(halves)]), kind="stable")
    second = np.r_[False, chosen[1:] == chosen[:-1]]
    split = halves[chosen]
    offset, size, done = (
        np.asarray(values, np.int64)[chosen] for values in (trace.col("offset"), trace.col("len"), bytes_moved(trace))
    )
    half, half_done = size // 2, np.minimum(done, size // 2)
    columns = {
        "len": np.where(split, np.where(second, size - half, half), size),
        "ret": np.where(split, np.where(second, done - half_done, half_done), done),
        "offset": np.where(second & (offset != NULL), offset + half, offset),
    }
    duration = service_times(trace)[chosen]
    begin = np.asarray(trace.col("t_submit"), np.int64)[chosen]
    middle = begin + np.maximum(1, duration // 2)
    columns["t_submit"] = np.where(second, middle, begin)
    columns["t_complete"] = np.where(split & ~second, middle, np.maximum(begin + duration, middle + 1))
    columns["t_complete"] = np.where(split, columns["t_complete"], begin + duration)
    return with_columns(trace, columns, chosen)


def some_merged(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the pairs of reads that follow each other in a file become one of both their bytes."""
    return mutations.merged_reads(trace, amount, seed)


def some_writes(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads are writes."""
    kinds = StringTable(trace.tables["op"].strings)
    code = kinds.code("write")
    changed = np.where(_some(trace, amount, seed), code, trace.col("op")).astype(trace.columns["op"].dtype)
    edited = with_columns(trace, {"op": changed})
    return Trace(edited.columns, {**trace.tables, "op": kinds}, edited.marks, edited.header, edited.trailer)


def some_failing(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """A share of the reads and writes fails with EIO."""
    errors = np.where(_some(trace, amount, seed), 0, NULL).astype(np.int32)
    return Trace(
        {**trace.columns, "err": errors},
        {**trace.tables, "err": StringTable(["EIO"])},
        trace.marks,
        trace.header,
        trace.trailer,
    )


def faster(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """Everything takes that share less time."""
    return mutations.faster(trace, 1 / (1 - min(amount, 0.99)))


def slower(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """Everything takes that share more time."""
    return mutations.faster(trace, 1 / (1 + amount))


def jittered(trace: Trace, amount: float, seed: int = 0) -> Trace:
    """Ops come late by random times, up to that share of the duration; their order stays."""
    submit = np.asarray(trace.col("t_submit"), np.int64)
    span = int(submit.max() - submit.min())
    late = (np.random.default_rng(seed).random(len(trace)) * amount * span).astype(np.int64)
    moved_on = with_columns(trace, {"t_submit": submit + late, "t_complete": submit + late + service_times(trace)})
    return packed(moved_on, keep_times=True)


def bunched(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """What was to be issued within that share of the duration is issued at its end."""
    submit = np.asarray(trace.col("t_submit"), np.int64)
    return mutations.bunched(trace, max(1, int(amount * (submit.max() - submit.min()))))


def longer_service(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """Every op takes that share longer."""
    longer = np.rint(service_times(trace) * (1 + amount)).astype(np.int64)
    submit = np.asarray(trace.col("t_submit"), np.int64)
    return packed(with_columns(trace, {"t_complete": submit + longer}), keep_times=True)


def longer_tail(trace: Trace, amount: float, _seed: int = 0) -> Trace:
    """The slowest 5 % of the ops take that share longer."""
    duration = service_times(trace)
    slow = duration >= np.quantile(duration, 0.95)
    longer = np.where(slow, np.rint(duration * (1 + amount)), duration).astype(np.int64)
    submit = np.asarray(trace.col("t_submit"), np.int64)
    return packed(with_columns(trace, {"t_complete": submit + longer}), keep_times=True)
