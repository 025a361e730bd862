"""Making a golden from runs: checked against each other first, with a reason, never by a robot."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import golden, repeat, validity
from harness.criteria import REPEAT_CRITERIA
from harness.envelope import Envelope
from harness.findings import format_value
from harness.golden import Golden
from harness.verdict import Finding, Outcome
from tracekit import __version__
from tracekit.errors import InputError, UsageError
from tracekit.output import check_output, write_text
from tracekit.trace import Trace
from tracekit.units import counted

LEAST_RUNS = 5
# From ten runs on the t interval is not much wider than with twenty; with five it is twice as wide.
ENOUGH_RUNS = 10
SIZE_LIMIT = 1_000_000
# Units of the figures that an envelope holds and no criterion looks at.
_FURTHER_UNITS = {"bytes": "bytes", "depth.bytes": "bytes", "duration": "ns", "latency.mean": "ns"}


@dataclass(frozen=True)
class Blessing:
    """A golden about to be written.

    Args:
        before: The golden as it stands.
        envelope: Its new runs.
        provenance: Where they come from.
        reason: Why it changes.
        warnings: What the person who blesses should know.
    """

    before: Golden
    envelope: Envelope
    provenance: Mapping[str, Any]
    reason: str
    warnings: Sequence[str]

    @property
    def revision(self) -> int:
        """The revision it will have."""
        return self.before.revision + 1

    def changes(self) -> list[str]:
        """What changes, a line per figure."""
        return [
            f"{name}: {format_value(old, _unit(name))} -> {format_value(new, _unit(name))}"
            for name, old, new in golden.changed(self.before.envelope, self.envelope)
        ]

    def write(self) -> None:
        """Write envelope.json and CHANGES.md.

        Raises:
            InputError: If the golden would be larger than 1 MB, or its folder cannot be written.
        """
        text = golden.to_json(self.revision, self.provenance, self.envelope)
        if len(text.encode()) > SIZE_LIMIT:
            raise InputError(
                f"the golden would be {len(text.encode())} bytes, more than {SIZE_LIMIT}", "bless fewer runs"
            )
        directory = self.before.directory
        history = directory / golden.CHANGES
        check_output(history)
        entry = _entry(self)
        earlier = history.read_text(encoding="utf-8").partition("\n\n")[2] if history.exists() else ""
        write_text(directory / golden.ENVELOPE, text)
        write_text(history, f"# {self.before.name}: revisions\n\n{entry}{earlier}")


def prepare(
    name: str, runs: Sequence[tuple[str, Trace]], reason: str, environment: Mapping[str, str] = os.environ
) -> Blessing:
    """Check runs and make them ready to become a golden.

    Args:
        name: The golden, by name or directory.
        runs: Path and trace of each run.
        reason: Why it is made, or changed; goes into CHANGES.md.
        environment: The process's environment: where `CI` is set nothing is blessed.

    Raises:
        UsageError: Without a reason, with fewer than five runs, under CI, or where there is no such golden.
        InputError: If a run is not valid or does not pass against the others.
    """
    if environment.get("CI", "").lower() not in {"", "0", "false"}:
        raise UsageError(
            "a golden is not blessed where CI is set", "bless it by hand, look at the change, and commit it"
        )
    if not reason.strip():
        raise UsageError("--reason is empty", "say in a sentence why the golden changes; it is kept in CHANGES.md")
    if len(runs) < LEAST_RUNS:
        raise UsageError(
            f"{counted(len(runs), 'run is', 'runs are')} too few for a golden",
            f"record at least {LEAST_RUNS}, better {ENOUGH_RUNS}",
        )
    before = _golden_to_be(name)
    for path, trace in runs:
        bad = next((problem for problem in validity.problems(trace, path)), None)
        if bad is not None:
            raise InputError(f"{path} cannot be part of a golden: {bad.reason}", "record that run again")
    digests = _digests(runs)
    envelope = Envelope.of([trace for _, trace in runs])
    _check_each_other(envelope, [path for path, _ in runs])
    warnings = [f"{len(runs)} runs: intervals are wide below {ENOUGH_RUNS}"] if len(runs) < ENOUGH_RUNS else []
    if not envelope.host_class:
        warnings.append("the runs come from several classes of host: environment criteria will be shown only")
    return Blessing(before, envelope, _provenance(runs, digests), reason.strip(), warnings)


def _golden_to_be(name: str) -> Golden:
    if name not in golden.names() and not Path(name).exists():
        new = f"for a new one make the directory {name} with a {golden.PROFILE} in it"
        raise UsageError(f"there is no golden {name!r}", f"{new}; there are: {', '.join(golden.names())}")
    return golden.load(name)


def _digests(runs: Sequence[tuple[str, Trace]]) -> list[str]:
    digests: dict[str, str] = {}
    for path, _ in runs:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if digest in digests:
            raise InputError(f"{path} and {digests[digest]} are the same run", "a golden is made of different runs")
        digests[digest] = path
    return list(digests)


def _check_each_other(envelope: Envelope, paths: Sequence[str]) -> None:
    """Every run must be accepted by all the others, or the golden would reject its own kind."""
    for index, path in enumerate(paths):
        trial = repeat.Trial(repeat.Standard("the other runs", envelope.without(index)), [envelope.runs[index]])
        failed = [finding for finding in repeat.findings(trial) if _fails(finding)]
        if failed:
            found = "; ".join(f"{finding.id}: {finding.reason}" for finding in failed)
            raise InputError(
                f"{path} does not fit the other runs ({found})", "leave it out, or find out why it differs"
            )


def _fails(finding: Finding) -> bool:
    return finding.gates and finding.outcome is Outcome.FAIL


def _provenance(runs: Sequence[tuple[str, Trace]], digests: Sequence[str]) -> dict[str, Any]:
    headers = [trace.header for _, trace in runs if trace.header is not None]
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
        "sha256": list(digests),
    }


def _words(values: Mapping[str, Any], *keys: str) -> str:
    return " ".join(str(values[key]) for key in keys if values.get(key))


def _command(words: Sequence[str]) -> str:
    """The command without the places of this machine."""
    return " ".join(os.path.basename(word) if os.path.isabs(word) else word for word in words)


def _unit(name: str) -> str:
    criterion = REPEAT_CRITERIA.get(name)
    return criterion.unit if criterion else _FURTHER_UNITS.get(name, "")


def _entry(blessing: Blessing) -> str:
    dates = [str(date)[:10] for date in blessing.provenance["recorded"] if date]
    when = f", recorded {min(dates)}" if dates else ""
    until = f" to {max(dates)}" if dates and max(dates) != min(dates) else ""
    lines = [f"## {blessing.revision}", "", f"{blessing.reason} ({len(blessing.envelope.runs)} runs{when}{until})", ""]
    changes = blessing.changes() if blessing.before.envelope is not None else []
    lines += [f"- {change}" for change in changes] + ([""] if changes else [])
    return "\n".join(lines) + "\n"
