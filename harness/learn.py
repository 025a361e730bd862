"""Learning a golden from runs: are they runs of one job, how much do they differ, and what can be decided with them?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import golden, repeat, validity
from harness.contract import Contract
from harness.criteria import REPEAT_CRITERIA
from harness.criterion import INTENT, REPEAT, Criterion
from harness.distances import DISTANCES
from harness.envelope import Envelope
from harness.figures import Figures
from harness.golden import Golden
from harness.noise import IMPOSSIBLE, Lesson, lesson, log_tolerance, scalar
from harness.provenance import provenance_of
from harness.repeat import MOST
from harness.run import Run
from harness.standard import Standard, Trial
from harness.verdict import Finding, Outcome
from tracekit import progress
from tracekit.errors import InputError, OutputExistsError, UsageError
from tracekit.output import check_output, make_directory, write_text
from tracekit.units import counted

# 1: the first published layout of what `--json` prints.
LEARN_VERSION = 1
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

    def to_json(self) -> dict[str, Any]:
        """What was learned as JSON (docs/reference/learn.schema.json), without the runs themselves."""
        return {
            "learn": LEARN_VERSION,
            "runs": len(self.envelope.runs),
            "host_class": self.envelope.host_class,
            "criteria": {name: lesson.to_json() for name, lesson in self.lessons.items()},
            "warnings": list(self.warnings),
        }

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


def learn(
    runs: Sequence[tuple[str, Run]], profile: Mapping[str, Any], source: str, before: Golden | None = None
) -> Learned:
    """Learn from runs of one job.

    Args:
        runs: Path and run of each (`read`).
        profile: What the golden's profile says.
        source: What to call the profile in errors.
        before: A golden whose runs, as far as they are stored, are learned from as well.

    Raises:
        UsageError: If there are fewer than five.
        InputError: If a run is not valid, there twice, or does not pass against the others; all that do not are named. If `before`
            holds no runs, or runs without another warm-up.
    """
    contract = Contract.of(profile, source)
    earlier = None if before is None else _stored(before, contract)
    count = len(runs) + (0 if earlier is None else len(earlier.runs))
    if count < LEAST_RUNS:
        raise UsageError(
            f"{counted(count, 'run is', 'runs are')} too few for a golden",
            f"record at least {LEAST_RUNS}, better {ENOUGH_RUNS}",
        )
    _check_runs(runs, contract)
    provenance = provenance_of(runs, before) | {"warmup": contract.warmup}
    envelope, names = Envelope.of([run for _, run in runs]), [path for path, _ in runs]
    if before is not None and earlier is not None:
        names = [f"run {number} of {before.label}" for number in range(1, len(earlier.runs) + 1)] + names
        envelope = earlier + envelope
    standard = standard_of("the other runs", envelope, profile, source)
    _check_each_other(standard, names)
    lessons = {criterion.id: lesson(criterion, standard.noise) for criterion in standard.criteria(REPEAT)}
    return Learned(envelope, provenance, lessons, _warnings(envelope, lessons))


def _stored(before: Golden, contract: Contract) -> Envelope:
    """The runs of a golden, which left out what is left out now."""
    if before.envelope is None:
        raise InputError(f"{before.directory} holds no runs to add to", "learn from runs first")
    left_out = (before.provenance or {}).get("warmup", contract.warmup)
    if left_out != contract.warmup:
        raise InputError(
            f"the runs of {before.name} were learned with warmup: {left_out}, and are now asked for with {contract.warmup}",
            "learn from all runs again, or leave the contract as it was",
        )
    return before.envelope


def _check_runs(runs: Sequence[tuple[str, Run]], contract: Contract) -> None:
    """Each run must be sound, and what the contract asks for."""
    for path, run in runs:
        bad = next(iter(validity.problems(run, path, sync_streams=contract.sync_streams)), None)
        if bad is not None:
            raise InputError(f"{path} cannot be part of a golden: {bad.reason}", "record that run again")
    # How many runs it asks for is asked of what is checked, not of what is learned from.
    asked = replace(contract, min_runs=1).problems([run for _, run in runs], [path for path, _ in runs])
    if asked:
        raise InputError(f"the runs are not what the contract asks for: {asked[0].reason}", asked[0].settle)


def read(paths: Sequence[str], profile: Mapping[str, Any], source: str) -> list[tuple[str, Run]]:
    """Path and run of trace files, each in one pass, without the warm-up that the profile's contract names.

    Raises:
        InputError: If one cannot be read or is standard input, or the profile is none.
    """
    if "-" in paths:
        raise InputError("standard input cannot be a run of a golden", "save the trace, and name its file")
    warmup = Contract.of(profile, source).warmup
    each = progress.each(paths, "learning", len(paths), "runs")
    return [(path, Run.read(path, warmup=warmup)) for path in each]


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


def write(
    learned: Learned, directory: Path, *, title: str, regime: str, host: str, force: bool, like: Path | None = None
) -> None:
    """Write envelope.json, and profile.yaml where there is none, into a directory that is made where it is missing.

    Args:
        learned: What was learned.
        directory: Where.
        title: What it models, for a new profile.
        regime: Likewise.
        host: Likewise.
        force: Replace what was learned there before.
        like: The folder of a golden whose profile is taken over as it is.

    Raises:
        OutputExistsError: If it holds something learned before and `force` is false.
        UsageError: If it holds a golden that was blessed.
        InputError: If it cannot be written.
    """
    check_directory(directory, force=force)
    text = learned.text()
    make_directory(directory, "name another directory with -o")
    there = (directory / golden.PROFILE).exists()
    if not there and like is not None and (like / golden.PROFILE).exists():
        write_text(directory / golden.PROFILE, (like / golden.PROFILE).read_text(encoding="utf-8"))
    elif not there:
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


def _check_each_other(standard: Standard, paths: Sequence[str]) -> None:
    """Every run must be accepted by all the others, or the golden would reject its own kind."""
    found = [
        f"{path} does not fit the other runs ({failed})"
        for index, path in progress.each(enumerate(paths), "each against the others", len(paths), "runs")
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
    partly = [
        criterion
        for criterion in REPEAT_CRITERIA
        if 0 < sum(scalar(run, criterion) is not None for run in envelope.runs) < len(envelope.runs)
    ]
    if partly:
        warnings.append(f"only some of the runs tell {', '.join(partly)}: not judged")
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
