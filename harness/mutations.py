"""Edits of a trace by which the harness itself is tested: what must fail, and what must not.

Every edit keeps a trace physically possible (one op at a time per thread, times in order), so that what is found is the
edit and not a side effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from harness.stats import Ints
from tracekit.metrics.keys import codes_of
from tracekit.trace import NULL, TIME_COLUMNS, IntArray, StringTable, Trace


def with_columns(trace: Trace, columns: Mapping[str, IntArray], chosen: Ints | None = None) -> Trace:
    """The trace with some columns replaced, or (by `chosen`) with other ops of its own; the trailer counts them."""
    merged = {name: array if chosen is None else array[chosen] for name, array in trace.columns.items()} | dict(columns)
    count = len(merged["t_submit"])
    trailer = None if trace.trailer is None else replace(trace.trailer, ops=count)
    return Trace(merged, trace.tables, trace.marks, trace.header, trailer, trace.warnings).sorted()


def halved_sizes(trace: Trace) -> Trace:
    """Every request asks for half as much."""
    return with_columns(trace, {"len": trace.col("len") // 2, "ret": bytes_moved(trace) // 2})


def one_byte_more(trace: Trace) -> Trace:
    """Every request asks for one byte more."""
    return with_columns(trace, {"len": trace.col("len") + 1})


def shuffled(trace: Trace, seed: int = 0) -> Trace:
    """The ops of every stream change places: times and streams stay, what is asked for is dealt anew."""
    order = np.arange(len(trace))
    streams = streams_of(trace)
    chance = np.random.default_rng(seed)
    for stream in np.unique(streams) if streams is not None else [None]:
        members = order if stream is None else np.flatnonzero(streams == stream)
        order[members] = chance.permutation(members)
    moving = [name for name in trace.columns if name not in (*TIME_COLUMNS, "pid", "tid", "rank", "worker")]
    return with_columns(trace, {name: trace.columns[name][order] for name in moving})


def faster(trace: Trace, factor: float) -> Trace:
    """Everything happens `factor` times as fast, service times too."""
    columns = {}
    for name in TIME_COLUMNS:
        if name in trace:
            times = trace.columns[name]
            columns[name] = np.where(times == NULL, NULL, np.rint(times / factor).astype(np.int64))
    edited = with_columns(trace, columns)
    edited.marks = [
        replace(mark, t=round(mark.t / factor), t_end=None if mark.t_end is None else round(mark.t_end / factor))
        for mark in trace.marks
    ]
    return edited


def as_fast_as_possible(trace: Trace) -> Trace:
    """Every stream issues its next op as soon as the last one is done."""
    return packed(trace)


def dropped(trace: Trace, share: float, seed: int = 0) -> Trace:
    """A share of the ops is not there."""
    kept = np.flatnonzero(np.random.default_rng(seed).random(len(trace)) >= share)
    return with_columns(trace, {}, kept)


def duplicated(trace: Trace, share: float, seed: int = 0) -> Trace:
    """A share of the ops is issued twice, the second time by another thread of its own."""
    again = np.flatnonzero(np.random.default_rng(seed).random(len(trace)) < share)
    chosen = np.concatenate([np.arange(len(trace)), again])
    edited = {}
    for name in ("pid", "tid"):
        if name in trace:
            column = trace.columns[name][chosen].copy()
            column[len(trace) :] += 1_000
            edited[name] = column
    return with_columns(trace, edited, chosen)


def merged_reads(trace: Trace, share: float = 1.0, seed: int = 0) -> Trace:
    """Two reads that follow each other in a file become one of both their bytes, or a share of such pairs."""
    trace = trace.sorted()
    uri, offset, size = (trace.col(name).astype(np.int64) for name in ("uri", "offset", "len"))
    order = np.lexsort((np.arange(len(trace)), uri))
    order = order[trace.mask("op", "read")[order]]
    follows = (uri[order][1:] == uri[order][:-1]) & (offset[order][1:] == (offset + size)[order][:-1])
    # Every second of a run at most: the one before must not have been swallowed itself.
    pairs, last = [], -2
    for place in np.flatnonzero(follows).tolist():
        if place > last + 1:
            pairs.append(place)
            last = place
    chosen = np.random.default_rng(seed).random(len(pairs)) < share
    pairs = [place for place, wanted in zip(pairs, chosen.tolist(), strict=True) if wanted]
    first, second = order[pairs], order[np.asarray(pairs, np.intp) + 1]
    moved = bytes_moved(trace)
    size[first] += size[second]
    moved[first] += moved[second]
    kept = np.setdiff1d(np.arange(len(trace)), second)
    return with_columns(trace, {"len": size[kept], "ret": moved[kept]}, kept)


def from_the_start(trace: Trace) -> Trace:
    """Every read starts at the beginning of its file."""
    return with_columns(trace, {"offset": np.where(trace.col("offset") == NULL, NULL, 0)})


def every_second(trace: Trace) -> Trace:
    """Every second op is not there."""
    return with_columns(trace, {}, np.arange(0, len(trace), 2))


def batches_shuffled(trace: Trace, seed: int = 0) -> Trace:
    """Within each stream and step the ops change places."""
    order, chance = np.arange(len(trace)), np.random.default_rng(seed)
    groups = queues_of(trace) * (int(trace.col("step").max(initial=0)) + 2) + trace.col("step") + 1
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order[members] = chance.permutation(members)
    moving = [name for name in ("uri", "offset", "len", "op", "ret", "sample_id", "err") if name in trace]
    return with_columns(trace, {name: trace.columns[name][order] for name in moving})


def one_file_halved(trace: Trace) -> Trace:
    """The requests of one file ask for half as much."""
    busiest = np.bincount(trace.col("uri")).argmax()
    size = np.asarray(trace.col("len"), np.int64)
    asked = np.where(trace.col("uri") == busiest, size // 2, size)
    return with_columns(trace, {"len": asked, "ret": np.minimum(trace.col("ret"), asked)})


def other_files(trace: Trace) -> Trace:
    """The same requests of files with other names."""
    tables = {**trace.tables, "uri": StringTable(f"{uri}.other" for uri in trace.uris)}
    return Trace(trace.columns, tables, trace.marks, trace.header, trace.trailer, trace.warnings)


def streams_split(trace: Trace) -> Trace:
    """Every stream's ops take turns on two threads."""
    tid = np.asarray(trace.col("tid"), np.int64) * 2 + np.arange(len(trace)) % 2
    return with_columns(trace, {"tid": tid.astype(np.int32)})


