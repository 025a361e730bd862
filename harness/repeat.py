"""Repeat and profile mode: runs held against a golden, the envelope of earlier runs.

What a criterion says is about the job, not about one run: the interval around the effect comes from the spread between the
golden's runs. PASS needs the whole 95 % interval inside the band, FAIL the whole 99.9 % interval outside.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness import bootstrap, concurrency, evidence, stats, validity
from harness import presets as published_bands
from harness.criteria import CRITERIA
from harness.criterion import (
    ENVIRONMENT,
    ENVIRONMENT_RUNS,
    FAIL_CONFIDENCE,
    INTENT,
    PASS_CONFIDENCE,
    REPEAT,
    Criterion,
)
from harness.distances import DISTANCES, size_diagnostics
from harness.envelope import Envelope
from harness.figures import Figures, Table
from harness.findings import Measured, distributions, finding_of, format_value, without
from harness.noise import beyond_chance, log_tolerance, scalar, shares
from harness.run import Run
from harness.standard import Standard, Trial
from harness.verdict import Finding, Outcome, RunByRun, Verdict
from tracekit.trace import Trace

DATA_KINDS = ("read", "write")
# An environment criterion fails only where that share of the runs lies out of the band by itself: 2 of 3.
MOST = 2 / 3
STRANGE_SPEED = 100.0
# The median is the middle of something when this much of the sizes around it lies this close to it.
MIDDLE = (0.45, 0.55)


def judge(
    standard: Standard,
    traces: Sequence[Trace | Run],
    names: Sequence[str],
    mode: str = REPEAT,
    presets: Sequence[str] = (),
) -> Verdict:
    """Hold runs against a golden.

    Args:
        standard: The golden.
        traces: The runs.
        names: What to call each of them in sentences.
        mode: `repeat`, or `profile` for another job of the same kind.
        presets: Published bands to be shown beside ours.
    """
    contract = standard.contract
    runs = [trace if isinstance(trace, Run) else Run.of(trace, contract.warmup) for trace in traces]
    pairs = list(zip(runs, names, strict=True))
    notes = [note for trace, name in pairs for note in validity.remarks(trace, name)]
    problems = [
        problem
        for trace, name in pairs
        for problem in validity.problems(trace, name, sync_streams=contract.sync_streams)
    ]
    candidates = Envelope.of(runs)
    trial = Trial(standard, candidates.runs, mode)
    told = list(zip(names, candidates.runs, strict=True))
    problems += contract.problems(runs, names)
    # What a run must not escape by saying nothing: whatever counts and the golden can tell is asked of it too.
    asked = [
        name for name, criterion in CRITERIA[mode].items() if criterion.klass == INTENT or _gates(criterion, trial)[0]
    ]
    problems += evidence.problems(asked, trial.pooled, told, "golden")
    if mode == REPEAT:
        problems += [problem for name, run in told for problem in _time_unit(trial, name, run)]
    golden, found = standard.envelope, findings(trial)
    published = published_bands.findings(presets, trial.pooled, trial.runs)
    return Verdict(
        mode,
        {"name": standard.name, "runs": len(golden.runs), "host_class": golden.host_class, "regime": standard.regime},
        [
            {"name": os.path.basename(name), "ops": len(trace), "host_class": run.host_class}
            for name, trace, run in zip(names, traces, candidates.runs, strict=True)
        ],
        [*problems, *found, *published],
        [*notes, *_notes(trial, found), *published_bands.notes(presets, published)],
        distributions(golden.histograms, candidates.histograms),
        [RunByRun(name, golden.values(name), candidates.values(name)) for name in CRITERIA[mode]],
    )


def _notes(trial: Trial, found: Sequence[Finding]) -> Iterator[str]:
    standard = trial.standard
    if len(standard.envelope.runs) == 1:
        yield f"{standard.name} is a single run: how much true repeats differ is not known, bands are taken as they are"
    if standard.contract.warmup != "none":
        yield f"warm-up is left out of golden and runs: {standard.contract.warmup.replace('-', ' ')}"
    why = _environment_unfit(trial)
    if why and trial.mode == REPEAT:
        yield f"environment criteria are shown only: {why}"
    noisy = [finding.id for finding in found if _TOO_NOISY in finding.notes]
    if noisy:
        yield f"not decided, because the golden's own runs differ too much for the tolerance: {', '.join(noisy)}"


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
    found = []
    for criterion in trial.standard.criteria(trial.mode):
        finding = _finding(criterion, trial)
        found.append(_run_by_run(criterion, finding, trial) if len(trial.runs) > 1 else finding)
    return found


def _run_by_run(criterion: Criterion, finding: Finding, trial: Trial) -> Finding:
    """What the runs say one by one: several must not hide one that fails intent or starves, nor one of them carry an environment FAIL."""
    if criterion.klass == ENVIRONMENT:
        return _unless_most_fail(criterion, finding, trial)
    if not finding.gates or finding.outcome is Outcome.FAIL:
        return finding
    for number, run in enumerate(trial.runs, 1):
        alone = _finding(criterion, replace(trial, runs=[run]))
        if alone.gates and alone.outcome is Outcome.FAIL:
            return replace(alone, notes=[*alone.notes, f"run {number} of {len(trial.runs)} by itself"])
    return finding


def _unless_most_fail(criterion: Criterion, finding: Finding, trial: Trial) -> Finding:
    """Two of three runs have to be out of the band before the environment fails: a single one may have met a bad moment."""
    if finding.outcome is not Outcome.FAIL:
        return finding
    alone = [_measured(criterion, replace(trial, runs=[run])) for run in trial.runs]
    effects = [_effect(criterion, measured) for measured in alone if isinstance(measured, Measured)]
    outside = sum(effect is not None and criterion.decide(effect) is Outcome.FAIL for effect in effects)
    if outside >= MOST * len(trial.runs):
        return finding
    settle = f"{outside} of {len(trial.runs)} runs are out of the band by themselves; two of three have to be: record more runs"
    return replace(finding, outcome=Outcome.INCONCLUSIVE, settle=settle)


def _effect(criterion: Criterion, measured: Measured) -> float | None:
    return measured.effect if measured.effect is not None else criterion.effect(measured.reference, measured.value)


def _measured(criterion: Criterion, trial: Trial) -> Measured | str:
    special = _SPECIAL.get(criterion.id, _distance if criterion.id in DISTANCES else _scalar)
    return special(criterion, trial)


def _finding(criterion: Criterion, trial: Trial) -> Finding:
    measured = _measured(criterion, trial)
    gates, why = _gates(criterion, trial)
    if isinstance(measured, str):
        return _silent(criterion, trial, measured, gates=gates)
    notes = [f"shown only: {why}"] if why else []
    finding = finding_of(criterion, measured, min(run.data_ops for run in trial.runs), gates=gates, notes=notes)
    hopeless = finding.outcome is Outcome.INCONCLUSIVE and measured.settle == _HOPELESS
    if finding.gates and hopeless and criterion.id not in trial.standard.declared:
        return replace(finding, gates=False, notes=[*finding.notes, _TOO_NOISY])
    return finding


def _silent(criterion: Criterion, trial: Trial, why: str, *, gates: bool) -> Finding:
    """N/A; but what the golden's profile asks for by name, and its runs do not hold, leaves the verdict open."""
    finding = replace(without(criterion, why), gates=gates)
    wanted = criterion.id in trial.standard.declared or criterion.gate in {"compute-bound", "io-bound"}
    if not gates or not wanted or why != _NOT_HELD:
        return finding
    reason = f"{trial.standard.name} asks for it, and its runs do not hold it"
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        reason=reason,
        settle="record its runs again, with steps marked by tracekit.step()",
    )


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
_TOO_NOISY = "shown only: the golden's own runs differ too much for this band"
_NOT_HELD = "the golden does not hold it"


