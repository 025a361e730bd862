"""What was in the page cache before the program read its files: notes of the run's processes become the trailer's table."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.pages import PageState, to_json
from tracekit.record.residence import of_roots, refused
from tracekit.units import counted
from tracekit.uri import file_uri

if TYPE_CHECKING:
    from tracekit.record.parts import Part

# struct tk_pages of tracekit/_native/residence.h, and how a record ends.
_HEAD = Struct("<QQII")
_UNKNOWN = (1 << 64) - 1
_MORE, _LEFT_OUT = 1, 2


@dataclass(frozen=True)
class Identity:
    """What a file was when it was first read or written."""

    device: int
    inode: int
    size: int
    mode: int


@dataclass(frozen=True)
class Seen:
    """A file's pages as a process found them at a time (CLOCK_MONOTONIC ns)."""

    time: int
    state: PageState


class Looks:
    """The core's records, put together by its file numbers."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self._runs: dict[int, list[Any]] = {}

    def add(self, file: int, time: int, text: bytes, end: int) -> None:
        """Take in one record; the parts of a file come in order, since one thread writes them all."""
        size, resident, page_bytes, _ = _HEAD.unpack_from(text)
        runs = self._runs.setdefault(file, [])
        runs.append(np.frombuffer(text, "<u4", offset=_HEAD.size).reshape(-1, 2).astype(np.int64))
        if end == _MORE:
            return
        pairs = np.concatenate(self._runs.pop(file))
        if resident == _UNKNOWN:
            return
        gaps = None if end == _LEFT_OUT or not len(pairs) else _gaps(pairs)
        self.seen.setdefault(file, Seen(time, PageState(size, resident, gaps, page_bytes)))


def _gaps(pairs: Any) -> tuple[int, ...]:
    """Runs (first, pages) as stretches absent and resident in turn."""
    ends = pairs[:, 0] + pairs[:, 1]
    absent = pairs[:, 0] - np.concatenate([[0], ends[:-1]])
    return tuple(int(length) for length in np.stack([absent, pairs[:, 1]], axis=1).reshape(-1))


def seen_of(line: Mapping[str, Any]) -> Seen | None:
    """What a process of the Python engine wrote about a file; None where the system did not tell it."""
    if line.get("cached") is None:
        return None
    gaps = line.get("gaps")
    exact = None if gaps is None else tuple(gaps)
    return Seen(line["t"], PageState(line["size"], line["cached"], exact, line["page_bytes"]))


def residency_of(directory: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The trailer's `residency` of a recording; empty where nothing was looked at.

    Where several processes saw a file, the first one counts. A file that was only seen under another of its names takes
    that one's state. What --data-root named is as it was before the run.
    """
    states, unknown = _first_looks(parts)
    before = {uri: state for uri, state in _roots(directory).items() if uri in states or uri in unknown}
    states |= before
    unknown -= set(before)
    if not states:
        return {}
    total = {
        "pages": sum(state.pages for state in states.values()),
        "resident": sum(state.resident for state in states.values()),
    }
    start = "before-run" if before and len(before) == len(states) else "first-read"
    table = {"count": len(states) + len(unknown), **to_json(states, unknown)}
    if full := refused(directory):
        table["not_looked_at"] = full
    return {"start": start, "before": total, "files": table}


def _roots(directory: str) -> dict[str, PageState]:
    return {
        file_uri(path): PageState(size, resident, None if gaps is None else tuple(gaps), page_bytes)
        for path, (size, resident, gaps, page_bytes) in of_roots(directory).items()
    }


def _first_looks(parts: Sequence[Part]) -> tuple[dict[str, PageState], set[str]]:
    first: dict[str, Seen] = {}
    inodes: dict[tuple[int, int], Seen] = {}
    names: dict[str, tuple[int, int]] = {}
    for part in parts:
        for number, identity in part.identities.items():
            if number in part.paths and stat.S_ISREG(identity.mode):
                names.setdefault(file_uri(part.paths[number]), (identity.device, identity.inode))
        for number, seen in part.pages.items():
            uri = file_uri(part.paths[number])
            first[uri] = min(first.get(uri, seen), seen, key=lambda one: one.time)
    for uri, seen in first.items():
        if uri in names:
            inodes.setdefault(names[uri], seen)
    for uri, inode in names.items():
        if uri not in first and inode in inodes:
            first[uri] = inodes[inode]
    return {uri: seen.state for uri, seen in first.items()}, set(names) - set(first)


def summary(residency: Mapping[str, Any]) -> str:
    """What the user is told; empty where nothing was looked at."""
    before = residency.get("before")
    if not before or not before["pages"]:
        return ""
    share = 100 * before["resident"] / before["pages"]
    when = "before the run" if residency["start"] == "before-run" else "before they were first read"
    text = f"{share:.0f} % of the files' pages were in the page cache {when}"
    unknown = len(residency["files"].get("unknown", ()))
    return f"{text}; of {counted(unknown, 'file')} that is not known" if unknown else text
