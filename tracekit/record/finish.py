"""From the parts of a run to the trace under its final name, with header and trailer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracekit import __version__, formats
from tracekit.errors import RecorderError
from tracekit.machine import host_facts
from tracekit.record import launch, touched
from tracekit.record.coverage import coverage_of, moved_bytes, why_not
from tracekit.record.looks import residency_of
from tracekit.record.merge import describe, merge_parts
from tracekit.record.parts import Part, failures
from tracekit.trace import Header, StringTable, Trace, Trailer
from tracekit.units import counted
from tracekit.uri import file_uri, local_path

_MOST_ROOTS = 32
# The trailer is one line, and a line has its limit.
_MOST_FILES = 50_000


@dataclass(frozen=True)
class Recording:
    """A finished recording: the trace as it was saved, where, and what the user should be told."""

    trace: Trace
    output: str
    files: int
    warnings: list[str] = field(default_factory=list)


def finish(run: launch.Run) -> Recording:
    """Merge a run's parts and save the trace under `run.output`; the parts stay where they are.

    Raises:
        RecorderError: If the parts are gone.
        OutputExistsError: If the output exists and `run.force` is false.
        OSError: If it cannot be written.
    """
    if not os.path.isdir(run.parts):
        raise RecorderError(f"the parts directory {run.parts} is gone", "was it moved or removed by the program?")
    merged, parts = merge_parts(run.parts, run.t0, run.clock_anchors(), run.globs())
    coverage = coverage_of(merged, parts, run.kernel_bytes, run.options.get("mmap", "map"))
    header = _header(run, merged, parts, coverage)
    trailer = _trailer(run, merged, parts, coverage)
    trace = describe(merged, header, trailer)
    if run.redact:
        trace = redacted(trace)
    formats.save(trace, run.output, force=run.force)
    return Recording(trace, run.output, len(trace.uris), _warnings(run, trace, parts))


def _header(run: launch.Run, trace: Trace, parts: Sequence[Part], coverage: Mapping[str, Any]) -> Header:
    return Header(
        created=run.created,
        producer={
            "tool": "tracekit", "version": __version__, "verb": "record", "engine": run.engine, "reason": run.reason,
            "options": run.options, **_mapped(coverage),
        },
        clock={"t0_unix_ns": run.t0_unix_ns, "source": "CLOCK_MONOTONIC", "resolution_ns": 1},
        command=run.command,
        host=host_facts(_roots(trace)),
        frameworks={name: version for part in parts for name, version in part.frameworks.items()},
        filters=run.globs_as_given(),
        redacted=run.redact,
    )  # fmt: skip


def _mapped(coverage: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen of mapped files, and why not what was asked for."""
    if "mmap" not in coverage:
        return {}
    return {"mmap": coverage["mmap"], **({"mmap_reason": coverage["mmap_why"]} if "mmap_why" in coverage else {})}


def _roots(trace: Trace) -> list[str]:
    directories = dict.fromkeys(os.path.dirname(local_path(uri)) for uri in trace.uris)
    return list(directories)[:_MOST_ROOTS]


def _trailer(run: launch.Run, trace: Trace, parts: Sequence[Part], coverage: dict[str, Any]) -> Trailer:
    alive = launch.still_running([part.pid for part in parts], run.parts)
    return Trailer(
        ops=len(trace),
        bytes=moved_bytes(trace, "read", "write"),
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
        "pid": part.pid, "ppid": part.about.get("ppid"), "argv": part.about.get("argv", []), "ops": len(part.slots),
        "python": part.about.get("python"),
    }  # fmt: skip
    if part.pid == run.pid:
        facts["exit"] = run.status
    if part.pid in alive:
        facts["running"] = True
    return {key: value for key, value in facts.items() if value is not None}


def _warnings(run: launch.Run, trace: Trace, parts: Sequence[Part]) -> list[str]:
    trailer = trace.trailer or Trailer()
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
    warnings += [f"process {part.pid}: {problem}" for part in parts for problem in part.problems]
    for entry in trailer.coverage.get("not_followed", ())[:5]:
        warnings.append(f"not followed: {' '.join(entry['argv'])[:80]}: {entry['why']}")
    warnings += touched.sentences(trailer.coverage)
    if "missing" in trailer.coverage:
        warnings.append(trailer.coverage["missing"])
    elif readers := trailer.coverage.get("unseen_readers"):
        warnings.append(
            f"the program imported {', '.join(readers)}: files that native code opens by itself are not in the trace; "
            "record --engine native sees them"
        )
    return warnings


def redacted(trace: Trace) -> Trace:
    """The trace with every name replaced by a digest of it; suffixes stay, equal names stay equal."""
    tables = dict(trace.tables)
    tables["uri"] = StringTable(_redacted_uri(uri) for uri in trace.uris)
    if "sample_id" in tables:
        tables["sample_id"] = StringTable(map(_digest, trace.strings("sample_id")))
    if len(tables["uri"]) < len(trace.uris):
        raise AssertionError("two names have one digest")
    header, trailer = trace.header or Header(), trace.trailer or Trailer()
    coverage = dict(trailer.coverage)
    extra = dict(trailer.extra)
    if "files" in extra:
        extra["files"] = {**extra["files"], "uri": [_redacted_uri(uri) for uri in extra["files"]["uri"]]}
    residency = dict(trailer.residency)
    if "files" in residency:
        names = {key: [_redacted_uri(uri) for uri in residency["files"].get(key, ())] for key in ("uri", "unknown")}
        residency["files"] = {**residency["files"], **names}
    coverage["not_followed"] = [{**entry, "argv": _first(entry["argv"])} for entry in coverage.get("not_followed", ())]
    processes = [{**process, "argv": _first(process["argv"])} for process in trailer.processes]
    header = Header(**{**header.__dict__, "command": _first(header.command), "filters": {}, "redacted": True})
    header = Header(
        **{**header.__dict__, "producer": {**header.producer, "options": {}}, "host": _anonymous(header.host)}
    )
    trailer = Trailer(
        **{**trailer.__dict__, "coverage": coverage, "processes": processes, "extra": extra, "residency": residency}
    )
    columns = {name: np.asarray(values) for name, values in trace.columns.items()}
    return Trace(columns, tables, trace.marks, header, trailer, trace.warnings)


def _anonymous(host: Any) -> dict[str, Any]:
    facts = {key: value for key, value in host.items() if key != "name"}
    systems = facts.get("filesystem", {}).values()
    if systems:
        facts["filesystem"] = {_digest(system["device"]): {"type": system["type"]} for system in systems}
    return facts


def _first(argv: Sequence[str]) -> list[str]:
    return [os.path.basename(word) for word in argv[:1]]


def _redacted_uri(uri: str) -> str:
    suffix = os.path.splitext(uri)[1]
    return f"file:///redacted/{_digest(uri)}{suffix if len(suffix) <= 6 else ''}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
