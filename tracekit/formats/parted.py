"""A trace in parts: a directory of Parquet files, one for each span of its time, which are read as the one trace that they are.

    train.parts/part-00000.parquet
    train.parts/part-00001.parquet

Each part is a file like any other for DuckDB and Polars, and for tracekit a trace of that span. Its metadata says under
`tracekit.part` which trace it belongs to, its number from 0, its span, and whether it is the last, which has the trailer:

    {"trace": "…", "number": 0, "from_ns": 0, "to_ns": 60000000000, "last": false}

Marks stand in the part during which they began. Spans without ops have no part.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from tracekit.errors import InputError, OutputExistsError, UsageError
from tracekit.formats import parquet
from tracekit.formats.reader import join_columns
from tracekit.output import check_directory, umask
from tracekit.trace import IntArray, Mark, Marks, Trace

EVERY_NS = 60 * 10**9
# What cannot be opened any more at once, and what nobody wants to have in one directory.
_MOST_PARTS = 100_000
_NAME = re.compile(r"part-\d{5}\.parquet")


# -- out --------------------------------------------------------------------------------------------------------------


@contextmanager
def writing(
    path: str | os.PathLike[str], *, every_ns: int = EVERY_NS, force: bool = True
) -> Iterator[Callable[[Sequence[Mark]], Parts]]:
    """A place for the parts of a trace: what makes a sink for `tracekit.formats.fold`, which gives ops in order of time.

    The directory appears under its name when the block ends well and the sink was finished; when it raises, nothing is left.

    Args:
        path: The directory. One that holds parts already is replaced where `force` is true; anything else in it is left alone.
        every_ns: How much of the trace's time a part has, in ns.
        force: Whether parts that are there may be replaced.

    Raises:
        OutputExistsError: If there are parts and `force` is false.
        UsageError: If `every_ns` is not above 0, or there would be too many parts.
        InputError: If the directory holds something else, or the one above is missing.
        CannotRunError: If it cannot be written.
    """
    if every_ns <= 0:
        raise UsageError("a part has no time at all", "give a span of time such as 60s")
    target = Path(os.path.realpath(path))
    _check_place(target, force=force)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent))
    parts: list[Parts] = []

    def begin(marks: Sequence[Mark]) -> Parts:
        _cleared(folder, parts)
        parts.append(Parts(folder, every_ns, marks))
        return parts[-1]

    try:
        yield begin
        folder.chmod(0o777 & ~umask())
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    except BaseException:
        _cleared(folder, parts)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _cleared(folder: Path, parts: list[Parts]) -> None:
    for one in parts:
        one.abandon()
    parts.clear()
    for file in folder.iterdir():
        file.unlink()


def _check_place(target: Path, *, force: bool) -> None:
    check_directory(target.parent)
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is no directory", "name a directory for the parts")
    names = os.listdir(target)
    other = next((name for name in names if not _NAME.fullmatch(name)), None)
    if other is not None:
        raise InputError(f"{target} holds {other}, which is no part of a trace", "name a directory of its own")
    if names and not force:
        raise OutputExistsError(target)


class Parts:
    """Writes the pieces of a trace, which come in order of time, into one file for each span.

    Args:
        folder: Where the files go.
        every_ns: How long a span is.
        marks: All marks of the trace.
    """

    def __init__(self, folder: Path, every_ns: int, marks: Sequence[Mark]) -> None:
        self._folder, self._every = folder, every_ns
        self._marks = Marks.of(marks)
        self._trace = uuid.uuid4().hex
        self._stack = ExitStack()
        self._writer: parquet.TableWriter | None = None
        self._window = 0
        self._last = Trace.of([])
        self.count = self.ops = 0

    def update(self, piece: Trace) -> None:
        """Take the next piece."""
        self._last = piece
        self.ops += len(piece)
        windows = piece.col("t_submit") // self._every
        edges = [0, *(np.flatnonzero(np.diff(windows)) + 1).tolist(), len(piece)]
        for start, stop in pairwise(edges):
            if stop > start:
                self._part(int(windows[start])).ops(piece.select(slice(start, stop)))

    def finish(self) -> Sequence[str]:
        """Write the last part's end, and what a reader of the trace should be told."""
        writer = self._part(self._window)
        writer.marks(self._marks)
        if self._last.trailer is not None:
            writer.trailer(self._last.trailer)
        self._close(last=True)
        return self._last.warnings

    def abandon(self) -> None:
        """Let go of a part that will not be kept."""
        if self._writer is not None:
            self._writer = None
            # As if it had failed: what it has written goes.
            self._stack.__exit__(InterruptedError, InterruptedError(), None)

    def _part(self, window: int) -> parquet.TableWriter:
        if self._writer is not None and window != self._window:
            self._give_marks((self._window + 1) * self._every)
            self._close(last=False)
        self._window = window
        if self._writer is None:
            self._writer = self._opened()
        return self._writer

    def _opened(self) -> parquet.TableWriter:
        if self.count >= _MOST_PARTS:
            raise UsageError(
                f"the trace would have more than {_MOST_PARTS:,} parts", "let each have more time (--every)"
            )
        path = self._folder / f"part-{self.count:05}.parquet"
        writer = self._stack.enter_context(parquet.writing(path))
        if self._last.header is not None:
            writer.header(self._last.header)
        self.count += 1
        return writer

    def _give_marks(self, end: int) -> None:
        """Those that began before a moment go into the part that is written; the others wait."""
        assert self._writer is not None
        begun = self._marks.t < end
        self._writer.marks(self._marks.select(begun))
        self._marks = self._marks.select(~begun)

    def _close(self, *, last: bool) -> None:
        assert self._writer is not None
        start = self._window * self._every
        about = {"trace": self._trace, "number": self.count - 1, "from_ns": start, "to_ns": start + self._every}
        self._writer.part(about | {"last": last})
        self._writer = None
        self._stack.close()


