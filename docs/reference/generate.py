"""Write the generated reference: `python docs/reference/generate.py`. A test compares what is committed with this.

Rule for versions: a key that is removed, renamed or means something else raises the schema's version; a new key does not.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from making import command_page, commands, completions, criteria_page, errors_page, manpages, outputs_page, python_page

from harness.report.schema import SCHEMAS as HARNESS
from tracekit.analysis.snapshot import Analysis
from tracekit.metrics import Metrics
from tracekit.replay.statement import Statement
from tracekit.trace import COLUMNS, SCHEMA_VERSION

REQUIRED = ("uri", "len", "t_submit")
NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
SMALL = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def trace_schema() -> dict[str, Any]:
    """The JSON Schema of one line of a trace."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "trace.schema.json",
        "title": "One line of a trace",
        "description": "A trace is JSON Lines: a header, marks and ops, a trailer. Readers ignore keys they do not know.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in ("header", "op", "mark", "trailer")],
        "$defs": {"header": HEADER, "op": _op(), "mark": MARK, "trailer": TRAILER},
    }


def _op() -> dict[str, Any]:
    properties = {}
    for column in COLUMNS.values():
        about = {"description": column.meaning} | ({"unit": column.unit} if column.unit else {})
        properties[column.name] = _type(column) | about
    return {"type": "object", "description": "one I/O request", "required": list(REQUIRED), "properties": properties}


def _type(column: Any) -> dict[str, Any]:
    if column.name == "sample_id":
        return {"type": ["integer", "string", "null"]}
    kind = {"type": "string"} if column.category else NUMBER if column.dtype is np.int64 else SMALL
    return kind if column.name in REQUIRED else kind | {"type": [kind["type"], "null"]}


def _object(meaning: str) -> dict[str, Any]:
    return {"type": "object", "description": meaning}


HEADER = {
    "type": "object",
    "description": "the first line: where the trace comes from",
    "required": ["tracekit"],
    "properties": {
        "tracekit": {"const": SCHEMA_VERSION, "description": "schema version"},
        "created": {"type": "string", "description": "when, ISO 8601"},
        "producer": _object(
            "tool, version, verb, run (of a recording or replay: the same in all traces of one run), engine, the reason for the engine, options"
        ),
        "clock": _object(
            "t0_unix_ns: wall-clock time of the trace's t0; source; resolution_ns; of the time stamp counter also tsc_hz and error_ns, the most it was off CLOCK_MONOTONIC in `checks` readings of both; of a run of several ranks also `ranks`: each one's host, offset_ns from rank 0's wall clock, error_ns, drift_ns"
        ),
        "command": {"type": "array", "items": {"type": "string"}, "description": "the program and its arguments"},
        "host": _object("cpu, cores, memory_bytes, kernel, system, and filesystem by mount point"),
        "frameworks": _object("versions by name"),
        "filters": _object("what was left out on purpose"),
        "redacted": {"type": "boolean", "description": "whether names of files were replaced"},
    },
}
MARK = {
    "type": "object",
    "description": "a span of the program's own structure",
    "required": ["mark", "t"],
    "properties": {
        "mark": {"type": "string", "description": "step, compute, epoch or checkpoint"},
        "t": NUMBER | {"unit": "ns", "description": "begin"},
        "t_end": NUMBER | {"type": ["integer", "null"], "unit": "ns", "description": "end"},
        "step": SMALL | {"type": ["integer", "null"], "description": "number of the step"},
        "epoch": SMALL | {"type": ["integer", "null"], "description": "its epoch"},
        "pid": SMALL | {"type": ["integer", "null"], "description": "process that trains"},
    },
}
_PAGES = {
    "type": ["object", "null"],
    "properties": {
        "pages": NUMBER | {"description": "all of them"},
        "resident": NUMBER | {"description": "cached ones"},
    },
}
RESIDENCY = {
    "type": "object",
    "description": "what of the data was in the page cache",
    "properties": {
        "start": {
            "type": "string",
            "description": "a recording: first-read or before-run; a replay: as-is, cold, warm or recorded",
        },
        "before": _PAGES
        | {"description": "of a recording's files before each was first read, of a replay's when it began"},
        "after": _PAGES | {"description": "of a replay's files when it had ended"},
        "verified": {
            "type": ["object", "null"],
            "description": "a replay's start held against the state asked for; null where the system does not tell",
            "properties": {
                "pages": NUMBER | {"description": "all of them"},
                "missing": NUMBER | {"description": "should be cached and are not"},
                "extra": NUMBER | {"description": "should not be cached and are"},
            },
        },
        "notes": {"type": "array", "items": {"type": "string"}, "description": "what was not reached"},
        "files": {
            "type": "object",
            "description": "a recording's files, in columns; a replay's: how many were whole, exact, scaled, number, unknown",
            "properties": {
                "count": NUMBER | {"description": "files looked at, and files of which nothing is known"},
                "page_bytes": NUMBER | {"unit": "bytes", "description": "of a page"},
                "others": {
                    "type": ["string", "null"],
                    "description": "state of files not listed: all, none, or not known",
                },
                "uri": {"type": "array", "items": {"type": "string"}, "description": "files listed"},
                "size": {"type": "array", "items": NUMBER, "unit": "bytes", "description": "of each"},
                "resident": {"type": "array", "items": NUMBER, "description": "cached pages of each"},
                "gaps": {
                    "type": "array",
                    "description": "of each, pages absent and resident in turn from its start; null: all, none or not known which",
                },
                "unknown": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "files of which nothing is known",
                },
                "left_out": {"type": "object", "description": "files and gaps for which the table had no room"},
                "not_looked_at": NUMBER | {"description": "openings of files that came when the run's table was full"},
            },
        },
    },
}
TRAILER = {
    "type": "object",
    "description": "the last line: how much there is and how complete it is",
    "required": ["end"],
    "properties": {
        "end": {
            "type": "object",
            "properties": {
                "ops": NUMBER | {"description": "ops written"},
                "bytes": NUMBER | {"unit": "bytes", "description": "bytes moved"},
                "lost": NUMBER | {"description": "ops known to be lost"},
                "processes": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "pid, argv, ops, exit of each",
                },
                "coverage": _object("bytes traced and ignored against the kernel's own count"),
                "residency": RESIDENCY,
                "run": _object("a replay's or driver's statement about its own run"),
            },
        }
    },
}

