"""Whether two traces without a common file are of the same files in another place."""

from __future__ import annotations

import os
import shlex
from collections.abc import Container, Sequence

from tracekit.replay.remap import Remap

# Names of the recording that have to be found under the other prefix, as a share.
_MOST = 0.99
# So many names are tried for what the two have in common, and what they have is tried on so many.
_TRIED, _SAMPLE = 8, 1_000


def moved(recorded: Sequence[str], replayed: Sequence[str]) -> tuple[str, str] | None:
    """The (FROM, TO) prefixes by which the replay's names are the recording's; None where there are none.

    Args:
        recorded: The uris of the recording.
        replayed: Those of what is held against it.
    """
    by_name: dict[str, list[str]] = {}
    for uri in replayed:
        by_name.setdefault(os.path.basename(uri), []).append(uri)
    there, sample = set(replayed), recorded[:: max(1, len(recorded) // _SAMPLE)]
    tried: set[tuple[str, str]] = set()
    for uri in recorded[:_TRIED]:
        for other in by_name.get(os.path.basename(uri), [])[:_TRIED]:
            for pair in _prefixes(uri, other):
                if pair not in tried and _leads(pair, sample, there):
                    return pair
                tried.add(pair)
    return None


def _leads(pair: tuple[str, str], names: Sequence[str], there: Container[str]) -> bool:
    remap = Remap([pair])
    return sum(remap.apply(name) in there for name in names) >= _MOST * len(names)


def _prefixes(uri: str, other: str) -> list[tuple[str, str]]:
    """What is before the end that two names have in common, the shortest first; neither is empty."""
    mine, theirs = uri.split("/"), other.split("/")
    pairs = []
    for count in range(1, min(len(mine), len(theirs))):
        if mine[-count] != theirs[-count]:
            break
        pair = "/".join(mine[:-count]), "/".join(theirs[:-count])
        if all(prefix.rpartition("://")[2].strip("/") for prefix in pair):
            pairs.append(pair)
    return pairs[::-1]


def remark(recorded: Sequence[str], replayed: Sequence[str], names: tuple[str, str]) -> list[str]:
    """A sentence with the option to type where the names differ by their beginning only."""
    pair = moved(recorded, replayed)
    if pair is None:
        return []
    option = shlex.quote(f"{pair[0]}={pair[1]}")
    there = f"the files of {names[1]} are those of {names[0]} in another place, which its header does not say"
    return [f"{there} (a replay of a replay names only its own step): hold them together with --remap {option}"]
