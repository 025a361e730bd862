"""From what was measured to a finding: minimum samples, the decision, and the sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.criterion import Criterion
from harness.distances import DISTANCES, size_diagnostics
from harness.figures import Table
from harness.verdict import Finding, Histogram, Outcome
from tracekit import units
from tracekit.histogram import Histogram as Counts

_AT_THE_EDGE = "it lies at the edge of what is accepted: another run would tell"
_UNIT = {"size": "bytes", "latency": "ns", "gap": "ns", "qd": "ops"}


@dataclass(frozen=True)
class Measured:
    """What a criterion measured, before it is decided.

    Args:
        reference: The reference's value; None where there is none.
        value: The measured value.
        effect: The effect, where it is not simply reference against value.
        half_pass: Half width of the 95 % interval of the effect (of ratios, in logarithms).
        half_fail: Half width of the interval that must lie outside the band to fail.
        interval: The interval itself, where it is not symmetric; it must lie outside the band to fail.
        settle: What would settle an inconclusive finding.
        shown_share: Whether the value is a share although the reference is not.
        notes: What should be said beside it.
        diagnostics: Figures shown, never used.
    """

    reference: float | None
    value: float
    effect: float | None = None
    half_pass: float = 0.0
    half_fail: float = 0.0
    interval: tuple[float, float] | None = None
    settle: str = ""
    shown_share: bool = False
    notes: Sequence[str] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)


def finding_of(
    criterion: Criterion, measured: Measured, ops: int, *, gates: bool, notes: Sequence[str] = ()
) -> Finding:
    """Decide a criterion.

    Args:
        criterion: The criterion.
        measured: What was measured for it.
        ops: From how many ops (or pairs).
        gates: Whether it counts in the verdict.
        notes: Why it does not, for instance.
    """
    effect = measured.effect if measured.effect is not None else criterion.effect(measured.reference, measured.value)
    if effect is None:
        return without(criterion, "recording or replay does not tell")
    if ops < criterion.minimum:
        return without(criterion, f"needs at least {criterion.minimum} ops, there are {ops}")
    outcome, interval = _decided(criterion, measured, effect)
    reason, settle = "", ""
    if outcome is not Outcome.PASS:
        reason = _sentence(criterion, measured, effect)
        settle = (measured.settle or _AT_THE_EDGE) if outcome is Outcome.INCONCLUSIVE else ""
    return Finding(
        id=criterion.id,
        klass=criterion.klass,
        title=criterion.title,
        outcome=outcome,
        gates=gates,
        unit=criterion.unit,
        golden=measured.reference,
        measured=measured.value,
        effect=effect,
        interval=interval,
        band=criterion.band,
        effect_kind=criterion.kind,
        reason=reason,
        settle=settle,
        notes=[*notes, *measured.notes],
        diagnostics=measured.diagnostics,
    )


def without(criterion: Criterion, why: str) -> Finding:
    """The N/A finding of a criterion that nothing can be said about."""
    return Finding(
        criterion.id, criterion.klass, criterion.title, Outcome.NA, unit=criterion.unit, band=criterion.band,
        effect_kind=criterion.kind, reason=why,
    )  # fmt: skip


def format_value(value: float | None, unit: str) -> str:
    """A value as people read it, in its unit; a dash where there is none."""
    if value is None:
        return "–"
    if unit == "bytes":
        return units.format_bytes(value)
    if unit == "ns":
        return units.format_ns(value)
    if unit == "B/s":
        return units.format_rate(value)
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def size_effects(name: str, reference: Table, measured: Table) -> Measured | str:
    """The distance of two size tables that a criterion about sizes is decided on."""
    if not len(reference) or not len(measured):
        return "there are no reads and no writes"
    diagnostics = size_diagnostics(reference, measured) if name == "size.ks" else {}
    return Measured(None, DISTANCES[name].between(reference, measured), diagnostics=diagnostics)


def distributions(golden: Mapping[str, Counts], candidate: Mapping[str, Counts]) -> list[Histogram]:
    """Both sides' distributions on common bins, as shares."""
    return [_common(name, golden[name], candidate[name]) for name in sorted(golden) if name in candidate]


def _common(name: str, golden: Counts, candidate: Counts) -> Histogram:
    bins: dict[int, list[float]] = {}
    ends: dict[int, int] = {}
    for side, counts in enumerate((golden, candidate)):
        low, high, number = counts.buckets()
        for at, end, share in zip(low.tolist(), high.tolist(), (number / max(1, counts.count)).tolist(), strict=True):
            bins.setdefault(at, [0.0, 0.0])[side] = share
            ends[at] = end + 1
    low_edges = sorted(bins)
    return Histogram(
        name,
        _UNIT[name],
        low_edges,
        [ends[at] for at in low_edges],
        [bins[at][0] for at in low_edges],
        [bins[at][1] for at in low_edges],
    )


def _decided(criterion: Criterion, measured: Measured, effect: float) -> tuple[Outcome, tuple[float, float] | None]:
    if measured.interval is None:
        interval = criterion.around(effect, measured.half_pass) if measured.half_pass else None
        return criterion.decide(effect, measured.half_pass, measured.half_fail), interval
    low, high = measured.interval
    lower, upper = criterion.band
    if criterion.decide(effect) is Outcome.PASS:
        return Outcome.PASS, measured.interval
    outside = (lower is not None and high < lower) or (upper is not None and low > upper)
    return (Outcome.FAIL if outside else Outcome.INCONCLUSIVE), measured.interval


def _sentence(criterion: Criterion, measured: Measured, effect: float) -> str:
    value = format_value(measured.value, "share" if measured.shown_share else criterion.unit)
    return criterion.sentence(effect, value, format_value(measured.reference, criterion.unit))
