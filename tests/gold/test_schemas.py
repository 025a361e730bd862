"""The published schemas are what the code writes: no key without its description, none that is gone."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tracekit import Header, Mark, Metrics, Op, Trace, Trailer, formats
from tracekit.analysis.snapshot import Analysis
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.testing import trace_of, training_trace

FULL = Trace.of(
    [
        Op("/a", None, 5, 7, "read", 9, 4, None, 6, 8, 1, 2, 3, 4, 5, 6, "x", "python", "logical", 2, "direct"),
        Op("/b", 0, 5, 8, "write", 19, err="EIO", sample_id=4),
    ],
    marks=[Mark("step", 0, 10, 0, 1, 9), Mark("compute", 2, 10, 0, 1, 9), Mark("epoch", 4)],
    header=Header(
        "now", {"tool": "t"}, {"t0_unix_ns": 1}, ["x"], {"cpu": "c"}, {"torch": "2"}, {"include": []}, redacted=True
    ),
    trailer=Trailer(2, 4, 1, [{"pid": 1}], {"x": [1]}, {"before": {}}, {"verdict": "VALID"}),
)
TRACES = {"empty": Trace.of([]), "seed": trace_of([(0, 1, 2)]), "training": training_trace(wait_ns=10**7), "full": FULL}


def schema(repository, name):
    """A published schema."""
    return json.loads((repository / "docs/reference" / name).read_text())


def said(validator, data):
    """What a schema has against some data."""
    return [error.message for error in validator.iter_errors(data)]


@pytest.mark.parametrize(
    "name",
    [
        "reference/metrics.schema.json",
        "reference/analysis.schema.json",
        "reference/trace.schema.json",
        "reference/run.schema.json",
        "reference/compare.schema.json",
        "reference/power.schema.json",
        "reference/learn.schema.json",
        "metrics.md",
        "analysis.md",
        "trace.md",
        "explanation/cadence.md",
    ],
)
def test_the_published_reference_is_the_generated_one(repository, generator, name):
    """A new, renamed or removed key fails here until the reference is generated again (and the version thought about)."""
    assert (repository / "docs" / name).read_text() == generator.text_of(name), "run: python docs/reference/generate.py"


@pytest.mark.parametrize(
    "name", ["metrics.schema.json", "analysis.schema.json", "trace.schema.json", "run.schema.json"]
)
def test_the_published_schemas_are_schemas(repository, name):
    """They follow JSON Schema draft 2020-12."""
    rules = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    assert said(rules, schema(repository, name)) == []


@pytest.mark.parametrize("name", TRACES)
def test_metrics_have_exactly_the_published_keys(repository, name):
    """Metrics of an empty, a bare, a full and a training trace are valid: every key required, none beyond."""
    data = json.loads(json.dumps(Metrics.of(TRACES[name]).to_json()))

    assert said(Draft202012Validator(schema(repository, "metrics.schema.json")), data) == []
    assert next(iter(data)) == "metrics"


@pytest.mark.parametrize("name", TRACES)
def test_the_analysis_has_exactly_the_published_keys(repository, name):
    """The analysis of the same traces is valid: every key required, none beyond, its version first."""
    data = json.loads(json.dumps(Analysis.of(TRACES[name]).to_json()))

    assert said(Draft202012Validator(schema(repository, "analysis.schema.json")), data) == []
    assert next(iter(data)) == "analysis"


def test_a_key_that_is_not_published_is_refused(repository):
    """The schema is closed, at every depth."""
    validator = Draft202012Validator(schema(repository, "metrics.schema.json"))
    data = Metrics.of(FULL).to_json()

    for change in (
        data | {"new": 1},
        data | {"order": data["order"] | {"new": 1}},
        {k: v for k, v in data.items() if k != "max_qd"},
    ):
        with pytest.raises(ValidationError):
            validator.validate(json.loads(json.dumps(change)))


def test_every_published_key_has_a_description(repository):
    """No property without a description, and numbers of things have units."""
    missing = []

    def look(node, path):
        for key, value in node.get("properties", {}).items():
            if "description" not in value and "end" not in path + key:
                missing.append(path + key)
            look(value, f"{path}{key}.")

    for name in ("metrics.schema.json", "analysis.schema.json", "trace.schema.json", "run.schema.json"):
        document = schema(repository, name)
        look(document, "")
        for kind, value in document["$defs"].items():
            look(value, f"{kind}.")
    assert missing == []


@pytest.mark.parametrize("pace", ["recorded", "think", "asap"])
def test_a_run_states_exactly_the_published_keys(repository, tmp_path, pace):
    """A replay's statement is valid in every pace: every key required, none beyond, its version first."""
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    source = Trace.of(
        [Op(str(path), i, 5, i * 10**6, t_complete=i * 10**6 + 10, ret=5, pid=1, tid=1) for i in range(5)]
    )
    run = replay(source, Options(pace=pace)).run

    assert said(Draft202012Validator(schema(repository, "run.schema.json")), json.loads(json.dumps(run))) == []
    assert next(iter(run)) == "run"


@pytest.mark.parametrize("name", TRACES)
def test_every_line_written_is_valid(repository, tmp_path, name):
    """Each line of a written trace is exactly one of header, op, mark and trailer."""
    path = tmp_path / "t.jsonl"
    formats.save(TRACES[name], path)
    validator = Draft202012Validator(schema(repository, "trace.schema.json"))

    lines = path.read_text().splitlines()
    assert [(line, wrong) for line in lines if (wrong := said(validator, json.loads(line)))] == []


@pytest.mark.parametrize(
    "line", ['{"uri":"/a","len":-1,"t_submit":0}', '{"uri":"/a","len":1}', '{"tracekit":2}', '{"mark":"step"}', "[]"]
)
def test_lines_the_reader_refuses_are_invalid(repository, tmp_path, line):
    """Schema and reader agree about bad lines."""
    path = tmp_path / "t.jsonl"
    path.write_text(line + "\n")

    with pytest.raises(ValidationError):
        Draft202012Validator(schema(repository, "trace.schema.json")).validate(json.loads(line))
    with pytest.raises(Exception, match=r"t\.jsonl:1: "):
        formats.load(path)
