"""summary.json, what compare, power and learn write, and their published schemas agree, key by key."""

import json

import pytest
from jsonschema import Draft202012Validator

from harness import compare, divergence, learn, mutations, noise, paired, power, repeat
from harness.envelope import Envelope
from harness.noise import lesson
from harness.report import json as json_report
from harness.standard import Standard
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
        repeat.judge(Standard("g@1", Envelope.of([trace, trace])), [trace], ["a"]),
        repeat.judge(Standard("g@1", Envelope.of([trace])), [bare, bare], ["a", "b"]),
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


# -- compare, power, learn ----------------------------------------------------------------------------------------------


def written(name):
    """What the command of that name writes: for single runs and several, with and without a figure to tell."""
    runs = [training_trace(files=64, batch=8, seed=seed) for seed in range(6)]
    bare = Trace.of(Op("file:///a", index, 1, index * 10**7) for index in range(30))
    several, single, silent = Envelope.of(runs), Envelope.of(runs[:1]), Envelope.of([bare])
    if name == "compare":
        pairs = [(several, several), (single, Envelope.of(runs[1:2])), (silent, single)]
        return [
            compare.to_json([(["a"], a), (["b"], b)], compare.compare(a, b), list(compare.remarks(a, b)))
            for a, b in pairs
        ]
    if name == "power":
        standards = [Standard("g@1", envelope) for envelope in (several, silent)]
        return [power.to_json(one, power.power(one, one.criteria("repeat"))) for one in standards]
    lessons = {one.id: lesson(one, noise.Noise(several)) for one in Standard("g", several).criteria("repeat")}
    return [learn.Learned(several, {}, lessons, ["a warning"]).to_json()]


@pytest.mark.parametrize("name", ["compare", "power", "learn"])
def test_what_a_command_writes_fits_its_published_schema(repository, name):
    """Every document validates, and every key of the schema is one that is written (it allows no other)."""
    schema = json.loads((repository / f"docs/reference/{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    documents = [json.loads(json.dumps(document, allow_nan=False)) for document in written(name)]
    for document in documents:
        Draft202012Validator(schema).validate(document)
        assert document[name] == schema["properties"][name]["const"]
    assert any(document["criteria"] for document in documents)


@pytest.mark.parametrize("name", ["compare", "power", "learn"])
def test_a_schema_says_no_to_another_key_and_to_a_missing_one(repository, name):
    """A key too many, a key too few and another version do not validate."""
    schema = json.loads((repository / f"docs/reference/{name}.schema.json").read_text())
    good = json.loads(json.dumps(written(name)[0]))
    for bad in ({**good, "more": 1}, {key: good[key] for key in good if key != "criteria"}, {**good, name: 99}):
        assert not Draft202012Validator(schema).is_valid(bad)
