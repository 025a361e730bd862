"""summary.json and its published schema agree, key by key."""

import json

import pytest
from jsonschema import Draft202012Validator

from harness import divergence, mutations, paired, repeat
from harness.envelope import Envelope
from harness.report import json as json_report
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace


@pytest.fixture(scope="module")
def schema(repository):
    """The published schema."""
    return json.loads((repository / "docs/reference/summary.schema.json").read_text())


def summaries():
    """Summaries of every mode and outcome."""
    trace = training_trace(files=64, batch=8)
    bare = Trace.of(Op("file:///a", index, 1, index * 10**7) for index in range(30))
    names = ("a", "b")
    verdicts = [
        paired.judge(trace, trace, names=names),
        paired.judge(trace, mutations.halved_sizes(trace), names=names),
        paired.judge(bare, Trace.of([]), names=names),
        paired.judge(bare, bare, names=names),
        repeat.judge(repeat.Standard("g@1", Envelope.of([trace, trace])), [trace], ["a"]),
        repeat.judge(repeat.Standard("g@1", Envelope.of([trace])), [bare, bare], ["a", "b"]),
    ]
    verdicts.append(divergence.judge(trace, {"cold": [(trace, None)], "buffered": [(trace, 4096)]}, {}, "a"))
    return [json.loads(json_report.render(verdict)) for verdict in verdicts]


def test_every_summary_fits_the_schema(schema):
    """Passes, failures, errors and undecided checks in both modes validate."""
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    outcomes = set()
    for summary in summaries():
        validator.validate(summary)
        outcomes.add(summary["verdict"])
    assert {"PASS", "FAIL", "ERROR"} <= outcomes


def test_the_schema_has_no_key_that_nobody_writes(schema):
    """The keys of a summary, and of a criterion in it, are exactly the published ones."""
    for summary in summaries():
        assert set(summary) == set(schema["properties"])
        for criterion in summary["criteria"]:
            assert set(criterion) == set(schema["properties"]["criteria"]["items"]["properties"])
    seen = {key for summary in summaries() for side in (summary["golden"], *summary["candidates"]) for key in side}
    known = {key for side in ("golden",) for key in schema["properties"][side]["properties"]}
    assert seen == known | set(schema["properties"]["candidates"]["items"]["properties"])
