"""The native engines: the whole run in C, without the interpreter lock.

`native` has threads that claim the next due op, for reads through the page cache; `uring` has one thread and an io_uring,
for O_DIRECT and deep queues. Both take the plan as flat arrays and write one record per op; the layouts are those of
tracekit/_native/engine.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError
from tracekit.replay import scratch
from tracekit.replay.engines import MAX_WORKERS, RESULT, RESULTS, Control, Log, Outcome, State
from tracekit.replay.kinds import Kind
from tracekit.replay.ops import OP, Job
from tracekit.replay.plan import File, Plan
from tracekit.replay.preflight import descriptors
from tracekit.replay.records import Block, Records
from tracekit.replay.standstill import Standstills
from tracekit.storage import cache
from tracekit.storage.direct import DirectHandle
from tracekit.storage.local import ADVICE
from tracekit.trace import NULL

if TYPE_CHECKING:
    from types import ModuleType

STREAM = np.dtype([("first", "i8"), ("count", "i8"), ("after", "i4"), ("group", "i4")])
FILE = np.dtype(
    [("path", "u8"), ("scratch", "u8"), ("align", "u4"), ("advice", "i4"), ("flags", "u4"), ("unused", "u4")]
)
OUTCOME = np.dtype(
    [("start", "i8"), ("stopped", "i4"), ("trouble", "i4"), ("workers", "i4"), ("realtime", "i4"), ("priority_error", "i4"),
     ("taken_away", "i4"), ("peak_ops", "i8"), ("peak_bytes", "i8"), ("unmatched", "i8"), ("stalls", "i8"), ("done", "i8"),
     ("bytes", "i8"), ("moved", "i8"), ("busy", "i8"), ("late", "i8"), ("sentinels", "i4"), ("unused", "i4"),
     ("late_counts", "i4", (16,)), ("kept_waiting", "i8", (16, 64, 2))]
)  # fmt: skip
LAYOUTS = {"op": OP, "stream": STREAM, "file": FILE, "result": RESULT, "outcome": OUTCOME}

_HOW = {"native": 0, "uring": 1}
_PACE = {"recorded": 0, "think": 1, "asap": 2}
_EXPECTED, _IN_SCRATCH, _CHANGED, _RESIDENT = 1, 1, 2, 4
_ASKED, _ERRORS, _BROKEN = 1, 2, 3
# What a scratch file is read back with under O_DIRECT: enough for every file system, and it does not exist yet to be asked.
_SCRATCH_ALIGN = 4096
_SPARE_BYTES = 32 << 20
# Blocks of 2,048 results that wait for the disk besides those that the workers write into.
_SPARE_CHUNKS = 32
_SHARE_OF_DESCRIPTORS = 0.75


class NativeEngine:
    """The run in C.

    Args:
        core: The module `tracekit._core`.
        name: `native` or `uring`.
    """

    def __init__(self, core: ModuleType, name: str) -> None:
        # The core writes as many bytes as it knows of: into an array that is shorter it would write beyond.
        if {known: layout.itemsize for known, layout in LAYOUTS.items()} != core.replay_layouts():
            raise CannotRunError("the native core is of another version than the package", "install the package anew")
        self._core = core
        self.name = name

    def run(self, plan: Plan, control: Control) -> Outcome:
        """Run the plan (see `Engine.run`).

        Raises:
            CannotRunError: If the engine could not start, or its ring failed.
        """
        told = _Told(control)
        streams, files, results = _streams(plan), _Files(plan), Records(RESULT, plan.folder, RESULTS)
        answer = np.zeros(1, OUTCOME)
        answer["start"] = control.start_at
        interrupted = False
        workers = max(1, min(len(streams), MAX_WORKERS))
        ops = _Mapped(plan.ops_file.records)
        try:
            self._core.replay_run(
                how=_HOW[self.name], pace=_PACE[plan.pace], ops=ops.address, op_count=plan.count, streams=_address(streams),
                stream_count=len(streams), files=_address(files.table), file_count=len(files.table),
                results=0, results_fd=results.descriptor, chunks=workers + _SPARE_CHUNKS, turns=plan.options.loop,
                period=plan.period,
                max_ops=plan.options.max_inflight or 0, max_bytes=plan.options.max_inflight_bytes or 0,
                max_errors=NULL if plan.max_errors is None else plan.max_errors,
                workers=workers, handles=_handles(plan, self.name), keys=_keys(plan, self.name),
                spare_bytes=plan.options.max_inflight_bytes or _SPARE_BYTES, in_order=plan.options.order == "global",
                release=True, realtime=plan.options.realtime and plan.pace != "asap",
                helped=plan.program.kinds != {Kind.READ}, outcome=_address(answer), report=told,
            )  # fmt: skip
        except KeyboardInterrupt:
            interrupted = True
        except OSError as error:
            raise CannotRunError(f"the {self.name} engine did not start: {error.strerror}", _ANOTHER) from None
        finally:
            ops.close()
        results.refresh()
        return self._outcome(plan, results, answer[0], files, interrupted=interrupted)

    def _outcome(self, plan: Plan, results: Records, answer: np.void, files: _Files, *, interrupted: bool) -> Outcome:
        if answer["stopped"] == _BROKEN:
            reason = os.strerror(int(answer["trouble"]))
            raise CannotRunError(f"the {self.name} engine failed: {reason}", _ANOTHER)
        t0 = int(answer["start"])
        return Outcome(
            logs=_Logs(plan, results),
            results=results,
            t0=t0,
            t0_unix_ns=time.time_ns() - (time.monotonic_ns() - t0),
            stopped=_why_stopped(plan, int(answer["stopped"]), interrupted=interrupted),
            interrupted=interrupted,
            peak_ops=int(answer["peak_ops"]),
            peak_bytes=int(answer["peak_bytes"]),
            issued_bytes=int(answer["bytes"]),
            fell_back=files.fell_back,
            went_direct=files.direct,
            unmatched_closes=int(answer["unmatched"]),
            threads=int(answer["workers"]),
            priority=_priority(plan, answer),
            standstills=_standstills(answer),
        )


_ANOTHER = "use another with --engine threads"


class _Told:
    """Hears from the engine 20 times a second and hands it on; its answer is whether the run goes on."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._busy, self._when = 0, time.monotonic_ns()

    def __call__(self, done: int, moved: int, busy: int, late: int) -> bool:
        now = time.monotonic_ns()
        # Little's law: time spent in ops per time passed is the mean number of ops in flight.
        depth = (busy - self._busy) / max(1, now - self._when)
        self._busy, self._when = busy, now
        self._control.report(State(done, depth, late, moved))
        return not self._control.stop.is_set()


