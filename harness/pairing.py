"""Which op of a replay answers which op of its recording.

An op is known by what it does, where, and how much (op, uri, offset, len); the k-th such op of the one trace answers the
k-th of the other. Within one stream first: the one that issues the very same ops, else the one of the same rank, pid and tid; what is
left then over all streams, in order of time. The pairing is one to one; what remains on either side is missing or extra.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.stats import Ints
from tracekit.errors import TracekitError
from tracekit.metrics.keys import codes_of
from tracekit.metrics.view import View
from tracekit.replay.remap import Remap
from tracekit.trace import StringTable, Trace
from tracekit.uri import file_uri, local_path


@dataclass(frozen=True)
class Pairing:
    """Two traces in order of time, and which ops of theirs belong together.

    `left[i]` of the recording and `right[i]` of the replay are a pair; pairs are in the recording's order. `common_files` is whether
    the two have any file in common.
    """

    recorded: Trace
    replayed: Trace
    left: Ints
    right: Ints
    common_files: bool = True

    def __len__(self) -> int:
        return len(self.left)

    @property
    def missing_share(self) -> float:
        """The share of recorded ops that nothing answers."""
        return 1 - len(self) / len(self.recorded) if len(self.recorded) else 0.0

    @property
    def extra_share(self) -> float:
        """Ops of the replay that answer nothing, as a share of the recorded ops."""
        return (len(self.replayed) - len(self)) / max(1, len(self.recorded))

    @cached_property
    def streams(self) -> Ints | None:
        """The recorded stream of each pair; None where the recording has no streams."""
        streams = streams_of(self.recorded)
        return None if streams is None else streams[self.left]

    @cached_property
    def moved_share(self) -> float | None:
        """The share of pairs not issued by the stream that issued most of its recorded stream's ops; None without streams.

        The names of streams do not matter: a replay may number its processes anew.
        """
        replayed = streams_of(self.replayed)
        if self.streams is None or replayed is None or not len(self):
            return None
        both = codes_of(self.streams, replayed[self.right])
        _, first, counts = np.unique(both, return_index=True, return_counts=True)
        largest = np.zeros(int(self.streams.max()) + 1, np.int64)
        np.maximum.at(largest, self.streams[first], counts)
        return 1 - float(largest.sum()) / len(self)

    @cached_property
    def times(self) -> tuple[Ints, Ints]:
        """t_submit of each pair in both traces, ns since the first pair of each."""
        recorded, replayed = _col(self.recorded, "t_submit")[self.left], _col(self.replayed, "t_submit")[self.right]
        return (recorded - recorded[:1], replayed - replayed[:1]) if len(self) else (recorded, replayed)

    @cached_property
    def uris(self) -> Ints:
        """The recorded uri of each pair, as a number."""
        return _col(self.recorded, "uri")[self.left]


def pair(recorded: Trace, replayed: Trace, remap: Sequence[tuple[str, str]] = ()) -> Pairing:
    """Pair the ops of a replay with those of its recording.

    Args:
        recorded: The recording.
        replayed: The replay, or any other trace held against it.
        remap: (FROM, TO) prefixes by which the replay's uris differ; the longest that fits is applied to the recording's.
    """
    recorded, replayed = View.of(recorded).trace, View.of(replayed).trace
    count = len(recorded)
    keys, uris = _keys(recorded, replayed, Remap(remap))
    streams = _same_streams(keys, _both(recorded, replayed, "rank", "pid", "tid"), count)
    left, right = _kth_with_kth(codes_of(keys, streams), count)
    rest = np.ones(len(keys), np.bool_)
    rest[left], rest[right] = False, False
    rest_at = np.flatnonzero(rest)
    more_left, more_right = _kth_with_kth(keys[rest_at], int(rest[:count].sum()))
    left = np.concatenate([left, rest_at[more_left]])
    right = np.concatenate([right, rest_at[more_right]]) - count
    order = np.argsort(left, kind="stable")
    common = bool(np.isin(uris[:count], uris[count:]).any())
    return Pairing(recorded, replayed, left[order], right[order], common)


def streams_of(trace: Trace) -> Ints | None:
    """A number for the stream (rank, pid, tid) of every op; None where the trace has neither pid nor tid."""
    if "pid" not in trace and "tid" not in trace:
        return None
    return codes_of(_col(trace, "rank"), _col(trace, "pid"), _col(trace, "tid"))


def canonical(uri: str) -> str:
    """One spelling for one place: every local uri (path, file://, direct://) as the file:// uri of its path."""
    try:
        return file_uri(local_path(uri))
    except TracekitError:
        return uri


def _remapped(uri: str, remap: Remap) -> str:
    new = remap.apply(uri)
    return canonical(uri if new is None else new)


def _keys(recorded: Trace, replayed: Trace, remap: Remap) -> tuple[Ints, Ints]:
    """A number for what each op does, where and how much, and for its file: first the recording's, then the replay's."""
    names = StringTable()
    uris_a = np.array([names.code(_remapped(uri, remap)) for uri in recorded.uris], np.int64)
    uris_b = np.array([names.code(canonical(uri)) for uri in replayed.uris], np.int64)
    kinds = StringTable()
    kinds_a = np.array([kinds.code(kind) for kind in recorded.strings("op")], np.int64)
    kinds_b = np.array([kinds.code(kind) for kind in replayed.strings("op")], np.int64)
    uri = np.concatenate([uris_a[_col(recorded, "uri")], uris_b[_col(replayed, "uri")]])
    kind = np.concatenate([kinds_a[_col(recorded, "op")], kinds_b[_col(replayed, "op")]])
    # 64-bit values become numbers that codes_of can pack.
    offset, size = (np.unique(_stack(recorded, replayed, name), return_inverse=True)[1] for name in ("offset", "len"))
    return codes_of(uri, kind, offset.reshape(-1), size.reshape(-1)), uri


def _both(recorded: Trace, replayed: Trace, *names: str) -> Ints:
    return codes_of(*(_stack(recorded, replayed, name) for name in names))


def _same_streams(keys: Ints, streams: Ints, count: int) -> Ints:
    """The streams, those of the replay under the number of the recorded stream that issues the very same ops in the same order.

    Names of threads mean nothing across processes: where several streams read the same places, pairing by name would give
    one stream's ops to another. A stream that has no twin keeps its name, where no other has taken it.
    """
    recorded, replayed = _sequences(keys[:count], streams[:count]), _sequences(keys[count:], streams[count:])
    waiting: dict[bytes, list[int]] = {}
    for stream, digest in recorded:
        waiting.setdefault(digest, []).append(stream)
    new = np.arange(int(streams.max(initial=0)) + 1)
    alone = []
    for stream, digest in replayed:
        if waiting.get(digest):
            new[stream] = waiting[digest].pop(0)
        else:
            alone.append(stream)
    taken = {int(new[stream]) for stream, _ in replayed} - set(alone)
    for number, stream in enumerate(alone):
        if stream in taken:
            new[stream] = len(new) + number
    return np.concatenate([streams[:count], new[streams[count:]]])


def _sequences(keys: Ints, streams: Ints) -> list[tuple[int, bytes]]:
    """Each stream and a digest of its ops in their order; the streams in the order in which they begin."""
    order = np.argsort(streams, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(streams[order])) + 1) if len(order) else []
    groups.sort(key=lambda rows: int(rows[0]))
    return [(int(streams[rows[0]]), hashlib.blake2b(keys[rows].tobytes()).digest()) for rows in groups]


def _stack(recorded: Trace, replayed: Trace, name: str) -> Ints:
    return np.concatenate([_col(recorded, name), _col(replayed, name)])


def _col(trace: Trace, name: str) -> Ints:
    return np.asarray(trace.col(name), np.int64)


def _kth_with_kth(keys: Ints, count: int) -> tuple[Ints, Ints]:
    """Positions (of the first `count`, of the rest) with equal keys, the k-th with the k-th."""
    is_right = np.arange(len(keys)) >= count
    order = np.lexsort((is_right, keys))
    nth = np.empty(len(keys), np.int64)
    nth[order] = _rank_in_run(codes_of(keys[order], is_right[order].astype(np.int64)))
    order = np.lexsort((is_right, nth, keys))
    same = (keys[order][1:] == keys[order][:-1]) & (nth[order][1:] == nth[order][:-1])
    first = np.flatnonzero(same)
    return order[first], order[first + 1]


def _rank_in_run(values: Ints) -> Ints:
    """For runs of equal values: the position of each in its run, from 0."""
    starts = (
        np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.zeros(0, np.intp)
    )
    lengths = np.diff(np.append(starts, len(values)))
    return np.arange(len(values)) - np.repeat(starts, lengths)
