"""Which pages of files were in the page cache: one file's state, and the table of many that a trailer carries.

A state is exact where it has gaps: how many pages were absent, then resident, then absent…, in turn from the file's first
page. Where only a number is known, `gaps` is None.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bitmap = NDArray[np.bool_]
# The page size of every machine this was written on; the table says it, and a reader of another size scales.
PAGE_BYTES = 4096
# The trailer is one line and a line has its limit; the table of files leaves most of it to others.
_MOST_TEXT = 4 << 20
_FILE_TEXT = 40


@dataclass(frozen=True)
class PageState:
    """One file: its size in bytes, how many of its pages were resident, and which (None: only the number is known)."""

    size: int
    resident: int
    gaps: tuple[int, ...] | None = None
    page_bytes: int = PAGE_BYTES

    @property
    def pages(self) -> int:
        """All pages of the file."""
        return -(-self.size // self.page_bytes)

    @property
    def whole(self) -> str:
        """`none` or `all` where no page or every page was resident, else empty."""
        return "none" if not self.resident else "all" if self.resident >= self.pages else ""

    @property
    def is_exact(self) -> bool:
        """Whether it is known which pages they were."""
        return bool(self.whole) or self.gaps is not None

    def bitmap(self, size: int, page_bytes: int = PAGE_BYTES) -> Bitmap:
        """Which pages of a file of `size` bytes should be resident to be in this state.

        Page by page where the sizes agree. For another size each page takes the state of the page at the same share of the
        recorded file; where only a number is known, that share of the pages, in evenly spaced blocks.
        """
        pages = -(-size // page_bytes)
        if self.whole:
            return np.full(pages, self.whole == "all")
        if self.gaps is None:
            return _spread(self.resident / self.pages, pages)
        if pages == self.pages:
            return from_gaps(self.gaps, pages)
        edges = np.floor(np.cumsum(self.gaps, dtype=np.int64) * (pages / self.pages)).astype(np.int64)
        return from_gaps(np.diff(edges, prepend=0).tolist(), pages)


def to_gaps(bitmap: Bitmap) -> tuple[int, ...]:
    """Lengths of the stretches of absent and resident pages in turn, the absent first; the last absent one is left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bitmap, [False]]).astype(np.int8)))
    return tuple(int(length) for length in np.diff(edges, prepend=0))


def from_gaps(gaps: Sequence[int], pages: int) -> Bitmap:
    """The bitmap that `to_gaps` was given; what lies beyond `pages` is left out."""
    values = np.resize(np.array([False, True]), len(gaps))
    stretch = np.repeat(values, np.asarray(gaps, np.int64))[:pages]
    return np.concatenate([stretch, np.zeros(pages - len(stretch), np.bool_)])


