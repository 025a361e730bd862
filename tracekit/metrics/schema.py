"""How metrics are declared: every field with its unit and meaning, from which JSON, CSV and the published schema follow."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracekit.histogram import LAYOUT, Histogram


def metric(meaning: str, unit: str = "") -> Any:
    """A dataclass field that is published: what it means (with its formula) and its unit.

    The unit of a histogram is that of its values; `us` histograms hold nanoseconds and are written in microseconds.
    """
    return dataclasses.field(metadata={"meaning": meaning, "unit": unit})


def to_json(record: Any) -> dict[str, Any]:
    """The JSON object of a dataclass of metrics, keys in order of declaration."""
    return {
        field.name: _value(getattr(record, field.name), field.metadata.get("unit", "")) for field in _fields(record)
    }


def scalars(record: Any, prefix: str = "") -> Iterator[tuple[str, Any, str, str]]:
    """Every plain number or text of a dataclass of metrics: dotted name, value, unit, meaning."""
    for field in _fields(record):
        value, unit = getattr(record, field.name), field.metadata.get("unit", "")
        name = prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from scalars(value, name + ".")
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", item, unit, "") for key, item in _flat(value))
        elif not isinstance(value, (Histogram, Sequence)) or isinstance(value, str):
            yield name, value, unit, field.metadata["meaning"]


def histograms(record: Any, prefix: str = "") -> Iterator[tuple[str, Histogram, str]]:
    """Every histogram of a dataclass of metrics: name with underscores, the histogram, unit of its values."""
    for field in _fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            yield from histograms(value, f"{prefix}{field.name}_")
        elif isinstance(value, Histogram):
            yield prefix + field.name, value, field.metadata["unit"]


def json_schema(kind: type[Any], *, identifier: str, title: str, version_key: str, version: int) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `to_json` makes of this dataclass."""
    schema = _object_schema(kind)
    schema["properties"] = {version_key: {"const": version, "description": "schema version"}} | schema["properties"]
    schema["required"] = [version_key, *schema["required"]]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": identifier, "title": title}
    return head | schema | {"$defs": {"histogram": _HISTOGRAM_SCHEMA}}


def divisor_of(unit: str) -> int:
    """What stored integers are divided by when written in this unit."""
    return 1000 if unit == "us" else 1


def _fields(record: Any) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(field for field in dataclasses.fields(record) if "meaning" in field.metadata)


def _value(value: Any, unit: str) -> Any:
    if isinstance(value, Histogram):
        return value.to_json(divisor_of(unit))
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _value(item, unit) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, unit) for item in value]
    return value


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if dataclasses.is_dataclass(value):
            yield from ((f"{prefix}{key}.{name}", item) for name, item, _, _ in scalars(value))
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", value


_HISTOGRAM_SCHEMA = {
    "type": "object",
    "description": "log-linear histogram: occupied buckets by their smallest value, with their counts",
    "properties": {
        "layout": {"const": LAYOUT, "description": "128 buckets per octave; below 256 one per integer"},
        "divisor": {"type": "integer", "description": "stored integers are the written values times this"},
        "count": {"type": "integer", "description": "how many values"},
        "sum": {"type": "number", "description": "sum of the values, exact"},
        "min": {"type": ["number", "null"], "description": "smallest value, exact"},
        "max": {"type": ["number", "null"], "description": "largest value, exact"},
        "low": {"type": "array", "items": {"type": "number"}, "description": "smallest value of each occupied bucket"},
        "counts": {"type": "array", "items": {"type": "integer"}, "description": "count of each occupied bucket"},
    },
    "required": ["layout", "divisor", "count", "sum", "min", "max", "low", "counts"],
    "additionalProperties": False,
}
_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def _object_schema(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    properties = {}
    for field in _fields(kind):
        about = {"description": field.metadata["meaning"]}
        if field.metadata["unit"]:
            about["unit"] = field.metadata["unit"]
        properties[field.name] = _type_schema(hints[field.name]) | about
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _type_schema(hint: Any) -> dict[str, Any]:
    if hint is Any:
        return {}
    if hint is Histogram:
        return {"$ref": "#/$defs/histogram"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object_schema(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return _union_schema(arguments)
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(arguments[1])}
    if origin in {list, Sequence}:
        return {"type": "array", "items": _type_schema(arguments[0])}
    raise TypeError(f"metrics have no fields of type {hint}")


def _union_schema(arguments: Sequence[Any]) -> dict[str, Any]:
    if all(argument in _PLAIN for argument in arguments):
        return {"type": [_PLAIN[argument] for argument in arguments]}
    return {"anyOf": [_type_schema(argument) for argument in arguments]}
