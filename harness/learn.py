"""Learning a golden from runs: are they runs of one job, how much do they differ, and what can be decided with them?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import golden, repeat, validity
from harness.contract import Contract
from harness.criterion import INTENT, REPEAT, Criterion
from harness.distances import DISTANCES
from harness.envelope import Envelope
from harness.figures import Figures
from harness.noise import IMPOSSIBLE, Lesson, lesson, log_tolerance
from harness.repeat import MOST, Standard, Trial
from harness.verdict import Finding, Outcome
from tracekit import __version__
from tracekit.errors import InputError, OutputExistsError, UsageError
from tracekit.output import check_output, make_directory, write_text
from tracekit.trace import Trace
from tracekit.units import counted

LEAST_RUNS = 5
# From ten runs on the t interval is not much wider than with twenty; with five it is twice as wide.
ENOUGH_RUNS = 10
SIZE_LIMIT = 1_000_000
# An outlier is out of the tolerance, and seven times as far from the median as runs usually are (4.7 standard deviations).
FAR = 7.0
_PROFILE = """\
# What this golden models, by hand; envelope.json is made by `harness learn`.
title: {title}
# io_bound or compute_bound: then the criteria on stalls or on the queue count as well.
regime: {regime}
# dedicated: a host that does nothing else. Then wall-clock criteria count, from three runs on.
host: {host}
# What every trace is asked for, and what matters; the rest as `harness check --explain CRITERION` says.
contract: {{warmup: none, min_ops: 10, min_runs: 1, requires: [], sync_streams: true}}
tolerance: {{}}
"""


@dataclass(frozen=True)
class Learned:
    """What was learned from runs.

    Args:
        envelope: The runs.
        provenance: Where they come from.
        lessons: Tolerance and noise of every criterion.
        warnings: What whoever uses it should know.
    """

    envelope: Envelope
    provenance: Mapping[str, Any]
    lessons: Mapping[str, Lesson]
    warnings: Sequence[str]

    def text(self, revision: int = 0) -> str:
        """The text of envelope.json.

        Raises:
            InputError: If it would be larger than 1 MB.
        """
        text = golden.to_json(revision, self.provenance, self.envelope, self.lessons)
        if len(text.encode()) > SIZE_LIMIT:
            raise InputError(
                f"the golden would be {len(text.encode())} bytes, more than {SIZE_LIMIT}", "take fewer runs"
            )
        return text


def learn(runs: Sequence[tuple[str, Trace]], profile: Mapping[str, Any], source: str) -> Learned:
    """Learn from runs of one job.

    Args:
        runs: Path and trace of each.
        profile: What the golden's profile says.
        source: What to call the profile in errors.

    Raises:
        UsageError: If there are fewer than five.
        InputError: If a run is not valid, there twice, or does not pass against the others; all that do not are named.
    """
    if len(runs) < LEAST_RUNS:
        raise UsageError(
            f"{counted(len(runs), 'run is', 'runs are')} too few for a golden",
            f"record at least {LEAST_RUNS}, better {ENOUGH_RUNS}",
        )
    contract = Contract.of(profile, source)
    for path, trace in runs:
        bad = next(iter(validity.problems(trace, path, sync_streams=contract.sync_streams)), None)
        if bad is not None:
            raise InputError(f"{path} cannot be part of a golden: {bad.reason}", "record that run again")
    digests = _digests(runs)
    envelope = Envelope.of([contract.trimmed(trace) for _, trace in runs])
    asked = contract.problems(
        [trace for _, trace in runs], [(path, run) for (path, _), run in zip(runs, envelope.runs, strict=True)]
    )
    if asked:
        raise InputError(f"the runs are not what the contract asks for: {asked[0].reason}", asked[0].settle)
    standard = standard_of("the other runs", envelope, profile, source)
    _check_each_other(standard, [path for path, _ in runs])
    lessons = {criterion.id: lesson(criterion, standard.noise) for criterion in standard.criteria(REPEAT)}
    return Learned(
        envelope, _provenance(runs, digests) | {"warmup": contract.warmup}, lessons, _warnings(envelope, lessons)
    )


def standard_of(name: str, envelope: Envelope, profile: Mapping[str, Any], source: str) -> Standard:
    """Runs as a standard, with what a profile declares."""
    return Standard(
        name,
        envelope,
        golden.declared(profile, "regime", source),
        golden.declared(profile, "host", source) == "dedicated",
        Contract.of(profile, source),
        declared=golden.tolerances(profile, source),
    )


def write(learned: Learned, directory: Path, *, title: str, regime: str, host: str, force: bool) -> None:
    """Write envelope.json, and profile.yaml where there is none, into a directory that is made where it is missing.

    Raises:
        OutputExistsError: If it holds something learned before and `force` is false.
        UsageError: If it holds a golden that was blessed.
        InputError: If it cannot be written.
    """
    check_directory(directory, force=force)
    text = learned.text()
    make_directory(directory, "name another directory with -o")
    if not (directory / golden.PROFILE).exists():
        words = {"title": title or _title(learned), "regime": regime or "mixed", "host": host or "shared"}
        write_text(directory / golden.PROFILE, _PROFILE.format(**{key: _quoted(word) for key, word in words.items()}))
    write_text(directory / golden.ENVELOPE, text)


def check_directory(directory: Path, *, force: bool) -> None:
    """Fail now if `write` would fail later (errors as there)."""
    path = directory / golden.ENVELOPE
    if directory.is_dir() and path.exists():
        if golden.load(str(directory)).revision:
            raise UsageError(
                f"{directory} holds a golden that was blessed",
                f"learn into another directory, then: harness bless {directory} THAT --reason TEXT",
            )
        if not force:
            raise OutputExistsError(path)
    elif directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory", "name another with -o")
    if directory.is_dir():
        check_output(path, force=force)


def _digests(runs: Sequence[tuple[str, Trace]]) -> list[str]:
    digests: dict[str, str] = {}
    for path, _ in runs:
        digest = _digest(Path(path))
        if digest in digests:
            raise InputError(f"{path} and {digests[digest]} are the same run", "a golden is made of different runs")
        digests[digest] = path
    return list(digests)


def _digest(path: Path) -> str:
    """The digest of a file, or of all files of a directory in order of their names."""
    digest = hashlib.sha256()
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            with open(part, "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


def _check_each_other(standard: Standard, paths: Sequence[str]) -> None:
    """Every run must be accepted by all the others, or the golden would reject its own kind."""
    found = [
        f"{path} does not fit the other runs ({failed})"
        for index, path in enumerate(paths)
        if (failed := _outlying(standard, index))
    ]
    if found:
        several = len(found) > 1
        raise InputError(
            "; ".join(found),
            f"leave {'them' if several else 'it'} out, or find out why {'they differ' if several else 'it differs'}",
        )


def _outlying(standard: Standard, index: int) -> str:
    """What a run fails in against the others; nothing where it passes."""
    others = Standard(standard.name, standard.envelope.without(index), standard.regime, declared=standard.declared)
    found = repeat.findings(Trial(others, [standard.envelope.runs[index]]))
    failed = [f"{finding.id}: {finding.reason}" for finding in found if _fails(finding)]
    failed += [f"{criterion.id}: it is not what most runs do" for criterion in _lonely(standard, index)]
    return "; ".join(failed)


def _lonely(standard: Standard, index: int) -> Iterator[Criterion]:
    """The intent criteria in which a run is far from the median and most runs are not.

    Several outliers widen the spread behind which each of them hides; the median does not move.
    """
    for criterion in standard.criteria(REPEAT):
        own = standard.noise.own(criterion)
        if criterion.klass != INTENT or criterion.gate != "always" or len(own) < LEAST_RUNS:
            continue
        if not _is_judged(criterion, standard.envelope.runs[index]):
            continue
        away = np.abs(np.asarray(own) - np.median(own))
        far = max(log_tolerance(criterion), FAR * float(np.median(away)))
        if away[index] > far and (away <= far).mean() >= MOST:
            yield criterion


def _is_judged(criterion: Criterion, run: Figures) -> bool:
    """Whether a run holds enough for a check to decide the criterion: what is never judged must not refuse a run either."""
    if run.data_ops < criterion.minimum:
        return False
    distance = DISTANCES.get(criterion.id)
    if distance is None:
        return True
    table = distance.of(run)
    return table is not None and len(table) >= distance.least


def _fails(finding: Finding) -> bool:
    return finding.gates and finding.outcome is Outcome.FAIL


def _warnings(envelope: Envelope, lessons: Mapping[str, Lesson]) -> list[str]:
    warnings = []
    if len(envelope.runs) < ENOUGH_RUNS:
        warnings.append(f"{len(envelope.runs)} runs: intervals are wide below {ENOUGH_RUNS}")
    if not envelope.host_class:
        warnings.append("the runs come from several classes of host: environment criteria will be shown only")
    noisy = [name for name, learned in lessons.items() if learned.gate == IMPOSSIBLE and learned.klass != "environment"]
    if noisy:
        warnings.append(f"the runs differ too much for the tolerance of {', '.join(noisy)}: shown, not judged")
    return warnings


def _title(learned: Learned) -> str:
    commands = learned.provenance["commands"]
    return f"runs of {commands[0]}" if commands else "runs of one job"


def _quoted(text: str) -> str:
    # A colon, a quote or a hash in a title must not become YAML.
    return text if text.replace(" ", "").replace("_", "").isalnum() else "'" + text.replace("'", "''") + "'"


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
