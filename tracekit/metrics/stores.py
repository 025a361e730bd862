"""What object stores were asked for, and what the page cache was told: requests by kind, ranges, connections, hints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tracekit.metrics.slots import Slots
from tracekit.metrics.view import View
from tracekit.trace import NULL, Mask, Trace

# In `flags`: a request asked for a range of bytes; it opened a connection.
RANGED, CONNECTED = "range", "connect"
_SCHEMES = ("s3://", "az://")
# posix_fadvise(2): what the recorder's core notes as the result of a call is its advice. Earlier ones noted 0, which is the one that
# asks for nothing: both are said without a name.
_ADVICE = ("fadvise", "random", "sequential", "willneed", "dontneed", "noreuse")
_NOTED_BY = "libc"


class StoresTally:
    """Requests for objects and hints of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._requests, self._kinds = Slots(), list[str]()
        self._ranged = self._connected = 0
        self._hints: Counter[str] = Counter()
        self._far: Mask = np.zeros(0, np.bool_)

    def update(self, view: View) -> None:
        """Take in the next piece."""
        trace = view.trace
        if not len(trace):
            return
        self._add_hints(trace)
        mine = self._of_objects(trace)
        if not bool(mine.any()):
            return
        # A logical request that says how many it took stands for so many; of wire requests each is one.
        attempts = np.maximum(np.where(trace.mask("level", "wire"), 1, trace.col("attempts")), 1).astype(np.int64)
        self._requests.add(trace.col("op")[mine], attempts[mine])
        self._kinds = trace.strings("op")
        flagged = trace.col("flags")
        self._ranged += int(attempts[mine & _with(trace, flagged, RANGED)].sum())
        self._connected += int((mine & _with(trace, flagged, CONNECTED)).sum())

    def result(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What has come so far, and what a replay says of its own run, by the names of `Counters`."""
        requests = sorted((self._kinds[code], n) for code, n in enumerate(self._requests.values.tolist()) if n)
        said = run.get("connections")
        hints = self._hints + Counter(run.get("cache_hints") or {})
        return {
            "object_requests": dict(requests),
            "ranged_gets": self._ranged or None,
            "connections": said if isinstance(said, int) else self._connected or None,
            "cache_hints": dict(sorted(hints.items())),
        }

    def _of_objects(self, trace: Trace) -> Mask:
        names = trace.uris
        if len(names) > len(self._far):
            new = [name.startswith(_SCHEMES) for name in names[len(self._far) :]]
            self._far = np.append(self._far, np.array(new, np.bool_))
        return (
            np.asarray(self._far[trace.col("uri")], np.bool_)
            if bool(self._far.any())
            else np.zeros(len(trace), np.bool_)
        )

    def _add_hints(self, trace: Trace) -> None:
        self._hints["readahead"] += int(trace.mask("op", "readahead").sum())
        asked = trace.mask("op", "fadvise")
        if not bool(asked.any()):
            return
        told = asked & trace.mask("layer", _NOTED_BY)
        for advice, count in Counter(trace.col("ret")[told].tolist()).items():
            self._hints[_ADVICE[advice] if NULL < advice < len(_ADVICE) else "fadvise"] += count
        self._hints["fadvise"] += int((asked & ~told).sum())


def _with(trace: Trace, codes: Any, word: str) -> Mask:
    """Which ops have a word among their flags."""
    texts = [text for text in trace.strings("flags") if word in text.split(",")]
    return trace.mask("flags", *texts) if texts else np.zeros(len(codes), np.bool_)
