"""What a recording's ops add up to, counted as they pass."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tracekit.trace import NULL, Trace


class Tally:
    """Ops and bytes by kind."""

    def __init__(self) -> None:
        self.ops: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        # Of these, requests for objects, which no kernel counts as reads.
        self.object_bytes: Counter[str] = Counter()
        self.requests = 0
        self._files: set[int] = set()

    @classmethod
    def of(cls, trace: Trace) -> Tally:
        """The tally of a trace in memory."""
        tally = cls()
        tally.add(trace)
        return tally

    def add(self, piece: Trace) -> None:
        """Count a piece, which names files as those before did; failed ops moved nothing."""
        kinds, ret = piece.col("op"), piece.col("ret")
        names = piece.strings("op")
        ops = np.bincount(kinds, minlength=len(names))
        # Whole numbers, not the floats that bincount's weights are: bytes must be exact.
        for code in np.flatnonzero(ops).tolist():
            moved = ret[kinds == code]
            self.ops[names[code]] += int(ops[code])
            self.bytes[names[code]] += int(moved[moved > 0].sum())
            if names[code] in ("read", "write"):
                self._files.update(np.unique(piece.col("uri")[kinds == code]).tolist())
        if "level" in piece:
            requested = piece.col("level") != NULL
            self.requests += int(requested.sum())
            for code in np.unique(kinds[requested]).tolist():
                moved = ret[requested & (kinds == code)]
                self.object_bytes[names[code]] += int(moved[moved > 0].sum())

    @property
    def count(self) -> int:
        """How many ops there were."""
        return self.ops.total()

    @property
    def files(self) -> int:
        """How many files were read or written, as `tracekit stats` counts them."""
        return len(self._files)

    def moved(self, *kinds: str) -> int:
        """Bytes that the ops of these kinds moved."""
        return sum(self.bytes[kind] for kind in kinds)

    def moved_in_files(self, *kinds: str) -> int:
        """The same without objects."""
        return sum(self.bytes[kind] - self.object_bytes[kind] for kind in kinds)
