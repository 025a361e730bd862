"""The page of the Python interface: what may be imported, with its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import tracekit
from making.docstrings import arguments, sections

_HEAD = """\
# Python

What is on this page may be relied on; everything else may change from one version to the next. `import tracekit` costs nothing:
a name is loaded when it is first used. Times are ns, sizes bytes. What goes wrong on purpose is a `tracekit.errors.TracekitError`.
"""
# What the pages on these capabilities use, by room.
PUBLIC: dict[str, tuple[str, tuple[str, ...]]] = {
    "tracekit": ("Traces, and what a training program says about itself.", tuple(tracekit.__all__)),
    "tracekit.formats": ("Trace files in and out.", ("load", "save", "chunks", "fold", "writing")),
    "tracekit.analysis.snapshot": ("What people ask beyond the metrics.", ("Analysis",)),
    "tracekit.replay.session": ("Replaying from Python.", ("replay",)),
    "tracekit.replay.options": ("How a replay is made.", ("Options",)),
    "tracekit.workload.loader": ("The loader, for programs of one's own.", ("create_async_loader", "Loader")),
    "tracekit.workload.options": ("How the loader reads.", ("LoaderOptions",)),
    "tracekit.workload.dataset": ("What the loader reads.", ("Dataset",)),
    "tracekit.workload.adapters": ("The loader under PyTorch, grain and tf.data.", ("Samples", "torch_stream", "tf_dataset")),
    "tracekit.storage": ("What a URI is read from.", ("storage_for",)),
    "tracekit.errors": ("Every error, with `slug`, `cause` and `way_out` ([errors and remarks](errors.md)).", (
        "TracekitError", "UsageError", "UnknownNameError", "OutputExistsError", "InputError", "TraceFormatError", "UnknownSchemeError",
        "CannotRunError", "RecorderError",
    )),
    "tracekit.testing": ("Traces for tests.", ("trace_of", "training_trace", "FakeClock")),
    "harness.check": ("A verdict in Python; [check in pytest](../howto/check-in-pytest.md) has a fixture.", ("check",)),
    "harness.verdict": ("What a check found.", ("Verdict", "Finding", "Outcome")),
    "harness.report.html": ("A verdict as a page.", ("render",)),
    "harness.mutations": ("Edits of a trace that a check must notice.", ("halved_sizes",)),
}  # fmt: skip


def page() -> str:
    """The page."""
    parts = [_HEAD]
    for module, (about, names) in PUBLIC.items():
        parts.append(f"## {module}\n\n{about}\n")
        parts += [_entry(module, name) for name in names]
    return "\n".join(parts)


def _entry(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    return f"### {module}.{name}\n\n" + "\n".join(_described(thing, name)) + "".join(_methods(thing))


def _described(thing: Any, name: str) -> Iterator[str]:
    said = sections(thing)
    if not (inspect.isclass(thing) and issubclass(thing, Exception)) and (shape := _signature(thing, name)):
        yield f"```text\n{shape}\n```\n"
    yield f"{_prose(said[''])}\n"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        yield f"slug `{thing.slug}`, exit code {thing.exit_code}\n"
    for heading, title in (("Args", "argument"), ("Raises", "raises")):
        entries = arguments(thing, heading)
        if entries:
            yield f"| {title} | |\n|---|---|"
            yield from (f"| `{key}` | {text.replace('|', chr(92) + '|')} |" for key, text in entries.items())
            yield ""
    if "Returns" in said:
        yield f"Returns: {_prose(said['Returns'])}\n"


def _methods(thing: Any) -> Iterator[str]:
    """The public methods and properties of a class, a row each: signature and first sentence."""
    if not inspect.isclass(thing) or issubclass(thing, Exception):
        return
    rows = []
    for name, member in vars(thing).items():
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if name.startswith("_") or not inspect.getdoc(inner) or not isinstance(inner, property | type(_methods)):
            continue
        shape = f".{name}" if isinstance(inner, property) else _signature(inner, f".{name}")
        first = re.split(r"(?<=[.])\s", _prose(sections(inner)[""]), maxsplit=1)[0]
        rows.append(f"| `{shape.replace('|', chr(92) + '|')}` | {first.replace('|', chr(92) + '|')} |\n")
    if rows:
        yield "\n| of it | |\n|---|---|\n"
        yield from rows
        yield "\n"


def _signature(thing: Any, name: str) -> str:
    """Names and defaults; without annotations, which each version of Python prints in a way of its own."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):
        return ""
    words, bare = [], False
    for each in parameters:
        if each.name in {"self", "cls"}:
            continue
        if each.kind is each.KEYWORD_ONLY and not bare:
            words.append("*")
            bare = True
        bare = bare or each.kind is each.VAR_POSITIONAL
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        words.append(star + each.name + _default(each))
    return f"{name}({', '.join(words)})"


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    value = parameter.default
    plain = isinstance(value, str | int | float | bool | tuple | type(None))
    return f"={value!r}" if plain else "=…"


def _prose(text: str) -> str:
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", block) for block in text.split("\n\n") if block.strip())
