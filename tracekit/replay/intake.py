"""Which ops of a trace will be issued, and under which names: decided piece by piece, as the trace is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError, TracekitError
from tracekit.replay.kinds import CHANGES, Kind, kind_table, kinds_of
from tracekit.replay.options import Options
from tracekit.replay.remap import Remap
from tracekit.selection import hint, select
from tracekit.trace import NULL, IntArray, StringTable, Trace
from tracekit.units import counted

# What the user should hear the reason of, because the program's time in it is missing from the replay.
_NAMING, _CUTTING = "names and directories", "changes of length"
WHY_LEFT_OUT = {
    _NAMING: "left out: {} on names and directories (mkdir, rmdir, rename): what the trace writes lies in one scratch directory "
    "under names of its own",
    _CUTTING: "left out: {} on a file's length (truncate): not every trace says to which length",
}


class Intake:
    """Takes the pieces of one trace; what was noticed is complete after the last.

    Args:
        options: What was asked for.

    Attributes:
        seen: Columns of the trace.
        skipped: Ops that are left out, by reason.
        source_ops: Ops of the trace.
        uris: The names of what remains, for all pieces.
        residency: What the trace's trailer says of the page cache.
        files: What it says of the recorded files: columns, of which `uri` and `size` are used.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._remap = Remap(options.remap) if options.remap else None
        self._codes: list[int] = []
        self._stayed = 0
        self._unknown: Counter[str] = Counter()
        self._bad_selection: TracekitError | None = None
        self._warnings: list[str] = []
        self._tables: Mapping[str, StringTable] = {}
        self._table: StringTable | None = None
        self._names, self._suspicious = -1, False
        self.uris = StringTable()
        self.seen: set[str] = set()
        self.skipped: dict[str, int] = {}
        self.source_ops = 0
        self.residency: Mapping[str, Any] = {}
        self.files: Mapping[str, Any] = {}

    def take(self, piece: Trace) -> Trace:
        """The ops of a piece that will be issued."""
        self.source_ops += len(piece)
        self.seen.update(piece.columns)
        self._warnings, self._tables = piece.warnings, piece.tables
        if piece.trailer is not None:
            self.residency = piece.trailer.residency
            files = piece.trailer.extra.get("files")
            self.files = files if isinstance(files, Mapping) else {}
        return self._issued(self._renamed(self._chosen(piece)))

    @property
    def warnings(self) -> list[str]:
        """What the reader of the trace said, and what the names showed."""
        stayed = [f"{self._stayed} URIs have none of the --remap prefixes and stay as they are"] if self._stayed else []
        left_out = [
            WHY_LEFT_OUT[reason].format(counted(count, "op"))
            for reason, count in self.skipped.items()
            if reason in WHY_LEFT_OUT
        ]
        return [*self._warnings, *stayed, *left_out]

    @property
    def problems(self) -> list[TracekitError]:
        """What keeps the trace from being replayed with these options."""
        found = [] if self._bad_selection is None else [self._bad_selection]
        found += [
            InputError(f"no URI of the trace starts with {prefix!r}, which --remap names", "check the prefix")
            for prefix in (self._remap.unused if self._remap else [])
        ]
        if self._unknown:
            listing = ", ".join(f"{name} ({count})" for name, count in self._unknown.most_common(5))
            text = f"the trace has ops that cannot be replayed: {listing}"
            found.append(InputError(text, "pass --skip-unknown to leave them out"))
        return found

    def problems_with(self, left: int) -> list[TracekitError]:
        """`problems`, and that nothing is left to replay where that is so: `left` ops are."""
        found = self.problems
        if not left and not found:
            found.append(InputError("no op of the trace is left to replay", self._why_none()))
        return found

    def sizes(self) -> dict[str, int]:
        """How large the recorded files were, by the names they have now; empty where the trace does not say."""
        uris, sizes = self.files.get("uri"), self.files.get("size")
        if not isinstance(uris, list) or not isinstance(sizes, list):
            return {}
        return {self._new_name(uri): size for uri, size in zip(uris, sizes, strict=False) if _is_size(uri, size)}

    def _new_name(self, uri: str) -> str:
        new = self._remap.apply(uri) if self._remap is not None else None
        return uri if new is None else new

    def _why_none(self) -> str:
        """What to do when no op is left."""
        if not self.source_ops:
            return "record a program that reads something"
        if self._options.select:
            return hint(self._options.select, self._tables)
        return "its ops are all of kinds that are left out"

    def _chosen(self, piece: Trace) -> Trace:
        if self._options.select is None or self._bad_selection is not None:
            return piece
        try:
            return piece.select(select(piece, self._options.select))
        except TracekitError as error:
            self._bad_selection = error
            return piece

    def _renamed(self, piece: Trace) -> Trace:
        """The piece with codes of `uris`. Pieces of one trace share their tables, so only new names are looked at."""
        if self._remap is None:
            self.uris = piece.tables.get("uri", self.uris)
            return piece
        for uri in piece.uris[len(self._codes) :]:
            new = self._remap.apply(uri)
            self._stayed += new is None
            self._codes.append(self.uris.code(uri if new is None else new))
        codes: IntArray = np.array(self._codes, np.int32)
        columns = {**piece.columns, "uri": codes[piece.columns["uri"]]} if len(piece) else piece.columns
        return Trace(columns, {**piece.tables, "uri": self.uris}, piece.marks, piece.header, None, piece.warnings)

    def _issued(self, piece: Trace) -> Trace:
        if not self._may_drop(piece):
            return piece
        kinds = kinds_of(piece)
        # A touch says that a page was read at some time between two looks: there is no moment to issue it at.
        touches = piece.mask("op", "touch")
        # None of them reads or changes anything for the program, and the replay has a cache policy of its own.
        hints = piece.mask("op", "fadvise", "readahead")
        # Written files lie in a scratch directory under names of their own: there is nothing to make or to rename.
        naming = piece.mask("op", "mkdir", "rmdir", "rename")
        # To which length is not in every trace, and what is read back from a written file is as long as was written.
        cutting = piece.mask("op", "truncate")
        unknown = (kinds == Kind.UNKNOWN) & ~touches & ~hints & ~naming & ~cutting
        changing = np.isin(kinds, CHANGES)
        if not self._options.skip_unknown:
            self._unknown.update(piece.strings("op")[code] for code in piece.col("op")[unknown])
        failed = changing & (piece.col("err") != NULL)
        unwanted = changing & ~failed & (self._options.writes == "skip")
        dropped = unknown | failed | unwanted | touches | hints | naming | cutting
        if not bool(dropped.any()):
            return piece
        reasons = {"unknown": unknown, "failed changes": failed, "writes": unwanted}
        reasons |= {"touches of mapped pages": touches, "hints to the kernel": hints, _NAMING: naming}
        reasons |= {_CUTTING: cutting}
        self._count(reasons)
        return piece.select(~dropped)

    def _may_drop(self, piece: Trace) -> bool:
        """Whether any name of an op that the pieces so far have is of a kind that may be left out."""
        table = piece.tables.get("op")
        if table is not self._table or len(piece.strings("op")) != self._names:
            self._table, self._names = table, len(piece.strings("op"))
            self._suspicious = bool(np.isin(kind_table(piece), (*CHANGES, Kind.UNKNOWN)).any())
        return self._suspicious

    def _count(self, reasons: dict[str, NDArray[np.bool_]]) -> None:
        for reason, mask in reasons.items():
            if bool(mask.any()):
                self.skipped[reason] = self.skipped.get(reason, 0) + int(mask.sum())


def _is_size(uri: Any, size: Any) -> bool:
    return isinstance(uri, str) and isinstance(size, int) and 0 <= size < 1 << 63
