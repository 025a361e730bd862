"""Repeat mode: runs of a job held against a golden, the envelope of earlier runs of the same job.

What a criterion says is about the job, not about one run: the interval around the effect comes from the spread between the
golden's runs. PASS needs the whole 95 % interval inside the band, FAIL the whole 99.9 % interval outside.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from harness import concurrency, evidence, stats, validity
from harness.criteria import REPEAT_CRITERIA
from harness.criterion import (
    ENVIRONMENT,
    ENVIRONMENT_RUNS,
    FAIL_CONFIDENCE,
    INTENT,
    PASS_CONFIDENCE,
    REPEAT,
    Criterion,
)
from harness.envelope import Envelope
from harness.figures import Figures, Table
from harness.findings import Measured, distributions, finding_of, format_value, size_effects, without
from harness.verdict import Finding, Outcome, RunByRun, Verdict
from tracekit.trace import Trace

DATA_KINDS = ("read", "write")
# The criteria that a run must not escape by saying nothing: those the golden can tell are asked of it too.
EVIDENCE = [name for name, criterion in REPEAT_CRITERIA.items() if criterion.klass == INTENT]
STRANGE_SPEED = 100.0
# The median is the middle of something when this much of the sizes around it lies this close to it.
MIDDLE = (0.45, 0.55)


@dataclass(frozen=True)
class Standard:
    """What runs are held against: an envelope and what its profile declares.

    Args:
        name: What to call it, `torch-like@3`.
        envelope: The golden runs.
        regime: `compute_bound`, `io_bound` or nothing.
        dedicated: Whether its runs were recorded on hosts that did nothing else. Only then does the spread between them
            say how much a host of that class varies: runs recorded within minutes on a shared host differ far less from
            each other than from the same job an hour later.
    """

    name: str
    envelope: Envelope
    regime: str = ""
    dedicated: bool = False


@dataclass(frozen=True)
class Trial:
    """Runs to be judged, and what they are judged by."""

    standard: Standard
    runs: Sequence[Figures]

    @property
    def golden(self) -> Envelope:
        """The golden runs."""
        return self.standard.envelope

    @cached_property
    def pooled(self) -> Figures:
        """The golden runs taken together."""
        return self.golden.pooled()

    @property
    def same_host(self) -> bool:
        """Whether golden and runs come from one class of host."""
        return bool(self.golden.host_class) and {run.host_class for run in self.runs} == {self.golden.host_class}


def judge(standard: Standard, traces: Sequence[Trace], names: Sequence[str]) -> Verdict:
    """Hold runs against a golden.

    Args:
        standard: The golden.
        traces: The runs.
        names: What to call each of them in sentences.
    """
    notes = [note for trace, name in zip(traces, names, strict=True) for note in validity.remarks(trace, name)]
    problems = [
        problem for trace, name in zip(traces, names, strict=True) for problem in validity.problems(trace, name)
    ]
    candidates = Envelope.of(traces)
    trial = Trial(standard, candidates.runs)
    golden = standard.envelope
    told = list(zip(names, candidates.runs, strict=True))
    problems += evidence.problems(EVIDENCE, trial.pooled, told, "golden")
    problems += [problem for name, run in told for problem in _time_unit(trial, name, run)]
    if len(golden.runs) == 1:
        notes.append(
            f"{standard.name} is a single run: how much true repeats differ is not known, bands are taken as they are"
        )
    why = _environment_unfit(trial)
    if why:
        notes.append(f"environment criteria are shown only: {why}")
    return Verdict(
        REPEAT,
        {"name": standard.name, "runs": len(golden.runs), "host_class": golden.host_class, "regime": standard.regime},
        [
            {"name": os.path.basename(name), "ops": len(trace), "host_class": run.host_class}
            for name, trace, run in zip(names, traces, candidates.runs, strict=True)
        ],
        [*problems, *findings(trial)],
        notes,
        distributions(golden.histograms, candidates.histograms),
        [RunByRun(name, golden.values(name), candidates.values(name)) for name in REPEAT_CRITERIA],
    )


def _time_unit(trial: Trial, name: str, run: Figures) -> Iterator[Finding]:
    """No storage is a hundred times another for the same job; a wrong unit of time is a thousand."""
    mine, theirs = trial.pooled.scalars.get("throughput"), run.scalars.get("throughput")
    if not mine or not theirs or 1 / STRANGE_SPEED < theirs / mine < STRANGE_SPEED:
        return
    yield validity.unsettled(
        "valid.time-unit",
        "time unit",
        f"{name} moves {format_value(theirs, 'B/s')}, the golden {format_value(mine, 'B/s')}: are its times in the unit they are taken for?",
        "give --time-unit, or bless a golden for this storage",
    )


def findings(trial: Trial) -> list[Finding]:
    """What every criterion of the mode says about runs."""
    together = [_finding(criterion, trial) for criterion in REPEAT_CRITERIA.values()]
    return [_or_single_failure(finding, trial) for finding in together] if len(trial.runs) > 1 else together


def _or_single_failure(finding: Finding, trial: Trial) -> Finding:
    """What was asked of the storage is decided from one run: several must not hide one among them that fails by itself."""
    criterion = REPEAT_CRITERIA[finding.id]
    if criterion.klass != INTENT or not finding.gates or finding.outcome is Outcome.FAIL:
        return finding
    for number, run in enumerate(trial.runs, 1):
        alone = _finding(criterion, Trial(trial.standard, [run]))
        if alone.gates and alone.outcome is Outcome.FAIL:
            return replace(alone, notes=[*alone.notes, f"run {number} of {len(trial.runs)} by itself"])
    return finding


def _finding(criterion: Criterion, trial: Trial) -> Finding:
    special = _SPECIAL.get(criterion.id)
    measured = special(trial) if special else _scalar(criterion, trial)
    gates, why = _gates(criterion, trial)
    if isinstance(measured, str):
        return replace(without(criterion, measured), gates=gates)
    notes = [f"shown only: {why}"] if why else []
    finding = finding_of(criterion, measured, min(run.data_ops for run in trial.runs), gates=gates, notes=notes)
    if finding.gates and finding.outcome is Outcome.INCONCLUSIVE and measured.settle == _HOPELESS:
        note = "shown only: the golden's own runs differ too much for this band"
        return replace(finding, gates=False, notes=[*finding.notes, note])
    return finding


# -- whether it gates ---------------------------------------------------------------------------------------------------


def _gates(criterion: Criterion, trial: Trial) -> tuple[bool, str]:
    """Whether a criterion counts, and if not, why."""
    if criterion.gate == "same-host":
        why = _environment_unfit(trial)
        return not why, why
    if criterion.gate in {"compute-bound", "io-bound"}:
        regime = criterion.gate.replace("-", "_")
        return (
            (True, "") if trial.standard.regime == regime else (False, f"the golden does not declare itself {regime}")
        )
    if criterion.gate == "never":
        return False, "it never gates"
    if criterion.id == "size.median" and not _has_a_middle(trial.golden.sizes):
        return False, "the golden's sizes have no middle: the median would jump by chance"
    return True, ""


def _environment_unfit(trial: Trial) -> str:
    """Why wall-clock figures cannot be held against each other; nothing where they can."""
    if not trial.same_host:
        return "the class of host differs from the golden's"
    if not trial.standard.dedicated:
        return "the golden's profile does not say host: dedicated"
    if len(trial.runs) < ENVIRONMENT_RUNS:
        return f"they need at least {ENVIRONMENT_RUNS} runs, there {'is' if len(trial.runs) == 1 else 'are'} {len(trial.runs)}"
    return ""


def _has_a_middle(sizes: Table) -> bool:
    low, middle, high = sizes.quantile(MIDDLE[0]), sizes.quantile(0.5), sizes.quantile(MIDDLE[1])
    if low is None or middle is None or high is None or middle == 0:
        return False
    return low >= 0.8 * middle and high <= 1.2 * middle


# -- what it measures -----------------------------------------------------------------------------------------------------

_HOPELESS = "no number of runs would settle it with this golden"


def _scalar(criterion: Criterion, trial: Trial) -> Measured | str:
    golden = trial.golden.values(criterion.id)
    measured = [run.scalars.get(criterion.id) for run in trial.runs]
    reference, values = _known(golden), _known(measured)
    if reference is None:
        return "the golden does not hold it"
    if values is None:
        return "the trace does not tell"
    if criterion.kind == "ratio":
        return _ratio(criterion, trial, reference, values)
    mean, own = _mean(values), _mean(reference)
    return _with_interval(criterion, trial, Measured(own, mean), _spread(criterion, reference, values))


def _ratio(criterion: Criterion, trial: Trial, reference: Sequence[float], values: Sequence[float]) -> Measured | str:
    if min(reference) <= 0 or min(values) <= 0:
        # Logarithms have no place for nothing: nothing against something is as far apart as can be.
        return Measured(_mean(reference), _mean(values))
    logs, own_logs = [math.log(value) for value in values], [math.log(value) for value in reference]
    measured = Measured(math.exp(_mean(own_logs)), math.exp(_mean(logs)))
    return _with_interval(criterion, trial, measured, _spread(criterion, own_logs, logs))


def _spread(criterion: Criterion, reference: Sequence[float], values: Sequence[float]) -> float:
    """The spread between runs: the golden's, or that of the runs where the machine varies more under them."""
    own = stats.spread(reference)
    return max(own, stats.spread(values)) if criterion.klass == ENVIRONMENT else own


