"""The pages of JSON that we write: documents of `--json`, and the files of a golden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from harness import contract, golden, warmup
from harness.contract import Contract
from making.docstrings import arguments

_OUTPUTS = """\
# What is written as JSON

Every document begins with its own name and a version. A key that is removed, renamed or means something else raises it; a new
key does not, so readers ignore what they do not know. The schemas are closed all the same: a test holds what is written to them.

| document | written by | keys | schema |
|---|---|---|---|
| trace | `tracekit record`, `replay`, `run -o`, `convert` | [the trace format](../trace.md) | [trace.schema.json](trace.schema.json) |
| metrics | `tracekit stats --json`, `Metrics.to_json()` | [metrics](../metrics.md) | [metrics.schema.json](metrics.schema.json) |
| analysis | `tracekit stats --json`, under `analysis` | [analysis](../analysis.md) | [analysis.schema.json](analysis.schema.json) |
"""
WRITERS = {
    "run": "`tracekit replay --json`, and a trace's trailer under `run`",
    "summary": "`harness check --json` and `harness matrix --json`",
    "compare": "`harness compare --json`",
    "learn": "`harness learn --json`",
    "power": "`harness power --json`",
}


def outputs(schemas: dict[str, Callable[[], dict[str, Any]]], table: Callable[[dict[str, Any]], str]) -> str:
    """The page of documents.

    Args:
        schemas: Each document's schema.
        table: Makes the table of a schema's keys.
    """
    rows = [f"| {name} | {by} | [below](#{name}) | [{name}.schema.json]({name}.schema.json) |" for name, by in WRITERS.items()]  # fmt: skip
    parts = [_OUTPUTS + "\n".join(rows) + "\n"]
    for name, by in WRITERS.items():
        schema = schemas[name]()
        parts.append(f"## {name}\n\nWritten by {by}. {schema.get('description', '')}\n\n{table(schema)}")
    return "\n".join(parts)


_GOLDEN = """\
# Format of a golden

A golden is a folder. `profile.yaml` is written by hand, `envelope.json` by `harness learn`, `CHANGES.md` and the revision by
`harness bless`; a golden that is recorded by a program of its own has that beside them. [Make a golden](../howto/make-a-golden.md) says how.

## profile.yaml

A key that is not in this table is refused with the nearest that is; what else it should hold begins with `{own}`.

| key | is |
|---|---|
{keys}

```yaml
title: PyTorch DataLoader over many small files
regime: mixed
host: shared
contract: {{warmup: first-epoch, min_runs: 3, requires: [steps, samples]}}
tolerance: {{size.mean: 0.1}}
```

## contract

What is asked of every trace that is held against the golden; what it does not hold is a finding ([errors and remarks](errors.md)).

| key | default | is |
|---|---|---|
{contract}

`requires` takes: {requires}. `warmup` takes: {warmups}.

## envelope.json

`golden` is {version}, the version of the layout. Numbers are in base units: bytes, ns.

| key | is |
|---|---|
{envelope}
"""
_KEYS = {
    "title": "what it models, in a line",
    "models": "the same in a paragraph",
    "dataset": "what is read",
    "reads": "by which requests",
    "loader": "the loader's options, as a mapping",
    "sources": "where that comes from: a list of addresses",
    "regime": "who decides the pace; without it the criteria on stalls and depth are shown and do not count",
    "host": "where it was recorded; `dedicated` lets times count over several runs",
    "contract": "see below",
    "tolerance": "bands of its own, by criterion ([criteria](criteria.md)): a number above 0",
    "program": "the program of `harness record-golden` and `check --drive recorded-program`",
    "needs": "the package that program imports",
    "install": "how to get it",
}
_ENVELOPE = {
    "golden": "version of the layout",
    "revision": "how often it was blessed; 0 is never",
    "provenance": "where the runs come from: commands, frameworks, host, producers, times, digests of the traces, warm-up left out",
    "criteria": "what was learned of each criterion: tolerance, noise between the runs, how many runs decide",
    "envelope": "the figures of each run, and the distributions of all together",
}


def golden_format() -> str:
    """The page of a golden's files."""
    said = arguments(Contract)
    return _GOLDEN.format(
        own=golden.OWN,
        keys="\n".join(f"| `{key}` | {_KEYS[key]}{_choices(key)} |" for key in golden.KEYS),
        contract="\n".join(
            f"| `{each.name}` | `{_plain(each.default)}` | {said[each.name]} |" for each in fields(Contract)
        ),
        requires=", ".join(f"`{name}`" for name in contract.REQUIRED),
        warmups=", ".join(f"`{name}`" for name in warmup.WARMUPS),
        version=golden.GOLDEN_VERSION,
        envelope="\n".join(f"| `{key}` | {text} |" for key, text in _ENVELOPE.items()),
    )


def _choices(key: str) -> str:
    return f": {', '.join(f'`{word}`' for word in golden.DECLARED[key])}" if key in golden.DECLARED else ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(list(value)) if isinstance(value, tuple) else str(value)  # fmt: skip
