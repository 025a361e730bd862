"""Where a golden's runs come from: tools, commands, machine, frameworks, and the digest of every trace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracekit import __version__
from tracekit.errors import InputError
from tracekit.formats import several

if TYPE_CHECKING:
    from harness.golden import Golden
    from harness.run import Run
    from tracekit.trace import Header


def provenance_of(runs: Sequence[tuple[str, Run]], before: Golden | None = None) -> dict[str, Any]:
    """Where runs come from, and those of a golden that they are added to.

    Args:
        runs: Path and run of each.
        before: The golden.

    Raises:
        InputError: If a run is there twice, or part of the golden.
    """
    earlier = {} if before is None else dict(before.provenance or {})
    known = {str(digest): f"a run of {before.label}" for digest in earlier.get("sha256", ())} if before else {}
    own = _own([run.header for _, run in runs if run.header is not None]) | {"sha256": _digests(runs, known)}
    return _joined(earlier, own) if earlier else own


def _joined(earlier: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Both; of the machine what was said first (runs of several classes of host are told by their figures)."""
    lists = {name: sorted({*earlier.get(name, ()), *own[name]}) for name in ("producers", "commands")}
    # One of each run: not to be made one where two are alike.
    lists["recorded"] = sorted([*earlier.get("recorded", ()), *own["recorded"]])
    lists["sha256"] = [*earlier.get("sha256", ()), *own["sha256"]]
    names = sorted({*earlier.get("frameworks", {}), *own["frameworks"]})
    frameworks = {name: _versions(side.get("frameworks", {}).get(name) for side in (earlier, own)) for name in names}
    return {**own, "host": earlier.get("host") or own["host"], **lists, "frameworks": frameworks}


def _versions(versions: Iterable[Any]) -> str:
    return " and ".join(dict.fromkeys(str(version) for version in versions if version))


def _digests(runs: Sequence[tuple[str, Run]], known: Mapping[str, str]) -> list[str]:
    digests = dict(known)
    for path, _ in runs:
        digest = _digest(path)
        if digest in digests:
            raise InputError(f"{path} and {digests[digest]} are the same run", "a golden is made of different runs")
        digests[digest] = path
    return list(digests)[len(known) :]


def _digest(path: str) -> str:
    """The digest of the files that a trace is read from: of a directory or a glob all its traces in order of their names."""
    digest = hashlib.sha256()
    for part in several.expand(path):
        with open(part, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _own(headers: Sequence[Header]) -> dict[str, Any]:
    producers = sorted({_words(header.producer, "tool", "version", "verb", "engine") for header in headers})
    host = dict(headers[0].host) if headers else {}
    # Which machine it was does not matter, which kind does.
    host.pop("name", None)
    systems = sorted({str(system.get("type")) for system in host.pop("filesystem", {}).values()})
    return {
        "made_by": f"harness {__version__}",
        "producers": producers,
        "commands": sorted({_command(header.command) for header in headers}),
        "recorded": sorted(header.created for header in headers),
        "frameworks": dict(sorted(headers[0].frameworks.items())) if headers else {},
        "host": host | {"filesystems": systems},
    }


def _words(values: Mapping[str, Any], *keys: str) -> str:
    return " ".join(str(values[key]) for key in keys if values.get(key))


def _command(words: Sequence[str]) -> str:
    """The command without the places of this machine."""
    return " ".join(os.path.basename(word) if os.path.isabs(word) else word for word in words)
