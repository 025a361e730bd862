"""Many trace files as one trace: the parts of a directory, or what a glob names, merged by time.

Clocks are brought together by the headers' `t0_unix_ns`; every op keeps the rank and the process it has.
"""

from __future__ import annotations

import glob
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracekit.errors import InputError
from tracekit.formats.recode import Recoder
from tracekit.interleave import interleave_streams
from tracekit.joining import trailers_added
from tracekit.trace import CATEGORIES, Header, IntArray, Mark, StringTable, Trace

# What a directory may hold beside traces is left alone: only our own formats count there.
_OWN = (".jsonl", ".jsonl.zst", ".parquet", ".tkc")
_MAGIC = frozenset("*?[")
_FEWEST_OPS = 4096
# Columns of a command in a sentence.
_SHOWN = 80


def expand(path: str) -> list[str]:
    """The files that a name means: itself, the traces below a directory, or what a glob matches, by name.

    Raises:
        InputError: If there is none.
    """
    if os.path.isdir(path):
        found = _below(path)
        if not found:
            way_out = f"its traces end in {', '.join(_OWN)}"
            if os.path.exists(os.path.join(path, "about.json")) and os.path.exists(os.path.join(path, "results")):
                way_out = f"a replay that was killed left it: tracekit replay --recover {path} -o FILE makes it a trace"
            raise InputError(f"the directory {path} holds no trace", way_out)
        return found
    if os.path.lexists(path) or not _MAGIC & set(path):
        return [path]
    matched = sorted(glob.glob(path, recursive=True))
    found = [file for one in matched for file in (_below(one) if os.path.isdir(one) else [one])]
    if not found:
        raise InputError(f"no trace matches {path}", "check the glob, and that it is in quotes")
    return found


def _below(directory: str) -> list[str]:
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if name.endswith(_OWN) and not name.startswith(".")
    )


def chunks(sources: Sequence[Callable[[int], Iterator[Trace]]], ops: int) -> Iterator[Trace]:
    """The pieces of several traces as those of one, as `tracekit.formats.chunks` gives them.

    Args:
        sources: For each trace what reads it in pieces of so many ops.
        ops: About how many ops are held, of all traces together.
    """
    merged = _Merged([source(max(ops // len(sources), _FEWEST_OPS)) for source in sources])
    last: Trace | None = None
    for columns in interleave_streams(merged.streams):
        if last is not None:
            yield last
        last = merged.piece(columns)
    # Marks may stand behind the last op.
    rest = merged.piece(last.columns if last is not None else Trace.of([]).columns)
    last = Trace(rest.columns, rest.tables, [*(last.marks if last is not None else ()), *rest.marks], rest.header)
    last.trailer = trailers_added([source.trailer for source in merged.sources])
    last.warnings = [
        *mixed([(source.first.header, source.last) for source in merged.sources]),
        *merged.warnings,
        *(text for source in merged.sources for text in source.warnings),
    ]
    yield last


def mixed(traces: Sequence[tuple[Header | None, int]]) -> list[str]:
    """A sentence where traces are not of one run: another tool or verb made them, or of another program, or at another time.

    A header that does not say who made its trace says nothing of its run either.

    Args:
        traces: Of each its header, and when its last op was issued, in ns since its t0.
    """
    headers = [header for header, _ in traces]
    made = dict[str, str]()
    for header in headers:
        if header is not None and header.producer:
            text = _made(header)
            # The hosts of one job differ in numbers.
            made.setdefault("".join(letter for letter in text if not letter.isdigit()), text)
    if len(made) < 2:
        return _one_after_another(traces)
    return [
        f"traces that are not of one run are merged: {', '.join(made.values())}; to look at one, name its files alone"
    ]


def _one_after_another(traces: Sequence[tuple[Header | None, int]]) -> list[str]:
    """A sentence where traces are of several runs, of which one began when another had ended.

    Those that overlap are taken for one job's: where the launcher of its hosts says nothing, each has a run of its own.
    """
    spans = dict[str, tuple[int, int]]()
    for header, last in traces:
        run, origin = _run(header), header.clock.get("t0_unix_ns") if header else None
        if run is not None and isinstance(origin, int):
            first, end = spans.get(run, (origin, origin))
            spans[run] = min(first, origin), max(end, origin + last)
    runs, ended = 0, -1
    for begin, end in sorted(spans.values()):
        runs += begin > ended
        ended = max(ended, end)
    if runs < 2:
        return []
    return [f"traces of {runs} runs, made one after another, are merged into one; to look at one, name its files alone"]


def _run(header: Header | None) -> str | None:
    run = header.producer.get("run") if header else None
    return run if isinstance(run, str) else None


def last_of(trace: Trace) -> int:
    """When the last op of a trace was issued; 0 where there is none."""
    return int(trace.col("t_submit").max(initial=0))


def _made(header: Header) -> str:
    """Who made a trace, and of what."""
    options = header.producer.get("options")
    source = options.get("source") if isinstance(options, Mapping) else None
    maker = " ".join(str(header.producer[key]) for key in ("tool", "verb") if header.producer.get(key))
    of = " ".join(map(str, header.command)) or (os.path.basename(str(source)) if source else "")
    return f"{maker} of {textwrap.shorten(of, _SHOWN, placeholder=' …')}" if of else maker


class _Merged:
    """What the pieces of the one trace share."""

    def __init__(self, readers: Sequence[Iterator[Trace]]) -> None:
        self.tables = {name: StringTable() for name in (*CATEGORIES, "sample_id")}
        self.marks: list[Mark] = []
        self.sources = [_Source(reader, self) for reader in readers]
        self.header, self.warnings = self._on_one_clock()
        self.streams = [source.columns() for source in self.sources]

    def piece(self, columns: dict[str, IntArray]) -> Trace:
        """A piece with these columns, and the marks met since the last one."""
        marks, self.marks = sorted(self.marks, key=lambda mark: mark.t), []
        tables = {name: table for name, table in self.tables.items() if name in columns and len(table)}
        return Trace(columns, tables, marks, self.header)

    def _on_one_clock(self) -> tuple[Header | None, list[str]]:
        headers = [source.first.header for source in self.sources]
        origins = [header.clock.get("t0_unix_ns") if header else None for header in headers]
        known = [origin for origin in origins if isinstance(origin, int)]
        if len(known) < len(headers):
            return headers[0], ["merged traces without a common clock: times are as recorded"]
        for source, origin in zip(self.sources, known, strict=True):
            source.shift = origin - min(known)
        leader = headers[known.index(min(known))] or Header()
        return replace(headers[0] or Header(), clock=leader.clock), []


class _Source:
    """One of the traces: its pieces on the common clock, with codes into the common tables."""

    def __init__(self, reader: Iterator[Trace], merged: _Merged) -> None:
        self.first = next(reader)
        self.shift = self.last = 0
        self.trailer = self.first.trailer
        self.warnings: Sequence[str] = self.first.warnings
        self._reader = reader
        self._merged = merged
        self._recoder = Recoder(merged.tables)

    def columns(self) -> Iterator[dict[str, IntArray]]:
        """The columns of each piece; what is no op is given to the merged trace."""
        yield self._columns(self.first)
        for piece in self._reader:
            self.trailer, self.warnings = piece.trailer, piece.warnings
            yield self._columns(piece)

    def _columns(self, piece: Trace) -> dict[str, IntArray]:
        self.last = max(self.last, last_of(piece))
        shifted = piece.shifted(self.shift) if self.shift else piece
        self._merged.marks += shifted.marks
        return self._recoder.columns(shifted)
