"""Paired mode: a replay held against its own recording, op by op. Nothing is estimated; what was done is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import evidence, validity, whereabouts
from harness import presets as published_bands
from harness.comparison import Comparison
from harness.criteria import PAIRED_CRITERIA
from harness.criterion import PAIRED, Criterion
from harness.distances import DISTANCES
from harness.findings import distributions, finding_of, without
from harness.measures import MEASURES
from harness.run import Run
from harness.source import Source
from harness.verdict import Finding, Outcome, Verdict
from tracekit.trace import Trace

# Without a common file, and with more than that share of the sizes unmatched, it is another job and no replay at all.
OTHER_SIZES = 0.1
# What nothing else in the replay makes up for where it is silent: sizes, steps and order are known of the ops it answers to.
EVIDENCE = ("streams.count", "streams.moved", "depth.ceiling")
# What other work on the machine makes worse by making ops late; it makes no replay run at another speed or in another order.
LATE = ("time.shift-p50", "time.shift-p99", "arrival.rate", "arrival.dispersion")


def judge(
    recorded: Trace | Source,
    replayed: Trace | Source,
    *,
    names: tuple[str, str],
    remap: Sequence[tuple[str, str]] = (),
    presets: Sequence[str] = (),
) -> Verdict:
    """Hold a replay (or any trace) against a recording.

    Args:
        recorded: The recording.
        replayed: What is judged.
        names: What to call the two in sentences.
        remap: (FROM, TO) prefixes of uris; those in the replay's header are used when there are none.
        presets: Published bands to be shown beside ours.
    """
    recording, replay = (
        side if isinstance(side, Source) else Source(name, side)
        for side, name in zip((recorded, replayed), names, strict=True)
    )
    comparison = Comparison.of(recording, replay, remap)
    mine, theirs = comparison.recorded.run, comparison.replayed.run
    notes = validity.remarks(mine, names[0]) + validity.remarks(theirs, names[1])
    notes += validity.cache_remarks(mine, theirs, names)
    problems = validity.problems(mine, names[0]) + validity.problems(theirs, names[1])
    problems += evidence.problems(EVIDENCE, mine.figures, [(names[1], theirs.figures)], "recording")
    problems += list(_another_job(comparison, names))
    notes += [*comparison.notes, *_elsewhere(comparison, names)]
    findings = [*problems, *(_finding(criterion, comparison) for criterion in PAIRED_CRITERIA.values())]
    notes += _source(mine, comparison.options, names)
    published = published_bands.findings(presets, mine.figures, [theirs.figures])
    notes += published_bands.notes(presets, published)
    return Verdict(
        PAIRED,
        _described(mine, names[0]),
        [_described(theirs, names[1])],
        [*findings, *published],
        notes,
        distributions(mine.histograms, theirs.histograms),
    )


def _elsewhere(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    if comparison.pairing.common_files:
        return []
    return whereabouts.remark(comparison.recorded.ledger.uris, comparison.replayed.ledger.uris, names)


def _another_job(comparison: Comparison, names: tuple[str, str]) -> Iterator[Finding]:
    """Two traces without a common file whose sizes differ as well are no replay of each other, good or bad."""
    mine, theirs = comparison.figures
    if comparison.pairing.common_files or not mine.data_ops or not theirs.data_ops:
        return
    if DISTANCES["size.match"].between(mine.sizes, theirs.sizes) <= OTHER_SIZES:
        return
    yield validity.error(
        "valid.job",
        "traces of one job",
        f"{names[0]} and {names[1]} have no file in common and other sizes: they are traces of different jobs; `harness compare` shows "
        "their differences",
    )


def _described(run: Run, name: str) -> dict[str, Any]:
    header = run.header
    return {
        "name": os.path.basename(name),
        "ops": len(run),
        "verb": str(header.producer.get("verb", "")) if header else "",
        "engine": str(header.producer.get("engine", "")) if header else "",
    }


def _source(recorded: Run, options: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """What the replay says it was made from, where that may be something else."""
    source, ops = str(options.get("source") or ""), options.get("source_ops")
    if isinstance(ops, int) and ops != len(recorded):
        return [f"{names[1]} says that it replays {source} with {ops} ops, which is not {names[0]}"]
    if source and os.path.basename(source) != os.path.basename(names[0]):
        return [f"{names[1]} says that it replays {source}"]
    return []


# They ask when each op came; a replay that lets the storage decide that is judged by how long it took in all.
_OF_A_SCHEDULE = {"time.shift-p50", "time.shift-p99", "arrival.rate"}


def _finding(criterion: Criterion, comparison: Comparison) -> Finding:
    measured = MEASURES[criterion.id](comparison)
    if isinstance(measured, str):
        return without(criterion, measured)
    needed = _count_for(criterion, comparison)
    gates = criterion.gate == "always"
    notes: Sequence[str] = ()
    pace = comparison.options.get("pace")
    if criterion.id in _OF_A_SCHEDULE and pace in ("think", "asap"):
        gates, notes = False, [f"shown only: the replay's pace was {pace}, which keeps no schedule"]
    finding = finding_of(criterion, measured, needed, gates=gates, notes=notes)
    if finding.outcome is Outcome.FAIL and criterion.id in LATE and _is_disturbed(comparison.replayed.run):
        settle = "by its own account the replay was disturbed by other work: replay on a quieter machine"
        return replace(finding, outcome=Outcome.INCONCLUSIVE, settle=settle)
    return finding


def _is_disturbed(replayed: Run) -> bool:
    """Whether others may have made the replay late; not where by its own account it kept the recorded schedule."""
    run = replayed.trailer.run if replayed.trailer is not None else {}
    kept = run.get("delivered") is True and run.get("pace") == "recorded"
    return run.get("verdict") == "DEGRADED" and not kept


def _count_for(criterion: Criterion, comparison: Comparison) -> int:
    if criterion.id.startswith(("order.stream", "order.file", "time.shift", "streams.moved")):
        return len(comparison.pairing)
    return min(comparison.recorded.ops, comparison.replayed.ops)