class _Files:
    """The table of files, and the memory its paths are in."""

    def __init__(self, plan: Plan) -> None:
        self.table = np.zeros(max(1, len(plan.files)), FILE)
        self.fell_back: set[int] = set()
        self.direct: set[int] = set()
        self._names = bytearray()
        places = [self._name(file.place) for file in plan.files]
        changed = [self._name(scratch.path(plan, n)) if file.changed else None for n, file in enumerate(plan.files)]
        self._memory = np.frombuffer(bytes(self._names) or b"\0", np.uint8)
        base = _address(self._memory)
        for number, file in enumerate(plan.files):
            row = self.table[number]
            row["path"] = base + places[number]
            position = changed[number]
            row["scratch"] = 0 if position is None else base + position
            row["align"] = self._alignment(number, file, plan)
            advice = ADVICE[plan.options.cache]
            row["advice"] = NULL if advice is None else advice
            row["flags"] = (_IN_SCRATCH if file.in_scratch else 0) | (_CHANGED if file.changed else 0)
            if len(plan.jobs) > 1 and plan.pace == "recorded" and row["align"] == 0 and _is_resident(file):
                row["flags"] |= _RESIDENT

    def _name(self, path: str) -> int:
        position = len(self._names)
        self._names += os.fsencode(path) + b"\0"
        return position

    def _alignment(self, number: int, file: File, plan: Plan) -> int:
        if not (file.direct and file.read):
            return 0
        if file.in_scratch:
            return _SCRATCH_ALIGN
        assert file.storage is not None
        try:
            handle = file.storage.open(file.place, file.access(plan.options))
        except OSError:
            return _SCRATCH_ALIGN  # its reads will fail in the same way and say so
        handle.close()
        if not isinstance(handle, DirectHandle):
            self.fell_back.add(number)
            return 0
        self.direct.add(number)
        return handle.align


def _is_resident(file: File) -> bool:
    """Whether all of a file that is only read is in the page cache: then streams may share what they read it through."""
    if not (file.local and file.read and file.needed and not file.changed):
        return False
    with suppress(OSError):
        found = cache.of_file(file.place)
        return found is not None and 0 < found.pages == found.resident
    return False


class _Mapped:
    """The ops in the address space of the run, which gives pages back behind itself."""

    def __init__(self, ops: Records) -> None:
        self._map = mmap.mmap(ops.descriptor, 0, flags=mmap.MAP_PRIVATE) if len(ops) else None
        self._anchor = None if self._map is None else ctypes.c_char.from_buffer(self._map)
        self.address = 0 if self._anchor is None else ctypes.addressof(self._anchor)

    def close(self) -> None:
        """Unmap them."""
        self._anchor = None
        if self._map is not None:
            self._map.close()


