"""Making learned runs a golden, or its next revision: the change is shown, with a reason, never by a robot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import golden, learn
from harness.criteria import REPEAT_CRITERIA
from harness.envelope import Envelope
from harness.findings import format_value
from harness.golden import Golden
from harness.learn import Learned
from tracekit.errors import UsageError
from tracekit.output import check_output, make_directory, write_text

# Units of the figures that an envelope holds and no criterion looks at.
_FURTHER_UNITS = {"bytes": "bytes", "duration": "ns", "latency.mean": "ns"}


@dataclass(frozen=True)
class Blessing:
    """A golden about to be written.

    Args:
        before: The golden as it stands.
        learned: Its new runs, and what was learned from them.
        reason: Why it changes.
        profile: A profile.yaml that a new golden takes over.
    """

    before: Golden
    learned: Learned
    reason: str
    profile: Path | None = None

    @property
    def revision(self) -> int:
        """The revision it will have."""
        return self.before.revision + 1

    @property
    def envelope(self) -> Envelope:
        """Its new runs."""
        return self.learned.envelope

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where they come from."""
        return self.learned.provenance

    @property
    def warnings(self) -> Sequence[str]:
        """What the person who blesses should know."""
        return self.learned.warnings

    def changes(self) -> list[str]:
        """What changes, a line per figure and per tolerance."""
        figures = [
            f"{name}: {format_value(old, _unit(name))} -> {format_value(new, _unit(name))}"
            for name, old, new in golden.changed(self.before.envelope, self.learned.envelope)
        ]
        return figures + [
            f"tolerance of {name}: {old:g} -> {new:g}"
            for name, lesson in self.learned.lessons.items()
            if (old := self._tolerance(name)) != (new := lesson.tolerance) and old is not None
        ]

    def write(self) -> None:
        """Write envelope.json and CHANGES.md, and the profile of a new golden.

        Raises:
            InputError: If the golden would be larger than 1 MB, or its folder cannot be written.
        """
        text = self.learned.text(self.revision)
        directory = self.before.directory
        make_directory(directory)
        history = directory / golden.CHANGES
        check_output(history)
        entry = _entry(self)
        earlier = history.read_text(encoding="utf-8").partition("\n\n")[2] if history.exists() else ""
        if self.profile is not None and self.profile.exists():
            write_text(directory / golden.PROFILE, self.profile.read_text(encoding="utf-8"))
        write_text(directory / golden.ENVELOPE, text)
        write_text(history, f"# {self.before.name}: revisions\n\n{entry}{earlier}")

    def _tolerance(self, name: str) -> float | None:
        lesson = self.before.lessons.get(name)
        return None if lesson is None else lesson.tolerance


def prepare(name: str, runs: Sequence[str], reason: str, environment: Mapping[str, str] = os.environ) -> Blessing:
    """Learn from runs and make them ready to become a golden.

    Args:
        name: The golden, by name or directory.
        runs: The trace file of each run.
        reason: Why it is made, or changed; goes into CHANGES.md.
        environment: The process's environment: where `CI` is set nothing is blessed.

    Raises:
        UsageError: Without a reason, with fewer than five runs, under CI, or where there is no such golden.
        InputError: If a run is not valid or does not pass against the others.
    """
    _check_asked(reason, environment)
    before = _golden_to_be(name)
    source = str(before.directory / golden.PROFILE)
    learned = learn.learn(learn.read(runs, before.profile, source), before.profile, source)
    return Blessing(before, learned, reason.strip())


def prepare_learned(name: str, directory: str, reason: str, environment: Mapping[str, str] = os.environ) -> Blessing:
    """Make what `harness learn` wrote into a directory ready to become a golden, which may be that directory itself.

    Raises:
        UsageError: Without a reason, under CI, or if nothing was learned there.
        InputError: If its files are damaged.
    """
    _check_asked(reason, environment)
    source = golden.load(directory)
    if source.envelope is None or source.revision:
        what = "was blessed already" if source.revision else "holds nothing learned"
        raise UsageError(f"{directory} {what}", f"type: harness learn RUN… -o {directory}")
    same = Path(name).resolve() == source.directory.resolve()
    there = name in golden.names() or Path(name).exists()
    if same:
        before = Golden(source.name, source.directory, source.profile)
    elif there:
        before = golden.load(name)
    else:
        before = Golden(Path(name).name, Path(name), {})
    # What was learned must fit the profile it will be checked by.
    profile = before.profile or source.profile
    Golden(before.name, before.directory, profile, 0, source.provenance, source.envelope, source.lessons).standard()
    learned = learn.Learned(source.envelope, source.provenance or {}, source.lessons, [])
    return Blessing(before, learned, reason.strip(), None if before.profile else source.directory / golden.PROFILE)


def _check_asked(reason: str, environment: Mapping[str, str]) -> None:
    if environment.get("CI", "").lower() not in {"", "0", "false"}:
        raise UsageError(
            "a golden is not blessed where CI is set", "bless it by hand, look at the change, and commit it"
        )
    if not reason.strip():
        raise UsageError("--reason is empty", "say in a sentence why the golden changes; it is kept in CHANGES.md")


def _golden_to_be(name: str) -> Golden:
    if name not in golden.names() and not Path(name).exists():
        new = f"for a new one make the directory {name} with a {golden.PROFILE} in it"
        raise UsageError(f"there is no golden {name!r}", f"{new}; there are: {', '.join(golden.names())}")
    return golden.load(name)


def _unit(name: str) -> str:
    criterion = REPEAT_CRITERIA.get(name)
    return criterion.unit if criterion else _FURTHER_UNITS.get(name, "")


def _entry(blessing: Blessing) -> str:
    dates = [str(date)[:10] for date in blessing.provenance["recorded"] if date]
    when = f", recorded {min(dates)}" if dates else ""
    until = f" to {max(dates)}" if dates and max(dates) != min(dates) else ""
    lines = [
        f"## {blessing.revision}",
        "",
        f"{blessing.reason} ({len(blessing.envelope.runs)} runs{when}{until})",
        "",
    ]
    changes = blessing.changes() if blessing.before.envelope is not None else []
    lines += [f"- {change}" for change in changes] + ([""] if changes else [])
    return "\n".join(lines) + "\n"
