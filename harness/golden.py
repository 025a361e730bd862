"""Goldens: named envelopes of blessed runs, shipped in the package `golden` or kept in a directory of your own.

A golden is a folder with `profile.yaml` (written by hand: what it models, how it is recorded, where that comes from, what it
asks of a trace and which tolerances matter), `envelope.json` (made by `harness learn`) and `CHANGES.md` (made by `harness bless`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import golden as shipped
from harness.contract import REQUIRED, Contract
from harness.criteria import PROFILE_CRITERIA, named
from harness.envelope import Envelope
from harness.noise import Lesson
from harness.standard import Standard
from tracekit.errors import InputError, UnknownNameError

# 1: the first published layout.
GOLDEN_VERSION = 1
DECLARED = {"regime": ("compute_bound", "io_bound", "mixed"), "host": ("dedicated", "shared")}
# What people write for people, and what is looked at; whatever else a profile should hold begins with x-.
TOLD = ("title", "models", "dataset", "reads", "loader", "sources")
KEYS = (*TOLD, *DECLARED, "contract", "tolerance", "program", "needs", "install")
OWN = "x-"
ENVELOPE, PROFILE, CHANGES = "envelope.json", "profile.yaml", "CHANGES.md"


@dataclass(frozen=True)
class Golden:
    """A golden.

    Args:
        name: Its name: that of its folder.
        directory: Its folder.
        profile: What profile.yaml says.
        revision: How often it was blessed; 0 is never.
        provenance: Where its runs come from.
        envelope: Its runs; None before it was first blessed.
        lessons: What was learned about each criterion from its runs: tolerance and noise.
    """

    name: str
    directory: Path
    profile: Mapping[str, Any]
    revision: int = 0
    provenance: Mapping[str, Any] | None = None
    envelope: Envelope | None = None
    lessons: Mapping[str, Lesson] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and revision, as verdicts show it."""
        return f"{self.name}@{self.revision}"

    def standard(self) -> Standard:
        """What runs are held against.

        Raises:
            InputError: If it was never blessed, or its profile is not what one is.
            UnknownNameError: If its profile names a regime, a kind of host, a criterion or a requirement that does not exist.
        """
        if self.envelope is None:
            raise InputError(
                f"the golden {self.name} holds no {ENVELOPE}",
                f"record ten runs and type: harness learn RUN… -o {self.directory}",
            )
        source = str(self.directory / PROFILE)
        standard = Standard(
            self.label,
            self.envelope,
            declared(self.profile, "regime", source),
            declared(self.profile, "host", source) == "dedicated",
            Contract.of(self.profile, source),
            self.lessons,
            tolerances(self.profile, source),
        )
        self._check_fit(standard, source)
        return standard

    def _check_fit(self, standard: Standard, source: str) -> None:
        """Its runs must be what its contract asks for: written by hand, it may have changed since they were learned."""
        asked = standard.contract.warmup
        # Goldens learned before this was noted are taken to fit.
        left_out = (self.provenance or {}).get("warmup", asked)
        if left_out != asked:
            raise InputError(
                f"the runs of {self.name} were learned with warmup: {left_out}, and {source} says {asked}",
                "learn from the runs again with that profile.yaml in the directory",
            )
        missing = [name for name in standard.contract.requires if standard.pooled.scalars.get(REQUIRED[name]) is None]
        if missing:
            raise InputError(
                f"the golden {self.name} requires {', '.join(missing)}, and its own runs do not tell",
                "record them with steps and threads, or take it out of the contract",
            )


def declared(profile: Mapping[str, Any], key: str, source: str) -> str:
    """What a profile declares as its `regime` or `host`; empty where it says nothing.

    Raises:
        UnknownNameError: If there is no such regime or kind of host: misspelled, it would make criteria not count without a word.
    """
    value = profile.get(key)
    if value is None:
        return ""
    if value not in DECLARED[key]:
        raise UnknownNameError(f"{key} (in {source})", str(value), DECLARED[key])
    return str(value)


def tolerances(profile: Mapping[str, Any], source: str) -> dict[str, float]:
    """The tolerances that a profile names, by criterion.

    Raises:
        UnknownNameError: If there is no such criterion.
        InputError: If one is no number above 0.
    """
    given = profile.get("tolerance") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"the tolerance in {source} is no mapping", "write it as criterion: number")
    for name, value in given.items():
        if name not in PROFILE_CRITERIA:
            named(str(name))
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"the tolerance of {name} in {source} is {value!r}", "write a number above 0")
    return {str(name): float(value) for name, value in given.items()}


