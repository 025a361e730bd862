"""Which files, and which prefixes: bytes, requests and times of each, the hot ones, and how much more is read than is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.metrics.view import View
from tracekit.trace import NULL, Trace

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """What one file, or all files under one prefix, had to do.

    `size_bytes` is the recorded size where the trace knows it, `extent_bytes` how far reads and writes reached. `p50_us` and
    `p99_us` are of service times; None where no op has one.
    """

    name: str
    files: int
    ops: int
    read_bytes: int
    written_bytes: int
    extent_bytes: int
    size_bytes: int | None
    busy_us: float
    p50_us: float | None
    p99_us: float | None

    @property
    def amplification(self) -> float | None:
        """Bytes read over bytes there: 1 where everything is read once; None where nothing is there."""
        there = self.size_bytes or self.extent_bytes
        return self.read_bytes / there if there else None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**self.__dict__, "amplification": self.amplification}


def by_file(trace: Trace) -> list[Group]:
    """Every file that was read or written, the one with the most bytes first."""
    return _groups(trace, trace.uris)


def by_prefix(trace: Trace, depth: int | None = None) -> list[Group]:
    """Files together by directory or object prefix, the one with the most bytes first.

    Args:
        trace: The trace.
        depth: How many parts of the path after the scheme count; None is the whole directory.
    """
    return _groups(trace, [_prefix(uri, depth) for uri in trace.uris])


def _prefix(uri: str, depth: int | None) -> str:
    scheme, sign, rest = uri.partition("://")
    if not sign:
        scheme, rest = "", uri
    parts = rest.split("/")[:-1]
    kept = parts if depth is None else parts[: depth + (not parts or parts[0] == "")]
    return f"{scheme}{sign}{'/'.join(kept)}/"


def _groups(trace: Trace, names: Sequence[str]) -> list[Group]:
    view = View.of(trace)
    if not len(view.data):
        return []
    sizes = _known_sizes(trace)
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    group_of_uri = np.array([known[name] for name in names], np.int64)
    uri = view.col("uri")
    group = group_of_uri[uri]
    count = len(known)
    service = np.where(view.timed, view.complete - view.submit, NULL)
    reach = np.where(view.col("offset") == NULL, 0, view.col("offset") + view.moved)
    extent = _largest(uri, reach, len(names))
    quantiles = _quantiles(group, service, count)
    touched = np.unique(uri)
    totals = {
        "ops": np.bincount(group, minlength=count),
        "read": np.bincount(group, view.moved * view.reads, count),
        "written": np.bincount(group, view.moved * ~view.reads, count),
        "busy": np.bincount(group, np.maximum(service, 0), count),
        "extent": np.bincount(group_of_uri, extent, count),
        "files": np.bincount(group_of_uri[touched], minlength=count),
    }
    recorded = _recorded(touched, group_of_uri, trace, sizes, count)
    groups = [
        Group(
            name, int(totals["files"][i]), int(totals["ops"][i]), int(totals["read"][i]), int(totals["written"][i]),
            int(totals["extent"][i]), recorded[i], float(totals["busy"][i]) / 1000, *quantiles[i],
        )
        for name, i in known.items()
        if totals["ops"][i]
    ]  # fmt: skip
    return sorted(groups, key=lambda one: (-(one.read_bytes + one.written_bytes), one.name))


def _known_sizes(trace: Trace) -> dict[str, int]:
    """Sizes of files by URI, as far as a recorder noted them."""
    files = trace.trailer.extra.get("files", {}) if trace.trailer else {}
    return dict(zip(files.get("uri", ()), files.get("size", ()), strict=False))


def _recorded(touched: Ints, group_of_uri: Ints, trace: Trace, sizes: dict[str, int], count: int) -> list[int | None]:
    """The recorded size of each group; None where that of any of its files is not known."""
    total: list[int | None] = [0] * count
    for code in touched.tolist():
        group, size = int(group_of_uri[code]), sizes.get(trace.uris[code])
        known = total[group]
        total[group] = None if known is None or size is None else known + size
    return total


def _largest(keys: Ints, values: Ints, count: int) -> Ints:
    out = np.zeros(count, np.int64)
    np.maximum.at(out, keys, values)
    return out


def _quantiles(group: Ints, service: Ints, count: int) -> list[tuple[float | None, float | None]]:
    """Median and 99th percentile in microseconds of the known times of each group."""
    known = service >= 0
    order = np.lexsort((service[known], group[known]))
    groups, times = group[known][order], service[known][order]
    edges = np.searchsorted(groups, np.arange(count + 1))
    out: list[tuple[float | None, float | None]] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        n = last - first
        ranks = [first + max(0, int(np.ceil(q * n)) - 1) for q in (0.5, 0.99)]
        out.append((None, None) if not n else (times[ranks[0]] / 1000, times[ranks[1]] / 1000))
    return out