def bunched(trace: Trace, window_ns: int = 200_000_000) -> Trace:
    """What was to be issued within a window of time is issued at its end."""
    submit = np.asarray(trace.col("t_submit"), np.int64)
    start = int(submit.min())
    begin = start + -(-(submit - start) // window_ns) * window_ns
    late = with_columns(trace, {"t_submit": begin, "t_complete": begin + service_times(trace)})
    return packed(late, keep_times=True)


def failing(trace: Trace, every: int = 50) -> Trace:
    """Some ops fail with EIO."""
    errors = np.full(len(trace), NULL, np.int32)
    errors[::every] = 0
    columns = {**trace.columns, "err": errors}
    return Trace(columns, {**trace.tables, "err": StringTable(["EIO"])}, trace.marks, trace.header, trace.trailer)


def one_at_a_time(trace: Trace) -> Trace:
    """Half the concurrency of two streams: an op waits until the one before, of whatever stream, is done."""
    return packed(trace, np.zeros(len(trace), np.int64), keep_times=True)


def half_the_streams(trace: Trace) -> Trace:
    """Every two streams that begin one after the other become one, whose ops come one at a time; loader workers likewise."""
    trace = trace.sorted()
    queues = queues_of(trace)
    data = trace.mask("op", "read") | trace.mask("op", "write")
    _, first = np.unique(queues[data], return_index=True)
    place = np.full(int(queues.max()) + 1, len(first))
    place[queues[data][np.sort(first)]] = np.arange(len(first))
    edited = with_columns(
        trace, {"pid": np.full(len(trace), 1, np.int32), "tid": (place[queues] // 2).astype(np.int32)}
    )
    if "worker" in trace:
        worker = np.asarray(trace.col("worker"), np.int64)
        edited = with_columns(edited, {"worker": np.where(worker == NULL, NULL, worker // 2).astype(np.int32)})
    return packed(edited, keep_times=True)


def in_order_of_names(trace: Trace) -> Trace:
    """The same ops of files whose names follow the order in which they are first touched: no shuffle."""
    trace = trace.sorted()
    read = np.asarray(trace.col("uri"))[trace.mask("op", "read")]
    _, first = np.unique(read, return_index=True)
    touched = read[np.sort(first)].tolist()
    table = dict(zip(touched, sorted(trace.uris[code] for code in touched), strict=True))
    renamed = StringTable(table.get(code, uri) for code, uri in enumerate(trace.uris))
    return Trace(
        trace.columns, {**trace.tables, "uri": renamed}, trace.marks, trace.header, trace.trailer, trace.warnings
    )


def one_stream(trace: Trace) -> Trace:
    """All ops come from one thread."""
    edited = one_at_a_time(trace)
    return with_columns(edited, {name: np.full(len(trace), 1, np.int32) for name in ("pid", "tid") if name in trace})


def smoothed(trace: Trace) -> Trace:
    """The same ops in the same order, evenly spaced over the same duration."""
    submit = trace.col("t_submit")
    even = np.linspace(int(submit[0]), int(submit[-1]), len(trace)).astype(np.int64)
    service = np.minimum(service_times(trace), max(1, int(even[1] - even[0])) if len(trace) > 1 else 1)
    return with_columns(trace, {"t_submit": even, "t_complete": even + service})


def renumbered(trace: Trace) -> Trace:
    """Harmless: other process and thread numbers."""
    return with_columns(trace, {name: trace.columns[name] + 7_000 for name in ("pid", "tid") if name in trace})


def later(trace: Trace, delta_ns: int = 1_000_000_000) -> Trace:
    """Harmless: another origin of time."""
    return trace.shifted(delta_ns)


def moved_data(trace: Trace, source: str, target: str) -> Trace:
    """Harmless with a remapping: the data lies elsewhere."""
    table = StringTable(uri.replace(source, target, 1) for uri in trace.uris)
    tables = {**trace.tables, "uri": table}
    return Trace(trace.columns, tables, trace.marks, trace.header, trace.trailer, trace.warnings)


# What must fail, whatever it is held against in paired mode.
HARMFUL: Mapping[str, Callable[[Trace], Trace]] = {
    "sizes halved": halved_sizes,
    "order shuffled": shuffled,
    "twice the speed": lambda trace: faster(trace, 2),
    "1.2 times the speed": lambda trace: faster(trace, 1.2),
    "half the speed": lambda trace: faster(trace, 0.5),
    "as fast as possible": as_fast_as_possible,
    "5 % dropped": lambda trace: dropped(trace, 0.05),
    "5 % duplicated": lambda trace: duplicated(trace, 0.05),
    "half the concurrency": one_at_a_time,
    "one stream": one_stream,
    "reads merged": merged_reads,
    "reads from the start": from_the_start,
    "every second dropped": every_second,
    "batches shuffled": batches_shuffled,
    "sizes of one file halved": one_file_halved,
    "other files": other_files,
    "streams split": streams_split,
    "bunched": bunched,
    "failing": failing,
}
HARMLESS: Mapping[str, Callable[[Trace], Trace]] = {"streams renumbered": renumbered, "another time origin": later}


def bytes_moved(trace: Trace) -> Ints:
    """The bytes each op moved; what was asked for where the trace does not tell."""
    returned = np.asarray(trace.col("ret"), np.int64)
    return np.where(returned == NULL, trace.col("len"), returned)


def streams_of(trace: Trace) -> Ints | None:
    """A number for the stream (rank, pid, tid) of every op; None where the trace has neither pid nor tid."""
    if "pid" not in trace and "tid" not in trace:
        return None
    return codes_of(*(trace.col(name) for name in ("rank", "pid", "tid")))


def queues_of(trace: Trace) -> Ints:
    """The stream of each op; one for all where the trace does not tell."""
    streams = streams_of(trace)
    return np.zeros(len(trace), np.int64) if streams is None else streams


def service_times(trace: Trace) -> Ints:
    """How long each op took, ns; 1 where the trace does not tell."""
    submit, complete = np.asarray(trace.col("t_submit"), np.int64), np.asarray(trace.col("t_complete"), np.int64)
    return np.where(complete == NULL, 1, complete - submit)


def packed(trace: Trace, queues: Ints | None = None, *, keep_times: bool = False) -> Trace:
    """Ops of one queue (a stream, if not told) one after the other, never before their own time if that is kept."""
    trace = trace.sorted()
    queues = queues_of(trace) if queues is None else queues
    submit, service = np.asarray(trace.col("t_submit"), np.int64), service_times(trace)
    free: dict[int, int] = {}
    times = []
    for queue, due, duration in zip(queues.tolist(), submit.tolist(), service.tolist(), strict=True):
        at = max(free.get(queue, int(submit[0])), due if keep_times else 0)
        free[queue] = at + duration
        times.append(at)
    begin = np.array(times, np.int64)
    return with_columns(trace, {"t_submit": begin, "t_complete": begin + service})