def _scalar(criterion: Criterion, trial: Trial) -> Measured | str:
    reference = _known([scalar(run, criterion.id) for run in trial.golden.runs])
    values = _known([scalar(run, criterion.id) for run in trial.runs])
    if reference is None:
        return _NOT_HELD
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
    measured = Measured(math.exp(_mean(own_logs)), math.exp(_mean(logs)), diagnostics=_within(criterion, trial))
    return _with_interval(criterion, trial, measured, _spread(criterion, own_logs, logs))


def _within(criterion: Criterion, trial: Trial) -> dict[str, float]:
    """Of a percentile: how many independent ops the first run is worth, and where within that run it lies; shown, never used."""
    blocked, q = trial.runs[0].blocks.get("latency"), bootstrap.PERCENTILES.get(criterion.id)
    if blocked is None or q is None or (ops := bootstrap.effective_ops(blocked, q)) is None:
        return {}
    found = {"effective_ops": ops}
    inside = bootstrap.order_interval(blocked, q, ops, PASS_CONFIDENCE)
    return found if inside is None else found | {"within_low": inside[0], "within_high": inside[1]}


def _spread(criterion: Criterion, reference: Sequence[float], values: Sequence[float]) -> float:
    """The spread between runs: the golden's, or that of the runs where the machine varies more under them."""
    own = stats.spread(reference)
    return max(own, stats.spread(values)) if criterion.klass == ENVIRONMENT else own