def _with_interval(criterion: Criterion, trial: Trial, measured: Measured, spread: float) -> Measured:
    runs, mine = len(trial.golden.runs), len(trial.runs)
    tolerance = math.log1p(criterion.tolerance) if criterion.kind == "ratio" else criterion.tolerance
    needed = stats.runs_needed(spread, runs, tolerance, PASS_CONFIDENCE)
    if needed is None:
        settle = _HOPELESS
    elif needed > mine:
        settle = f"needs {needed} runs, there {'is' if mine == 1 else 'are'} {mine}"
    else:
        settle = "the effect lies at the edge of the band: more runs would tell"
    return replace(
        measured,
        half_pass=stats.repeat_half_width(spread, runs, mine, PASS_CONFIDENCE),
        half_fail=stats.repeat_half_width(spread, runs, mine, FAIL_CONFIDENCE),
        settle=settle,
    )


def _errors(trial: Trial) -> Measured | str:
    """Failing ops; a golden that was blessed before they were noted had none worth noting."""
    golden = [value or 0.0 for value in trial.golden.values("ops.errors")]
    values = _known([run.scalars.get("ops.errors") for run in trial.runs])
    if values is None:
        return "there are no reads and no writes"
    criterion = REPEAT_CRITERIA["ops.errors"]
    return _with_interval(criterion, trial, Measured(_mean(golden), _mean(values)), stats.spread(golden))


