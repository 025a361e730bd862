"""From the parts of a run to the trace under its final name, with header and trailer."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracekit import __version__, formats
from tracekit.errors import RecorderError
from tracekit.machine import host_facts
from tracekit.record import launch, rawnet, touched, tracers
from tracekit.record.children import Ending, account, bytes_read, descendants, words_of
from tracekit.record.coverage import NO_PYTHON, coverage_of, why_not
from tracekit.record.looks import residency_of
from tracekit.record.merge import Merge
from tracekit.record.parts import Part, failures
from tracekit.record.redaction import Veil
from tracekit.record.secrets import Discretion
from tracekit.record.tally import Tally
from tracekit.runid import run_id
from tracekit.trace import Header, Trailer
from tracekit.units import counted
from tracekit.uri import file_uri

_MOST_ROOTS = 32
# The trailer is one line, and a line has its limit.
_MOST_FILES = 50_000


@dataclass(frozen=True)
class Recording:
    """A finished recording: what is in the trace, where it was saved, and what the user should be told."""

    tally: Tally
    trailer: Trailer
    output: str
    warnings: list[str] = field(default_factory=list)


def finish(run: launch.Run) -> Recording:
    """Merge a run's parts and save the trace under `run.output`, piece by piece; the parts stay where they are.

    Raises:
        RecorderError: If the parts are gone.
        OutputExistsError: If the output exists and `run.force` is false.
        OSError: If it cannot be written.
    """
    if not os.path.isdir(run.parts):
        raise RecorderError(f"the parts directory {run.parts} is gone", "was it moved or removed by the program?")
    merge = Merge(run.parts, run.t0, run.clock_anchors(), run.globs(), run.epoch())
    veil = Veil() if run.redact else None
    discretion = Discretion()
    tally = Tally()
    header = _header(run, merge, touched.coverage(merge.parts, 0, run.options.get("mmap", "map")))
    header = discretion.header(header)
    with formats.writing(run.output, force=run.force) as writer:
        writer.header(veil.header(header) if veil else header)
        writer.marks(merge.marks)
        for piece in merge.pieces():
            tally.add(piece)
            writer.ops(veil.ops(piece) if veil else piece)
        merge.settle()
        trailer = discretion.trailer(_trailer(run, tally, merge.parts, _coverage(run, tally, merge.parts)))
        writer.trailer(veil.trailer(trailer) if veil else trailer)
    return Recording(tally, trailer, run.output, _warnings(run, trailer, merge.parts))


def _coverage(run: launch.Run, tally: Tally, parts: Sequence[Part]) -> dict[str, Any]:
    """Held against the kernel's count when the parts have been read: what still runs goes on counting meanwhile."""
    endings = [Ending(at, run.launcher, pid, total, name) for at, pid, total, name in run.endings]
    living = _living(tracers.running(run.parts)) if os.getpid() == run.launcher else []
    commands = {run.pid: run.command, **{pid: words for pid, _, words in living}}
    now = time.monotonic_ns()
    endings += [Ending(now, run.launcher, pid, total) for pid, total, _ in living]
    kernel_bytes = run.kernel_bytes
    if kernel_bytes is not None:
        kernel_bytes += sum(max(total, 0) for _, total, _ in living)
    wanted = run.options.get("native_children", "report") != "off"
    found = account(parts, endings, commands) if wanted else None
    return coverage_of(tally, parts, kernel_bytes, run.options, found)


def _living(others: Sequence[int]) -> list[tuple[int, int, list[str]]]:
    """(pid, bytes read so far, words) of the processes that outlive the program, without those that trace it."""
    return [(pid, bytes_read(pid), words_of(pid)) for pid in descendants(os.getpid()) if pid not in others]


def _header(run: launch.Run, merge: Merge, coverage: Mapping[str, Any]) -> Header:
    return Header(
        created=run.created,
        producer={
            "tool": "tracekit", "version": __version__, "verb": "record", "run": run_id(os.environ), "engine": run.engine,
            "reason": run.reason, "options": run.options, **_mapped(coverage),
        },
        clock={"t0_unix_ns": run.t0_unix_ns, **merge.clock},
        command=run.shown or run.command,
        host=host_facts(_roots(merge.parts)),
        frameworks={name: version for part in merge.parts for name, version in part.frameworks.items()},
        filters=run.globs_as_given(),
        redacted=run.redact,
    )  # fmt: skip