def _with_interval(criterion: Criterion, trial: Trial, measured: Measured, spread: float) -> Measured:
    runs, mine = len(trial.golden.runs), len(trial.runs)
    allowed = log_tolerance(criterion, trial.standard.noise.usual(criterion))
    needed = stats.runs_needed(spread, runs, allowed, PASS_CONFIDENCE)
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


def _errors(criterion: Criterion, trial: Trial) -> Measured | str:
    """Failing ops; a golden that was blessed before they were noted had none worth noting."""
    golden = [value or 0.0 for value in trial.golden.values("ops.errors")]
    values = _known([run.scalars.get("ops.errors") for run in trial.runs])
    if values is None:
        return "there are no reads and no writes"
    return _with_interval(criterion, trial, Measured(_mean(golden), _mean(values)), stats.spread(golden))


def _distance(criterion: Criterion, trial: Trial) -> Measured | str:
    """The distance from the golden's runs, beyond the distance that they have from each other: chance alone makes one."""
    distance = DISTANCES[criterion.id]
    reference = distance.of(trial.pooled)
    tables = [table for run in trial.runs if (table := distance.of(run)) is not None]
    if reference is None:
        return _NOT_HELD
    if len(tables) < len(trial.runs):
        return "the trace does not tell"
    if min(map(len, tables)) < distance.least:
        return f"needs at least {distance.least} values, there are {min(map(len, tables))}"
    if distance.by_chance and len(trial.golden.runs) == 1:
        return "a single golden run does not tell how much chance moves it"
    found = [distance.between(reference, table) for table in tables]
    diagnostics = size_diagnostics(reference, tables[0]) if criterion.id == "size.ks" else {}
    return _beyond_own(criterion, trial, found, diagnostics)


def _beyond_own(
    criterion: Criterion, trial: Trial, found: Sequence[float], diagnostics: Mapping[str, float]
) -> Measured:
    own = trial.standard.noise.own(criterion)
    mean, usual = _mean(found), _mean(own) if own else 0.0
    measured = Measured(usual if own else None, mean, effect=max(0.0, mean - usual), diagnostics=dict(diagnostics))
    found_with = _with_interval(criterion, trial, measured, _spread(criterion, own, found))
    # FAIL asks for more than chance on top of the band, PASS for less than chance beside it.
    most = beyond_chance(mean + found_with.half_pass, usual) - max(0.0, mean - usual)
    return replace(found_with, half_pass=max(found_with.half_pass, most))


def _mix(criterion: Criterion, trial: Trial) -> Measured | str:
    golden = trial.pooled
    same_engine = bool(golden.engine) and {run.engine for run in trial.runs} == {golden.engine}
    kinds = None if same_engine else DATA_KINDS
    reference = shares(golden.kinds, kinds)
    found = [stats.variation_distance(reference, shares(run.kinds, kinds)) for run in trial.runs]
    notes = [] if same_engine else ["another recording engine than the golden's: only reads and writes are compared"]
    own = [stats.variation_distance(reference, shares(run.kinds, kinds)) for run in trial.golden.runs]
    return _with_interval(criterion, trial, Measured(None, _mean(found), notes=notes), stats.spread(own))


def _ceiling(criterion: Criterion, trial: Trial) -> Measured | str:
    del criterion
    # The least of the runs decides: one that no longer overlaps is one too many.
    found = [concurrency.ceiling(trial.pooled, run) for run in trial.runs]
    known = [ceiling for ceiling in found if isinstance(ceiling, concurrency.Ceiling)]
    if not known:
        return next(reason for reason in found if isinstance(reason, str))
    least = min(known, key=lambda ceiling: ceiling.effect)
    return Measured(float(least.depth), least.share, effect=least.effect, interval=least.interval, shown_share=True)


_SPECIAL: Mapping[str, Callable[[Criterion, Trial], Measured | str]] = {
    "ops.mix": _mix,
    "ops.errors": _errors,
    "depth.ceiling": _ceiling,
}


def _known(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return known if known and len(known) == len(values) else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
