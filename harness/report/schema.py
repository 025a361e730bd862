"""The published JSON Schemas of what `compare`, `power` and `learn` write (docs/reference, made from these)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.compare import COMPARE_VERSION
from harness.learn import LEARN_VERSION
from harness.power import POWER_VERSION

Schema = dict[str, Any]

_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_NUMBER, _PERHAPS = {"type": "number"}, {"type": ["number", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}
# Of a ratio against nothing an end is without end: null.
_ENDS = {"type": ["array", "null"], "items": _PERHAPS, "minItems": 2, "maxItems": 2}
_ID = _TEXT | {"description": "the criterion's id, as `harness check --explain` takes it"}


def _object(properties: Mapping[str, Schema], description: str = "") -> Schema:
    about = {"description": description} if description else {}
    fields = {"required": list(properties), "properties": dict(properties), "additionalProperties": False}
    return {"type": "object", **about, **fields}


def _document(name: str, version: int, description: str, properties: Mapping[str, Schema]) -> Schema:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"tracekit:{name}.schema.json",
        "title": f"harness {name}",
    }
    about = (
        f"{description} The same input gives the same bytes. `{name}` is raised when a key is removed, renamed or means something else; "
        "new keys do not raise it."
    )
    return head | _object({name: {"const": version, "description": "schema version"}, **properties}, about)


def compare_schema() -> Schema:
    """Of `harness compare --json`."""
    side = _object(
        {
            "names": _TEXTS | {"description": "the traces, or the golden, as they were named"},
            "runs": _COUNT | {"description": "how many runs", "unit": "runs"},
            "host_class": _TEXT
            | {"description": "class of host of all its runs; empty where they differ or do not tell"},
        }
    )
    difference = _object(
        {
            "id": _ID,
            "class": {"enum": ["intent", "overlap", "environment"], "description": "the criterion's class"},
            "title": _TEXT | {"description": "the criterion in a few words"},
            "unit": _TEXT | {"description": "unit of `a` and `b`: bytes, ns, ops, share, B/s or nothing"},
            "a": _PERHAPS | {"description": "the one side's mean (of ratios the geometric); of distances how far its runs are apart"},
            "b": _PERHAPS | {"description": "the other side's; of distances how far its runs are from the one side's"},
            "effect": _PERHAPS | {"description": "b / a of ratios, else b − a; null where it is without end"},
            "effect_kind": {"enum": ["ratio", "difference"], "description": "how to read the effect"},
            "interval": _ENDS | {"description": "where the effect lies with 95 % confidence, by Welch; null for single runs"},
            "within": _ENDS
            | {"description": "of percentiles of two single runs: where it lies for these two, by resampling blocks of time"},
            "visible": {"type": ["boolean", "null"], "description": "whether `interval` leaves out no difference"},
            "diagnostics": {
                "type": "object",
                "additionalProperties": _PERHAPS,
                "description": "shown, never used: KS distance of sizes (d) and its p-value (p); of service times and gaps its bracket (d_low, "
                "d_high) and the most it is by resampling (d_most)",
            },
        }
    )  # fmt: skip
    return _document(
        "compare",
        COMPARE_VERSION,
        "The differences of two sets of runs, without a verdict.",
        {
            "a": side | {"description": "the one side"},
            "b": side | {"description": "the other"},
            "criteria": {"type": "array", "items": difference, "description": "what both sides can tell"},
            "notes": _TEXTS | {"description": "what a reader should know"},
        },
    )


_LESSON: Mapping[str, Schema] = {
    "class": {"enum": ["intent", "overlap", "environment"], "description": "the criterion's class"},
    "tolerance": _NUMBER | {"description": "what matters: the effects that are accepted"},
    "noise": _PERHAPS
    | {"description": "what can be seen: standard deviation between runs, of ratios of the logarithms; null where runs are silent"},
    "needs": {"type": ["integer", "null"], "unit": "runs", "description": "runs that pass when nothing differs, in nine of ten cases; null: no number"},
    "detects": _PERHAPS | {"description": "smallest effect (of ratios as a share) that one run fails for in nine of ten cases"},
    "gate": _TEXT | {"description": "whether it counts: its rule, or why it never can"},
}  # fmt: skip


def power_schema() -> Schema:
    """Of `harness power --json`."""
    each = _object(
        {
            "id": _ID,
            **_LESSON,
            "detects_three": _PERHAPS | {"description": "as `detects`, for three runs"},
            "golden_runs": {
                "type": ["integer", "null"],
                "unit": "runs",
                "description": "golden runs with which it could be decided, where it cannot with those there are",
            },
            "ops": {"type": ["integer", "null"], "unit": "ops", "description": "ops a run must hold; null: no number would do"},
            "design_effect": _PERHAPS
            | {"description": "of percentiles: ops of a golden run that say as much as one independent op"},
        }
    )  # fmt: skip
    return _document(
        "power",
        POWER_VERSION,
        "What it takes to decide with a golden.",
        {
            "golden": _TEXT | {"description": "name and revision"},
            "runs": _COUNT | {"description": "golden runs", "unit": "runs"},
            "criteria": {"type": "array", "items": each, "description": "what each criterion takes"},
        },
    )


def learn_schema() -> Schema:
    """Of `harness learn --json`."""
    return _document(
        "learn",
        LEARN_VERSION,
        "What was learned from runs of one job.",
        {
            "runs": _COUNT | {"description": "how many runs", "unit": "runs"},
            "host_class": _TEXT | {"description": "class of host of all runs; empty where they differ or do not tell"},
            "criteria": {
                "type": "object",
                "additionalProperties": _object(_LESSON),
                "description": "tolerance and noise, by criterion",
            },
            "warnings": _TEXTS | {"description": "what whoever uses it should know"},
        },
    )


SCHEMAS = {"compare": compare_schema, "power": power_schema, "learn": learn_schema}