def runs(bitmap: Bitmap) -> list[tuple[int, int]]:
    """(first page, number of pages) of each stretch of set pages."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bitmap, [False]]).astype(np.int8)))
    return [(int(first), int(end - first)) for first, end in edges.reshape(-1, 2)]


_BLOCK_PAGES = 64


def _spread(share: float, pages: int) -> Bitmap:
    """That share of the pages, in blocks at even distances."""
    blocks = np.arange(-(-pages // _BLOCK_PAGES))
    chosen = np.floor((blocks + 1) * share) > np.floor(blocks * share)
    return np.asarray(np.repeat(chosen, _BLOCK_PAGES)[:pages], np.bool_)


@dataclass(frozen=True)
class Recorded:
    """What a trailer says of the page cache before the program read its files.

    `listed` has files by URI; every other file is in the state `others` (`none`, `all`; None: not known), except those in
    `unknown`.
    """

    listed: Mapping[str, PageState]
    others: str | None = None
    unknown: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def of(self, uri: str, size: int) -> PageState | None:
        """The state of a file; None where it is not known.

        Args:
            uri: The file as it was recorded.
            size: Its size now, for files that the table does not list one by one.
        """
        state = self.listed.get(uri)
        if state is not None or self.others is None or uri in self.unknown:
            return state
        pages = -(-size // PAGE_BYTES)
        return PageState(size, pages if self.others == "all" else 0)

    def renamed(self, names: Mapping[str, str]) -> Recorded:
        """The same under other names; what `names` does not have keeps its own."""
        listed = {names.get(uri, uri): state for uri, state in self.listed.items()}
        return Recorded(listed, self.others, frozenset(names.get(uri, uri) for uri in self.unknown), self.facts)

    @classmethod
    def of_trailer(cls, residency: Mapping[str, Any]) -> Recorded | None:
        """What `to_json` wrote; None where a trailer has no such table or it is damaged."""
        table = residency.get("files")
        if not isinstance(table, Mapping):
            return None
        try:
            page_bytes = int(table.get("page_bytes", PAGE_BYTES))
            rows = zip(table["uri"], table["size"], table["resident"], table["gaps"], strict=True)
            listed = {str(uri): _state(size, resident, gaps, page_bytes) for uri, size, resident, gaps in rows}
            return cls(listed, table.get("others"), frozenset(table.get("unknown", ())), table)
        except (KeyError, TypeError, ValueError):
            return None


def _state(size: Any, resident: Any, gaps: Any, page_bytes: int) -> PageState:
    state = PageState(int(size), int(resident), None if gaps is None else tuple(map(int, gaps)), page_bytes)
    if not 0 <= state.resident <= state.pages or sum(state.gaps or ()) > state.pages or min(state.gaps or (0,)) < 0:
        raise ValueError(state)
    return state


def to_json(
    states: Mapping[str, PageState], unknown: Iterable[str] = (), most_text: int = _MOST_TEXT
) -> dict[str, Any]:
    """The table for a trailer: what most files had in common is said once, the rest file by file.

    Args:
        states: By URI.
        unknown: URIs that the program read and of which nothing is known.
        most_text: Bytes the table may take; beyond it first the positions of pages, then files are left out, and counted.
    """
    wholes = Counter(state.whole for state in states.values() if state.whole)
    others: str | None = max(wholes, key=lambda name: wholes[name]) if wholes else None
    unknown = sorted(unknown)
    room = most_text - sum(len(uri) + 3 for uri in unknown)
    if room < 0:  # so many that silence has to mean "not known"
        others, unknown, room = None, [], most_text
    rows: list[tuple[str, PageState]] = []
    without_gaps = without_room = 0
    for uri, state in states.items():
        if others is not None and state.whole == others:
            continue
        room -= len(json.dumps(uri)) + _FILE_TEXT
        if room < 0:
            without_room += 1
            continue
        rows.append((uri, state))
    rows, without_gaps = _fitting(rows, max(room, 0))
    if without_room:
        others = None  # else those without room would be taken for the others
    return _table(rows, others, unknown, {"files": without_room, "gaps": without_gaps})


def _fitting(rows: list[tuple[str, PageState]], room: int) -> tuple[list[tuple[str, PageState]], int]:
    """The rows with as many gaps as fit, the shortest first."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][1].gaps or ()))
    out, left_out = list(rows), 0
    for index in order:
        uri, state = rows[index]
        if state.whole or state.gaps is None:
            left_out += not state.whole
            continue
        room -= sum(len(str(gap)) + 1 for gap in state.gaps)
        if room < 0:
            out[index] = uri, PageState(state.size, state.resident, None, state.page_bytes)
            left_out += 1
    return out, left_out


def _table(
    rows: Sequence[tuple[str, PageState]], others: str | None, unknown: Sequence[str], left_out: Mapping[str, int]
) -> dict[str, Any]:
    table: dict[str, Any] = {
        "page_bytes": rows[0][1].page_bytes if rows else PAGE_BYTES,
        "others": others,
        "uri": [uri for uri, _ in rows],
        "size": [state.size for _, state in rows],
        "resident": [state.resident for _, state in rows],
        "gaps": [None if state.whole or state.gaps is None else list(state.gaps) for _, state in rows],
    }
    if unknown:
        table["unknown"] = list(unknown)
    if any(left_out.values()):
        table["left_out"] = dict(left_out)
    return table
