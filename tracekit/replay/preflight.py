"""Everything that can be known to fail, said at once before the first op.

One problem is one sentence and covers all files it is true of. What needs a human eye but does not stop the run is a
warning.
"""

from __future__ import annotations

import errno
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache

import numpy as np

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.machine import in_memory
from tracekit.replay import start_state
from tracekit.replay.engines import takes_a_thread_a_stream
from tracekit.replay.intake import WHY_LEFT_OUT
from tracekit.replay.kinds import Kind
from tracekit.replay.plan import File, Plan
from tracekit.storage import Look
from tracekit.storage.cache import holes
from tracekit.storage.direct import open_direct
from tracekit.units import counted, format_bytes

# One Python thread per stream; beyond this the interpreter lock, not the storage, is what would be measured.
MAX_STREAMS = 4096
_SPARE_FDS = 64
# Each waits for an answer from far away.
_ASKING_THREADS = 16
_SHOWN = 3


def examine(plan: Plan, *, to_prepare: frozenset[str] = frozenset(), output: str | None = None) -> None:
    """Add to the plan's problems and warnings what its files and this machine show.

    Args:
        plan: The plan; its `handles_per_stream` is set to what the descriptor limit allows.
        to_prepare: URIs that will be made before the run, so they may be missing now.
        output: The file that will be written afterwards.
    """
    plan.problems += _names(plan.files)
    usable = [file for file in plan.files if file.error is None]
    looks = _looked_at([file for file in usable if file.needed and file.uri not in to_prepare], plan)
    _compare(plan, looks)
    _refuse_output(plan, output)
    _refuse_holes(plan, looks)
    _check_direct(plan, looks)
    _check_machine(plan)
    _remark(plan)


