"""The lines of a trace file as types, and what to say about a line that is none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any

import msgspec

from tracekit.trace import NULL, SCHEMA_VERSION, Header, Trailer
from tracekit.uri import utf8

_Int = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Int32 = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_AnyTime = Annotated[float, msgspec.Meta(ge=0)]
Json = dict[str, Any]


class OpLine(msgspec.Struct, omit_defaults=True, gc=False):
    """An op line, or any other line seen as one. A number that is missing is NULL; one that is null is None.

    The order is the order of columns and of keys in files. Rows hold no references to each other, so the garbage
    collector need not know them.
    """

    uri: str | None = None
    offset: _Int | None = NULL
    len: _Int | None = NULL
    t_submit: _Int | None = NULL
    op: str | None = None
    t_complete: _Int | None = NULL
    ret: _Int | None = NULL
    err: str | None = None
    t_due: _Int | None = NULL
    t_first_byte: _Int | None = NULL
    pid: _Int32 | None = NULL
    tid: _Int32 | None = NULL
    rank: _Int32 | None = NULL
    worker: _Int32 | None = NULL
    epoch: _Int32 | None = NULL
    step: _Int32 | None = NULL
    sample_id: int | str | None = None
    layer: str | None = None
    level: str | None = None
    attempts: _Int32 | None = NULL
    flags: str | None = None


class ScaledOpLine(OpLine, gc=False):
    """An op line of a file whose times are not nanoseconds and may have fractions."""

    t_submit: _AnyTime | None = NULL  # type: ignore[assignment]  # wider on purpose
    t_complete: _AnyTime | None = NULL  # type: ignore[assignment]  # same
    t_due: _AnyTime | None = NULL  # type: ignore[assignment]  # same
    t_first_byte: _AnyTime | None = NULL  # type: ignore[assignment]  # same


class OtherLine(msgspec.Struct, omit_defaults=True):
    """A line that is no op; which kind it is shows in the key it has."""

    tracekit: int | None = None
    created: str | None = None
    producer: Json | None = None
    clock: Json | None = None
    command: list[str] | None = None
    host: Json | None = None
    frameworks: Json | None = None
    filters: Json | None = None
    redacted: bool | None = None
    end: Json | None = None
    mark: str | None = None
    t: _AnyTime | None = None
    t_end: _AnyTime | None = None
    step: _Int32 | None = None
    epoch: _Int32 | None = None
    pid: _Int32 | None = None


class End(msgspec.Struct):
    """What a trailer says under `end`."""

    ops: _Int = 0
    bytes: _Int = 0
    lost: _Int = 0
    processes: list[Json] = []
    coverage: Json = {}
    residency: Json = {}
    run: Json = {}


class MarkLine(msgspec.Struct, omit_defaults=True):
    """A mark line of a file in nanoseconds."""

    mark: str
    t: _Int
    t_end: _Int | None = None
    step: _Int32 | None = None
    epoch: _Int32 | None = None
    pid: _Int32 | None = None


NOTHING = (NULL, None)
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def problem(text: bytes, error: Exception) -> str:
    """What is wrong with a line that msgspec refused, naming the key where there is one."""
    if isinstance(error, UnicodeDecodeError):
        return "the line is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        message = str(error)
        reason, _, place = message.partition(" - at `$.")
        key = place.rstrip("`")
        if message.startswith("Object missing"):
            return message.replace("Object missing required field", "there is no")
        reason = reason.replace(" | null", "").replace("Expected", "expected")
        return f"`{key}`: {reason}" if key else f"the line is not a JSON object ({reason})"
    sample = text[:40].decode("utf-8", "backslashreplace")
    return f"the line is not JSON ({str(error).removeprefix('JSON is malformed: ')}): {sample!r}"


def trailer_of(end: Json) -> Trailer:
    """The trailer of the object under `end`; keys it does not know are kept in `extra`."""
    known = msgspec.structs.asdict(msgspec.convert(end, End))
    known["processes"] = known["processes"] or ()
    extra = {key: value for key, value in end.items() if key not in End.__struct_fields__}
    return Trailer(**known, extra=extra)


def header_of(line: OtherLine) -> Header:
    """The header that a first line, or its counterpart in another format, describes."""
    names = [field.name for field in fields(Header)]
    return Header(**{name: value for name in names if (value := getattr(line, name)) is not None})


def header_line(header: Header) -> Json:
    """The header as the JSON object of the first line."""
    known = {key: value for key, value in asdict(header).items() if value}
    return {"tracekit": SCHEMA_VERSION, **utf8_throughout(known)}


def trailer_json(trailer: Trailer) -> Json:
    """The trailer as the JSON object under `end`."""
    values = asdict(trailer)
    extra = values.pop("extra")
    optional = ("residency", "run")
    kept = {key: value for key, value in values.items() if value or key not in optional} | extra
    return {key: utf8_throughout(value) for key, value in kept.items()}


def utf8_throughout(value: Any) -> Any:
    """A JSON value with `utf8` applied to every text in it."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, Mapping):
        return {utf8(str(key)): utf8_throughout(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [utf8_throughout(item) for item in value]
    return value