def _streams(plan: Plan) -> NDArray[np.void]:
    """One row per job, in order; a job's ops follow those of the job before."""
    table = np.zeros(len(plan.jobs), STREAM)
    table["first"] = [job.stream.first for job in plan.jobs]
    table["count"] = [job.stream.count for job in plan.jobs]
    table["after"] = [NULL if job.stream.after is None else job.stream.after for job in plan.jobs]
    processes = {pid: number for number, pid in enumerate(sorted({_process(job) for job in plan.jobs}))}
    table["group"] = [processes[_process(job)] for job in plan.jobs]
    return table


def _process(job: Job) -> int:
    return job.stream.identity.get("pid", 0)


def _keys(plan: Plan, name: str) -> int:
    """How many different handles each stream (native) or all together (uring) can ask for."""
    changed = sum(file.changed for file in plan.files)
    if name == "native":
        return len(plan.files) + changed
    direct = sum(file.direct for file in plan.files)
    return direct + (len(plan.files) - direct + changed) * len(plan.jobs)


def _handles(plan: Plan, name: str) -> int:
    """How many of them may be open at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    room = int((hard - descriptors(plan)) * _SHARE_OF_DESCRIPTORS)
    share = room if name == "uring" else room // max(1, len(plan.jobs))
    return max(1, min(_keys(plan, name), share))


class _Logs(Sequence[Log]):
    """The streams' logs, in memory from the moment one of them is asked for: for short runs."""

    def __init__(self, plan: Plan, results: Records) -> None:
        self._plan, self._results = plan, results

    def __len__(self) -> int:
        return len(self._plan.jobs)

    @overload
    def __getitem__(self, index: int) -> Log: ...

    @overload
    def __getitem__(self, index: slice) -> list[Log]: ...

    def __getitem__(self, index: int | slice) -> Log | list[Log]:
        return self._all[index]

    @cached_property
    def _all(self) -> list[Log]:
        found = self._results.read(0, len(self._results))
        found = found[np.argsort(found["row"], kind="stable")]
        program = self._plan.program
        stream = program.streams_of(program.rows.take(found["row"] % max(1, len(program))))
        return [_log(found[stream == job.stream.index]) for job in self._plan.jobs]


def _log(mine: Block) -> Log:
    columns = {name: mine[column].astype(np.int64) for name, column in _LOGGED.items()}
    return Log.of(len(mine), columns)


_LOGGED = {
    "due": "due", "free": "free", "stall": "stall", "queued": "worker", "submit": "submit", "complete": "complete",
    "ret": "result", "error": "error",
}  # fmt: skip


def _why_stopped(plan: Plan, code: int, *, interrupted: bool) -> str:
    if interrupted:
        return "the run was interrupted"
    if code == _ERRORS:
        return f"more than {plan.max_errors} ops failed (--max-errors)"
    return "the run was stopped" if code == _ASKED else ""


def _priority(plan: Plan, answer: np.void) -> str:
    if plan.pace == "asap":
        return "normal: there is no schedule to keep"
    if not plan.options.realtime:
        return "normal: asked for"
    if not answer["realtime"]:
        return f"normal: real-time priority was refused ({os.strerror(int(answer['priority_error']))})"
    taken = int(answer["taken_away"])
    return f"real-time, taken away {taken} times for using a core too long" if taken else "real-time"


def _standstills(answer: np.void) -> Standstills | None:
    late = [answer["kept_waiting"][core][: answer["late_counts"][core]] for core in range(int(answer["sentinels"]))]
    return Standstills.of(late) if late else None


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


@dataclass(frozen=True)
class Ability:
    """Whether io_uring can be used here, and why not."""

    usable: bool
    reason: str


def probe(core: ModuleType) -> Ability:
    """Set up an io_uring and take it down again."""
    number, _, _ = core.uring_probe()
    if number == 0:
        return Ability(usable=True, reason="io_uring is permitted")
    if number == errno.ENOSYS:
        return Ability(usable=False, reason="the kernel has no io_uring that can wait for a time (Linux 5.11)")
    if number in (errno.EPERM, errno.EACCES):
        return Ability(
            usable=False, reason="io_uring is forbidden here (a container's filter, or kernel.io_uring_disabled)"
        )
    return Ability(usable=False, reason=f"io_uring cannot be set up: {os.strerror(number)}")
