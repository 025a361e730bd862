"""The page of criteria: what each measures, when it fails, and what to do then."""

from __future__ import annotations

from harness.criteria import ASSUMED, CRITERIA, GATES, advice
from harness.criterion import PAIRED, PROFILE, REPEAT, Criterion, format_band
from harness.presets import PRESETS

_HEAD = """\
# Criteria

`harness check` decides each of these on its own; the verdict is the worst of those that count. `harness check --explain ID` says the
same in the terminal, and with `--golden` what a golden makes of it: a profile may set tolerances, and what runs of one job differ by
is added. [Verdicts](../explanation/verdicts.md) says where the numbers come from.

A class says what a criterion is about: *intent* is what was asked of the storage, *overlap* whether the consumer was kept fed,
*environment* how the machine answered. An effect is a *ratio* (measured / reference), a *difference* (measured − reference), a
*distance* (0 is equal) or a *value*. PASS asks that the whole 95 % interval of the effect is accepted, FAIL that the whole 99.9 %
interval is not; what lies between is INCONCLUSIVE and says what would settle it.
"""
_MODES = {
    PAIRED: "a replay against its own recording, op by op",
    REPEAT: "the same job again, against a golden or several runs",
    PROFILE: "another job of the same kind, against a golden",
}


def page() -> str:
    """The page."""
    parts = [_HEAD, _overview()]
    for mode, table in CRITERIA.items():
        parts += [f"## Mode {mode}\n\n{_MODES[mode].capitalize()}. Assumed: {ASSUMED[mode]}.\n"]
        parts += [_entry(each, mode) for each in table.values()]
    return "\n".join([*parts, _published()])


def _overview() -> str:
    names = dict.fromkeys(name for table in CRITERIA.values() for name in table)
    head = f"| criterion | {' | '.join(CRITERIA)} |\n|---|{'---|' * len(CRITERIA)}"
    rows = [
        f"| `{name}` | {' | '.join(_linked(table.get(name), mode) for mode, table in CRITERIA.items())} |"
        for name in sorted(names)
    ]
    return "\n".join([head, *rows, ""])


def _linked(criterion: Criterion | None, mode: str) -> str:
    return "" if criterion is None else f"[{criterion.klass}, {_band(criterion)}](#{_anchor(criterion, mode)})"


def _entry(criterion: Criterion, mode: str) -> str:
    facts = {
        "question": criterion.title,
        "statistic": criterion.statistic,
        "class": criterion.klass,
        "effect": criterion.kind,
        "unit": criterion.unit or "–",
        "accepted": _band(criterion),
        "counts": GATES[criterion.gate],
        "decided from": f"{criterion.minimum} {'op' if criterion.minimum == 1 else 'ops'} on",
        **({"assumes": criterion.assumption} if criterion.assumption else {}),
        "FAIL means": "; or ".join(_meaning(text) for text in (criterion.high, criterion.low) if text),
        "then": advice(criterion),
        "why so": criterion.why,
    }
    rows = "\n".join(f"| {name} | {_cell(text)} |" for name, text in facts.items())
    return f"### `{criterion.id}`, {mode}\n\n| | |\n|---|---|\n{rows}\n"


def _meaning(text: str) -> str:
    """A finding's sentence with words in place of its figures."""
    return text.format(measured="X", reference="Y", effect="Z")


def _published() -> str:
    lines = [
        "## Published bands\n",
        "`--preset NAME` shows, beside ours, the bands that others have published. They never count.\n",
        "| preset | rule | what it asks | accepted |",
        "|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        for rule in preset.rules:
            band = format_band(rule.kind, rule.band, rule.unit)
            lines.append(f"| {name} | `{rule.id}` | {_cell(rule.title)} | {band} |")
    lines.append("")
    lines += [f"*{name}*: {preset.source}\n" for name, preset in PRESETS.items()]
    return "\n".join(lines)


def _band(criterion: Criterion) -> str:
    return format_band(criterion.kind, criterion.band, criterion.unit)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*") if "`" not in text else text.replace("|", "\\|")


def _anchor(criterion: Criterion, mode: str) -> str:
    return f"{criterion.id.replace('.', '')}-{mode}"  # as GitHub and MyST make it of the heading