def _mapped(coverage: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen of mapped files, and why not what was asked for."""
    if "mmap" not in coverage:
        return {}
    return {"mmap": coverage["mmap"], **({"mmap_reason": coverage["mmap_why"]} if "mmap_why" in coverage else {})}


def _roots(parts: Sequence[Part]) -> list[str]:
    directories = dict.fromkeys(os.path.dirname(path) for part in parts for path in part.paths.values())
    return list(directories)[:_MOST_ROOTS]


def _trailer(run: launch.Run, tally: Tally, parts: Sequence[Part], coverage: dict[str, Any]) -> Trailer:
    alive = launch.still_running([part.pid for part in parts], run.parts)
    return Trailer(
        ops=tally.count,
        bytes=tally.moved("read", "write"),
        lost=sum(part.lost for part in parts),
        processes=[_process(part, run, alive) for part in parts],
        coverage=coverage,
        residency=residency_of(run.parts, parts),
        extra={"files": files} if (files := _files(parts)) else {},
    )


def _files(parts: Sequence[Part]) -> dict[str, Any]:
    """What the files were when they were first read or written, so that a replayer can make others like them.

    In columns: `uri`, `device`, `inode`, `size`; the first `_MOST_FILES` of them, and how many there were.
    """
    known: dict[str, Any] = {}
    for part in parts:
        for number, identity in part.identities.items():
            known.setdefault(file_uri(part.paths[number]), identity)
    if not known:
        return {}
    chosen = list(known.items())[:_MOST_FILES]
    columns = {name: [getattr(identity, name) for _, identity in chosen] for name in ("device", "inode", "size")}
    return {"count": len(known), "uri": [uri for uri, _ in chosen], **columns}


def _process(part: Part, run: launch.Run, alive: Sequence[int]) -> dict[str, Any]:
    facts = {
        "pid": part.pid, "ppid": part.about.get("ppid"), "argv": part.about.get("argv", []), "ops": part.ops,
        "python": part.about.get("python"),
    }  # fmt: skip
    if part.pid == run.pid:
        facts["exit"] = run.status
    if part.pid in alive:
        facts["running"] = True
    return {key: value for key, value in facts.items() if value is not None}


def _warnings(run: launch.Run, trailer: Trailer, parts: Sequence[Part]) -> list[str]:
    warnings = [f"process {pid} was not recorded: {why}" for pid, why in failures(run.parts).items()]
    if not parts and not warnings:
        why = why_not({"launch": run.command, "executable": run.command[0], "equipped": True})
        warnings.append(
            f"no Python interpreter that could be recorded was started{f' ({why})' if why else ''}; the trace holds no op"
        )
    if trailer.lost:
        lost = counted(trailer.lost, "op")
        warnings.append(f"{lost} could not be recorded: no room beside the output, or a signal came in between")
    running = [str(process["pid"]) for process in trailer.processes if process.get("running")]
    if running:
        warnings.append(
            f"still running when the program ended: {', '.join(running)}; the trace has what they did so far"
        )
    warnings += _damage(parts)
    warnings += [f"process {part.pid}: {problem}" for part in parts for problem in part.problems]
    # What a program that is no Python read is said below, where it matters.
    named = trailer.coverage["known"] and "native_children" in trailer.coverage
    others = [entry for entry in trailer.coverage.get("not_followed", ()) if not named or entry["why"] != NO_PYTHON]
    for entry in others[:5]:
        warnings.append(f"not followed: {' '.join(entry['argv'])[:80]}: {entry['why']}")
    if objects := trailer.coverage.get("unseen_object_readers"):
        warnings.append(f"requests for objects are missing, made where they cannot be seen: by {'; by '.join(objects)}")
    warnings += touched.sentences(trailer.coverage)
    warnings += rawnet.sentences(trailer.coverage.get("raw_syscalls"))
    if "missing" in trailer.coverage:
        warnings.append(trailer.coverage["missing"])
    elif readers := trailer.coverage.get("unseen_readers"):
        warnings.append(
            f"the program imported {', '.join(readers)}: files that native code opens by itself are not in the trace"
        )
    return warnings


def _damage(parts: Sequence[Part]) -> list[str]:
    names = [name for part in parts for name in part.damaged]
    if not names:
        return []
    noun = "part of the recording is" if len(names) == 1 else "parts of the recording are"
    return [f"{len(names)} {noun} damaged, what is in them is not in the trace: {', '.join(names[:5])}"]
