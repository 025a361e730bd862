"""Which rank replays which streams of a trace."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracekit.replay.compile import People, Program
from tracekit.replay.rows import IDENTITIES
from tracekit.replay.survey import NEVER
from tracekit.trace import NULL, Mask, Trace

Int64s = NDArray[np.int64]
_RANK = IDENTITIES.index("rank")


@dataclass(frozen=True)
class Load:
    """What the ops of one rank are: how many, and when the first one was submitted (0 where there is none)."""

    ops: int
    first: int


class Division:
    """Tells for pieces of a trace which ops are whose.

    Args:
        owners: The rank of each combination of `IDENTITIES` that issues ops.
        by: By what the trace was divided.
        loads: What each rank has.
    """

    def __init__(self, owners: dict[tuple[int, ...], int], by: str, loads: list[Load]) -> None:
        self.by, self.loads = by, loads
        self._owners = owners
        # Who issues nothing belongs to a rank that replays something: it counts what is left out.
        self._other = next((rank for rank, load in enumerate(loads) if load.ops), 0)
        self._people = People()
        self._owner_of = np.zeros(0, np.int64)

    def mask(self, piece: Trace, rank: int) -> Mask:
        """Which ops of a piece are a rank's."""
        codes = self._people.codes(piece)
        known = len(self._owner_of)
        if len(codes) and int(codes.max()) >= known:
            new = map(tuple, self._people.people()[known:].tolist())
            owners = np.array([self._owners.get(person, self._other) for person in new], np.int64)
            self._owner_of = np.append(self._owner_of, owners)
        return np.asarray(self._owner_of[codes] == rank, np.bool_)


def divide(program: Program, count: int) -> Division:
    """Divide the streams of a trace among `count` ranks.

    A stream stays whole. Where the recording has as many ranks as there are now, each replays one of them, in their order;
    else streams are dealt out, the heaviest first, each to the rank that has least so far. A stream weighs what its ops and
    its bytes are of all, since either may be what takes time.
    """
    ops, size, first = _per_person(program)
    recorded = program.who[:, _RANK]
    ranks = np.unique(recorded)
    if count > 1 and len(ranks) == count and ranks[0] != NULL:
        owner, by = np.searchsorted(ranks, recorded), "recorded rank"
    else:
        owner, by = _dealt(program.stream_of, ops, size, count), "ops and bytes"
    owners = dict(zip(map(tuple, program.who.tolist()), owner.tolist(), strict=True))
    mine = [owner == rank for rank in range(count)]
    firsts = [int(first[one].min(initial=NEVER)) for one in mine]
    loads = [Load(int(ops[one].sum()), 0 if begin == NEVER else begin) for one, begin in zip(mine, firsts, strict=True)]
    return Division(owners, by, loads)


def _per_person(program: Program) -> tuple[Int64s, Int64s, Int64s]:
    """Ops, bytes and first submit of each combination that issues ops."""
    people = len(program.who)
    ops, size, first = np.zeros(people, np.int64), np.zeros(people, np.int64), np.full(people, NEVER, np.int64)
    for _, block in program.rows.blocks():
        who = block["who"]
        ops += np.bincount(who, minlength=people)
        np.add.at(size, who, np.maximum(block["len"], 0))
        np.minimum.at(first, who, block["t_submit"])
    return ops, size, first


def _dealt(stream_of: NDArray[np.int32], ops: Int64s, size: Int64s, count: int) -> Int64s:
    """The rank of each combination, when its stream is dealt out by weight."""
    shares = ops / max(1, int(ops.sum())) + size / max(1.0, float(size.sum()))
    weights = np.bincount(stream_of, shares) if len(stream_of) else np.zeros(0)
    owner = np.zeros(len(weights), np.int64)
    loads = [(0.0, rank) for rank in range(count)]
    for stream in np.argsort(-weights, kind="stable"):
        load, rank = heapq.heappop(loads)
        owner[stream] = rank
        heapq.heappush(loads, (load + float(weights[stream]), rank))
    return np.asarray(owner[stream_of], np.int64)
