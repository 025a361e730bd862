"""All parts of a run: what each process wrote itself, with what the core noted for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracekit.record import chunkfile, chunks
from tracekit.record.files import Filter, interpreter_directories
from tracekit.record.parts import Part, read_parts, spoken
from tracekit.record.straced import straced
from tracekit.record.ticks import Clock
from tracekit.units import counted


@dataclass
class Gathered:
    """The parts of a run, and which of them are the core's.

    What a part left out or lost is counted while its ops are read; `settle` says it once they all were.
    """

    parts: list[Part]
    natives: list[tuple[chunkfile.Native, Part]] = field(default_factory=list)
    # The clock of those processes whose records carry ticks.
    ticking: Clock | None = None
    # Of programs that strace followed.
    straced: list[Part] = field(default_factory=list)

    def settle(self) -> None:
        """Take over the counts; call it when every source was read to its end."""
        for native, part in self.natives:
            _count(part, native)
        _subtract_images(self.natives)
        _subtract_straced(self.natives, self.straced)


def gather(
    directory: str | os.PathLike[str], anchors: Sequence[Sequence[int]], filters: Mapping[str, Any], epoch: int = 0
) -> Gathered:
    """The parts of every process of a run, of whichever engine.

    A process that forked and never came back to Python has no part of its own; it gets one here, and is filtered as its
    parent was.

    Args:
        directory: The run's parts directory.
        anchors: (CLOCK_MONOTONIC ns, time stamp counter) pairs from outside the processes.
        filters: include and exclude globs.
        epoch: CLOCK_REALTIME less CLOCK_MONOTONIC, ns.
    """
    root = Path(directory)
    found = _recorded(root, anchors, filters)
    code = {path for part in found.parts if part.about.get("places") for path in _code(part)}
    chosen = Filter(filters.get("include", ()), filters.get("exclude", ()), own=_own(root), code=sorted(code))
    found.straced = straced(root, found.parts, chosen, epoch)
    found.parts += found.straced
    return found


def _own(root: Path) -> list[str]:
    """The run's own files; and our modules, which an interpreter may compile when it first meets them."""
    return [str(root), os.path.dirname(os.path.abspath(__file__))]


def _recorded(root: Path, anchors: Sequence[Sequence[int]], filters: Mapping[str, Any]) -> Gathered:
    parts = read_parts(root)
    natives = chunkfile.heads(root)
    if not natives:
        return Gathered(parts)
    files = chunkfile.chunk_files(root)
    clock = Clock([(int(pair[0]), int(pair[1])) for pair in anchors] + chunkfile.anchors(files))
    parts += [spoken(_token(native), native.lines) for native in natives if native.lines]
    parts.sort(key=lambda part: part.born)
    by_name = {(part.pid, part.about.get("native")): part for part in parts if part.about.get("native")}
    code = {native.pid: _code(by_name[key]) for native in natives if (key := _key(native)) in by_name}
    everywhere = sorted({path for paths in code.values() for path in paths})
    own = _own(root)
    ticking = clock if clock.usable and any(native.clock for native in natives) else None
    found = Gathered(parts, ticking=ticking)
    for native in natives:
        chosen = Filter(
            filters.get("include", ()), filters.get("exclude", ()), own=own,
            code=code.get(native.pid) or code.get(native.parent) or everywhere,
        )  # fmt: skip
        ticks = ticking if native.clock else None
        sources = chunks.sources(native, files.get(_key(native), []), ticks, chosen)
        part = by_name.get(_key(native))
        if part is None:
            part = _unspoken(native)
            parts.append(part)
        part.sources = sources
        _join(part, native)
        part.look_ns = (
            clock.span_ns(native.touches.get("look_ticks", 0)) if native.clock else native.touches.get("look_ticks", 0)
        )
        found.natives.append((native, part))
    return found


def _code(part: Part) -> list[str]:
    prefixes, version, more = part.about.get("places") or ([], "", [])
    return interpreter_directories(prefixes, version, more, os.path.realpath)


def _key(native: chunkfile.Native) -> tuple[int, int]:
    return native.pid, native.start


def _token(native: chunkfile.Native) -> str:
    """As the Python engine names a process's part."""
    return f"{native.pid}-{native.start_ns:x}"


def _unspoken(native: chunkfile.Native) -> Part:
    part = Part(_token(native))
    part.about = {"process": native.pid, "ppid": native.parent, "argv": [], "engine": "native"}
    return part


def _join(part: Part, native: chunkfile.Native) -> None:
    part.paths, part.identities, part.pages = native.paths, native.identities, native.pages
    part.startup_bytes = int(part.about.get("startup", 0))
    part.execs, part.reaps = native.execs, native.reaps
    part.touches, part.left_maps, part.rings = native.touches, native.left_maps, native.rings
    part.net = native.net
    if native.rings:
        part.about["io_uring"] = native.rings
    part.about["confined"] = native.confined
    part.layer = "libc"


def _count(part: Part, native: chunkfile.Native) -> None:
    part.lost, part.ignored_bytes = native.lost, native.ignored_read
    part.uncounted_bytes = native.uncounted_read
    part.damaged += native.damaged
    if native.unknown_records:
        what = counted(native.unknown_records, "record")
        part.problems.append(f"{what} of a kind that this version does not know; not in the trace")


def _subtract_images(natives: Sequence[tuple[chunkfile.Native, Part]]) -> None:
    """The kernel's count goes on through exec: what an image found counted at its start, the one before it may have noted."""
    noted: dict[int, int] = {}
    for native, part in natives:
        if not part.about.get("native"):
            continue
        part.startup_bytes = max(part.startup_bytes - noted.get(native.pid, 0), 0)
        noted[native.pid] = noted.get(native.pid, 0) + part.seen_bytes


def _subtract_straced(natives: Sequence[tuple[chunkfile.Native, Part]], followed: Sequence[Part]) -> None:
    """A shell that became an interpreter: what strace saw of it is in what that found counted at its start."""
    for _, part in natives:
        before = sum(other.seen_bytes for other in followed if other.pid == part.pid and other.born < part.born)
        part.startup_bytes = max(part.startup_bytes - before, 0)