def raise_for(problems: Sequence[TracekitError]) -> None:
    """Raise when there are problems: the only one as it is, several as one `PreflightError`."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise PreflightError(problems)


class PreflightError(InputError):
    """Several things that keep a trace from being replayed.

    The exit code is that of a permission problem only when nothing else is wrong.

    Args:
        problems: Each as its own error.
    """

    slug = "preflight"

    def __init__(self, problems: Sequence[TracekitError]) -> None:
        self.problems = list(problems)
        super().__init__(f"{len(problems)} things keep this trace from being replayed", "see above")
        # An instance's own code: the class says 2, a run that only lacks permission says 4.
        self.exit_code = min(problem.exit_code for problem in problems)  # type: ignore[misc]  # ClassVar by default


def listing(names: Iterable[str]) -> str:
    """Some names and how many more there are."""
    every = list(names)
    shown = ", ".join(every[:_SHOWN])
    return f"{shown} and {len(every) - _SHOWN} more" if len(every) > _SHOWN else shown


def _names(files: Sequence[File]) -> list[TracekitError]:
    """One problem per scheme that cannot be read, one per URI that names nothing."""
    seen: dict[str, TracekitError] = {}
    for file in files:
        if file.error is not None:
            scheme = file.uri.partition("://")[0] if "://" in file.uri else file.uri
            seen.setdefault(f"{type(file.error).__name__} {scheme}", file.error)
    return list(seen.values())


def _looked_at(files: Sequence[File], plan: Plan) -> dict[str, tuple[File, Look]]:
    looks: dict[str, tuple[File, Look]] = {}
    missing, forbidden, other = [], [], []
    refused: dict[str, TracekitError] = {}
    for file, look in _answers(files):
        if isinstance(look, Look):
            looks[file.uri] = file, look
        elif isinstance(look, TracekitError):
            refused.setdefault(str(look), look)
        elif look.errno in (errno.ENOENT, errno.ENOTDIR):
            missing.append(file.place)
        elif look.errno in (errno.EACCES, errno.EPERM):
            forbidden.append(file.place)
        else:
            other.append(f"{file.place} ({look.strerror})")
    plan.problems += refused.values()
    if missing:
        plan.problems.append(_sentence("data-missing", missing, "does not exist", "do not exist", _MISSING))
    if other:
        plan.problems.append(_sentence("data-unopenable", other, *_UNOPENABLE, "mend or remap what is named"))
    if forbidden:
        text = _plural(forbidden, "may not be read by this user", "may not be read by this user")
        plan.problems.append(CannotRunError(text, _FORBIDDEN, slug="data-forbidden"))
    return looks


def _answers(files: Sequence[File]) -> Iterator[tuple[File, Look | OSError | TracekitError]]:
    """Each file with what stands there, or why that is not known; a store that refuses one question is asked no more."""
    local, far = [file for file in files if file.local], [file for file in files if not file.local]
    yield from ((file, _look(file)) for file in local)
    if not far:
        return
    first = _look(far[0])
    yield far[0], first
    if isinstance(first, TracekitError):
        return
    with ThreadPoolExecutor(_ASKING_THREADS) as pool:
        yield from zip(far[1:], pool.map(_look, far[1:]), strict=True)


def _look(file: File) -> Look | OSError | TracekitError:
    assert file.storage is not None
    try:
        return file.storage.look(file.place)
    except (OSError, TracekitError) as error:
        return error


_FORBIDDEN = "change the permissions, or remap to a copy with --remap FROM=TO"
_UNOPENABLE = ("cannot be opened", "cannot be opened")
_MISSING = "make stand-ins with --prepare random, or say where the data is with --remap FROM=TO"


def _compare(plan: Plan, looks: dict[str, tuple[File, Look]]) -> None:
    """Hold what stands there against what the trace did with it."""
    short, strange, unlisted, other = [], [], [], []
    for file, look in looks.values():
        if file.listed and look.kind != "directory":
            unlisted.append(file.place)
        elif file.read and look.kind != "file":
            strange.append(file.place)
        elif file.read and look.size < file.extent:
            short.append(f"{file.place} ({format_bytes(look.size)} of {format_bytes(file.extent)})")
        elif file.read and file.size and look.size != file.size:
            other.append(f"{file.place} ({format_bytes(look.size)}, recorded {format_bytes(file.size)})")
    if other:
        many = "have other sizes than recorded; what is read of them is there"
        plan.warnings.append(_plural(other, "has another size than recorded; what is read of it is there", many))
    if unlisted:
        plan.problems.append(
            _sentence("not-a-directory", unlisted, "is no directory", "are no directories", "remap to one")
        )
    if strange:
        way_out = "leave it out with --select 'uri!=…'"
        plan.problems.append(_sentence("not-a-file", strange, "is no regular file", "are no regular files", way_out))
    if short:
        plan.problems.append(
            _sentence(
                "data-short",
                short,
                "is shorter than the trace reads",
                "are shorter than the trace reads",
                "restore the data, or --remap to an empty directory and make stand-ins with --prepare random",
            )
        )


def _refuse_output(plan: Plan, output: str | None) -> None:
    """The trace of what was done must not take the place of recorded data, under whatever name."""
    if output is None or not os.path.exists(output):
        return
    status = os.stat(output)
    for file in plan.files:
        with suppress(OSError, ValueError):
            if file.place and os.path.samestat(os.stat(file.place), status):
                text = f"the output {output} is {file.place}, which the trace is about"
                plan.problems.append(InputError(text, "name another file with -o", slug="output-is-input"))
                return


def _refuse_holes(plan: Plan, looks: dict[str, tuple[File, Look]]) -> None:
    cold = start_state.is_cold(plan)
    sparse = [
        f"{file.place} ({format_bytes(empty)})"
        for file, look in looks.values()
        if file.read and file.local and look.kind == "file" and (cold or file.direct) and (empty := _holes(file.place))
    ]
    if sparse:
        plan.problems.append(
            _sentence(
                "data-sparse",
                sparse,
                "has holes, which cost no device access to read",
                "have holes, which cost no device access to read",
                "write real data, as --prepare random does, or replay with a warm cache",
            )
        )


def _holes(path: str) -> int:
    try:
        return holes(path)
    except OSError:
        return 0


def _check_direct(plan: Plan, looks: dict[str, tuple[File, Look]]) -> None:
    refusing, memory = [], []
    aligns: dict[str, int] = {}
    for file, look in looks.values():
        if not (file.direct and file.read and file.local and look.kind == "file"):
            continue
        handle = open_direct(file.place)
        if handle is None:
            refusing.append(file.place)
            continue
        aligns[file.uri] = handle.align
        handle.close()
        if _is_in_memory(file.place):
            memory.append(file.place)
    _say_refusals(plan, refusing, memory)
    misaligned = _misaligned(plan, aligns) if plan.options.direct_align == "error" and aligns else []
    if misaligned:
        way_out = "pass --direct-align round to read the aligned range around each op"
        plan.problems.append(
            _sentence(
                "direct-misaligned",
                misaligned,
                "is read at misaligned places",
                "are read at misaligned places",
                way_out,
            )
        )


def _say_refusals(plan: Plan, refusing: list[str], memory: list[str]) -> None:
    """Files that O_DIRECT does not take to a device."""
    if refusing and plan.options.direct_fallback:
        plan.warnings.append(_plural(refusing, *_FALLBACK))
    elif refusing:
        way_out = "pass --direct-fallback to read through the page cache there (it is counted), or use --cache default"
        plan.problems.append(_sentence("direct-refused", refusing, "refuses O_DIRECT", "refuse O_DIRECT", way_out))
    if memory and plan.options.direct_fallback:
        plan.warnings.append(_plural(memory, *_MEMORY))
    elif memory:
        way_out = "remap to real storage with --remap, or say with --direct-fallback that memory is meant"
        plan.problems.append(_sentence("direct-in-memory", memory, *_MEMORY, way_out))


def _is_in_memory(path: str) -> bool:
    return _device_in_memory(os.stat(path).st_dev, os.path.dirname(path))


@lru_cache(maxsize=256)
def _device_in_memory(device: int, place: str) -> bool:  # noqa: ARG001 -- the key: one look per device and directory
    return in_memory(place)


_MEMORY = (
    "is in a file system in memory, where O_DIRECT reaches no device",
    "are in file systems in memory, where O_DIRECT reaches no device",
)
_FALLBACK = (
    "refuses O_DIRECT and is read through the page cache",
    "refuse O_DIRECT and are read through the page cache",
)


def _misaligned(plan: Plan, aligns: dict[str, int]) -> list[str]:
    """Files that are read at places or in lengths that O_DIRECT refuses, in one pass over the ops."""
    align = np.array([aligns.get(file.uri, 1) for file in plan.files], np.int64)
    counts = np.zeros(len(plan.files), np.int64)
    for _, block in plan.ops_file.records.blocks():
        reads = block[(block["kind"] == Kind.READ) & (block["offset"] >= 0)]
        steps = align[reads["file"]]
        wrong = (reads["offset"] % steps != 0) | (reads["length"] % steps != 0)
        counts += np.bincount(reads["file"][wrong], minlength=len(counts))
    return [
        f"{plan.files[index].place} ({counted(int(counts[index]), 'op')}, alignment {align[index]} bytes)"
        for index in np.flatnonzero(counts).tolist()
    ]


def _check_machine(plan: Plan) -> None:
    threads = takes_a_thread_a_stream(plan.options.engine, plan)
    if threads and len(plan.jobs) > MAX_STREAMS:
        plan.problems.append(
            InputError(
                f"the trace has {len(plan.jobs)} streams and the threads engine runs at most {MAX_STREAMS}",
                "replay a part of it with --select pid=… or --select t=0s..10s",
                slug="too-many-streams",
            )
        )
    _check_memory(plan)
    # Its streams have a handle to read and one to write; those of the core do with one that is opened anew.
    need = descriptors(plan) + (len(plan.jobs) if threads else 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and need > hard:
        plan.problems.append(
            InputError(
                f"the replay needs {need} open files and the limit is {hard}",
                "raise it with ulimit -n, or replay fewer streams with --select",
                slug="too-many-files",
            )
        )
        return
    room = (1 << 16 if hard == resource.RLIM_INFINITY else hard) - need
    plan.handles_per_stream = max(1, min(64, 1 + room // (4 * max(1, len(plan.jobs)))))


def _check_memory(plan: Plan) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    need = sum(job.stream.touched for job in plan.jobs)
    cap = plan.options.max_inflight_bytes
    largest = max((job.largest for job in plan.jobs), default=0)
    need = need if cap is None else min(need, max(cap, largest))
    if need > memory // 2:
        plan.problems.append(
            InputError(
                f"the reads of this trace need {format_bytes(need)} of buffers, more than half of this machine's memory",
                "bound them with --max-inflight-bytes, or leave the largest out with --select 'len<1GiB'",
                slug="too-little-memory",
            )
        )
    if cap is not None and largest > cap:
        plan.warnings.append(
            f"the largest op moves {format_bytes(largest)}, more than --max-inflight-bytes {format_bytes(cap)}: "
            "such ops go alone"
        )


def descriptors(plan: Plan) -> int:
    """Files open at once, at the least: what the recorded opens hold, a handle per stream, and ours."""
    return plan.program.held + len(plan.jobs) + _SPARE_FDS


def _remark(plan: Plan) -> None:
    if any(not file.local and file.error is None for file in plan.files):
        plan.warnings += _of_objects(plan)
    mappings, mapped = plan.program.mapped
    if mappings:
        plan.warnings.append(
            f"the trace's mmap ops ({counted(mappings, 'mapping')}, {format_bytes(mapped)}) only map and unmap; the page reads behind them are not in the "
            "trace and are not replayed"
        )
    if "t_complete" not in plan.program.names and plan.count:
        plan.warnings.append(
            "the trace has no completion times, so neither think times nor the recorded service times and queue depth "
            "are known"
        )
    left_out = [f"{count} {reason}" for reason, count in plan.skipped.items() if reason not in WHY_LEFT_OUT]
    if left_out:
        plan.warnings.append(f"left out: {', '.join(left_out)}")


def _of_objects(plan: Plan) -> list[str]:
    """What of a trace's ops an object store has no request for."""
    far = np.array([not file.local for file in plan.files])
    counts: Counter[int] = Counter()
    for _, block in plan.ops_file.records.blocks():
        counts.update(block["kind"][far[block["file"]]].tolist())
    remarks = []
    if nothing := counts[Kind.OPEN] + counts[Kind.CLOSE] + counts[Kind.FSYNC] + counts[Kind.MMAP]:
        text = "of objects ask nothing of the server: a store has no such request"
        remarks.append(f"{counted(nothing, 'open, close, fsync or mmap', 'opens, closes, fsyncs and mmaps')} {text}")
    if writes := counts[Kind.WRITE]:
        remarks.append(
            f"{counted(writes, 'write')} of objects: each is one PUT of its size, below {plan.options.scratch}"
        )
    return remarks


def _plural(names: Sequence[str], one: str, many: str) -> str:
    if len(names) == 1:
        return f"{names[0]} {one}"
    return f"{len(names)} files {many}: {listing(names)}"


def _sentence(slug: str, names: Sequence[str], one: str, many: str, way_out: str) -> InputError:
    return InputError(_plural(names, one, many), way_out, slug=slug)