def _sizes(name: str) -> Callable[[Trial], Measured | str]:
    def measure(trial: Trial) -> Measured | str:
        golden = trial.golden
        effects = [size_effects(name, golden.sizes, run.sizes) for run in trial.runs]
        known = [effect for effect in effects if isinstance(effect, Measured)]
        if len(known) < len(effects):
            return "there are no reads and no writes"
        own = [_own_distance(name, golden, index) for index in range(len(golden.runs))] if len(golden.runs) > 1 else []
        mean = Measured(None, _mean([effect.value for effect in known]), diagnostics=known[0].diagnostics)
        return _with_interval(REPEAT_CRITERIA[name], trial, mean, stats.spread(own))

    return measure


def _own_distance(name: str, golden: Envelope, index: int) -> float:
    own = size_effects(name, golden.without(index).sizes, golden.runs[index].sizes)
    return own.value if isinstance(own, Measured) else 0.0


def _mix(trial: Trial) -> Measured | str:
    golden = trial.pooled
    same_engine = bool(golden.engine) and {run.engine for run in trial.runs} == {golden.engine}
    kinds = None if same_engine else DATA_KINDS
    reference = _shares(golden.kinds, kinds)
    distances = [stats.variation_distance(reference, _shares(run.kinds, kinds)) for run in trial.runs]
    notes = [] if same_engine else ["another recording engine than the golden's: only reads and writes are compared"]
    own = [stats.variation_distance(reference, _shares(run.kinds, kinds)) for run in trial.golden.runs]
    mean = Measured(None, _mean(distances), notes=notes)
    return _with_interval(REPEAT_CRITERIA["ops.mix"], trial, mean, stats.spread(own))


def _shares(kinds: Mapping[str, int], chosen: Sequence[str] | None) -> dict[str, float]:
    counted = {kind: count for kind, count in kinds.items() if chosen is None or kind in chosen}
    total = sum(counted.values())
    return {kind: count / total for kind, count in counted.items()} if total else {}


def _ceiling(trial: Trial) -> Measured | str:
    # The least of the runs decides: one that no longer overlaps is one too many.
    found = [concurrency.ceiling(trial.pooled, run) for run in trial.runs]
    known = [ceiling for ceiling in found if isinstance(ceiling, concurrency.Ceiling)]
    if not known:
        return next(reason for reason in found if isinstance(reason, str))
    least = min(known, key=lambda ceiling: ceiling.effect)
    return Measured(float(least.depth), least.share, effect=least.effect, interval=least.interval, shown_share=True)


_SPECIAL: Mapping[str, Callable[[Trial], Measured | str]] = {
    "size.match": _sizes("size.match"),
    "size.ks": _sizes("size.ks"),
    "ops.mix": _mix,
    "ops.errors": _errors,
    "depth.ceiling": _ceiling,
}


def _known(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return known if known and len(known) == len(values) else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