DOCS = Path(__file__).parents[1]
_SECTION = re.compile(r"(<!-- generated by docs/reference/generate.py: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def rows(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Table rows for the properties of a schema, those of objects within them too."""
    for key, value in node.get("properties", {}).items():
        inner = _inner(value)
        kind = "histogram" if value.get("$ref") else inner[0]
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{prefix}{key}` | {kind} | {value.get('unit', '')} | {meaning} |"
        yield from rows(inner[2], f"{prefix}{key}{inner[1]}.")


def _inner(value: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """What kind of value it is, how its parts are named, and their schema."""
    if "const" in value:
        return str(value["const"]), "", {}
    kind = value.get("type", "any")
    kind = " or ".join("number" if each == "integer" else each for each in ([kind] if isinstance(kind, str) else kind))
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(value.get(key), dict):
            return kind, mark, value[key]
    return ("object" if "properties" in value else kind.replace("any", "object or null")), "", value


def table(schema: dict[str, Any]) -> str:
    """The Markdown table of a schema's keys."""
    head = "| key | type | unit | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows(schema)) + "\n"


def _others() -> str:
    parts = (("header", HEADER), ("mark", MARK), ("trailer", TRAILER))
    return "\n".join(f"The {name}, {kind['description']}:\n\n{table(kind)}" for name, kind in parts)


def _committed(name: str) -> Callable[[], dict[str, Any]]:
    """A schema that is written by hand."""
    return lambda: json.loads((DOCS / f"reference/{name}.schema.json").read_text(encoding="utf-8"))


SECTIONS = {
    "metrics keys": lambda: table(Metrics.json_schema()),
    "analysis keys": lambda: table(Analysis.json_schema()),
    "op keys": lambda: table(_op()),
    "other keys": _others,
    "run keys": lambda: table(Statement.json_schema()),
}
SCHEMAS = {
    "reference/metrics.schema.json": Metrics.json_schema,
    "reference/analysis.schema.json": Analysis.json_schema,
    "reference/trace.schema.json": trace_schema,
    "reference/run.schema.json": Statement.json_schema,
    **{f"reference/{name}.schema.json": schema for name, schema in HARNESS.items()},
}
OUTPUTS = {"run": Statement.json_schema, "summary": _committed("summary"), **HARNESS}
PAGES = {
    "reference/tracekit.md": lambda: command_page.page(commands.programs()[0]),
    "reference/harness.md": lambda: command_page.page(commands.programs()[1]),
    "reference/criteria.md": criteria_page.page,
    "reference/errors.md": errors_page.page,
    "reference/outputs.md": lambda: outputs_page.outputs(OUTPUTS, table),
    "reference/golden-format.md": outputs_page.golden_format,
    "reference/python.md": python_page.page,
}


def installed() -> dict[str, str]:
    """What is installed beside the code, by its place in the package: completions and man pages."""
    files = {}
    for program in commands.programs():
        files[f"bash/{program.name}"] = completions.bash(program)
        files[f"zsh/_{program.name}"] = completions.zsh(program)
        files[f"fish/{program.name}.fish"] = completions.fish(program)
        files |= {f"man/{manpages.name_of(each)}.1": manpages.page(each, program) for each in program.walk()}
    return files


SHELL = DOCS.parent / "tracekit/shell"
# Said on each page that is generated as a whole.
_MADE = "<!-- made by docs/reference/generate.py: change what it is made from -->\n"
FILES = (*SCHEMAS, *PAGES, "metrics.md", "analysis.md", "trace.md", "explanation/cadence.md")


def text_of(name: str) -> str:
    """What the file of this name below docs should hold."""
    if name in SCHEMAS:
        return json.dumps(SCHEMAS[name](), indent=1, ensure_ascii=False) + "\n"
    if name in PAGES:
        return _MADE + PAGES[name]().rstrip() + "\n"
    text = (DOCS / name).read_text(encoding="utf-8")
    return _SECTION.sub(lambda found: found[1] + "\n" + SECTIONS[found[2]]() + "\n" + found[3], text)


if __name__ == "__main__":
    for each in FILES:
        (DOCS / each).write_text(text_of(each), encoding="utf-8")
        print(f"wrote {each}", file=sys.stderr)
    for each, text in installed().items():
        (SHELL / each).parent.mkdir(parents=True, exist_ok=True)
        (SHELL / each).write_text(text, encoding="utf-8")
        print(f"wrote tracekit/shell/{each}", file=sys.stderr)