def names() -> list[str]:
    """The goldens that are shipped."""
    return sorted(path.parent.name for path in _home().glob(f"*/{PROFILE}"))


def find(name: str) -> Path:
    """The folder of a golden, by its name or its path.

    Raises:
        UnknownNameError: If there is no golden of that name; the nearest is proposed.
        InputError: If the path is no folder of a golden.
    """
    if name in names():
        return _home() / name
    path = Path(name)
    if path.is_dir():
        if not (path / PROFILE).exists() and not (path / ENVELOPE).exists():
            raise InputError(f"the directory {name} holds no golden", f"a golden has a {PROFILE} and an {ENVELOPE}")
        return path
    if os.sep in name:
        raise InputError(
            f"there is no golden {name}",
            f"name a directory with an {ENVELOPE}, a trace, or one of: {', '.join(names())}",
        )
    raise UnknownNameError("golden", name, names())


def load(name: str) -> Golden:
    """Load a golden by name or directory.

    Raises:
        UnknownNameError: If there is no golden of that name, or its profile has a key that does not exist.
        InputError: If its files are damaged or of another version.
    """
    directory = find(name)
    label = directory.resolve().name
    profile = _profile(directory / PROFILE)
    path = directory / ENVELOPE
    if not path.exists():
        return Golden(label, directory, profile)
    data = _json(path)
    version = data.get("golden")
    if version != GOLDEN_VERSION:
        raise InputError(
            f"{path} is a golden of version {version!r}, this harness reads version {GOLDEN_VERSION}",
            "use the harness that wrote it, or bless the golden again",
        )
    try:
        revision, provenance, envelope = int(data["revision"]), dict(data["provenance"]), data["envelope"]
        # Goldens that were blessed before anything was learned from them are read as they are.
        lessons = {str(name): Lesson.from_json(lesson) for name, lesson in data.get("criteria", {}).items()}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}", "bless the golden again") from None
    return Golden(label, directory, profile, revision, provenance, Envelope.from_json(envelope, str(path)), lessons)


def to_json(
    revision: int, provenance: Mapping[str, Any], envelope: Envelope, lessons: Mapping[str, Lesson] | None = None
) -> str:
    """The text of envelope.json: one criterion and one run a line, so that a change can be read."""
    body = envelope.to_json()
    learned = ",\n".join(
        f"  {_compact(name)}: {_compact(lesson.to_json())}" for name, lesson in (lessons or {}).items()
    )
    criteria = f' "criteria": {{\n{learned}\n }},\n' if learned else ""
    runs = ",\n".join(f"   {_compact(run)}" for run in body["runs"])
    counts = ",\n".join(f"   {_compact(name)}: {_compact(counts)}" for name, counts in body["histograms"].items())
    return (
        f'{{\n "golden": {GOLDEN_VERSION},\n "revision": {revision},\n "provenance": {_compact(provenance)},\n{criteria}'
        f' "envelope": {{\n  "envelope": {body["envelope"]},\n  "runs": [\n{runs}\n  ],\n  "histograms": {{\n{counts}\n  }}\n }}\n}}\n'
    )


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _home() -> Path:
    return Path(str(shipped.__file__)).parent


def _json(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error})", "bless the golden again") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} is no golden", "bless the golden again")
    return data


def _profile(path: Path) -> Mapping[str, Any]:
    import yaml

    if not path.exists():
        return {}
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not a profile ({' '.join(str(error).split())})", "write it as YAML") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a profile", "write it as keys and values")
    for key in data:
        # Misspelled, it would be left out without a word.
        if key not in KEYS and not str(key).startswith(OWN):
            raise UnknownNameError(f"key (in {path}; keys of your own begin with {OWN})", str(key), KEYS)
    return data


def changed(old: Envelope | None, new: Envelope) -> Sequence[tuple[str, float | None, float | None]]:
    """(name, before, after) of every scalar whose mean over the runs differs by more than 0.1 %."""
    before, after = old.pooled().scalars if old else {}, new.pooled().scalars
    pairs = [(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    return [pair for pair in pairs if _differs(pair[1], pair[2])]


def _differs(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) > 0.001 * max(abs(before), abs(after))
