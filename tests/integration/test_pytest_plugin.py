"""The pytest plugin: what a test suite of somebody else's sees of a check."""

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from harness import cli, mutations
from tracekit import formats
from tracekit.testing import training_trace

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory):
    # Pytester forgets the modules that a run inside this process brought in, and NumPy's cannot be loaded twice: here they all
    # are before the first run.
    place = tmp_path_factory.mktemp("loaded")
    trace = training_trace(files=32, batch=8)
    formats.save(trace, place / "a.jsonl")
    words = ["check", str(place / "a.jsonl"), "--golden", str(place / "a.jsonl"), "--html", str(place / "a.html")]
    assert cli.main(words) == 0
    assert cli.main([*words, "--mode", "repeat", "--force"]) == 0


@pytest.fixture
def suite(pytester):
    """A directory with a recording, a faithful replay and a shuffled one, and a way to run one test there."""
    trace = training_trace(files=32, batch=8)
    for name, content in (("train", trace), ("same", trace), ("shuffled", mutations.shuffled(trace))):
        formats.save(content, pytester.path / f"{name}.jsonl")
    # Too few ops to judge anything.
    formats.save(mutations.with_columns(trace, {}, range(5)), pytester.path / "short.jsonl")

    def run(body, *words):
        pytester.makepyfile(f"def test_io(assert_golden, tmp_path):\n    {body}\n")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *words)

    return run


def test_a_faithful_replay_passes_and_gives_the_verdict(suite):
    """The fixture is there without any import, and returns what the check found."""
    suite("assert assert_golden('same.jsonl', 'train.jsonl').mode == 'paired'").assert_outcomes(passed=1)


def test_a_failing_test_shows_the_criteria_that_failed(suite):
    """Heading, a row for each failure, the reason in words; neither rows that passed nor our traceback."""
    result = suite("assert_golden('shuffled.jsonl', 'train.jsonl')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "FAIL: shuffled.jsonl against train.jsonl, mode paired (*",
            "criterion *recording *replay *effect *accepted *verdict",
            "order.stream *FAIL",
            "order.stream: ops are reordered inside streams: *",
        ]
    )
    assert "size.mean" not in result.stdout.str()
    assert "pytest_plugin.py" not in result.stdout.str()


@pytest.mark.parametrize(("choice", "outcome"), [("skip", "skipped"), ("fail", "failed"), ("ok", "passed")])
def test_what_cannot_be_decided_is_what_was_chosen(suite, pytester, choice, outcome):
    """From the command line, from the ini file, and for one call."""
    body = "assert_golden('short.jsonl', 'short.jsonl')"
    suite(body, "--harness-inconclusive", choice).assert_outcomes(**{outcome: 1})
    pytester.makeini(f"[pytest]\nharness_inconclusive = {choice}\n")
    suite(body).assert_outcomes(**{outcome: 1})
    suite(body[:-1] + f", inconclusive={choice!r})", "--harness-inconclusive", "fail").assert_outcomes(**{outcome: 1})


def test_unless_chosen_it_is_skipped_with_the_reason(suite):
    """Nothing decided is neither a pass nor a failure."""
    result = suite("assert_golden('short.jsonl', 'short.jsonl')", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*INCONCLUSIVE: valid.size: short.jsonl holds 5 reads and writes;*"])


def test_traces_in_memory_can_be_given(suite):
    """A Trace on either side, and a list of runs against a golden."""
    body = "from tracekit import Trace; t = Trace.read('train.jsonl'); assert_golden(t, t)"
    suite(body).assert_outcomes(passed=1)
    suite("assert_golden(['same.jsonl', 'train.jsonl'], 'train.jsonl', mode='repeat')").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("assert_golden('same.jsonl', 'nowhere.jsonl')", "harness: there is no trace nowhere.jsonl*"),
        ("assert_golden('same.jsonl', 'torch-lik')", "harness: there is no golden 'torch-lik'*torch-like*"),
        ("assert_golden('train.py', 'train.jsonl')", "harness: *train.py*"),
    ],
)
def test_what_cannot_be_read_fails_with_one_sentence(suite, call, sentence):
    """A golden that is missing is never a pass, and no reason for a traceback."""
    result = suite(call)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([sentence])
    assert "Traceback" not in result.stdout.str()


def test_an_unknown_choice_is_refused(suite, pytester):
    """A misspelt ini option does not silently become something else."""
    pytester.makeini("[pytest]\nharness_inconclusive = pass\n")
    result = suite("assert_golden('same.jsonl', 'train.jsonl')")
    assert "harness_inconclusive is one of skip, fail, ok, not 'pass'" in result.stdout.str() + result.stderr.str()
    assert result.ret != 0


def test_reports_and_junit_tell_of_every_check(suite, pytester):
    """An HTML page and a summary for each call, and the verdict as a property of the test case."""
    body = "assert_golden('same.jsonl', 'train.jsonl'); assert_golden('shuffled.jsonl', 'train.jsonl')"
    suite(body, "--harness-reports", "reports", "--junitxml", "junit.xml").assert_outcomes(failed=1)
    written = sorted((pytester.path / "reports").iterdir())
    assert [path.suffix for path in written] == [".html", ".json"] * 2
    assert [json.loads(path.read_text())["verdict"] for path in written[1::2]] == ["PASS", "FAIL"]
    properties = ET.parse(pytester.path / "junit.xml").findall(".//property[@name='harness']")
    assert [one.get("value") for one in properties] == ["PASS train.jsonl", "FAIL train.jsonl"]


def test_it_costs_other_test_suites_nothing():
    """Loaded with pytest, it brings none of our own heavy modules, nor NumPy or SciPy."""
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.pytest_plugin; "
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "['harness', 'harness.pytest_plugin']"
