"""What will be done: which ops of a trace, on which files, when. Nothing is touched here but by looking."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tracekit.errors import InputError, TracekitError
from tracekit.replay.compile import Program, compile_pieces
from tracekit.replay.intake import Intake
from tracekit.replay.ops import Job, Ops
from tracekit.replay.options import Options
from tracekit.replay.survey import NEVER, Uses
from tracekit.storage import Requests, Storage, storage_for
from tracekit.storage.base import Access
from tracekit.trace import Trace
from tracekit.uri import scheme_of

# Times are counted in 63 bits of ns: a schedule of half of that (146 years) leaves room for the clock's own count.
LONGEST_NS = 2**62


@dataclass
class File:
    """One URI of the plan and what the trace wants of it.

    `extent` is how long the file must be in bytes, `size` how long it was when it was recorded (0: not known), `in_scratch` says that the trace itself makes it, `needed` that it has
    to be there before the run, `listed` that it is a directory whose entries are read.
    """

    uri: str
    place: str = ""
    storage: Storage | None = None
    direct: bool = False
    extent: int = 0
    size: int = 0
    read: bool = False
    needed: bool = False
    listed: bool = False
    changed: bool = False
    in_scratch: bool = False
    error: TracekitError | None = None

    @property
    def local(self) -> bool:
        """Whether it is a path of this machine."""
        return self.storage is not None and self.storage.local

    @property
    def wanted_size(self) -> int:
        """How long a stand-in for it is made."""
        return max(self.extent, self.size)

    def access(self, options: Options) -> Access:
        """How it is opened for reading."""
        return Access("direct" if self.direct else options.cache, options.direct_fallback)


@dataclass
class Plan:
    """Everything an engine needs, and what was noticed on the way."""

    options: Options
    program: Program
    files: list[File]
    ops_file: Ops
    jobs: list[Job]
    pace: str
    pace_reason: str
    period: int
    source_ops: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[TracekitError] = field(default_factory=list)
    recorded_residency: Mapping[str, Any] = field(default_factory=dict)
    # Set by the session, when the run is prepared.
    handles_per_stream: int = 16
    folder: str | None = None
    scratch_root: str = ""
    object_scratch: str = ""

    @property
    def trace(self) -> Trace:
        """The ops that will be issued, under their new names, in the order of time: all in memory, for short traces."""
        return self.program.trace

    def close(self) -> None:
        """Give the working files' space back; the ops cannot be looked at afterwards."""
        self.program.rows.close()
        self.ops_file.records.close()

    @property
    def count(self) -> int:
        """How many ops one repetition has."""
        return len(self.program)

    @property
    def ops(self) -> int:
        """How many ops will be issued, with all repetitions."""
        return self.count * self.options.loop

    @property
    def max_errors(self) -> int | None:
        """After more failed ops than this the run ends; None is never."""
        share, count = self.options.max_error_share, self.options.max_errors
        return count if share is None else int(share * self.ops)


def make_plan(
    source: Trace | Iterable[Trace],
    options: Options,
    *,
    storage_of: Callable[[str], Storage] | None = None,
    folder: str | None = None,
) -> Plan:
    """Plan the replay of a trace.

    Args:
        source: The trace, or its pieces as from `tracekit.formats.chunks`; each is looked at once.
        options: What was asked for.
        storage_of: The storage of a URI; the default goes by its scheme.
        folder: A directory for the working files, which stay there; None is the system's own place for temporary files,
            where nothing is left.

    Returns:
        A plan whose `problems` are what the trace and the options alone show; `preflight.examine` adds what the files do.
    """
    intake = Intake(options)
    pieces = [source] if isinstance(source, Trace) else source
    program = compile_pieces(map(intake.take, pieces), folder)
    problems = intake.problems_with(len(program))
    storage_of = storage_of or partial(storage_for, requests=Requests(options.client, options.timeout_s))
    files = [_file(uri, options, storage_of) for uri in program.uris]
    pace, reason = resolve_pace(program, options.pace)
    ops = Ops(program, options, pace, folder)
    _look_through(program.uses, files)
    sizes = intake.sizes()
    for file in files:
        file.size = sizes.get(file.uri, 0)
    if ops.without_offset:
        problems.append(_no_offsets(ops.without_offset))
    period = program.period / options.speed
    if pace != "asap" and period * options.loop > LONGEST_NS:
        problems.append(_too_long(period * options.loop))
    return Plan(
        options, program, files, ops, [Job(ops, stream) for stream in program.streams], pace, reason,
        max(round(min(period, LONGEST_NS)), 1), intake.source_ops, intake.skipped,
        [*intake.warnings, *program.notes], problems, recorded_residency=intake.residency,
        folder=folder,
    )  # fmt: skip


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


def _file(uri: str, options: Options, storage_of: Callable[[str], Storage]) -> File:
    file = File(uri)
    try:
        file.storage = storage_of(uri)
        file.place = file.storage.resolve(uri)
        file.direct = scheme_of(uri).direct or (options.cache == "direct" and file.local)
    except TracekitError as error:
        file.error = error
    return file


def _look_through(uses: Uses, files: list[File]) -> None:
    """Fill in what the trace wants of each file."""
    for index, file in enumerate(files):
        change, use = int(uses.first_change[index]), int(uses.first_use[index])
        file.changed = change < NEVER
        file.in_scratch = file.changed and change < use
        file.read = use < NEVER
        file.needed = bool(uses.used[index]) and not file.in_scratch
        file.extent = int(uses.extent[index])
        file.listed = bool(uses.listed[index])


def _no_offsets(count: int) -> InputError:
    return InputError(
        f"{count} reads of the trace have no offset",
        "pass --null-offset zero to read each from the start, or --null-offset sequential to read on "
        "where the stream's last read of that file ended",
        slug="no-offsets",
    )


def _too_long(lasts_ns: float) -> InputError:
    years = lasts_ns / 1e9 / (365.25 * 86_400)
    return InputError(
        f"the replay would take {years:.3g} years, more than its clock can count",
        "say in which unit the times are with --time-unit, or take a larger --speed, or a part with --select t=0s..10s",
        slug="schedule-too-long",
    )


def data_roots(plan: Plan) -> list[str]:
    """The directories the data is in, for the header's file systems."""
    local = {os.path.dirname(file.place) for file in plan.files if file.place and file.local and file.error is None}
    return sorted(local)[:64]
