"""What will be done: which ops of a trace, on which files, when. Nothing is touched here but by looking."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError, TracekitError
from tracekit.replay.compile import CHANGES, Kind, Program, Stream, compile_trace, kinds_of, think_times
from tracekit.replay.options import Options
from tracekit.replay.remap import Remap, remapped
from tracekit.selection import select
from tracekit.storage import Storage, storage_for
from tracekit.storage.base import MAX_READ_BYTES, Access
from tracekit.trace import NULL, Trace
from tracekit.uri import scheme_of

Int64s = NDArray[np.int64]


@dataclass
class File:
    """One URI of the plan and what the trace wants of it.

    `extent` is how long the file must be in bytes, `in_scratch` says that the trace itself makes it, `needed` that it has
    to be there before the run, `listed` that it is a directory whose entries are read.
    """

    uri: str
    place: str = ""
    storage: Storage | None = None
    direct: bool = False
    extent: int = 0
    read: bool = False
    needed: bool = False
    listed: bool = False
    changed: bool = False
    in_scratch: bool = False
    error: TracekitError | None = None

    def access(self, options: Options) -> Access:
        """How it is opened for reading."""
        return Access("direct" if self.direct else options.cache, options.direct_fallback)


@dataclass(frozen=True)
class Job:
    """One stream as the engine walks it; every array has one element per op. Times are ns, already divided by the speed."""

    stream: Stream
    kinds: NDArray[np.int8]
    files: NDArray[np.int32]
    offsets: Int64s
    lengths: Int64s
    schedule: Int64s
    think: Int64s

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def largest(self) -> int:
        """The most bytes one op moves."""
        moving = np.isin(self.kinds, (Kind.READ, Kind.WRITE))
        return int(self.lengths[moving].max()) if bool(moving.any()) else 0


@dataclass
class Plan:
    """Everything an engine needs, and what was noticed on the way."""

    options: Options
    program: Program
    files: list[File]
    jobs: list[Job]
    pace: str
    pace_reason: str
    period: int
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[TracekitError] = field(default_factory=list)
    # Set by the session, when the run is prepared.
    handles_per_stream: int = 16
    scratch_root: str = ""

    @property
    def trace(self) -> Trace:
        """The ops that will be issued, under their new names, in the order of time."""
        return self.program.trace

    @property
    def ops(self) -> int:
        """How many ops will be issued, with all repetitions."""
        return len(self.trace) * self.options.loop


def make_plan(source: Trace, options: Options, *, storage_of: Callable[[str], Storage] = storage_for) -> Plan:
    """Plan the replay of a trace.

    Args:
        source: The trace.
        options: What was asked for.
        storage_of: The storage of a URI.

    Returns:
        A plan whose `problems` are what the trace and the options alone show; `preflight.examine` adds what the files do.
    """
    warnings = list(source.warnings)
    problems: list[TracekitError] = []
    trace = _chosen(source, options, problems)
    trace = _renamed(trace, options, problems, warnings)
    trace, skipped = _issued(trace, options, problems)
    program = compile_trace(trace)
    warnings += program.notes
    if not len(trace) and not problems:
        problems.append(InputError("no op of the trace is left to replay", _why_none(source, options)))
    files = [_file(uri, options, storage_of) for uri in trace.uris]
    _look_through(program, files)
    pace, reason = resolve_pace(program, options.pace)
    jobs = [_job(program, stream, options) for stream in program.streams]
    period = round(program.period / options.speed)
    plan = Plan(options, program, files, jobs, pace, reason, max(period, 1), skipped, warnings, problems)
    _refuse_null_offsets(plan)
    return plan


def resolve_pace(program: Program, asked: str) -> tuple[str, str]:
    """The pace to use, and why.

    `auto` takes think times when the recording has a completion time for every op and says which thread issued it, for
    only then are think times known.
    """
    if asked != "auto":
        return asked, "asked for"
    if not program.has_service_times:
        return "recorded", "auto: the trace has no completion times, so think times are not known"
    if program.grouping == "none":
        return "recorded", "auto: the trace does not say which thread issued an op, so think times are not known"
    if program.overlaps:
        return "recorded", "auto: ops of one stream overlap, so the stream did not wait for its ops"
    return "think", "auto: the trace has completion times and streams"


def _chosen(source: Trace, options: Options, problems: list[TracekitError]) -> Trace:
    if options.select is None:
        return source
    try:
        return source.select(select(source, options.select))
    except TracekitError as error:
        problems.append(error)
        return source


def _why_none(source: Trace, options: Options) -> str:
    if not len(source):
        return "record a program that reads something"
    return "change --select" if options.select else "its ops are all of kinds that are left out"


def _renamed(trace: Trace, options: Options, problems: list[TracekitError], warnings: list[str]) -> Trace:
    if not options.remap:
        return trace
    remap = Remap(options.remap)
    trace, stayed = remapped(trace, remap)
    if stayed:
        warnings.append(f"{stayed} URIs have none of the --remap prefixes and stay as they are")
    problems += [
        InputError(f"no URI of the trace starts with {prefix!r}, which --remap names", "check the prefix")
        for prefix in remap.unused
    ]
    return trace


def _issued(trace: Trace, options: Options, problems: list[TracekitError]) -> tuple[Trace, dict[str, int]]:
    """The ops that will be issued, and what is left out, counted by reason."""
    kinds = kinds_of(trace)
    # A touch says that a page was read at some time between two looks: there is no moment to issue it at.
    touches = trace.mask("op", "touch")
    unknown, changing = (kinds == Kind.UNKNOWN) & ~touches, np.isin(kinds, CHANGES)
    if bool(unknown.any()) and not options.skip_unknown:
        problems.append(_unknown_ops(trace, unknown))
    failed = changing & (trace.col("err") != NULL)
    unwanted = changing & ~failed & (options.writes == "skip")
    reasons = {"unknown": unknown, "failed changes": failed, "writes": unwanted, "touches of mapped pages": touches}
    dropped = unknown | failed | unwanted | touches
    skipped = {reason: int(mask.sum()) for reason, mask in reasons.items() if bool(mask.any())}
    return (trace.select(~dropped) if skipped else trace), skipped


def _unknown_ops(trace: Trace, unknown: NDArray[np.bool_]) -> TracekitError:
    names = Counter(trace.strings("op")[code] for code in trace.col("op")[unknown])
    listing = ", ".join(f"{name} ({count})" for name, count in names.most_common(5))
    return InputError(f"the trace has ops that cannot be replayed: {listing}", "pass --skip-unknown to leave them out")


def _file(uri: str, options: Options, storage_of: Callable[[str], Storage]) -> File:
    file = File(uri)
    try:
        file.storage = storage_of(uri)
        file.place = file.storage.resolve(uri)
        file.direct = options.cache == "direct" or scheme_of(uri).direct
    except TracekitError as error:
        file.error = error
    return file


def _look_through(program: Program, files: list[File]) -> None:
    """Fill in what the trace wants of each file."""
    trace, kinds = program.trace, program.kinds
    uris, good = trace.col("uri"), trace.col("err") == NULL
    first_change = _first_rows(uris, np.isin(kinds, CHANGES), len(files))
    first_use = _first_rows(uris, np.isin(kinds, (Kind.READ, Kind.MMAP)) & good, len(files))
    extents = _extents(program, len(files))
    used = _any_by_file(uris, good & ~np.isin(kinds, CHANGES), len(files))
    listed = _any_by_file(uris, kinds == Kind.LIST, len(files))
    for index, file in enumerate(files):
        file.changed = bool(first_change[index] < len(trace))
        file.in_scratch = file.changed and bool(first_change[index] < first_use[index])
        file.read = bool(first_use[index] < len(trace))
        file.needed = bool(used[index]) and not file.in_scratch
        file.extent = int(extents[index])
        file.listed = bool(listed[index])


def _first_rows(uris: NDArray[np.integer], mask: NDArray[np.bool_], count: int) -> Int64s:
    first = np.full(count, len(uris), np.int64)
    rows = np.flatnonzero(mask)
    np.minimum.at(first, uris[rows], rows)
    return first


def _any_by_file(uris: NDArray[np.integer], mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(uris[mask], minlength=count) > 0, np.bool_)


def _extents(program: Program, count: int) -> Int64s:
    """How long each file must be for the recorded ops to do what they did: up to the last byte that was moved.

    Where the recording has `ret`, a read past the end is no demand. Where it has not, all that was asked for is demanded,
    because nobody can tell.
    """
    trace = program.trace
    moving = np.isin(program.kinds, (Kind.READ, Kind.MMAP)) & (trace.col("err") == NULL) & (trace.col("offset") != NULL)
    rets = np.where(program.kinds == Kind.READ, trace.col("ret"), NULL)
    moved = np.where(rets == NULL, trace.col("len"), rets)
    last = np.where(moved > 0, trace.col("offset") + moved, 0)
    extents = np.zeros(count, np.int64)
    np.maximum.at(extents, trace.col("uri")[moving], last[moving])
    return extents


def _job(program: Program, stream: Stream, options: Options) -> Job:
    trace, rows = program.trace, stream.rows
    submits = trace.col("t_submit")[rows].astype(np.int64)
    lengths = np.minimum(trace.col("len")[rows], MAX_READ_BYTES).astype(np.int64)
    files, kinds = trace.col("uri")[rows].astype(np.int32), program.kinds[rows]
    offsets = trace.col("offset")[rows].astype(np.int64)
    missing = (offsets == NULL) & np.isin(kinds, (Kind.READ, Kind.MMAP))
    if options.null_offset == "zero":
        offsets[missing] = 0
    elif options.null_offset == "sequential" and bool(missing.any()):
        _continue_offsets(offsets, files, kinds, _advance(trace, rows, lengths))
    schedule = np.round((submits - program.origin) / options.speed).astype(np.int64)
    think = np.round(think_times(trace, rows, stream.lead) / options.speed).astype(np.int64)
    return Job(stream, kinds, files, offsets, lengths, schedule, think)


def _advance(trace: Trace, rows: NDArray[np.intp], lengths: Int64s) -> Int64s:
    rets = trace.col("ret")[rows]
    return np.asarray(np.where(rets == NULL, lengths, rets), np.int64)


def _continue_offsets(offsets: Int64s, files: NDArray[np.int32], kinds: NDArray[np.int8], moved: Int64s) -> None:
    """Give reads without offset the place where the stream's read before on that file ended; an open starts at 0."""
    cursors: dict[int, int] = {}
    for index in range(len(offsets)):
        file = int(files[index])
        if kinds[index] == Kind.OPEN:
            cursors[file] = 0
        elif kinds[index] in (Kind.READ, Kind.MMAP):
            if offsets[index] == NULL:
                offsets[index] = cursors.get(file, 0)
            cursors[file] = int(offsets[index] + moved[index])


def _refuse_null_offsets(plan: Plan) -> None:
    count = sum(int(((job.offsets == NULL) & np.isin(job.kinds, (Kind.READ, Kind.MMAP))).sum()) for job in plan.jobs)
    if count:
        plan.problems.append(
            InputError(
                f"{count} reads of the trace have no offset",
                "pass --null-offset zero to read each from the start, or --null-offset sequential to read on "
                "where the stream's last read of that file ended",
            )
        )
    elif plan.options.null_offset == "sequential":
        _extend_by_jobs(plan)


def _extend_by_jobs(plan: Plan) -> None:
    """Offsets that were made up make demands too."""
    for job in plan.jobs:
        moved = np.where(job.kinds == Kind.READ, _advance(plan.trace, job.stream.rows, job.lengths), 0)
        for file in np.unique(job.files):
            mine = (job.files == file) & (moved > 0)
            if bool(mine.any()):
                end = int((job.offsets[mine] + moved[mine]).max())
                plan.files[file].extent = max(plan.files[file].extent, end)


def data_roots(plan: Plan) -> list[str]:
    """The directories the data is in, for the header's file systems."""
    return sorted({os.path.dirname(file.place) for file in plan.files if file.place and file.error is None})[:64]