# -- in ---------------------------------------------------------------------------------------------------------------


def groups(paths: Sequence[str]) -> list[list[str]]:
    """Files, of which those that are parts of one trace are together, in the order of the parts."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in paths:
        about = parquet.part_of(path) if len(paths) > 1 and _NAME.fullmatch(os.path.basename(path)) else None
        key, number = (path, 0) if about is None else (str(about["trace"]), int(about["number"]))
        found.setdefault(key, []).append((number, path))
    return [[path for _, path in sorted(parts)] for parts in found.values()]


def chunks(
    paths: Sequence[str], *, ops: int, time_unit: int, skip_bad: bool, columns: Collection[str] | None = None
) -> Iterator[Trace]:
    """The parts of one trace as its pieces (see `tracekit.formats.chunks`).

    Raises:
        InputError: As for a file.
    """
    reader: parquet.Reader | None = None
    waiting: tuple[parquet.Reader, dict[str, IntArray]] | None = None
    for path in paths:
        reader = parquet.Reader(path, time_unit, columns, before=reader, skip_bad=skip_bad)
        for part in reader.columns(ops):
            if waiting is not None:
                yield waiting[0].piece(waiting[1])
            waiting = reader, part
    assert reader is not None
    if waiting is not None and waiting[0] is not reader:
        # The last part has no op: its trailer comes with an empty piece.
        yield waiting[0].piece(waiting[1])
        waiting = None
    missing = _missing(paths)
    last = reader.finish(join_columns([] if waiting is None else [waiting[1]]))
    if missing:
        last.trailer = None
        last.warnings = [*last.warnings, f"{os.path.dirname(paths[0])}: {missing}: the trace is not whole"]
    yield last


def _missing(paths: Sequence[str]) -> str:
    abouts = [about for about in map(parquet.part_of, paths) if about is not None]
    numbers = [int(about["number"]) for about in abouts]
    gone = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    if gone:
        return (
            f"part {gone[0]} is missing" if len(gone) == 1 else f"{len(gone)} parts are missing, the first is {gone[0]}"
        )
    return "" if abouts[-1]["last"] else "the last part is missing"
